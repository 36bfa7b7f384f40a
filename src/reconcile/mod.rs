//! The only room that knows the order: observe, detect, decide, render, propose, verify, report.
//! A tick comes in, a report of what was done and why goes out. It contains no rule of its own.
//!
//! One tick looks at the metrics once and then takes steps until there is none left. Before every step the
//! git side is read again, because every step may have been taken by somebody else in the meantime.

pub mod asked;
pub mod calls;
pub mod desk;
pub mod error;
pub mod evidence;
pub mod measure;
pub mod memory;
pub mod preview;
pub mod report;

mod batch;
mod branches;
mod correlate;
mod follow;
pub mod gather;
mod in_force;
mod incident;
mod open;
mod perform;
mod scores;
mod states;
mod step;
mod turn;
mod view;

#[cfg(test)]
mod asked_tests;
#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod correlate_tests;
#[cfg(test)]
mod desk_races;
#[cfg(test)]
mod desk_tests;
#[cfg(test)]
mod desk_threats_tests;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod helm_oracle;
#[cfg(test)]
mod isolation_tests;
#[cfg(test)]
mod promises_tests;
#[cfg(test)]
mod rivals_tests;
#[cfg(test)]
mod shards_tests;
#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod windows_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::branches::{Branches, apply, read_branches, read_others};
use self::desk::Desk;
use self::desk::show::Showing;
use self::error::TurnError;
use self::evidence::{Evidence, Observer, Since};
use self::in_force::{look_at_cluster, look_at_main};
use self::memory::Memory;
use self::perform::{Done, Performer};
use self::report::{Held, TickReport};
use self::step::{About, Step};
pub use self::turn::Rules;
use self::turn::Turn;
use self::view::View;
use crate::crd::object::Together;
use crate::decide::{self, Undoing};
use crate::ledger;
use crate::model::action::RemediationAction;
use crate::model::decision::{Decision, Verb};
use crate::model::history::Effect;
use crate::model::ids::{ActionId, BranchName, Fingerprint, ObjectId};
use crate::model::limits::GlobalLimits;
use crate::model::policy::{Mode, Policy};
use crate::model::reason::{Reason, ReasonCode};
use crate::observe::owners::Owners;
use crate::observe::policies::ClusterPolicies;
use crate::observe::repository::{Repository, Snapshot};
use crate::observe::rivals::Rivals;
use crate::observe::spool::Spool;
use crate::observe::sync_probe::SyncProbe;
use crate::outside::clock::{self, Clock, Stopwatch};
use crate::outside::git::{GitSettings, Mirror};
use crate::outside::http::Http;
use crate::outside::random;
use crate::propose::Writer;
use crate::render::{TemplateProblem, Templates};
use crate::report::refresh::Refresh;

/// Most steps of one tick; what is left waits for the next one.
const STEPS_MAX: usize = 500;
/// Most steps on what is known before the remote is asked again. Every push holds only if the ledger still
/// stands where we left it, so what is known can be old but never wrong enough to harm.
const KNOWN_STEPS_MAX: usize = 20;
/// Lost races after which a tick gives the others room until the next one.
const RACES_MAX: u32 = 40;
/// Least mean wait before reading again after a lost race.
const RACE_WAIT: Duration = Duration::from_millis(50);
/// Most mean wait.
const RACE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Most doublings of a wait.
const RACE_DOUBLINGS_MAX: u32 = 6;
/// A local copy is made anew after this long.
const COPY_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Everything a reconciler is made of; see `cli` for where each comes from.
#[derive(Debug)]
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub observer: Observer,
    pub spool: Arc<Spool>,
    pub git: GitSettings,
    pub writer: Writer,
    pub memory: Memory,
    pub repository: Repository,
    /// Those of the cluster; `None`: no cluster is asked.
    pub policies: Option<ClusterPolicies>,
    /// Whose pod an alert is about; as above.
    pub owners: Option<Owners>,
    pub templates: Templates,
    pub rules: Rules,
    pub probe: SyncProbe,
    /// `None`: Argo CD and Flux are not asked to look now.
    pub refresh: Option<Refresh>,
    pub http: Http,
    /// The most any policy may do.
    pub mode_ceiling: Mode,
    /// The pull requests; `None`: proposals stay branches.
    pub desk: Option<Desk>,
}

