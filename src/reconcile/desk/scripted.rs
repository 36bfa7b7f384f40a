//! A forge in memory, for tests of the whole order: its pull requests live here, everything about branches is read
//! from the real bare repository. It does what forges do (a merged or deleted head ends a pull request, a second one
//! from the same head is refused, a merge is for one head only) and what a test tells it to do wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt as _;
use jiff::Timestamp;

use crate::model::forge::{
    Access, Account, Check, CheckState, Checks, Comment, ForgeCapabilities, Grant, Grants, MergeMethod,
    Permissions, Protection, PullRequest, PullState, Reaction, RepositoryFacts, Review,
};
use crate::model::ids::{BranchName, ObjectId};
use crate::outside::clock::OutsideClock;
use crate::outside::git::Objects;
use crate::propose::forge::{
    Answer, Forge, ForgeError, Marker, Merging, PullDraft, Status, StatusState, Trouble,
};

pub const ME: &str = "tars-bot";
pub const PERSON: &str = "maintainer";

/// What goes wrong with the next request of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done and nothing is answered.
    Down,
    /// It is done, and the answer is lost.
    AnswerLost,
    Refused,
}

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    pulls: BTreeMap<u64, PullRequest>,
    comments: BTreeMap<u64, Vec<Comment>>,
    statuses: BTreeMap<String, Vec<Check>>,
    reviews: BTreeMap<u64, Vec<Review>>,
    required_checks: Vec<String>,
    required_approvals: u32,
    admin: bool,
    unprotected: bool,
    down: bool,
    /// After so many more requests it goes down.
    lasts: Option<usize>,
    limited_until: Option<Timestamp>,
    /// At least as many as were made.
    requests: usize,
    merge_fault: Option<Fault>,
    create_fault: Option<Fault>,
    before_merge: Option<Hook>,
    writes: Vec<String>,
    /// Comments so far.
    said: u64,
    methods: BTreeSet<MergeMethod>,
}

