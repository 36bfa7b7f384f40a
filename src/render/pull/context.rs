//! Everything a template may say, escaped already and cut to a form. A record comes in, a tree of texts goes out; the
//! template decides the order and nothing else.

use serde_json::{Value as Json, json};

use super::BOXES;
use super::around::{Around, related};
use super::callout;
use super::chart;
use super::form::Form;
use super::secrets;
use crate::model::action::{Purpose, RemediationAction};
use crate::model::anomaly::Anomaly;
use crate::model::change::FieldChange;
use crate::model::forge::ForgeCapabilities;
use crate::model::playbook::PlaybookName;
use crate::model::reason::{Reason, ReasonCode};
use crate::render::escape::{code_within, fence, fenced, html_within, inline_within, name};
use crate::render::text;

/// A change longer than this takes a line for each of its parts: code does not wrap in the tables of forges.
const WIDE_CHANGE_BYTES: usize = 70;

/// What a text is made for.
#[derive(Debug, Clone, Copy)]
pub struct Canvas<'a> {
    pub caps: &'a ForgeCapabilities,
    pub form: &'a Form,
    /// One of several in a pull request, which asks once for all of them.
    pub is_part: bool,
}

impl Canvas<'_> {
    fn inline(&self, text: &str) -> String {
        inline_within(text, self.form.inline_chars)
    }

    fn code(&self, text: &str) -> String {
        code_within(text, self.form.code_chars)
    }
}

/// The context of one record.
pub fn context(record: &RemediationAction, around: Around<'_>, canvas: Canvas<'_>) -> Json {
    let spec = &record.spec;
    let Canvas { caps, form, .. } = canvas;
    let (inline, code) = (|text: &str| canvas.inline(text), |text: &str| canvas.code(text));
    let asks = record.state().waits() && !canvas.is_part;
    let candidates = candidates(record);
    json!({
        "callout": callout(&canvas, record),
        "sentence": if form.is_long { sentence(&canvas, record) } else { String::new() },
        "related": related(record, &around, canvas),
        "what": inline(&text::what(record)),
        "why": inline(&text::why(record)),
        "target": code(&spec.target.to_string()),
        "changes": changes(&canvas, record),
        "risk": {"class": text::risk_word(spec.risk.class), "reason": inline(&spec.risk.reason)},
        "confidence": confidence(record),
        "budget": inline(&budget(record, form.rows)),
        "merge": inline(&text::who(record)),
        "verify": inline(&text::verify(record)),
        "undo": inline(&text::undo(record)),
        "observed": !spec.cause.anomalies.is_empty() || !spec.cause.alerts.is_empty(),
        "evidence": rows(&spec.cause.anomalies, form.rows, |it| evidence(&canvas, it)),
        "models": if form.has_models { models(&canvas, record) } else { Vec::new() },
        "alerts": rows(&spec.cause.alerts, form.rows, |a| json!({
            "name": name(a.name()),
            "since": text::clock(a.starts_at),
        })),
        "more_causes": more(spec.cause.anomalies.len(), form.rows)
            + more(spec.cause.alerts.len().max(spec.cause.alerts_total as usize), form.rows),
        "chart": chart(&canvas, record),
        "diff": diff(&canvas, record),
        "note": if form.is_long && spec.purpose == Purpose::Remediate { note(spec.playbook) } else { "" },
        "candidates": rows(&candidates, form.rows, |(action, reason)| json!({
            "action": inline(action),
            "verdict": reason.code.as_str(),
            "reason": inline(&reason.text),
        })),
        "more_candidates": more(candidates.len(), form.rows),
        "chosen": spec.playbook.as_str(),
        "timeline": timeline(&canvas, record),
        "more_timeline": more(record.status.timeline.len(), form.rows),
        "policy": {
            "name": spec.policy.as_str(),
            "path": code(spec.policy_path.as_str()),
            "commit": spec.policy_commit.short(),
        },
        "id": record.id().as_str(),
        "incident": spec.incident.as_str(),
        "is_long": form.is_long,
        "asks": asks,
        "folds": caps.details,
        "boxes": if asks && caps.checkboxes { BOXES } else { "" },
        "commands": *caps != ForgeCapabilities::LOCAL,
    })
}

