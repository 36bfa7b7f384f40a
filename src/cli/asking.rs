//! `tars snooze` and `tars revert`: what a person asks for goes into the ledger, where every replica heeds it at its
//! next look. Nothing is closed or proposed here: the reconciler does that, by the path it always takes.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::checklist;
use super::failure::{Failure, Kind};
use super::output::{Console, Page, Symbol, rfc3339};
use super::run::tick_failed;
use super::settings::{self, GitSide};
use super::writing::{Asking, Revert, Snooze};
use crate::config::{Overrides, Settings};
use crate::model::action::RemediationAction;
use crate::model::duration;
use crate::model::history::History;
use crate::model::ids::{ActionId, Fingerprint, ObjectId, PolicyName, WorkloadRef};
use crate::model::policy::Policy;
use crate::model::request::{CannotAsk, QUIET_MAX_S, Request, Whom, Wish};
use crate::observe::repository::Repository;
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::git::{Mirror, Person};
use crate::reconcile::asked::{Asked, OpenLedger};
use crate::render;

/// Asks for quiet, or ends it.
///
/// # Errors
/// Exit code 2 for a name that nothing has, 3 when the remote cannot be reached, 5 when it cannot be asked for,
/// 6 when others write without a pause, 7 when the time is over.
pub fn snooze(args: &Snooze, console: &Console) -> Result<(), Failure> {
    if args.lasting_s.is_some_and(|seconds| i64::from(seconds) > QUIET_MAX_S) {
        return Err(Failure::usage(CannotAsk::TooLong.to_string()).hint("tars suspend POLICY --reason TEXT"));
    }
    let now = SystemClock.now();
    let lasting = SignedDuration::from_secs(i64::from(args.lasting_s.unwrap_or(0)));
    let until = now.checked_add(lasting).unwrap_or(now);
    // A whole second: what is printed is what counts.
    let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
    let settings = settings::load(&args.asking.settings.config, &Overrides::default())?;
    let work = async {
        let (by, mut desk) = open(&settings, &args.asking).await?;
        let main = desk.read().await.map_err(tick_failed)?;
        let policies = policies(&settings, &desk, &main)?;
        let of = whom(&args.reference, desk.memory.history(), &policies)?;
        let closes = closed_by(&of, desk.memory.history());
        let reason = args.reason.as_deref().unwrap_or_default();
        let request = Request::new(Wish::Quiet { of, until }, &by, reason);
        let asked = ask(&mut desk, &request, args.asking.dry_run).await?;
        Ok((request, asked, closes))
    };
    let (request, asked, closes) = checklist::run(args.asking.patience.timeout, "the request", work)?;
    let program = super::invocation();
    let again = match &request.wish {
        Wish::Quiet { of: Whom::Cause(cause), .. } => cause.short(),
        _ => args.reference.as_str(),
    };
    let said = match (args.off, args.lasting_s) {
        (true, _) => format!("no quiet for {}", args.reference),
        (false, seconds) => {
            let lasting = duration::format_s(seconds.unwrap_or(0));
            format!("quiet for {} until {} ({lasting})", args.reference, rfc3339(until))
        }
    };
    let undo = match args.off {
        true => format!("{program} snooze {again} --for 4h --reason TEXT"),
        false => format!("{program} snooze {again} --off"),
    };
    let next = match &closes[..] {
        [] => String::new(),
        _ if args.off => String::new(),
        ids => format!("a running tars closes {} at its next look", ids.join(", ")),
    };
    let name = match &request.wish {
        Wish::Quiet { of, .. } => of.key(),
        Wish::Revert { of } => of.to_string(),
    };
    let value = json!({ "closes": closes, "until": rfc3339(until) });
    tell(&Told { said, next, undo, name, value }, &request, &asked, console)
}

/// Asks for the undo of a merged action.
///
/// # Errors
/// As [`snooze`]; exit code 5 when there is nothing to undo, or somebody is at it.
pub fn revert(args: &Revert, console: &Console) -> Result<(), Failure> {
    let settings = settings::load(&args.asking.settings.config, &Overrides::default())?;
    let work = async {
        let (by, mut desk) = open(&settings, &args.asking).await?;
        let main = desk.read().await.map_err(tick_failed)?;
        let record = merged(&args.reference, desk.memory.history())?.clone();
        let request = Request::new(Wish::Revert { of: record.id().clone() }, &by, &args.reason);
        if let Err(why) = desk.memory.history().can_revert(record.id())
            && why != CannotAsk::AskedAlready
        {
            return Err(refused(&why));
        }
        let fields = left(&settings, &desk, &main, &record)?;
        let asked = ask(&mut desk, &request, args.asking.dry_run).await?;
        Ok((request, asked, record, fields))
    };
    let (request, asked, record, fields) = checklist::run(args.asking.patience.timeout, "the request", work)?;
    let told = Told {
        said: format!("the undo of {} ({}) is asked for", record.id(), render::headline(&record)),
        next: "a running tars opens the proposal at its next look; people merge it unless the policy sets autoRevert"
            .to_owned(),
        undo: "close the proposal: the change then stays".to_owned(),
        name: record.id().to_string(),
        value: json!({ "action": record.id(), "target": record.spec.target, "fields": fields }),
    };
    tell(&told, &request, &asked, console)
}

