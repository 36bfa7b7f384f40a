//! `tars status`: one screen, from a clone: what needs a person, what is open, what is being verified,
//! budgets, and whether somebody said stop.

use std::fmt::Write as _;

use serde::Serialize;

use super::args::Look;
use super::failure::Failure;
use super::get::{Budget, budget_lines, snapshot};
use super::history::Ledger;
use super::output::{self, Format};
use crate::model::action::{ActionState, RemediationAction};
use crate::render;

/// `tars status -o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    suspended: Option<String>,
    policies: usize,
    policy_problems: usize,
    entries: usize,
    newest_entry: String,
    needs_you: Vec<Line>,
    running: Vec<Line>,
    budgets: Vec<Budget>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    name: String,
    state: &'static str,
    what: String,
    why: String,
}

/// Prints the screen.
///
/// # Errors
/// When there is no ledger to read.
pub fn run(look: &Look) -> Result<(), Failure> {
    let ledger = Ledger::of(look)?;
    let snapshot = snapshot(&ledger)?;
    let open = |state: fn(ActionState) -> bool| -> Vec<Line> {
        ledger.actions.values().filter(|it| state(it.state())).map(line).collect()
    };
    let status = Status {
        suspended: snapshot.suspended.clone(),
        policies: snapshot.policies.len(),
        policy_problems: snapshot.problems.len(),
        entries: ledger.entries.len(),
        newest_entry: ledger.newest().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        needs_you: open(|state| {
            matches!(state, ActionState::Proposed | ActionState::NotRecovered | ActionState::Worse)
        }),
        running: open(|state| {
            matches!(state, ActionState::MergeReserved | ActionState::Merged | ActionState::Synced)
        }),
        budgets: budget_lines(&ledger)?,
    };
    match look.print.output {
        Format::Json | Format::Yaml => output::record(look.print.output, &status),
        Format::Table | Format::Wide | Format::Name => output::data(&screen(&status)),
    }
}

fn line(record: &RemediationAction) -> Line {
    let why = match (record.status.holds.first(), &record.status.verdict) {
        (Some(hold), _) => format!("{} ({})", hold.text, hold.code.as_str()),
        (None, Some(verdict)) => verdict.text.clone(),
        (None, None) => record.status.timeline.last().map_or_else(String::new, |it| it.text.clone()),
    };
    Line {
        name: record.id().to_string(),
        state: record.state().as_str(),
        what: render::headline(record),
        why,
    }
}

fn screen(status: &Status) -> String {
    let mut text = String::new();
    if let Some(reason) = &status.suspended {
        let _ = writeln!(text, "! SUSPENDED: nothing merges by itself ({reason})\n");
    }
    let mut section = |title: &str, lines: &[Line], none: &str| {
        let _ = writeln!(text, "{title}");
        if lines.is_empty() {
            let _ = writeln!(text, "  {none}");
        }
        for line in lines {
            let _ = writeln!(text, "  {}  {} ({})\n      {}", line.name, line.what, line.state, line.why);
        }
    };
    section("Needs you", &status.needs_you, "nothing");
    section("Under way", &status.running, "nothing");
    let _ = writeln!(text, "Budgets as of the newest entry");
    for budget in &status.budgets {
        let _ = writeln!(text, "  {:<32} {} of {}", budget.name, budget.used, budget.limit);
    }
    let problems = match status.policy_problems {
        0 => String::new(),
        1 => ", 1 problem (tars policy lint)".to_owned(),
        count => format!(", {count} problems (tars policy lint)"),
    };
    let _ = writeln!(
        text,
        "{}{problems}; {}, newest {}",
        output::counted(status.policies, "policy", "policies"),
        output::counted(status.entries, "ledger entry", "ledger entries"),
        status.newest_entry
    );
    text
}