/// A forge for one bare repository.
#[derive(Clone)]
pub struct Scripted {
    hub: PathBuf,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

impl Scripted {
    pub fn new(hub: PathBuf) -> Self {
        let state = State { methods: [MergeMethod::FastForward].into(), ..State::default() };
        Self { hub, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn head(&self, branch: &str) -> Option<ObjectId> {
        let head = Objects::open(&self.hub).unwrap().resolve(&format!("refs/heads/{branch}")).unwrap();
        head.map(|it| ObjectId::new(it).unwrap())
    }

    /// Everything that was written so far, as `verb #number`.
    pub fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    pub fn forget_writes(&self) {
        self.state().writes.clear();
    }

    pub fn set_down(&self, down: bool) {
        let mut state = self.state();
        (state.down, state.lasts) = (down, None);
    }

    /// Goes down in the middle of whatever comes, after so many requests.
    pub fn lasts(&self, requests: usize) {
        self.state().lasts = Some(requests);
    }

    /// Every request gets the answer to come back at this time, until that is taken back.
    pub fn limit(&self, until: Option<Timestamp>) {
        self.state().limited_until = until;
    }

    /// Requests since this was asked last.
    pub fn requests(&self) -> usize {
        std::mem::take(&mut self.state().requests)
    }

    /// A stranger opens one from a fork, from a branch of the same name and with our name as its author.
    pub fn open_from_fork(&self, like: &PullRequest, head: ObjectId) -> u64 {
        let mut state = self.state();
        let number = state.pulls.len() as u64 + 1;
        state.pulls.insert(number, PullRequest { number, head, is_foreign: true, ..like.clone() });
        number
    }

    pub fn fail_next_merge(&self, fault: Fault) {
        self.state().merge_fault = Some(fault);
    }

    pub fn fail_next_create(&self, fault: Fault) {
        self.state().create_fault = Some(fault);
    }

    /// Runs right before the next merge looks at the branches.
    pub fn before_next_merge(&self, hook: impl FnOnce() + Send + 'static) {
        self.state().before_merge = Some(Box::new(hook));
    }

    pub fn methods(&self, methods: impl IntoIterator<Item = MergeMethod>) {
        self.state().methods = methods.into_iter().collect();
    }

    pub fn protect(&self, approvals: u32, checks: &[&str]) {
        let mut state = self.state();
        state.required_approvals = approvals;
        state.required_checks = checks.iter().map(|it| (*it).to_owned()).collect();
    }

    pub fn unprotect(&self) {
        self.state().unprotected = true;
    }

    pub fn make_admin(&self) {
        self.state().admin = true;
    }

    pub fn post_check(&self, head: &ObjectId, context: &str, check: CheckState, by: &str) {
        let check = Check {
            context: context.to_owned(),
            state: check,
            description: String::new(),
            by: by.to_owned(),
        };
        let mut state = self.state();
        let all = state.statuses.entry(head.to_string()).or_default();
        all.retain(|it| it.context != check.context);
        all.push(check);
    }

    pub fn review(&self, number: u64, review: Review) {
        self.state().reviews.entry(number).or_default().push(review);
    }

    /// What a person does to a pull request in the browser.
    pub fn edit(&self, number: u64, edit: impl FnOnce(&mut PullRequest)) {
        edit(self.state().pulls.get_mut(&number).unwrap());
    }

    pub fn say(&self, number: u64, by: &str, body: &str, at: Timestamp) {
        let mut state = self.state();
        state.said += 1;
        let id = state.said;
        let comment =
            Comment { id, by: by.to_owned(), is_bot: by == ME, at, is_edited: false, body: body.to_owned() };
        state.comments.entry(number).or_default().push(comment);
        if let Some(pull) = state.pulls.get_mut(&number) {
            pull.updated_at = at.max(pull.updated_at);
        }
    }

    pub fn comments_of(&self, number: u64) -> Vec<String> {
        let state = self.state();
        state.comments.get(&number).into_iter().flatten().map(|it| it.body.clone()).collect()
    }

    pub fn pulls(&self) -> Vec<PullRequest> {
        self.settle();
        self.state().pulls.values().cloned().collect()
    }

    pub fn only_pull(&self) -> PullRequest {
        let pulls = self.pulls();
        assert_eq!(pulls.len(), 1, "{pulls:#?}");
        pulls.into_iter().next().unwrap()
    }

    pub fn statuses_of(&self, head: &ObjectId) -> Vec<Check> {
        self.state().statuses.get(head.as_str()).cloned().unwrap_or_default()
    }

    /// What a push did to the pull requests.
    fn settle(&self) {
        let objects = Objects::open(&self.hub).unwrap();
        let ours = |it: &&mut PullRequest| it.state == PullState::Open && !it.is_foreign;
        for pull in self.state().pulls.values_mut().filter(ours) {
            let base = self.head(&pull.base);
            if let Some(head) = self.head(&pull.branch) {
                pull.head = head;
            }
            let merged =
                base.as_ref().is_some_and(|it| objects.is_ancestor(pull.head.as_str(), it.as_str()).unwrap());
            if merged {
                pull.state = PullState::Merged(base);
            } else if self.head(&pull.branch).is_none() {
                pull.state = PullState::Closed;
            }
        }
    }

    fn up(&self, what: &'static str) -> Result<(), ForgeError> {
        self.settle();
        let mut state = self.state();
        state.requests += 1;
        if let Some(until) = state.limited_until {
            return Err(ForgeError::refused_here(what, Trouble::RateLimited(until), "too many for a test"));
        }
        state.down |= state.lasts == Some(0);
        state.lasts = state.lasts.map(|it| it.saturating_sub(1));
        if state.down {
            return Err(ForgeError::refused_here(what, Trouble::Unreachable, "down for a test"));
        }
        Ok(())
    }

    fn wrote(&self, what: String) {
        self.state().writes.push(what);
    }

    fn pull(&self, number: u64) -> Result<PullRequest, ForgeError> {
        self.up("read")?;
        let found = self.state().pulls.get(&number).cloned();
        found.ok_or_else(|| ForgeError::refused_here("read", Trouble::Missing, "no such pull request"))
    }

    fn make(&self, draft: PullDraft<'_>) -> Result<PullRequest, ForgeError> {
        const WHAT: &str = "create";
        self.up(WHAT)?;
        let fault = self.state().create_fault.take();
        if fault == Some(Fault::Down) {
            return Err(ForgeError::refused_here(WHAT, Trouble::Unreachable, "for a test"));
        }
        let head = self.head(draft.head.as_str());
        let head = head.ok_or_else(|| ForgeError::refused_here(WHAT, Trouble::Missing, "no such head"))?;
        let mut state = self.state();
        let same = |it: &PullRequest| {
            it.state == PullState::Open && it.branch == draft.head.as_str() && !it.is_foreign
        };
        if state.pulls.values().any(same) {
            return Err(ForgeError::refused_here(WHAT, Trouble::Conflict, "there is one"));
        }
        let number = state.pulls.len() as u64 + 1;
        let pull = PullRequest {
            number,
            state: PullState::Open,
            title: draft.title.to_owned(),
            body: draft.body.to_owned(),
            author: ME.to_owned(),
            labels: BTreeSet::new(),
            branch: draft.head.to_string(),
            head,
            is_foreign: false,
            base: draft.base.to_string(),
            is_draft: false,
            is_mergeable: true,
            url: format!("https://forge.example/pulls/{number}"),
            updated_at: Timestamp::UNIX_EPOCH,
            auto_merge: false,
            closed_by: None,
            merged_by: None,
        };
        state.pulls.insert(number, pull.clone());
        state.writes.push(format!("create #{number}"));
        if fault == Some(Fault::AnswerLost) {
            return Err(ForgeError::refused_here(WHAT, Trouble::Lost, "for a test"));
        }
        Ok(pull)
    }

    fn merge_now(&self, number: u64, merging: Merging<'_>) -> Result<PullRequest, ForgeError> {
        const WHAT: &str = "merge";
        self.up(WHAT)?;
        let hook = self.state().before_merge.take();
        if let Some(hook) = hook {
            hook();
        }
        let fault = self.state().merge_fault.take();
        match fault {
            Some(Fault::Down) => return Err(ForgeError::refused_here(WHAT, Trouble::Lost, "for a test")),
            Some(Fault::Refused) => {
                return Err(ForgeError::refused_here(WHAT, Trouble::NotReady, "for a test"));
            }
            _ => {}
        }
        let pull = self.pull(number)?;
        let no = |trouble, why| Err(ForgeError::refused_here(WHAT, trouble, why));
        if pull.state != PullState::Open {
            return no(Trouble::NotReady, "it is not open");
        }
        let (Some(head), Some(base)) = (self.head(&pull.branch), self.head(&pull.base)) else {
            return no(Trouble::NotReady, "a branch is gone");
        };
        if head != *merging.permit.head() {
            return no(Trouble::Conflict, "the head moved");
        }
        let hub = git2::Repository::open_bare(&self.hub).unwrap();
        let find = |id: &ObjectId| hub.find_commit(git2::Oid::from_str(id.as_str()).unwrap()).unwrap();
        let base_ref = format!("refs/heads/{}", pull.base);
        let merged = match merging.method {
            MergeMethod::FastForward => {
                let objects = Objects::open(&self.hub).unwrap();
                if !objects.is_ancestor(base.as_str(), head.as_str()).unwrap() {
                    return no(Trouble::NotReady, "it is no fast-forward");
                }
                hub.reference(&base_ref, git2::Oid::from_str(head.as_str()).unwrap(), true, "").unwrap();
                head
            }
            method => {
                let (ours, theirs) = (find(&base), find(&head));
                let mut index = hub.merge_commits(&ours, &theirs, None).unwrap();
                let tree = hub.find_tree(index.write_tree_to(&hub).unwrap()).unwrap();
                let who = git2::Signature::new("forge", "forge@example.org", &theirs.time()).unwrap();
                let message = format!("{}\n\n{}\n", merging.title, merging.message);
                let parents = if method == MergeMethod::Merge { vec![&ours, &theirs] } else { vec![&ours] };
                let made = hub.commit(Some(&base_ref), &who, &who, &message, &tree, &parents).unwrap();
                ObjectId::new(made.to_string()).unwrap()
            }
        };
        let mut state = self.state();
        let kept = state.pulls.get_mut(&number).unwrap();
        (kept.state, kept.merged_by) = (PullState::Merged(Some(merged)), Some(ME.to_owned()));
        let kept = kept.clone();
        state.writes.push(format!("merge #{number}"));
        if fault == Some(Fault::AnswerLost) {
            return Err(ForgeError::refused_here(WHAT, Trouble::Lost, "for a test"));
        }
        Ok(kept)
    }

    fn edited(
        &self,
        verb: &str,
        number: u64,
        edit: impl FnOnce(&mut PullRequest),
    ) -> Result<PullRequest, ForgeError> {
        self.pull(number)?;
        self.edit(number, edit);
        self.wrote(format!("{verb} #{number}"));
        self.pull(number)
    }

    fn keep_comment(&self, number: u64, marker: Marker, text: &str) -> Result<bool, ForgeError> {
        self.pull(number)?;
        let body = format!("{}\n{text}", marker.as_str());
        let known = self.comments_of(number);
        if known.contains(&body) {
            return Ok(false);
        }
        let mut state = self.state();
        let all = state.comments.entry(number).or_default();
        all.retain(|it| !(it.by == ME && it.body.starts_with(marker.as_str())));
        drop(state);
        self.say(number, ME, &body, Timestamp::UNIX_EPOCH);
        self.wrote(format!("comment #{number}"));
        Ok(true)
    }
}

fn answer<T: Send + 'static>(result: Result<T, ForgeError>) -> Answer<'static, T> {
    std::future::ready(result).boxed()
}

impl Forge for Scripted {
    fn capabilities(&self) -> ForgeCapabilities {
        ForgeCapabilities::GITEA
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }

    fn whoami(&self) -> Answer<'_, Account> {
        answer(self.up("whoami").map(|()| Account { login: ME.to_owned(), is_site_admin: false }))
    }

    fn repository(&self) -> Answer<'_, RepositoryFacts> {
        let state = self.state();
        let facts = RepositoryFacts {
            id: 1,
            full_name: "shop/gitops".to_owned(),
            default_branch: "main".to_owned(),
            url: "https://forge.example".to_owned(),
            archived: false,
            pull_requests_enabled: true,
            permissions: Permissions { read: true, push: true, admin: state.admin },
            merge_methods: state.methods.clone(),
            deletes_merged_branches: false,
        };
        answer(Ok(facts))
    }

