//! All figures of one data set for one detector. What each series gave comes in one by one; the whole series
//! and its labels are not kept, only the scores that thresholds are swept over.

use std::collections::BTreeMap;

use super::events::{self, EventFigures, Sweep, share};
use super::incidents::{self, ACT_AT, Episode};
use super::nab::{self, NabFile, NabScore};
use super::points::{self, DelayedF1};
use super::read::{Labelled, SeriesEntry};
use super::unit::{SLACK_ROWS, Unit};
use super::vus::vus_pr;

/// Scores of one series, one per row, and how long they took.
#[derive(Debug, Clone)]
pub struct Scored {
    pub scores: Vec<f64>,
    pub took_us: f64,
}

/// One judged series.
#[derive(Debug, Clone)]
pub struct Judged {
    service: String,
    unit: Unit,
    episodes: Vec<Episode>,
    nab: Option<NabFile>,
    volume: Option<(f64, f64)>,
    took_us: f64,
    rows: usize,
}

/// Judges one series. With `volume` also by VUS-PR, which is the slow part.
pub fn judge(entry: &SeriesEntry, series: &Labelled, scored: Scored, volume: bool) -> Judged {
    let Scored { scores, took_us } = scored;
    let from = entry.score_from.min(scores.len());
    let labels = series.labels[from..].to_vec();
    let judged = &scores[from..];
    let volume = (volume && labels.contains(&true)).then(|| {
        let area = points::average_precision(&labels, judged);
        (vus_pr(&labels, judged, entry.vus_window).unwrap_or_default(), area)
    });
    // Windows around labels have their slack inside.
    let slack = if entry.nab_windows.is_some() { 0 } else { SLACK_ROWS };
    let unit = Unit::new(judged.to_vec(), labels, f64::from(entry.interval_s), slack);
    let rows = incidents::acted_rows(&unit.scores);
    let episodes = incidents::episodes(&unit, &rows, &series.times_s[from..]);
    let rows = scores.len();
    let nab = entry.nab_windows.clone().map(|windows| NabFile { scores, windows });
    Judged { service: entry.service.clone(), unit, episodes, nab, volume, took_us, rows }
}

/// The figures of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    pub series: usize,
    pub event: EventFigures,
    pub sweep: Sweep,
    pub delayed: DelayedF1,
    pub nab: Option<NabScore>,
    pub vus_pr: Option<f64>,
    pub auc_pr: Option<f64>,
    /// Acted on: two scores in a row at 0.8, grouped by service.
    pub incidents: usize,
    pub incident_precision: Option<f64>,
    pub incident_recall: f64,
    pub incidents_per_week: f64,
    pub noise_fewer: Option<f64>,
    pub us_per_point: f64,
}

pub fn figures(judged: &[Judged]) -> Figures {
    let units: Vec<&Unit> = judged.iter().map(|it| &it.unit).collect();
    let nab: Vec<&NabFile> = judged.iter().filter_map(|it| it.nab.as_ref()).collect();
    let volumes: Vec<(f64, f64)> = judged.iter().filter_map(|it| it.volume).collect();
    let mean = |sum: f64| (!volumes.is_empty()).then(|| sum / volumes.len() as f64);
    let mut services: BTreeMap<&str, Vec<Episode>> = BTreeMap::new();
    for it in judged {
        services.entry(&it.service).or_default().extend(&it.episodes);
    }
    let (mut all, mut right) = (0, 0);
    for episodes in services.into_values() {
        let (more, good) = incidents::incidents(episodes);
        (all, right) = (all + more, right + good);
    }
    let acted: Vec<_> = units.iter().map(|it| it.of_alerts(&incidents::acted_rows(&it.scores))).collect();
    let raw = incidents::raw_alerts_at_equal_recall(&units, &events::thresholds(&units), &acted);
    let weeks: f64 = units.iter().map(|unit| unit.weeks()).sum();
    Figures {
        series: judged.len(),
        event: events::at(&units, ACT_AT),
        sweep: events::sweep(&units),
        delayed: points::delayed_f1(&units, ACT_AT),
        nab: nab::score(&nab, ACT_AT),
        vus_pr: mean(volumes.iter().map(|it| it.0).sum()),
        auc_pr: mean(volumes.iter().map(|it| it.1).sum()),
        incidents: all,
        incident_precision: (all > 0).then(|| share(right as f64, all as f64)),
        incident_recall: events::summed(&units, &acted).recall,
        incidents_per_week: share(all as f64, weeks),
        noise_fewer: incidents::fewer(all, raw),
        us_per_point: share(
            judged.iter().map(|it| it.took_us).sum(),
            judged.iter().map(|it| it.rows as f64).sum(),
        ),
    }
}
