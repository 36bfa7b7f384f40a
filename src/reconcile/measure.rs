//! One tick as metrics and log lines. Evidence and report come in, counters and typed events go out.
//! Nothing is decided here; the same report, told twice, would be counted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Reconciler;
use super::error::{ErrorCategory, TurnError};
use super::evidence::Evidence;
use super::gather::Gathered;
use super::memory::Recorded;
use super::report::{Happening, TickReport};
use crate::crd::ProblemSeverity;
use crate::model::action::{ActionState, MergedBy, RemediationAction};
use crate::model::anomaly::Anomaly;
use crate::model::ids::SignalName;
use crate::model::reason::ReasonCode;
use crate::model::signal::{ServiceOf, SignalKey};
use crate::observe::shards::ShardError;
use crate::observe::signals::{SignalConfig, Trouble};
use crate::telemetry::events::{Clean, Event};
use crate::telemetry::names::{
    Budget, BudgetLine, Decided, Ended, Metrics, Milestone, Push, Stage, Unavailable,
};

/// What the log was told by the last tick. A state that lasts is told when it begins and when it ends, not
/// with every tick: at a tick each half minute a night's hold would bury the line that matters.
#[derive(Debug, Default)]
pub struct Said {
    last: BTreeSet<String>,
    now: BTreeSet<String>,
    failing: BTreeSet<String>,
    failed_ticks: u64,
}

impl Said {
    /// Tells `event` unless the last tick told the same; `what` is its identity.
    fn once(&mut self, what: String, event: &Event<'_>) {
        if self.is_known(&what) {
            Event::Lasts { what: &what }.emit();
        } else {
            event.emit();
        }
        self.now.insert(what);
    }

    fn is_known(&self, what: &str) -> bool {
        self.last.contains(what) || self.now.contains(what)
    }

    /// The tick is told.
    fn close(&mut self, failed: bool) {
        self.last = std::mem::take(&mut self.now);
        if failed {
            self.failed_ticks += 1;
        } else if self.failed_ticks > 0 {
            Event::Recovered { stage: "tick", failed: self.failed_ticks }.emit();
            self.failed_ticks = 0;
        }
    }
}

/// Counts and logs what a detector saw.
pub fn look(metrics: &Metrics, evidence: &Evidence, (took, said): (Duration, &mut Said)) {
    signals(metrics, evidence, said);
    ticked(metrics, evidence, took);
    said.close(false);
}

fn ticked(metrics: &Metrics, evidence: &Evidence, took: Duration) {
    metrics.observe_reconcile(took.as_secs_f64());
    let unavailable = evidence.signals.values().filter(|state| state.error.is_some()).count();
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Event::Ticked { duration_ms, signals: evidence.signals.len(), unavailable }.emit();
}

/// Counts and logs what one tick saw and did.
pub fn tick(
    metrics: &Metrics,
    evidence: &Evidence,
    report: &TickReport,
    reconciler: &Reconciler,
    (took, said): (Duration, &mut Said),
) {
    signals(metrics, evidence, said);
    for happening in &report.happenings {
        happened(metrics, happening);
    }
    for held in &report.held {
        for reason in &held.reasons {
            metrics.count_hold(reason.code);
            let (policy, target) = (&held.incident.policy, &held.incident.target);
            // The text may count seconds; the code does not change while the hold lasts.
            let what =
                format!("{policy} {target} {} held: {}", held.incident.cause.key, reason.code.as_str());
            said.once(what, &Event::Held { policy, target, reason });
        }
    }
    for problem in report.problems.iter().filter(|it| it.severity == ProblemSeverity::Error) {
        let problem = problem.to_string();
        said.once(format!("policy: {problem}"), &Event::PolicyRefused { problem: &problem });
    }
    if let Some(problem) = &report.template_problem {
        let problem = problem.to_string();
        said.once(format!("template: {problem}"), &Event::TemplateRefused { problem: &problem });
    }
    metrics.count_races_lost(report.races_lost);
    for push in &report.pushes {
        metrics.count_push(match push {
            Recorded::Landed => Push::Accepted,
            Recorded::Lost => Push::Rejected,
            Recorded::LandedUnsaid | Recorded::Unsettled => Push::Unknown,
        });
        if matches!(push, Recorded::LandedUnsaid | Recorded::Unsettled) {
            Event::PushSettled { landed: *push == Recorded::LandedUnsaid }.emit();
        }
    }
    for error in &report.errors {
        metrics.count_reconcile_error(stage(error));
        let stage = error.category().as_str();
        said.once(format!("failed: {stage}: {}", Clean::chain(error)), &Event::Failed { stage, error });
    }
    budgets(metrics, reconciler, evidence);
    ticked(metrics, evidence, took);
    said.close(!report.errors.is_empty());
}

