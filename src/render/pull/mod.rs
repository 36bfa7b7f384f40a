//! The pull request as people see it: title, Markdown body and labels, made from records alone. The same records give
//! the same bytes, so an edit of it means news. Nothing a stranger wrote is a mention, a link, a command or markup in
//! it, and it is never longer than the forge takes.

mod around;
mod batch;
mod callout;
mod chart;
mod context;
mod form;
mod labels;
mod secrets;

use base64ct::{Base64, Encoding as _};

use self::context::Canvas;
use self::form::{FORMS, Form, WHOLE};
use super::escape::{name, title as plain};
use super::template_check::{Author, TemplateError, Templates};
use super::{commit_text, text};
use crate::model::action::{Purpose, RemediationAction};
use crate::model::change::{FieldChange, PullRequestText};
use crate::model::forge::ForgeCapabilities;
use crate::model::playbook::{Plan, PlaybookName};
use crate::model::request;

pub use self::around::Around;
pub use self::batch::batch;
pub(super) use self::context::shape;
pub use self::labels::PullText;

/// Longest title, characters.
const MAX_TITLE_CHARS: usize = 120;

/// Ticked boxes are asked for; what they ask is in the comment, because people may mend the words.
const BOXES: &str = "- [ ] <!-- tars:refresh -->Look again now, and build this branch anew if the change is another one\n\
                     - [ ] <!-- tars:snooze=24h -->Close this, and stay quiet about this cause for 24 h";

/// Title, body and labels of the pull request that brings these actions: those of one branch, in the order of their
/// commits. It says how things are in the records; nothing in it is a time that passes.
///
/// # Errors
/// [`TemplateError`] when no template can be rendered, or the forge takes less than the shortest form has.
pub fn pull_text(
    line: &[&RemediationAction],
    around: Around<'_>,
    templates: &Templates,
    caps: &ForgeCapabilities,
) -> Result<PullText, TemplateError> {
    let text = match line {
        [one] => PullRequestText { title: title(one), body: body(one, around, templates, caps, false)? },
        _ => {
            // None of them may leave the others without room.
            let share =
                ForgeCapabilities { body_chars_max: caps.body_chars_max / line.len().max(1), ..*caps };
            let own = |record: &RemediationAction| {
                let body = body(record, around, templates, &share, true).ok()?;
                Some(PullRequestText { title: title(record), body })
            };
            let texts: Vec<_> = line.iter().map(|&record| (record, own(record))).collect();
            batch(&texts, caps)
        }
    };
    Ok(PullText { title: text.title, body: text.body, labels: labels::of(line) })
}

/// What a commit message is made from.
pub(super) fn whole(record: &RemediationAction) -> serde_json::Value {
    let canvas = Canvas { caps: &ForgeCapabilities::LOCAL, form: &WHOLE, is_part: false };
    context::context(record, Around::default(), canvas)
}

/// The longest form that fits, in the repository's words if they fit at all.
fn body(
    record: &RemediationAction,
    around: Around<'_>,
    templates: &Templates,
    caps: &ForgeCapabilities,
    is_part: bool,
) -> Result<String, TemplateError> {
    let mut shortest = TemplateError::TooLong { chars: 0, limit: caps.body_chars_max };
    for author in [Author::Repository, Author::BuiltIn] {
        for (index, form) in FORMS.iter().enumerate() {
            let context = context::context(record, around, Canvas { caps, form, is_part });
            let text = match templates.pull_request(author, &context) {
                None => break,
                // A text that grows beyond its bound may do so no more in a shorter form.
                Some(Err(error)) => {
                    shortest = error;
                    continue;
                }
                Some(Ok(text)) => text,
            };
            let body = format!(
                "{}\n{}\n{}{}",
                marker(record),
                text.trim(),
                left_out(record, &FORMS[..=index], caps),
                if form.has_data { data(record) } else { String::new() }
            );
            let chars = body.chars().count();
            if chars <= caps.body_chars_max {
                return Ok(body);
            }
            shortest = TemplateError::TooLong { chars, limit: caps.body_chars_max };
        }
    }
    Err(shortest)
}

/// Tells machines whose text this is. It stands outside the templates, so that none can lose it.
fn marker(record: &RemediationAction) -> String {
    let spec = &record.spec;
    let change = spec.change.as_ref().map_or("none", |it| &it.change_id.as_str()[..16]);
    format!("<!-- tars:v1 action={} incident={} change={change} -->", record.id(), spec.incident)
}

/// What a reader misses in the last of these forms, and where it is.
fn left_out(record: &RemediationAction, forms: &[Form], caps: &ForgeCapabilities) -> String {
    let words = forms.iter().map(|it| it.left_out);
    let named: Vec<&str> =
        words.filter(|it| !it.is_empty() && (caps.mermaid || *it != form::CHART)).collect();
    if named.is_empty() {
        return String::new();
    }
    format!(
        "\nLeft out to fit {} characters: {}. `tars explain {}` has it all.\n",
        caps.body_chars_max,
        named.join(", "),
        record.id()
    )
}

/// The trailers of the commit, for the day when a squash has dropped them. In letters that no markup has a use for.
fn data(record: &RemediationAction) -> String {
    let trailers = commit_text::trailer_lines(record);
    format!("\n<!-- tars-data:{} -->\n", Base64::encode_string(trailers.as_bytes()))
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
        Plan::Undo { changes } => undo_title(record, &object, changes),
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
    plain(&format!("tars: {what} ({why}{risk} risk)"), MAX_TITLE_CHARS)
}

fn undo_title(record: &RemediationAction, object: &str, changes: &[FieldChange]) -> String {
    let done = match record.spec.playbook {
        PlaybookName::ScaleOut => "scale out",
        PlaybookName::Rollback => "roll back",
        PlaybookName::RestartPod => "restart",
    };
    let reverts = matches!(record.spec.purpose, Purpose::Revert { .. });
    match changes {
        [FieldChange { field, from: Some(from), to: Some(to), .. }]
            if text::is_count(field) && !changes[0].is_sealed() =>
        {
            let verb = if reverts { "revert scale out" } else { "scale back" };
            format!("{verb} {object} {from}→{to}")
        }
        _ if reverts => format!("revert {done} {object}"),
        _ => format!("take back {done} {object}"),
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
