//! The adapter for GitHub and GitHub Enterprise: REST, version 2022-11-28. Calls of the trait come in, requests go out
//! through `github_client`, and only what this product allows. Every list has a named bound. It never uses native
//! auto-merge, never goes around a rule, never touches a branch that is not tars'.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;

use super::error::{ForgeError, Trouble};
use super::github_client::{Client, ForgeAccess, Speaker};
use super::github_wire as wire;
use super::reply::decoded;
use super::twins::{self, Twin};
use super::{Answer, Forge, Marker, Merging, PullDraft, Status};
use crate::model::forge::{
    Access, Account, Checks, Comment, ForgeCapabilities, Grant, Grants, Protection, PullRequest, PullState,
    Reaction, RepositoryFacts, Review,
};
use crate::model::ids::{BranchName, ObjectId};
use crate::outside::api::{ApiError, Call};
use crate::outside::clock::{Clock, OutsideClock};
use crate::outside::http::{Http, HttpReply, Method};

/// Items asked for at once; GitHub's maximum.
pub(super) const PAGE_ITEMS: usize = 100;
/// Most pages of one list.
pub(super) const PAGES_MAX: usize = 40;
/// Longest description of a status; GitHub refuses a longer one.
const DESCRIPTION_CHARS_MAX: usize = 140;
/// A pull request or issue that cannot exist: writing to it shows what a token may do and does nothing.
const NOWHERE: &str = "0";
/// A commit that cannot exist.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// One repository of a GitHub.
#[derive(Debug)]
pub struct GitHub {
    client: Client,
    owner: String,
    name: String,
    account: OnceCell<Account>,
}

/// Where the API of the web interface at `url` is: on a host of its own for GitHub's clouds, below the same one for
/// Enterprise Server.
fn api_base(url: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.split_once("://") {
        Some(("https", "github.com" | "www.github.com")) => "https://api.github.com".to_owned(),
        Some(("https", host)) if host.ends_with(".ghe.com") && !host.contains('/') => {
            format!("https://api.{host}")
        }
        _ => format!("{url}/api/v3"),
    }
}

impl GitHub {
    /// `owner/name` on the GitHub whose web interface is at `url`.
    ///
    /// # Errors
    /// When `url` is not an address that can be asked.
    pub fn new(
        http: Http,
        clock: Arc<dyn Clock>,
        url: &str,
        (owner, name): (&str, &str),
        access: ForgeAccess,
    ) -> Result<Self, ApiError> {
        let client = Client::new(http, clock, &api_base(url), access, name)?;
        Ok(Self { client, owner: owner.to_owned(), name: name.to_owned(), account: OnceCell::new() })
    }

