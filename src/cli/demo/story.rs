//! Tells what happens, line by line, as it happens; or keeps the records for `-o json`.
//! Reports come in, lines go out. Every number comes from a record or from the evidence, never from here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::cli::failure::Failure;
use crate::cli::invocation;
use crate::cli::output::{Console, Page, Piece, Style, Symbol, Table};
use crate::detect;
use crate::model::action::{ActionState, MergedBy, Purpose, RemediationAction, RiskClass};
use crate::model::anomaly::Anomaly;
use crate::model::history::History;
use crate::model::signal::SignalKey;
use crate::reconcile::evidence::Evidence;
use crate::reconcile::report::TickReport;
use crate::render;

/// Score from which on an anomaly is told.
const TOLD_SCORE: f64 = 0.8;

/// The story so far.
#[derive(Debug)]
pub struct Story<'c> {
    console: &'c Console,
    records: BTreeMap<String, RemediationAction>,
    told_anomalies: BTreeSet<String>,
    first_seen: Option<Anomaly>,
    recovered: Option<(Timestamp, Option<f64>)>,
    held: Vec<String>,
}

/// `180 ms`, `7.9 %`: the demo knows the units of its own signals.
fn measured(key: &SignalKey, value: f64) -> String {
    match key.signal.as_str() {
        "latency_p95" => format!("{value:.0} ms"),
        "error_ratio" => format!("{:.1} %", value * 100.0),
        _ => render::number(value),
    }
}

