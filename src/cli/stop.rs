//! `tars suspend` and `tars resume`: a person's stop, and its end, as a commit of their own. The whole repository
//! stops by a file beside the policies, one policy by its own field; every replica reads both before it merges.
//!
//! A stop goes straight to the watched branch, because at night it must hold in seconds and can do no harm; its end
//! goes to a branch for review, because it can. `--review` and `--push` say otherwise.

use jiff::Timestamp;
use serde_json::json;

use super::checklist;
use super::failure::{Failure, Kind};
use super::output::{Console, Page, Symbol};
use super::own_commit::{Change, Outcome, Own};
use super::settings;
use super::writing::{OwnClone, Resume, Suspend, Way};
use crate::config::Overrides;
use crate::crd;
use crate::model::ids::{BranchName, ObjectId, PolicyName, RepoPath};
use crate::model::policy::Policy;
use crate::model::suspension::Suspension;
use crate::observe::repository::SUSPENDED_FILE;
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::git::{Objects, Person, TreeLimits};
use crate::render;

/// Most files and folders below the policies that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// Most characters of a reason, as tars shows it.
const REASON_CHARS_MAX: usize = 200;

/// What is to be switched, and to what.
struct Switch {
    policies: RepoPath,
    policy: Option<PolicyName>,
    suspend: bool,
    reason: String,
    /// A stop of everything ends by itself then.
    until: Option<Timestamp>,
    by: String,
}

/// Suspends everything, or one policy.
///
/// # Errors
/// Exit code 2 for a policy that is not there, 3 and 4 when the remote cannot be reached or does not let the person
/// push, 6 when the branch for review holds somebody else's work.
pub fn suspend(args: &Suspend, console: &Console) -> Result<(), Failure> {
    let reason = one_line(&args.reason);
    if reason.is_empty() {
        return Err(Failure::usage("the reason is empty").hint("say why: somebody will find tars stopped"));
    }
    let straight = !args.way.review;
    let until = args.lasting_s.map(|it| {
        // The file says whole seconds.
        let end = SystemClock.now().as_second().saturating_add(i64::from(it));
        Timestamp::from_second(end).map_err(|error| Failure::usage("--for is too long").because(error))
    });
    let want = (true, until.transpose()?);
    run(&args.own, args.policy.as_deref(), want, &reason, (straight, args.dry_run), console)
}

/// Ends the suspension of everything, or of one policy.
///
/// # Errors
/// As [`suspend`].
pub fn resume(args: &Resume, console: &Console) -> Result<(), Failure> {
    let Way { push, .. } = args.way;
    run(
        &args.own,
        args.policy.as_deref(),
        (false, None),
        &one_line(&args.reason),
        (push, args.dry_run),
        console,
    )
}

fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_CHARS_MAX).collect()
}

/// The person's clone, and where the policies stand.
///
/// # Errors
/// When there is no clone, or the settings that were named cannot be used.
pub fn own(args: &OwnClone) -> Result<(Own, RepoPath), Failure> {
    let settings = match &args.beside.config {
        Some(file) => Some(settings::load(file, &Overrides::default())?),
        None => None,
    };
    let named = args.branch.as_deref().map(BranchName::new).transpose();
    let named = named.map_err(|error| Failure::usage("--branch is no branch").because(error))?;
    let main = match (named, &settings) {
        (Some(named), _) => named,
        (None, Some(settings)) => settings.branch.clone(),
        (None, None) => name(BranchName::new("main"))?,
    };
    let policies = match settings {
        Some(settings) => settings.policies_path,
        None => name(RepoPath::new("policies"))?,
    };
    let person = Person::open(&args.repository).map_err(|error| {
        Failure::usage(format!("{} is not a git repository tars can read", args.repository.display()))
            .because(error)
            .hint("name your clone of the GitOps repository with -C DIR")
    })?;
    Ok((Own { person, remote: args.remote.clone(), main }, policies))
}

fn name<T>(checked: Result<T, crate::model::ids::InvalidName>) -> Result<T, Failure> {
    checked.map_err(|error| Failure::new(Kind::No, "bad name").because(error))
}