    /// Segments below this repository.
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["repos", self.owner.as_str(), self.name.as_str()];
        path.extend(rest);
        path
    }

    pub(super) async fn get(&self, what: &'static str, rest: &[&str]) -> Result<HttpReply, ForgeError> {
        self.get_from(what, &self.path(rest), Speaker::Account).await
    }

    async fn get_from(
        &self,
        what: &'static str,
        path: &[&str],
        speaker: Speaker,
    ) -> Result<HttpReply, ForgeError> {
        let call = Call { method: Method::Get, path, query: &[], body: None, repeatable: true };
        self.client.ask(what, call, speaker).await
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
        self.client.ask(what, call, Speaker::Account).await
    }

    /// Hands every item of a list to `see`, page by page, until it breaks.
    pub(super) async fn each<P: DeserializeOwned + IntoIterator<Item = T>, T>(
        &self,
        what: &'static str,
        (rest, query): (&[&str], &[(&str, &str)]),
        mut see: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), ForgeError> {
        let items = PAGE_ITEMS.to_string();
        let query = [&[("per_page", items.as_str())][..], query].concat();
        let mut page = self.client.first_page(what, &self.path(rest), &query)?;
        for _ in 0..PAGES_MAX {
            let (reply, next) = self.client.page(what, &page).await?;
            for item in decoded::<P>(what, &reply, true)? {
                if see(item).is_break() {
                    return Ok(());
                }
            }
            match next {
                Some(next) => page = next,
                None => return Ok(()),
            }
        }
        let why = format!("the list has more than {PAGES_MAX} pages");
        Err(ForgeError::refused_here(what, Trouble::Protocol, &why))
    }

    /// The whole list.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        what: &'static str,
        rest: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, ForgeError> {
        let mut all = Vec::new();
        self.each::<Vec<T>, T>(what, (rest, query), |it| {
            all.push(it);
            ControlFlow::Continue(())
        })
        .await?;
        Ok(all)
    }

    pub(super) async fn account(&self) -> Result<&Account, ForgeError> {
        let what = "ask whose token it is";
        self.account
            .get_or_try_init(|| async {
                if self.client.installation().is_some() {
                    let reply = self.get_from(what, &["app"], Speaker::App).await?;
                    return decoded::<wire::App>(what, &reply, true).map(Account::from);
                }
                let reply = self.get_from(what, &["user"], Speaker::Account).await?;
                decoded::<wire::User>(what, &reply, true).map(Account::from)
            })
            .await
    }

    /// What the app was given where it is installed; `None` when tars is no app.
    async fn installation(&self, what: &'static str) -> Result<Option<wire::Installation>, ForgeError> {
        let Some(id) = self.client.installation() else { return Ok(None) };
        let path = ["app", "installations", &id.to_string()];
        let reply = self.get_from(what, &path, Speaker::App).await?;
        decoded(what, &reply, true).map(Some)
    }

    async fn facts(&self) -> Result<RepositoryFacts, ForgeError> {
        let what = "read the repository";
        let reply = self.get(what, &[]).await?;
        let facts = RepositoryFacts::from(decoded::<wire::Repository>(what, &reply, true)?);
        match self.installation(what).await? {
            Some(it) => Ok(RepositoryFacts { permissions: it.permissions(), ..facts }),
            None => Ok(facts),
        }
    }

    async fn all_grants(&self) -> Result<Grants, ForgeError> {
        let what = "ask what the token may do";
        if let Some(given) = self.installation(what).await? {
            let grant = |areas: &[&str]| {
                let lacking: Vec<&str> = areas.iter().filter(|it| !given.may_write(it)).copied().collect();
                if lacking.is_empty() {
                    Grant::Yes
                } else {
                    Grant::No(format!("the app lacks {}", lacking.join(", ")))
                }
            };
            let pull_requests = grant(&["contents", "pull_requests", "statuses"]);
            return Ok(Grants { pull_requests, comments: grant(&["pull_requests"]) });
        }
        let reply = self.get(what, &[]).await?;
        // Only tokens of the older kind have scopes.
        if let Some(scopes) = reply.header("x-oauth-scopes") {
            let is_enough = scopes.split(',').any(|it| matches!(it.trim(), "repo" | "public_repo"));
            let grant = if is_enough { Grant::Yes } else { Grant::No(format!("its scopes are: {scopes}")) };
            return Ok(Grants { pull_requests: grant.clone(), comments: grant });
        }
        let pulls = self.grant(Method::Patch, &["pulls", NOWHERE]).await?;
        let statuses = self.grant(Method::Post, &["statuses", NO_COMMIT]).await?;
        let pull_requests = if pulls == Grant::Yes { statuses } else { pulls };
        Ok(Grants { pull_requests, comments: self.grant(Method::Patch, &["issues", NOWHERE]).await? })
    }

    /// Asks to change what cannot exist: anything but a "forbidden" says that the token got past the door.
    async fn grant(&self, method: Method, place: &[&str]) -> Result<Grant, ForgeError> {
        let what = "ask what the token may do";
        let body = if method == Method::Post { json!({ "state": "pending" }) } else { json!({}) };
        let reply = self.write(what, (method, place), &body, true).await?;
        match reply.status {
            404 | 422 => Ok(Grant::Yes),
            403 => Ok(Grant::No(ForgeError::refused(what, &reply, true).said)),
            _ => Err(ForgeError::refused(what, &reply, true)),
        }
    }

    async fn protection_of(&self, name: &BranchName) -> Result<Option<Protection>, ForgeError> {
        let what = "read the branch";
        let reply = self.get(what, &["branches", name.as_str()]).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        let branch = decoded::<wire::Branch>(what, &reply, true)?;
        let facts = self.facts().await?;
        let rules = self.all(what, &["rules", "branches", name.as_str()], &[]).await?;
        let classic = if facts.permissions.admin {
            let reply = self.get(what, &["branches", name.as_str(), "protection"]).await?;
            // 404: there is no such rule; 403: an app may administer, and not be shown this.
            if matches!(reply.status, 403 | 404) { None } else { Some(decoded(what, &reply, true)?) }
        } else {
            None
        };
        let may_write = facts.permissions.push && !facts.archived;
        Ok(Some(wire::protection(branch, classic, rules, may_write)))
    }

    async fn all_open(&self) -> Result<Vec<PullRequest>, ForgeError> {
        let all: Vec<wire::Pull> =
            self.all("list the pull requests", &["pulls"], &[("state", "open")]).await?;
        Ok(all.into_iter().map(Into::into).collect())
    }

    async fn find_pull(
        &self,
        head: &BranchName,
        base: &BranchName,
    ) -> Result<Option<PullRequest>, ForgeError> {
        let what = "look for the pull request";
        let owned = format!("{}:{head}", self.owner);
        let query = [("state", "all"), ("head", owned.as_str()), ("base", base.as_str())];
        let mut found: Option<PullRequest> = None;
        // Newest first.
        self.each::<Vec<wire::Pull>, _>(what, (&["pulls"], &query), |it| {
            let it = PullRequest::from(it);
            // An unknown owner would make GitHub forget the filter.
            if it.is_foreign || it.branch != head.as_str() {
                return ControlFlow::Continue(());
            }
            let is_open = it.state == PullState::Open;
            if found.is_none() || is_open {
                found = Some(it);
            }
            if is_open { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        let Some(found) = found else { return Ok(None) };
        // A list may be older, and tells less.
        self.whole_pull(found.number).await.map(Some)
    }

    pub(super) async fn wire_pull(&self, what: &'static str, number: u64) -> Result<wire::Pull, ForgeError> {
        decoded(what, &self.get(what, &["pulls", &number.to_string()]).await?, true)
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
        let made = decoded::<wire::Pull>(what, &reply, false).map(PullRequest::from);
        if reply.status != 422 {
            return made;
        }
        // GitHub says "exists" and "cannot be" with one status, and differs in words only.
        let there = self.find_pull(draft.head, draft.base).await;
        let is_there = there.is_ok_and(|it| it.is_some_and(|it| it.state == PullState::Open));
        made.map_err(|error| if is_there { error.into_conflict() } else { error })
    }

    async fn put_labels(&self, number: u64, labels: &[&str]) -> Result<(), ForgeError> {
        let what = "add the labels";
        // GitHub refuses an empty list.
        if labels.is_empty() {
            return Ok(());
        }
        let number = number.to_string();
        let place: (Method, &[&str]) = (Method::Post, &["issues", &number, "labels"]);
        // GitHub makes those it does not know.
        let reply = self.write(what, place, &json!({ "labels": labels }), true).await?;
        let set = wire::names(decoded(what, &reply, false)?);
        // It knows no case in them.
        if labels.iter().all(|it| set.iter().any(|set| set.eq_ignore_ascii_case(it))) {
            return Ok(());
        }
        Err(ForgeError::refused_here(what, Trouble::Protocol, "the forge did not keep a label it was given"))
    }

    async fn drop_labels(&self, number: u64, labels: &[&str]) -> Result<(), ForgeError> {
        let what = "remove the labels";
        let number = number.to_string();
        for label in labels {
            let place: (Method, &[&str]) = (Method::Delete, &["issues", &number, "labels", label]);
            let reply = self.write(what, place, &json!({}), true).await?;
            // 404: it was not there.
            if !matches!(reply.status, 200 | 404) {
                return Err(ForgeError::refused(what, &reply, false));
            }
        }
        Ok(())
    }

    /// The newest status of every context.
    async fn statuses(
        &self,
        what: &'static str,
        head: &ObjectId,
    ) -> Result<Vec<wire::WireStatus>, ForgeError> {
        let mut newest: Vec<wire::WireStatus> = Vec::new();
        // The whole history, newest first: GitHub's own summary does not say who posted what.
        let rest = ["commits", head.as_str(), "statuses"];
        self.each::<Vec<wire::WireStatus>, _>(what, (&rest, &[]), |it| {
            if newest.iter().all(|known| known.context != it.context) {
                newest.push(it);
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(newest)
    }

    async fn all_checks(&self, head: &ObjectId) -> Result<Checks, ForgeError> {
        let what = "read the checks";
        let mut all: Vec<_> = self.statuses(what, head).await?.into_iter().map(Into::into).collect();
        let mut is_of_another = false;
        let rest = ["commits", head.as_str(), "check-runs"];
        self.each::<wire::CheckRuns, _>(what, (&rest, &[("filter", "latest")]), |it| {
            is_of_another |= it.head_sha != head.as_str();
            all.push(it.into());
            ControlFlow::Continue(())
        })
        .await?;
        if is_of_another {
            return Err(ForgeError::unreadable(what, "it is about another commit", true));
        }
        Ok(Checks { head: head.clone(), all })
    }

    async fn post_status(&self, head: &ObjectId, status: Status<'_>) -> Result<bool, ForgeError> {
        let what = "set the status";
        let me = self.account().await?;
        let state = status.state.as_str();
        let description: String = status.description.chars().take(DESCRIPTION_CHARS_MAX).collect();
        let words = (state, description.as_str(), status.url.unwrap_or_default());
        // GitHub takes a thousand of one context for one commit.
        let said = self.statuses(what, head).await?;
        if said.iter().any(|it| it.context == status.context && it.is_by(me) && it.words() == words) {
            return Ok(false);
        }
        let body = json!({
            "context": status.context,
            "state": state,
            "description": description,
            "target_url": status.url,
        });
        // A context shows its newest status: the same one twice is the same one.
        let reply = self.write(what, (Method::Post, &["statuses", head.as_str()]), &body, true).await?;
        decoded::<wire::WireStatus>(what, &reply, false).map(|_| true)
    }

    async fn merge_pull(&self, number: u64, merging: Merging<'_>) -> Result<PullRequest, ForgeError> {
        let what = "merge the pull request";
        let Some(method) = wire::merge_method(merging.method) else {
            let why = format!("GitHub has no {}", merging.method.as_str());
            return Err(ForgeError::refused_here(what, Trouble::NotReady, &why));
        };
        let body = json!({
            "merge_method": method,
            "sha": merging.permit.head(),
            "commit_title": merging.title,
            "commit_message": merging.message,
        });
        let place = number.to_string();
        let reply = self.write(what, (Method::Put, &["pulls", &place, "merge"]), &body, false).await?;
        decoded::<IgnoredAny>(what, &reply, false)?;
        // Merged it is, whatever happens to this question.
        let read = self.whole_pull(number).await;
        read.map_err(ForgeError::after_a_write)
    }
}

impl Twin for GitHub {
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
        decoded::<wire::Pull>(what, reply, false).map(Into::into)
    }
}

impl Forge for GitHub {
    fn capabilities(&self) -> ForgeCapabilities {
        ForgeCapabilities::GITHUB
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        self.client.outside_clock()
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
        Box::pin(self.protection_of(branch))
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
            self.drop_labels(number, remove).await?;
            self.put_labels(number, add).await
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

#[cfg(test)]
mod tests {
    use super::api_base;

    #[test]
    fn the_api_is_where_the_product_has_it() {
        for (url, api) in [
            ("https://github.com", "https://api.github.com"),
            ("https://github.com/", "https://api.github.com"),
            ("https://octo.ghe.com", "https://api.octo.ghe.com"),
            ("https://git.example.com", "https://git.example.com/api/v3"),
            ("https://example.com/github.com", "https://example.com/github.com/api/v3"),
            ("https://github.com.example.com", "https://github.com.example.com/api/v3"),
            ("http://github.com", "http://github.com/api/v3"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/api/v3"),
        ] {
            assert_eq!(api_base(url), api);
        }
    }
}