    fn grants(&self) -> Answer<'_, Grants> {
        answer(Ok(Grants { pull_requests: Grant::Yes, comments: Grant::Yes }))
    }

    fn protection<'a>(&'a self, _: &'a BranchName) -> Answer<'a, Option<Protection>> {
        let state = self.state();
        answer(Ok(Some(Protection {
            is_protected: !state.unprotected,
            required_approvals: state.required_approvals,
            required_checks: state.required_checks.clone(),
            may_push: false,
            may_merge: true,
        })))
    }

    fn open_pulls(&self) -> Answer<'_, Vec<PullRequest>> {
        let open = |it: PullRequest| (it.state == PullState::Open).then_some(it);
        answer(self.up("list").map(|()| self.pulls().into_iter().filter_map(open).collect()))
    }

    fn find<'a>(&'a self, head: &'a BranchName, base: &'a BranchName) -> Answer<'a, Option<PullRequest>> {
        let same = |it: &PullRequest| it.branch == head.as_str() && it.base == base.as_str();
        answer(self.up("find").map(|()| self.pulls().into_iter().rfind(same)))
    }

    fn read(&self, number: u64) -> Answer<'_, PullRequest> {
        answer(self.pull(number))
    }

    fn create<'a>(&'a self, draft: PullDraft<'a>) -> Answer<'a, PullRequest> {
        answer(self.make(draft))
    }

    fn update<'a>(&'a self, number: u64, title: &'a str, body: &'a str) -> Answer<'a, PullRequest> {
        answer(self.edited("update", number, |it| {
            (it.title, it.body) = (title.to_owned(), body.to_owned());
            // As Gitea does.
            it.is_draft = title.starts_with("WIP:");
        }))
    }

    fn close<'a>(&'a self, number: u64, reason: &'a str) -> Answer<'a, PullRequest> {
        let said = self.keep_comment(number, Marker::Closed, reason);
        answer(said.and_then(|_| self.edited("close", number, |it| it.state = PullState::Closed)))
    }

    fn comment<'a>(&'a self, number: u64, marker: Marker, text: &'a str) -> Answer<'a, bool> {
        answer(self.keep_comment(number, marker, text))
    }

    fn comments(&self, number: u64) -> Answer<'_, Vec<Comment>> {
        let all = self.state().comments.get(&number).cloned().unwrap_or_default();
        answer(self.up("comments").map(|()| all))
    }

    fn access<'a>(&'a self, login: &'a str) -> Answer<'a, Access> {
        answer(Ok(if login == PERSON { Access::Write } else { Access::Read }))
    }

    fn react(&self, comment: u64, reaction: Reaction) -> Answer<'_, ()> {
        self.wrote(format!("{reaction:?} on comment {comment}"));
        answer(Ok(()))
    }

    fn relabel<'a>(&'a self, number: u64, add: &'a [&'a str], remove: &'a [&'a str]) -> Answer<'a, ()> {
        let change = |it: &mut PullRequest| {
            it.labels.extend(add.iter().map(|it| (*it).to_owned()));
            it.labels.retain(|it| !remove.contains(&it.as_str()));
        };
        answer(self.edited("label", number, change).map(|_| ()))
    }

    fn request_review<'a>(&'a self, number: u64, reviewers: &'a [&'a str]) -> Answer<'a, ()> {
        self.wrote(format!("ask {} #{number}", reviewers.join(",")));
        answer(Ok(()))
    }

    fn set_status<'a>(&'a self, head: &'a ObjectId, status: Status<'a>) -> Answer<'a, bool> {
        let state = match status.state {
            StatusState::Pending => CheckState::Pending,
            StatusState::Success => CheckState::Success,
            StatusState::Failure => CheckState::Failure,
        };
        let known = self.statuses_of(head);
        if known.iter().any(|it| (&*it.context, it.state, &*it.by) == (status.context, state, ME)) {
            return answer(Ok(false));
        }
        self.post_check(head, status.context, state, ME);
        self.wrote(format!("status {} {}", status.context, status.state.as_str()));
        answer(Ok(true))
    }

    fn checks<'a>(&'a self, head: &'a ObjectId) -> Answer<'a, Checks> {
        answer(self.up("checks").map(|()| Checks { head: head.clone(), all: self.statuses_of(head) }))
    }

    fn reviews(&self, number: u64) -> Answer<'_, Vec<Review>> {
        answer(self.up("reviews").map(|()| self.state().reviews.get(&number).cloned().unwrap_or_default()))
    }

    fn merge<'a>(&'a self, number: u64, merging: Merging<'a>) -> Answer<'a, PullRequest> {
        answer(self.merge_now(number, merging))
    }
}
