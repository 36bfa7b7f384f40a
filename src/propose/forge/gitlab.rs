//! The adapter for GitLab (15 and newer, any edition): API version 4 below `<url>/api/v4`, a project by its whole path.
//! Calls of the trait come in, requests go out, and only what this product allows. It never tells GitLab to merge
//! later, never sends text that GitLab would take for a quick action, and never touches a branch that is not tars'.
//!
//! GitLab merges as the project is set, not as one asks: the setting is read before each merge. It says 401 of a merge
//! that this account may not make. Checks are in `gitlab_checks`, people in `gitlab_people`.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

use super::error::{ForgeError, Trouble};
use super::gitlab_wire as wire;
use super::reply::decoded;
use super::{Answer, Forge, Marker, Merging, PullDraft, Status, pages};
use crate::model::forge::{
    Access, Account, Checks, Comment, ForgeCapabilities, Grant, Grants, MergeMethod, Protection, PullRequest,
    PullState, Reaction, RepositoryFacts, Review,
};
use crate::model::ids::{BranchName, ObjectId};
use crate::outside::api::{Api, ApiError, Call};
use crate::outside::clock::{Clock, OutsideClock};
use crate::outside::http::{Http, HttpReply, Method, Scheme};
use crate::outside::secret::Secret;

/// Items asked for at once; GitLab's maximum.
const PAGE_ITEMS: &str = "100";
/// A merge request that cannot exist: writing to it shows what a token may do and does nothing.
const NOWHERE: &str = "0";

/// One project of a GitLab.
pub struct GitLab {
    api: Api,
    /// `group/subgroup/name`; one segment of every address.
    project: String,
    account: OnceCell<wire::User>,
}

impl fmt::Debug for GitLab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitLab").field("api", &self.api).field("project", &self.project).finish()
    }
}

impl GitLab {
    /// The project with this path on the GitLab whose web interface is at `url`.
    ///
    /// # Errors
    /// When `url` is not an address that can be asked.
    pub fn new(
        http: Http,
        clock: Arc<dyn Clock>,
        url: &str,
        project: &str,
        token: Secret,
    ) -> Result<Self, ApiError> {
        let base = format!("{}/api/v4", url.trim_end_matches('/'));
        // Personal, project, group and OAuth tokens all travel so.
        let api = Api::new(http, clock, &base, (Scheme::Bearer, token))?;
        Ok(Self { api, project: project.to_owned(), account: OnceCell::new() })
    }

