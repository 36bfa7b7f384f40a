//! Calls that are seen as time goes by: what they change, and that nobody waits for who sees them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::Parts;
use super::calls::{Calls, START_WAIT_MAX};
use super::correlate_tests::{SERVICES, both_slow, observer, policies, world};
use crate::model::fixtures::{at, policy};
use crate::model::ids::SignalName;
use crate::model::reason::ReasonCode;
use crate::model::services::{DeclaredCalls, ServiceGraph};
use crate::observe::calls::{CallSource, SeenCalls};
use crate::observe::metrics::SourceError;
use crate::observe::signals::Keep;
use crate::outside::clock::Clock as _;

#[derive(Debug, Clone, Default)]
enum Says {
    #[default]
    NothingEver,
    No,
    Seen(Vec<(&'static str, String)>),
}

/// A source of traces that says what it is told to.
#[derive(Debug, Default)]
struct Traces {
    says: Mutex<Says>,
    asked: Mutex<usize>,
}

impl Traces {
    fn that_saw(calls: &[(&'static str, &str)]) -> Arc<Self> {
        let traces = Arc::<Self>::default();
        traces.see(calls);
        traces
    }

    fn see(&self, calls: &[(&'static str, &str)]) {
        let calls = calls.iter().map(|(caller, callee)| (*caller, (*callee).to_owned()));
        self.say(Says::Seen(calls.collect()));
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl CallSource for Traces {
    fn seen(&self, _: Timestamp, lookback_s: u32) -> BoxFuture<'_, Result<SeenCalls, SourceError>> {
        assert_eq!(lookback_s, 86_400);
        *self.asked.lock().unwrap() += 1;
        let pair = |(caller, callee): (&str, String)| (name(caller), name(&callee));
        match self.says.lock().unwrap().clone() {
            Says::NothingEver => std::future::pending().boxed(),
            Says::No => std::future::ready(Err(SourceError::OutOfTime)).boxed(),
            Says::Seen(calls) => {
                let calls = calls.into_iter().map(pair).collect();
                std::future::ready(Ok(SeenCalls { calls, names_left_out: 0 })).boxed()
            }
        }
    }
}

fn name(text: &str) -> SignalName {
    SignalName::new(text).unwrap()
}

/// Ticks at `minute` until the graph is another one.
async fn next(calls: &mut Calls, minute: i64) -> ServiceGraph {
    loop {
        if let Some(graph) = calls.changed(&[policy()], at(minute * 60)) {
            return graph;
        }
        tokio::task::yield_now().await;
    }
}

/// Ticks at `minute` until the source was asked so often; the graph stays what it is.
async fn asked(calls: &mut Calls, minute: i64, traces: &Traces, times: usize) {
    while traces.asked() < times {
        assert_eq!(calls.changed(&[policy()], at(minute * 60)), None);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_that_traces_show_hold_the_victim_and_declared_ones_win() {
    let declared = DeclaredCalls::from([(name("frontend"), BTreeSet::new())]);
    for (declared, expected) in [(DeclaredCalls::new(), 1), (declared, 2)] {
        let world = world("Propose");
        let mut calls = Calls::new(declared, Traces::that_saw(&[("frontend", "backend")]));
        calls.first(world.clock.now(), START_WAIT_MAX).await;
        let observer = observer(&world, &SERVICES, Keep::All).with_calls(calls);
        let mut tars = world.reconciler_with("a", |parts: &mut Parts| parts.observer = observer);
        let report = both_slow(&world, &mut tars).await;
        assert_eq!(policies(&world).len(), expected, "{report:?}");
        let mut reasons = report.held.iter().flat_map(|it| &it.reasons);
        assert_eq!(reasons.any(|it| it.code == ReasonCode::CauseElsewhere), expected == 1, "{report:?}");
    }
}

/// Of the fixture's policy: backend.
#[tokio::test]
async fn the_last_answer_stays_in_force_and_there_is_a_question_each_hour() {
    let traces = Traces::that_saw(&[("web", "backend")]);
    let mut calls = Calls::new(DeclaredCalls::new(), Arc::clone(&traces) as Arc<dyn CallSource>);
    calls.first(at(0), START_WAIT_MAX).await;
    assert_eq!(next(&mut calls, 0).await, ServiceGraph::of([("web", "backend")]));
    traces.say(Says::No);
    for minute in 1..60 {
        assert_eq!(calls.changed(&[policy()], at(minute * 60)), None);
    }
    assert_eq!(traces.asked(), 1);
    asked(&mut calls, 60, &traces, 2).await;
    // Asked again only when the failure was heard of.
    traces.see(&[]);
    asked(&mut calls, 65, &traces, 3).await;
    traces.see(&[("backend", "db")]);
    asked(&mut calls, 126, &traces, 4).await;
    assert_eq!(next(&mut calls, 126).await, ServiceGraph::of([("backend", "db")]));
}

#[tokio::test]
async fn a_source_that_never_answers_delays_the_start_a_little_and_no_tick() {
    let traces = Arc::<Traces>::default();
    let declared = DeclaredCalls::from([(name("web"), BTreeSet::from([name("cart")]))]);
    let mut calls = Calls::new(declared, Arc::clone(&traces) as Arc<dyn CallSource>);
    calls.first(at(0), Duration::from_millis(1)).await;
    assert_eq!(calls.changed(&[policy()], at(0)), Some(ServiceGraph::of([("web", "cart")])));
    for hour in 1..48 {
        assert_eq!(calls.changed(&[policy()], at(hour * 3_600)), None);
        tokio::task::yield_now().await;
    }
    assert_eq!(traces.asked(), 1, "one question at a time");
}

#[tokio::test]
async fn of_many_services_the_nearest_to_those_that_policies_name_count() {
    let traces = Arc::<Traces>::default();
    let leaves = (0..1_000).map(|it| ("hub", format!("leaf-{it}")));
    let near = [("web", "backend".to_owned()), ("backend", "hub".to_owned())];
    let far = [("other", "thing".to_owned())];
    traces.say(Says::Seen(leaves.chain(near).chain(far).collect()));
    let mut calls = Calls::new(DeclaredCalls::new(), traces);
    calls.first(at(0), START_WAIT_MAX).await;
    let graph = next(&mut calls, 0).await;
    let services = graph.services();
    assert_eq!(services.len(), 201, "backend, and 200 others");
    assert!(services.contains("web") && services.contains("hub") && !services.contains("other"));
    assert_eq!(calls.changed(&[], at(30)), Some(ServiceGraph::default()), "nobody is asked about");
}
