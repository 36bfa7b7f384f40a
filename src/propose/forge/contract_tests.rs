//! What every forge does alike, as one list, played against each of the three: Gitea itself, and the stand-ins for GitHub
//! and GitLab. What only one of them does is tested beside its adapter. An adapter brings a [`Stage`]; the list says the
//! rest.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::error::Outlook;
use super::*;
use crate::model::causes::causes;
use crate::model::forge::{ChecksVerdict, Grant, PullState, ReviewVerdict};
use crate::outside::clock::wait;

pub(crate) const BOT: &str = "tars-bot";
pub(super) const REVIEWER: &str = "reviewer";
/// Most tries of a merge while a forge still looks at the branches, a tenth of a second apart.
pub(super) const LOOKS_MAX: u32 = 300;

/// A repository on a forge, as the bot sees it, and what other people do there.
pub(super) trait Stage {
    fn forge(&self) -> &dyn Forge;
    /// The forge with another token, and this repository or the one that is named.
    fn with_token(&self, token: &str, repository: Option<&str>) -> Box<dyn Forge>;
    /// Of somebody who may do everything.
    fn keepers_token(&self) -> String;
    /// One that is nobody's.
    fn wrong_token(&self) -> &'static str;
    /// One of the bot that may read only.
    fn narrow_token(&self) -> String;
    fn full_name(&self) -> String;
    /// A way to merge that this repository allows.
    fn way(&self) -> MergeMethod;
    fn push(&self, branch: &str, file: &str) -> ObjectId;
    fn head(&self, branch: &str) -> String;
    /// As [`REVIEWER`].
    fn say(&self, number: u64, text: &str);
    fn set_label(&self, number: u64, label: &str);
    fn approve(&self, pull: &PullRequest);
    fn reopen(&self, number: u64);
    /// Posts our status under our words.
    fn forge_status(&self, head: &ObjectId);
    /// One approval and one check are required on `main` from now on.
    fn protect(&self);
    fn pass_check(&self, pull: &PullRequest);
    /// Until the forge has looked at it, where that takes time.
    fn settle(&self, _number: u64) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// Plays the whole list on a kind of stage, each behaviour in a repository of its own.
macro_rules! plays {
    ($stage:ty) => {
        plays!(@ $stage:
            the_forge_says_who_asks_and_what_the_repository_allows
            rights_that_are_missing_are_found_without_writing
            one_branch_has_one_open_pull_request_and_it_is_found
            the_open_pull_request_wins_over_closed_ones_and_the_newest_of_those_over_the_others
            labels_are_made_when_they_are_missing_and_those_of_people_stay
            a_comment_is_kept_and_not_repeated_and_nobody_elses_is_touched
            a_status_is_written_on_change_only_and_counts_for_one_commit
            a_review_is_asked_for_once_and_its_approval_is_of_one_commit
            only_the_permitted_head_is_merged_and_only_once
            a_protected_branch_waits_for_its_approval_and_its_check
            a_no_says_what_failed_and_what_to_do_and_never_the_token
        );
    };
    (@ $stage:ty: $($behaviour:ident)*) => {$(
        #[tokio::test]
        async fn $behaviour() {
            let name = stringify!($behaviour).split('_').take(7).collect::<Vec<_>>().join("-");
            let Some(stage) = <$stage>::new(&name) else { return };
            super::super::contract_tests::$behaviour(&stage).await;
        }
    )*};
}
pub(super) use plays;

pub(super) fn branch(name: &str) -> BranchName {
    BranchName::new(name).unwrap()
}

pub(super) fn status(state: StatusState) -> Status<'static> {
    Status { context: "tars/policy", state, description: "inside its budget", url: None }
}

pub(super) async fn open(forge: &dyn Forge, head: &BranchName) -> Result<PullRequest, ForgeError> {
    let base = &branch("main");
    forge.create(PullDraft { head, base, title: "tars: scale out", body: "<details>why</details>" }).await
}

/// A pull request from a branch of ours with one commit.
async fn proposal(stage: &impl Stage) -> (PullRequest, BranchName) {
    let head = branch("tars/backend-latency/shop.deployment.backend/act-0123456789ab");
    stage.push(head.as_str(), "a.yaml");
    (open(stage.forge(), &head).await.unwrap(), head)
}

