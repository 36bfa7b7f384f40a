//! The adapter for Gitea (1.24 and newer) and Forgejo: API version 1 below `<url>/api/v1`. Calls of the trait come
//! in, requests go out, and only what this product allows. Every list has a named bound. It never force-merges,
//! never schedules a merge, never touches a branch that is not tars'.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

use super::error::{ForgeError, Trouble};
use super::gitea_wire as wire;
use super::pages;
use super::reply::decoded;
use super::twins::{self, Twin};
use super::{Answer, Forge, Marker, Merging, PullDraft, Status};
use crate::model::forge::{
    Access, Account, Checks, Comment, ForgeCapabilities, Grant, Grants, Protection, PullRequest, PullState,
    Reaction, RepositoryFacts, Review,
};
use crate::model::ids::{BranchName, ObjectId};
use crate::outside::api::{Api, ApiError, Call};
use crate::outside::clock::{Clock, OutsideClock};
use crate::outside::http::{Http, HttpReply, Method, Scheme};
use crate::outside::secret::Secret;

/// Items asked for at once; Gitea's own default maximum.
const PAGE_ITEMS: &str = "50";
/// Labels that are made get this colour.
const LABEL_COLOUR: &str = "#5319e7";
/// A pull request or issue that cannot exist: writing to it shows what a token may do and does nothing.
const NOWHERE: &str = "0";

/// One repository of a Gitea or Forgejo.
pub struct Gitea {
    api: Api,
    owner: String,
    name: String,
    account: OnceCell<Account>,
}

impl fmt::Debug for Gitea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gitea")
            .field("api", &self.api)
            .field("owner", &self.owner)
            .field("name", &self.name)
            .finish()
    }
}

impl Gitea {
    /// `owner/name` on the Gitea whose web interface is at `url`.
    ///
    /// # Errors
    /// When `url` is not an address that can be asked.
    pub fn new(
        http: Http,
        clock: Arc<dyn Clock>,
        url: &str,
        (owner, name): (&str, &str),
        token: Secret,
    ) -> Result<Self, ApiError> {
        let base = format!("{}/api/v1", url.trim_end_matches('/'));
        let api = Api::new(http, clock, &base, (Scheme::Token, token))?;
        Ok(Self { api, owner: owner.to_owned(), name: name.to_owned(), account: OnceCell::new() })
    }

