//! Which service calls which: the graph that says whom a failing service can hurt. Edges come in, reachability
//! and shortest ways go out. Nobody is asked for edges here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ids::SignalName;

/// Most calls that a graph keeps; what comes after is left out.
pub const CALLS_MAX: usize = 10_000;

/// What people say of who calls whom, by caller. A service in it calls exactly these, none included; what was seen of its
/// calls does not count.
pub type DeclaredCalls = BTreeMap<SignalName, BTreeSet<SignalName>>;

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

    /// The calls that were declared, and of those that were `seen` the ones of services about whose calls nothing was.
    #[must_use]
    pub fn joined<'a>(
        declared: &DeclaredCalls,
        seen: impl IntoIterator<Item = &'a (SignalName, SignalName)>,
    ) -> Self {
        let own = declared.iter().flat_map(|(caller, callees)| callees.iter().map(move |it| (caller, it)));
        let seen = seen.into_iter().filter(|(caller, _)| !declared.contains_key(caller));
        let all = own.chain(seen.map(|(caller, callee)| (caller, callee)));
        Self::of(all.map(|(caller, callee)| (caller.as_str(), callee.as_str())))
    }

    /// The part that lies around `start`: the calls between these services and the nearest others, callers and callees
    /// alike, of which there are at most `others_max`.
    #[must_use]
    pub fn around(&self, start: &BTreeSet<&str>, others_max: usize) -> Self {
        let near_max = start.len() + others_max;
        let mut near = start.clone();
        let mut next: VecDeque<&str> = start.iter().copied().collect();
        while let Some(service) = next.pop_front() {
            for other in self.callees(service).chain(self.callers(service)) {
                if near.len() < near_max && near.insert(other) {
                    next.push_back(other);
                }
            }
        }
        let calls =
            self.callees.iter().flat_map(|(caller, all)| all.iter().map(move |callee| (caller, callee)));
        let is_near = |it: &String| near.contains(it.as_str());
        let calls = calls.filter(|(caller, callee)| is_near(caller) && is_near(callee));
        Self::of(calls.map(|(caller, callee)| (caller.as_str(), callee.as_str())))
    }

    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls
    }

    fn extend(&mut self, calls: impl IntoIterator<Item = (String, String)>) {
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

    fn name(text: &str) -> SignalName {
        SignalName::new(text).unwrap()
    }

    #[test]
    fn whoever_is_declared_calls_exactly_what_is_declared_and_others_what_was_seen() {
        let declared = DeclaredCalls::from([
            (name("web"), BTreeSet::from([name("cart")])),
            (name("batch"), BTreeSet::new()),
        ]);
        let seen = [("web", "mail"), ("batch", "db"), ("cart", "db"), ("mail", "web")];
        let seen = seen.map(|(caller, callee)| (name(caller), name(callee)));
        let expected = ServiceGraph::of([("web", "cart"), ("cart", "db"), ("mail", "web")]);
        assert_eq!(ServiceGraph::joined(&declared, &seen), expected);
    }

    #[test]
    fn what_lies_around_is_the_nearest_and_no_more_of_them_than_asked_for() {
        let chain = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f"), ("x", "y")];
        let graph = ServiceGraph::of(chain);
        let around = |start: &[&'static str], most| graph.around(&start.iter().copied().collect(), most);
        assert_eq!(around(&["c"], 2), ServiceGraph::of([("b", "c"), ("c", "d")]));
        assert_eq!(around(&["c"], 3), ServiceGraph::of([("b", "c"), ("c", "d"), ("d", "e")]));
        assert_eq!(
            around(&["c"], 100),
            ServiceGraph::of([("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f")])
        );
        assert_eq!(around(&["c", "d"], 0), ServiceGraph::of([("c", "d")]));
        assert!(around(&[], 0).is_empty() && around(&["nobody"], 9).is_empty());
    }

    #[test]
    fn the_order_of_edges_makes_no_difference_and_their_number_is_bounded() {
        let edges = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "b")];
        assert_eq!(ServiceGraph::of(edges), ServiceGraph::of(edges.into_iter().rev()));
        let many = (0..CALLS_MAX + 5).map(|index| ("hub".to_owned(), format!("leaf-{index}")));
        assert_eq!(ServiceGraph::of(many).callees("hub").count(), CALLS_MAX);
    }
}