fn run(
    clone: &OwnClone,
    policy: Option<&str>,
    (suspend, until): (bool, Option<Timestamp>),
    reason: &str,
    (straight, dry_run): (bool, bool),
    console: &Console,
) -> Result<(), Failure> {
    let (own, policies) = own(clone)?;
    let policy = policy.map(PolicyName::new).transpose();
    let policy = policy.map_err(|error| Failure::usage("no policy can have that name").because(error))?;
    let verb = if suspend { "suspend" } else { "resume" };
    let review = match &policy {
        None => BranchName::new(format!("tars-cli/{verb}")),
        Some(policy) => BranchName::new(format!("tars-cli/{verb}-{policy}")),
    };
    let review = name(review)?;
    let work = async {
        let by = own.person.identity().await.map_err(|error| {
            Failure::usage("git does not know who you are")
                .because(error)
                .hint("git config --global user.name and user.email; tars commits as you")
        })?;
        let switch = Switch { policies, policy, suspend, reason: reason.to_owned(), until, by };
        let make = |objects: &Objects, head: &ObjectId| switch.change(objects, head);
        if dry_run {
            let head = own.head().await?;
            let change = make(own.person.objects(), &head)?;
            return Ok((switch, None, change.map(|it| (head, it))));
        }
        let outcome = match straight {
            true => match own.to_watched(make).await? {
                Outcome::NotAllowed(said) => match own.to_branch(&review, make).await? {
                    Outcome::NotAllowed(_) => Outcome::NotAllowed(said),
                    other => other,
                },
                other => other,
            },
            false => own.to_branch(&review, make).await?,
        };
        Ok((switch, Some(outcome), None))
    };
    let (switch, outcome, planned) = checklist::run(None, "the commit", work)?;
    match outcome {
        None => show_plan(&switch, planned.as_ref(), &own, console),
        Some(outcome) => tell(&switch, &outcome, &own, clone, straight, console),
    }
}

impl Switch {
    /// The commit that makes it so on top of `head`; `None` when it is so already.
    fn change(&self, objects: &Objects, head: &ObjectId) -> Result<Option<Change>, Failure> {
        let edit = match &self.policy {
            None => self.stop_file(objects, head)?,
            Some(policy) => self.field(objects, head, policy)?,
        };
        let Some((path, bytes)) = edit else { return Ok(None) };
        let verb = if self.suspend { "Suspend" } else { "Resume" };
        let what = match &self.policy {
            None => "tars",
            Some(policy) => &format!("policy {policy}"),
        };
        let why = if self.reason.is_empty() { String::new() } else { format!("\n{}\n", self.reason) };
        Ok(Some(Change { edits: vec![(path, bytes)], message: format!("{verb} {what}\n{why}") }))
    }

    fn stop_file(&self, objects: &Objects, head: &ObjectId) -> Result<Option<Edit>, Failure> {
        let path = format!("{}/{SUSPENDED_FILE}", self.policies);
        let there = objects.entry(head.as_str(), &path).map_err(unread)?;
        if !self.suspend {
            return Ok(there.map(|_| (path, None)));
        }
        let now = SystemClock.now();
        let stop = Suspension { reason: self.reason.clone(), until: self.until };
        if let Some(there) = there {
            // What cannot be read is a stop without an end, here as everywhere.
            let text = objects.blob(&there.oid, crd::MAX_FILE_BYTES).unwrap_or_default();
            let known = Suspension::read(&String::from_utf8_lossy(&text));
            // Somebody else's stop is never made shorter.
            if known.holds(now) && known.outlasts(&stop) {
                return Ok(None);
            }
        }
        let since = super::output::rfc3339(now);
        let text = stop.text(&format!("Since {since}, by {}. `tars resume` ends it.", self.by));
        Ok(Some((path, Some(text.into_bytes()))))
    }

    fn field(
        &self,
        objects: &Objects,
        head: &ObjectId,
        wanted: &PolicyName,
    ) -> Result<Option<Edit>, Failure> {
        let mut names = Vec::new();
        for (path, bytes) in self.files(objects, head)? {
            let before = crd::lint(&path, &bytes, head);
            let Some(policy) = before.policies.iter().find(|it| it.name == *wanted) else {
                names.extend(before.policies.iter().map(|it| it.name.to_string()));
                continue;
            };
            if policy.suspend == self.suspend {
                return Ok(None);
            }
            let switched = render::switch_policy(&bytes, wanted.as_str(), self.suspend);
            let switched = switched.map_err(|error| {
                Failure::new(Kind::Refused, format!("{path} cannot be edited safely")).because(error)
            })?;
            let bytes = switched.filter(|bytes| self.proven(&before.policies, &path, bytes, head));
            return match bytes {
                Some(bytes) => Ok(Some((path.to_string(), Some(bytes)))),
                None => Err(Failure::new(
                    Kind::Refused,
                    format!("the edit of {path} would change more than spec.suspend of {wanted}"),
                )),
            };
        }
        names.sort_unstable();
        let known = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
        Err(Failure::usage(format!("no policy below {} is named {wanted}: {known}", self.policies))
            .hint("a policy with errors acts on nothing; without a name everything is stopped"))
    }