/// Branches of the remote as our own pushes left them, full name to commit.
#[derive(Debug)]
struct Known {
    refs: BTreeMap<String, String>,
    /// Steps taken since they were read.
    steps: usize,
}

/// Watches one repository.
#[derive(Debug)]
pub struct Reconciler {
    parts: Parts,
    mirror: Option<Mirror>,
    copied_at: Option<Timestamp>,
    /// What the remote must have after our last push, if that landed: no need to ask.
    known: Option<Known>,
    since: Since,
    /// As of the last look; `None`: there was none yet.
    in_force: Option<Together>,
    suspended: bool,
    /// The remote's branches as of the last look.
    seen: BTreeMap<String, String>,
    rivals: Rivals,
    /// The commit whose templates are in use, and what is wrong with them.
    worded: Option<(ObjectId, Option<TemplateProblem>)>,
    /// Was the forge read since the last write anywhere?
    desk_is_fresh: bool,
}

/// What is not tried again before the next tick.
#[derive(Debug, Default)]
struct PutAside {
    /// Causes whose change was computed and refused, was opened already, or could not be pushed.
    causes: BTreeMap<Fingerprint, Vec<Reason>>,
    /// Actions whose next step failed: one poisoned record must not stop the others.
    actions: BTreeSet<ActionId>,
}

impl PutAside {
    fn opened(&mut self, cause: Fingerprint) {
        let text = "opened in this tick already; the next one decides again";
        self.causes.insert(cause, vec![Reason::new(ReasonCode::ProposalOpen, text)]);
    }

    /// Reports the error and puts `about` aside; `false`: nothing can go on without it.
    fn failed(&mut self, about: About, error: TurnError, report: &mut TickReport) -> bool {
        let goes_on = self.put(about, &error);
        report.errors.push(error);
        goes_on
    }

    /// Puts `about` aside; `false`: nothing can go on without it.
    fn put(&mut self, about: About, why: &TurnError) -> bool {
        match about {
            About::Actions(ids) => {
                let before = self.actions.len();
                self.actions.extend(ids);
                self.actions.len() > before
            }
            About::Cause(fingerprint) => {
                let reason = Reason::new(ReasonCode::RemoteUnreachable, why.to_string());
                self.causes.insert(fingerprint, vec![reason]).is_none()
            }
            About::Ledger => false,
        }
    }
}

/// How long to wait, on average, after a lost race: as long as the attempt took, doubled with each race lost in a
/// row. On a slow or crowded machine an attempt takes long, and losers that try again at once would leave no
/// room for the one that is winning: whoever wins goes on until it has nothing to write, and is gone.
fn race_wait(attempt: Duration, lost_in_a_row: u32) -> Duration {
    let doubled = attempt.max(RACE_WAIT).saturating_mul(1 << lost_in_a_row.min(RACE_DOUBLINGS_MAX));
    doubled.min(RACE_WAIT_MAX)
}

/// A push that did not land, and what the remote looked like before it.
type Lost = (About, BTreeMap<String, String>);

