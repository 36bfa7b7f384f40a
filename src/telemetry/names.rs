//! The catalogue of tars' metrics. In go typed model values, out comes OpenMetrics text. Every label value
//! is taken from an enum, from the settings, or from a checked policy name: text that a stranger wrote (an
//! alert's labels, a posted series' name) never becomes a label, so the number of series is bounded.

use std::collections::BTreeSet;
use std::fmt::Error as FormatError;
use std::sync::atomic::AtomicU64;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use super::labels::*;
use crate::model::action::RiskClass;
use crate::model::delivery::Heard;
use crate::model::ids::{Namespace, PolicyName};
use crate::model::playbook::PlaybookName;
use crate::model::reason::ReasonCode;
use crate::model::signal::SignalKey;

/// Media type of [`Metrics::encode`], from the OpenMetrics 1.0 text format.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of one reconcile, seconds.
const RECONCILE_BUCKETS_S: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of the buckets of waiting times that include people, seconds.
const PROGRESS_BUCKETS_S: [f64; 10] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 14_400.0];

/// How far a remediation has come since it was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    Proposed,
    Merged,
    Verified,
}

/// One line of [`Metrics::set_budgets`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetLine {
    /// Policy and its namespace; `None` for limits over all policies.
    pub policy: Option<(Namespace, PolicyName)>,
    pub budget: Budget,
    pub used: u32,
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    signal: String,
    service: String,
}

