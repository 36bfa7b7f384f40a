//! The few comments that tars writes under a pull request: why it was closed, what became of its branch or its audit,
//! and the whole decision when somebody asks. A record comes in, bounded Markdown goes out. What a comment hides to be
//! found again is the forge adapter's business.

use super::escape::{code_within, fence, fenced, inline};
use super::{commit_text, text};
use crate::model::action::RemediationAction;
use crate::model::forge::ForgeCapabilities;
use crate::model::ids::ObjectId;
use crate::model::playbook::PlaybookName;
use crate::model::reason::{Reason, ReasonCode};

/// Most rows of any list.
const MAX_ROWS: usize = 20;
/// Longest code span, characters.
const MAX_CODE_CHARS: usize = 120;
/// Longest list of trailers shown, bytes.
const MAX_TRAILER_BYTES: usize = 4 << 10;

/// What there is to say.
#[derive(Debug, Clone, Copy)]
pub enum Comment<'a> {
    /// Why it was closed without a merge, from the record's first hold.
    Closed,
    /// The branch carries a commit of somebody else.
    ForeignCommit { commit: &'a ObjectId },
    /// The merged commit lost these trailers.
    TrailersDropped { keys: &'a [&'a str] },
    /// The decision; only the row of one playbook when it is asked about.
    Explanation { why_not: Option<PlaybookName> },
}

/// The text of a comment, never longer than the forge takes.
#[must_use]
pub fn comment(record: &RemediationAction, what: Comment<'_>, caps: &ForgeCapabilities) -> String {
    let sections = match what {
        Comment::Closed => vec![closed(record)],
        Comment::ForeignCommit { commit } => vec![format!(
            "`{}` is not a commit of tars, so this branch is yours now: tars neither changes it nor merges it any \
             more. If you merge it, tars still watches whether it helped.",
            commit.short()
        )],
        Comment::TrailersDropped { keys } => dropped(record, keys),
        Comment::Explanation { why_not: Some(playbook) } => vec![why_not(record, playbook)],
        Comment::Explanation { why_not: None } => explanation(record),
    };
    joined(&sections, record, caps)
}

