//! Labels: which are ours, and how they stand beside those of people. Records or label names come in, names go out;
//! `tars/hold` belongs to people and is neither set nor taken away.

use std::collections::BTreeSet;

use crate::model::action::{ActionState, RemediationAction};
use crate::render::text;

/// On every pull request of tars.
const OURS: &str = "tars";
/// People merge this one.
const NEEDS_HUMAN: &str = "tars/needs-human";
const RISK: &str = "tars/risk:";
const ACTION: &str = "tars/action:";

/// Everything of a pull request that tars writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PullText {
    pub title: String,
    pub body: String,
    pub labels: BTreeSet<String>,
}

impl PullText {
    /// The labels that the pull request should have: ours as they are now, and of those that stand there already every
    /// one that is not ours.
    #[must_use]
    pub fn labels_beside(&self, there: &BTreeSet<String>) -> BTreeSet<String> {
        let of_people = there.iter().filter(|label| !is_ours(label)).cloned();
        self.labels.iter().cloned().chain(of_people).collect()
    }
}

fn is_ours(label: &str) -> bool {
    label == OURS || label == NEEDS_HUMAN || label.starts_with(RISK) || label.starts_with(ACTION)
}

/// The labels of the pull request of these actions. The risk is that of the riskiest.
pub fn of(line: &[&RemediationAction]) -> BTreeSet<String> {
    let mut labels = BTreeSet::from([OURS.to_owned()]);
    labels.extend(line.iter().map(|it| format!("{ACTION}{}", it.spec.playbook.folder())));
    let risk = line.iter().map(|it| it.spec.risk.class).max();
    labels.extend(risk.map(|class| format!("{RISK}{}", text::risk_word(class))));
    if line.iter().any(|it| needs_human(it)) {
        labels.insert(NEEDS_HUMAN.to_owned());
    }
    labels
}

fn needs_human(record: &RemediationAction) -> bool {
    record.state() == ActionState::Proposed && !text::merges_itself(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::{Purpose, RiskClass};
    use crate::model::fixtures::{at, proposed, target};
    use crate::model::reason::{Reason, ReasonCode};

    fn set(labels: &[&str]) -> BTreeSet<String> {
        labels.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn a_person_is_asked_for_exactly_while_it_does_not_merge_by_itself() {
        let mut record = proposed("p", &target("shop/Deployment/backend"), 7, at(0));
        let plain = set(&["tars", "tars/action:scale-out", "tars/risk:low"]);
        let asking = set(&["tars", "tars/action:scale-out", "tars/needs-human", "tars/risk:low"]);
        assert_eq!(of(&[&record]), plain);
        record.status.holds = vec![Reason::new(ReasonCode::ChecksNotGreen, "build is running")];
        assert_eq!(of(&[&record]), plain, "nobody has to do anything");
        record.status.holds.push(Reason::new(ReasonCode::Frozen, "stopped"));
        assert_eq!(of(&[&record]), asking);
        record.status.state = ActionState::Verified;
        assert_eq!(of(&[&record]), plain);
        let mut revert = proposed("p", &target("shop/Deployment/backend"), 8, at(0));
        revert.spec.purpose = Purpose::Revert { of: record.id().clone() };
        assert_eq!(of(&[&revert]), asking);
        revert.spec.auto_revert = true;
        assert_eq!(of(&[&revert]), plain);
        revert.spec.risk.class = RiskClass::High;
        assert!(of(&[&record, &revert]).contains("tars/risk:high"));
    }

    #[test]
    fn labels_of_people_stay_and_ours_follow_the_record() {
        let record = proposed("p", &target("shop/Deployment/backend"), 7, at(0));
        let text = PullText { title: String::new(), body: String::new(), labels: of(&[&record]) };
        let there = set(&["tars", "tars/hold", "tars/needs-human", "tars/risk:high", "bug", "tars/custom"]);
        let wanted =
            set(&["tars", "tars/hold", "tars/risk:low", "tars/action:scale-out", "bug", "tars/custom"]);
        assert_eq!(text.labels_beside(&there), wanted);
    }
}
