//! `tars log`: the ledger, newest entry first.

use serde::Serialize;

use super::args::Log;
use super::failure::Failure;
use super::history::{Ledger, signature_word};
use super::output::{self, Format, Table};
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
pub fn run(args: &Log) -> Result<(), Failure> {
    let ledger = Ledger::of(&args.look)?;
    let wanted = |entry: &&Entry| {
        let Some(subject) = &entry.envelope.subject else {
            return args.policy.is_none() && args.target.is_none() && args.action.is_none();
        };
        let is = |filter: &Option<String>, value: &str| filter.as_ref().is_none_or(|it| it == value);
        is(&args.policy, subject.policy.as_str())
            && is(&args.target, &subject.target.to_string())
            && (is(&args.action, subject.action.as_str()) || is(&args.action, subject.incident.as_str()))
    };
    let lines: Vec<Line> =
        ledger.entries.iter().rev().filter(wanted).take(args.max_count).map(line).collect();
    let rows = lines.iter().map(|line| {
        vec![
            line.seq.to_string(),
            line.time.clone(),
            line.kind.to_owned(),
            line.target.clone().unwrap_or_default(),
            line.text.clone(),
            line.action.clone().unwrap_or_default(),
            line.policy.clone().unwrap_or_default(),
            line.commit.chars().take(12).collect(),
            line.signature.to_owned(),
        ]
    });
    let table = Table {
        headers: vec!["SEQ", "TIME", "ENTRY", "TARGET", "WHAT", "ACTION", "POLICY", "COMMIT", "SIGNATURE"],
        wide: 4,
        rows: rows.collect(),
    };
    let names: Vec<String> = lines.iter().map(|line| line.commit.clone()).collect();
    let format = args.look.print.output;
    output::list(format, &table, &names, &lines, "no entry matches")?;
    if matches!(format, Format::Table | Format::Wide) && ledger.entries.len() > args.max_count {
        output::talk(&format!(
            "{} entries in all; -n {} shows them",
            ledger.entries.len(),
            ledger.entries.len()
        ));
    }
    Ok(())
}

fn line(entry: &Entry) -> Line {
    let envelope = &entry.envelope;
    let subject = envelope.subject.as_ref();
    let text = entry.record.as_ref().map(|record| {
        let last = record.status.timeline.last().map_or("", |event| event.text.as_str());
        if last == "proposed" { render::headline(record) } else { last.to_owned() }
    });
    Line {
        seq: envelope.seq,
        time: envelope.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        kind: envelope.kind.as_str(),
        action: subject.map(|it| it.action.to_string()),
        incident: subject.map(|it| it.incident.to_string()),
        policy: subject.map(|it| it.policy.to_string()),
        target: subject.map(|it| it.target.to_string()),
        commit: entry.commit.to_string(),
        signature: signature_word(&entry.signer),
        text: text.unwrap_or_default(),
    }
}