/// As many sections as fit, in their order; the rest is told by the command line.
fn joined(sections: &[String], record: &RemediationAction, caps: &ForgeCapabilities) -> String {
    let foot = format!("\n`tars explain {}` tells the rest.\n", record.id());
    let mut out = String::new();
    for section in sections.iter().filter(|it| !it.is_empty()) {
        let chars = out.chars().count() + section.chars().count() + foot.chars().count() + 2;
        if chars > caps.body_chars_max {
            out.push_str(&foot);
            break;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(section);
        out.push('\n');
    }
    out
}

fn closed(record: &RemediationAction) -> String {
    use ReasonCode as C;
    const NOTHING: &str = "Closed without merging; nothing was changed.";
    let Some(hold) = record.status.holds.first() else { return NOTHING.to_owned() };
    let why = inline(hold.text.trim_end_matches('.'));
    match hold.code {
        C::SignalRecovered => format!("No longer needed: {why}. {NOTHING}"),
        C::YieldsToOthers | C::ProposalOpen => format!("Superseded: {why}. {NOTHING}"),
        C::BaseMoved => format!("The repository moved under this change: {why}. {NOTHING}"),
        C::PolicyChanged => format!("Its policy allows it no more: {why}. {NOTHING}"),
        C::Snoozed | C::ClosedByPerson => {
            format!(
                "Closed as asked: {why}. The same cause stays quiet for 24 h, then it may be proposed again."
            )
        }
        code => format!("{}: {why}. {NOTHING}", code.as_str()),
    }
}

fn dropped(record: &RemediationAction, keys: &[&str]) -> Vec<String> {
    let names: Vec<String> =
        keys.iter().take(MAX_ROWS).map(|key| format!("`{}`", code_within(key, MAX_CODE_CHARS))).collect();
    let trailers = fenced(&commit_text::trailer_lines(record), MAX_TRAILER_BYTES);
    let mark = fence(&trailers);
    vec![
        format!(
            "The merge kept the change, but its commit message lost {}: a squash with a message of its own does \
             that. The audit is not complete in this branch's history; the ledger has it whole.",
            names.join(", ")
        ),
        format!("{mark}text\n{trailers}{mark}"),
        "To keep them next time, merge without squashing, or let the forge take the commit's own message."
            .into(),
    ]
}

fn explanation(record: &RemediationAction) -> Vec<String> {
    let chosen = format!("**{}** {}.", inline(&text::what(record)), inline(&text::why(record)));
    let stand = format!("It is {}. {}", record.state().as_str(), inline(&text::who(record)));
    vec![
        format!("{chosen} {stand}"),
        models(record),
        candidates(record, &record.spec.rejected.iter().collect::<Vec<_>>()),
        guards(&record.status.holds),
        budgets(record),
        format!(
            "Recovered means {}. To undo it: {}.",
            inline(&text::verify(record)),
            inline(&text::undo(record))
        ),
    ]
}

fn why_not(record: &RemediationAction, playbook: PlaybookName) -> String {
    let name = playbook.as_str();
    let rows: Vec<_> = record.spec.rejected.iter().filter(|(it, _)| *it == playbook).collect();
    match rows.is_empty() {
        false => format!("Why not {name}:\n\n{}", table(&rows)),
        true if playbook == record.spec.playbook => {
            format!("{name} is what was chosen: {}.", inline(&text::why(record)))
        }
        true => format!("{name} was not considered: policy `{}` does not list it.", record.spec.policy),
    }
}

fn models(record: &RemediationAction) -> String {
    let mut rows = String::new();
    for anomaly in record.spec.cause.anomalies.iter().take(MAX_ROWS) {
        let signal = inline(&anomaly.key.to_string());
        for model in anomaly.models.iter().take(MAX_ROWS) {
            rows.push_str(&format!(
                "| {signal} | {} | {} | {:.0} % | {} |\n",
                model.model.as_str(),
                text::score(model.score.get()),
                model.weight.clamp(0.0, 1.0) * 100.0,
                inline(&model.evidence)
            ));
        }
        rows.push_str(&format!(
            "| {signal} | **together** | **{}** | | confidence {}{}{} |\n",
            text::score(anomaly.score.get()),
            text::score(anomaly.confidence.get()),
            if anomaly.warming_up { ", still warming up" } else { "" },
            anomaly.episode.map_or_else(String::new, |it| format!("; {it}"))
        ));
    }
    match rows.is_empty() {
        true => String::new(),
        false => {
            format!(
                "#### Scores\n\n| Signal | Model | Score | Weight | What it saw |\n|---|---|---|---|---|\n{rows}"
            )
        }
    }
}

fn candidates(record: &RemediationAction, rejected: &[&(PlaybookName, Reason)]) -> String {
    let chosen =
        format!("| {} | **chosen** | {} |\n", record.spec.playbook.as_str(), inline(&text::why(record)));
    format!("#### Actions that were considered\n\n{}{chosen}", table(rejected))
}

fn table(rejected: &[&(PlaybookName, Reason)]) -> String {
    let mut out = "| Action | Verdict | Reason |\n|---|---|---|\n".to_owned();
    for (playbook, reason) in rejected.iter().take(MAX_ROWS) {
        let (name, code) = (playbook.as_str(), reason.code.as_str());
        out.push_str(&format!(
            "| {name} | {code} | {} ({}) |\n",
            inline(&reason.text),
            reason.code.meaning().trim_end_matches('.')
        ));
    }
    out
}

fn guards(holds: &[Reason]) -> String {
    if holds.is_empty() {
        return "#### Guards\n\nNone of them stands against it.\n".into();
    }
    let line = |hold: &Reason| {
        format!("- `{}` {}. {}\n", hold.code.as_str(), inline(bare(&hold.text)), hold.code.meaning())
    };
    format!("#### Guards\n\n{}", holds.iter().take(MAX_ROWS).map(line).collect::<String>())
}

fn budgets(record: &RemediationAction) -> String {
    if record.spec.budget.is_empty() {
        return String::new();
    }
    let line = |it: &crate::model::limits::BudgetUse| {
        let free = it.next_free.map_or_else(|| "now".to_owned(), text::clock);
        format!("| {} | {} | {} | {free} |\n", inline(&it.name), it.used, it.limit)
    };
    let rows: String = record.spec.budget.iter().take(MAX_ROWS).map(line).collect();
    format!(
        "#### Budgets, if it merges\n\n| Budget | Used | Limit | Next free slot |\n|---|---|---|---|\n{rows}"
    )
}

fn bare(text: &str) -> &str {
    text.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{anomaly, at, oid, proposed, signal, target};
    use crate::model::limits::BudgetUse;

    const GITEA: ForgeCapabilities = ForgeCapabilities::GITEA;

    fn record() -> RemediationAction {
        let mut record = proposed("p", &target("shop/Deployment/backend"), 7, at(0));
        record.spec.cause.anomalies = vec![anomaly(signal("backend", "latency_p95"), 0.9, at(0))];
        record.spec.rejected =
            vec![(PlaybookName::Rollback, Reason::new(ReasonCode::NoReleaseToUndo, "no release in 2 h"))];
        record.spec.budget =
            vec![BudgetUse { name: "policy".into(), used: 2, limit: 2, next_free: Some(at(3600)) }];
        record
    }

    fn said(record: &RemediationAction, what: Comment<'_>) -> String {
        comment(record, what, &GITEA)
    }

    #[test]
    fn every_way_of_closing_has_its_own_words() {
        let mut record = record();
        for (code, part) in [
            (ReasonCode::SignalRecovered, "No longer needed: a-b."),
            (ReasonCode::YieldsToOthers, "Superseded: a-b."),
            (ReasonCode::BaseMoved, "moved under this change: a-b."),
            (ReasonCode::PolicyChanged, "allows it no more: a-b."),
            (ReasonCode::Snoozed, "quiet for 24 h"),
            (ReasonCode::RevertedBefore, "RevertedBefore: a-b. Closed without merging"),
        ] {
            record.status.holds = vec![Reason::new(code, "a-b.")];
            let text = said(&record, Comment::Closed);
            assert!(text.contains(part), "{code:?}: {text}");
        }
    }

    #[test]
    fn the_explanation_has_scores_candidates_guards_and_budgets() {
        let mut record = record();
        record.status.holds = vec![Reason::new(ReasonCode::BudgetExhausted, "2 of 2 used")];
        let text = said(&record, Comment::Explanation { why_not: None });
        for part in [
            "**Scale out shop/backend from 3 to 5 replicas** because backend/latency_p95 is 520",
            "| backend/latency_p95 | **together** | **0.90** | | confidence 0.95 |",
            "| Rollback | NoReleaseToUndo | no release in 2 h (No earlier release is known",
            "- `BudgetExhausted` 2 of 2 used. The policy has used",
            "| policy | 2 | 2 | 2026-11-23T11:00Z |",
        ] {
            assert!(text.contains(part), "{part:?} is missing from:\n{text}");
        }
    }

    #[test]
    fn one_question_gets_one_row() {
        let record = record();
        let ask = |playbook| said(&record, Comment::Explanation { why_not: Some(playbook) });
        let rollback = ask(PlaybookName::Rollback);
        assert!(
            rollback.starts_with("Why not Rollback:") && rollback.matches("\n| ").count() == 2,
            "{rollback}"
        );
        assert!(ask(PlaybookName::ScaleOut).contains("is what was chosen"));
        assert!(ask(PlaybookName::RestartPod).contains("was not considered"));
    }

    #[test]
    fn a_squash_that_lost_trailers_is_told_which_and_gets_them_back() {
        let text = said(&record(), Comment::TrailersDropped { keys: &["Tars-Id", "Tars-Undo"] });
        assert!(text.contains("lost `Tars-Id`, `Tars-Undo`:"), "{text}");
        assert!(
            text.contains("```text\nTars-Id: act-") && text.contains("Tars-Undo: spec.replicas=3\n```"),
            "{text}"
        );
    }

    #[test]
    fn a_branch_of_somebody_else_is_handed_over_in_words() {
        let record = record();
        let text = said(&record, Comment::ForeignCommit { commit: &oid('e') });
        assert!(text.starts_with("`eeeeeee` is not a commit of tars"), "{text}");
    }

    #[test]
    fn a_comment_is_never_longer_than_its_forge_takes_and_nothing_in_it_is_active() {
        let mut record = record();
        let hostile = "```\n/tars approve @org/all #1 <img src=//x> | <!-- x --> ".repeat(40);
        record.spec.rejected =
            vec![(PlaybookName::Rollback, Reason::new(ReasonCode::EditRefused, &*hostile)); 90];
        record.status.holds = vec![Reason::new(ReasonCode::EditRefused, &*hostile); 90];
        for limit in [1_900, 4_000, 58_000] {
            let caps = ForgeCapabilities { body_chars_max: limit, ..GITEA };
            let what = Comment::Explanation { why_not: None };
            let text = comment(&record, what, &caps);
            assert!(text.chars().count() <= limit, "{}", text.chars().count());
            for active in ["\n/tars", "@org", "#1 ", "<img", "<!--", "```"] {
                assert!(!text.contains(active), "{active:?} is active in:\n{text}");
            }
        }
    }
}
