//! Bringing the forge in line with the ledger: one pull request for each branch that waits, with today's text, labels
//! and status; the last word on those that ended. Every write is skipped when it would say nothing new, so that
//! nobody gets a mail about nothing and no approval is lost.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher as _};

use jiff::{SignedDuration, Timestamp};

use super::{Desk, SHOWN_MAX, Shown};
use crate::decide::PullSeen;
use crate::model::action::{ActionState, RemediationAction};
use crate::model::forge::{PullRequest, PullState};
use crate::model::history::History;
use crate::model::ids::{ActionId, BranchName, ObjectId};
use crate::model::reason::ReasonCode;
use crate::outside::clock::{self, Stopwatch};
use crate::propose::forge::{ForgeError, Marker, PullDraft, Status, StatusState, Trouble};
use crate::render::{self, Around, Comment, PullText, Templates};

/// What ended longer ago is not looked for any more: it was shown when it ended.
const ENDED_AGE_MAX: SignedDuration = SignedDuration::from_hours(1);
/// A proposal of another replica that has no pull request after this long gets one from whoever sees it.
const OPEN_FOR_OTHERS_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// Longest description of a status that every forge takes, characters.
const STATUS_CHARS_MAX: usize = 140;
/// The trailer by which a commit claims an action.
const ACTION_TRAILER: &str = "Tars-Action";
const POLICY_STATUS: &str = "tars/policy";
const VERIFY_STATUS: &str = "tars/verify";

/// What is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Showing<'a> {
    pub history: &'a History,
    /// Actions that this process proposed itself.
    pub ours: &'a BTreeSet<ActionId>,
    /// Actions that ended a while ago at most.
    pub ended: &'a [RemediationAction],
    pub templates: &'a Templates,
    pub now: Timestamp,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Shows {
    /// Pull requests that are new.
    pub opened: u32,
    pub errors: Vec<ForgeError>,
}

impl Shows {
    /// Keeps the error; is it worth asking the forge anything else now?
    fn goes_on(&mut self, outcome: Result<(), ForgeError>) -> bool {
        let Err(error) = outcome else { return true };
        let goes_on = !matches!(
            error.trouble,
            Trouble::Unreachable | Trouble::RateLimited(_) | Trouble::Unauthenticated | Trouble::Elsewhere
        );
        self.errors.push(error);
        goes_on
    }
}

impl Desk {
    /// Shows everything that is not shown yet. When the forge was not read, nothing is written.
    pub async fn show(&mut self, showing: &Showing<'_>) -> Shows {
        let shows = self.show_all(showing).await;
        self.forget(showing);
        shows.errors.iter().for_each(|error| self.heed(error));
        shows
    }

    /// Keeps what the ledger still speaks of.
    fn forget(&mut self, showing: &Showing<'_>) {
        let Showing { history, ended, .. } = showing;
        let in_force = history.effects.values().map(|it| &it.record);
        let spoken_of = history.open.values().chain(in_force).chain(ended.iter());
        let branches: BTreeSet<&BranchName> =
            spoken_of.filter_map(|it| it.spec.change.as_ref()).map(|it| &it.branch).collect();
        self.known.retain(|branch, _| branches.contains(branch));
        let open: BTreeSet<&ActionId> = history.open.values().map(RemediationAction::id).collect();
        self.merged.retain(|id| open.contains(id));
        self.unsettled.retain(|id| open.contains(id));
        self.refusals.retain(|id, _| open.contains(id));
        while self.shown.len() > SHOWN_MAX {
            self.shown.pop_first();
        }
    }

    async fn show_all(&mut self, showing: &Showing<'_>) -> Shows {
        let mut shows = Shows::default();
        if self.unread.is_some() {
            return shows;
        }
        let answered = self.answer().await;
        if !shows.goes_on(answered) {
            return shows;
        }
        let mut branches: Vec<&BranchName> = Vec::new();
        for record in showing.history.open.values().filter(|it| it.state().waits()) {
            let Some(change) = &record.spec.change else { continue };
            if branches.contains(&&change.branch) {
                continue;
            }
            branches.push(&change.branch);
            let line = showing.history.waiting_on(&change.branch);
            let outcome = self.show_waiting(&line, showing, &mut shows.opened).await;
            if !shows.goes_on(outcome) {
                return shows;
            }
        }
        let merged = showing.history.open.values().filter(|it| !it.state().waits());
        let in_force = showing.history.effects.values().map(|it| &it.record);
        for record in merged.chain(in_force).chain(showing.ended).filter(|it| is_recent(it, showing.now)) {
            let outcome = self.show_ended(record, showing).await;
            if !shows.goes_on(outcome) {
                return shows;
            }
        }
        let outcome = self.close_reopened(showing).await;
        shows.goes_on(outcome);
        shows
    }

