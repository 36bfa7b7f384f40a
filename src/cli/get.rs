//! `tars get`: policies, remediations, proposals and budgets, from a clone.

use serde::Serialize;

use super::args::{Beside, Get, GetKind};
use super::charts::settled;
use super::failure::{Failure, Kind};
use super::history::{self, Ledger};
use super::output::{Console, Page, Piece, Style, Table};
use super::selector::{Labels, Selection};
use super::settings;
use crate::config::Overrides;
use crate::model::action::{ActionSpec, ActionState, MergedBy, Purpose, RemediationAction};
use crate::model::change::PullRequestText;
use crate::model::forge::ForgeCapabilities;
use crate::model::ids::RepoPath;
use crate::model::policy::Policy;
use crate::observe::repository::{Repository, Snapshot};
use crate::render;

/// Prints a list, or one object.
///
/// # Errors
/// When the clone cannot be read or the name matches nothing.
pub fn run(args: &Get, console: &Console) -> Result<(), Failure> {
    let selection = Selection::new(&args.filters)?;
    match args.kind {
        GetKind::Policies => policies(args, &selection, console),
        GetKind::Remediations => remediations(args, &selection, console),
        GetKind::Proposals => proposals(args, &selection, console),
        GetKind::Budgets => budgets(args, &selection, console),
    }
}

/// The watched branch of a clone, understood.
///
/// # Errors
/// When the clone or the branch cannot be read.
pub fn snapshot(ledger: &Ledger) -> Result<std::sync::Arc<Snapshot>, Failure> {
    read_snapshot(&ledger.objects, &ledger.main)
}

/// A reader of clones whose policies are where they are by default.
///
/// # Errors
/// Never in practice.
pub fn repository() -> Result<Repository, Failure> {
    let policies =
        RepoPath::new("policies").map_err(|error| Failure::new(Kind::No, "bad path").because(error))?;
    Ok(Repository::new(policies))
}

/// The same with what a settings file says beside the clone, if one is named.
///
/// # Errors
/// When the settings, or a key file they name, cannot be used.
pub fn repository_beside(beside: &Beside) -> Result<Repository, Failure> {
    let Some(file) = &beside.config else { return repository() };
    let settings = settings::load(file, &Overrides::default())?;
    let surroundings = settings::surroundings(&settings)?;
    Ok(Repository::new(settings.policies_path).in_surroundings(surroundings))
}

/// A commit of a clone, understood.
///
/// # Errors
/// When it cannot be read.
pub fn read_snapshot(
    objects: &crate::outside::git::Objects,
    main: &crate::model::ids::ObjectId,
) -> Result<std::sync::Arc<Snapshot>, Failure> {
    let mut repository = repository()?;
    let charts = repository.charts();
    settled(&charts, || repository.snapshot(objects, main))?
        .map_err(|error| Failure::new(Kind::No, "could not read the watched branch").because(error))
}

fn named<T>(items: Vec<T>, name: Option<&String>, what: &str) -> Result<Vec<T>, Failure> {
    match name {
        Some(name) if items.is_empty() => Err(Failure::new(Kind::No, format!("no {what} is named {name}"))),
        _ => Ok(items),
    }
}

fn policies(args: &Get, selection: &Selection, console: &Console) -> Result<(), Failure> {
    let objects = history::open_clone(&args.look.repository)?;
    let main = history::watched_branch(&objects, &args.look.branch)?;
    let snapshot = read_snapshot(&objects, &main)?;
    for problem in &snapshot.problems {
        console.warn(&problem.to_string());
    }
    let wanted = |it: &&Policy| {
        args.name.as_ref().is_none_or(|name| it.name.as_str() == name)
            && selection.takes(&Labels::of_policy(it))
    };
    let found = named(snapshot.policies.iter().filter(wanted).collect(), args.name.as_ref(), "policy")?;
    let row = |policy: &&Policy| -> Vec<Piece> {
        let suspended = if policy.suspend { Style::Warn } else { Style::Plain };
        vec![
            policy.namespace.as_str().into(),
            policy.name.as_str().into(),
            format!("{:?}", policy.mode).into(),
            Piece::from(policy.suspend.to_string()).styled(suspended),
            policy.actions.iter().map(|it| it.name().as_str()).collect::<Vec<_>>().join(",").into(),
            policy.targets().iter().map(ToString::to_string).collect::<Vec<_>>().join(",").into(),
            policy.path.as_str().into(),
        ]
    };
    let table = Table {
        headers: vec!["NAMESPACE", "NAME", "MODE", "SUSPENDED", "ACTIONS", "TARGETS", "FILE"],
        wide: 2,
        rows: found.iter().map(row).collect(),
    };
    let names: Vec<String> = found.iter().map(|it| it.name.to_string()).collect();
    console.list(&table, &names, &found, "no policies")
}

