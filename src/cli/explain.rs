//! `tars explain`: why something did, or did not, happen. The same sentence as in the pull request.

use serde_json::json;

use super::args::Explain;
use super::failure::{Failure, Kind};
use super::history::Ledger;
use super::output::links::Forge;
use super::output::{Console, Page, Piece, Style, Table};
use crate::crd;
use crate::model::action::{ActionState, MergedBy, RemediationAction};
use crate::model::ids::ObjectId;
use crate::model::playbook::PlaybookName;
use crate::model::policy::{CLUSTER_FOLDER, Mode};
use crate::model::reason::ReasonCode;
use crate::render;

/// Width of the name before a fact.
const NAME_WIDTH: usize = 10;

/// Explains an action, an incident, a target, a commit, or a code.
///
/// # Errors
/// When nothing has that name.
pub fn run(args: &Explain, console: &Console) -> Result<(), Failure> {
    if args.list_codes {
        return list_codes(console);
    }
    let reference = args.reference.as_deref().unwrap_or("last");
    if let Some((code, meaning)) = codes().find(|(code, _)| code.eq_ignore_ascii_case(reference)) {
        let value = json!({ "code": code, "meaning": meaning });
        return console.answer(&[code.to_owned()], &value, || {
            let mut page = Page::new();
            page.put(Piece::from(code).styled(Style::Strong)).line().put(format!("  {meaning}")).line();
            page
        });
    }
    let ledger = Ledger::of(&args.look, console)?;
    let found = ledger.find(reference);
    if found.is_empty() {
        return Err(Failure::new(Kind::No, format!("nothing in this ledger is named {reference}")).hint(
            "tars log lists what there is; a reason or TARS code can be explained too (--list-codes)",
        ));
    }
    if let Some(playbook) = &args.why_not {
        return why_not(&ledger, &found, playbook, console);
    }
    let names: Vec<String> = found.iter().map(|it| it.id().to_string()).collect();
    let list = json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": found });
    console.answer(&names, &list, || {
        let forge = ledger.forge();
        let mut page = Page::new();
        for (index, record) in found.iter().enumerate() {
            if index > 0 {
                page.line();
            }
            explain(&mut page, record, &ledger.together(record), forge.as_ref());
        }
        page
    })
}

/// Every code and its meaning.
fn codes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let reasons = ReasonCode::ALL.iter().map(|it| (it.as_str(), it.meaning()));
    reasons.chain(crd::CODES.iter().map(|(name, meaning)| (*name, *meaning)))
}

fn list_codes(console: &Console) -> Result<(), Failure> {
    let names: Vec<String> = codes().map(|(code, _)| code.to_owned()).collect();
    let items: Vec<_> = codes().map(|(code, meaning)| json!({ "code": code, "meaning": meaning })).collect();
    let row = |(code, meaning): (&str, &str)| vec![Piece::from(code), Piece::from(meaning)];
    let table = Table { headers: vec!["CODE", "MEANING"], wide: 0, rows: codes().map(row).collect() };
    console.list(&table, &names, &items, "no codes")
}

/// A fact: its name, then what is so.
fn fact(page: &mut Page, name: &str, value: impl Into<Piece>) {
    page.put("  ").padded(name, NAME_WIDTH, Style::Dim).put(" ").put(value).line();
}

/// A commit, clickable where it can be.
fn commit(id: &ObjectId, forge: Option<&Forge>) -> Piece {
    Piece::from(id.short()).linked(forge.map(|it| it.commit(id.as_str())))
}

fn explain(page: &mut Page, record: &RemediationAction, line: &[&RemediationAction], forge: Option<&Forge>) {
    let spec = &record.spec;
    page.put(Piece::from(record.id().as_str()).styled(Style::Strong));
    page.put(format!(" is {}.", record.state().as_str())).line();
    page.put(spec.sentence.as_str()).line().line();
    fact(page, "incident", format!("{} (fingerprint {})", spec.incident, spec.fingerprint.short()));
    page.put("  ").padded("policy", NAME_WIDTH, Style::Dim);
    page.put(format!(" {}, mode {:?} ({} at ", spec.policy, spec.mode, spec.policy_path));
    let forge_of_policy = forge.filter(|_| !spec.policy_path.as_str().starts_with(CLUSTER_FOLDER));
    page.put(commit(&spec.policy_commit, forge_of_policy)).put(")").line();
    fact(page, "risk", format!("{:?}: {}", spec.risk.class, spec.risk.reason));
    evidence(page, record);
    for line in &spec.budget {
        let own = match spec.mode {
            Mode::Observe => "if this one acted",
            Mode::Propose | Mode::AutoMerge => "this one included",
        };
        let text = format!("{}: {} of {} this hour, {own}", line.name, line.used, line.limit);
        fact(page, "budget", text);
    }
    for field in spec.change.iter().flat_map(|change| &change.fields) {
        let (from, to) = (field.before(), field.after());
        fact(page, "change", format!("{}: {} {from} -> {to}", field.file, field.field));
    }
    let others: Vec<&str> =
        line.iter().filter(|it| it.id() != record.id()).map(|it| it.id().as_str()).collect();
    if let (Some(change), false) = (&spec.change, others.is_empty()) {
        fact(page, "branch", format!("{}, with {}", change.branch, others.join(", ")));
    }
    outcome(page, record, forge);
    page.line();
    for event in &record.status.timeline {
        page.put("  ").put(event.at).put(format!("  {}", event.text)).line();
    }
}

