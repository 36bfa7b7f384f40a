//! `tars render` and `tars diff`: the change a playbook or a policy would make now, printed and never written.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::args::{Beside, Diff, Look, Render, RenderPart};
use super::charts::settled;
use super::failure::{Failure, Kind};
use super::history;
use super::output::{Console, Page, Piece, Style, counted};
use super::tree::target;
use crate::crd;
use crate::model::action::API_VERSION;
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::playbook::{PlaybookName, PlaybookSpec};
use crate::model::policy::Policy;
use crate::model::reason::Reason;
use crate::observe::repository::{Repository, Snapshot};
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::git::Objects;
use crate::reconcile::preview::{self, Preview};
use crate::render::Templates;

/// Everything a preview is computed on.
struct Desk {
    repository: Repository,
    objects: Objects,
    snapshot: Arc<Snapshot>,
    templates: Templates,
    now: Timestamp,
}

impl Desk {
    fn open(look: &Look, beside: &Beside, console: &Console) -> Result<Self, Failure> {
        let objects = history::open_clone(&look.repository)?;
        let commit = history::watched_branch(&objects, &look.branch)?;
        let mut repository = super::get::repository_beside(beside)?;
        let charts = repository.charts();
        let snapshot = settled(&charts, || repository.snapshot(&objects, &commit))?
            .map_err(|error| Failure::new(Kind::No, "could not read the watched branch").because(error))?;
        let (templates, problem) = Templates::built_in()
            .map_err(|error| Failure::new(Kind::No, "the built-in templates are broken").because(error))?
            .in_repository(&snapshot.tree);
        if let Some(problem) = problem {
            console.talk(&format!("{problem}; the built-in text is used ({})", problem.help));
        }
        Ok(Self { repository, objects, snapshot, templates, now: SystemClock.now() })
    }

    fn preview(
        &mut self,
        policy: &Policy,
        target: &WorkloadRef,
        spec: &PlaybookSpec,
    ) -> Result<Result<Preview, Vec<Reason>>, Failure> {
        let charts = self.repository.charts();
        let mut clone = preview::Clone {
            repository: &mut self.repository,
            objects: &self.objects,
            snapshot: &self.snapshot,
        };
        let preview = || preview::preview(&mut clone, policy, target, spec, &self.templates, self.now);
        settled(&charts, preview)?
            .map_err(|error| Failure::new(Kind::No, "could not compute the change").because(error))
    }

    /// The first action of the policy that would change the target; says why the ones before it would not.
    fn first_applicable(
        &mut self,
        policy: &Policy,
        target: &WorkloadRef,
        console: &Console,
    ) -> Result<Option<(PlaybookName, Preview)>, Failure> {
        for spec in &policy.actions {
            match self.preview(policy, target, spec)? {
                Ok(preview) => return Ok(Some((spec.name(), preview))),
                Err(reasons) => {
                    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                    let (policy, playbook) = (&policy.name, spec.name().as_str());
                    console.talk(&format!("{policy} {target}: no {playbook}: {}", reasons.join("; ")));
                }
            }
        }
        Ok(None)
    }
}

/// Prints what one playbook would do to one target.
///
/// # Errors
/// Exit code 2 for names that are none, 5 when the playbook would refuse.
pub fn render(args: &Render, console: &Console) -> Result<(), Failure> {
    let target = target(&args.target)?;
    let playbook = playbook(&args.playbook)?;
    let mut desk = Desk::open(&args.look, &args.beside, console)?;
    let (policy, spec) = if args.set.is_empty() {
        declared(&desk.snapshot, playbook, &target, args.policy.as_deref())?
    } else {
        stand_in(&desk.snapshot, playbook, &target, &args.set)?
    };
    let preview = desk.preview(&policy, &target, &spec)?.map_err(|reasons| refused(&reasons))?;
    let names: Vec<String> = preview.checked.files().iter().map(|(path, _)| path.to_string()).collect();
    console.answer(&names, &record(&policy, &preview), || {
        let mut page = Page::new();
        let text = &preview.pull_request;
        let pull_request = format!("# {}\n\n{}\n", text.title, text.body.trim_end());
        let message = format!("{}\n", preview.commit_message.trim_end());
        match args.what {
            RenderPart::Patch => patch(&mut page, &preview),
            RenderPart::Commit => drop(page.block(message)),
            RenderPart::Pr => drop(page.block(pull_request)),
            RenderPart::All => {
                patch(&mut page, &preview);
                page.line().block(message).line().block(pull_request);
            }
        }
        page
    })
}

/// Prints what every policy, or one, would change now.
///
/// # Errors
/// Exit code 1 when something would change, 2 for a policy that is not there.
pub fn diff(args: &Diff, console: &Console) -> Result<(), Failure> {
    let mut desk = Desk::open(&args.look, &args.beside, console)?;
    let named = |it: &&Policy| args.policy.as_ref().is_none_or(|name| it.name.as_str() == name);
    let policies: Vec<Policy> = desk.snapshot.policies.iter().filter(named).cloned().collect();
    if let (true, Some(name)) = (policies.is_empty(), &args.policy) {
        return Err(Failure::usage(format!("no policy on this branch is named {name}"))
            .hint("tars get policies lists them"));
    }
    let (mut found, mut names) = (Vec::new(), Vec::new());
    let mut page = Page::new();
    for policy in &policies {
        for target in policy.targets() {
            let Some((playbook, preview)) = desk.first_applicable(policy, &target, console)? else {
                continue;
            };
            let title = format!("# {} would {} {target}", policy.name, playbook.as_str());
            page.put(Piece::from(title).styled(Style::Strong)).line();
            patch(&mut page, &preview);
            page.line();
            names.push(format!("{}/{target}", policy.name));
            found.push(record(policy, &preview));
        }
    }
    let list = json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": found });
    console.answer(&names, &list, || page)?;
    if found.is_empty() { Ok(()) } else { Err(Failure::answered_no()) }
}