    /// Are the policies of the edited file those from before, but for the one field?
    fn proven(&self, before: &[Policy], path: &RepoPath, bytes: &[u8], head: &ObjectId) -> bool {
        let switched = |policy: &Policy| match self.policy.as_ref() == Some(&policy.name) {
            true => Policy { suspend: self.suspend, ..policy.clone() },
            false => policy.clone(),
        };
        crd::lint(path, bytes, head).policies == before.iter().map(switched).collect::<Vec<_>>()
    }

    /// Every policy file of the commit.
    fn files(&self, objects: &Objects, head: &ObjectId) -> Result<Vec<(RepoPath, Vec<u8>)>, Failure> {
        let limits = TreeLimits { files_max: ENTRIES_MAX, entries_max: ENTRIES_MAX, ..TreeLimits::default() };
        let below = format!("{}/", self.policies);
        let mut found = Vec::new();
        let mut note = |path: &str, entry: crate::outside::git::Stands<'_>| {
            let is_policy = path.starts_with(&below) && (path.ends_with(".yaml") || path.ends_with(".yml"));
            if let (true, Ok(path), Some(_)) = (is_policy, RepoPath::new(path), entry) {
                found.push(path);
            }
        };
        objects.each_changed_entry(None, head.as_str(), limits, &mut note).map_err(unread)?;
        let mut files = Vec::new();
        for path in found {
            let entry = objects.entry(head.as_str(), path.as_str()).map_err(unread)?;
            let Some(entry) = entry.filter(|it| matches!(it.mode, 0o100_644 | 0o100_755)) else { continue };
            if let Ok(bytes) = objects.blob(&entry.oid, crd::MAX_FILE_BYTES) {
                files.push((path, bytes));
            }
        }
        Ok(files)
    }

    fn what(&self) -> String {
        self.policy.as_ref().map_or_else(|| "tars".to_owned(), |policy| format!("policy {policy}"))
    }

    /// What holds now.
    fn effect(&self) -> String {
        match (&self.policy, self.suspend) {
            (None, true) => match self.until {
                Some(until) => format!("suspended until {until}: nothing merges by itself"),
                None => "suspended: nothing merges by itself".to_owned(),
            },
            (None, false) => "resumed: what is low risk and in budget merges by itself again".to_owned(),
            (Some(policy), true) => format!("policy {policy} is suspended: it proposes and merges nothing"),
            (Some(policy), false) => format!("policy {policy} is resumed"),
        }
    }

    /// The same, when it was so before. Somebody else's stop may last longer than this one asks for.
    fn already(&self) -> String {
        match self.until {
            Some(until) => format!("suspended already, at least until {until}: nothing merges by itself"),
            None => format!("{} already", self.effect()),
        }
    }

    fn undo(&self, clone: &OwnClone) -> String {
        let verb = if self.suspend { "resume" } else { "suspend --reason TEXT" };
        let policy = self.policy.as_ref().map_or_else(String::new, |it| format!(" {it}"));
        format!("{} {verb}{policy} -C {} --push", super::invocation(), clone.repository.display())
    }
}

type Edit = crate::outside::git::Edit;

fn unread(error: crate::outside::git::GitError) -> Failure {
    Failure::new(Kind::No, "could not read the watched branch").because(error)
}