/// A context with every name and a row in every list: what templates are checked against.
pub fn shape() -> Json {
    json!({
        "callout": {"level": "NOTE", "title": "x", "text": "x"},
        "sentence": "x",
        "related": "x",
        "what": "x",
        "why": "x",
        "target": "x",
        "changes": [{"field": "x", "file": "x", "from": "x", "to": "x", "gap": "x", "between": "x"}],
        "risk": {"class": "x", "reason": "x"},
        "confidence": "x",
        "budget": "x",
        "merge": "x",
        "verify": "x",
        "undo": "x",
        "observed": true,
        "evidence": [{"name": "x", "spark": "x", "now": "x", "expected": "x", "since": "x", "score": "x",
            "severity": "x", "episode": "x"}],
        "models": [{"model": "x", "score": "x", "weight": "x", "evidence": "x"}],
        "alerts": [{"name": "x", "since": "x"}],
        "more_causes": 1,
        "chart": {"text": "x", "caption": "x"},
        "diff": {"fence": "x", "text": "x", "summary": "x", "secrets": "x", "recipients": "x"},
        "note": "x",
        "candidates": [{"action": "x", "verdict": "x", "reason": "x"}],
        "more_candidates": 1,
        "chosen": "x",
        "timeline": [{"at": "x", "text": "x"}],
        "more_timeline": 1,
        "policy": {"name": "x", "path": "x", "commit": "x"},
        "id": "x",
        "incident": "x",
        "is_long": true,
        "asks": true,
        "folds": true,
        "boxes": "x",
        "commands": true,
    })
}

/// What a reviewer must know about every action of this kind.
fn note(playbook: PlaybookName) -> &'static str {
    let text = match playbook {
        PlaybookName::ScaleOut => include_str!("../../../templates/scale-out/note.md"),
        PlaybookName::Rollback => include_str!("../../../templates/rollback/note.md"),
        PlaybookName::RestartPod => include_str!("../../../templates/restart-pod/note.md"),
    };
    text.trim_ascii_end()
}

fn rows<'t, T>(items: &'t [T], most: usize, row: impl Fn(&'t T) -> Json) -> Vec<Json> {
    items.iter().take(most).map(row).collect()
}

/// How many are not shown.
fn more(items: usize, shown: usize) -> usize {
    items.saturating_sub(shown)
}

fn callout(canvas: &Canvas<'_>, record: &RemediationAction) -> Json {
    let callout = callout::of(record);
    json!({
        "level": if canvas.caps.callouts { callout.level } else { "" },
        "title": canvas.inline(&callout.title),
        "text": canvas.inline(&callout.text),
    })
}

/// The sentence is several parts long; each part was bounded when it was made.
fn sentence(canvas: &Canvas<'_>, record: &RemediationAction) -> String {
    let sentence = text::decision_sentence(record);
    let parts: Vec<String> = sentence.split(". ").map(|part| canvas.inline(part)).collect();
    parts.join(". ")
}

fn changes(canvas: &Canvas<'_>, record: &RemediationAction) -> Vec<Json> {
    let fields = text::fields(record);
    let shown = fields.len().min(canvas.form.rows);
    let between = if canvas.caps.details { "<br>" } else { "; " };
    let row = |(at, change): (usize, &FieldChange)| {
        let more = fields.len() - shown;
        let (from, to) = (text::brief(change.before()), text::brief(change.after()));
        let chars = change.field.len() + change.file.as_str().len() + from.len() + to.len();
        let is_wide = chars > WIDE_CHANGE_BYTES && canvas.caps.details;
        json!({
            "field": canvas.code(&change.field),
            "file": canvas.code(change.file.as_str()),
            "from": canvas.code(&from),
            "to": canvas.code(&to),
            "gap": if is_wide { "<br>" } else { " " },
            "between": match (at + 1 == shown, more) {
                (false, _) => between.to_owned(),
                (true, 0) => String::new(),
                (true, more) => format!("{between}and {more} more"),
            },
        })
    };
    fields[..shown].iter().enumerate().map(row).collect()
}