impl Reconciler {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            mirror: None,
            copied_at: None,
            known: None,
            since: Since::default(),
            in_force: None,
            suspended: false,
            seen: BTreeMap::new(),
            rivals: Rivals::default(),
            worded: None,
            desk_is_fresh: false,
        }
    }

    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.parts.memory
    }

    /// Keeps what was learned for the process after this one.
    pub fn keep(&self) {
        self.parts.observer.keep();
    }

    /// Number of the pull request of `branch`, if it is known.
    #[must_use]
    pub fn pull_number(&self, branch: &BranchName) -> Option<u64> {
        self.parts.desk.as_ref()?.number(branch)
    }

    #[must_use]
    pub fn spool(&self) -> &Spool {
        &self.parts.spool
    }

    #[must_use]
    pub fn limits(&self) -> &GlobalLimits {
        &self.parts.rules.limits
    }

    /// Policies as read at the last tick.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        self.in_force.as_ref().map(|it| it.policies.as_slice()).unwrap_or_default()
    }

    /// Did the watched branch say stop at the last tick?
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// One tick: look once, then step until settled.
    pub async fn tick(&mut self) -> (Evidence, TickReport) {
        let mut report = TickReport::default();
        let mut aside = PutAside::default();
        let mut lost: Option<Lost> = None;
        let mut doubts_copy = false;
        let now = self.parts.clock.now();
        self.known = None;
        self.desk_is_fresh = false;
        self.keep_house(now, &mut report);
        let knows = self.know_policies(&mut report).await;
        doubts_copy |= report.errors.iter().any(TurnError::doubts_copy);
        let evidence = self.look(now).await;
        let mut lost_in_a_row = 0;
        for _ in 0..if knows { STEPS_MAX } else { 0 } {
            // Only the last look counts: what was held while another step was due may be free now.
            report.held.clear();
            let attempt = Stopwatch::start();
            // On the heap: with everything a step holds it would fill a thread's stack.
            match Box::pin(self.look_and_step(&evidence, &aside, &mut report)).await {
                // A pull request that is new may be all that a merge waited for.
                Ok(None) if Box::pin(self.show(&mut report)).await => {}
                Ok(None) => break,
                Ok(Some(Done::Wrote)) => lost_in_a_row = 0,
                Ok(Some(Done::ReadFirst)) => {}
                Ok(Some(Done::Opened(fingerprint))) => {
                    lost_in_a_row = 0;
                    aside.opened(fingerprint);
                }
                Ok(Some(Done::Refused(incident, reasons))) => {
                    aside.causes.insert(incident.fingerprint, reasons);
                }
                Ok(Some(Done::LostRace(..))) if report.races_lost >= RACES_MAX => break,
                Ok(Some(Done::LostRace(about, why))) => {
                    let this = (about, self.seen.clone());
                    // The same push lost twice on the same state of the remote was no race.
                    if lost.as_ref() == Some(&this) {
                        if !aside.failed(this.0, TurnError::Refused(why), &mut report) {
                            break;
                        }
                        continue;
                    }
                    lost = Some(this);
                    report.races_lost += 1;
                    let wait = race_wait(attempt.elapsed(), lost_in_a_row);
                    lost_in_a_row += 1;
                    clock::wait(random::jitter(wait, 1.0)).await;
                }
                Ok(Some(Done::Failed(about, error))) => {
                    doubts_copy |= error.doubts_copy();
                    if !aside.failed(about, error, &mut report) {
                        break;
                    }
                }
                Err(error) => {
                    doubts_copy |= error.doubts_copy();
                    report.errors.push(error);
                    break;
                }
            }
        }
        if doubts_copy {
            self.mirror = None;
        }
        (evidence, report)
    }

    /// Forgets old alerts and gives up a local copy that has grown for a day: nothing in it is ever repacked.
    fn keep_house(&mut self, now: Timestamp, report: &mut TickReport) {
        if let Err(error) = self.parts.spool.expire(now) {
            report.errors.push(TurnError::Spool(error));
        }
        let is_old = |since: &Timestamp| now.duration_since(*since) > COPY_AGE_MAX;
        if self.copied_at.as_ref().is_some_and(is_old) {
            self.mirror = None;
        }
    }

    /// Brings the forge in line with the ledger; `true`: something new is open there, look again.
    async fn show(&mut self, report: &mut TickReport) -> bool {
        let Parts { desk: Some(desk), memory, templates, clock, .. } = &mut self.parts else { return false };
        let ended = memory.ended();
        let (history, ours, now) = (memory.history(), memory.proposed_here(), clock.now());
        let showing = Showing { history, ours, ended, templates, now };
        let shows = desk.show(&showing).await;
        report.errors.extend(shows.errors.into_iter().map(TurnError::Forge));
        self.desk_is_fresh &= shows.opened == 0;
        shows.opened > 0
    }

    async fn open_copy(&mut self) -> Result<(), TurnError> {
        if self.mirror.is_none() {
            self.mirror = Some(Mirror::open(&self.parts.git).await.map_err(TurnError::Fetch)?);
            self.copied_at = Some(self.parts.clock.now());
            // What is known is in the old copy.
            self.known = None;
        }
        Ok(())
    }

    /// Are there policies to look with? The first tick has to read them; when it cannot, there is nothing to do.
    async fn know_policies(&mut self, report: &mut TickReport) -> bool {
        if self.in_force.is_none()
            && let Err(error) = self.read_policies().await
        {
            report.errors.push(error);
        }
        self.in_force.is_some()
    }

    /// Reads the policies alone. Their queries are asked before the repository is looked at, so that a slow one
    /// holds no push up; only the first tick has to read it beforehand to know any.
    async fn read_policies(&mut self) -> Result<(), TurnError> {
        self.open_copy().await?;
        let Some(mirror) = &self.mirror else { return Ok(()) };
        let main = format!("refs/heads/{}", self.parts.writer.main);
        let ledger = format!("refs/heads/{}", self.parts.writer.ledger);
        let refs = mirror.fetch(&[&main, &ledger]).await.map_err(TurnError::Fetch)?;
        // Who measures only what is needed has to know the open actions before the first look.
        let (memory, now) = (&mut self.parts.memory, self.parts.clock.now());
        memory.refresh(mirror.objects(), refs.get(&ledger).map(String::as_str), now)?;
        look_at_cluster(&mut self.parts).await?;
        let snapshot = look_at_main(&mut self.parts, mirror.objects(), &refs).await?;
        self.in_force = Some(in_force::in_force(&self.parts, &snapshot));
        Ok(())
    }

    /// Reads the git side and takes the first step that is due; `None` when there is none.
    async fn look_and_step(
        &mut self,
        evidence: &Evidence,
        aside: &PutAside,
        report: &mut TickReport,
    ) -> Result<Option<Done>, TurnError> {
        self.open_copy().await?;
        let Some(mirror) = &self.mirror else { return Ok(None) };
        let parts = &mut self.parts;
        let ledger_ref = format!("refs/heads/{}", parts.writer.ledger);
        let Branches { mut refs, steps, mut others } = match self.known.take() {
            Some(Known { refs, steps }) if steps < KNOWN_STEPS_MAX => Branches { refs, steps, others: None },
            _ => read_branches(mirror, &parts.writer, !parts.memory.history().open.is_empty()).await?,
        };
        self.seen.clone_from(&refs);
        let objects = mirror.objects();
        let now = parts.clock.now();
        parts.memory.refresh(objects, refs.get(&ledger_ref).map(String::as_str), now)?;
        if steps == 0 {
            read_desk(parts, &mut self.desk_is_fresh, now, report).await;
            look_at_cluster(parts).await?;
        }
        let snapshot = look_at_main(parts, objects, &refs).await?;
        let together = &*self.in_force.insert(in_force::in_force(parts, &snapshot));
        let policies = together.policies.as_slice();
        self.suspended = snapshot.suspended.as_ref().is_some_and(|it| it.holds(now));
        report.problems = [snapshot.problems.clone(), in_force::problems(parts, together)].concat();
        report.template_problem = own_words(&mut parts.templates, &mut self.worded, &snapshot);
        // What is open may merge by itself, after a fresh look only; what is new asks when its change is known.
        if others.is_none() && steps == 0 && !parts.memory.history().open.is_empty() {
            others = read_others(mirror, &parts.writer).await;
        }
        let view = View { refs: &refs, objects, snapshot, others, rivals: &self.rivals };
        let turn = Turn {
            now,
            evidence,
            view: &view,
            memory: &parts.memory,
            rules: &parts.rules,
            policies,
            probe: &parts.probe,
            refresh: parts.refresh.as_ref(),
            sources: parts.observer.sources(),
            http: &parts.http,
            desk: parts.desk.as_ref(),
        };
        let next = next_step(&turn, &mut self.since, &mut parts.repository, aside, &mut report.held);
        let next = Box::pin(next).await?;
        let step = match next {
            Next::Settled => return Ok(None),
            Next::Step(step) => step,
            Next::Stuck(about, error) => return Ok(Some(Done::Failed(about, error))),
        };
        if steps > 0 && reads_first(&step, parts, together) {
            return Ok(Some(Done::ReadFirst));
        }
        self.desk_is_fresh = false;
        let mut moved = Vec::new();
        let mut performer =
            Performer { parts, mirror, view: &view, policies, report, moved: &mut moved, now };
        let done = performer.perform(step).await?;
        if matches!(done, Done::Wrote | Done::Opened(_)) {
            apply(&mut refs, moved);
            self.known = Some(Known { refs, steps: steps + 1 });
        }
        Ok(Some(done))
    }
}

