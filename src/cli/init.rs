//! `tars init`: the onboarding proposal for a repository, as one commit of the person who runs it on one branch,
//! and as a pull request where the settings name a forge. What is in it is planned by `render`; a branch or pull
//! request that somebody closed is a no, and stays one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::checklist;
use super::failure::{Failure, Kind};
use super::forge;
use super::output::{Console, Page, Symbol};
use super::own_commit::{Change, Outcome, Own};
use super::settings;
use super::writing::Init;
use crate::config::{ForgeSettings, Overrides, Settings};
use crate::layout::Surroundings;
use crate::model::forge::{PullRequest, PullState};
use crate::model::ids::{BranchName, ObjectId, RepoPath, WorkloadRef};
use crate::observe::repository::{Repository, Snapshot};
use crate::outside::clock::SystemClock;
use crate::outside::git::{Objects, Person};
use crate::outside::{files, random, system};
use crate::propose::forge::{Forge, PullDraft};
use crate::render::{self, Found, OnboardingPlan, Seen};

/// Where a clone remembers what it offered; no branch.
const OFFERED: &str = "refs/tars-cli/onboarding";
/// Kinds that a first policy can scale.
const SCALED: [&str; 1] = ["Deployment"];
/// Kinds that run pods and get no first policy: a person decides about state and about every node.
const OTHERS: [&str; 3] = ["StatefulSet", "DaemonSet", "Rollout"];
const SCALERS: [&str; 2] = ["HorizontalPodAutoscaler", "ScaledObject"];
const DELIVERIES: [&str; 4] = ["Application", "ApplicationSet", "Kustomization", "HelmRelease"];
/// Most lines about what tars does not see.
const NOTES_MAX: usize = 100;

/// A clone made for this run only.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = files::remove_dir(&self.0);
    }
}

/// Plans, pushes and asks.
///
/// # Errors
/// Exit code 2 when there is no such repository, 3 and 4 when the remote or the forge cannot be reached or does not
/// let the person push, 5 when somebody said no before, 6 when the branch holds somebody else's work.
pub fn run(args: &Init, console: &Console) -> Result<(), Failure> {
    let settings = match &args.beside.config {
        Some(file) => Some(settings::load(file, &Overrides::default())?),
        None => None,
    };
    let main = match (&args.branch, &settings) {
        (Some(named), _) => BranchName::new(named.as_str()),
        (None, Some(settings)) => Ok(settings.branch.clone()),
        (None, None) => BranchName::new("main"),
    };
    let main = main.map_err(|error| Failure::usage("--branch is no branch").because(error))?;
    let forge = match settings.as_ref().map(|it| &it.forge) {
        Some(ForgeSettings::At(at)) => Some(settings::forge_at(at, Arc::new(SystemClock), None)?),
        _ => None,
    };
    let work = async {
        let (own, temporary) = open(args, main).await?;
        let done = offer(args, &own, settings.as_ref(), forge.as_deref()).await?;
        drop(temporary);
        Ok((own.remote.clone(), own.main.clone(), done))
    };
    let (remote, main, done) = checklist::run(None, "the onboarding", work)?;
    tell(&done, &remote, &main, console)
}

/// The person's clone, or a new one of an address.
async fn open(args: &Init, main: BranchName) -> Result<(Own, Option<Temporary>), Failure> {
    let folder = Path::new(&args.repository);
    if folder.exists() {
        let person = Person::open(folder).map_err(|error| {
            Failure::usage(format!("{} is not a git repository tars can read", folder.display()))
                .because(error)
                .hint("name a clone of the GitOps repository, or its address")
        })?;
        return Ok((Own { person, remote: args.remote.clone(), main }, None));
    }
    let name = random::hex(8)
        .map_err(|error| Failure::new(Kind::No, "could not name a temporary clone").because(error))?;
    let at = system::temp_dir().join(format!("tars-init-{name}"));
    files::create_private_dir(&at)
        .map_err(|error| Failure::new(Kind::No, "could not make a temporary clone").because(error))?;
    let temporary = Temporary(at.clone());
    let person = Person::clone_bare(&args.repository, &at).await.map_err(|error| {
        Failure::new(Kind::Unreachable, format!("could not clone {}", args.repository))
            .because(error)
            .hint("name a clone of the GitOps repository, or an address that git reaches by itself")
    })?;
    Ok((Own { person, remote: "origin".to_owned(), main }, Some(temporary)))
}

/// How it ended.
struct Done {
    plan: OnboardingPlan,
    /// `None`: nothing was written, on purpose.
    outcome: Option<Outcome>,
    pull: Option<PullRequest>,
}

