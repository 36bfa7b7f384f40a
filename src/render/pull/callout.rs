//! What a reviewer reads first: where the action stands and what, if anything, is asked. A record comes in, a level
//! and two short texts of one line go out, not escaped yet.

use crate::model::action::{ActionState, RemediationAction};
use crate::model::policy::Mode;
use crate::model::reason::{Reason, ReasonCode};
use crate::render::text;

/// The box at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callout {
    /// `NOTE`, `TIP`, `IMPORTANT`, `WARNING` or `CAUTION`.
    pub level: &'static str,
    pub title: String,
    pub text: String,
}

fn callout(level: &'static str, title: &str, text: &str) -> Callout {
    Callout { level, title: title.to_owned(), text: sentence(text) }
}

/// The box for the record as it is now.
pub fn of(record: &RemediationAction) -> Callout {
    use ActionState as S;
    let told = || record.status.verdict.as_ref().map_or("", |verdict| verdict.text.as_str());
    let why = || record.status.holds.first().map_or("", |hold| hold.text.as_str());
    if let (Some(hold), false) = (held(record, &[ReasonCode::ForeignTree]), record.state() == S::Proposed) {
        return callout("CAUTION", "Somebody has to look: this is not what was computed.", &hold.text);
    }
    let undo = record.status.undone_by.as_ref().map_or_else(String::new, |id| format!("Undone by {id}"));
    match record.state() {
        S::Observed => callout("NOTE", "Only watched.", "The policy observes: nothing was written"),
        S::Proposed => waiting(record),
        S::MergeReserved => callout(
            "NOTE",
            "Merging.",
            "Its budget is taken and everything is read once more before the merge",
        ),
        S::Merged => {
            let text = format!("{}; waiting until the cluster has it", bare(&text::who(record)));
            callout("NOTE", "Merged.", &text)
        }
        S::Synced => {
            let at =
                record.status.synced_at.map_or_else(String::new, |at| format!(" since {}", text::clock(at)));
            callout(
                "NOTE",
                "In the cluster; watching whether it helps.",
                &format!("Synced{at}. Recovered means {}", text::verify(record)),
            )
        }
        S::Verified => callout("TIP", "Recovered.", told()),
        S::NotRecovered => callout("WARNING", "It did not help.", told()),
        S::Worse => callout("CAUTION", "It made things worse.", told()),
        S::Unknown => callout("WARNING", "Nobody can tell whether it helped.", told()),
        S::Reverted => callout("NOTE", "Taken back, because it did not help.", &undo),
        S::Expired => callout("NOTE", "Taken back, because it is no longer needed.", &undo),
        S::Closed => closed(record, why()),
    }
}

fn closed(record: &RemediationAction, why: &str) -> Callout {
    let title = match record.status.holds.first().map(|hold| hold.code) {
        Some(ReasonCode::SignalRecovered) => "No longer needed.",
        Some(ReasonCode::ClosedByPerson | ReasonCode::Snoozed) => "Closed by a person.",
        _ => "Closed without merging.",
    };
    callout("NOTE", title, why)
}

fn held<'a>(record: &'a RemediationAction, codes: &[ReasonCode]) -> Option<&'a Reason> {
    record.status.holds.iter().find(|hold| codes.contains(&hold.code))
}