    /// Segments below this repository.
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["repos", self.owner.as_str(), self.name.as_str()];
        path.extend(rest);
        path
    }

    pub(super) async fn get(&self, what: &'static str, rest: &[&str]) -> Result<HttpReply, ForgeError> {
        let path = self.path(rest);
        let call = Call { method: Method::Get, path: &path, query: &[], body: None, repeatable: true };
        self.api.ask(call).await.map_err(|error| ForgeError::unanswered(what, error))
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

    pub(super) async fn read_as<T: DeserializeOwned>(
        &self,
        what: &'static str,
        rest: &[&str],
    ) -> Result<T, ForgeError> {
        decoded(what, &self.get(what, rest).await?, true)
    }

    /// Hands every item of a list to `see`, page by page, until it breaks.
    async fn each<P: DeserializeOwned + IntoIterator<Item = T>, T>(
        &self,
        what: &'static str,
        (rest, query): (&[&str], &[(&str, &str)]),
        see: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), ForgeError> {
        let query = [&[("limit", PAGE_ITEMS)][..], query].concat();
        pages::each::<P, T>(&self.api, what, (&self.path(rest), &query), see).await
    }

    pub(super) async fn account(&self) -> Result<&Account, ForgeError> {
        let what = "ask whose token it is";
        self.account
            .get_or_try_init(|| async {
                let call =
                    Call { method: Method::Get, path: &["user"], query: &[], body: None, repeatable: true };
                let reply = self.api.ask(call).await.map_err(|error| ForgeError::unanswered(what, error))?;
                decoded::<wire::User>(what, &reply, true).map(Account::from)
            })
            .await
    }

    /// Asks to change what cannot exist: 404 says that the token got past the door.
    async fn grant(&self, kind: &str) -> Result<Grant, ForgeError> {
        let what = "ask what the token may do";
        let reply = self.write(what, (Method::Patch, &[kind, NOWHERE]), &json!({}), true).await?;
        match reply.status {
            404 => Ok(Grant::Yes),
            403 => Ok(Grant::No(ForgeError::refused(what, &reply, true).said)),
            _ => Err(ForgeError::refused(what, &reply, true)),
        }
    }

    async fn branch(
        &self,
        what: &'static str,
        name: &BranchName,
    ) -> Result<Option<wire::Branch>, ForgeError> {
        let reply = self.get(what, &["branches", name.as_str()]).await?;
        if reply.status == 404 { Ok(None) } else { decoded(what, &reply, true).map(Some) }
    }

    async fn facts(&self) -> Result<RepositoryFacts, ForgeError> {
        self.read_as::<wire::Repository>("read the repository", &[]).await.map(RepositoryFacts::from)
    }

    async fn all_grants(&self) -> Result<Grants, ForgeError> {
        Ok(Grants { pull_requests: self.grant("pulls").await?, comments: self.grant("issues").await? })
    }

    async fn all_open(&self) -> Result<Vec<PullRequest>, ForgeError> {
        let mut all = Vec::new();
        let list: (&[&str], &[(&str, &str)]) = (&["pulls"], &[("state", "open")]);
        self.each::<Vec<wire::Pull>, _>("list the pull requests", list, |it| {
            all.extend(it.noun());
            ControlFlow::Continue(())
        })
        .await?;
        Ok(all)
    }

    async fn all_checks(&self, head: &ObjectId) -> Result<Checks, ForgeError> {
        let all = self.statuses("read the checks", head).await?;
        Ok(Checks { head: head.clone(), all: all.into_iter().map(Into::into).collect() })
    }

    async fn all_reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError> {
        let mut all = Vec::new();
        let number = number.to_string();
        let rest = ["pulls", number.as_str(), "reviews"];
        self.each::<Vec<wire::WireReview>, _>("read the reviews", (&rest, &[]), |it| {
            all.push(Review::from(it));
            ControlFlow::Continue(())
        })
        .await?;
        Ok(all)
    }

    async fn create_pull(&self, draft: PullDraft<'_>) -> Result<PullRequest, ForgeError> {
        let what = "create the pull request";
        let body = json!({
            "head": draft.head,
            "base": draft.base,
            "title": draft.title,
            "body": draft.body,
        });
        let reply = self.write(what, (Method::Post, &["pulls"]), &body, false).await?;
        pull_of(what, &reply, false)
    }

    pub(super) async fn pull(&self, what: &'static str, number: u64) -> Result<PullRequest, ForgeError> {
        pull_of(what, &self.get(what, &["pulls", &number.to_string()]).await?, true)
    }

    async fn find_pull(
        &self,
        head: &BranchName,
        base: &BranchName,
    ) -> Result<Option<PullRequest>, ForgeError> {
        let what = "look for the pull request";
        // One of them, of any state, and not always the newest: enough to know when there is none, and when it
        // is the open one.
        let reply = self.get(what, &["pulls", base.as_str(), head.as_str()]).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        let any = pull_of(what, &reply, true)?;
        if any.state == PullState::Open {
            return Ok(Some(any));
        }
        let mut found = None;
        for state in ["open", "closed"] {
            let query = [("state", state), ("base_branch", base.as_str())];
            // Newest first.
            self.each::<Vec<wire::Pull>, _>(what, (&["pulls"], &query), |it| {
                let same = |it: &PullRequest| !it.is_foreign && it.branch == head.as_str();
                found = it.noun().filter(same).map(|it| it.number);
                if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .await?;
            if found.is_some() {
                break;
            }
        }
        // A list shows the head of some moments ago.
        self.pull(what, found.unwrap_or(any.number)).await.map(Some)
    }

    /// Labels are removed by their number, which only the pull request's own list tells.
    async fn drop_labels(&self, number: u64, labels: &[&str]) -> Result<(), ForgeError> {
        let what = "remove the labels";
        let number = number.to_string();
        let there: Vec<wire::Label> = self.read_as(what, &["issues", &number, "labels"]).await?;
        for label in there.iter().filter(|it| labels.contains(&it.name.as_str())) {
            let id = label.id.to_string();
            let place: (Method, &[&str]) = (Method::Delete, &["issues", &number, "labels", &id]);
            let reply = self.write(what, place, &json!({}), true).await?;
            if !matches!(reply.status, 204 | 404) {
                return Err(ForgeError::refused(what, &reply, false));
            }
        }
        Ok(())
    }

    async fn put_labels(&self, number: u64, labels: &[&str]) -> Result<(), ForgeError> {
        let what = "add the labels";
        let number = number.to_string();
        let place: (Method, &[&str]) = (Method::Post, &["issues", &number, "labels"]);
        let body = json!({ "labels": labels });
        // Names that the repository does not know are dropped without a word.
        let set = wire::names(decoded(what, &self.write(what, place, &body, true).await?, false)?);
        let unknown: Vec<&&str> = labels.iter().filter(|it| !set.contains(**it)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for name in unknown {
            let label = json!({ "name": name, "color": LABEL_COLOUR });
            let reply = self.write(what, (Method::Post, &["labels"]), &label, false).await?;
            decoded::<wire::Label>(what, &reply, false)?;
        }
        let set = wire::names(decoded(what, &self.write(what, place, &body, true).await?, false)?);
        if labels.iter().all(|it| set.contains(*it)) {
            return Ok(());
        }
        Err(ForgeError::refused_here(what, Trouble::Protocol, "the forge did not keep a label it was given"))
    }

    async fn statuses(
        &self,
        what: &'static str,
        head: &ObjectId,
    ) -> Result<Vec<wire::WireStatus>, ForgeError> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Page(wire::Combined);
        impl IntoIterator for Page {
            type Item = wire::Combined;
            type IntoIter = std::iter::Once<wire::Combined>;
            fn into_iter(self) -> Self::IntoIter {
                std::iter::once(self.0)
            }
        }
        let mut all = Vec::new();
        let mut is_of_another = false;
        let rest = ["commits", head.as_str(), "status"];
        self.each::<Page, _>(what, (&rest, &[]), |it| {
            is_of_another |= it.sha != head.as_str();
            all.extend(it.statuses.unwrap_or_default());
            ControlFlow::Continue(())
        })
        .await?;
        if is_of_another {
            return Err(ForgeError::unreadable(what, "it is about another commit", true));
        }
        Ok(all)
    }

    async fn post_status(&self, head: &ObjectId, status: Status<'_>) -> Result<bool, ForgeError> {
        let what = "set the status";
        let me = self.account().await?;
        let state = status.state.as_str();
        let url = status.url.unwrap_or_default();
        let said_already = self.statuses(what, head).await?.iter().any(|it| {
            let words =
                (it.context.as_str(), it.status.as_str(), it.description.as_str(), it.target_url.as_str());
            it.is_by(me) && words == (status.context, state, status.description, url)
        });
        if said_already {
            return Ok(false);
        }
        let body = json!({
            "context": status.context,
            "state": state,
            "description": status.description,
            "target_url": url,
        });
        // A context shows its newest status: the same one twice is the same one.
        let reply = self.write(what, (Method::Post, &["statuses", head.as_str()]), &body, true).await?;
        decoded::<wire::WireStatus>(what, &reply, false).map(|_| true)
    }

    async fn merge_pull(&self, number: u64, merging: Merging<'_>) -> Result<PullRequest, ForgeError> {
        let what = "merge the pull request";
        let body = json!({
            "do": wire::merge_style(merging.method),
            "head_commit_id": merging.permit.head(),
            "merge_title_field": merging.title,
            "merge_message_field": merging.message,
            "force_merge": false,
            "merge_when_checks_succeed": false,
            "delete_branch_after_merge": false,
        });
        let place = number.to_string();
        let reply = self.write(what, (Method::Post, &["pulls", &place, "merge"]), &body, false).await?;
        if reply.status != 200 {
            return Err(ForgeError::refused(what, &reply, false));
        }
        // Merged it is, whatever happens to this question.
        let read = self.pull("read the merged pull request", number).await;
        read.map_err(ForgeError::after_a_write)
    }
}

/// The body of a success as a pull request.
fn pull_of(what: &'static str, reply: &HttpReply, is_read: bool) -> Result<PullRequest, ForgeError> {
    let noun = decoded::<wire::Pull>(what, reply, is_read)?.noun();
    noun.ok_or_else(|| ForgeError::unreadable(what, "the pull request has no head", is_read))
}

impl Twin for Gitea {
    fn send<'a>(
        &'a self,
        what: &'static str,
        place: (Method, &'a [&'a str]),
        body: &'a Json,
        repeatable: bool,
    ) -> Answer<'a, HttpReply> {
        Box::pin(self.write(what, place, body, repeatable))
    }

    fn written(&self, what: &'static str, reply: &HttpReply) -> Result<PullRequest, ForgeError> {
        pull_of(what, reply, false)
    }
}

