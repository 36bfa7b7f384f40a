//! One incident out of many troubles: what happens close together in time, to services that hurt each other, is
//! one. Troubles and a graph come in, groups go out. Which service is the cause is not asked here.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::services::ServiceGraph;

/// Somewhere something is wrong: an anomaly or an alert of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble<'a> {
    pub start_s: i64,
    pub end_s: i64,
    pub service: &'a str,
}

/// Groups troubles: two belong together when no more than `apart_s` lies between them and their services are the
/// same, or one calls the other, directly or not, or both call a third directly that may have no signal of
/// its own. Answers the indices of each group, groups in the order of their beginning.
#[must_use]
pub fn groups(troubles: &[Trouble<'_>], graph: &ServiceGraph, apart_s: i64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..troubles.len()).collect();
    order.sort_by_key(|&index| (troubles[index], index));
    let related = Related::of(troubles, graph);
    // Groups that something may still join, each with its latest end.
    let mut open: Vec<(Vec<usize>, i64)> = Vec::new();
    let mut done: Vec<Vec<usize>> = Vec::new();
    for index in order {
        let it = troubles[index];
        let (over, still): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|(_, end_s)| it.start_s - end_s > apart_s);
        done.extend(over.into_iter().map(|(group, _)| group));
        let near = |&other: &usize| {
            let other = troubles[other];
            it.start_s - other.end_s <= apart_s && related.are(it.service, other.service)
        };
        let (mine, others): (Vec<_>, Vec<_>) =
            still.into_iter().partition(|(group, _)| group.iter().any(near));
        let mut joined = (vec![index], it.end_s);
        for (group, end_s) in mine {
            joined.0.extend(group);
            joined.1 = joined.1.max(end_s);
        }
        open = others;
        open.push(joined);
    }
    done.extend(open.into_iter().map(|(group, _)| group));
    for group in &mut done {
        group.sort_by_key(|&index| (troubles[index], index));
    }
    done.sort_by_key(|group| group.first().map(|&index| (troubles[index], index)));
    done
}

struct Related<'a> {
    graph: &'a ServiceGraph,
    upstream: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Related<'a> {
    fn of(troubles: &[Trouble<'a>], graph: &'a ServiceGraph) -> Self {
        let upstream = troubles.iter().map(|it| (it.service, graph.upstream(it.service))).collect();
        Self { graph, upstream }
    }

    fn are(&self, one: &str, other: &str) -> bool {
        let reaches = |from: &str, to: &str| self.upstream.get(to).is_some_and(|it| it.contains(from));
        one == other
            || reaches(one, other)
            || reaches(other, one)
            || self.graph.callees(one).any(|it| self.graph.callees(other).any(|other| it == other))
    }
}