impl SignalLabels {
    fn of(key: &SignalKey) -> Self {
        Self { signal: key.signal.to_string(), service: key.service.to_string() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RemediationLabels {
    namespace: String,
    policy: String,
    action: &'static str,
    risk: &'static str,
    decision: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    policy: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BudgetLabels {
    namespace: String,
    policy: String,
    budget: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    forge: &'static str,
    code: &'static str,
}

macro_rules! single_label {
    ($($name:ident { $label:ident },)*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $label: &'static str }
    )*};
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnavailableLabels {
    signal: String,
    reason: &'static str,
}

single_label! {
    ReasonLabel { reason },
    OutcomeLabel { outcome },
    StatusLabel { status },
    ActionLabel { action },
    ScopeLabel { scope },
    ForgeLabel { forge },
}

type FloatGauge = Gauge<f64, AtomicU64>;
type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The watched series; a score of anything else is not exported.
    signals: RwLock<BTreeSet<SignalKey>>,
    score: Family<SignalLabels, FloatGauge>,
    confidence: Family<SignalLabels, FloatGauge>,
    age: Family<SignalLabels, FloatGauge>,
    unavailable: Family<UnavailableLabels, Gauge>,
    remediations: Family<RemediationLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    time_to_propose: Durations<ActionLabel>,
    time_to_merge: Durations<ActionLabel>,
    time_to_verify: Durations<ActionLabel>,
    holds: Family<ReasonLabel, Counter>,
    reconcile_duration: Histogram,
    reconcile_errors: Family<ReasonLabel, Counter>,
    pushes: Family<OutcomeLabel, Counter>,
    gateway_pushes: Family<OutcomeLabel, Counter>,
    score_writes: Family<OutcomeLabel, Counter>,
    races_lost: Counter,
    budget_used: Family<BudgetLabels, Gauge>,
    budget_limit: Family<BudgetLabels, Gauge>,
    alerts: Family<StatusLabel, Counter>,
    forge_hooks: Family<OutcomeLabel, Counter>,
    forge_requests: Family<RequestLabels, Counter>,
    forge_remaining: Family<ForgeLabel, Gauge>,
    pushed: Family<OutcomeLabel, Counter>,
    written: Family<OutcomeLabel, Counter>,
    open_proposals: Gauge,
    detectors: Gauge,
    detectors_answering: Gauge,
    suspended: Family<ScopeLabel, Gauge>,
}

fn progress_histogram() -> Histogram {
    Histogram::new(PROGRESS_BUCKETS_S)
}

impl Metrics {
    /// Metrics of a process of this `version` that watches `signals`.
    #[must_use]
    pub fn new(version: &str, signals: impl IntoIterator<Item = SignalKey>) -> Self {
        let progress = || Durations::new_with_constructor(progress_histogram as fn() -> Histogram);
        let mut metrics = Self {
            registry: Registry::with_prefix("tars"),
            signals: RwLock::new(signals.into_iter().collect()),
            score: Family::default(),
            confidence: Family::default(),
            age: Family::default(),
            unavailable: Family::default(),
            remediations: Family::default(),
            outcomes: Family::default(),
            time_to_propose: progress(),
            time_to_merge: progress(),
            time_to_verify: progress(),
            holds: Family::default(),
            reconcile_duration: Histogram::new(RECONCILE_BUCKETS_S),
            reconcile_errors: Family::default(),
            pushes: Family::default(),
            gateway_pushes: Family::default(),
            score_writes: Family::default(),
            races_lost: Counter::default(),
            budget_used: Family::default(),
            budget_limit: Family::default(),
            alerts: Family::default(),
            forge_hooks: Family::default(),
            forge_requests: Family::default(),
            forge_remaining: Family::default(),
            pushed: Family::default(),
            written: Family::default(),
            open_proposals: Gauge::default(),
            detectors: Gauge::default(),
            detectors_answering: Gauge::default(),
            suspended: Family::default(),
        };
        let build = Info::new([("version", version.to_owned())]);
        metrics.registry.register("build", "Version of this process", build);
        metrics.register_signals();
        metrics.register_remediations();
        metrics.register_machinery();
        metrics
    }

    fn register_signals(&mut self) {
        let r = &mut self.registry;
        r.register("anomaly_score", "Ensemble score of a signal, 0 to 1", self.score.clone());
        let help = "Agreement of the models, 0 to 1";
        r.register("anomaly_confidence", help, self.confidence.clone());
        let help = "Age of the newest sample of a signal";
        r.register_with_unit("signal_age", help, Unit::Seconds, self.age.clone());
        let help = "1 while the newest read of a signal failed, or gave no series that can be used";
        r.register("signal_unavailable", help, self.unavailable.clone());
    }

    fn register_remediations(&mut self) {
        let r = &mut self.registry;
        r.register("remediations", "Remediations by decision", self.remediations.clone());
        r.register("remediation_outcomes", "How remediations ended", self.outcomes.clone());
        let help = "From the first sight of the cause to the proposal";
        r.register_with_unit("time_to_propose", help, Unit::Seconds, self.time_to_propose.clone());
        let help = "From the first sight of the cause to the merge";
        r.register_with_unit("time_to_merge", help, Unit::Seconds, self.time_to_merge.clone());
        let help = "From the first sight of the cause to the verified recovery";
        r.register_with_unit("time_to_verify", help, Unit::Seconds, self.time_to_verify.clone());
        r.register("holds", "Decisions not to act, by reason", self.holds.clone());
        r.register("budget_used", "Executions in the running window", self.budget_used.clone());
        r.register("budget_limit", "Executions allowed per window", self.budget_limit.clone());
        r.register("open_proposals", "Proposals that wait for a merge", self.open_proposals.clone());
    }

    fn register_machinery(&mut self) {
        let r = &mut self.registry;
        let help = "Duration of one reconcile";
        r.register_with_unit("reconcile_duration", help, Unit::Seconds, self.reconcile_duration.clone());
        r.register("reconcile_errors", "Failed parts of a reconcile", self.reconcile_errors.clone());
        r.register("ledger_pushes", "Pushes of the ledger", self.pushes.clone());
        r.register(
            "races_lost",
            "Decisions taken again because somebody wrote first",
            self.races_lost.clone(),
        );
        r.register("pushgateway_pushes", "Pushes to the Pushgateway", self.gateway_pushes.clone());
        r.register("score_writes", "Scores sent by remote write", self.score_writes.clone());
        r.register("alerts_received", "Alerts received by webhook", self.alerts.clone());
        r.register(
            "pushed_samples",
            "Samples that were pushed here, by what became of them",
            self.pushed.clone(),
        );
        r.register("push_messages", "Messages of remote write, by what became of them", self.written.clone());
        r.register(
            "forge_webhooks",
            "Deliveries of the forge, by what became of them",
            self.forge_hooks.clone(),
        );
        r.register("forge_requests", "Requests to the forge", self.forge_requests.clone());
        let help = "Requests that the forge allows before it limits the rate";
        r.register("forge_ratelimit_remaining", help, self.forge_remaining.clone());
        r.register("detectors", "Detectors that this remediator asks", self.detectors.clone());
        let help = "Detectors whose newest answer could be used";
        r.register("detectors_answering", help, self.detectors_answering.clone());
        r.register("suspended", "1 while nothing merges by itself", self.suspended.clone());
    }

    /// Sets score and confidence of a configured signal. A signal that cannot be scored has no score: see
    /// [`Metrics::clear_score`].
    pub fn set_score(&self, key: &SignalKey, score: f64, confidence: f64) {
        if self.is_watched(key) {
            let labels = SignalLabels::of(key);
            self.score.get_or_create(&labels).set(score);
            self.confidence.get_or_create(&labels).set(confidence);
        }
    }

    fn watched(&self) -> RwLockReadGuard<'_, BTreeSet<SignalKey>> {
        self.signals.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_watched(&self, key: &SignalKey) -> bool {
        self.watched().contains(key)
    }

    /// From now on these series are watched, and what is known of others is forgotten. How many there may be is bounded
    /// where they are found.
    pub fn watch<'a>(&self, keys: impl IntoIterator<Item = &'a SignalKey>) {
        let keys: BTreeSet<&SignalKey> = keys.into_iter().collect();
        let mut watched = self.signals.write().unwrap_or_else(PoisonError::into_inner);
        if watched.len() == keys.len() && watched.iter().all(|it| keys.contains(it)) {
            return;
        }
        for gone in watched.iter().filter(|it| !keys.contains(it)) {
            self.clear_score(gone);
            self.age.remove(&SignalLabels::of(gone));
        }
        *watched = keys.into_iter().cloned().collect();
    }

    /// Removes the score of a signal that has no usable data: an old score must not look current.
    pub fn clear_score(&self, key: &SignalKey) {
        let labels = SignalLabels::of(key);
        self.score.remove(&labels);
        self.confidence.remove(&labels);
    }

    /// Sets the age of the newest sample, seconds; `None` when there is no sample at all, exported as `+Inf`
    /// so that an alert on age also fires for a signal that never had data.
    pub fn set_signal_age(&self, key: &SignalKey, age_s: Option<f64>) {
        if self.is_watched(key) {
            let labels = SignalLabels::of(key);
            self.age.get_or_create(&labels).set(age_s.unwrap_or(f64::INFINITY));
        }
    }

    /// Says of a signal of the settings, by the name that the log has for it, whether this is so; `None` when nobody asks
    /// for the signal here.
    pub fn set_unavailable(&self, signal: &str, why: Unavailable, is_so: Option<bool>) {
        let labels = UnavailableLabels { signal: signal.to_owned(), reason: why.as_str() };
        if let Some(is_so) = is_so {
            self.unavailable.get_or_create(&labels).set(is_so.into());
        } else {
            self.unavailable.remove(&labels);
        }
    }

    /// The score of every watched series as exported now, in the order of the keys; `None` where there
    /// is none.
    #[must_use]
    pub fn scores(&self) -> Vec<(SignalKey, Option<f64>)> {
        let score_of = |key: &SignalKey| self.score.get(&SignalLabels::of(key)).map(|gauge| gauge.get());
        self.watched().iter().map(|key| (key.clone(), score_of(key))).collect()
    }

    pub fn count_remediation(
        &self,
        (namespace, policy): (&Namespace, &PolicyName),
        action: PlaybookName,
        risk: RiskClass,
        decision: Decided,
    ) {
        let labels = RemediationLabels {
            namespace: namespace.to_string(),
            policy: policy.to_string(),
            action: action.as_str(),
            risk: risk_label(risk),
            decision: decision.as_str(),
        };
        self.remediations.get_or_create(&labels).inc();
    }

    pub fn count_outcome(&self, policy: &PolicyName, outcome: Ended) {
        let labels = OutcomeLabels { policy: policy.to_string(), outcome: outcome.as_str() };
        self.outcomes.get_or_create(&labels).inc();
    }

    /// Records how long it took to reach `milestone`, seconds since the cause was first seen.
    pub fn observe_progress(&self, milestone: Milestone, action: PlaybookName, elapsed_s: f64) {
        let family = match milestone {
            Milestone::Proposed => &self.time_to_propose,
            Milestone::Merged => &self.time_to_merge,
            Milestone::Verified => &self.time_to_verify,
        };
        family.get_or_create(&ActionLabel { action: action.as_str() }).observe(elapsed_s);
    }

    pub fn count_hold(&self, reason: ReasonCode) {
        self.holds.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    pub fn observe_reconcile(&self, duration_s: f64) {
        self.reconcile_duration.observe(duration_s);
    }

    pub fn count_reconcile_error(&self, stage: Stage) {
        self.reconcile_errors.get_or_create(&ReasonLabel { reason: stage.as_str() }).inc();
    }

    pub fn count_push(&self, outcome: Push) {
        self.pushes.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    pub fn count_races_lost(&self, count: u32) {
        self.races_lost.inc_by(u64::from(count));
    }

    pub fn count_gateway_push(&self, outcome: Push) {
        self.gateway_pushes.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    pub fn count_score_write(&self, outcome: Push) {
        self.score_writes.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    /// Replaces all budget lines, so that a removed policy leaves no series behind.
    pub fn set_budgets(&self, lines: &[BudgetLine]) {
        self.budget_used.clear();
        self.budget_limit.clear();
        for line in lines {
            let (namespace, policy) =
                line.policy.as_ref().map_or_else(Default::default, |(namespace, policy)| {
                    (namespace.to_string(), policy.to_string())
                });
            let labels = BudgetLabels { namespace, policy, budget: line.budget.as_str() };
            self.budget_used.get_or_create(&labels).set(i64::from(line.used));
            self.budget_limit.get_or_create(&labels).set(i64::from(line.limit));
        }
    }

    pub fn count_alerts(&self, status: Received, count: u64) {
        self.alerts.get_or_create(&StatusLabel { status: status.as_str() }).inc_by(count);
    }

    pub fn count_pushed(&self, outcome: Pushed, count: u64) {
        self.pushed.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc_by(count);
    }

    pub fn count_written(&self, outcome: Written) {
        self.written.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    pub fn count_forge_hook(&self, heard: Heard) {
        self.forge_hooks.get_or_create(&OutcomeLabel { outcome: heard.as_str() }).inc();
    }

    pub fn count_forge_request(&self, product: ForgeProduct, answer: ForgeAnswer) {
        let labels = RequestLabels { forge: product.as_str(), code: answer.as_str() };
        self.forge_requests.get_or_create(&labels).inc();
    }

    pub fn set_forge_remaining(&self, product: ForgeProduct, remaining: u32) {
        self.forge_remaining.get_or_create(&ForgeLabel { forge: product.as_str() }).set(remaining.into());
    }

    pub fn set_open_proposals(&self, count: usize) {
        self.open_proposals.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many detectors are asked, and how many of them could be heard.
    pub fn set_detectors(&self, asked: usize, answering: usize) {
        self.detectors.set(i64::try_from(asked).unwrap_or(i64::MAX));
        self.detectors_answering.set(i64::try_from(answering).unwrap_or(i64::MAX));
    }

    /// Is automatic merging frozen for the whole repository?
    pub fn set_suspended(&self, suspended: bool) {
        self.suspended.get_or_create(&ScopeLabel { scope: "repository" }).set(i64::from(suspended));
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// Writing to memory failed; does not happen with the metrics above.
    pub fn encode(&self) -> Result<String, FormatError> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        // The encoder prints Rust's `inf`; OpenMetrics 1.0 wants `+Inf`. No label value can hold a line end.
        Ok(text.replace(" inf\n", " +Inf\n"))
    }
}

fn risk_label(risk: RiskClass) -> &'static str {
    match risk {
        RiskClass::Low => "low",
        RiskClass::Medium => "medium",
        RiskClass::High => "high",
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
