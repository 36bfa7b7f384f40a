//! Checks of a commit as GitLab has them: jobs and statuses one by one, and the pipelines they belong to, each of which
//! becomes one check called `pipeline`. Answers of the API come in, one list of checks goes out.
//!
//! GitLab puts a status that tars posts into the newest pipeline of the commit, and makes one of nothing else where
//! there is none. Such a pipeline must neither prove anything to tars nor hold it up, so tars' own statuses are taken
//! out of what a pipeline says.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::json;

use super::error::ForgeError;
use super::gitlab::GitLab;
use super::gitlab_wire::{self as wire, WireStatus};
use super::reply::decoded;
use super::{Status, StatusState};
use crate::model::forge::{BRANCH_PREFIX, Check, CheckState, Checks};
use crate::model::ids::ObjectId;
use crate::outside::http::Method;

/// The check that stands for a whole pipeline.
pub(super) const PIPELINE: &str = "pipeline";
/// Most pipelines of one commit that are looked at: the newest ones.
const PIPELINES_MAX: usize = 100;
/// Longest description of a status, characters.
const DESCRIPTION_CHARS_MAX: usize = 255;

impl GitLab {
    async fn statuses(&self, what: &'static str, head: &ObjectId) -> Result<Vec<WireStatus>, ForgeError> {
        let mut all = Vec::new();
        let mut is_of_another = false;
        let rest = ["repository", "commits", head.as_str(), "statuses"];
        self.each::<WireStatus>(what, (&rest, &[]), |it| {
            is_of_another |= it.sha != head.as_str();
            all.push(it);
            ControlFlow::Continue(())
        })
        .await?;
        if is_of_another {
            return Err(ForgeError::unreadable(what, "it is about another commit", true));
        }
        Ok(newest(all))
    }