fn chosen<'a>(
    ledger: &'a Ledger,
    args: &Get,
    selection: &Selection,
) -> Result<Vec<&'a RemediationAction>, Failure> {
    let found = match &args.name {
        Some(name) => ledger.find(name),
        None => ledger.actions.values().collect(),
    };
    let found = found.into_iter().filter(|it| selection.takes(&Labels::of_action(it))).collect();
    let mut found = named(found, args.name.as_ref(), "action")?;
    found.sort_by_key(|record| record.status.timeline.first().map(|event| event.at));
    Ok(found)
}

fn remediations(args: &Get, selection: &Selection, console: &Console) -> Result<(), Failure> {
    let ledger = Ledger::of(&args.look, console)?;
    let found = chosen(&ledger, args, selection)?;
    let names: Vec<String> = found.iter().map(|it| it.id().to_string()).collect();
    if let ([one], Some(_), true) = (&found[..], &args.name, console.is_for_programs()) {
        return console.answer(&names, one, Page::new);
    }
    let table = Table {
        headers: vec![
            "NAME", "TARGET", "ACTION", "RISK", "STATE", "MERGED", "VERIFIED", "POLICY", "INCIDENT", "REASON",
        ],
        wide: 3,
        rows: found.iter().map(|record| remediation_row(record)).collect(),
    };
    console.list(&table, &names, &found, "no remediations")
}

/// How a state looks: what is well, what waits, and what went wrong.
fn state_style(state: ActionState) -> Style {
    match state {
        ActionState::Verified | ActionState::Expired => Style::Good,
        ActionState::Proposed => Style::Warn,
        ActionState::NotRecovered | ActionState::Worse => Style::Bad,
        _ => Style::Plain,
    }
}

fn remediation_row(record: &RemediationAction) -> Vec<Piece> {
    let merged = match record.status.merge.as_ref().map(|it| it.by) {
        Some(MergedBy::Tars) => "by tars",
        Some(MergedBy::Person) => "by a person",
        None => "",
    };
    let verified = record.status.verdict.as_ref().map_or_else(String::new, |it| format!("{:?}", it.outcome));
    let playbook = record.spec.playbook.as_str();
    let action = match record.spec.purpose {
        Purpose::Remediate => playbook.to_owned(),
        Purpose::Expire { .. } | Purpose::Revert { .. } => format!("undo {playbook}"),
    };
    vec![
        record.id().as_str().into(),
        record.spec.target.to_string().into(),
        action.into(),
        format!("{:?}", record.spec.risk.class).into(),
        Piece::from(record.state().as_str()).styled(state_style(record.state())),
        merged.into(),
        verified.into(),
        record.spec.policy.as_str().into(),
        record.spec.incident.as_str().into(),
        record.status.holds.first().map_or_else(String::new, ToString::to_string).into(),
    ]
}

/// One proposal as `-o json` gives it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Proposal<'a> {
    name: String,
    branch: String,
    head: String,
    state: &'static str,
    title: &'a str,
    body: &'a str,
}

/// The text of a branch: of its one action, or of all.
fn text_of(line: &[&RemediationAction]) -> PullRequestText {
    match line {
        [RemediationAction { spec: ActionSpec { pull_request: Some(text), .. }, .. }] => text.clone(),
        _ => {
            let own: Vec<_> = line.iter().map(|&it| (it, it.spec.pull_request.clone())).collect();
            render::batch(&own, &ForgeCapabilities::LOCAL)
        }
    }
}