async fn merge(stage: &impl Stage, pull: &PullRequest, head: &ObjectId) -> Result<PullRequest, ForgeError> {
    let permit = MergePermit::for_test(&branch(&pull.branch), head, head);
    let merging = Merging { permit: &permit, method: stage.way(), title: "a title", message: "a message" };
    stage.forge().merge(pull.number, merging).await
}

/// As soon as the forge has looked at the head again, which it may do after every push.
async fn merge_when_ready(
    stage: &impl Stage,
    pull: &PullRequest,
    head: &ObjectId,
) -> Result<PullRequest, ForgeError> {
    for _ in 0..LOOKS_MAX {
        match merge(stage, pull, head).await {
            Err(error) if error.trouble == Trouble::NotReady => wait(Duration::from_millis(100)).await,
            settled => return settled,
        }
    }
    merge(stage, pull, head).await
}

async fn find(stage: &impl Stage, head: &BranchName) -> Option<PullRequest> {
    stage.forge().find(head, &branch("main")).await.unwrap()
}

pub(super) async fn the_forge_says_who_asks_and_what_the_repository_allows(stage: &impl Stage) {
    let forge = stage.forge();
    let account = forge.whoami().await.unwrap();
    assert_eq!((account.login.as_str(), account.is_site_admin), (BOT, false));
    let facts = forge.repository().await.unwrap();
    assert_eq!((facts.full_name, facts.default_branch.as_str()), (stage.full_name(), "main"));
    assert!(facts.permissions.push && !facts.permissions.admin && facts.pull_requests_enabled);
    assert!(facts.merge_methods.contains(&stage.way()), "{:?}", facts.merge_methods);
    let skew = forge.outside_clock().unwrap();
    assert!(skew.seen_at.duration_since(skew.says).as_secs().abs() <= 2);
    let grants = forge.grants().await.unwrap();
    assert_eq!((grants.pull_requests, grants.comments), (Grant::Yes, Grant::Yes));
    assert_eq!(forge.protection(&branch("tars/none")).await.unwrap(), None);
    let main = forge.protection(&branch("main")).await.unwrap().unwrap();
    assert!(!main.is_protected && main.may_push && main.may_merge && main.required_checks.is_empty());
    let keeper = stage.with_token(&stage.keepers_token(), None);
    assert!(keeper.whoami().await.unwrap().is_site_admin);
    assert!(keeper.repository().await.unwrap().permissions.admin);
}

pub(super) async fn rights_that_are_missing_are_found_without_writing(stage: &impl Stage) {
    let grants = stage.with_token(&stage.narrow_token(), None).grants().await.unwrap();
    for grant in [&grants.pull_requests, &grants.comments] {
        assert!(matches!(grant, Grant::No(said) if !said.is_empty()), "{grant:?}");
    }
    assert_eq!(stage.forge().open_pulls().await.unwrap(), []);
}

pub(super) async fn one_branch_has_one_open_pull_request_and_it_is_found(stage: &impl Stage) {
    let head = branch("tars/backend-latency/shop.deployment.backend/act-0123456789ab");
    assert!(find(stage, &head).await.is_none());
    let commit = stage.push(head.as_str(), "a.yaml");
    let made = open(stage.forge(), &head).await.unwrap();
    assert_eq!((&made.head, made.branch.as_str(), &made.state), (&commit, head.as_str(), &PullState::Open));
    assert!(made.is_ours() && made.author == BOT && made.body == "<details>why</details>");
    let again = open(stage.forge(), &head).await.unwrap_err();
    assert_eq!((again.trouble, again.outlook()), (Trouble::Conflict, Outlook::Permanent), "{again}");
    let found = find(stage, &head).await.unwrap();
    assert_eq!((found.number, stage.forge().open_pulls().await.unwrap().len()), (made.number, 1));
    let edited = stage.forge().update(made.number, "tars: scale out 3→5", "new evidence").await.unwrap();
    assert_eq!((edited.title.as_str(), edited.body.as_str()), ("tars: scale out 3→5", "new evidence"));
    assert_eq!((edited.number, edited.head), (made.number, commit));
}