fn playbook(name: &str) -> Result<PlaybookName, Failure> {
    let known = PlaybookName::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(name));
    known.ok_or_else(|| {
        let names: Vec<&str> = PlaybookName::ALL.iter().map(|it| it.as_str()).collect();
        Failure::usage(format!("{name} is no playbook; there are {}", names.join(", ")))
    })
}

/// The bounds that a policy of the repository gives the playbook for this target.
fn declared(
    snapshot: &Snapshot,
    playbook: PlaybookName,
    target: &WorkloadRef,
    name: Option<&str>,
) -> Result<(Policy, PlaybookSpec), Failure> {
    let fits =
        |policy: &&Policy| policy.allows(target) && name.is_none_or(|name| policy.name.as_str() == name);
    let found: Vec<(&Policy, &PlaybookSpec)> = snapshot
        .policies
        .iter()
        .filter(fits)
        .filter_map(|policy| Some((policy, policy.actions.iter().find(|it| it.name() == playbook)?)))
        .collect();
    match found[..] {
        [(policy, spec)] => Ok((policy.clone(), spec.clone())),
        [] => Err(Failure::usage(format!("no policy allows {} for {target}", playbook.as_str()))
            .hint("give the playbook's bounds yourself, for example --set step=2 --set maxReplicas=10")),
        [..] => {
            let names: Vec<&str> = found.iter().map(|(policy, _)| policy.name.as_str()).collect();
            Err(Failure::usage(format!("several policies allow it: {}", names.join(", ")))
                .hint("choose one with --policy NAME"))
        }
    }
}

/// A policy for this one question, read by the same reader as a real one.
fn stand_in(
    snapshot: &Snapshot,
    playbook: PlaybookName,
    target: &WorkloadRef,
    set: &[String],
) -> Result<(Policy, PlaybookSpec), Failure> {
    let name = playbook.as_str();
    let mut bounds = Map::new();
    for pair in set {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::usage(format!("--set {pair} is not KEY=VALUE")));
        };
        let value = value.parse::<u64>().map_or_else(|_| Json::from(value), Json::from);
        bounds.insert(key.to_owned(), value);
    }
    let field: String =
        name.chars().take(1).map(|it| it.to_ascii_lowercase()).chain(name.chars().skip(1)).collect();
    let document = json!({
        "apiVersion": API_VERSION, "kind": "RemediationPolicy",
        "metadata": {"name": "preview", "namespace": target.namespace},
        "spec": {
            "mode": "Propose",
            "triggers": [{"type": "webhook", "alertname": "preview"}],
            "actions": [{"type": name, field: bounds}],
            "allowedResources": [{"kind": target.kind, "name": target.name}],
            "verify": {"signal": "preview", "service": "preview"},
        },
    });
    let path = RepoPath::new("policies/preview.yaml")
        .map_err(|error| Failure::new(Kind::No, "bad path").because(error))?;
    // JSON is YAML.
    let read =
        crd::policies(&path, document.to_string().as_bytes(), &snapshot.commit).map_err(|problems| {
            let texts: Vec<String> = problems.iter().map(|it| it.message.clone()).collect();
            Failure::usage(format!("{name} cannot be made from these bounds: {}", texts.join("; ")))
                .hint("tars policy schema describes the bounds of every playbook")
        })?;
    let policy = read.into_iter().next();
    let spec = policy.as_ref().and_then(|it| it.actions.first().cloned());
    policy.zip(spec).ok_or_else(|| Failure::usage(format!("{name} cannot be made from these bounds")))
}

fn refused(reasons: &[Reason]) -> Failure {
    let texts: Vec<&str> = reasons.iter().map(|it| it.text.as_str()).collect();
    let failure = Failure::new(Kind::Refused, texts.join("\n  and: "));
    match reasons.first() {
        Some(first) => failure.hint(format!("tars explain {}", first.code.as_str())),
        None => failure,
    }
}

/// The diff, and what the proof compared.
fn patch(page: &mut Page, preview: &Preview) {
    for line in preview.checked.diff().lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => Style::Good,
            Some(b'-') => Style::Bad,
            _ => Style::Plain,
        };
        page.put(Piece::from(line).styled(style)).line();
    }
    page.put(summary(preview)).line();
}

/// `3 objects rendered, 1 field changed`.
fn summary(preview: &Preview) -> String {
    if let Some(why) = preview.checked.unrendered() {
        return format!("not rendered: {why}");
    }
    let count = |count: u32, one, many| counted(usize::try_from(count).unwrap_or(usize::MAX), one, many);
    format!(
        "{} rendered, {} changed",
        count(preview.checked.objects_compared(), "object", "objects"),
        count(preview.checked.fields_changed(), "field", "fields")
    )
}

fn record(policy: &Policy, preview: &Preview) -> Json {
    json!({
        "apiVersion": "cli.tars/v1", "kind": "Preview",
        "policy": policy.name, "mode": policy.mode,
        "target": preview.record.spec.target, "playbook": preview.record.spec.playbook,
        "risk": preview.record.spec.risk, "plan": preview.record.spec.plan,
        "fields": preview.checked.fields(), "diff": preview.checked.diff(),
        "objectsCompared": preview.checked.objects_compared(),
        "fieldsChanged": preview.checked.fields_changed(),
        "notRendered": preview.checked.unrendered(),
        "commitMessage": preview.commit_message, "pullRequest": preview.pull_request,
    })
}
