//! Judges root-cause rankers on labelled cases: the share of cases whose cause is among the first ranks, as
//! RCAEval and the literature before it report (AC@k, Avg@5). Rankings come in, figures go out.

mod rankers;
mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::detect::cause::{Track, begins};

pub use rankers::RankerName;
pub use read::{Case, Wide, read_calls, read_cases, read_wide};

/// When the incident of `case` began: as the manifest says, or as the metric shows that somebody complained
/// about, at or after `from_s`. `None`: nothing shows.
#[must_use]
pub fn beginning(case: &Case, tracks: &[Track<'_>], from_s: i64) -> Option<i64> {
    if case.normal_file.is_none() && case.inject_ts.is_some() {
        return case.inject_ts;
    }
    let meant = |it: &&Track<'_>| case.target.as_ref().is_some_and(|target| target.is(it.service, it.metric));
    let symptoms: Vec<Track<'_>> = tracks.iter().filter(meant).copied().collect();
    begins(&symptoms, from_s, i64::MAX)
}

/// Where the cause of one case stood: 1 is first; `None`: it was not named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub dataset: String,
    /// What else it is counted under: its system, and its fault or the metric complained about.
    pub groups: Vec<String>,
    pub rank: Option<usize>,
}

impl Placed {
    #[must_use]
    pub fn of(case: &Case, ranking: &[String]) -> Self {
        let rank = ranking.iter().position(|it| *it == case.root_cause_service).map(|it| it + 1);
        let kind = case.fault.clone().or_else(|| case.target.as_ref().map(|it| it.metric.clone()));
        let groups = [Some(case.system.clone()), kind].into_iter().flatten().filter(|it| !it.is_empty());
        Self { dataset: case.dataset.clone(), groups: groups.collect(), rank }
    }
}

/// Shares of cases.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CauseFigures {
    pub cases: usize,
    pub at_1: f64,
    pub at_3: f64,
    pub at_5: f64,
    /// The mean of the shares at 1 to 5.
    pub avg_5: f64,
    /// Mean reciprocal rank.
    pub mrr: f64,
}

fn figures_of(ranks: &[Option<usize>]) -> CauseFigures {
    let cases = ranks.len();
    let within = |most: usize| {
        let found = ranks.iter().flatten().filter(|rank| **rank <= most).count();
        found as f64 / cases.max(1) as f64
    };
    let mrr = ranks.iter().flatten().map(|rank| 1.0 / *rank as f64).sum::<f64>() / cases.max(1) as f64;
    let avg_5 = (1..=5).map(within).sum::<f64>() / 5.0;
    CauseFigures { cases, at_1: within(1), at_3: within(3), at_5: within(5), avg_5, mrr }
}

/// Figures of each data set, and of each system and kind of fault in it as `dataset/name`.
#[must_use]
pub fn cause_figures(placed: &[Placed]) -> BTreeMap<String, CauseFigures> {
    let mut ranks: BTreeMap<String, Vec<Option<usize>>> = BTreeMap::new();
    for it in placed {
        ranks.entry(it.dataset.clone()).or_default().push(it.rank);
        for group in &it.groups {
            ranks.entry(format!("{}/{group}", it.dataset)).or_default().push(it.rank);
        }
    }
    ranks.into_iter().map(|(name, ranks)| (name, figures_of(&ranks))).collect()
}
