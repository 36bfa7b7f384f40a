//! `tars log`: the ledger, newest entry first.

use serde::Serialize;

use super::args::Log;
use super::failure::Failure;
use super::history::{Ledger, signature_word};
use super::output::{Console, Piece, Style, Table, rfc3339};
use super::selector::{Labels, Selection};
use crate::model::entry::Entry;
use crate::render;

/// One line of `tars log -o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    seq: u64,
    time: String,
    kind: &'static str,
    action: Option<String>,
    incident: Option<String>,
    policy: Option<String>,
    target: Option<String>,
    commit: String,
    signature: &'static str,
    text: String,
}

/// Prints the history.
///
/// # Errors
/// When there is no ledger to read.
pub fn run(args: &Log, console: &Console) -> Result<(), Failure> {
    let selection = Selection::new(&args.filters)?;
    let ledger = Ledger::of(&args.look, console)?;
    let found: Vec<&Entry> =
        ledger.entries.iter().rev().filter(|entry| wanted(args, &selection, entry)).collect();
    let shown = &found[..found.len().min(args.max_count)];
    let forge = ledger.forge();
    let row = |entry: &&Entry| -> Vec<Piece> {
        let line = line(entry);
        let signature = match line.signature {
            "good" => Style::Plain,
            "none" => Style::Warn,
            _ => Style::Bad,
        };
        let short: String = line.commit.chars().take(12).collect();
        vec![
            line.seq.to_string().into(),
            entry.envelope.time.into(),
            line.kind.into(),
            line.target.unwrap_or_default().into(),
            line.text.into(),
            line.action.unwrap_or_default().into(),
            line.policy.unwrap_or_default().into(),
            Piece::from(short).linked(forge.as_ref().map(|it| it.commit(&line.commit))),
            Piece::from(line.signature).styled(signature),
        ]
    };
    let table = Table {
        headers: vec!["SEQ", "TIME", "ENTRY", "TARGET", "WHAT", "ACTION", "POLICY", "COMMIT", "SIGNATURE"],
        wide: 4,
        rows: shown.iter().map(row).collect(),
    };
    let lines: Vec<Line> = shown.iter().map(|entry| line(entry)).collect();
    let names: Vec<String> = lines.iter().map(|line| line.commit.clone()).collect();
    console.list(&table, &names, &lines, "no entry matches")?;
    if console.is_for_people() && shown.len() < found.len() {
        console.talk(&format!("{} entries in all; --max-count {} shows them", found.len(), found.len()));
    }
    Ok(())
}

fn wanted(args: &Log, selection: &Selection, entry: &Entry) -> bool {
    let Some(subject) = &entry.envelope.subject else {
        let unfiltered = args.policy.is_none() && args.target.is_none() && args.action.is_none();
        return unfiltered && selection.is_everything();
    };
    let is = |filter: &Option<String>, value: &str| filter.as_ref().is_none_or(|it| it == value);
    is(&args.policy, subject.policy.as_str())
        && is(&args.target, &subject.target.to_string())
        && (is(&args.action, subject.action.as_str()) || is(&args.action, subject.incident.as_str()))
        && selection.takes(&labels(entry))
}

/// Labels of the action as it was after this entry, and what the entry records.
fn labels(entry: &Entry) -> Labels {
    let mut labels = entry.record.as_ref().map(Labels::of_action).unwrap_or_default();
    labels.add("entry", entry.envelope.kind.as_str());
    labels
}

fn line(entry: &Entry) -> Line {
    let envelope = &entry.envelope;
    let subject = envelope.subject.as_ref();
    let asked = || entry.request.as_ref().map(ToString::to_string);
    let text = entry.record.as_ref().map(|record| {
        let last = record.status.timeline.last().map_or("", |event| event.text.as_str());
        if last == "proposed" { render::headline(record) } else { last.to_owned() }
    });
    Line {
        seq: envelope.seq,
        time: rfc3339(envelope.time),
        kind: envelope.kind.as_str(),
        action: subject.map(|it| it.action.to_string()),
        incident: subject.map(|it| it.incident.to_string()),
        policy: subject.map(|it| it.policy.to_string()),
        target: subject.map(|it| it.target.to_string()),
        commit: entry.commit.to_string(),
        signature: signature_word(&entry.signer),
        text: text.or_else(asked).unwrap_or_default(),
    }
}