    async fn show_waiting(
        &mut self,
        line: &[&RemediationAction],
        showing: &Showing<'_>,
        opened: &mut u32,
    ) -> Result<(), ForgeError> {
        let Some(record) = line.last() else { return Ok(()) };
        let Some(change) = record.spec.change.as_ref() else { return Ok(()) };
        let Some(text) = self.text_of(line, showing).await? else { return Ok(()) };
        let pull = match self.seen.get(&change.branch) {
            Some(seen) if seen.pull.state != PullState::Open => return Ok(()),
            Some(seen) => seen.pull.clone(),
            // Two requests in one moment can make two of them: a forge looks first and writes then. So whoever proposed
            // opens it, and the others only when that replica has not for a while.
            None if !line.iter().any(|it| may_open(it, showing)) => return Ok(()),
            None => {
                let pull = self.open_pull(&change.branch, &text).await?;
                *opened += 1;
                pull
            }
        };
        self.know(&change.branch, &pull);
        // Some forges keep in the title that it is a draft, and that word is a person's.
        if !pull.is_draft {
            self.keep_text(&pull, &text).await?;
        }
        self.keep_labels(&pull, &text).await?;
        if record.status.holds.iter().any(|it| it.code == ReasonCode::HumanCommits) {
            let what = Comment::ForeignCommit { commit: &pull.head };
            let words = render::comment(record, what, &self.forge.capabilities());
            self.forge.comment(pull.number, Marker::HandedOver, &words).await?;
        }
        let needs_person = !line.iter().all(|it| it.spec.is_automatic());
        if needs_person {
            self.ask_reviewers(&pull).await?;
        }
        let (state, description) = verdict_so_far(record);
        self.keep_status(pull.number, &change.head, POLICY_STATUS, state, &description).await
    }

