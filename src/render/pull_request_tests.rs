//! Pull request text: what a reviewer must find in it, and what a stranger must not be able to put into it.

use super::*;
use crate::model::alert::{Alert, AlertStatus};
use crate::model::anomaly::{ModelName, ModelScore, Score};
use crate::model::fixtures::{anomaly, at, labels, proposed, signal, target};
use crate::model::limits::BudgetUse;
use crate::model::playbook::PlaybookName;
use crate::model::reason::Reason;

fn record() -> RemediationAction {
    let mut record = proposed("backend-latency", &target("shop/Deployment/backend"), 7, at(0));
    let mut seen = anomaly(signal("backend", "latency_p95"), 0.9, at(0));
    let vote = |model, score| ModelScore {
        model,
        score: Score::new(score).unwrap(),
        weight: 0.4,
        evidence: "residual 312 is 9.1 MAD from 0".into(),
    };
    seen.models = vec![vote(ModelName::Stl, 0.9), vote(ModelName::Ewma, 0.7)];
    record.spec.cause.anomalies = vec![seen];
    record.spec.budget = vec![BudgetUse { name: "policy".into(), used: 1, limit: 2, next_free: None }];
    record.spec.rejected = vec![(
        PlaybookName::Rollback,
        Reason::new(ReasonCode::NoReleaseToUndo, "no release in the last 2 h"),
    )];
    record
}

fn render(record: &RemediationAction) -> PullRequestText {
    pull_request(record, &Templates::built_in().unwrap()).unwrap()
}

#[test]
fn a_reviewer_finds_what_why_risk_budget_undo_evidence_and_diff() {
    let text = render(&record());
    assert_eq!(text.title, "tars: scale out shop/backend 3→5 (latency_p95, low risk)");
    for part in [
        "> [!NOTE]\n> **Merges itself.**",
        "Scale out shop/backend from 3 to 5 replicas because backend/latency_p95 is 520",
        "| **Target** | `shop/Deployment/backend` |",
        "| **Change** | `spec.replicas` in `apps/backend.yaml`: `3` → `5` |",
        "| **Risk** | **low**: adds replicas inside the bounds |",
        "| **Confidence** | 0.95 · 1 of 2 models at 0.8 or above |",
        "| **Budget if merged** | policy 1/2 |",
        "| **Undo** | set spec.replicas back to 3 in apps/backend.yaml",
        "- **backend/latency_p95** `▁▁█` **520** (expected 150 to 230), score 0.90, high, at 2026-",
        "```diff\n-  replicas: 3\n+  replicas: 5\n```",
        "| Rollback | NoReleaseToUndo | no release in the last 2 h |",
        "| ScaleOut | chosen |",
        "- `2026-11-23T10:00Z` proposed",
        "`backend-latency` (`policies/backend-latency.yaml` @ `aaaaaaa`)",
    ] {
        assert!(text.body.contains(part), "{part:?} is missing from:\n{}", text.body);
    }
    assert!(!text.body.contains("{{") && !text.body.contains("<!--"));
}

#[test]
fn every_playbook_has_a_text_for_every_plan_it_makes() {
    for playbook in PlaybookName::ALL {
        let mut record = record();
        record.spec.playbook = playbook;
        assert!(render(&record).body.contains("### Evidence"), "{playbook:?}");
    }
}

#[test]
fn the_callout_follows_the_holds() {
    let mut record = record();
    let says = |record: &RemediationAction| render(record).body.lines().take(2).collect::<Vec<_>>().join(" ");
    record.status.holds = vec![Reason::new(ReasonCode::BudgetExhausted, "2 of 2 used this hour.")];
    assert!(says(&record).contains("[!WARNING] > **Not merging by itself: budget used up.** 2 of 2"));
    record.status.holds = vec![Reason::new(ReasonCode::SignalRecovered, "calm for 10 min")];
    assert!(says(&record).contains("[!NOTE] > **No longer needed.** Calm"));
    record.status.holds = vec![Reason::new(ReasonCode::HumanCommits, "alice pushed")];
    assert!(says(&record).contains("[!IMPORTANT] > **Waiting for you.** Alice pushed"));
}

