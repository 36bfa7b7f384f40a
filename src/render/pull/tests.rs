//! Pull request text: what a reviewer must find in it, in every state an action can be in.

use serde_json::Value as Json;

use super::callout;
use super::*;
use crate::model::action::{ActionState, MergeRecord, MergedBy, RiskClass};
use crate::model::alert::{Alert, AlertStatus};
use crate::model::anomaly::{Episode, ModelName, ModelScore, Score};
use crate::model::fixtures::{anomaly, at, labels, oid, proposed, signal, target};
use crate::model::ids::RepoPath;
use crate::model::limits::BudgetUse;
use crate::model::policy::Mode;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::tree::{EntryMode, RepoTree, TreeFile};
use crate::model::verdict::{Outcome, Verdict};
use crate::render::template_check::OWN_PULL_REQUEST;

pub fn record() -> RemediationAction {
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

pub fn alert(name: &str) -> Alert {
    Alert {
        status: AlertStatus::Firing,
        labels: labels([("alertname", name)]),
        starts_at: at(0),
        ends_at: None,
        fingerprint: "f".into(),
        owner: None,
    }
}

fn render_for(record: &RemediationAction, caps: &ForgeCapabilities) -> PullText {
    pull_text(&[record], Around::default(), &Templates::built_in().unwrap(), caps).unwrap()
}

fn render(record: &RemediationAction) -> PullText {
    render_for(record, &ForgeCapabilities::LOCAL)
}

fn says(record: &RemediationAction) -> String {
    let callout = callout::of(record);
    format!("{} {} {}", callout.level, callout.title, callout.text)
}

#[test]
fn a_reviewer_finds_what_why_risk_budget_undo_evidence_and_diff() {
    let text = render(&record());
    assert_eq!(text.title, "tars: scale out shop/backend 3→5 (latency_p95, low risk)");
    for part in [
        "<!-- tars:v1 action=act-",
        "\n> [!NOTE]\n> **Merges itself.**",
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
        "| ScaleOut | **chosen** |",
        "- `2026-11-23T10:00Z` proposed",
        "`backend-latency` (`policies/backend-latency.yaml` @ `aaaaaaa`)",
    ] {
        assert!(text.body.contains(part), "{part:?} is missing from:\n{}", text.body);
    }
    assert!(!text.body.contains("{{") && !text.body.contains("\n\n\n"), "{}", text.body);
}

#[test]
fn a_reviewer_reads_since_when_it_is_wrong_how_bad_it_was_and_whether_it_is_over() {
    let mut record = record();
    assert!(!render(&record).body.contains("anomalous"), "one window alone does not know");
    let mut episode =
        Episode { start: at(-90), peak: at(30), worst: Score::clamped(0.97), end: None, adopted: false };
    for (end, words) in [
        (None, "; anomalous since 2026-11-23T09:58:30Z, worst 0.97 at 10:00:30Z\n"),
        (
            Some(at(300)),
            "; was anomalous from 2026-11-23T09:58:30Z, worst 0.97 at 10:00:30Z, over since 10:05:00Z\n",
        ),
    ] {
        episode.end = end;
        record.spec.cause.anomalies[0].episode = Some(episode);
        let body = render(&record).body;
        let evidence = body.lines().find(|it| it.starts_with("- **backend/latency_p95**")).unwrap();
        assert!(format!("{evidence}\n").ends_with(words), "{evidence}");
    }
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
fn a_forge_gets_what_it_can_show_and_nothing_else() {
    let full = render_for(&record(), &ForgeCapabilities::GITEA).body;
    for part in [
        "```mermaid\n%%{init: ",
        "- [ ] <!-- tars:refresh -->",
        "- [ ] <!-- tars:snooze=24h -->",
        "`/tars hold`",
    ] {
        assert!(full.contains(part), "{part:?} is missing from:\n{full}");
    }
    let plain = ForgeCapabilities {
        body_chars_max: 10_239,
        checkboxes: false,
        details: false,
        mermaid: false,
        callouts: false,
        native_auto_merge: false,
    };
    let text = render_for(&record(), &plain).body;
    for part in ["<details", "</", "mermaid", "[!", "- [ ]", "<br>"] {
        assert!(!text.contains(part), "{part:?} is in:\n{text}");
    }
    assert!(text.contains("### Rendered change: 1 field of 1 rendered object compared"), "{text}");
}

#[test]
fn the_callout_of_a_waiting_proposal_follows_its_holds() {
    let mut record = record();
    let mut held = |code, text| {
        record.status.holds = vec![Reason::new(code, text)];
        says(&record)
    };
    let said = held(ReasonCode::SignalRecovered, "calm for 10 min");
    assert_eq!(said, "NOTE No longer needed. Calm for 10 min.");
    let said = held(ReasonCode::HumanCommits, "alice pushed");
    assert!(said.starts_with("IMPORTANT Yours now. Alice pushed. tars does not touch"), "{said}");
    let said = held(ReasonCode::ReviewRequired, "a review asks for changes");
    assert_eq!(said, "IMPORTANT Waiting for you. A review asks for changes.");
    let said = held(ReasonCode::Frozen, "stopped by SUSPENDED");
    assert!(said.starts_with("WARNING Not merging by itself: everything is stopped."), "{said}");
    let said = held(ReasonCode::SignalRecovered, "backend/latency_p95 is calm");
    assert_eq!(said, "NOTE No longer needed. backend/latency_p95 is calm.");
    let said = held(ReasonCode::ChecksNotGreen, "build is running");
    assert_eq!(said, "NOTE Merges itself when its checks are green. Build is running.");
    let said = held(ReasonCode::HeldByPerson, "the label tars/hold is on");
    assert!(said.starts_with("IMPORTANT Held by a person. The label tars/hold is on. It goes on"), "{said}");
    record.status.holds.push(Reason::new(ReasonCode::ChecksNotGreen, "build is running"));
    record.status.holds.reverse();
    assert!(says(&record).starts_with("IMPORTANT Held by a person."), "{}", says(&record));
    record.status.holds.clear();
    record.spec.risk.class = RiskClass::Medium;
    assert!(says(&record).starts_with("IMPORTANT Waiting for you. Medium risk"), "{}", says(&record));
    record.spec.mode = Mode::Propose;
    assert_eq!(says(&record), "IMPORTANT Waiting for you. The policy lets people merge.");
}

#[test]
fn a_spent_budget_says_when_the_next_slot_is_free() {
    let mut record = record();
    record.spec.budget[0].next_free = Some(at(3600));
    record.status.holds = vec![Reason::new(ReasonCode::BudgetExhausted, "2 of 2 used this hour.")];
    assert_eq!(
        says(&record),
        "WARNING Not merging by itself: budget used up. 2 of 2 used this hour; the next slot is free at \
         2026-11-23T11:00Z. You may still merge."
    );
}

#[test]
fn after_the_merge_the_text_tells_how_it_went() {
    let mut record = record();
    record.status.merge = Some(MergeRecord { commit: oid('e'), by: MergedBy::Tars, at: at(60) });
    record.status.verdict = Some(Verdict {
        outcome: Outcome::Recovered,
        before: Some(520.0),
        after: Some(190.0),
        samples_before: 10,
        samples_after: 10,
        judged_at: at(900),
        text: "190 after 520".into(),
    });
    record.status.undone_by = Some(proposed("p", &target("shop/Deployment/backend"), 9, at(0)).id().clone());
    let mut then = |state| {
        record.status.state = state;
        says(&record)
    };
    use ActionState as S;
    assert!(then(S::Merged).starts_with("NOTE Merged. It merged by itself at 2026-11-23T10:01Z as eeeeeee;"));
    assert!(then(S::Synced).contains("Recovered means backend/latency_p95 below 250"));
    assert_eq!(then(S::Verified), "TIP Recovered. 190 after 520.");
    assert_eq!(then(S::NotRecovered), "WARNING It did not help. 190 after 520.");
    assert!(then(S::Worse).starts_with("CAUTION"));
    assert!(then(S::Unknown).starts_with("WARNING Nobody can tell"));
    assert!(then(S::Reverted).contains("Undone by act-"));
    record.status.state = ActionState::Verified;
    let body = render_for(&record, &ForgeCapabilities::GITEA).body;
    assert!(body.contains("| **Merge** | It merged by itself at"), "{body}");
    assert!(!body.contains("Merge = yes") && !body.contains("- [ ]"), "{body}");
}

#[test]
fn a_revert_says_what_was_expected_what_happened_and_links_both_ways() {
    let mut first = record();
    first.status.verdict = Some(Verdict {
        outcome: Outcome::NotRecovered,
        before: Some(520.0),
        after: Some(510.0),
        samples_before: 10,
        samples_after: 10,
        judged_at: at(900),
        text: "510 after 520.".into(),
    });
    let mut revert = proposed("backend-latency", &target("shop/Deployment/backend"), 9, at(900));
    revert.spec.purpose = Purpose::Revert { of: first.id().clone() };
    let fields = text::fields(&first).iter();
    let changes = fields.map(|it| FieldChange { from: it.to.clone(), to: it.from.clone(), ..it.clone() });
    revert.spec.plan = Plan::Undo { changes: changes.collect() };
    first.status.state = ActionState::Reverted;
    first.status.undone_by = Some(revert.id().clone());
    let pulls = [
        (first.id().clone(), "https://forge.example/shop/gitops/pulls/12".to_owned()),
        (revert.id().clone(), "https://forge.example/shop/gitops/pulls/13) [x](javascript:y".to_owned()),
    ];
    let around = Around { undone: &[&first], pulls: &pulls };
    let templates = Templates::built_in().unwrap();
    let render = |record| pull_text(&[record], around, &templates, &ForgeCapabilities::GITEA).unwrap();
    let text = render(&revert);
    assert_eq!(text.title, "tars: revert scale out shop/backend 5→3 (it did not help, low risk)");
    let line = format!(
        "\n\nTakes back [`{}`](https://forge.example/shop/gitops/pulls/12). Expected was backend/latency_p95 below 250 \
         for 10min, within 20min of the sync. What happened: 510 after 520.\n",
        first.id()
    );
    assert!(text.body.contains(&line), "{}", text.body);
    assert!(text.labels.contains("tars/needs-human"));
    assert!(render(&first).body.contains(&format!("\n\nTaken back by `{}`.\n", revert.id())));
}

#[test]
fn the_hidden_data_is_the_trailers_of_the_commit() {
    let record = record();
    let templates = Templates::built_in().unwrap();
    let body = render(&record).body;
    let (_, hidden) = body.rsplit_once("<!-- tars-data:").unwrap();
    let bytes = Base64::decode_vec(hidden.trim_end().trim_end_matches(" -->")).unwrap();
    let message = commit_text::commit_message(&record, &templates).unwrap();
    assert!(message.ends_with(&format!("\n\n{}", String::from_utf8(bytes).unwrap())));
}

#[test]
fn encrypted_values_are_named_and_masked() {
    let mut record = record();
    if let Some(change) = &mut record.spec.change {
        change.fields[0].from = Some("ENC[AES256_GCM,data:abc,iv:d,tag:e,type:int]".into());
        change.fields[0].to = Some("ENC[AES256_GCM,data:xyz,iv:d,tag:e,type:int]".into());
        change.diff =
            "-  replicas: ENC[AES256_GCM,data:abc,iv:d]\n+  replicas: ENC[AES256_GCM,data:xyz,iv:d]\n".into();
    }
    if let Some(change) = &mut record.spec.change {
        change.recipients = vec!["age1reader".into(), "pgp:FB`|C7".into()];
    }
    let body = render(&record).body;
    let readers = "\nCan open the encrypted file, before and after: `age1reader`, `pgp:FB'\\|C7`.\n";
    assert!(body.contains(readers), "{body}");
    assert!(body.contains("-  replicas: *****\n+  replicas: *****\n"), "{body}");
    assert!(body.contains("Encrypted: `spec.replicas` in `apps/backend.yaml`."), "{body}");
    assert!(!body.contains("AES256") && !body.contains("abc,"), "{body}");
}

#[test]
fn the_branch_of_a_batch_has_one_text_with_all_labels_within_the_limit() {
    let records: Vec<_> =
        (0..5).map(|n| proposed("p", &target(&format!("shop/Deployment/w{n}")), n, at(0))).collect();
    let line: Vec<_> = records.iter().collect();
    let templates = Templates::built_in().unwrap();
    for limit in [1_900, 10_239, 58_000] {
        let caps = ForgeCapabilities { body_chars_max: limit, ..ForgeCapabilities::GITEA };
        let text = pull_text(&line, Around::default(), &templates, &caps).unwrap();
        assert!(text.body.chars().count() <= limit, "{}", text.body);
        assert!(text.body.contains("> **Waiting for you.** 5 actions on one branch"), "{}", text.body);
        assert!(text.labels.contains("tars/action:scale-out"));
    }
}

fn tree(template: &str) -> RepoTree {
    let path = RepoPath::new(OWN_PULL_REQUEST).unwrap();
    let file = TreeFile::held(EntryMode::File, template.as_bytes().to_vec());
    RepoTree::held(oid('a'), [(path, file)].into())
}

#[test]
fn a_repository_has_the_last_word_on_the_words_and_cannot_lose_the_marker() {
    let (own, problem) = Templates::built_in().unwrap().in_repository(&tree("Please look at {{target}}.\n"));
    assert_eq!(problem, None);
    let body = pull_text(&[&record()], Around::default(), &own, &ForgeCapabilities::GITEA).unwrap().body;
    let (marker, rest) = body.split_once('\n').unwrap();
    assert!(marker.starts_with("<!-- tars:v1 action=act-"), "{body}");
    assert!(rest.starts_with("Please look at shop/Deployment/backend.\n\n<!-- tars-data:"), "{body}");
    let (again, _) = own.in_repository(&RepoTree::held(oid('b'), [].into()));
    let body = pull_text(&[&record()], Around::default(), &again, &ForgeCapabilities::GITEA).unwrap().body;
    assert!(body.contains("| **Target** |"), "{body}");
}

#[test]
fn a_bad_template_of_a_repository_is_reported_with_its_line_and_not_used() {
    for (bad, line, part) in [
        ("fine\n{{#if target}}\n{{targt}}\n{{/if}}\n", 3, "names targt"),
        ("\n\n{{> other}}", 3, "partial or a decorator"),
        ("a\n{{#if target}}x", 2, ""),
        (&"x".repeat(17 << 10), 1, "larger than"),
    ] {
        let (templates, problem) = Templates::built_in().unwrap().in_repository(&tree(bad));
        let problem = problem.unwrap();
        assert_eq!((problem.path, problem.line), (OWN_PULL_REQUEST, line), "{problem}");
        assert!(problem.message.contains(part) && !problem.help.is_empty(), "{problem}");
        let body = pull_text(&[&record()], Around::default(), &templates, &ForgeCapabilities::GITEA);
        assert!(body.unwrap().body.contains("| **Target** |"));
    }
}

#[test]
fn a_template_whose_text_never_fits_gives_way_to_ours() {
    let long = "{{#each timeline}}".to_owned() + &"long ".repeat(500) + "{{/each}}";
    let (own, problem) = Templates::built_in().unwrap().in_repository(&tree(&long));
    assert_eq!(problem, None);
    let caps = ForgeCapabilities { body_chars_max: 2_400, ..ForgeCapabilities::GITEA };
    let body = pull_text(&[&record()], Around::default(), &own, &caps).unwrap().body;
    assert!(body.contains("| **Target** |") && body.contains("Left out to fit 2400 characters"), "{body}");
}

#[test]
fn a_forge_that_takes_too_little_for_anything_is_an_error() {
    let caps = ForgeCapabilities { body_chars_max: 200, ..ForgeCapabilities::GITEA };
    let error =
        pull_text(&[&record()], Around::default(), &Templates::built_in().unwrap(), &caps).unwrap_err();
    assert!(matches!(error, TemplateError::TooLong { limit: 200, .. }), "{error}");
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
    assert!(render(&record).body.chars().count() <= ForgeCapabilities::LOCAL.body_chars_max);
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
    record.spec.cause.alerts = vec![alert("HighLatency")];
    compare("", &whole(&record), &shape());
}
