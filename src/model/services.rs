//! Which service calls which: the graph that says whom a failing service can hurt. Edges come in, reachability
//! and shortest ways go out. Where edges come from (settings, traces) is not known here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most calls that a graph keeps; what comes after is left out.
pub const CALLS_MAX: usize = 10_000;

/// A directed graph, caller to callee. The same edges in any order are the same graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceGraph {
    callees: BTreeMap<String, BTreeSet<String>>,
    callers: BTreeMap<String, BTreeSet<String>>,
    calls: usize,
}

impl ServiceGraph {
    /// Of calls as (caller, callee); a service that calls itself says nothing about anybody else.
    pub fn of<S: Into<String>>(calls: impl IntoIterator<Item = (S, S)>) -> Self {
        let mut graph = Self::default();
        graph.extend(calls.into_iter().map(|(caller, callee)| (caller.into(), callee.into())));
        graph
    }

    /// Adds calls, for example those that traces showed to those that were declared.
    pub fn extend(&mut self, calls: impl IntoIterator<Item = (String, String)>) {
        for (caller, callee) in calls {
            if caller == callee || self.calls == CALLS_MAX {
                continue;
            }
            if self.callees.entry(caller.clone()).or_default().insert(callee.clone()) {
                self.callers.entry(callee).or_default().insert(caller);
                self.calls += 1;
            }
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls == 0
    }

    /// Everybody who calls or is called, in order.
    #[must_use]
    pub fn services(&self) -> BTreeSet<&str> {
        self.callees.keys().chain(self.callers.keys()).map(String::as_str).collect()
    }

    pub fn callees(&self, service: &str) -> impl Iterator<Item = &str> {
        self.callees.get(service).into_iter().flatten().map(String::as_str)
    }

    pub fn callers(&self, service: &str) -> impl Iterator<Item = &str> {
        self.callers.get(service).into_iter().flatten().map(String::as_str)
    }

    /// All that call `service`, directly or through others; never `service` itself.
    #[must_use]
    pub fn upstream(&self, service: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut next: Vec<&str> = self.callers(service).collect();
        while let Some(caller) = next.pop() {
            if caller != service && found.insert(caller) {
                next.extend(self.callers(caller));
            }
        }
        found
    }

    /// The shortest way of calls from one service to another, both included; of equally short ones the first in
    /// alphabetical order. `None`: the one never calls the other.
    #[must_use]
    pub fn way<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = VecDeque::from([from]);
        while let Some(service) = next.pop_front() {
            if service == to {
                let mut way = vec![service];
                while let Some(&caller) = way.last().and_then(|it| before.get(it)) {
                    way.push(caller);
                }
                way.reverse();
                return Some(way);
            }
            for callee in self.callees(service) {
                if callee != from && !before.contains_key(callee) {
                    before.insert(callee, service);
                    next.push_back(callee);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> ServiceGraph {
        ServiceGraph::of([
            ("web", "cart"),
            ("web", "checkout"),
            ("checkout", "payment"),
            ("checkout", "cart"),
            ("payment", "checkout"),
            ("cart", "cart"),
        ])
    }

    #[test]
    fn whoever_calls_through_others_is_upstream_and_circles_end() {
        let graph = shop();
        assert_eq!(graph.upstream("cart").into_iter().collect::<Vec<_>>(), ["checkout", "payment", "web"]);
        assert_eq!(graph.upstream("checkout").into_iter().collect::<Vec<_>>(), ["payment", "web"]);
        assert!(graph.upstream("web").is_empty());
    }

    #[test]
    fn the_way_is_the_shortest_and_there_is_none_against_the_calls() {
        let graph = shop();
        assert_eq!(graph.way("web", "payment"), Some(vec!["web", "checkout", "payment"]));
        assert_eq!(graph.way("web", "cart"), Some(vec!["web", "cart"]));
        assert_eq!(graph.way("cart", "web"), None);
    }

    #[test]
    fn the_order_of_edges_makes_no_difference_and_their_number_is_bounded() {
        let edges = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "b")];
        assert_eq!(ServiceGraph::of(edges), ServiceGraph::of(edges.into_iter().rev()));
        let many = (0..CALLS_MAX + 5).map(|index| ("hub".to_owned(), format!("leaf-{index}")));
        assert_eq!(ServiceGraph::of(many).callees("hub").count(), CALLS_MAX);
    }
}
