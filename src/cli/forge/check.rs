//! `tars forge check`: each permission and setting that an automatic merge through the forge needs, looked at, with
//! the name of what to change. It writes nothing; what only a write would show, it says.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;

use super::places::{self, Places};
use crate::cli::args::ForgeQuestion;
use crate::cli::checklist::{self, Line, fail, pass, warn};
use crate::cli::failure::Failure;
use crate::cli::output::Console;
use crate::cli::settings;
use crate::config::{ForgeAt, ForgeSettings, Overrides, Settings};
use crate::model::causes::causes;
use crate::model::forge::{
    Account, BRANCH_PREFIX, ForgeCapabilities, Grant, MergeMethod, Protection, RepositoryFacts,
};
use crate::model::ids::BranchName;
use crate::outside::clock::SystemClock;
use crate::propose::forge::{Forge, ForgeError, Trouble};

/// Checks the forge and prints it.
///
/// # Errors
/// Exit code 1 when a check failed, 2 when the settings are wrong, 7 when the time is over.
pub fn run(args: &ForgeQuestion, console: &Console) -> Result<(), Failure> {
    let settings = settings::load(&args.settings.config, &Overrides::default())?;
    let ForgeSettings::At(at) = &settings.forge else {
        let detail = "local: proposals stay branches of the repository";
        let fix = "set forge.kind: gitea, github or gitlab to get pull requests";
        return checklist::conclude(&[warn("forge", detail, fix)], None, Ok(()), console);
    };
    let forge = settings::forge_at(at, Arc::new(SystemClock), None)?;
    let mut lines = address(at, &settings);
    let checks = async {
        check(forge.as_ref(), places::of(at.kind), &settings, &mut lines).await;
        Ok(())
    };
    let outcome = checklist::run(args.patience.timeout, "the checks", checks);
    let capabilities = forge.capabilities();
    lines.push(pass("shows", shown(&capabilities)));
    checklist::conclude(&lines, Some(("capabilities", json!(capabilities))), outcome, console)
}

pub(super) fn refused(check: &'static str, error: &ForgeError) -> Line {
    fail(check, causes(error), error.hint())
}

/// What the settings alone show.
fn address(at: &ForgeAt, settings: &Settings) -> Vec<Line> {
    let mut lines = vec![pass("forge", format!("{}, {} on {}", at.kind.as_str(), slug(at), at.url))];
    if at.url.starts_with("http://") && !is_loopback(&at.url) {
        let fix = "use an https address in forge.url; forge.ca_file names an authority of your own";
        lines.push(warn("forge", "the token travels in the clear", fix));
    }
    let git = settings.repository_url.trim_end_matches('/').trim_end_matches(".git").to_ascii_lowercase();
    let end = slug(at).to_ascii_lowercase();
    if !(git.ends_with(&format!("/{end}")) || git.ends_with(&format!(":{end}"))) {
        let detail = format!("repository.url does not end in {}", slug(at));
        let fix = "fine behind a mirror; otherwise both settings must name the same repository";
        lines.push(warn("forge", detail, fix));
    }
    lines
}

fn slug(at: &ForgeAt) -> String {
    format!("{}/{}", at.owner, at.name)
}