fn show_plan(
    switch: &Switch,
    planned: Option<&(ObjectId, Change)>,
    own: &Own,
    console: &Console,
) -> Result<(), Failure> {
    let edits: Vec<_> = planned.iter().flat_map(|(_, change)| &change.edits).collect();
    let names: Vec<String> = edits.iter().map(|(path, _)| path.clone()).collect();
    let base = planned.map(|(head, _)| head.to_string());
    let message = planned.map(|(_, change)| change.message.clone());
    let value = json!({
        "apiVersion": "cli.tars/v1", "kind": "Suspension", "policy": switch.policy, "suspend": switch.suspend,
        "state": if planned.is_some() { "Planned" } else { "Unchanged" }, "base": base,
        "files": names, "commitMessage": message,
    });
    console.answer(&names, &value, || {
        let mut page = Page::new();
        let Some((head, change)) = planned else {
            page.put(Symbol::Done).put(format!(" {}", switch.already())).line();
            return page;
        };
        page.put(format!("would commit on {} at {}, and write nothing now", own.main, head.short())).line();
        for (path, bytes) in &change.edits {
            let before = own.person.objects().entry(head.as_str(), path).ok().flatten();
            let before = before.and_then(|it| own.person.objects().blob(&it.oid, crd::MAX_FILE_BYTES).ok());
            page.put(format!("--- {path}")).line();
            page.block(difference(&before.unwrap_or_default(), bytes.as_deref().unwrap_or_default()));
        }
        page.line().block(change.message.clone());
        page
    })
}

/// The lines that differ, when all that differs stands together.
fn difference(before: &[u8], after: &[u8]) -> String {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let first = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let gone = old[..old.len() - last].iter().map(|line| format!("-{line}\n"));
    let come = new[..new.len() - last].iter().map(|line| format!("+{line}\n"));
    gone.chain(come).collect()
}

fn tell(
    switch: &Switch,
    outcome: &Outcome,
    own: &Own,
    clone: &OwnClone,
    straight: bool,
    console: &Console,
) -> Result<(), Failure> {
    let (state, commit, branch, signed) = match outcome {
        Outcome::Already => ("Unchanged", None, None, None),
        Outcome::Landed { made, branch } if *branch == own.main => {
            ("Done", Some(made.commit.as_str()), Some(branch), Some(made.signed))
        }
        Outcome::Landed { made, branch } => {
            ("Waiting", Some(made.commit.as_str()), Some(branch), Some(made.signed))
        }
        Outcome::Waits { commit, branch } => ("Waiting", Some(commit.as_str()), Some(branch), None),
        Outcome::NotAllowed(said) => {
            return Err(Failure::new(
                Kind::Denied,
                format!("{} does not take your push: {said}", own.remote),
            )
            .hint("nothing was changed; whoever may push can run the same command"));
        }
    };
    let undo = switch.undo(clone);
    // Of a stop that was there before nothing is said but that it lasts as long.
    let until = switch.until.filter(|_| state != "Unchanged");
    let value = json!({
        "apiVersion": "cli.tars/v1", "kind": "Suspension", "policy": switch.policy, "suspend": switch.suspend,
        "reason": switch.reason, "until": until, "by": switch.by, "state": state, "commit": commit, "branch": branch,
        "remote": own.remote, "signed": signed, "undo": undo,
    });
    console.answer(&[commit.unwrap_or_default().to_owned()], &value, || {
        let mut page = Page::new();
        let short = |commit: &str| commit.chars().take(12).collect::<String>();
        let Some((commit, branch)) = commit.zip(branch) else {
            page.put(Symbol::Done).put(format!(" {}; nothing was written", switch.already())).line();
            return page;
        };
        let how = match signed {
            Some(true) => ", signed",
            Some(false) => ", not signed (commit.gpgSign is not set)",
            None => ", from before",
        };
        match state {
            "Done" => page.put(Symbol::Done).put(format!(" {}", switch.effect())).line(),
            _ => page.put(Symbol::Waiting).put(format!(" {} changes nothing yet", switch.what())).line(),
        };
        page.put(format!("  commit  {} on {branch} of {}{how}", short(commit), own.remote)).line();
        if state == "Done" {
            page.put(format!("  undo    {undo}")).line();
        } else {
            let or = if straight { "" } else { ", or the same with --push" };
            page.put(format!("  next    merge {branch} into {}{or}", own.main)).line();
        }
        page
    })?;
    // A stop that was to hold now and does not is no success.
    match (state, straight) {
        ("Waiting", true) => Err(Failure::new(
            Kind::Denied,
            format!("{} does not take your push to {}: the change waits on a branch", own.remote, own.main),
        )
        .hint("until it is merged nothing has stopped or started; let somebody merge it at once")),
        _ => Ok(()),
    }
}
