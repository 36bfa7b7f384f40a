//! From scores to what would be acted on: two alerts in a row make an episode, episodes of one service within
//! four hours make an incident, and an incident is right when it touches an event. Raw alerts, the rising edges
//! of every single series, are what it is compared with. No threshold is tuned here.

use super::events::share;
use super::unit::{Outcome, Unit};

/// The score from which a policy acts; in a row, this many times.
pub const ACT_AT: f64 = 0.8;
/// After an incident of a service began, what else happens to it belongs to it, seconds.
const ONE_INCIDENT_S: i64 = 4 * 3600;

/// Alerts of one series without a larger gap than a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Episode {
    pub start_s: i64,
    pub right: bool,
}

/// Rows that are the second alert in a row.
pub fn acted_rows(scores: &[f64]) -> Vec<usize> {
    (1..scores.len()).filter(|&row| scores[row] >= ACT_AT && scores[row - 1] >= ACT_AT).collect()
}

/// The episodes of one series; one that lasts begins anew after four hours, as a page does.
pub fn episodes(unit: &Unit, rows: &[usize], times_s: &[i64]) -> Vec<Episode> {
    let mut found: Vec<Episode> = Vec::new();
    let mut last = None;
    for &row in rows {
        let joins = last.is_some_and(|last| row - last <= unit.gap_rows());
        match found.last_mut() {
            Some(episode) if joins && times_s[row] - episode.start_s <= ONE_INCIDENT_S => {
                episode.right |= unit.near[row];
            }
            _ => found.push(Episode { start_s: times_s[row], right: unit.near[row] }),
        }
        last = Some(row);
    }
    found
}

/// The incidents of one service, as (all, right).
pub fn incidents(mut episodes: Vec<Episode>) -> (usize, usize) {
    episodes.sort_by_key(|it| it.start_s);
    let mut found: Vec<Episode> = Vec::new();
    for episode in episodes {
        match found.last_mut() {
            Some(incident) if episode.start_s - incident.start_s < ONE_INCIDENT_S => {
                incident.right |= episode.right;
            }
            _ => found.push(episode),
        }
    }
    (found.len(), found.iter().filter(|it| it.right).count())
}

/// How many times the score of any series rises to the threshold.
fn raw_alerts(units: &[&Unit], threshold: f64) -> usize {
    let rises = |unit: &&Unit| {
        let above = |row: usize| unit.scores[row] >= threshold;
        (0..unit.scores.len()).filter(|&row| above(row) && (row == 0 || !above(row - 1))).count()
    };
    units.iter().map(rises).sum()
}

/// Raw alerts at the highest of `thresholds` (descending) that finds as many events as were acted on.
pub fn raw_alerts_at_equal_recall(units: &[&Unit], thresholds: &[f64], acted: &[Outcome]) -> Option<usize> {
    let count = |outcomes: &[Outcome]| outcomes.iter().flat_map(|it| &it.found).filter(|it| **it).count();
    let wanted = count(acted);
    let enough = |threshold: &&f64| {
        count(&units.iter().map(|unit| unit.at(**threshold)).collect::<Vec<_>>()) >= wanted
    };
    // More alerts never find fewer events.
    let at = thresholds.partition_point(|threshold| !enough(&threshold));
    thresholds.get(at).filter(|_| wanted > 0).map(|threshold| raw_alerts(units, *threshold))
}

/// The part of the raw alerts that nobody sees; `None` without any.
pub fn fewer(incidents: usize, raw: Option<usize>) -> Option<f64> {
    raw.filter(|raw| *raw > 0).map(|raw| 1.0 - share(incidents as f64, raw as f64))
}
