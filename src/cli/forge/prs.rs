//! `tars forge prs`: the open pull requests of tars' branches, with what stands between each and its merge. Reads
//! the forge only; what the ledger knows of them is told by `tars get proposals`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::failed;
use crate::cli::args::ForgeQuestion;
use crate::cli::checklist;
use crate::cli::failure::Failure;
use crate::cli::output::{Console, Piece, Style, Table};
use crate::cli::settings;
use crate::config::{ForgeSettings, Overrides};
use crate::model::forge::{ChecksVerdict, Protection, PullRequest};
use crate::model::ids::BranchName;
use crate::outside::clock::SystemClock;
use crate::propose::forge::Forge;

/// Most pull requests that are looked at one by one.
const SHOWN_MAX: usize = 100;

/// One pull request, and what else was asked about it.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    pull: PullRequest,
    checks: ChecksVerdict,
    /// Approvals of exactly this head that count.
    approvals: usize,
    required_approvals: u32,
}

/// Lists them.
///
/// # Errors
/// Exit code 2 when there is no forge, 3 when it cannot be reached, 4 when it does not accept the token, 7 when
/// the time is over.
pub fn run(args: &ForgeQuestion, console: &Console) -> Result<(), Failure> {
    let settings = settings::load(&args.settings.config, &Overrides::default())?;
    let ForgeSettings::At(at) = &settings.forge else {
        return Err(Failure::usage("forge.kind is local: there are no pull requests")
            .hint("tars get proposals lists what the ledger knows"));
    };
    let forge = settings::forge_at(at, Arc::new(SystemClock), None)?;
    let (rows, total) = checklist::run(args.patience.timeout, "the list", rows(forge.as_ref()))?;
    if total > rows.len() {
        console.talk(&format!("the newest {} of {total} are shown", rows.len()));
    }
    let names: Vec<String> = rows.iter().map(|it| it.pull.number.to_string()).collect();
    console.list(&table(&rows), &names, &rows, "no open pull requests of tars")
}

async fn rows(forge: &dyn Forge) -> Result<(Vec<Row>, usize), Failure> {
    let mut pulls = forge.open_pulls().await.map_err(failed)?;
    pulls.retain(PullRequest::is_ours);
    let total = pulls.len();
    pulls.truncate(SHOWN_MAX);
    let mut bases = BTreeMap::new();
    let mut rows = Vec::new();
    for pull in pulls {
        let known: Option<&Option<Protection>> = bases.get(&pull.base);
        let protection = match (known, BranchName::new(pull.base.as_str())) {
            (Some(known), _) => known.clone(),
            (None, Ok(base)) => forge.protection(&base).await.map_err(failed)?,
            (None, Err(_)) => None,
        };
        bases.insert(pull.base.clone(), protection.clone());
        // Lists of GitHub do not say it.
        let pull = if pull.is_mergeable { pull } else { forge.read(pull.number).await.map_err(failed)? };
        let checks = forge.checks(&pull.head).await.map_err(failed)?;
        let reviews = forge.reviews(pull.number).await.map_err(failed)?;
        rows.push(Row {
            checks: checks.verdict(protection.as_ref().map_or(&[][..], |it| it.required_checks.as_slice())),
            approvals: reviews.iter().filter(|it| it.approves(&pull.head)).count(),
            required_approvals: protection.as_ref().map_or(0, |it| it.required_approvals),
            pull,
        });
    }
    Ok((rows, total))
}

fn table(rows: &[Row]) -> Table {
    let row = |it: &Row| {
        let pull = &it.pull;
        let state = if pull.is_draft { "draft" } else { pull.state.as_str() };
        let style = match &it.checks {
            ChecksVerdict::Green => Style::Good,
            ChecksVerdict::None => Style::Plain,
            ChecksVerdict::Waiting(_) => Style::Warn,
            ChecksVerdict::Failed(_) => Style::Bad,
        };
        let mergeable = if pull.is_mergeable { "yes" } else { "no" };
        vec![
            Piece::from(format!("#{}", pull.number)).linked(Some(pull.url.clone())),
            pull.title.as_str().into(),
            state.into(),
            Piece::from(it.checks.as_str()).styled(style),
            format!("{}/{}", it.approvals, it.required_approvals).into(),
            mergeable.into(),
            pull.url.as_str().into(),
            pull.branch.as_str().into(),
            pull.head.short().into(),
        ]
    };
    Table {
        headers: vec![
            "NUMBER",
            "TITLE",
            "STATE",
            "CHECKS",
            "APPROVALS",
            "MERGEABLE",
            "URL",
            "BRANCH",
            "HEAD",
        ],
        wide: 2,
        rows: rows.iter().map(row).collect(),
    }
}
