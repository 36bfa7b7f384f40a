//! `tars get`: policies, remediations, proposals and budgets, from a clone.

use serde::Serialize;

use super::args::{Get, GetKind};
use super::charts::settled;
use super::failure::{Failure, Kind};
use super::history::{self, Ledger};
use super::output::{self, Format, Table};
use crate::model::action::{ActionState, MergedBy, Purpose, RemediationAction};
use crate::model::ids::RepoPath;
use crate::model::policy::Policy;
use crate::observe::repository::{Repository, Snapshot};

/// Prints a list, or one object.
///
/// # Errors
/// When the clone cannot be read or the name matches nothing.
pub fn run(args: &Get) -> Result<(), Failure> {
    match args.kind {
        GetKind::Policies => policies(args),
        GetKind::Remediations => remediations(args),
        GetKind::Proposals => proposals(args),
        GetKind::Budgets => budgets(args),
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

fn policies(args: &Get) -> Result<(), Failure> {
    let objects = history::open_clone(&args.look.repository)?;
    let main = history::watched_branch(&objects, &args.look.branch)?;
    let snapshot = read_snapshot(&objects, &main)?;
    for problem in &snapshot.problems {
        output::talk(&format!("warning: {problem}"));
    }
    let wanted = |it: &&Policy| args.name.as_ref().is_none_or(|name| it.name.as_str() == name);
    let found = named(snapshot.policies.iter().filter(wanted).collect(), args.name.as_ref(), "policy")?;
    let row = |policy: &&Policy| {
        vec![
            policy.namespace.to_string(),
            policy.name.to_string(),
            format!("{:?}", policy.mode),
            policy.suspend.to_string(),
            policy.actions.iter().map(|it| it.name().as_str()).collect::<Vec<_>>().join(","),
            policy.targets().iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            policy.path.to_string(),
        ]
    };
    let table = Table {
        headers: vec!["NAMESPACE", "NAME", "MODE", "SUSPENDED", "ACTIONS", "TARGETS", "FILE"],
        wide: 2,
        rows: found.iter().map(row).collect(),
    };
    let names: Vec<String> = found.iter().map(|it| it.name.to_string()).collect();
    output::list(args.look.print.output, &table, &names, &found, "no policies")
}

fn chosen<'a>(ledger: &'a Ledger, args: &Get) -> Result<Vec<&'a RemediationAction>, Failure> {
    let found = match &args.name {
        Some(name) => ledger.find(name),
        None => ledger.actions.values().collect(),
    };
    let mut found = named(found, args.name.as_ref(), "action")?;
    found.sort_by_key(|record| record.status.timeline.first().map(|event| event.at));
    Ok(found)
}

fn remediations(args: &Get) -> Result<(), Failure> {
    let ledger = Ledger::of(&args.look)?;
    let found = chosen(&ledger, args)?;
    let format = args.look.print.output;
    if let ([one], Some(_), Format::Yaml | Format::Json) = (&found[..], &args.name, format) {
        return output::record(format, one);
    }
    let table = Table {
        headers: vec![
            "NAME", "TARGET", "ACTION", "RISK", "STATE", "MERGED", "VERIFIED", "POLICY", "INCIDENT", "REASON",
        ],
        wide: 3,
        rows: found.iter().map(|record| remediation_row(record)).collect(),
    };
    let names: Vec<String> = found.iter().map(|it| it.id().to_string()).collect();
    output::list(format, &table, &names, &found, "no remediations")
}

fn remediation_row(record: &RemediationAction) -> Vec<String> {
    let merged = match record.status.merge.as_ref().map(|it| it.by) {
        Some(MergedBy::Tars) => "by tars",
        Some(MergedBy::Person) => "by a person",
        None => "",
    };
    let verified = record.status.verdict.as_ref().map_or_else(String::new, |it| format!("{:?}", it.outcome));
    vec![
        record.id().to_string(),
        record.spec.target.to_string(),
        match record.spec.purpose {
            Purpose::Remediate => record.spec.playbook.as_str().to_owned(),
            Purpose::Expire { .. } | Purpose::Revert { .. } => {
                format!("undo {}", record.spec.playbook.as_str())
            }
        },
        format!("{:?}", record.spec.risk.class),
        record.state().as_str().to_owned(),
        merged.to_owned(),
        verified,
        record.spec.policy.to_string(),
        record.spec.incident.to_string(),
        record.status.holds.first().map_or_else(String::new, ToString::to_string),
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

fn proposals(args: &Get) -> Result<(), Failure> {
    let ledger = Ledger::of(&args.look)?;
    let proposal = |record: &&'_ RemediationAction| {
        let change = record.spec.change.as_ref()?;
        Some((record.state(), change.branch.to_string(), change.head.to_string()))
    };
    let mut found = Vec::new();
    for record in chosen(&ledger, args)? {
        let is_open = record.state() == ActionState::Proposed || args.name.is_some();
        let (Some((state, branch, head)), Some(text)) = (proposal(&record), &record.spec.pull_request) else {
            continue;
        };
        if is_open {
            found.push(Proposal {
                name: record.id().to_string(),
                branch,
                head,
                state: state.as_str(),
                title: &text.title,
                body: &text.body,
            });
        }
    }
    let format = args.look.print.output;
    if args.name.is_some() && matches!(format, Format::Table | Format::Wide) {
        for it in &found {
            output::data(&format!("# {}\n\n{}\n", it.title, it.body.trim_end()))?;
        }
        return Ok(());
    }
    let row = |it: &Proposal<'_>| {
        vec![it.name.clone(), it.title.to_owned(), it.state.to_owned(), it.branch.clone(), it.head.clone()]
    };
    let table = Table {
        headers: vec!["NAME", "TITLE", "STATE", "BRANCH", "HEAD"],
        wide: 1,
        rows: found.iter().map(row).collect(),
    };
    let names: Vec<String> = found.iter().map(|it| it.name.clone()).collect();
    output::list(format, &table, &names, &found, "no open proposals")
}

/// One budget line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    pub name: String,
    pub used: u32,
    pub limit: u32,
}

/// Budgets as the newest record of each policy states its limits, used as of the newest entry.
///
/// # Errors
/// When the ledger breaks its own rules.
pub fn budget_lines(ledger: &Ledger) -> Result<Vec<Budget>, Failure> {
    let history = ledger.history()?;
    let now = ledger.newest();
    let mut lines = Vec::new();
    let snapshot = snapshot(ledger)?;
    for policy in &snapshot.policies {
        lines.push(Budget {
            name: format!("{} per hour", policy.name),
            used: history.executions_within(now, Some(&policy.name), None).used,
            limit: policy.max_executions_per_hour,
        });
    }
    if let Some(newest) = ledger.entries.iter().rev().find_map(|entry| entry.record.as_ref()) {
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

fn budgets(args: &Get) -> Result<(), Failure> {
    let ledger = Ledger::of(&args.look)?;
    let lines = budget_lines(&ledger)?;
    let table = Table {
        headers: vec!["BUDGET", "USED", "LIMIT"],
        wide: 0,
        rows: lines
            .iter()
            .map(|it| vec![it.name.clone(), it.used.to_string(), it.limit.to_string()])
            .collect(),
    };
    let names: Vec<String> = lines.iter().map(|it| it.name.clone()).collect();
    output::list(args.look.print.output, &table, &names, &lines, "no budgets")
}