fn is_loopback(url: &str) -> bool {
    let authority = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

async fn check(forge: &dyn Forge, places: &Places, settings: &Settings, lines: &mut Vec<Line>) {
    let account = match forge.whoami().await {
        Ok(account) => account,
        Err(error) if error.trouble == Trouble::Forbidden => {
            let fix = format!("make a token with the scope {} as well", places.identity);
            lines.push(fail("token", causes(&error), fix));
            return;
        }
        Err(error) => return lines.push(refused("token", &error)),
    };
    lines.push(token(&account));
    lines.extend(checklist::clock("the forge", forge.outside_clock(), settings.watching.clock_max_skew_s));
    let facts = match forge.repository().await {
        Ok(facts) => facts,
        Err(error) => return lines.push(refused("repository", &error)),
    };
    lines.extend(repository(&facts, &account, places));
    lines.extend(scopes(forge, places).await);
    lines.extend(branches(forge, &settings.ledger_branch).await);
    match forge.protection(&settings.branch).await {
        Ok(Some(protection)) => lines.extend(protected(&settings.branch, &protection, &account, places)),
        Ok(None) => {
            let detail = format!("the forge has no branch {}", settings.branch);
            lines.push(fail(
                "protection",
                detail,
                "set repository.branch to the branch Argo CD or Flux follow",
            ));
        }
        Err(error) => lines.push(refused("protection", &error)),
    }
    lines.push(methods(&facts, places));
}

pub(super) fn token(account: &Account) -> Line {
    if !account.is_site_admin {
        return pass("token", format!("belongs to {}", account.login));
    }
    let detail = format!("auto-merge is off with this token: {} administers the whole forge", account.login);
    warn("token", detail, "give tars an account of its own, without administrator rights")
}

pub(super) fn repository(facts: &RepositoryFacts, account: &Account, places: &Places) -> Vec<Line> {
    let name = &facts.full_name;
    let settings_page = format!("{}/settings", facts.url);
    let mut lines = vec![pass("repository", format!("{name}, default branch {}", facts.default_branch))];
    if facts.archived {
        lines.push(fail(
            "repository",
            format!("{name} is archived"),
            format!("unarchive it: {settings_page}"),
        ));
    }
    if !facts.pull_requests_enabled {
        let detail = format!("pull requests are off in {name}");
        let fix = format!("{}/{}", facts.url, places.pull_requests_unit);
        lines.push(fail("repository", detail, fix));
    }
    let rights = facts.permissions;
    let collaborators = format!("{}/{}", facts.url, places.collaborators);
    if !rights.push {
        let detail = format!("{} may not push to {name}", account.login);
        let fix = format!("{collaborators}: give {} Write", account.login);
        lines.push(fail("permissions", detail, fix));
    } else if rights.admin {
        let detail = format!("auto-merge is off with this token: {} administers {name}", account.login);
        let fix = format!("{collaborators}: Write is enough for {}", account.login);
        lines.push(warn("permissions", detail, fix));
    } else {
        lines.push(pass("permissions", "reads and pushes, and no more"));
    }
    lines
}

pub(super) async fn scopes(forge: &dyn Forge, places: &Places) -> Vec<Line> {
    let grants = match forge.grants().await {
        Ok(grants) => grants,
        Err(error) => return vec![refused("scopes", &error)],
    };
    let told = [
        (grants.pull_requests, places.pull_requests, "pull requests and statuses"),
        (grants.comments, places.comments, "comments and labels"),
    ];
    let mut lines = Vec::new();
    for (grant, scope, what) in told {
        lines.push(match grant {
            Grant::Yes => pass("scopes", format!("{scope}: may write {what}")),
            Grant::No(said) => {
                let fix = format!("make a token with the scope {scope}");
                fail("scopes", format!("may not write {what}: {said}"), fix)
            }
        });
    }
    lines
}

/// Branches that tars pushes to. A rule that only a push would show is found by the first one.
async fn branches(forge: &dyn Forge, ledger: &BranchName) -> Vec<Line> {
    let mut names = vec![ledger.clone()];
    let open = match forge.open_pulls().await {
        Ok(open) => open,
        Err(error) => return vec![refused("branches", &error)],
    };
    let ours = open.iter().find(|it| it.is_ours()).map(|it| BranchName::new(it.branch.as_str()));
    names.extend(ours.and_then(Result::ok));
    let mut lines = Vec::new();
    for name in names {
        lines.push(match forge.protection(&name).await {
            Ok(Some(it)) if it.may_push => pass("branches", format!("may push to {name}")),
            Ok(Some(_)) => {
                let fix = format!("change the branch protection rule that matches {name}");
                fail("branches", format!("may not push to {name}"), fix)
            }
            Ok(None) => pass("branches", format!("{name} is not there yet; the first action makes it")),
            Err(error) => refused("branches", &error),
        });
    }
    if lines.len() == 1 {
        lines.push(pass("branches", format!("{BRANCH_PREFIX}* has no branch yet whose rules could be read")));
    }
    lines
}

/// What stands between a proposal and the watched branch.
fn protected(branch: &BranchName, it: &Protection, account: &Account, places: &Places) -> Vec<Line> {
    let rule = format!("the protection rule of {branch}");
    if !it.is_protected {
        let detail = format!("auto-merge is off: {branch} has no protection, so nothing has to be green");
        return vec![warn("protection", detail, places.new_rule)];
    }
    let mut lines = vec![pass("protection", format!("{branch} is protected"))];
    if it.required_approvals > 0 {
        let detail = format!("auto-merge cannot work: {branch} requires {} approvals", it.required_approvals);
        let fix = format!("leave mode Propose, or set {} to 0 in {rule}", places.approvals);
        lines.push(warn("protection", detail, fix));
    }
    match it.required_checks.as_slice() {
        [] => {
            let detail =
                format!("{branch} requires no status check: an automatic merge has nothing to wait for");
            lines.push(warn("protection", detail, places.checks));
        }
        some => lines.push(pass("protection", format!("waits for {}", some.join(", ")))),
    }
    if !it.may_merge {
        let detail = format!("auto-merge cannot work: {} may not merge into {branch}", account.login);
        let fix = format!("add {} to the {} of {rule}", account.login, places.may_merge);
        lines.push(warn("protection", detail, fix));
    }
    if it.may_push {
        let detail = format!("{} may push to {branch} without a pull request", account.login);
        lines.push(warn("protection", detail, format!("{} for it in {rule}", places.may_push)));
    }
    lines
}

fn methods(facts: &RepositoryFacts, places: &Places) -> Line {
    let named: Vec<&str> = facts.merge_methods.iter().map(|it| it.as_str()).collect();
    let after =
        if facts.deletes_merged_branches { "branches go after a merge" } else { "tars deletes its branches" };
    let fix = format!("{}/{}", facts.url, places.methods);
    if named.is_empty() {
        return fail("merging", "the repository allows no method of merging", fix);
    }
    let best = if places.fast_forwards { MergeMethod::FastForward } else { MergeMethod::Merge };
    if facts.merge_methods.contains(&best) {
        return pass("merging", format!("{}; {after}", named.join(", ")));
    }
    let detail = format!(
        "{} is not allowed ({}): the merged commit will not be the one that was reviewed",
        best.as_str(),
        named.join(", ")
    );
    warn("merging", detail, fix)
}

/// The forge's row of the capability matrix.
fn shown(it: &ForgeCapabilities) -> String {
    let can = |yes: bool, what: &str| format!("{}{what}", if yes { "" } else { "no " });
    [
        format!("bodies up to {} characters", it.body_chars_max),
        can(it.checkboxes, "checkboxes"),
        can(it.details, "details"),
        can(it.mermaid, "mermaid"),
        can(it.callouts, "callouts"),
        format!("{} (never used)", can(it.native_auto_merge, "native auto-merge")),
    ]
    .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_be_asked_without_encryption() {
        for url in ["http://127.0.0.1:3000", "http://[::1]:3000/x", "http://localhost/x", "http://127.9.9.9"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in
            ["http://10.0.0.1", "http://127.0.0.1.example.com", "http://[2001:db8::1]", "http://localhost.x"]
        {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
