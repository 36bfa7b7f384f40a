//! Who calls whom, as a source has seen it. A span of time goes in, pairs of services whose names can be those of signals
//! come out, and how many names cannot. When it is asked, and what counts beside it, is not decided here.

use std::collections::BTreeSet;
use std::fmt;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::jaeger::{Edge, Jaeger};
use super::metrics::SourceError;
use crate::model::ids::SignalName;

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenCalls {
    /// As (caller, callee).
    pub calls: BTreeSet<(SignalName, SignalName)>,
    /// Names in the answer that no service of a signal can have; calls from or to them are left out.
    pub names_left_out: usize,
}

impl SeenCalls {
    fn of(edges: &[Edge]) -> Self {
        let mut unusable = BTreeSet::new();
        let mut calls = BTreeSet::new();
        for edge in edges {
            match (SignalName::new(&edge.parent), SignalName::new(&edge.child)) {
                (Ok(caller), Ok(callee)) => {
                    calls.insert((caller, callee));
                }
                (caller, callee) => {
                    unusable.extend(caller.is_err().then_some(&edge.parent));
                    unusable.extend(callee.is_err().then_some(&edge.child));
                }
            }
        }
        Self { calls, names_left_out: unusable.len() }
    }
}

/// Somebody who sees the calls between services.
pub trait CallSource: fmt::Debug + Send + Sync {
    /// Who called whom in the `lookback_s` seconds before `end`.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is known about any call then.
    fn seen(&self, end: Timestamp, lookback_s: u32) -> BoxFuture<'_, Result<SeenCalls, SourceError>>;
}

impl CallSource for Jaeger {
    fn seen(&self, end: Timestamp, lookback_s: u32) -> BoxFuture<'_, Result<SeenCalls, SourceError>> {
        self.calls(end, lookback_s).map(|it| it.map(|edges| SeenCalls::of(&edges))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::at;
    use crate::observe::loopback::{Act, http, server};

    #[tokio::test]
    async fn calls_of_names_that_no_signal_can_have_are_left_out_and_each_name_is_counted_once() {
        let body = r#"{"data":[{"parent":"web","child":"db","callCount":3},{"parent":"web","child":"two words","callCount":1},
            {"parent":"two words","child":"db","callCount":1},{"parent":"","child":"","callCount":1}]}"#;
        let (address, serving) = server(vec![Act::Answer(200, body.into())]).await;
        let seen = Jaeger::new(http(), &address, None).seen(at(0), 86_400).await.unwrap();
        let name = |it: &str| SignalName::new(it).unwrap();
        assert_eq!(seen, SeenCalls { calls: BTreeSet::from([(name("web"), name("db"))]), names_left_out: 2 });
        assert!(serving.await.unwrap()[0].line.contains("lookback=86400000"));
    }
}