    /// Segments below this project.
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["projects", self.project.as_str()];
        path.extend(rest);
        path
    }

    /// Something of the whole GitLab.
    pub(super) async fn read_at<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ForgeError> {
        let call = Call { method: Method::Get, path, query, body: None, repeatable: true };
        let reply = self.api.ask(call).await.map_err(|error| ForgeError::unanswered(what, error))?;
        decoded(what, &reply, true)
    }

    pub(super) async fn get(&self, what: &'static str, rest: &[&str]) -> Result<HttpReply, ForgeError> {
        let path = self.path(rest);
        let call = Call { method: Method::Get, path: &path, query: &[], body: None, repeatable: true };
        self.api.ask(call).await.map_err(|error| ForgeError::unanswered(what, error))
    }

    pub(super) async fn read_as<T: DeserializeOwned>(
        &self,
        what: &'static str,
        rest: &[&str],
    ) -> Result<T, ForgeError> {
        decoded(what, &self.get(what, rest).await?, true)
    }

    /// What this edition, or this token, may not have at all counts as `None`.
    pub(super) async fn read_if_shown<T: DeserializeOwned>(
        &self,
        what: &'static str,
        rest: &[&str],
    ) -> Result<Option<T>, ForgeError> {
        let reply = self.get(what, rest).await?;
        if matches!(reply.status, 403 | 404) { Ok(None) } else { decoded(what, &reply, true).map(Some) }
    }

    /// A write; `repeatable` when doing it twice is the same as once.
    pub(super) async fn write(
        &self,
        what: &'static str,
        (method, rest): (Method, &[&str]),
        body: &Json,
        repeatable: bool,
    ) -> Result<HttpReply, ForgeError> {
        let path = self.path(rest);
        let body = body.to_string();
        let call = Call { method, path: &path, query: &[], body: Some(body.as_bytes()), repeatable };
        self.api.ask(call).await.map_err(|error| ForgeError::unanswered(what, error))
    }

    /// Hands every item of a list to `see`, page by page, until it breaks.
    pub(super) async fn each<T: DeserializeOwned>(
        &self,
        what: &'static str,
        (rest, query): (&[&str], &[(&str, &str)]),
        see: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), ForgeError> {
        let query = [&[("per_page", PAGE_ITEMS)][..], query].concat();
        pages::each::<Vec<T>, T>(&self.api, what, (&self.path(rest), &query), see).await
    }

    pub(super) async fn account(&self) -> Result<&wire::User, ForgeError> {
        let ask = || self.read_at("ask whose token it is", &["user"], &[]);
        self.account.get_or_try_init(ask).await
    }

    pub(super) async fn project(&self, what: &'static str) -> Result<wire::Project, ForgeError> {
        self.read_as(what, &[]).await
    }

    async fn facts(&self) -> Result<RepositoryFacts, ForgeError> {
        let what = "read the repository";
        let me = self.account().await?;
        let project = self.project(what).await?;
        // The project itself leaves out what groups that were invited bring.
        let level = self.level(what, me.id).await?;
        Ok(project.facts(level, me))
    }

    /// Asks to change what cannot exist: 404 says that the token got past the door. One scope opens all of it.
    async fn all_grants(&self) -> Result<Grants, ForgeError> {
        let what = "ask what the token may do";
        let place: (Method, &[&str]) = (Method::Put, &["merge_requests", NOWHERE]);
        let reply = self.write(what, place, &json!({ "title": NOWHERE }), true).await?;
        let grant = match reply.status {
            404 => Grant::Yes,
            403 => Grant::No(ForgeError::refused(what, &reply, true).said),
            _ => return Err(ForgeError::refused(what, &reply, true)),
        };
        Ok(Grants { pull_requests: grant.clone(), comments: grant })
    }

    async fn protection_of(&self, branch: &BranchName) -> Result<Option<Protection>, ForgeError> {
        let what = "read the branch";
        let name = branch.as_str();
        let reply = self.get(what, &["repository", "branches", name]).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        let found: wire::Branch = decoded(what, &reply, true)?;
        let me = self.account().await?;
        let project = self.project(what).await?;
        let level = self.level(what, me.id).await?;
        // Only editions with approvals have these, and a rule of a pattern stands under the pattern's name.
        let rules: Option<Vec<wire::ApprovalRule>> = self.read_if_shown(what, &["approval_rules"]).await?;
        let named: Option<wire::ProtectedBranch> =
            self.read_if_shown(what, &["protected_branches", name]).await?;
        Ok(Some(found.protection(&project, &rules.unwrap_or_default(), named, (me, level))))
    }

    async fn all_open(&self) -> Result<Vec<PullRequest>, ForgeError> {
        let mut all = Vec::new();
        let query = [("state", "opened"), ("order_by", "created_at"), ("sort", "desc")];
        self.each::<wire::Pull>("list the pull requests", (&["merge_requests"], &query), |it| {
            all.extend(it.noun());
            ControlFlow::Continue(())
        })
        .await?;
        Ok(all)
    }

    async fn find_pull(
        &self,
        head: &BranchName,
        base: &BranchName,
    ) -> Result<Option<PullRequest>, ForgeError> {
        let what = "look for the pull request";
        let query = [
            ("source_branch", head.as_str()),
            ("target_branch", base.as_str()),
            ("state", "all"),
            ("order_by", "created_at"),
            ("sort", "desc"),
        ];
        let mut found: Option<PullRequest> = None;
        self.each::<wire::Pull>(what, (&["merge_requests"], &query), |it| {
            let same = |it: &PullRequest| !it.is_foreign && it.branch == head.as_str();
            let Some(pull) = it.noun().filter(same) else { return ControlFlow::Continue(()) };
            let is_open = pull.state == PullState::Open;
            if is_open || found.is_none() {
                found = Some(pull);
            }
            if is_open { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        // A list shows the head and the state of some moments ago.
        match found {
            Some(it) => self.pull(what, it.number).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn wire_pull(&self, what: &'static str, number: u64) -> Result<wire::Pull, ForgeError> {
        self.read_as(what, &["merge_requests", &number.to_string()]).await
    }

    async fn pull(&self, what: &'static str, number: u64) -> Result<PullRequest, ForgeError> {
        noun_of(what, self.wire_pull(what, number).await?, true)
    }

    async fn create_pull(&self, draft: PullDraft<'_>) -> Result<PullRequest, ForgeError> {
        let what = "create the pull request";
        let body = json!({
            "source_branch": draft.head,
            "target_branch": draft.base,
            "title": draft.title,
            "description": wire::without_quick_actions(draft.body),
            // The project's wish for new ones; where it insists, GitLab does as it insists.
            "squash": false,
            "remove_source_branch": false,
        });
        let reply = self.write(what, (Method::Post, &["merge_requests"]), &body, false).await?;
        noun_of(what, decoded(what, &reply, false)?, false)
    }

    pub(super) async fn edit(
        &self,
        what: &'static str,
        number: u64,
        edit: &Json,
    ) -> Result<wire::Pull, ForgeError> {
        let number = number.to_string();
        let reply = self.write(what, (Method::Put, &["merge_requests", &number]), edit, true).await?;
        decoded(what, &reply, false)
    }

    /// A person's draft stays one: the sign of it is a part of the title.
    async fn update_pull(&self, number: u64, title: &str, body: &str) -> Result<PullRequest, ForgeError> {
        let what = "edit the pull request";
        let now = self.pull(what, number).await?;
        let title = if now.is_draft { format!("{}{title}", wire::DRAFT) } else { title.to_owned() };
        let edit = json!({ "title": title, "description": wire::without_quick_actions(body) });
        noun_of(what, self.edit(what, number, &edit).await?, false)
    }

    /// Both at once: GitLab knows them by name, makes what it does not know, and lets the others be.
    async fn put_labels(&self, number: u64, add: &[&str], remove: &[&str]) -> Result<(), ForgeError> {
        let what = "set the labels";
        let here = |why| ForgeError::refused_here(what, Trouble::Protocol, why);
        if add.iter().chain(remove).any(|it| it.contains(',')) {
            return Err(here("GitLab has no label with a comma"));
        }
        if add.is_empty() && remove.is_empty() {
            return Ok(());
        }
        let edit = json!({ "add_labels": add.join(","), "remove_labels": remove.join(",") });
        let set = self.edit(what, number, &edit).await?.labels;
        if add.iter().all(|it| set.contains(*it)) {
            return Ok(());
        }
        Err(here("the forge did not keep a label it was given"))
    }

    /// Why it would not be merged as `method` says; GitLab itself cannot be told how.
    async fn way(&self, what: &'static str, number: u64, method: MergeMethod) -> Result<(), ForgeError> {
        let here = |why| Err(ForgeError::refused_here(what, Trouble::NotReady, why));
        let project = self.project(what).await?;
        if !project.merge_methods().contains(&method) {
            return here("the project merges in another way");
        }
        // Saying no to it in the merge itself is not heard.
        let squashes = self.wire_pull(what, number).await?.squash_on_merge;
        if squashes && method != MergeMethod::Squash {
            return here("somebody chose to squash it");
        }
        Ok(())
    }

    async fn merge_pull(&self, number: u64, merging: Merging<'_>) -> Result<PullRequest, ForgeError> {
        let what = "merge the pull request";
        self.way(what, number, merging.method).await?;
        let words = [merging.title, merging.message].join("\n\n");
        let body = json!({
            "sha": merging.permit.head(),
            "squash": merging.method == MergeMethod::Squash,
            "should_remove_source_branch": false,
            "merge_commit_message": words.trim_end(),
            "squash_commit_message": words.trim_end(),
        });
        let place = number.to_string();
        let place: (Method, &[&str]) = (Method::Put, &["merge_requests", &place, "merge"]);
        let reply = self.write(what, place, &body, false).await?;
        if reply.status != 200 {
            let refused = ForgeError::refused(what, &reply, false);
            return Err(match reply.status {
                // The same token has just read the project: it is known, and may not do this.
                401 => refused.meaning(Trouble::Forbidden),
                405 | 406 | 422 => refused.meaning(Trouble::NotReady),
                _ => refused,
            });
        }
        let merged = noun_of(what, decoded(what, &reply, false)?, false)?;
        if matches!(merged.state, PullState::Merged(_)) {
            return Ok(merged);
        }
        let why = "the forge says yes and does not say that it is merged";
        Err(ForgeError::refused_here(what, Trouble::Lost, why))
    }
}

fn noun_of(what: &'static str, pull: wire::Pull, is_read: bool) -> Result<PullRequest, ForgeError> {
    pull.noun().ok_or_else(|| ForgeError::unreadable(what, "the pull request has no head", is_read))
}

impl Forge for GitLab {
    fn capabilities(&self) -> ForgeCapabilities {
        ForgeCapabilities::GITLAB
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        self.api.outside_clock()
    }

    fn whoami(&self) -> Answer<'_, Account> {
        Box::pin(async move { self.account().await.map(Account::from) })
    }

    fn repository(&self) -> Answer<'_, RepositoryFacts> {
        Box::pin(self.facts())
    }

    fn grants(&self) -> Answer<'_, Grants> {
        Box::pin(self.all_grants())
    }

    fn protection<'a>(&'a self, branch: &'a BranchName) -> Answer<'a, Option<Protection>> {
        Box::pin(self.protection_of(branch))
    }

    fn open_pulls(&self) -> Answer<'_, Vec<PullRequest>> {
        Box::pin(self.all_open())
    }

    fn find<'a>(&'a self, head: &'a BranchName, base: &'a BranchName) -> Answer<'a, Option<PullRequest>> {
        Box::pin(self.find_pull(head, base))
    }

    fn read(&self, number: u64) -> Answer<'_, PullRequest> {
        Box::pin(self.pull("read the pull request", number))
    }

    fn create<'a>(&'a self, draft: PullDraft<'a>) -> Answer<'a, PullRequest> {
        Box::pin(self.create_pull(draft))
    }

    fn update<'a>(&'a self, number: u64, title: &'a str, body: &'a str) -> Answer<'a, PullRequest> {
        Box::pin(self.update_pull(number, title, body))
    }

    fn close<'a>(&'a self, number: u64, reason: &'a str) -> Answer<'a, PullRequest> {
        Box::pin(async move {
            let what = "close the pull request";
            self.upsert_comment(number, Marker::Closed, reason).await?;
            noun_of(what, self.edit(what, number, &json!({ "state_event": "close" })).await?, false)
        })
    }

    fn comment<'a>(&'a self, number: u64, marker: Marker, text: &'a str) -> Answer<'a, bool> {
        Box::pin(self.upsert_comment(number, marker, text))
    }

    fn comments(&self, number: u64) -> Answer<'_, Vec<Comment>> {
        Box::pin(self.all_comments(number))
    }

    fn access<'a>(&'a self, login: &'a str) -> Answer<'a, Access> {
        Box::pin(self.access_of(login))
    }

    fn react(&self, comment: u64, reaction: Reaction) -> Answer<'_, ()> {
        Box::pin(self.add_reaction(comment, reaction))
    }

    fn relabel<'a>(&'a self, number: u64, add: &'a [&'a str], remove: &'a [&'a str]) -> Answer<'a, ()> {
        Box::pin(self.put_labels(number, add, remove))
    }

    fn request_review<'a>(&'a self, number: u64, reviewers: &'a [&'a str]) -> Answer<'a, ()> {
        Box::pin(self.ask_reviewers(number, reviewers))
    }

    fn set_status<'a>(&'a self, head: &'a ObjectId, status: Status<'a>) -> Answer<'a, bool> {
        Box::pin(self.post_status(head, status))
    }

    fn checks<'a>(&'a self, head: &'a ObjectId) -> Answer<'a, Checks> {
        Box::pin(self.all_checks(head))
    }

    fn reviews(&self, number: u64) -> Answer<'_, Vec<Review>> {
        Box::pin(self.all_reviews(number))
    }

    fn merge<'a>(&'a self, number: u64, merging: Merging<'a>) -> Answer<'a, PullRequest> {
        Box::pin(self.merge_pull(number, merging))
    }
}