    /// The newest pipeline of every ref that has this commit at its head.
    async fn pipelines(
        &self,
        what: &'static str,
        head: &ObjectId,
    ) -> Result<Vec<wire::Pipeline>, ForgeError> {
        let query = [("sha", head.as_str()), ("order_by", "id"), ("sort", "desc")];
        let mut newest: BTreeMap<String, wire::Pipeline> = BTreeMap::new();
        let mut count = 0;
        let listed = self
            .each::<wire::Pipeline>(what, (&["pipelines"], &query), |it| {
                count += 1;
                if it.sha == head.as_str() {
                    newest.entry(it.reference.clone()).or_insert(it);
                }
                if count < PIPELINES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .await;
        match listed {
            // The project has no pipelines, or shows them to nobody.
            Err(error) if matches!(error.status, Some(403 | 404)) => return Ok(Vec::new()),
            listed => listed?,
        }
        let mut whole = Vec::new();
        for it in newest.into_values() {
            // Only the pipeline itself says whose it is.
            whole.push(self.read_as(what, &["pipelines", &it.id.to_string()]).await?);
        }
        Ok(whole)
    }

    pub(super) async fn all_checks(&self, head: &ObjectId) -> Result<Checks, ForgeError> {
        let what = "read the checks";
        let me = self.account().await?;
        // First the sums, then the parts: a pipeline that goes on in between is seen as it was, not better.
        let pipelines = self.pipelines(what, head).await?;
        let statuses = self.statuses(what, head).await?;
        let sums = pipelines.iter().filter_map(|it| pipeline_check(it, &statuses, &me.username));
        let all = sums.chain(statuses.iter().map(WireStatus::check)).collect();
        Ok(Checks { head: head.clone(), all })
    }

    pub(super) async fn post_status(&self, head: &ObjectId, status: Status<'_>) -> Result<bool, ForgeError> {
        let what = "set the status";
        let me = self.account().await?;
        let state = match status.state {
            StatusState::Pending => "pending",
            StatusState::Success => "success",
            StatusState::Failure => "failed",
        };
        let description: String = status.description.chars().take(DESCRIPTION_CHARS_MAX).collect();
        let url = status.url.unwrap_or_default();
        let said_already = self.statuses(what, head).await?.iter().any(|it| {
            let is_ours = it.is_by(&me.username) && it.name == status.context && it.status == state;
            // GitLab refuses to say the same again of what has not ended, whatever the words.
            is_ours && (state == "pending" || (it.description() == description && it.target_url() == url))
        });
        if said_already {
            return Ok(false);
        }
        let mut body = json!({ "name": status.context, "state": state, "description": description });
        if !url.is_empty() {
            body["target_url"] = json!(url);
        }
        // The newest of a name counts: the same one twice is the same one.
        let reply = self.write(what, (Method::Post, &["statuses", head.as_str()]), &body, true).await?;
        decoded::<WireStatus>(what, &reply, false).map(|_| true)
    }
}

/// The newest word of each name on each ref.
fn newest(all: Vec<WireStatus>) -> Vec<WireStatus> {
    let mut newest: BTreeMap<(String, String), WireStatus> = BTreeMap::new();
    for it in all {
        let key = (it.name.clone(), it.reference.clone());
        if newest.get(&key).is_none_or(|known| known.id < it.id) {
            newest.insert(key, it);
        }
    }
    newest.into_values().collect()
}

/// What a pipeline says without tars' own part of it; `None`: tars' part is all there is.
fn pipeline_check(it: &wire::Pipeline, statuses: &[WireStatus], me: &str) -> Option<Check> {
    let parts = statuses.iter().filter(|part| part.pipeline_id == Some(it.id));
    let (own, others): (Vec<&WireStatus>, Vec<&WireStatus>) =
        parts.partition(|part| part.name.starts_with(BRANCH_PREFIX) && part.is_by(me));
    let said = wire::check_state(&it.status);
    let state = if own.is_empty() {
        said
    } else if others.is_empty() {
        if it.is_external() {
            return None;
        }
        said
    } else if said != CheckState::Success && others.iter().all(|part| part.is_no_obstacle()) {
        // Nothing but tars' own word keeps it from being green.
        CheckState::Success
    } else {
        said
    };
    Some(Check {
        context: PIPELINE.to_owned(),
        state,
        description: format!("{} ({})", it.status, it.source),
        by: it.by(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn pipeline(status: &str, source: &str) -> wire::Pipeline {
        let it = json!({ "id": 7, "sha": "c", "ref": "tars/x", "status": status, "source": source,
            "user": { "id": 1, "username": "ci" } });
        serde_json::from_value(it).unwrap()
    }

    fn part(name: &str, by: &str, status: &str, more: &Value) -> WireStatus {
        let mut it = json!({ "id": 1, "sha": "c", "ref": "tars/x", "status": status, "name": name,
            "author": { "id": 1, "username": by }, "pipeline_id": 7 });
        it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(it).unwrap()
    }

    fn state(of: &wire::Pipeline, parts: &[WireStatus]) -> Option<CheckState> {
        pipeline_check(of, parts, "tars-bot").map(|it| it.state)
    }

    #[test]
    fn a_pipeline_of_our_own_statuses_proves_nothing() {
        let own = part("tars/policy", "tars-bot", "success", &json!({}));
        assert_eq!(state(&pipeline("success", "external"), &[own]), None);
        let forged = part("tars/policy", "somebody", "success", &json!({}));
        assert_eq!(state(&pipeline("success", "external"), &[forged]), Some(CheckState::Success));
    }

    #[test]
    fn our_own_status_does_not_hold_up_a_pipeline_that_is_green_without_it() {
        let own = || part("tars/policy", "tars-bot", "pending", &json!({}));
        let build = |status| part("build", "ci", status, &json!({}));
        let optional = part("flaky", "ci", "failed", &json!({ "allow_failure": true }));
        let running = pipeline("running", "push");
        assert_eq!(state(&running, &[own(), build("success"), optional]), Some(CheckState::Success));
        assert_eq!(state(&running, &[own(), build("running")]), Some(CheckState::Pending));
        let failed = pipeline("failed", "push");
        assert_eq!(state(&failed, &[own(), build("failed")]), Some(CheckState::Failure));
        // Its jobs are not to be seen, so its own word is all there is.
        assert_eq!(state(&failed, &[own()]), Some(CheckState::Failure));
    }

    #[test]
    fn only_the_newest_word_of_a_name_on_a_ref_counts() {
        let old = part("build", "ci", "failed", &json!({ "id": 3 }));
        let new = part("build", "ci", "success", &json!({ "id": 9 }));
        let elsewhere = part("build", "ci", "failed", &json!({ "id": 4, "ref": "other" }));
        let kept: Vec<u64> = newest(vec![new, old, elsewhere]).iter().map(|it| it.id).collect();
        assert_eq!(kept, [4, 9]);
    }
}