/// What was not done: other playbooks, and anything for those that are victims of this cause.
fn candidates(record: &RemediationAction) -> Vec<(String, Reason)> {
    let spec = &record.spec;
    let rejected =
        spec.rejected.iter().map(|(playbook, reason)| (playbook.as_str().to_owned(), reason.clone()));
    let victims =
        spec.cause.correlation.iter().flat_map(|it| it.victims.iter().map(move |victim| (it, victim)));
    let held = victims.map(|(it, victim)| {
        let text = format!("it calls {}, directly or not, and is only its victim", it.suspect());
        (format!("anything for {victim}"), Reason::new(ReasonCode::CauseElsewhere, text))
    });
    rejected.chain(held).collect()
}

/// `policy 1/2 · global 3/6`.
fn budget(record: &RemediationAction, most: usize) -> String {
    let lines = record.spec.budget.iter().take(most);
    let lines: Vec<String> = lines.map(|it| format!("{} {}/{}", it.name, it.used, it.limit)).collect();
    if lines.is_empty() { "not counted".to_owned() } else { lines.join(" · ") }
}

fn evidence(canvas: &Canvas<'_>, anomaly: &Anomaly) -> Json {
    let (low, high) = anomaly.expected;
    json!({
        "name": canvas.inline(&anomaly.key.to_string()),
        "spark": chart::sparkline(&anomaly.recent, canvas.form.bars),
        "now": text::number(anomaly.value),
        "expected": format!("{} to {}", text::number(low), text::number(high)),
        "since": text::clock(anomaly.at),
        "score": text::score(anomaly.score.get()),
        "severity": anomaly.severity.as_str(),
        "episode": anomaly.episode.map_or_else(String::new, |it| it.to_string()),
    })
}

fn models(canvas: &Canvas<'_>, record: &RemediationAction) -> Vec<Json> {
    let models = record.spec.cause.anomalies.first().map_or(&[][..], |first| &first.models);
    rows(models, canvas.form.rows, |m| {
        json!({
            "model": m.model.as_str(),
            "score": text::score(m.score.get()),
            "weight": format!("{:.0} %", m.weight.clamp(0.0, 1.0) * 100.0),
            "evidence": canvas.inline(&m.evidence),
        })
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

fn chart(canvas: &Canvas<'_>, record: &RemediationAction) -> Json {
    let is_drawn = canvas.form.has_chart && canvas.caps.mermaid;
    let first = record.spec.cause.anomalies.first().filter(|_| is_drawn);
    let drawn = first.and_then(|first| Some((chart::mermaid(first)?, first)));
    drawn.map_or_else(
        || json!({"text": "", "caption": ""}),
        |(chart, first)| {
            let (low, high) = first.expected;
            json!({
                "text": chart,
                "caption": format!(
                    "The uneven line is what was measured; the flat ones at {} and {} are the edges of what was \
                     expected.",
                    text::number(high),
                    text::number(low)
                ),
            })
        },
    )
}

fn diff(canvas: &Canvas<'_>, record: &RemediationAction) -> Json {
    let change = record.spec.change.as_ref();
    let masked = change.map_or_else(String::new, |it| secrets::masked(&it.diff));
    let recipients = change.map_or_else(String::new, |it| secrets::recipients(&it.recipients, canvas.form));
    // Every line of an empty diff would be cut.
    let text =
        if canvas.form.diff_bytes == 0 { String::new() } else { fenced(&masked, canvas.form.diff_bytes) };
    let summary = summary(record);
    json!({
        "fence": fence(&text),
        "text": text,
        "summary": if canvas.caps.details {
            html_within(&summary, canvas.form.inline_chars)
        } else {
            canvas.inline(&summary)
        },
        "secrets": secrets::listed(text::fields(record), canvas.form),
        "recipients": recipients,
    })
}

fn summary(record: &RemediationAction) -> String {
    let Some(change) = &record.spec.change else { return "nothing is written".into() };
    if let Some(why) = &change.unrendered {
        return format!("not rendered: {why}");
    }
    let plural = |n: u32, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    format!(
        "{} of {} compared",
        plural(change.fields_changed, "field"),
        plural(change.objects_compared, "rendered object")
    )
}

/// The newest lines; the first one only while all fit.
fn timeline(canvas: &Canvas<'_>, record: &RemediationAction) -> Vec<Json> {
    let all = &record.status.timeline;
    let newest = &all[more(all.len(), canvas.form.rows)..];
    rows(
        newest,
        canvas.form.rows,
        |event| json!({"at": text::clock(event.at), "text": canvas.inline(&event.text)}),
    )
}