/// Is `step` taken only on what was read just now? A slot is taken only for what the watched branch is now; and a forge
/// is asked to merge only what everything that was read after the reservation allows. No push holds a policy of the
/// cluster either.
fn reads_first(step: &Step, parts: &Parts, together: &Together) -> bool {
    match step {
        Step::Merge { record, .. } => parts.desk.is_some() || in_force::is_of_cluster(together, record),
        step => step.reserves(),
    }
}

/// Takes the repository's own words for pull requests, as of this commit; gives what is wrong with them.
fn own_words(
    templates: &mut Templates,
    worded: &mut Option<(ObjectId, Option<TemplateProblem>)>,
    snapshot: &Snapshot,
) -> Option<TemplateProblem> {
    if worded.as_ref().is_none_or(|(commit, _)| *commit != snapshot.commit) {
        let (own, problem) = templates.in_repository(&snapshot.tree);
        *templates = own;
        *worded = Some((snapshot.commit.clone(), problem));
    }
    worded.as_ref().and_then(|(_, problem)| problem.clone())
}

/// Reads the pull requests, unless nothing was written anywhere since. What the forge cannot say holds every merge
/// back, and nothing else.
async fn read_desk(parts: &mut Parts, is_fresh: &mut bool, now: Timestamp, report: &mut TickReport) {
    let Some(desk) = parts.desk.as_mut().filter(|_| !*is_fresh) else { return };
    if let Err(error) = Box::pin(desk.read(parts.memory.history(), now)).await {
        report.errors.push(TurnError::Forge(error));
    }
    *is_fresh = true;
}