pub(super) async fn the_open_pull_request_wins_over_closed_ones_and_the_newest_of_those_over_the_others(
    stage: &impl Stage,
) {
    let (first, head) = proposal(stage).await;
    for _ in 0..2 {
        let closed = stage.forge().close(first.number, "Recovered by itself.").await.unwrap();
        assert_eq!(closed.state, PullState::Closed);
    }
    assert_eq!(stage.forge().read(first.number).await.unwrap().closed_by.as_deref(), Some(BOT));
    let said = stage.forge().comments(first.number).await.unwrap();
    assert!(said.len() == 1 && said[0].body.ends_with("Recovered by itself."), "{said:?}");
    let second = open(stage.forge(), &head).await.unwrap();
    assert!(second.number > first.number);
    assert_eq!(find(stage, &head).await.unwrap().number, second.number);
    stage.forge().close(second.number, "No.").await.unwrap();
    let newest = find(stage, &head).await.unwrap();
    assert_eq!((newest.number, newest.state), (second.number, PullState::Closed));
    stage.reopen(first.number);
    let reopened = find(stage, &head).await.unwrap();
    assert_eq!((reopened.number, reopened.state), (first.number, PullState::Open));
    assert_eq!(reopened.closed_by, None);
}

pub(super) async fn labels_are_made_when_they_are_missing_and_those_of_people_stay(stage: &impl Stage) {
    let (pull, _) = proposal(stage).await;
    let relabel = async |add: &[&str], remove: &[&str]| {
        stage.forge().relabel(pull.number, add, remove).await.unwrap();
    };
    relabel(&["tars", "tars/needs-human"], &[]).await;
    stage.set_label(pull.number, "tars/hold");
    relabel(&["tars", "tars/risk:low"], &["tars/needs-human", "not-there"]).await;
    relabel(&["tars"], &[]).await;
    relabel(&[], &[]).await;
    let labels = stage.forge().read(pull.number).await.unwrap().labels;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["tars", "tars/hold", "tars/risk:low"]);
}

pub(super) async fn a_comment_is_kept_and_not_repeated_and_nobody_elses_is_touched(stage: &impl Stage) {
    let (pull, _) = proposal(stage).await;
    let decoy = "<!-- tars:explanation -->\nnot tars";
    stage.say(pull.number, decoy);
    let say = |text| stage.forge().comment(pull.number, Marker::Explanation, text);
    assert!(say("first").await.unwrap());
    assert!(!say("first").await.unwrap());
    assert!(say("second").await.unwrap());
    let said = stage.forge().comments(pull.number).await.unwrap();
    let said: Vec<(&str, &str)> = said.iter().map(|it| (it.by.as_str(), it.body.as_str())).collect();
    assert_eq!(said, [(REVIEWER, decoy), (BOT, "<!-- tars:explanation -->\nsecond")]);
}

pub(super) async fn a_status_is_written_on_change_only_and_counts_for_one_commit(stage: &impl Stage) {
    let (pull, head) = proposal(stage).await;
    let set = |state| stage.forge().set_status(&pull.head, status(state));
    assert!(set(StatusState::Pending).await.unwrap());
    assert!(!set(StatusState::Pending).await.unwrap());
    assert!(set(StatusState::Failure).await.unwrap());
    let failed = stage.forge().checks(&pull.head).await.unwrap().verdict(&[]);
    assert_eq!(failed, ChecksVerdict::Failed(vec!["tars/policy".to_owned()]));
    assert!(set(StatusState::Success).await.unwrap());
    assert!(!set(StatusState::Success).await.unwrap());
    let checks = stage.forge().checks(&pull.head).await.unwrap();
    assert_eq!((checks.all.len(), checks.all[0].by.as_str()), (1, BOT));
    assert_eq!(checks.verdict(&["tars/policy".to_owned()]), ChecksVerdict::Green);
    let missing = ChecksVerdict::Waiting(vec!["build".to_owned()]);
    assert_eq!(checks.verdict(&["build".to_owned()]), missing, "what nobody posted is not green");
    // The same words from somebody else are not ours, so ours is said again.
    stage.forge_status(&pull.head);
    assert!(set(StatusState::Success).await.unwrap());
    let moved = stage.push(head.as_str(), "more.yaml");
    assert!(stage.forge().checks(&moved).await.unwrap().all.is_empty());
}