fn signals(metrics: &Metrics, evidence: &Evidence, said: &mut Said) {
    let scored: BTreeMap<&SignalKey, &Anomaly> = evidence.anomalies.iter().map(|it| (&it.key, it)).collect();
    metrics.watch(evidence.signals.keys());
    for state in evidence.signals.values() {
        metrics.set_signal_age(&state.key, state.age_s.map(|age| age as f64));
        match scored.get(&state.key).filter(|_| !state.stale && evidence.gathered.is_none()) {
            Some(anomaly) => metrics.set_score(&state.key, anomaly.score.get(), anomaly.confidence.get()),
            // An old score must not look like a new one. Who hears of scores leaves it to their detectors to show them.
            None => metrics.clear_score(&state.key),
        }
    }
    if let Some(gathered) = &evidence.gathered {
        detectors(metrics, gathered, said);
    }
    for trouble in &evidence.troubles {
        let signal = trouble.name.as_str();
        if let Some(error) = &trouble.error {
            said.failing.insert(signal.to_owned());
            let what = format!("{signal} unavailable: {}", Clean::chain(error.as_ref()));
            said.once(what, &Event::SignalFailed { signal, error: error.as_ref() });
        } else if said.failing.remove(signal) {
            Event::SignalBack { signal }.emit();
        }
        for warning in &trouble.warnings {
            said.once(format!("{signal} warned: {warning}"), &Event::SourceWarned { signal, warning });
        }
    }
}

/// Says of every signal of the settings whether it could be read and has a series whose newest value may be acted on. Of a
/// signal with many series there is nothing else that could be seen while it has none.
pub fn availability(metrics: &Metrics, evidence: &Evidence, configs: &[SignalConfig]) {
    let troubles: BTreeMap<&str, &Trouble> =
        evidence.troubles.iter().map(|it| (it.name.as_str(), it)).collect();
    let fresh = || evidence.signals.values().filter(|state| !state.stale).map(|state| &state.key);
    let keys: BTreeSet<&SignalKey> = fresh().collect();
    let signals: BTreeSet<&SignalName> = keys.iter().map(|key| &key.signal).collect();
    for config in configs {
        let name = config.name();
        let has_series = match &config.service {
            ServiceOf::Named(service) => {
                keys.contains(&SignalKey { signal: config.signal.clone(), service: service.clone() })
            }
            ServiceOf::Label(_) => signals.contains(&config.signal),
        };
        let read = troubles.get(name.as_str());
        metrics.set_unavailable(&name, Unavailable::Failed, read.map(|it| it.error.is_some()));
        metrics.set_unavailable(&name, Unavailable::Empty, read.map(|_| !has_series));
    }
}

fn detectors(metrics: &Metrics, gathered: &Gathered, said: &mut Said) {
    let lost: BTreeMap<usize, &ShardError> = gathered.lost().collect();
    metrics.set_detectors(gathered.total(), gathered.total() - lost.len());
    for shard in 0..gathered.total() {
        let name = format!("detector {shard}");
        if let Some(error) = lost.get(&shard) {
            said.failing.insert(name.clone());
            let what = format!("{name} lost: {}", Clean::chain(*error));
            said.once(what, &Event::DetectorLost { shard, error: *error });
        } else if said.failing.remove(&name) {
            Event::DetectorBack { shard }.emit();
        }
    }
}

fn stage(error: &TurnError) -> Stage {
    match error.category() {
        ErrorCategory::Remote => Stage::Fetch,
        ErrorCategory::Configuration => Stage::Observe,
        ErrorCategory::Ledger => Stage::Ledger,
        ErrorCategory::Local => Stage::Propose,
    }
}

fn happened(metrics: &Metrics, happening: &Happening) {
    let record = &happening.record;
    let decided = match (record.state(), record.status.merge.as_ref().map(|it| it.by)) {
        (ActionState::Observed, _) => Some(Decided::Observed),
        (ActionState::Proposed, _) if record.status.timeline.len() == 1 => Some(Decided::Proposed),
        (ActionState::Merged, Some(MergedBy::Tars)) => Some(Decided::AutoMerged),
        _ => None,
    };
    if let Some(decided) = decided {
        let policy = (&record.spec.target.namespace, &record.spec.policy);
        metrics.count_remediation(policy, record.spec.playbook, record.spec.risk.class, decided);
    }
    if let Some(ended) = ended(record) {
        metrics.count_outcome(&record.spec.policy, ended);
    }
    let milestone = match record.state() {
        ActionState::Proposed if record.status.timeline.len() == 1 => Some(Milestone::Proposed),
        ActionState::Merged => Some(Milestone::Merged),
        ActionState::Verified => Some(Milestone::Verified),
        _ => None,
    };
    if let Some(milestone) = milestone {
        let elapsed_s = happening.at.duration_since(record.spec.cause.since).as_secs_f64();
        metrics.observe_progress(milestone, record.spec.playbook, elapsed_s.max(0.0));
    }
}

