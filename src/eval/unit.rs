//! The scored stretch of one series: scores, events, and how alerts outside of events become pages.
//! No figure of more than one series is made here.

/// Alerts at most this far apart are one page, seconds; never less than two rows.
const MERGE_S: f64 = 600.0;
/// A page that lasts longer than this pages again, seconds: who was paged looks away.
const REPEAT_S: f64 = 4.0 * 3600.0;
/// Rows before and after an event in which an alert still counts as finding it.
pub const SLACK_ROWS: usize = 2;
pub const WEEK_S: f64 = 604_800.0;

/// Rows `first..=last` that carry a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub first: usize,
    pub last: usize,
}

/// The runs of true labels.
pub fn runs(labels: &[bool]) -> Vec<Event> {
    let mut found: Vec<Event> = Vec::new();
    for (row, _) in labels.iter().enumerate().filter(|(_, label)| **label) {
        match found.last_mut() {
            Some(event) if event.last + 1 == row => event.last = row,
            _ => found.push(Event { first: row, last: row }),
        }
    }
    found
}

/// One series from the row on from which it is judged.
#[derive(Debug, Clone)]
pub struct Unit {
    pub scores: Vec<f64>,
    pub labels: Vec<bool>,
    pub events: Vec<Event>,
    pub interval_s: f64,
    pub slack: usize,
    /// Rows in an event or within `slack` of one.
    pub near: Vec<bool>,
}

/// What one threshold comes to on one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub found: Vec<bool>,
    pub false_pages: usize,
    /// First alert minus start, seconds, of each event that was found.
    pub delays_s: Vec<f64>,
}

impl Unit {
    pub fn new(scores: Vec<f64>, labels: Vec<bool>, interval_s: f64, slack: usize) -> Self {
        let events = runs(&labels);
        let mut near = vec![false; scores.len()];
        for event in &events {
            let last = (event.last + slack).min(near.len().saturating_sub(1));
            near[event.first.saturating_sub(slack)..=last].fill(true);
        }
        Self { scores, labels, events, interval_s, slack, near }
    }

    pub fn weeks(&self) -> f64 {
        self.scores.len() as f64 * self.interval_s / WEEK_S
    }

    /// Alerts closer than this many rows belong together.
    pub fn gap_rows(&self) -> usize {
        rounded(MERGE_S / self.interval_s).max(2)
    }

    /// The highest score in an event and its slack.
    pub fn highest(&self, event: Event) -> f64 {
        let last = (event.last + self.slack).min(self.scores.len() - 1);
        self.scores[event.first.saturating_sub(self.slack)..=last].iter().copied().fold(f64::MIN, f64::max)
    }

    /// Judges the alerts `score >= threshold`. An event counts once. Alerts outside are merged into pages; one
    /// that runs on from an event, or into it, is free as long as a page lasts.
    pub fn at(&self, threshold: f64) -> Outcome {
        let alerts: Vec<usize> =
            (0..self.scores.len()).filter(|&row| self.scores[row] >= threshold).collect();
        self.of_alerts(&alerts)
    }

    /// The same for any ascending rows of alerts.
    pub fn of_alerts(&self, alerts: &[usize]) -> Outcome {
        let mut outcome = Outcome { false_pages: self.false_pages(alerts), ..Outcome::default() };
        for event in &self.events {
            let from = alerts.partition_point(|&row| row + self.slack < event.first);
            let hit = alerts.get(from).filter(|&&row| row <= event.last + self.slack);
            outcome.found.push(hit.is_some());
            outcome.delays_s.extend(hit.map(|&row| row.saturating_sub(event.first) as f64 * self.interval_s));
        }
        outcome
    }

    fn false_pages(&self, alerts: &[usize]) -> usize {
        let (gap, repeat) = (self.gap_rows(), rounded(REPEAT_S / self.interval_s).max(1));
        let mut pages = 0;
        let mut open: Option<Page> = None;
        let mut last_inside: Option<usize> = None;
        for &row in alerts {
            if self.near[row] {
                last_inside = Some(row);
                if let Some(page) = &mut open {
                    page.then_inside.get_or_insert(row);
                }
                continue;
            }
            match &mut open {
                Some(page) if row - page.last <= gap => {
                    page.last = row;
                    page.then_inside = None;
                }
                _ => {
                    pages += open.take().map_or(0, |page| page.count(gap, repeat));
                    let runs_on = last_inside.is_some_and(|inside| row - inside <= gap);
                    open = Some(Page { first: row, last: row, runs_on, then_inside: None });
                }
            }
        }
        pages + open.map_or(0, |page| page.count(gap, repeat))
    }
}

struct Page {
    first: usize,
    last: usize,
    /// The alerts before it, inside an event, are near.
    runs_on: bool,
    /// The first alert inside an event after its last one.
    then_inside: Option<usize>,
}

impl Page {
    fn count(&self, gap: usize, repeat: usize) -> usize {
        let free = self.runs_on || self.then_inside.is_some_and(|inside| inside - self.last <= gap);
        (self.last - self.first) / repeat + usize::from(!free)
    }
}

/// Half to even, as Python rounds.
fn rounded(value: f64) -> usize {
    value.round_ties_even() as usize
}
