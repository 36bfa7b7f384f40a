//! Which service calls which, as far as decisions go: what people declared, and around the services that policies name what
//! a source of traces has seen. The source is asked beside the ticks, and what it said last holds until it says more. A
//! tick never waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinSet};

use super::in_force::signals_of;
use crate::model::policy::Policy;
use crate::model::services::{DeclaredCalls, ServiceGraph};
use crate::observe::calls::{CallSource, SeenCalls};
use crate::observe::metrics::SourceError;
use crate::telemetry::events::Event;
use crate::telemetry::failures::Failures;

/// Calls older than this are not asked for, seconds.
pub const LOOK_BACK_S: u32 = 86_400;
/// From a question to the next one, and to the next one after a failure.
const ASK_EACH: SignedDuration = SignedDuration::from_hours(1);
const ASK_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// How long a start waits for the first answer, so that the first tick knows the calls already.
pub const START_WAIT_MAX: Duration = Duration::from_secs(5);
/// Most services that are taken from what was seen: the whole past of each is kept and compared.
const SERVICES_SEEN_MAX: usize = 200;

type Answer = Result<Result<SeenCalls, SourceError>, JoinError>;

/// Whom to ask, and what is known so far.
#[derive(Debug)]
pub struct Calls {
    source: Arc<dyn CallSource>,
    declared: DeclaredCalls,
    /// The last answer that had calls.
    seen: SeenCalls,
    /// All of it, before the part around the policies is taken.
    whole: ServiceGraph,
    /// At most one question.
    asked: JoinSet<Result<SeenCalls, SourceError>>,
    /// When, and how long it is enough; `None`: never.
    asked_at: Option<(Timestamp, SignedDuration)>,
    failures: Failures,
    /// Services that policies named when the part was taken; `None`: it has to be taken anew.
    named: Option<BTreeSet<String>>,
}

impl Calls {
    #[must_use]
    pub fn new(declared: DeclaredCalls, source: Arc<dyn CallSource>) -> Self {
        Self {
            source,
            whole: ServiceGraph::joined(&declared, []),
            declared,
            seen: SeenCalls::default(),
            asked: JoinSet::new(),
            asked_at: None,
            failures: Failures::of("calls between services"),
            named: None,
        }
    }

    /// Asks for the first time, and waits for the answer no longer than this: for the start of a process.
    pub async fn first(&mut self, now: Timestamp, wait_max: Duration) {
        self.ask(now);
        if let Ok(Some(answer)) = tokio::time::timeout(wait_max, self.asked.join_next()).await {
            self.take(answer);
        }
    }

    /// Hears an answer that is there and asks anew when it is time; waits for nothing. The graph around the services of
    /// `policies`, if it is another one than last time.
    pub fn changed(&mut self, policies: &[Policy], now: Timestamp) -> Option<ServiceGraph> {
        if let Some(answer) = self.asked.try_join_next() {
            self.take(answer);
        }
        self.ask(now);
        let named = named(policies);
        if self.named.as_ref() == Some(&named) {
            return None;
        }
        let declared = self.declared.iter().flat_map(|(caller, callees)| callees.iter().chain([caller]));
        let start = declared.map(|it| it.as_str()).chain(named.iter().map(String::as_str)).collect();
        let graph = self.whole.around(&start, SERVICES_SEEN_MAX);
        self.named = Some(named);
        Some(graph)
    }

    fn ask(&mut self, now: Timestamp) {
        let is_enough = |(at, wait): (Timestamp, SignedDuration)| now.duration_since(at) < wait;
        if !self.asked.is_empty() || self.asked_at.is_some_and(is_enough) {
            return;
        }
        self.asked_at = Some((now, ASK_AGAIN));
        let source = Arc::clone(&self.source);
        self.asked.spawn(async move { source.seen(now, LOOK_BACK_S).await });
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Ok(Ok(seen)) => self.hear(seen),
            Ok(Err(error)) => self.failures.note(Some(&error)),
            Err(error) => self.failures.note(Some(&error)),
        }
    }

    fn hear(&mut self, seen: SeenCalls) {
        self.asked_at = self.asked_at.map(|(at, _)| (at, ASK_EACH));
        self.failures.note(None);
        // That there is no call any more says more about who keeps the traces than about the services.
        if seen.calls.is_empty() || seen == self.seen {
            return;
        }
        self.whole = ServiceGraph::joined(&self.declared, &seen.calls);
        self.named = None;
        Event::CallsSeen { calls: seen.calls.len(), names_left_out: seen.names_left_out }.emit();
        self.seen = seen;
    }
}

/// Services that policies are about: those of their signals, and those they change.
fn named(policies: &[Policy]) -> BTreeSet<String> {
    let signals = policies.iter().flat_map(signals_of).map(|it| it.service.as_str().to_owned());
    let targets = policies.iter().flat_map(|it| &it.allowed_resources);
    signals.chain(targets.map(|it| it.name.as_str().to_owned())).collect()
}