async fn offer(
    args: &Init,
    own: &Own,
    settings: Option<&Settings>,
    forge: Option<&dyn Forge>,
) -> Result<Done, Failure> {
    let head = own.head().await?;
    let plan = plan(own, settings, &head).await?;
    if plan.files.is_empty() || args.dry_run {
        return Ok(Done { plan, outcome: None, pull: None });
    }
    let there = own.head_of(&plan.branch).await?;
    let asked = match forge {
        Some(forge) => forge.find(&plan.branch, &own.main).await.map_err(forge::failed)?,
        None => None,
    };
    if !args.again {
        refused_before(own, &head, there.as_ref(), asked.as_ref()).await?;
    }
    let make = |_: &Objects, _: &ObjectId| {
        let edits = plan.files.iter().map(|(path, bytes)| (path.to_string(), Some(bytes.clone())));
        Ok(Some(Change { edits: edits.collect(), message: plan.commit_message.clone() }))
    };
    let outcome = own.to_branch(&plan.branch, make).await?;
    let commit = match &outcome {
        Outcome::Landed { made, .. } => Some(made.commit.clone()),
        Outcome::Waits { commit, .. } => Some(commit.to_string()),
        Outcome::Already | Outcome::NotAllowed(_) => None,
    };
    let mut pull = None;
    if let Some(commit) = commit {
        own.person.remember(OFFERED, &commit).await.map_err(|error| {
            Failure::new(Kind::No, "the clone could not remember what was offered").because(error)
        })?;
        if let Some(forge) = forge {
            pull = Some(ask(forge, own, &plan, asked).await?);
        }
    }
    Ok(Done { plan, outcome: Some(outcome), pull })
}

/// Opens the pull request, or brings the open one up to date.
async fn ask(
    forge: &dyn Forge,
    own: &Own,
    plan: &OnboardingPlan,
    asked: Option<PullRequest>,
) -> Result<PullRequest, Failure> {
    match asked.filter(|it| it.state == PullState::Open) {
        Some(open) if open.title == plan.title && open.body == plan.body => Ok(open),
        Some(open) => forge.update(open.number, &plan.title, &plan.body).await.map_err(forge::failed),
        None => {
            let draft =
                PullDraft { head: &plan.branch, base: &own.main, title: &plan.title, body: &plan.body };
            forge.create(draft).await.map_err(forge::failed)
        }
    }
}

/// Did somebody say no: close the pull request, or delete the branch that this clone offered?
async fn refused_before(
    own: &Own,
    head: &ObjectId,
    there: Option<&ObjectId>,
    asked: Option<&PullRequest>,
) -> Result<(), Failure> {
    let no = |what: String| {
        Err(Failure::new(Kind::Refused, what).hint("that is a no; --again asks once more all the same"))
    };
    if let Some(pull) = asked.filter(|it| it.state == PullState::Closed) {
        return no(format!("somebody closed #{} ({})", pull.number, pull.url));
    }
    if there.is_some() || asked.is_some() {
        return Ok(());
    }
    let objects = own.person.objects();
    let read = |error| Failure::new(Kind::No, "could not read the clone").because(error);
    let Some(offered) = own.person.recall(OFFERED).await.map_err(read)? else { return Ok(()) };
    if objects.is_ancestor(&offered, head.as_str()).map_err(read)? {
        return Ok(());
    }
    no(format!("somebody deleted {} without merging it", render::ONBOARDING_BRANCH))
}

async fn plan(own: &Own, settings: Option<&Settings>, head: &ObjectId) -> Result<OnboardingPlan, Failure> {
    let surroundings = match settings {
        Some(settings) => settings::surroundings(settings)?,
        None => Surroundings::default(),
    };
    let policies = match settings {
        Some(settings) => settings.policies_path.clone(),
        None => {
            RepoPath::new("policies").map_err(|error| Failure::new(Kind::No, "bad path").because(error))?
        }
    };
    let mut repository = Repository::new(policies).in_surroundings(surroundings);
    let charts = repository.charts();
    let objects = own.person.objects();
    let snapshot = charts
        .settle(|| repository.snapshot(objects, head))
        .await
        .map_err(|error| Failure::new(Kind::No, "could not read the repository").because(error))?;
    let seen = charts.settle(|| seen(&snapshot)).await;
    let url = objects.config_value(&format!("remote.{}.url", own.remote)).ok().flatten();
    let found = found(&snapshot, seen, url, own);
    render::onboarding(&found)
        .map_err(|error| Failure::new(Kind::No, "could not write the plan down").because(error))
}