/// Who asks, and the ledger to ask in.
async fn open(settings: &Settings, asking: &Asking) -> Result<(String, OpenLedger), Failure> {
    let by = match &asking.by {
        Some(by) => by.clone(),
        None => me().await?,
    };
    let GitSide { git, writer, memory } = settings::git_side(settings)?;
    let mirror = Mirror::open(&git).await.map_err(|error| {
        Failure::new(Kind::No, "could not prepare a local copy").because(error).hint("is git installed?")
    })?;
    Ok((by, OpenLedger { mirror, writer, memory, clock: Arc::new(SystemClock) }))
}

/// The person's git identity, here or anywhere.
async fn me() -> Result<String, Failure> {
    Person::identity_in(std::path::Path::new(".")).await.map_err(|error| {
        Failure::usage("git does not know who asks").because(error).hint("say it with --by WHO")
    })
}

fn policies(settings: &Settings, desk: &OpenLedger, main: &ObjectId) -> Result<Vec<Policy>, Failure> {
    Ok(snapshot(settings, desk, main)?.policies.clone())
}

fn snapshot(
    settings: &Settings,
    desk: &OpenLedger,
    main: &ObjectId,
) -> Result<Arc<crate::observe::repository::Snapshot>, Failure> {
    let surroundings = settings::surroundings(settings)?;
    let mut repository = Repository::new(settings.policies_path.clone()).in_surroundings(surroundings);
    repository
        .snapshot(desk.mirror.objects(), main)
        .map_err(|error| Failure::new(Kind::No, "could not read the watched branch").because(error))
}

/// What a reference means: something that waits, a target, or a policy.
fn whom(reference: &str, history: &History, policies: &[Policy]) -> Result<Whom, Failure> {
    let waiting = history.open.values().filter(|it| is_named(it, reference) && it.status.merge.is_none());
    let mut causes: Vec<_> = waiting.map(|it| it.spec.fingerprint.clone()).collect();
    causes.dedup();
    match &causes[..] {
        [cause] => return Ok(Whom::Cause(cause.clone())),
        [] => {}
        [..] => {
            return Err(Failure::usage(format!("{reference} means {} proposals", causes.len()))
                .hint("name one by its action id: tars get proposals"));
        }
    }
    if let Ok(target) = WorkloadRef::parse(reference)
        && (policies.iter().any(|it| it.allows(&target)) || history.open_for(&target).is_some())
    {
        return Ok(Whom::Target(target));
    }
    // What was closed is no proposal any more; its cause still has the name under which it is quiet.
    let quiet = history.quiet.values().filter_map(|it| match &it.wish {
        Wish::Quiet { of: of @ Whom::Cause(cause), .. } => Some((cause, of)),
        _ => None,
    });
    let begins = |(cause, _): &(&Fingerprint, &Whom)| {
        reference.len() >= cause.short().len() && cause.as_str().starts_with(reference)
    };
    if let Some((_, whom)) = quiet.into_iter().find(begins) {
        return Ok(whom.clone());
    }
    let policy = PolicyName::new(reference).ok();
    if let Some(name) = policy.filter(|name| policies.iter().any(|it| it.name == *name)) {
        return Ok(Whom::Policy(name));
    }
    Err(Failure::usage(format!("no open proposal, allowed target or policy is named {reference}"))
        .hint("tars get proposals and tars get policies list them"))
}

/// Is it this action: by id or its beginning, incident, branch, or a commit of it?
fn is_named(record: &RemediationAction, reference: &str) -> bool {
    let id = record.id().as_str();
    let begins = reference.len() >= 8 && (id.starts_with(reference) || id[4..].starts_with(reference));
    let is_commit = |oid: &ObjectId| reference.len() >= 7 && oid.as_str().starts_with(reference);
    let change = record.spec.change.as_ref();
    begins
        || record.spec.incident.as_str() == reference
        || change.is_some_and(|it| it.branch.as_str() == reference || is_commit(&it.head))
        || record.status.merge.as_ref().is_some_and(|it| is_commit(&it.commit))
}

/// What waits and is closed when this is quiet.
fn closed_by(of: &Whom, history: &History) -> Vec<String> {
    let concerns = |it: &&RemediationAction| match of {
        Whom::Policy(name) => it.spec.policy == *name,
        Whom::Target(target) => it.spec.target == *target,
        Whom::Cause(cause) => it.spec.fingerprint == *cause,
    };
    let waits = history.open.values().filter(|it| it.state().waits());
    waits.filter(concerns).map(|it| it.id().to_string()).collect()
}

