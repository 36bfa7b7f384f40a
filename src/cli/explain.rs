//! `tars explain`: why something did, or did not, happen. The same sentence as in the pull request.

use std::fmt::Write as _;

use serde_json::json;

use super::args::Explain;
use super::failure::{Failure, Kind};
use super::history::Ledger;
use super::output::{self, Format};
use crate::crd;
use crate::model::action::{ActionState, MergedBy, RemediationAction};
use crate::model::playbook::PlaybookName;
use crate::model::reason::ReasonCode;
use crate::render;

/// Explains an action, an incident, a target, a commit, or a code.
///
/// # Errors
/// When nothing has that name.
pub fn run(args: &Explain) -> Result<(), Failure> {
    if args.list_codes {
        return list_codes();
    }
    let reference = args.reference.as_deref().unwrap_or("last");
    if let Some(text) = code(reference) {
        return output::data(&text);
    }
    let ledger = Ledger::of(&args.look)?;
    let found = ledger.find(reference);
    if found.is_empty() {
        return Err(Failure::new(Kind::No, format!("nothing in this ledger is named {reference}")).hint(
            "tars log lists what there is; a reason or TARS code can be explained too (--list-codes)",
        ));
    }
    let format = args.look.print.output;
    if matches!(format, Format::Json | Format::Yaml) {
        return output::record(
            format,
            &json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": found }),
        );
    }
    let mut text = String::new();
    for (index, record) in found.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        match &args.why_not {
            Some(playbook) => why_not(&mut text, &ledger, record, playbook)?,
            None => explain(&mut text, record),
        }
    }
    output::data(&text)
}

fn code(reference: &str) -> Option<String> {
    let reason = ReasonCode::ALL.iter().find(|it| it.as_str().eq_ignore_ascii_case(reference));
    if let Some(reason) = reason {
        return Some(format!("{}\n  {}\n", reason.as_str(), reason.meaning()));
    }
    let (name, text) = crd::CODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(reference))?;
    Some(format!("{name}\n  {text}\n"))
}

fn list_codes() -> Result<(), Failure> {
    let mut text = String::new();
    for reason in ReasonCode::ALL {
        let _ = writeln!(text, "{:<24} {}", reason.as_str(), reason.meaning());
    }
    for (name, meaning) in crd::CODES {
        let _ = writeln!(text, "{name:<24} {meaning}");
    }
    output::data(&text)
}

fn explain(text: &mut String, record: &RemediationAction) {
    let spec = &record.spec;
    let _ = writeln!(text, "{} is {}.", record.id(), record.state().as_str());
    let _ = writeln!(text, "{}\n", spec.sentence);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    row("incident", format!("{} (fingerprint {})", spec.incident, spec.fingerprint.short()));
    let at = spec.policy_commit.short();
    row("policy", format!("{}, mode {:?} ({} at {at})", spec.policy, spec.mode, spec.policy_path));
    row("risk", format!("{:?}: {}", spec.risk.class, spec.risk.reason));
    for anomaly in &spec.cause.anomalies {
        let (low, high) = anomaly.expected;
        row(
            "evidence",
            format!(
                "{} was {} (expected {} to {}), score {:.2}, {}, confidence {:.2}",
                anomaly.key,
                render::number(anomaly.value),
                render::number(low),
                render::number(high),
                anomaly.score.get(),
                anomaly.severity.as_str(),
                anomaly.confidence.get()
            ),
        );
        for model in &anomaly.models {
            let (name, score) = (model.model.as_str(), model.score.get());
            row("", format!("{name} {score:.2} x {:.0} %: {}", model.weight * 100.0, model.evidence));
        }
    }
    for alert in &spec.cause.alerts {
        row("alert", format!("{:?} since {}", alert.name(), time(alert.starts_at)));
    }
    for line in &spec.budget {
        row("budget", format!("{}: {} of {} this hour, this one included", line.name, line.used, line.limit));
    }
    for field in spec.change.iter().flat_map(|change| &change.fields) {
        let or_absent = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".to_owned());
        let (from, to) = (or_absent(&field.from), or_absent(&field.to));
        row("change", format!("{}: {} {from} -> {to}", field.file, field.field));
    }
    if let Some(merge) = &record.status.merge {
        let by = match merge.by {
            MergedBy::Tars => "tars",
            MergedBy::Person => "a person",
        };
        row("merged", format!("by {by} as {} at {}", merge.commit.short(), time(merge.at)));
    }
    for reason in &record.status.holds {
        let name = if record.state() == ActionState::Proposed { "waits" } else { "because" };
        row(name, format!("{} ({})", reason.text, reason.code.as_str()));
    }
    for (playbook, reason) in &spec.rejected {
        row("rejected", format!("{}: {reason}", playbook.as_str()));
    }
    if let Some(verdict) = &record.status.verdict {
        row("verdict", format!("{:?}: {}", verdict.outcome, verdict.text));
    }
    if let Some(result) = &record.status.result {
        row("undo", result.revert_hint.clone());
    }
    if let Some(undo) = &record.status.undone_by {
        row("undone by", undo.to_string());
    }
    let _ = writeln!(text);
    for event in &record.status.timeline {
        let _ = writeln!(text, "  {}  {}", time(event.at), event.text);
    }
}

fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Answers for one playbook; what the record does not say, the policy of today does.
fn why_not(
    text: &mut String,
    ledger: &Ledger,
    record: &RemediationAction,
    playbook: &str,
) -> Result<(), Failure> {
    let known = PlaybookName::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(playbook));
    let Some(playbook) = known else {
        let names: Vec<&str> = PlaybookName::ALL.iter().map(|it| it.as_str()).collect();
        return Err(Failure::usage(format!("{playbook} is no playbook; there are {}", names.join(", "))));
    };
    let (name, spec) = (playbook.as_str(), &record.spec);
    if spec.playbook == playbook {
        let _ = writeln!(text, "{name} was taken for {}: {}", spec.target, spec.sentence);
        return Ok(());
    }
    if let Some((_, reason)) = spec.rejected.iter().find(|(rejected, _)| *rejected == playbook) {
        let _ = writeln!(text, "{name} was rejected for {} in {}.", spec.target, record.id());
        let _ = writeln!(text, "  {:<10} {}", "reason", reason.text);
        let _ = writeln!(text, "  {:<10} {}", reason.code.as_str(), reason.code.meaning());
        return Ok(());
    }
    let snapshot = super::get::snapshot(ledger)?;
    let listed: Vec<&str> = snapshot
        .policies
        .iter()
        .filter(|it| it.name == spec.policy)
        .flat_map(|it| it.actions.iter().map(|action| action.name().as_str()))
        .collect();
    let taken = spec.playbook.as_str();
    let why = if listed.contains(&name) {
        format!("policy {} lists it after {taken}, which fitted", spec.policy)
    } else {
        format!("policy {} ({}) allows only {}", spec.policy, spec.policy_path, listed.join(", "))
    };
    let _ = writeln!(text, "{name} was not considered for {} in {}: {why}.", spec.target, record.id());
    Ok(())
}