/// What a look at everything came to.
enum Next {
    Settled,
    Step(Step),
    /// The next step of this action cannot be found out.
    Stuck(About, TurnError),
}

/// Finish what is open first, then undo what is due, then answer what is new.
async fn next_step(
    turn: &Turn<'_>,
    since: &mut Since,
    repository: &mut Repository,
    aside: &PutAside,
    held: &mut Vec<Held>,
) -> Result<Next, TurnError> {
    if turn.history().seq.map(|seq| seq.saturating_add(1)).is_some_and(ledger::checkpoint_due) {
        return Ok(Next::Step(Step::Checkpoint));
    }
    if let Some(wish) = turn.desk.and_then(|desk| desk.wish(turn.history(), turn.now)) {
        return Ok(Next::Step(Step::Ask(wish.clone())));
    }
    let mut note = None;
    for record in turn.history().open.values().filter(|it| !aside.actions.contains(it.id())) {
        match follow::next(turn, record).await {
            // Why a proposal waits is worth an entry, but nothing that is due waits for it.
            Ok(Some(step)) if step.is_note(record) => note = note.or(Some(step)),
            Ok(None) => {}
            Ok(Some(step)) => return Ok(Next::Step(step)),
            Err(error) if error.is_local_to_step() => {
                return Ok(Next::Stuck(About::actions([record]), error));
            }
            Err(error) => return Err(error),
        }
    }
    let ends = |it: &&Effect| it.undone && !aside.actions.contains(it.record.id());
    if let Some(effect) = turn.history().effects.values().find(ends) {
        return Ok(Next::Step(follow::undone(turn, effect)));
    }
    let calm = |record: &RemediationAction| turn.calm(record);
    let undoing = Undoing {
        history: turn.history(),
        policies: turn.policies,
        calm: &calm,
        limits: &turn.rules.limits,
        guards: &turn.guards(),
    };
    for decision in decide::undo(&undoing, turn.now) {
        if let Some(step) = answer(decision, aside, held) {
            return Ok(Next::Step(step));
        }
    }
    for incident in turn.incidents(since) {
        let decision = Box::pin(incident::decide(turn, &incident, repository)).await;
        let decision = decide::left_alone(decision, turn.policies);
        if let Some(step) = answer(decision, aside, held) {
            return Ok(Next::Step(step));
        }
    }
    held.extend(turn.unseen());
    Ok(note.map_or(Next::Settled, Next::Step))
}

/// A decision as a step, or a note why there is none.
fn answer(decision: Decision, aside: &PutAside, held: &mut Vec<Held>) -> Option<Step> {
    let (escalate, reasons) = match (&decision.verb, aside.causes.get(&decision.incident.fingerprint)) {
        (Verb::Propose(_), None) => return Some(Step::Open(Box::new(decision))),
        // Somebody is at it already: nobody has to be called.
        (Verb::Propose(_), Some(reasons))
            if reasons.iter().all(|it| it.code == ReasonCode::YieldsToOthers) =>
        {
            (false, reasons.clone())
        }
        (Verb::Propose(_), Some(reasons)) | (Verb::Escalate(reasons), _) => (true, reasons.clone()),
        (Verb::Hold(reasons), _) => (false, reasons.clone()),
    };
    held.push(Held { incident: decision.incident, escalate, reasons });
    None
}