fn proposals(args: &Get, selection: &Selection, console: &Console) -> Result<(), Failure> {
    let ledger = Ledger::of(&args.look, console)?;
    let mut found = Vec::new();
    let mut branches: Vec<Vec<&RemediationAction>> = Vec::new();
    for record in chosen(&ledger, args, selection)? {
        let is_open = record.state() == ActionState::Proposed || args.name.is_some();
        let (Some(change), Some(text), true) = (&record.spec.change, &record.spec.pull_request, is_open)
        else {
            continue;
        };
        if !branches.iter().flatten().any(|it| it.id() == record.id()) {
            branches.push(ledger.together(record));
        }
        found.push(Proposal {
            name: record.id().to_string(),
            branch: change.branch.to_string(),
            head: change.head.to_string(),
            state: record.state().as_str(),
            title: &text.title,
            body: &text.body,
        });
    }
    let names: Vec<String> = found.iter().map(|it| it.name.clone()).collect();
    if args.name.is_some() && console.is_for_people() {
        return console.answer(&names, &found, || {
            let mut page = Page::new();
            for text in branches.iter().map(|line| text_of(line)) {
                page.block(format!("# {}\n\n{}\n", text.title, text.body.trim_end()));
            }
            page
        });
    }
    let forge = ledger.forge();
    let row = |line: &Vec<&RemediationAction>| -> Vec<Piece> {
        let change = line.last().and_then(|it| it.spec.change.as_ref());
        let branch = change.map_or_else(String::new, |it| it.branch.to_string());
        let head = change.map_or_else(String::new, |it| it.head.to_string());
        let page = forge.as_ref().map(|forge| forge.commit(&head));
        vec![
            line.first().map_or("", |it| it.id().as_str()).into(),
            text_of(line).title.into(),
            line.len().to_string().into(),
            line.first().map_or("", |it| it.state().as_str()).into(),
            branch.into(),
            Piece::from(head.as_str()).linked(page),
        ]
    };
    let table = Table {
        headers: vec!["NAME", "TITLE", "ACTIONS", "STATE", "BRANCH", "HEAD"],
        wide: 1,
        rows: branches.iter().map(row).collect(),
    };
    console.list(&table, &names, &found, "no open proposals")
}

/// One budget line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    pub name: String,
    pub used: u32,
    pub limit: u32,
}

/// Budgets as the newest record of each policy states its limits, used as of the newest entry. A selection
/// leaves the budgets of its policies; those that all policies share belong to none of them.
///
/// # Errors
/// When the ledger breaks its own rules.
pub fn budget_lines(ledger: &Ledger, selection: &Selection) -> Result<Vec<Budget>, Failure> {
    let history = ledger.history()?;
    let now = ledger.newest();
    let mut lines = Vec::new();
    let snapshot = snapshot(ledger)?;
    for policy in snapshot.policies.iter().filter(|it| selection.takes(&Labels::of_policy(it))) {
        lines.push(Budget {
            name: format!("{} per hour", policy.name),
            used: history.executions_within(now, Some(&policy.name), None).used,
            limit: policy.max_executions_per_hour,
        });
    }
    let newest = ledger.entries.iter().rev().find_map(|entry| entry.record.as_ref());
    if let Some(newest) = newest.filter(|_| selection.is_everything()) {
        let used = history.executions_within(now, None, None).used;
        lines.push(Budget {
            name: "all policies per hour".to_owned(),
            used,
            limit: newest.spec.limits.global_per_hour,
        });
        lines.push(Budget {
            name: "open proposals".to_owned(),
            used: history.open_proposals(),
            limit: newest.spec.limits.max_open_proposals,
        });
    }
    Ok(lines)
}

fn budgets(args: &Get, selection: &Selection, console: &Console) -> Result<(), Failure> {
    let ledger = Ledger::of(&args.look, console)?;
    let lines = budget_lines(&ledger, selection)?;
    let is = |it: &Budget, name: &str| it.name == name || it.name.strip_suffix(" per hour") == Some(name);
    let wanted = |it: &Budget| args.name.as_ref().is_none_or(|name| is(it, name));
    let lines = named(lines.into_iter().filter(wanted).collect(), args.name.as_ref(), "budget")?;
    let row = |it: &Budget| -> Vec<Piece> {
        let style = if it.used >= it.limit { Style::Warn } else { Style::Plain };
        let used = Piece::from(it.used.to_string()).styled(style);
        vec![it.name.as_str().into(), used, it.limit.to_string().into()]
    };
    let table =
        Table { headers: vec!["BUDGET", "USED", "LIMIT"], wide: 0, rows: lines.iter().map(row).collect() };
    let names: Vec<String> = lines.iter().map(|it| it.name.clone()).collect();
    console.list(&table, &names, &lines, "no budgets")
}
