//! `tars status`: one screen, from a clone: what needs a person, what is open, what is being verified,
//! budgets, and whether somebody said stop.

use serde::Serialize;

use super::args;
use super::failure::Failure;
use super::get::{Budget, budget_lines, snapshot};
use super::history::Ledger;
use super::output::{Console, Page, Piece, Style, Symbol, counted, rfc3339};
use super::selector::{Labels, Selection};
use crate::model::action::{ActionState, RemediationAction};
use crate::model::anomaly::Anomaly;
use crate::model::policy::Policy;
use crate::model::request::{Request, Wish};
use crate::outside::clock::{Clock as _, SystemClock};
use crate::render;

/// Width of a budget's name.
const NAME_WIDTH: usize = 32;

/// `tars status -o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    suspended: Option<String>,
    suspended_until: Option<String>,
    policies: usize,
    policy_problems: usize,
    entries: usize,
    newest_entry: String,
    needs_you: Vec<Line>,
    running: Vec<Line>,
    /// What people asked for and is in force.
    asked: Vec<String>,
    budgets: Vec<Budget>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    name: String,
    state: &'static str,
    what: String,
    why: String,
    /// Since when each signal behind it was anomalous, as of the proposal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    episodes: Vec<String>,
}

/// Prints the screen.
///
/// # Errors
/// When there is no ledger to read.
pub fn run(args: &args::Status, console: &Console) -> Result<(), Failure> {
    let selection = Selection::new(&args.filters)?;
    let ledger = Ledger::of(&args.look, console)?;
    let snapshot = snapshot(&ledger)?;
    let open = |state: fn(ActionState) -> bool| -> Vec<Line> {
        let wanted = |it: &&RemediationAction| state(it.state()) && selection.takes(&Labels::of_action(it));
        ledger.actions.values().filter(wanted).map(line).collect()
    };
    let wanted = |it: &&Policy| selection.takes(&Labels::of_policy(it));
    let stop = snapshot.suspended.as_ref().filter(|it| it.holds(SystemClock.now()));
    let status = Status {
        suspended: stop.map(|it| it.reason.clone()),
        suspended_until: stop.and_then(|it| it.until).map(rfc3339),
        policies: snapshot.policies.iter().filter(wanted).count(),
        policy_problems: snapshot.problems.len(),
        entries: ledger.entries.len(),
        newest_entry: rfc3339(ledger.newest()),
        needs_you: open(|state| {
            matches!(state, ActionState::Proposed | ActionState::NotRecovered | ActionState::Worse)
        }),
        running: open(|state| {
            matches!(state, ActionState::MergeReserved | ActionState::Merged | ActionState::Synced)
        }),
        asked: asked(&ledger)?,
        budgets: budget_lines(&ledger, &selection)?,
    };
    let names: Vec<String> =
        status.needs_you.iter().chain(&status.running).map(|line| line.name.clone()).collect();
    console.answer(&names, &status, || screen(&status, &ledger))
}

/// Wishes of people that the ledger holds: quiet that lasts, and undoing that is not done.
fn asked(ledger: &Ledger) -> Result<Vec<String>, Failure> {
    let (history, now) = (ledger.history()?, SystemClock.now());
    let lasts = |it: &&Request| !matches!(it.wish, Wish::Quiet { until, .. } if until <= now);
    Ok(history
        .quiet
        .values()
        .filter(lasts)
        .chain(history.reverts.values())
        .map(ToString::to_string)
        .collect())
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
        episodes: record.spec.cause.anomalies.iter().filter_map(episode).collect(),
    }
}

fn episode(anomaly: &Anomaly) -> Option<String> {
    Some(format!("{} {}", anomaly.key, anomaly.episode?))
}

fn screen(status: &Status, ledger: &Ledger) -> Page {
    let mut page = Page::new();
    if let Some(reason) = &status.suspended {
        page.put(Symbol::Warning).put(" ").put(Piece::from("SUSPENDED").styled(Style::Bad));
        let until = status.suspended_until.as_ref().map_or_else(String::new, |it| format!(" until {it}"));
        page.put(format!("{until}: nothing merges by itself ({reason})")).line().line();
    }
    section(&mut page, "Needs you", Symbol::Waiting, &status.needs_you);
    section(&mut page, "Under way", Symbol::Doing, &status.running);
    if !status.asked.is_empty() {
        page.put(Piece::from("Asked for").styled(Style::Strong)).line();
        for wish in &status.asked {
            page.put("  ").put(Symbol::Waiting).put(format!(" {wish}")).line();
        }
    }
    page.put(Piece::from("Budgets as of the newest entry").styled(Style::Strong)).line();
    for budget in &status.budgets {
        let style = if budget.used >= budget.limit { Style::Warn } else { Style::Plain };
        page.put("  ").padded(&budget.name, NAME_WIDTH, Style::Plain).put(" ");
        page.put(Piece::from(format!("{} of {}", budget.used, budget.limit)).styled(style)).line();
    }
    let problems = match status.policy_problems {
        0 => String::new(),
        1 => ", 1 problem (tars policy lint)".to_owned(),
        count => format!(", {count} problems (tars policy lint)"),
    };
    page.put(format!(
        "{}{problems}; {}, newest ",
        counted(status.policies, "policy", "policies"),
        counted(status.entries, "ledger entry", "ledger entries"),
    ));
    page.put(ledger.newest()).line();
    page
}

fn section(page: &mut Page, title: &str, symbol: Symbol, lines: &[Line]) {
    page.put(Piece::from(title).styled(Style::Strong)).line();
    if lines.is_empty() {
        page.put("  nothing").line();
    }
    for line in lines {
        page.put("  ").put(symbol).put(" ").put(Piece::from(line.name.as_str()).styled(Style::Strong));
        page.put(format!("  {} ({})", line.what, line.state)).line();
        page.put(format!("      {}", line.why)).line();
        for episode in &line.episodes {
            page.put(format!("      {episode}, when this was proposed")).line();
        }
    }
}