pub(super) async fn a_review_is_asked_for_once_and_its_approval_is_of_one_commit(stage: &impl Stage) {
    let (pull, head) = proposal(stage).await;
    let reviews = async || stage.forge().reviews(pull.number).await.unwrap();
    for _ in 0..2 {
        stage.forge().request_review(pull.number, &[REVIEWER]).await.unwrap();
        let asked = reviews().await;
        assert_eq!((asked.len(), asked[0].verdict), (1, ReviewVerdict::Requested), "{asked:?}");
        assert_eq!(asked[0].by, REVIEWER);
    }
    stage.approve(&pull);
    let given = reviews().await;
    assert!(given.iter().any(|it| it.by == REVIEWER && it.approves(&pull.head)), "{given:?}");
    let moved = stage.push(head.as_str(), "more.yaml");
    let stale = reviews().await;
    assert!(!stale.iter().any(|it| it.approves(&moved)), "{stale:?}");
    let nobody = stage.forge().request_review(pull.number, &["nobody-of-this-name"]).await.unwrap_err();
    assert_eq!(nobody.outlook(), Outlook::Permanent, "{nobody:?}");
}

pub(super) async fn only_the_permitted_head_is_merged_and_only_once(stage: &impl Stage) {
    let (pull, head) = proposal(stage).await;
    let moved = stage.push(head.as_str(), "foreign.yaml");
    let stale = merge_when_ready(stage, &pull, &pull.head).await.unwrap_err();
    assert_eq!((stale.trouble, stale.status), (Trouble::Conflict, Some(409)), "{stale}");
    assert_eq!(stage.forge().read(pull.number).await.unwrap().state, PullState::Open);
    let merged = merge_when_ready(stage, &pull, &moved).await.unwrap();
    let main = ObjectId::new(stage.head("main")).unwrap();
    assert_eq!(merged.state, PullState::Merged(Some(main.clone())));
    assert_eq!((merged.merged_by.as_deref(), merged.closed_by), (Some(BOT), None));
    assert!(stage.way() != MergeMethod::FastForward || main == moved);
    assert_eq!(find(stage, &head).await.unwrap().state, PullState::Merged(Some(main)));
    assert_eq!(stage.head(head.as_str()), moved.as_str(), "its branch is tars' to delete");
    let again = merge(stage, &pull, &moved).await.unwrap_err();
    assert_eq!((again.trouble, again.status), (Trouble::NotReady, Some(405)), "{again}");
}

pub(super) async fn a_protected_branch_waits_for_its_approval_and_its_check(stage: &impl Stage) {
    let (pull, _) = proposal(stage).await;
    stage.protect();
    let rule = stage.forge().protection(&branch("main")).await.unwrap().unwrap();
    assert!(rule.is_protected && rule.may_merge && rule.required_checks.len() == 1, "{rule:?}");
    stage.settle(pull.number).await;
    let early = merge(stage, &pull, &pull.head).await.unwrap_err();
    assert_eq!((early.trouble, early.status), (Trouble::NotReady, Some(405)), "{early}");
    stage.approve(&pull);
    let unchecked = merge(stage, &pull, &pull.head).await.unwrap_err();
    assert_eq!(unchecked.trouble, Trouble::NotReady, "{unchecked}");
    stage.pass_check(&pull);
    let checks = stage.forge().checks(&pull.head).await.unwrap();
    assert_eq!(checks.verdict(&rule.required_checks), ChecksVerdict::Green);
    let merged = merge_when_ready(stage, &pull, &pull.head).await.unwrap();
    assert!(matches!(merged.state, PullState::Merged(Some(_))), "{merged:?}");
}

pub(super) async fn a_no_says_what_failed_and_what_to_do_and_never_the_token(stage: &impl Stage) {
    let (pull, _) = proposal(stage).await;
    let (wrong, narrow_token) = (stage.wrong_token(), stage.narrow_token());
    let unknown = stage.with_token(wrong, None).whoami().await.unwrap_err();
    let elsewhere = stage.with_token(&stage.keepers_token(), Some("no-such"));
    let missing = elsewhere.repository().await.unwrap_err();
    let narrow = stage.with_token(&narrow_token, None);
    let forbidden = narrow.comment(pull.number, Marker::Explanation, "x").await.unwrap_err();
    for (error, trouble, status, hint) in [
        (&unknown, Trouble::Unauthenticated, 401, "make a new one"),
        (&missing, Trouble::Missing, 404, "forge.repository"),
        (&forbidden, Trouble::Forbidden, 403, "scopes"),
    ] {
        assert_eq!((error.trouble, error.status), (trouble, Some(status)), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
        let text = format!("{} {error:?} {narrow:?}", causes(error));
        assert!(text.contains("could not ") && text.contains(&status.to_string()), "{text}");
        for secret in [wrong, &stage.keepers_token(), &narrow_token] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert!(!forbidden.said.is_empty(), "{forbidden}");
}