    /// Opens the pull request, or finds the one another replica has just opened.
    async fn open_pull(&mut self, branch: &BranchName, text: &PullText) -> Result<PullRequest, ForgeError> {
        self.pace().await;
        let base = self.base.clone();
        let draft = PullDraft { head: branch, base: &base, title: &text.title, body: &text.body };
        let pull = match self.forge.create(draft).await {
            Ok(pull) => pull,
            Err(error) if matches!(error.trouble, Trouble::Conflict | Trouble::Lost) => {
                let found = self.forge.find(branch, &base).await?;
                found.filter(|it| it.state == PullState::Open).ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        self.remember(pull.number, text, &pull.body);
        Ok(pull)
    }

    /// Edits title and body when they say something else than `text`.
    async fn keep_text(&mut self, pull: &PullRequest, text: &PullText) -> Result<(), ForgeError> {
        let known = self.shown.get(&pull.number);
        let is_as_kept =
            known.is_some_and(|it| it.wanted == hash(text) && it.kept == hash(&plain(&pull.body)));
        let is_as_wanted = pull.title == text.title && plain(&pull.body) == plain(&text.body);
        if is_as_kept {
            return Ok(());
        }
        if is_as_wanted {
            self.remember(pull.number, text, &pull.body);
            return Ok(());
        }
        self.pace().await;
        let kept = self.forge.update(pull.number, &text.title, &text.body).await?;
        self.remember(pull.number, text, &kept.body);
        Ok(())
    }

    fn remember(&mut self, number: u64, text: &PullText, kept: &str) {
        let before = self.shown.get(&number);
        let shown = Shown {
            wanted: hash(text),
            kept: hash(&plain(kept)),
            status: before.and_then(|it| it.status),
            asked_for_review: before.is_some_and(|it| it.asked_for_review),
        };
        self.shown.insert(number, shown);
    }

    /// Puts our labels on; those of people stay, and so does their hold.
    async fn keep_labels(&mut self, pull: &PullRequest, text: &PullText) -> Result<(), ForgeError> {
        let wanted = text.labels_beside(&pull.labels);
        // Some forges know no case in them, and keep the first spelling.
        let is_in =
            |labels: &BTreeSet<String>, label: &str| labels.iter().any(|it| it.eq_ignore_ascii_case(label));
        let missing: Vec<&str> =
            wanted.iter().map(String::as_str).filter(|it| !is_in(&pull.labels, it)).collect();
        let stale: Vec<&str> =
            pull.labels.iter().map(String::as_str).filter(|it| !is_in(&wanted, it)).collect();
        if missing.is_empty() && stale.is_empty() {
            return Ok(());
        }
        self.pace().await;
        self.forge.relabel(pull.number, &missing, &stale).await
    }

    async fn ask_reviewers(&mut self, pull: &PullRequest) -> Result<(), ForgeError> {
        let asked = self.shown.get(&pull.number).is_some_and(|it| it.asked_for_review);
        if asked || self.settings.reviewers.is_empty() {
            return Ok(());
        }
        let known: Vec<String> = self
            .seen
            .values()
            .find(|it| it.pull.number == pull.number)
            .map(|it: &PullSeen| it.reviews.iter().map(|review| review.by.clone()).collect())
            .unwrap_or_default();
        let new: Vec<&str> = self
            .settings
            .reviewers
            .iter()
            .map(String::as_str)
            .filter(|it| *it != pull.author && !known.iter().any(|known| known == it))
            .collect();
        if !new.is_empty() {
            self.forge.request_review(pull.number, &new).await?;
        }
        if let Some(shown) = self.shown.get_mut(&pull.number) {
            shown.asked_for_review = true;
        }
        Ok(())
    }

    async fn keep_status(
        &mut self,
        number: u64,
        commit: &ObjectId,
        context: &'static str,
        state: StatusState,
        description: &str,
    ) -> Result<(), ForgeError> {
        let description: String = description.chars().take(STATUS_CHARS_MAX).collect();
        let said = hash(&(commit.as_str(), context, state.as_str(), &description));
        if self.shown.get(&number).is_some_and(|it| it.status == Some(said)) {
            return Ok(());
        }
        let status = Status { context, state, description: &description, url: None };
        self.forge.set_status(commit, status).await?;
        if let Some(shown) = self.shown.get_mut(&number) {
            shown.status = Some(said);
        }
        Ok(())
    }

    /// A pull request whose action ended is over, even when somebody opens it again: what it proposes was computed for
    /// another day.
    async fn close_reopened(&mut self, showing: &Showing<'_>) -> Result<(), ForgeError> {
        let branch_of =
            |it: &RemediationAction| it.spec.change.as_ref().map(|change| change.branch.to_string());
        let waiting: Vec<String> =
            showing.history.open.values().filter(|it| it.state().waits()).filter_map(branch_of).collect();
        for pull in self.open.clone().iter().filter(|it| !waiting.contains(&it.branch)) {
            let is_its = |it: &&RemediationAction| branch_of(it).as_ref() == Some(&pull.branch);
            let Some(record) = showing.ended.iter().rfind(is_its) else { continue };
            if record.state() == ActionState::Closed && self.is_mine(pull) {
                self.say_closed(record, pull).await?;
            }
        }
        Ok(())
    }

    fn is_mine(&self, pull: &PullRequest) -> bool {
        self.ground.as_ref().is_some_and(|(_, ground)| ground.account.login == pull.author)
    }

    /// The last texts of a pull request whose proposal was merged or closed.
    async fn show_ended(
        &mut self,
        record: &RemediationAction,
        showing: &Showing<'_>,
    ) -> Result<(), ForgeError> {
        let Some(change) = &record.spec.change else { return Ok(()) };
        let Some(text) = self.text_of(&[record], showing).await? else { return Ok(()) };
        let number = self.number(&change.branch);
        // Nothing was said since: do not even ask.
        if number.and_then(|it| self.shown.get(&it)).is_some_and(|it| it.wanted == hash(&text)) {
            return Ok(());
        }
        let pull = match number {
            Some(number) => Some(self.forge.read(number).await?),
            None => self.forge.find(&change.branch, &self.base).await?,
        };
        let Some(pull) = pull else { return Ok(()) };
        self.know(&change.branch, &pull);
        if record.state() == ActionState::Closed {
            self.say_closed(record, &pull).await?;
        }
        if record.status.holds.iter().any(|it| it.code == ReasonCode::TrailersDropped) {
            let what = Comment::TrailersDropped { keys: &[ACTION_TRAILER] };
            let words = render::comment(record, what, &self.forge.capabilities());
            self.forge.comment(pull.number, Marker::Trailers, &words).await?;
        }
        if let (Some(merge), Some((state, words))) = (&record.status.merge, verdict(record)) {
            self.keep_status(pull.number, &merge.commit, VERIFY_STATUS, state, &words).await?;
        }
        // Last: a text that is remembered says that everything above was said too.
        if !change.is_on_batch() {
            self.keep_text(&pull, &text).await?;
        }
        self.remember(pull.number, &text, &text.body);
        Ok(())
    }

    /// Title and body for the actions of one branch as they stand now; `None`: there are no words for them.
    async fn text_of(
        &mut self,
        line: &[&RemediationAction],
        showing: &Showing<'_>,
    ) -> Result<Option<PullText>, ForgeError> {
        let history = showing.history;
        let effect = |it: &&RemediationAction| it.undoes().and_then(|of| history.effects.get(of));
        let undone: Vec<&RemediationAction> = line.iter().filter_map(effect).map(|it| &it.record).collect();
        let ended = |id: &ActionId| showing.ended.iter().rfind(|it| it.id() == id);
        let named = line.iter().flat_map(|it| it.undoes().into_iter().chain(&it.status.undone_by));
        let mut pulls = Vec::new();
        for id in named {
            let other = history.record(id).or_else(|| ended(id));
            let Some(change) = other.and_then(|it| it.spec.change.as_ref()) else { continue };
            pulls.extend(self.address(&change.branch).await?.map(|url| (id.clone(), url)));
        }
        let around = Around { undone: &undone, pulls: &pulls };
        Ok(render::pull_text(line, around, showing.templates, &self.forge.capabilities()).ok())
    }

    /// Where people find the pull request of `branch`; asked for once.
    async fn address(&mut self, branch: &BranchName) -> Result<Option<String>, ForgeError> {
        if !self.known.contains_key(branch) {
            match self.forge.find(branch, &self.base).await? {
                Some(pull) => self.know(branch, &pull),
                None => _ = self.known.insert(branch.clone(), None),
            }
        }
        Ok(self.known.get(branch).and_then(|it| it.as_ref()).map(|it| it.url.clone()))
    }

    async fn say_closed(&mut self, record: &RemediationAction, pull: &PullRequest) -> Result<(), ForgeError> {
        let caps = self.forge.capabilities();
        let text = render::comment(record, Comment::Closed, &caps);
        match pull.state {
            PullState::Open => {
                self.pace().await;
                self.forge.close(pull.number, &text).await.map(|_| ())
            }
            PullState::Closed => self.forge.comment(pull.number, Marker::Closed, &text).await.map(|_| ()),
            PullState::Merged(_) => Ok(()),
        }
    }

    /// Leaves the forge room between two writes.
    pub(super) async fn pace(&mut self) {
        if let Some(last) = &self.wrote_at {
            let rest = self.settings.pace.saturating_sub(last.elapsed());
            if !rest.is_zero() {
                clock::wait(rest).await;
            }
        }
        self.wrote_at = Some(Stopwatch::start());
    }
}

fn may_open(record: &RemediationAction, showing: &Showing<'_>) -> bool {
    let proposed_at = record.status.timeline.first().map_or(Timestamp::MIN, |it| it.at);
    showing.ours.contains(record.id()) || showing.now.duration_since(proposed_at) >= OPEN_FOR_OTHERS_AFTER
}

fn is_recent(record: &RemediationAction, now: Timestamp) -> bool {
    record.status.timeline.last().is_some_and(|it| now.duration_since(it.at) <= ENDED_AGE_MAX)
}

/// What tars would say to a merge by itself right now.
fn verdict_so_far(record: &RemediationAction) -> (StatusState, String) {
    let for_people = |code| matches!(code, ReasonCode::ReviewRequired | ReasonCode::RiskNeedsHuman);
    match record.status.holds.iter().find(|it| !for_people(it.code)) {
        Some(hold) => (StatusState::Pending, hold.to_string()),
        None if record.spec.is_automatic() => {
            (StatusState::Success, "inside policy and budgets; merges itself".to_owned())
        }
        None => (StatusState::Success, "inside policy and budgets; a person merges it".to_owned()),
    }
}

fn verdict(record: &RemediationAction) -> Option<(StatusState, String)> {
    let state = match record.state() {
        ActionState::Verified => StatusState::Success,
        ActionState::NotRecovered | ActionState::Worse => StatusState::Failure,
        ActionState::Merged | ActionState::Synced => StatusState::Pending,
        _ => return None,
    };
    let words = record.status.verdict.as_ref().map(|it| it.text.clone());
    Some((state, words.unwrap_or_else(|| "waiting for the change to be applied".to_owned())))
}

/// As every forge gives it back.
fn plain(body: &str) -> String {
    body.replace("\r\n", "\n").trim_end().to_owned()
}

fn hash(what: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