impl Forge for Gitea {
    fn capabilities(&self) -> ForgeCapabilities {
        ForgeCapabilities::GITEA
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        self.api.outside_clock()
    }

    fn whoami(&self) -> Answer<'_, Account> {
        Box::pin(async move { self.account().await.cloned() })
    }

    fn repository(&self) -> Answer<'_, RepositoryFacts> {
        Box::pin(self.facts())
    }

    fn grants(&self) -> Answer<'_, Grants> {
        Box::pin(self.all_grants())
    }

    fn protection<'a>(&'a self, branch: &'a BranchName) -> Answer<'a, Option<Protection>> {
        Box::pin(async move {
            let found = self.branch("read the branch", branch).await;
            found.map(|it| it.map(Protection::from))
        })
    }

    fn open_pulls(&self) -> Answer<'_, Vec<PullRequest>> {
        Box::pin(self.all_open())
    }

    fn find<'a>(&'a self, head: &'a BranchName, base: &'a BranchName) -> Answer<'a, Option<PullRequest>> {
        Box::pin(self.find_pull(head, base))
    }

    fn read(&self, number: u64) -> Answer<'_, PullRequest> {
        Box::pin(self.whole_pull(number))
    }

    fn create<'a>(&'a self, draft: PullDraft<'a>) -> Answer<'a, PullRequest> {
        Box::pin(self.create_pull(draft))
    }

    fn update<'a>(&'a self, number: u64, title: &'a str, body: &'a str) -> Answer<'a, PullRequest> {
        Box::pin(twins::update(self, number, title, body))
    }

    fn close<'a>(&'a self, number: u64, reason: &'a str) -> Answer<'a, PullRequest> {
        Box::pin(twins::close(self, number, reason))
    }

    fn comment<'a>(&'a self, number: u64, marker: Marker, text: &'a str) -> Answer<'a, bool> {
        Box::pin(twins::comment(self, number, marker, text))
    }

    fn comments(&self, number: u64) -> Answer<'_, Vec<Comment>> {
        Box::pin(self.all_comments(number))
    }

    fn access<'a>(&'a self, login: &'a str) -> Answer<'a, Access> {
        Box::pin(self.access_of(login))
    }

    fn react(&self, comment: u64, reaction: Reaction) -> Answer<'_, ()> {
        Box::pin(twins::react(self, comment, reaction))
    }

    fn relabel<'a>(&'a self, number: u64, add: &'a [&'a str], remove: &'a [&'a str]) -> Answer<'a, ()> {
        Box::pin(async move {
            if !remove.is_empty() {
                self.drop_labels(number, remove).await?;
            }
            if add.is_empty() { Ok(()) } else { self.put_labels(number, add).await }
        })
    }

    fn request_review<'a>(&'a self, number: u64, reviewers: &'a [&'a str]) -> Answer<'a, ()> {
        Box::pin(twins::request_review(self, number, reviewers))
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
