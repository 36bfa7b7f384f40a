//! Stretches worth looking at: events that were missed, found, or paged for nothing, with the values around them.
//! A judged series comes in; at most one clip of each kind per series goes out. What is shown is chosen by
//! score and length alone, never by how it looks.

use super::incidents::ACT_AT;
use super::read::{Labelled, SeriesEntry};
use super::unit::{Event, SLACK_ROWS, Unit};

/// Rows before and after what is shown, least and most.
const MARGIN_ROWS: (usize, usize) = (60, 400);
/// Longest clip, rows; the end of a longer event is cut off.
const ROWS_MAX: usize = 4_000;

/// What happened in a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClipKind {
    /// An event during which no score reached the threshold.
    Missed,
    /// An event that was found.
    Found,
    /// An alert outside of every event.
    ForNothing,
}

impl ClipKind {
    pub const ALL: [Self; 3] = [Self::Missed, Self::Found, Self::ForNothing];
}

/// One stretch of one series, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    pub dataset: String,
    pub series: String,
    pub kind: ClipKind,
    pub times_s: Vec<i64>,
    pub values: Vec<Option<f64>>,
    pub labels: Vec<bool>,
    pub scores: Vec<f64>,
    /// The highest score of what is shown.
    pub peak: f64,
    /// Rows of the event, or of the page.
    pub rows: usize,
}

impl Clip {
    /// Which of two clips of a kind says more: the miss that was farthest from being found, the find that was
    /// clearest, the loudest page for nothing; then the longer one.
    fn weight(&self) -> (f64, usize) {
        let loud = if self.kind == ClipKind::Missed { -self.peak } else { self.peak };
        (loud, self.rows)
    }

    fn says_more_than(&self, other: &Self) -> bool {
        let ((a, rows_a), (b, rows_b)) = (self.weight(), other.weight());
        a.total_cmp(&b).then(rows_a.cmp(&rows_b)).is_gt()
    }
}

/// The clip of each kind that says most about this series.
#[must_use]
pub fn clips(entry: &SeriesEntry, series: &Labelled, scores: &[f64]) -> Vec<Clip> {
    let from = entry.score_from.min(scores.len());
    let slack = if entry.nab_windows.is_some() { 0 } else { SLACK_ROWS };
    let unit = Unit::new(
        scores[from..].to_vec(),
        series.labels[from..].to_vec(),
        f64::from(entry.interval_s),
        slack,
    );
    let mut best: Vec<Clip> = Vec::new();
    let mut offer = |kind, event: Event, peak| {
        let clip = cut(entry, series, scores, (from, event), (kind, peak));
        match best.iter_mut().find(|it| it.kind == kind) {
            Some(known) if clip.says_more_than(known) => *known = clip,
            Some(_) => {}
            None => best.push(clip),
        }
    };
    for event in &unit.events {
        let peak = unit.highest(*event);
        offer(if peak >= ACT_AT { ClipKind::Found } else { ClipKind::Missed }, *event, peak);
    }
    let outside = |row: &usize| !unit.near[*row] && unit.scores[*row] >= ACT_AT;
    let loudest = (0..unit.scores.len())
        .filter(outside)
        .max_by(|a, b| unit.scores[*a].total_cmp(&unit.scores[*b]).then(b.cmp(a)));
    if let Some(row) = loudest {
        offer(ClipKind::ForNothing, Event { first: row, last: row }, unit.scores[row]);
    }
    best
}

fn cut(
    entry: &SeriesEntry,
    series: &Labelled,
    scores: &[f64],
    (from, event): (usize, Event),
    (kind, peak): (ClipKind, f64),
) -> Clip {
    let rows = event.last - event.first + 1;
    let margin = (rows * 2).clamp(MARGIN_ROWS.0, MARGIN_ROWS.1);
    let first = (from + event.first).saturating_sub(margin);
    let last = (from + event.last + margin + 1).min(scores.len()).min(first + ROWS_MAX);
    Clip {
        dataset: entry.dataset.clone(),
        series: entry.id.clone(),
        kind,
        times_s: series.times_s[first..last].to_vec(),
        values: series.values[first..last].to_vec(),
        labels: series.labels[first..last].to_vec(),
        scores: scores[first..last].to_vec(),
        peak,
        rows,
    }
}

/// At most `most` clips: half of them misses, the rest finds and pages for nothing by turns, and of every kind one
/// data set after the other, so that none is left out while another is shown twice.
#[must_use]
pub fn choose(clips: &[Clip], most: usize) -> Vec<Clip> {
    let mut kinds: Vec<Vec<Clip>> = ClipKind::ALL.iter().map(|kind| by_turns(clips, *kind)).collect();
    let mut chosen: Vec<Clip> = Vec::new();
    let turns = [0, 1, 0, 2];
    let mut turn = 0;
    while chosen.len() < most && kinds.iter().any(|it| !it.is_empty()) {
        let kind = &mut kinds[turns[turn % turns.len()]];
        turn += 1;
        if !kind.is_empty() {
            chosen.push(kind.remove(0));
        }
    }
    chosen.sort_by(|a, b| a.kind.cmp(&b.kind).then_with(|| a.series.cmp(&b.series)));
    chosen
}

/// The clips of a kind: first the one of each data set that says most, then the second of each, and so on.
fn by_turns(clips: &[Clip], kind: ClipKind) -> Vec<Clip> {
    let mut of_kind: Vec<&Clip> = clips.iter().filter(|it| it.kind == kind).collect();
    of_kind.sort_by(|a, b| {
        let ((a_loud, a_rows), (b_loud, b_rows)) = (a.weight(), b.weight());
        a.dataset
            .cmp(&b.dataset)
            .then(b_loud.total_cmp(&a_loud))
            .then(b_rows.cmp(&a_rows))
            .then_with(|| a.series.cmp(&b.series))
    });
    let mut place = 0;
    let mut before: Option<&str> = None;
    let mut ranked: Vec<(usize, &Clip)> = Vec::with_capacity(of_kind.len());
    for clip in of_kind {
        place = if before == Some(clip.dataset.as_str()) { place + 1 } else { 0 };
        before = Some(&clip.dataset);
        ranked.push((place, clip));
    }
    ranked.sort_by_key(|(place, _)| *place);
    ranked.into_iter().map(|(_, clip)| clip.clone()).collect()
}