fn plural(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl<'c> Story<'c> {
    #[must_use]
    pub fn new(console: &'c Console) -> Self {
        Self {
            console,
            records: BTreeMap::new(),
            told_anomalies: BTreeSet::new(),
            first_seen: None,
            recovered: None,
            held: Vec::new(),
        }
    }

    /// Every action the story has met, by id, as it is now.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<String, RemediationAction> {
        &self.records
    }

    /// Why nothing was done at the last tick.
    #[must_use]
    pub fn held(&self) -> &[String] {
        &self.held
    }

    /// # Errors
    /// As every line: when standard output cannot be written.
    pub fn title(&self, text: &str) -> Result<(), Failure> {
        let mut page = Page::new();
        page.put(Symbol::Doing).put(" ").put(Piece::from(format!("scenario {text}")).styled(Style::Strong));
        self.tell_page(page.line())
    }

    /// One line at a virtual time.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn line(&self, at: Timestamp, symbol: Symbol, text: &str) -> Result<(), Failure> {
        let time = at.strftime("%H:%M:%SZ").to_string();
        let mut page = Page::new();
        page.put(symbol).put(" ").put(Piece::from(time).styled(Style::Dim)).put(format!("  {text}"));
        self.tell_page(page.line())
    }

    /// A line that belongs to the one before.
    fn more(&self, text: String) -> Result<(), Failure> {
        let mut page = Page::new();
        page.put("            ").put(text);
        self.tell_page(page.line())
    }

    /// Only people get the story; programs get the records at its end.
    fn tell_page(&self, page: &Page) -> Result<(), Failure> {
        if self.console.is_for_people() { self.console.story(page) } else { Ok(()) }
    }

    /// Tells what one tick brought.
    ///
    /// # Errors
    /// A tick that failed ends the demo: nothing in it may fail.
    pub fn tell(
        &mut self,
        evidence: &Evidence,
        report: TickReport,
        history: &History,
    ) -> Result<(), Failure> {
        for anomaly in &evidence.anomalies {
            let key = anomaly.key.to_string();
            if anomaly.score.get() < TOLD_SCORE || !self.told_anomalies.insert(key) {
                continue;
            }
            self.first_seen.get_or_insert_with(|| anomaly.clone());
            self.anomaly(anomaly)?;
        }
        self.held = report.held.iter().flat_map(|it| it.reasons.iter().map(ToString::to_string)).collect();
        for happening in report.happenings {
            self.happened(happening.at, &happening.record, history)?;
            self.records.insert(happening.record.id().to_string(), happening.record);
        }
        match report.errors.into_iter().next() {
            Some(error) => Err(Failure::new(crate::cli::failure::Kind::No, "the demo failed").because(error)),
            None => Ok(()),
        }
    }

    fn anomaly(&self, anomaly: &Anomaly) -> Result<(), Failure> {
        let (low, high) = anomaly.expected;
        let text = format!(
            "anomaly in {}: {} {}, expected {} to {} (score {:.2} {}, confidence {:.2})",
            anomaly.key,
            detect::sparkline(&anomaly.recent),
            measured(&anomaly.key, anomaly.value),
            measured(&anomaly.key, low.max(0.0)),
            measured(&anomaly.key, high),
            anomaly.score.get(),
            anomaly.severity.as_str(),
            anomaly.confidence.get(),
        );
        self.line(anomaly.at, Symbol::Warning, &text)?;
        if let Some(episode) = &anomaly.episode {
            self.more(episode.to_string())?;
        }
        for model in &anomaly.models {
            self.more(format!(
                "{:<17} {:.2} x {:.0} %  {}",
                model.model.as_str(),
                model.score.get(),
                model.weight * 100.0,
                model.evidence
            ))?;
        }
        Ok(())
    }

    fn happened(
        &mut self,
        at: Timestamp,
        record: &RemediationAction,
        history: &History,
    ) -> Result<(), Failure> {
        let last = record.status.timeline.last().map_or("", |event| event.text.as_str());
        let id = record.id();
        match record.state() {
            ActionState::Proposed if self.records.contains_key(id.as_str()) => {
                self.line(at, Symbol::Waiting, &format!("{id}: {last}"))
            }
            ActionState::Proposed => self.proposed(at, record),
            ActionState::MergeReserved => {
                let used = history.executions_within(at, Some(&record.spec.policy), None).used;
                let limit = record.spec.limits.policy_per_hour;
                self.line(
                    at,
                    Symbol::Done,
                    &format!("budget slot reserved in the ledger: {used} of {limit} this hour"),
                )
            }
            ActionState::Merged => {
                let by = match record.status.merge.as_ref().map(|it| it.by) {
                    Some(MergedBy::Person) => "by a person",
                    _ => "by itself",
                };
                let commit = record.status.merge.as_ref().map_or("", |it| it.commit.short());
                self.line(at, Symbol::Done, &format!("merged {by} as {commit}"))
            }
            ActionState::Synced => self.line(at, Symbol::Done, "synced: the cluster runs the merged commit"),
            ActionState::Verified => {
                let after = record.status.verdict.as_ref().and_then(|it| it.after);
                self.recovered.get_or_insert((at, after));
                self.line(at, Symbol::Done, &format!("verified: {last}"))
            }
            ActionState::Expired | ActionState::Reverted | ActionState::Observed => {
                self.line(at, Symbol::Done, &format!("{id}: {last}"))
            }
            ActionState::NotRecovered | ActionState::Worse | ActionState::Unknown | ActionState::Closed => {
                self.line(at, Symbol::Failed, &format!("{id}: {last}"))
            }
        }
    }

    fn proposed(&self, at: Timestamp, record: &RemediationAction) -> Result<(), Failure> {
        let risk = match record.spec.risk.class {
            RiskClass::Low => "low risk",
            RiskClass::Medium => "medium risk",
            RiskClass::High => "high risk",
        };
        let why = match record.spec.purpose {
            Purpose::Remediate => "proposed",
            Purpose::Expire { .. } => "no longer needed, undo proposed",
            Purpose::Revert { .. } => "did not help, undo proposed",
        };
        self.line(
            at,
            Symbol::Done,
            &format!("{why} as {}: {}, {risk}", record.id(), render::headline(record)),
        )?;
        for field in record.spec.change.iter().flat_map(|change| &change.fields) {
            let (from, to) = (field.from.as_deref().unwrap_or("-"), field.to.as_deref().unwrap_or("-"));
            self.more(format!("{}: {} {from} → {to}", field.file, field.field))?;
        }
        let cause = record.spec.cause.correlation.iter().flat_map(render::correlation);
        for (index, line) in cause.enumerate() {
            self.more(format!("{:<7}{line}", if index == 0 { "cause:" } else { "" }))?;
        }
        for hold in &record.status.holds {
            self.line(
                at,
                Symbol::Waiting,
                &format!("waits for a person: {} ({})", hold.text, hold.code.as_str()),
            )?;
        }
        Ok(())
    }

    /// Says until when the target of the newest execution rests.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn cooldown(&self, history: &History, now: Timestamp) -> Result<(), Failure> {
        let Some(newest) = history.executions.last() else { return Ok(()) };
        let Some(record) = self.records.get(newest.action.as_str()) else { return Ok(()) };
        let rests = SignedDuration::from_secs(i64::from(record.spec.limits.cooldown_s));
        let until = newest.at.checked_add(rests).unwrap_or(newest.at).strftime("%H:%M:%SZ");
        let expires = record.status.expires_at.map_or_else(String::new, |at| {
            format!("; the undo is due from {} on, once the signal is calm", at.strftime("%H:%M:%SZ"))
        });
        self.line(now, Symbol::Waiting, &format!("cooldown: {} rests until {until}{expires}", newest.target))
    }

    /// Ends the story, or prints the records.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn end(&self, repository: &Path) -> Result<(), Failure> {
        if !self.console.is_for_people() {
            let records: Vec<&RemediationAction> = self.records.values().collect();
            let names: Vec<String> = self.records.keys().cloned().collect();
            return self.console.list(&Table::default(), &names, &records, "");
        }
        let mut page = Page::new();
        if let Some(summary) = self.summary() {
            page.put(summary).line();
        }
        let (tars, place) = (invocation(), repository.display());
        let mut commands = vec![(format!("{tars} log -C {place}"), "the audit trail")];
        if let Some(id) = self.records.iter().rev().find(|(_, it)| it.state() == ActionState::Proposed) {
            commands.push((format!("{tars} get proposal -C {place} {}", id.0), "what a reviewer sees"));
        }
        commands.extend([
            (format!("{tars} explain -C {place} last"), "why, and why not something else"),
            (format!("{tars} audit verify -C {place}"), "check every signature, sequence and budget"),
            (format!("git -C {place} log main"), "the same story in plain git"),
        ]);
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        page.put("Look around:").line();
        for (command, what) in commands {
            page.put("  ").padded(&command, width, Style::Plain);
            page.put(Piece::from(format!("   # {what}")).styled(Style::Dim)).line();
        }
        self.console.story(&page)
    }

    /// `backend/latency_p95: 180 ms, then 518 ms, then 224 ms.`
    fn summary(&self) -> Option<String> {
        let (Some(seen), Some((at, after))) = (&self.first_seen, self.recovered) else {
            return None;
        };
        let (low, high) = seen.expected;
        let usual = measured(&seen.key, f64::midpoint(low, high));
        let then = after.map_or_else(String::new, |after| format!(" → {}", measured(&seen.key, after)));
        let minutes = u32::try_from(at.duration_since(seen.at).as_mins()).unwrap_or(0);
        Some(format!(
            "{}: {usual} → {}{then}. Recovered in {} (simulated).",
            seen.key,
            measured(&seen.key, seen.value),
            plural(minutes, "minute")
        ))
    }
}
