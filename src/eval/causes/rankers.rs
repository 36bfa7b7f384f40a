//! The root-cause rankers that can be compared. Tracks, a beginning and a graph come in, services in order of
//! suspicion go out; a ranker never sees a label. Two plain baselines stand beside ours, without and with graph.

use std::collections::BTreeMap;

use crate::detect::cause::{Track, rank};
use crate::model::services::ServiceGraph;

/// When somebody who is called would like to know.
const SOON_SLOTS: i64 = 2;

/// Which ranker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RankerName {
    /// Largest distance from the mean in standard deviations.
    NSigma,
    /// Largest distance from the median in interquartile ranges: the score of BARO.
    Robust,
    /// Ours, without a graph.
    Alone,
    /// Ours, with the graph, as soon as two slots after the beginning.
    GraphSoon,
    /// Ours, with the graph.
    Graph,
}

impl RankerName {
    pub const ALL: [Self; 5] = [Self::NSigma, Self::Robust, Self::Alone, Self::GraphSoon, Self::Graph];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NSigma => "n-sigma",
            Self::Robust => "robust",
            Self::Alone => "alone",
            Self::GraphSoon => "graph-2",
            Self::Graph => "graph",
        }
    }

    /// Services in order of suspicion.
    #[must_use]
    pub fn rank(self, tracks: &[Track<'_>], graph: &ServiceGraph, since_s: i64) -> Vec<String> {
        let ours = |graph: &ServiceGraph, now_s: i64| {
            rank(tracks, graph, since_s, now_s).into_iter().map(|it| it.service).collect()
        };
        let step_s = tracks.iter().map(|it| i64::from(it.step_s)).max().unwrap_or(0);
        match self {
            Self::NSigma => by_largest(tracks, since_s, n_sigma),
            Self::Robust => by_largest(tracks, since_s, robust),
            Self::Alone => ours(&ServiceGraph::default(), i64::MAX),
            Self::GraphSoon => ours(graph, since_s.saturating_add(SOON_SLOTS * step_s)),
            Self::Graph => ours(graph, i64::MAX),
        }
    }
}

type Judge = fn(&mut [f64], &[f64]) -> f64;

fn by_largest(tracks: &[Track<'_>], since_s: i64, judge: Judge) -> Vec<String> {
    let mut best: BTreeMap<&str, f64> = BTreeMap::new();
    for track in tracks {
        let split = since_s.saturating_sub(track.start_s - i64::from(track.step_s) + 1)
            / i64::from(track.step_s.max(1));
        let split = usize::try_from(split).unwrap_or(0).min(track.values.len());
        let mut before: Vec<f64> = track.values[..split].iter().flatten().copied().collect();
        let after: Vec<f64> = track.values[split..].iter().flatten().copied().collect();
        if before.is_empty() || after.is_empty() {
            continue;
        }
        let score = judge(&mut before, &after);
        let kept = best.entry(track.service).or_insert(0.0);
        *kept = kept.max(score);
    }
    let mut order: Vec<(&str, f64)> = best.into_iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    order.into_iter().map(|it| it.0.to_owned()).collect()
}

fn farthest(after: &[f64], centre: f64, spread: f64) -> f64 {
    after.iter().map(|value| (value - centre).abs() / spread).fold(0.0, f64::max)
}

fn n_sigma(before: &mut [f64], after: &[f64]) -> f64 {
    let count = before.len() as f64;
    let mean = before.iter().sum::<f64>() / count;
    let variance = before.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    farthest(after, mean, variance.sqrt().max(1e-9))
}

fn robust(before: &mut [f64], after: &[f64]) -> f64 {
    before.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| super::super::quantile::quantile(before, share);
    let range = at(0.75) - at(0.25);
    farthest(after, at(0.5), if range == 0.0 { 1.0 } else { range })
}