fn evidence(page: &mut Page, record: &RemediationAction) {
    let cause = &record.spec.cause;
    for anomaly in &cause.anomalies {
        let (low, high) = anomaly.expected;
        fact(
            page,
            "evidence",
            format!(
                "{} was {} (expected {} to {}), score {:.2}, {}, confidence {:.2}",
                anomaly.key,
                render::number(anomaly.value),
                render::number(low),
                render::number(high),
                anomaly.score.get(),
                anomaly.severity.as_str(),
                anomaly.confidence.get()
            ),
        );
        if let Some(episode) = &anomaly.episode {
            fact(page, "", episode.to_string());
        }
        for model in &anomaly.models {
            let (name, score) = (model.model.as_str(), model.score.get());
            fact(page, "", format!("{name} {score:.2} x {:.0} %: {}", model.weight * 100.0, model.evidence));
        }
    }
    for forecast in &cause.forecasts {
        let (low, high) = forecast.interval;
        let text = format!(
            "{} was {}; probability {:.2} of a value {} within {}, expected then {} (90 %: {} to {})",
            forecast.key,
            render::number(forecast.value),
            forecast.probability.get(),
            forecast.crossing,
            forecast.within(),
            render::number(forecast.expected),
            render::number(low),
            render::number(high)
        );
        fact(page, "forecast", text);
    }
    for line in cause.correlation.iter().flat_map(render::correlation) {
        fact(page, "cause", line);
    }
    for alert in &cause.alerts {
        page.put("  ").padded("alert", NAME_WIDTH, Style::Dim);
        page.put(format!(" {:?} since ", alert.name())).put(alert.starts_at).line();
    }
}

/// What became of it: merged, waiting, rejected, judged, undone.
fn outcome(page: &mut Page, record: &RemediationAction, forge: Option<&Forge>) {
    if let Some(merge) = &record.status.merge {
        let by = match merge.by {
            MergedBy::Tars => "tars",
            MergedBy::Person => "a person",
        };
        page.put("  ").padded("merged", NAME_WIDTH, Style::Dim).put(format!(" by {by} as "));
        page.put(commit(&merge.commit, forge)).put(", ").put(merge.at).line();
    }
    for reason in &record.status.holds {
        let name = if record.state() == ActionState::Proposed { "waits" } else { "because" };
        fact(page, name, format!("{} ({})", reason.text, reason.code.as_str()));
    }
    for (playbook, reason) in &record.spec.rejected {
        fact(page, "rejected", format!("{}: {reason}", playbook.as_str()));
    }
    if let Some(verdict) = &record.status.verdict {
        fact(page, "verdict", format!("{:?}: {}", verdict.outcome, verdict.text));
    }
    if let Some(result) = &record.status.result {
        fact(page, "undo", result.revert_hint.as_str());
    }
    if let Some(undo) = &record.status.undone_by {
        fact(page, "undone by", undo.as_str());
    }
}

/// Answers for one playbook; what a record does not say, the policy of today does.
fn why_not(
    ledger: &Ledger,
    found: &[&RemediationAction],
    playbook: &str,
    console: &Console,
) -> Result<(), Failure> {
    let known = PlaybookName::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(playbook));
    let Some(playbook) = known else {
        let names: Vec<&str> = PlaybookName::ALL.iter().map(|it| it.as_str()).collect();
        return Err(Failure::usage(format!("{playbook} is no playbook; there are {}", names.join(", "))));
    };
    let mut answers = Vec::new();
    for record in found {
        answers.push((*record, considered(ledger, record, playbook)?));
    }
    let names: Vec<String> = found.iter().map(|it| it.id().to_string()).collect();
    let item = |(record, lines): &(&RemediationAction, Vec<String>)| json!({ "name": record.id(), "target": record.spec.target, "playbook": playbook, "answer": lines });
    let items: Vec<_> = answers.iter().map(item).collect();
    let list = json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": items });
    console.answer(&names, &list, || {
        let mut page = Page::new();
        for (index, (_, lines)) in answers.iter().enumerate() {
            if index > 0 {
                page.line();
            }
            for line in lines {
                page.put(line.as_str()).line();
            }
        }
        page
    })
}

/// Why a playbook was, or was not, taken for an action, in lines.
fn considered(
    ledger: &Ledger,
    record: &RemediationAction,
    playbook: PlaybookName,
) -> Result<Vec<String>, Failure> {
    let (name, spec) = (playbook.as_str(), &record.spec);
    if spec.playbook == playbook {
        return Ok(vec![format!("{name} was taken for {}: {}", spec.target, spec.sentence)]);
    }
    if let Some((_, reason)) = spec.rejected.iter().find(|(rejected, _)| *rejected == playbook) {
        let (code, meaning) = (reason.code.as_str(), reason.code.meaning());
        return Ok(vec![
            format!("{name} was rejected for {} in {}.", spec.target, record.id()),
            format!("  {:<NAME_WIDTH$} {}", "reason", reason.text),
            format!("  {code:<NAME_WIDTH$} {meaning}"),
        ]);
    }
    let snapshot = super::get::snapshot(ledger)?;
    let listed: Vec<&str> = snapshot
        .policies
        .iter()
        .filter(|it| it.name == spec.policy)
        .flat_map(|it| it.actions.iter().map(|action| action.name().as_str()))
        .collect();
    let taken = spec.playbook.as_str();
    let why = if listed.contains(&name) {
        format!("policy {} lists it after {taken}, which fitted", spec.policy)
    } else {
        format!("policy {} ({}) allows only {}", spec.policy, spec.policy_path, listed.join(", "))
    };
    Ok(vec![format!("{name} was not considered for {} in {}: {why}.", spec.target, record.id())])
}