fn ended(record: &RemediationAction) -> Option<Ended> {
    match record.state() {
        ActionState::Verified => Some(Ended::Verified),
        ActionState::NotRecovered | ActionState::Worse => Some(Ended::Failed),
        ActionState::Unknown => Some(Ended::Unknown),
        ActionState::Reverted => Some(Ended::Reverted),
        ActionState::Closed => Some(match record.status.holds.first().map(|hold| hold.code) {
            Some(ReasonCode::SignalRecovered) => Ended::SelfRecovered,
            _ => Ended::Rejected,
        }),
        _ => None,
    }
}

fn budgets(metrics: &Metrics, reconciler: &Reconciler, evidence: &Evidence) {
    let history = reconciler.memory().history();
    let limits = reconciler.limits();
    let mut lines: Vec<BudgetLine> = reconciler
        .policies()
        .iter()
        .map(|policy| BudgetLine {
            policy: Some((policy.namespace.clone(), policy.name.clone())),
            budget: Budget::PolicyPerHour,
            used: history.executions_within(evidence.at, Some(&policy.name), None).used,
            limit: policy.max_executions_per_hour,
        })
        .collect();
    lines.push(BudgetLine {
        policy: None,
        budget: Budget::GlobalPerHour,
        used: history.executions_within(evidence.at, None, None).used,
        limit: limits.max_executions_per_hour,
    });
    lines.push(BudgetLine {
        policy: None,
        budget: Budget::OpenProposals,
        used: history.open_proposals(),
        limit: limits.max_open_proposals,
    });
    metrics.set_budgets(&lines);
    metrics.set_open_proposals(history.open_proposals() as usize);
    metrics.set_suspended(reconciler.is_suspended());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::fixtures::{at, signal};
    use crate::model::signal::{Series, SourceKind};
    use crate::observe::metrics::SourceError;
    use crate::observe::signals::{Meaning, SignalState};
    use crate::observe::window::Window;

    fn state(key: SignalKey, stale: bool) -> SignalState {
        let series = Series { key: key.clone(), start: at(0), step_s: 30, values: vec![Some(1.0)] };
        SignalState {
            key,
            window: Arc::new(Window::of(&series)),
            age_s: Some(0),
            stale,
            staleness_s: 120,
            period: None,
            meaning: Meaning([0; 16]),
            error: None,
        }
    }

    fn by_label(signal: &str) -> SignalConfig {
        SignalConfig {
            signal: SignalName::new(signal).unwrap(),
            service: ServiceOf::Label("app".to_owned()),
            source: SourceKind::Prometheus,
            query: "up".to_owned(),
            step_s: 30,
            window_s: 3_600,
            period: None,
            staleness_s: 120,
        }
    }

    #[test]
    fn a_signal_that_cannot_be_read_or_has_no_series_says_so_until_it_is_well_and_is_gone_with_its_reading() {
        let metrics = Metrics::new("0.1.0", []);
        let one =
            SignalConfig { service: ServiceOf::Named(SignalName::new("web").unwrap()), ..by_label("p95") };
        let configs = [by_label("errors"), by_label("load"), one];
        let trouble = |config: &SignalConfig, error: Option<SourceError>| Trouble {
            name: config.name(),
            error: error.map(Arc::new),
            warnings: Vec::new(),
        };
        let told = |evidence: &Evidence| {
            availability(&metrics, evidence, &configs);
            let text = metrics.encode().unwrap();
            let lines = text.lines().filter_map(|it| it.strip_prefix("tars_signal_unavailable{signal=\""));
            let mut lines: Vec<String> =
                lines.map(|it| it.replace("\",reason=\"", " ").replace("\"}", "")).collect();
            lines.sort();
            lines
        };
        let all_read: Vec<_> = configs.iter().map(|it| trouble(it, None)).collect();
        let failed = trouble(&configs[0], Some(SourceError::OutOfTime));
        let ill = [vec![failed], all_read[1..].to_vec()].concat();
        let states = vec![state(signal("a", "errors"), false), state(signal("web", "p95"), true)];
        let ill = Evidence::read(at(0), states, ill);
        assert_eq!(
            told(&ill),
            [
                "errors by app empty 0",
                "errors by app failed 1",
                "load by app empty 1",
                "load by app failed 0",
                "web/p95 empty 1",
                "web/p95 failed 0"
            ]
        );
        let fresh = [signal("a", "errors"), signal("b", "load"), signal("web", "p95")];
        let well = Evidence::read(at(0), fresh.map(|it| state(it, false)).to_vec(), all_read);
        assert!(told(&well).iter().all(|it| it.ends_with(" 0")) && told(&well).len() == 6);
        assert_eq!(told(&Evidence::read(at(0), Vec::new(), Vec::new())), [""; 0]);
    }

    #[test]
    fn what_lasts_is_told_once_and_told_again_after_it_was_over() {
        let mut said = Said::default();
        let tick = |said: &mut Said, holds: bool| {
            let news = holds && !said.is_known("held");
            if holds {
                said.once("held".to_owned(), &Event::Stopped);
            }
            said.close(false);
            news
        };
        let told = [true, true, true, false, true].map(|holds| tick(&mut said, holds));
        assert_eq!(told, [true, false, false, false, true]);
    }
}