/// Every workload with its desired state.
fn seen(snapshot: &Snapshot) -> Vec<Seen> {
    let (index, policies) = (&snapshot.index, &snapshot.policies);
    let runs = |it: &WorkloadRef| SCALED.contains(&it.kind.as_str()) || OTHERS.contains(&it.kind.as_str());
    let seen = |target: WorkloadRef| {
        let workload = match SCALED.contains(&target.kind.as_str()) {
            true => index.workload(&target).map_err(|reason| reason.text),
            false => Err(format!("a person decides about a {}", target.kind)),
        };
        let covered = policies.iter().any(|it| it.allows(&target));
        Seen { workload, covered, target }
    };
    index.targets().into_iter().filter(runs).map(seen).collect()
}

fn found(snapshot: &Snapshot, workloads: Vec<Seen>, url: Option<String>, own: &Own) -> Found {
    let targets = snapshot.index.targets();
    let of = |kinds: &[&str]| -> Vec<WorkloadRef> {
        targets.iter().filter(|it| kinds.contains(&it.kind.as_str())).cloned().collect()
    };
    let looks = |it: &&WorkloadRef| it.name.as_str().contains("prometheus") && it.kind.as_str() == "Service";
    let skipped = snapshot.index.skipped().iter().map(|it| format!("{} {}", it.file, it.why));
    let taken: BTreeSet<RepoPath> = snapshot.tree.files.keys().cloned().collect();
    Found {
        workloads,
        autoscalers: of(&SCALERS),
        deliveries: of(&DELIVERIES),
        notes: snapshot.index.delivery_notes().into_iter().chain(skipped).take(NOTES_MAX).collect(),
        prometheus: targets.iter().find(looks).cloned(),
        // A path of this machine means nothing to others, and a password in an address is nobody's business.
        url: url.filter(|url| !url.starts_with(['/', '.']) && !url.starts_with("file:") && !has_secret(url)),
        branch: own.main.to_string(),
        policies_path: snapshot.policies_path.to_string(),
        taken,
        names: snapshot.policies.iter().map(|it| it.name.clone()).collect(),
    }
}

/// `https://user:password@host/...`, or a token in the place of the user.
fn has_secret(url: &str) -> bool {
    let host = url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    host.is_some_and(|host| host.contains('@') && !url.starts_with("ssh://"))
}

fn tell(done: &Done, remote: &str, main: &BranchName, console: &Console) -> Result<(), Failure> {
    let Done { plan, outcome, pull } = done;
    let (state, commit) = match outcome {
        _ if plan.files.is_empty() => ("Unchanged", None),
        None => ("Planned", None),
        Some(Outcome::Landed { made, .. }) => ("Waiting", Some(made.commit.clone())),
        Some(Outcome::Waits { commit, .. }) => ("Unchanged", Some(commit.to_string())),
        Some(Outcome::Already) => ("Unchanged", None),
        Some(Outcome::NotAllowed(said)) => {
            return Err(Failure::new(Kind::Denied, format!("{remote} does not take your push: {said}"))
                .hint("nothing was changed; whoever may push can run the same command"));
        }
    };
    let names: Vec<String> = plan.files.iter().map(|(path, _)| path.to_string()).collect();
    let contents = plan
        .files
        .iter()
        .map(|(path, bytes)| json!({ "path": path, "content": String::from_utf8_lossy(bytes) }));
    let value = json!({
        "apiVersion": "cli.tars/v1", "kind": "Onboarding", "state": state, "branch": plan.branch, "base": main,
        "commit": commit, "files": contents.collect::<Vec<_>>(),
        "pullRequest": { "title": plan.title, "body": plan.body },
        "url": pull.as_ref().map(|it| it.url.clone()),
    });
    console.answer(&names, &value, || {
        let mut page = Page::new();
        if plan.files.is_empty() {
            page.put(Symbol::Done).put(" nothing to add: what could be watched has a policy").line().line();
            page.block(plan.body.clone());
            return page;
        }
        match (state, &commit) {
            ("Planned", _) => {
                page.put(format!("would push {} to {remote}, and write nothing now:", plan.branch)).line();
                for (path, bytes) in &plan.files {
                    page.line().put(format!("--- {path}")).line();
                    page.block(String::from_utf8_lossy(bytes).into_owned());
                }
            }
            (_, Some(commit)) => {
                let short: String = commit.chars().take(12).collect();
                let how = if state == "Unchanged" { "holds this already" } else { "waits for you" };
                page.put(Symbol::Waiting).put(format!(" {} {how}; nothing else changed", plan.branch)).line();
                page.put(format!("  commit  {short} on {} of {remote}", plan.branch)).line();
                match pull {
                    Some(pull) => page.put(format!("  review  #{} {}", pull.number, pull.url)).line(),
                    None => {
                        page.put(format!("  next    open a pull request to {main} with this text:")).line()
                    }
                };
                page.put("  no      close it, or delete the branch").line();
            }
            _ => {}
        }
        page.line().block(format!("# {}\n\n{}\n", plan.title, plan.body.trim_end()));
        page
    })
}
