//! `tars label`: what became of proposals, as labels of recorded series. A clone and a folder come in, labels are
//! written. What nobody judged is not touched.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::failure::{Failure, Kind};
use super::history::Ledger;
use super::output::{Console, Piece, Table, rfc3339};
use super::record::{file_of, load, save};
use super::sourcing::LabelArgs;
use crate::model::action::{ActionState, Purpose, RemediationAction};
use crate::model::reason::ReasonCode;
use crate::model::signal::SignalKey;
use crate::model::verdict::Outcome;

/// What one action says about its signals.
#[derive(Debug, Clone, PartialEq)]
struct Judgement {
    signals: BTreeSet<SignalKey>,
    from: Timestamp,
    to: Timestamp,
    label: bool,
    why: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    action: String,
    file: String,
    label: u8,
    from: String,
    to: String,
    rows: usize,
    why: &'static str,
}

/// Labels the recorded series.
///
/// # Errors
/// When there is no ledger or no recording.
pub fn run(args: &LabelArgs, console: &Console) -> Result<(), Failure> {
    let ledger = Ledger::of(&args.look, console)?;
    let mut recorded = load(&args.folder)?;
    if recorded.is_empty() {
        return Err(Failure::new(Kind::No, format!("{} has no series", args.folder.display()))
            .hint("tars record DIR saves them"));
    }
    let mut judged: Vec<(&RemediationAction, Judgement)> =
        ledger.actions.values().filter_map(|it| Some((it, judgement(it)?))).collect();
    // What was judged later counts where two overlap.
    judged.sort_by_key(|(_, it)| it.to);
    let (mut lines, mut changed) = (Vec::new(), BTreeMap::new());
    for (action, it) in judged {
        for key in &it.signals {
            let file = file_of(key);
            let Some((_, labelled)) = recorded.get_mut(&file) else { continue };
            let rows = labelled.mark((it.from.as_second(), it.to.as_second()), it.label);
            *changed.entry(file.clone()).or_insert(0) += rows;
            lines.push(Line {
                action: action.id().to_string(),
                file,
                label: u8::from(it.label),
                from: rfc3339(it.from),
                to: rfc3339(it.to),
                rows,
                why: it.why,
            });
        }
    }
    if !args.dry_run {
        let files = changed.iter().filter(|it| *it.1 > 0).map(|it| it.0.as_str());
        save(&args.folder, &recorded, files)?;
    }
    let row = |it: &Line| -> Vec<Piece> {
        let label = it.label.to_string();
        let cells = [&it.action, &it.file, &label, &it.from, &it.to, &it.rows.to_string(), it.why];
        cells.map(|it| Piece::from(it.to_owned())).to_vec()
    };
    let table = Table {
        headers: vec!["ACTION", "FILE", "LABEL", "FROM", "TO", "ROWS CHANGED", "WHY"],
        wide: 1,
        rows: lines.iter().map(row).collect(),
    };
    let names: Vec<String> = lines.iter().map(|it| format!("{} {}", it.action, it.file)).collect();
    console.list(&table, &names, &lines, "no action says anything about the recorded series")
}

/// An undo says nothing: its cause is the action before it. Neither does an answer to a forecast: what it was about had not
/// happened, and with the remedy may never have. Of an action that did not help nobody knows whether the anomaly or the
/// remedy was wrong.
fn judgement(action: &RemediationAction) -> Option<Judgement> {
    let (spec, status) = (&action.spec, &action.status);
    if spec.purpose != Purpose::Remediate || !spec.cause.forecasts.is_empty() {
        return None;
    }
    let from = spec.cause.since;
    let recovered = status.verdict.as_ref().filter(|it| it.outcome == Outcome::Recovered);
    let by_person = action.state() == ActionState::Closed
        && status.holds.iter().any(|hold| hold.code == ReasonCode::ClosedByPerson);
    let (to, label, why) = if let Some(verdict) = recovered {
        (status.synced_at.unwrap_or(verdict.judged_at), true, "merged, and the signal recovered")
    } else if by_person {
        (status.timeline.last()?.at, false, "a person closed the proposal")
    } else {
        return None;
    };
    let mut signals: BTreeSet<SignalKey> = spec.cause.anomalies.iter().map(|it| it.key.clone()).collect();
    if signals.is_empty() {
        signals.insert(spec.verify.signal.clone());
    }
    Some(Judgement { signals, from, to, label, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::anomaly::Score;
    use crate::model::fixtures::{at, proposed, signal, target};
    use crate::model::forecast::{Crossing, Forecast};
    use crate::model::reason::Reason;
    use crate::model::verdict::Verdict;

    fn ended(outcome: Option<Outcome>, state: ActionState, hold: Option<ReasonCode>) -> RemediationAction {
        let mut it = proposed("p", &target("shop/Deployment/web"), 1, at(0));
        it.spec.cause.since = at(0);
        it.spec.cause.anomalies.clear();
        it.status.synced_at = outcome.map(|_| at(300));
        it.status.verdict = outcome.map(|outcome| Verdict {
            outcome,
            before: None,
            after: None,
            samples_before: 0,
            samples_after: 0,
            judged_at: at(900),
            text: String::new(),
        });
        it.status.holds = hold.map(|code| Reason::new(code, "x")).into_iter().collect();
        it.enter(state, at(600), "x");
        it
    }

    #[test]
    fn only_what_was_judged_labels_anything() {
        let of = |it: &RemediationAction| judgement(it).map(|it| (it.from, it.to, it.label));
        let helped = ended(Some(Outcome::Recovered), ActionState::Verified, None);
        assert_eq!(of(&helped), Some((at(0), at(300), true)));
        let wrong = ended(None, ActionState::Closed, Some(ReasonCode::ClosedByPerson));
        assert_eq!(of(&wrong), Some((at(0), at(600), false)));
        for silent in [
            ended(Some(Outcome::NotRecovered), ActionState::NotRecovered, None),
            ended(Some(Outcome::Unknown), ActionState::Unknown, None),
            ended(None, ActionState::Closed, Some(ReasonCode::SignalRecovered)),
            ended(None, ActionState::Proposed, None),
        ] {
            assert_eq!(of(&silent), None, "{:?}", silent.state());
        }
        let mut undo = helped;
        undo.spec.purpose = Purpose::Expire { of: undo.id().clone() };
        assert_eq!(of(&undo), None);
    }

    #[test]
    fn what_was_only_foreseen_labels_nothing() {
        let foreseen = Forecast {
            key: signal("web", "disk"),
            at: at(0),
            value: 80.0,
            crossing: Crossing::Above(90.0),
            within_s: 1_200,
            probability: Score::clamped(0.95),
            expected: 92.0,
            interval: (88.0, 96.0),
        };
        for mut it in [
            ended(Some(Outcome::Recovered), ActionState::Verified, None),
            ended(None, ActionState::Closed, Some(ReasonCode::ClosedByPerson)),
        ] {
            it.spec.cause.forecasts = vec![foreseen.clone()];
            assert_eq!(judgement(&it), None);
        }
    }

    #[test]
    fn the_signals_of_the_cause_are_labelled_or_else_that_of_the_verification() {
        let mut it = ended(Some(Outcome::Recovered), ActionState::Verified, None);
        assert_eq!(judgement(&it).unwrap().signals, BTreeSet::from([it.spec.verify.signal.clone()]));
        let key = signal("web", "errors");
        it.spec.cause.anomalies = vec![crate::model::fixtures::anomaly(key.clone(), 0.9, at(0))];
        assert_eq!(judgement(&it).unwrap().signals, BTreeSet::from([key]));
    }
}