const HOSTILE: &str =
    "```\n/tars approve @org/all closes #1 <img src=//x> <!-- ignore all rules --> | x | \u{202e}";

#[test]
fn what_a_stranger_wrote_is_never_a_mention_link_command_or_comment() {
    let mut record = record();
    record.spec.cause.anomalies.clear();
    record.spec.cause.key = format!("webhook {HOSTILE}");
    record.spec.cause.alerts = vec![Alert {
        status: AlertStatus::Firing,
        labels: labels([("alertname", HOSTILE), ("summary", HOSTILE)]),
        starts_at: at(0),
        ends_at: None,
        fingerprint: "f".into(),
    }];
    record.spec.risk.reason = HOSTILE.into();
    record.spec.rejected[0].1.text = HOSTILE.into();
    record.status.timeline[0].text = HOSTILE.into();
    record.status.holds = vec![Reason::new(ReasonCode::EditRefused, HOSTILE)];
    let text = render(&record);
    for active in ["\n/tars", "@org", "#1", "<img", "<!--", "\u{202e}"] {
        assert!(!text.body.contains(active), "{active:?} is active in:\n{}", text.body);
        assert!(!text.title.contains(active), "{}", text.title);
    }
    let cells = |line: &&str| line.starts_with("| Rollback");
    let row = text.body.lines().find(cells).unwrap();
    assert_eq!(row.replace("\\|", "").matches('|').count(), 4, "{row}");
}

#[test]
fn a_diff_cannot_close_its_own_fence() {
    let mut record = record();
    if let Some(change) = &mut record.spec.change {
        change.diff = "-  note: ````\n+  note: x\n".into();
    }
    assert!(render(&record).body.contains("`````diff\n-  note: ````\n+  note: x\n`````"));
}

#[test]
fn the_largest_record_still_fits_the_forge() {
    let mut record = record();
    if let Some(change) = &mut record.spec.change {
        change.diff = "+ é\n".repeat(40_000);
        change.fields = vec![change.fields[0].clone(); 64];
    }
    let row = record.spec.rejected[0].clone();
    record.spec.rejected = vec![(row.0, Reason::new(row.1.code, "|".repeat(5_000))); 200];
    record.spec.risk.reason = "<".repeat(10_000);
    record.status.timeline = vec![record.status.timeline[0].clone(); 10_000];
    record.spec.cause.anomalies = vec![record.spec.cause.anomalies[0].clone(); 1_000];
    assert!(render(&record).body.chars().count() <= MAX_BODY_CHARS);
}

#[test]
fn the_shape_that_templates_are_checked_against_is_the_shape_of_the_context() {
    fn compare(at: &str, real: &Json, shape: &Json) {
        match (real, shape) {
            (Json::Object(real), Json::Object(shape)) => {
                assert!(real.keys().eq(shape.keys()), "{at}");
                real.iter().for_each(|(key, value)| compare(&format!("{at}.{key}"), value, &shape[key]));
            }
            (Json::Array(real), Json::Array(shape)) => {
                assert_eq!(shape.len(), 1, "{at}");
                real.iter().for_each(|item| compare(at, item, &shape[0]));
            }
            (Json::Object(_) | Json::Array(_), _) | (_, Json::Object(_) | Json::Array(_)) => {
                panic!("{at} differs in kind")
            }
            _ => {}
        }
    }
    let mut record = record();
    record.spec.cause.alerts = vec![Alert {
        status: AlertStatus::Firing,
        labels: labels([("alertname", "HighLatency")]),
        starts_at: at(0),
        ends_at: None,
        fingerprint: "f".into(),
    }];
    compare("", &context(&record), &shape());
}
