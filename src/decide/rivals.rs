//! When tars gives way. Changes of others to the same field come in, reasons to hold go out.

use crate::model::playbook::Plan;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::rival::{Rival, RivalPlace};

/// A change of somebody else on the watched branch counts for this long, in seconds: as long as the cooldown
/// after a change of our own.
pub const RECENT_S: i64 = 900;

/// Most rivals named; one is enough to hold.
const NAMED_MAX: usize = 3;

/// Why `plan` waits for others, empty when it need not. A release of a moment ago is what a rollback is there
/// for, so only an open branch holds one.
#[must_use]
pub fn yields(rivals: &[Rival], plan: &Plan) -> Vec<Reason> {
    let answers_a_release = matches!(plan, Plan::Images { .. } | Plan::PodTemplate { .. });
    let counts = |it: &&Rival| !(answers_a_release && it.place == RivalPlace::WatchedBranch);
    rivals.iter().filter(counts).take(NAMED_MAX).map(reason).collect()
}

fn reason(rival: &Rival) -> Reason {
    let Rival { place, commit, file, field, to } = rival;
    let to = to.as_deref().unwrap_or("something else");
    let text = match place {
        RivalPlace::Branch(name) => {
            format!("branch {name} ({}) sets {field} in {file} to {to}", commit.short())
        }
        RivalPlace::WatchedBranch => {
            let minutes = RECENT_S / 60;
            format!("{} set {field} in {file} to {to} within the last {minutes} minutes", commit.short())
        }
    };
    Reason::new(ReasonCode::YieldsToOthers, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::oid;
    use crate::model::ids::RepoPath;

    fn rival(place: RivalPlace) -> Rival {
        let file = RepoPath::new("apps/backend.yaml").unwrap();
        Rival { place, commit: oid('a'), file, field: "spec.replicas".to_owned(), to: Some("7".to_owned()) }
    }

    #[test]
    fn every_rival_holds_a_scaling_and_is_named() {
        let plan = Plan::Scale { from: 3, to: 5, autoscaler: None };
        assert!(yields(&[], &plan).is_empty());
        let both =
            [rival(RivalPlace::Branch("renovate/backend".to_owned())), rival(RivalPlace::WatchedBranch)];
        let reasons = yields(&both, &plan);
        assert_eq!(reasons.len(), 2);
        assert!(reasons.iter().all(|it| it.code == ReasonCode::YieldsToOthers));
        let text = "branch renovate/backend (aaaaaaa) sets spec.replicas in apps/backend.yaml to 7";
        assert_eq!(reasons[0].text, text);
        assert!(reasons[1].text.ends_with("to 7 within the last 15 minutes"), "{}", reasons[1].text);
    }

    #[test]
    fn a_fresh_release_does_not_hold_the_rollback_that_answers_it() {
        let plan = Plan::PodTemplate { good: oid('b') };
        assert!(yields(&[rival(RivalPlace::WatchedBranch)], &plan).is_empty());
        assert_eq!(yields(&[rival(RivalPlace::Branch("update/backend".to_owned()))], &plan).len(), 1);
    }

    #[test]
    fn a_crowd_of_rivals_is_told_in_three_lines() {
        let crowd = vec![rival(RivalPlace::WatchedBranch); 50];
        assert_eq!(yields(&crowd, &Plan::Scale { from: 3, to: 5, autoscaler: None }).len(), NAMED_MAX);
    }
}
