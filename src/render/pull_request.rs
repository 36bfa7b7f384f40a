//! The pull request: title and Markdown body from one record. A record comes in, bounded text goes out in
//! which nothing a stranger wrote is a mention, a link, a command or markup.

use serde_json::{Value as Json, json};

use super::escape::{code, fence, fenced, inline, name};
use super::template_check::{TemplateError, Templates, TextKind};
use super::text;
use crate::model::action::{ActionState, Purpose, RemediationAction};
use crate::model::change::{FieldChange, PullRequestText};
use crate::model::playbook::Plan;
use crate::model::policy::Mode;
use crate::model::reason::ReasonCode;
use crate::model::request;

/// Longest body, characters: below the 65,536 of the strictest forge, with room for what a forge adds.
pub const MAX_BODY_CHARS: usize = 58_000;
/// Longest title, characters.
pub(super) const MAX_TITLE_CHARS: usize = 120;
/// Longest diff shown, bytes; the whole one is the commit.
const MAX_SHOWN_DIFF_BYTES: usize = 16 << 10;
/// Most rows of any list.
const MAX_ROWS: usize = 12;
/// Most points of a sparkline.
const MAX_POINTS: usize = 60;

/// Title and body.
///
/// # Errors
/// [`TemplateError`] when the template fails or the body is longer than [`MAX_BODY_CHARS`].
pub fn pull_request(
    record: &RemediationAction,
    templates: &Templates,
) -> Result<PullRequestText, TemplateError> {
    let body = templates.render(record.spec.playbook, TextKind::PullRequest, &context(record))?;
    let chars = body.chars().count();
    if chars > MAX_BODY_CHARS {
        return Err(TemplateError::TooLong { chars, limit: MAX_BODY_CHARS });
    }
    Ok(PullRequestText { title: title(record), body })
}

/// `tars: scale out shop/backend 3→5 (latency_p95, low risk)`.
fn title(record: &RemediationAction) -> String {
    let target = &record.spec.target;
    let object = format!("{}/{}", target.namespace, target.name);
    let what = match &record.spec.plan {
        Plan::Scale { from, to, .. } => {
            format!("scale {} {object} {from}→{to}", if to > from { "out" } else { "in" })
        }
        Plan::Images { .. } | Plan::PodTemplate { .. } => format!("roll back {object}"),
        Plan::Restart { .. } => format!("restart {object}"),
        Plan::Undo { changes } => undo_title(&object, changes, &record.spec.purpose),
    };
    let risk = text::risk_word(record.spec.risk.class);
    let signal = || record.spec.cause.anomalies.first().map(|a| a.key.signal.to_string());
    let cause = match record.spec.purpose {
        _ if record.spec.cause.trigger == request::TRIGGER => Some("asked for".to_owned()),
        Purpose::Revert { .. } => Some("it did not help".to_owned()),
        Purpose::Expire { .. } => Some("no longer needed".to_owned()),
        Purpose::Remediate => signal().or_else(|| record.spec.cause.alerts.first().map(|a| name(a.name()))),
    };
    let why = cause.map_or_else(String::new, |c| format!("{c}, "));
    super::escape::one_line(&format!("tars: {what} ({why}{risk} risk)"), MAX_TITLE_CHARS)
}

fn undo_title(object: &str, changes: &[FieldChange], purpose: &Purpose) -> String {
    let verb = if matches!(purpose, Purpose::Revert { .. }) { "revert" } else { "take back" };
    match changes {
        [one] if one.is_sealed() => format!("{verb} the change of {object}"),
        [FieldChange { field, from: Some(from), to: Some(to), .. }] if text::is_count(field) => {
            format!("scale back {object} {from}→{to}")
        }
        _ => format!("{verb} the change of {object}"),
    }
}

/// Everything a template may say, escaped already.
pub(super) fn context(record: &RemediationAction) -> Json {
    let spec = &record.spec;
    let diff = spec.change.as_ref().map_or("", |c| c.diff.as_str());
    json!({
        "callout": callout(record),
        "sentence": inline_long(&text::decision_sentence(record)),
        "what": inline(&text::what(record)),
        "why": inline(&text::why(record)),
        "target": spec.target.to_string(),
        "changes": rows(text::fields(record), |c| json!({
            "field": code(&c.field),
            "file": code(c.file.as_str()),
            "from": code(c.before()),
            "to": code(c.after()),
        })),
        "risk": {"class": text::risk_word(spec.risk.class), "reason": inline(&spec.risk.reason)},
        "confidence": confidence(record),
        "budget": rows(&spec.budget, |b| json!({"name": inline(&b.name), "used": b.used, "limit": b.limit})),
        "merge": inline(&text::who(record)),
        "verify": inline(&text::verify(record)),
        "undo": inline(&text::undo(record)),
        "observed": !spec.cause.anomalies.is_empty() || !spec.cause.alerts.is_empty(),
        "evidence": rows(&spec.cause.anomalies, evidence),
        "models": record.spec.cause.anomalies.first().map_or_else(Vec::new, |a| rows(&a.models, |m| json!({
            "model": m.model.as_str(),
            "score": text::score(m.score.get()),
            "weight": format!("{:.0} %", m.weight * 100.0),
            "evidence": inline(&m.evidence),
        }))),
        "alerts": rows(&spec.cause.alerts, |a| json!({
            "name": name(a.name()),
            "since": text::clock(a.starts_at),
        })),
        "diff": {
            "fence": fence(diff),
            "text": fenced(diff, MAX_SHOWN_DIFF_BYTES),
            "summary": summary(record),
        },
        "candidates": rows(&spec.rejected, |(playbook, reason)| json!({
            "action": playbook.as_str(),
            "verdict": reason.code.as_str(),
            "reason": inline(&reason.text),
        })),
        "chosen": spec.playbook.as_str(),
        "timeline": rows(&record.status.timeline, |e| json!({
            "at": text::clock(e.at),
            "text": inline(&e.text),
        })),
        "policy": {
            "name": spec.policy.as_str(),
            "path": spec.policy_path.as_str(),
            "commit": spec.policy_commit.short(),
        },
        "id": record.id().as_str(),
        "incident": spec.incident.as_str(),
    })
}

