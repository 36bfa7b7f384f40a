//! The commit message as an audit record: subject, a few lines of prose, trailers. A record comes in, text
//! goes out whose trailer block nobody else can add a line to.

use super::pull::whole;
use super::template_check::{TemplateError, Templates};
use super::text;
use crate::model::action::{RemediationAction, RiskClass};
use crate::model::policy::Mode;
use crate::model::trailers::{MAX_VALUE_BYTES, encode_within};

/// Longest subject, characters.
const MAX_SUBJECT_CHARS: usize = 100;

/// The message of the proposal's one commit. Of `spec.change` only `fields` is read, because the ids of the
/// commit do not exist yet.
///
/// # Errors
/// [`TemplateError`] when the playbook's template cannot be rendered.
pub fn commit_message(record: &RemediationAction, templates: &Templates) -> Result<String, TemplateError> {
    let body = templates.commit(record.spec.playbook, &whole(record))?;
    // A line of prose that looks like one of our trailers would make two readers disagree about the block.
    let lines = body.lines().map(str::trim).filter(|l| !l.is_empty());
    let prose: Vec<&str> = lines.filter(|l| !l.to_ascii_lowercase().starts_with("tars-")).collect();
    let subject = super::escape::one_line(&text::what(record), MAX_SUBJECT_CHARS);
    Ok(format!("{subject}\n\n{}\n\n{}", prose.join("\n"), trailer_lines(record)))
}

/// The trailer paragraph, with a final newline.
pub(super) fn trailer_lines(record: &RemediationAction) -> String {
    let line = |(key, value): (_, String)| format!("{key}: {}\n", encode_within(&value, MAX_VALUE_BYTES));
    trailers(record).into_iter().map(line).collect()
}

fn trailers(record: &RemediationAction) -> Vec<(&'static str, String)> {
    let spec = &record.spec;
    let verify = &spec.verify;
    let risk = match spec.risk.class {
        RiskClass::Low => "Low",
        RiskClass::Medium => "Medium",
        RiskClass::High => "High",
    };
    let decision = match spec.mode {
        Mode::Observe => "Observe",
        _ if text::merges_itself(record) => "AutoMerge",
        Mode::Propose | Mode::AutoMerge => "Review",
    };
    let budget: Vec<String> =
        spec.budget.iter().map(|b| format!("{}={}/{}", b.name, b.used, b.limit)).collect();
    let undo: Vec<String> =
        text::fields(record).iter().map(|c| format!("{}={}", c.field, c.before())).collect();
    let goal =
        verify.below.map_or_else(|| "=expected".to_owned(), |limit| format!("<{}", text::number(limit)));
    let or_none = |parts: Vec<String>| if parts.is_empty() { "none".to_owned() } else { parts.join(";") };
    vec![
        ("Tars-Id", record.id().to_string()),
        ("Tars-Incident", spec.incident.to_string()),
        ("Tars-Policy", format!("{}@{}", spec.policy, spec.policy_commit.short())),
        ("Tars-Target", spec.target.to_string()),
        ("Tars-Action", spec.playbook.as_str().to_owned()),
        ("Tars-Risk", risk.to_owned()),
        ("Tars-Decision", decision.to_owned()),
        ("Tars-Budget", or_none(budget)),
        (
            "Tars-Verify",
            format!("{}{goal};for={}s;within={}s", verify.signal, verify.window_s, verify.within_s),
        ),
        ("Tars-Undo", or_none(undo)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{anomaly, at, proposed, signal, target};
    use crate::model::limits::BudgetUse;
    use proptest::prelude::*;

    fn record() -> RemediationAction {
        let mut record = proposed("backend-latency", &target("production/Deployment/backend"), 7, at(0));
        record.spec.cause.anomalies = vec![anomaly(signal("backend", "latency_p95"), 0.9, at(0))];
        record.spec.budget = vec![
            BudgetUse { name: "policy".into(), used: 1, limit: 2, next_free: None },
            BudgetUse { name: "global".into(), used: 3, limit: 6, next_free: None },
        ];
        record
    }

    #[test]
    fn the_message_is_the_audit_record() {
        let record = record();
        let message = commit_message(&record, &Templates::built_in().unwrap()).unwrap();
        let expected = format!(
            "Scale out production/backend from 3 to 5 replicas\n\
             \n\
             Needed because backend/latency_p95 is 520, expected 150 to 230, since 2026-11-23T10:00Z.\n\
             Policy backend-latency (policies/backend-latency.yaml) allows it: low risk, \
             adds replicas inside the bounds.\n\
             Recovered means backend/latency_p95 below 250 for 10min, within 20min of the sync.\n\
             \n\
             Tars-Id: {}\n\
             Tars-Incident: {}\n\
             Tars-Policy: backend-latency@aaaaaaa\n\
             Tars-Target: production/Deployment/backend\n\
             Tars-Action: ScaleOut\n\
             Tars-Risk: Low\n\
             Tars-Decision: AutoMerge\n\
             Tars-Budget: policy=1/2;global=3/6\n\
             Tars-Verify: backend/latency_p95<250;for=600s;within=1200s\n\
             Tars-Undo: spec.replicas=3\n",
            record.id(),
            record.spec.incident
        );
        assert_eq!(message, expected);
    }

    thread_local! {
        static TEMPLATES: Templates = Templates::built_in().unwrap();
    }

    proptest! {
        #[test]
        fn no_text_of_a_stranger_adds_a_trailer_or_a_line(
            text in "(\\PC|[\r\n\u{85}\u{2028}]|Tars-Risk: Low){0,120}"
        ) {
            let mut record = record();
            record.spec.risk.reason = text.clone();
            record.spec.budget[0].name = text.clone();
            if let Some(change) = &mut record.spec.change {
                change.fields[0].field = text.clone();
                change.fields[0].from = Some(text);
            }
            let message = TEMPLATES.with(|templates| commit_message(&record, templates)).unwrap();
            let paragraphs: Vec<&str> = message.trim_end().split("\n\n").collect();
            prop_assert_eq!(paragraphs.len(), 3);
            prop_assert_eq!(paragraphs[2].lines().count(), 10);
            prop_assert!(paragraphs[2].lines().all(|l| l.starts_with("Tars-") && l.len() <= 300));
            prop_assert!(paragraphs[2].bytes().all(|c| c == b'\n' || (b' '..=b'~').contains(&c)));
            prop_assert!(!paragraphs[1].lines().any(|l| l.to_lowercase().starts_with("tars-")));
        }
    }
}