fn waiting(record: &RemediationAction) -> Callout {
    use ReasonCode as C;
    let held = |codes: &[ReasonCode]| held(record, codes);
    if let Some(hold) = held(&[C::SignalRecovered]) {
        return callout("NOTE", "No longer needed.", &hold.text);
    }
    // What a person did comes before what a count says: they know it, and look for the answer to it.
    if let Some(hold) = held(&[C::HumanCommits]) {
        let text = format!("{}. tars does not touch this branch any more", bare(&hold.text));
        return callout("IMPORTANT", "Yours now.", &text);
    }
    if let Some(hold) = held(&[C::HeldByPerson]) {
        let text = format!(
            "{}. It goes on when the label tars/hold is off, or after /tars unhold",
            bare(&hold.text)
        );
        return callout("IMPORTANT", "Held by a person.", &text);
    }
    if let Some(hold) = held(&[C::BudgetExhausted, C::GlobalBudgetExhausted, C::TooManyOpenProposals]) {
        let text = format!("{}{}. You may still merge", bare(&hold.text), next_slot(record));
        return callout("WARNING", "Not merging by itself: budget used up.", &text);
    }
    let holds = &record.status.holds;
    let asking = holds.iter().find(|hold| !text::passes_by_itself(hold.code));
    match asking.or(holds.first()) {
        Some(hold) => {
            let (level, title) = title_of(hold);
            callout(level, title, &hold.text)
        }
        None if text::merges_itself(record) => callout(
            "NOTE",
            "Merges itself.",
            "Low risk and inside its budgets; it waits for its checks. Close this to stop it",
        ),
        None if record.spec.mode == Mode::AutoMerge => {
            let risk = &record.spec.risk;
            let text = format!("{} risk: {}", text::risk_word(risk.class), risk.reason);
            callout("IMPORTANT", "Waiting for you.", &text)
        }
        None => callout("IMPORTANT", "Waiting for you.", "The policy lets people merge"),
    }
}

fn title_of(hold: &Reason) -> (&'static str, &'static str) {
    use ReasonCode as C;
    match hold.code {
        C::Frozen => ("WARNING", "Not merging by itself: everything is stopped."),
        C::PolicySuspended => ("WARNING", "Not merging by itself: the policy is suspended."),
        C::Cooldown => ("WARNING", "Not merging by itself: too soon after the last action."),
        C::ChecksNotGreen => ("NOTE", "Merges itself when its checks are green."),
        C::PullRequestMissing => ("NOTE", "Merges itself."),
        C::ChangesRequested => ("IMPORTANT", "Waiting for you: a review asks for changes."),
        C::ApprovalsMissing => ("IMPORTANT", "Waiting for you: an approval is missing."),
        C::PullRequestAltered => ("IMPORTANT", "Yours now."),
        C::TokenTooStrong => ("WARNING", "Not merging by itself: the token of tars may do too much."),
        C::BranchUnprotected => ("WARNING", "Not merging by itself: the branch is not protected."),
        C::MergeRefused => ("WARNING", "Not merging by itself: the forge refuses."),
        C::ForeignTree => ("CAUTION", "Somebody has to look: this is not what was computed."),
        C::ClockUntrusted
        | C::LedgerUntrusted
        | C::RemoteUnreachable
        | C::ForgeUnreachable
        | C::DetectorLost => ("WARNING", "Not merging by itself: tars is not sure enough."),
        C::EvidenceStale | C::SignalMissing | C::LowConfidence | C::WarmingUp => {
            ("WARNING", "Not merging by itself: the evidence is not good enough.")
        }
        C::BaseMoved | C::PolicyChanged => ("NOTE", "Being looked at again: the repository moved."),
        C::YieldsToOthers => ("IMPORTANT", "Somebody else changes the same field."),
        C::VerificationFailed => ("WARNING", "It did not help."),
        _ => ("IMPORTANT", "Waiting for you."),
    }
}

/// `; the next slot is free at 2026-11-23T14:00Z`: of the budget that frees last, because all must have room.
fn next_slot(record: &RemediationAction) -> String {
    let latest = record.spec.budget.iter().filter_map(|it| it.next_free).max();
    latest.map_or_else(String::new, |at| format!("; the next slot is free at {}", text::clock(at)))
}

fn bare(text: &str) -> &str {
    text.trim_end_matches('.')
}

/// With a full stop, and with a capital letter unless it begins with a name.
fn sentence(text: &str) -> String {
    let text = bare(text.trim());
    let word = text.split(' ').next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        None => String::new(),
        Some(first) if word.chars().all(char::is_alphabetic) => {
            format!("{}{}.", first.to_uppercase(), letters.as_str())
        }
        Some(_) => format!("{text}."),
    }
}