/// The action that `reference` means: of a target, the newest that merged.
fn merged<'a>(reference: &str, history: &'a History) -> Result<&'a RemediationAction, Failure> {
    let effects = history.effects.values().map(|it| (it.seq, &it.record));
    let open = history.open.values().map(|it| (u64::MAX, it));
    let known: Vec<_> = effects.chain(open).collect();
    if let Ok(target) = WorkloadRef::parse(reference) {
        let there = known.iter().filter(|(_, it)| it.spec.target == target && it.undoes().is_none());
        let newest = there.filter(|(_, it)| it.status.merge.is_some()).max_by_key(|(seq, _)| *seq);
        return newest.map(|(_, it)| *it).ok_or_else(|| {
            Failure::new(Kind::Refused, format!("nothing that tars changed on {target} is left to undo"))
                .hint("tars get remediations shows what became of it; older changes: git revert COMMIT")
        });
    }
    let mut found = known.iter().filter(|(_, it)| is_named(it, reference));
    match (found.next(), found.next()) {
        (Some((_, record)), None) => Ok(record),
        (Some(_), Some(_)) => Err(Failure::usage(format!("{reference} means more than one action"))
            .hint("name one by its action id: tars get remediations")),
        (None, _) => match ActionId::new(reference) {
            Ok(id) => Err(refused(&CannotAsk::Unknown(id))),
            Err(_) => Err(Failure::usage(format!("no action in force is named {reference}"))
                .hint("tars get remediations lists them; what is older: git revert COMMIT")),
        },
    }
}

/// The fields that the undo puts back.
fn left(
    settings: &Settings,
    desk: &OpenLedger,
    main: &ObjectId,
    record: &RemediationAction,
) -> Result<Vec<String>, Failure> {
    let snapshot = snapshot(settings, desk, main)?;
    let fields = record.spec.change.iter().flat_map(|change| &change.fields);
    let standing: Vec<String> = fields
        .filter(|field| render::stands(&snapshot.index, field))
        .map(|field| format!("{} in {}: {} -> {}", field.field, field.file, field.after(), field.before()))
        .collect();
    if standing.is_empty() {
        let text = format!("somebody changed the same fields since {}: nothing is left to undo", record.id());
        return Err(Failure::new(Kind::Refused, text));
    }
    Ok(standing)
}

fn refused(why: &CannotAsk) -> Failure {
    let failure = Failure::new(Kind::Refused, why.to_string());
    match why {
        CannotAsk::Unknown(_) => failure.hint("what tars has forgotten, git remembers: git revert COMMIT"),
        CannotAsk::NotMerged { .. } => failure.hint("close the proposal, or tars snooze it"),
        _ => failure,
    }
}

/// `None`: it was only shown.
async fn ask(desk: &mut OpenLedger, request: &Request, dry_run: bool) -> Result<Option<Asked>, Failure> {
    if dry_run {
        return Ok(None);
    }
    match desk.ask(request).await.map_err(tick_failed)? {
        Asked::Refused(why) => Err(refused(&why)),
        Asked::Busy => Err(Failure::new(Kind::Conflict, "others wrote to the ledger first, again and again")
            .hint("nothing was recorded; try again")),
        asked => Ok(Some(asked)),
    }
}

/// What is said about a request.
struct Told {
    said: String,
    next: String,
    undo: String,
    name: String,
    /// More for programs.
    value: serde_json::Value,
}

fn tell(told: &Told, request: &Request, asked: &Option<Asked>, console: &Console) -> Result<(), Failure> {
    let (state, commit) = match asked {
        None => ("Planned", None),
        Some(Asked::Recorded(commit)) => ("Recorded", Some(commit)),
        Some(_) => ("Unchanged", None),
    };
    let mut value = json!({
        "apiVersion": "cli.tars/v1", "kind": "Request", "state": state, "commit": commit,
        "wish": request.wish, "by": request.by, "reason": request.reason, "undo": told.undo,
    });
    if let (Some(value), Some(more)) = (value.as_object_mut(), told.value.as_object()) {
        value.extend(more.clone());
    }
    console.answer(std::slice::from_ref(&told.name), &value, || {
        let mut page = Page::new();
        match asked {
            None => drop(page.put(format!("would record: {}; nothing was written", told.said)).line()),
            Some(Asked::Recorded(_)) => drop(page.put(Symbol::Done).put(format!(" {}", told.said)).line()),
            Some(_) => {
                page.put(Symbol::Done).put(format!(" {}, already; nothing was written", told.said)).line();
            }
        }
        page.put(format!("  asked   by {}", request.by)).line();
        if !request.reason.is_empty() {
            page.put(format!("  reason  {}", request.reason)).line();
        }
        for field in told.value["fields"].as_array().into_iter().flatten() {
            page.put(format!("  back    {}", field.as_str().unwrap_or_default())).line();
        }
        if let Some(commit) = commit {
            page.put(format!("  ledger  {}", commit.short())).line();
        }
        if !told.next.is_empty() {
            page.put(format!("  next    {}", told.next)).line();
        }
        page.put(format!("  undo    {}", told.undo)).line();
        page
    })
}