/// A context with every name and a row in every list: what templates are checked against.
pub(super) fn shape() -> Json {
    json!({
        "callout": {"level": "NOTE", "title": "x", "text": "x"},
        "sentence": "x",
        "what": "x",
        "why": "x",
        "target": "x",
        "changes": [{"field": "x", "file": "x", "from": "x", "to": "x"}],
        "risk": {"class": "x", "reason": "x"},
        "confidence": "x",
        "budget": [{"name": "x", "used": 1, "limit": 1}],
        "merge": "x",
        "verify": "x",
        "undo": "x",
        "observed": true,
        "evidence": [{"name": "x", "spark": "x", "now": "x", "expected": "x", "since": "x", "score": "x",
            "severity": "x"}],
        "models": [{"model": "x", "score": "x", "weight": "x", "evidence": "x"}],
        "alerts": [{"name": "x", "since": "x"}],
        "diff": {"fence": "x", "text": "x", "summary": "x"},
        "candidates": [{"action": "x", "verdict": "x", "reason": "x"}],
        "chosen": "x",
        "timeline": [{"at": "x", "text": "x"}],
        "policy": {"name": "x", "path": "x", "commit": "x"},
        "id": "x",
        "incident": "x",
    })
}

fn rows<T>(items: &[T], row: impl Fn(&T) -> Json) -> Vec<Json> {
    items.iter().take(MAX_ROWS).map(row).collect()
}

/// The sentence is several parts long; each part was bounded when it was made.
fn inline_long(sentence: &str) -> String {
    let parts = sentence.split(". ").map(inline);
    parts.collect::<Vec<_>>().join(". ")
}

fn evidence(anomaly: &crate::model::anomaly::Anomaly) -> Json {
    let (low, high) = anomaly.expected;
    json!({
        "name": inline(&anomaly.key.to_string()),
        "spark": sparkline(&anomaly.recent),
        "now": text::number(anomaly.value),
        "expected": format!("{} to {}", text::number(low), text::number(high)),
        "since": text::clock(anomaly.at),
        "score": text::score(anomaly.score.get()),
        "severity": anomaly.severity.as_str(),
    })
}

fn confidence(record: &RemediationAction) -> String {
    let Some(first) = record.spec.cause.anomalies.first() else { return String::new() };
    let warming = if first.warming_up { ", still warming up" } else { "" };
    let agree = first.models.iter().filter(|m| m.score.get() >= 0.8).count();
    let models = match first.models.len() {
        0 => String::new(),
        total => format!(" · {agree} of {total} models at 0.8 or above"),
    };
    format!("{}{models}{warming}", text::score(first.confidence.get()))
}

fn summary(record: &RemediationAction) -> String {
    let Some(change) = &record.spec.change else { return "nothing is written".into() };
    if let Some(why) = &change.unrendered {
        return format!("not rendered: {}", inline(why));
    }
    let plural = |n: u32, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    format!(
        "{} of {} compared",
        plural(change.fields_changed, "field"),
        plural(change.objects_compared, "rendered object")
    )
}

/// What a reviewer reads first.
fn callout(record: &RemediationAction) -> Json {
    let holds = &record.status.holds;
    let held = |code: ReasonCode| holds.iter().find(|h| h.code == code);
    let budget = [ReasonCode::BudgetExhausted, ReasonCode::GlobalBudgetExhausted];
    let (level, title, text) =
        if !matches!(record.state(), ActionState::Proposed | ActionState::MergeReserved) {
            ("NOTE", "Nothing to decide.".to_owned(), format!("The action is {}.", record.state().as_str()))
        } else if let Some(hold) = held(ReasonCode::SignalRecovered) {
            ("NOTE", "No longer needed.".to_owned(), hold.text.clone())
        } else if let Some(hold) = budget.into_iter().find_map(held) {
            (
                "WARNING",
                "Not merging by itself: budget used up.".to_owned(),
                format!("{}. You may still merge.", hold.text.trim_end_matches('.')),
            )
        } else if let Some(hold) = holds.first() {
            ("IMPORTANT", "Waiting for you.".to_owned(), hold.text.clone())
        } else if text::merges_itself(record) {
            (
                "NOTE",
                "Merges itself.".to_owned(),
                "Low risk and inside its budgets; close this to stop it.".to_owned(),
            )
        } else if record.spec.mode == Mode::AutoMerge {
            let why =
                format!("{} risk: {}.", text::risk_word(record.spec.risk.class), record.spec.risk.reason);
            ("IMPORTANT", "Waiting for you.".to_owned(), why)
        } else {
            ("IMPORTANT", "Waiting for you.".to_owned(), "The policy lets people merge.".to_owned())
        };
    json!({"level": level, "title": title, "text": inline(&sentence(&text))})
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// `▁▁▂▇█`: the newest values between their own minimum and maximum; a flat line is low.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let newest = &finite[finite.len().saturating_sub(MAX_POINTS)..];
    let low = newest.iter().copied().fold(f64::INFINITY, f64::min);
    let high = newest.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let level = |v: f64| if high > low { ((v - low) / (high - low) * 7.0).round() as usize } else { 0 };
    newest.iter().map(|&v| BARS[level(v).min(7)]).collect()
}

#[cfg(test)]
#[path = "pull_request_tests.rs"]
mod tests;
