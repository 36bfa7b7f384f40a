//! Judges forecasts on series: how far off they are against "as yesterday at this time" (MASE, with the seasonal naive
//! forecast as its scale: Hyndman and Koehler 2006), and how often the truth lies in the interval that was promised for nine
//! of ten. A series comes in row by row, figures of a data set go out. A forecaster sees no row that is later than the moment
//! it speaks at, and no label.

use std::collections::BTreeMap;

use super::quantile::quantile;
use super::read::{Labelled, SeriesEntry};
use crate::detect::forecast::{Ahead, Forecaster};
use crate::model::forecast::Crossing;

/// A coarser grid has no value between now and what is asked for.
const INTERVAL_S_MAX: u32 = 600;
const DAY_S: usize = 86_400;
/// Fewest judged rows of a series that count.
const ROWS_LEAST: usize = 100;

/// Who looks ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForecasterName {
    /// The value now.
    Last,
    /// The mean of the last times of this length.
    Average,
    /// What `type: forecast` triggers ask.
    Tars,
}

impl ForecasterName {
    pub const ALL: [Self; 3] = [Self::Last, Self::Average, Self::Tars];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Average => "average",
            Self::Tars => "tars",
        }
    }
}

/// How probable limits are is asked every so many rows.
const ASK_EVERY: usize = 10;
/// Limits are at these quantiles of what came before the judged part, to be crossed on the outer side.
const LIMITS_AT: [f64; 4] = [0.01, 0.1, 0.9, 0.99];
/// From here on an answer is sure, as policies ask unless they say otherwise; and from here on it is likely.
const SURE: f64 = 0.9;
const LIKELY: f64 = 0.5;

/// Answers of a kind: that a limit is crossed with some probability; and what came.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Answers {
    pub count: usize,
    said: f64,
    came: usize,
}

impl Answers {
    fn note(&mut self, probability: f64, came: bool) {
        self.count += 1;
        self.said += probability;
        self.came += usize::from(came);
    }

    fn and(self, other: Self) -> Self {
        let (count, came) = (self.count + other.count, self.came + other.came);
        Self { count, said: self.said + other.said, came }
    }

    /// Mean probability that was said, and share of what came; `None`: nothing was said.
    #[must_use]
    pub fn said_and_came(&self) -> Option<(f64, f64)> {
        let count = self.count as f64;
        (self.count > 0).then(|| (self.said / count, self.came as f64 / count))
    }
}

/// What one forecaster came to on one series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Foreseen {
    sure: Answers,
    likely: Answers,
    rows: usize,
    off: f64,
    off_yesterday: f64,
    promised: usize,
    kept: usize,
}

impl Foreseen {
    fn note(&mut self, ahead: Ahead, has_interval: bool, truth: f64, yesterday: f64) {
        self.rows += 1;
        self.off += (truth - ahead.expected).abs();
        self.off_yesterday += (truth - yesterday).abs();
        if has_interval {
            self.promised += 1;
            self.kept += usize::from((ahead.interval.0..=ahead.interval.1).contains(&truth));
        }
    }

    /// Asks for the limits that are not crossed `now`; what comes in the time that is asked for are `extremes`.
    fn ask(&mut self, forecaster: &Forecaster, limits: &[Crossing], now: f64, extremes: Option<(f64, f64)>) {
        let Some((lowest, highest)) = extremes else { return };
        for crossing in limits {
            let crosses = |low: f64, high: f64| match *crossing {
                Crossing::Above(limit) => high >= limit,
                Crossing::Below(limit) => low <= limit,
            };
            let Some(probability) = forecaster.probability(*crossing).filter(|_| !crosses(now, now)) else {
                continue;
            };
            match probability {
                SURE.. => self.sure.note(probability, crosses(lowest, highest)),
                LIKELY.. => self.likely.note(probability, crosses(lowest, highest)),
                _ => {}
            }
        }
    }

    /// Error against the same minute of the day before; `None` where that was never wrong, or too few rows were judged.
    fn mase(&self) -> Option<f64> {
        (self.rows >= ROWS_LEAST && self.off_yesterday > 0.0).then(|| self.off / self.off_yesterday)
    }
}

/// Figures of one data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AheadFigures {
    pub series: usize,
    pub rows: usize,
    /// Mean over the series: none of them counts more for being long.
    pub mase: f64,
    /// Share of the rows, of those with an interval; `None`: nothing was promised.
    pub coverage: Option<f64>,
    /// Of all series, also of those that are not judged by their error.
    pub sure: Answers,
    pub likely: Answers,
}

/// Walks the series once with every forecaster, `horizon_s` ahead; `None` when its grid is too coarse to look so far ahead.
#[must_use]
pub fn foresee(entry: &SeriesEntry, series: &Labelled, horizon_s: u32) -> Option<Vec<Foreseen>> {
    let interval_s = entry.interval_s.max(1);
    if interval_s > INTERVAL_S_MAX || interval_s > horizon_s {
        return None;
    }
    let horizon = (horizon_s / interval_s) as usize;
    let day = DAY_S / interval_s as usize;
    let grid = Grid::of(series, interval_s);
    let mut forecaster = Forecaster::new(horizon, day);
    let mut recent = 0.0;
    let mut found = vec![Foreseen::default(); ForecasterName::ALL.len()];
    let judged_from = grid.slot_of(series.times_s.get(entry.score_from).copied().unwrap_or(i64::MAX));
    let limits = grid.limits(judged_from);
    let tars = ForecasterName::ALL.len() - 1;
    for (slot, now) in grid.values.iter().enumerate() {
        let Some(now) = *now else { continue };
        recent += (now - recent) / (horizon as f64).min(slot as f64 + 1.0);
        forecaster.push((grid.first + slot) as u64, now);
        if slot >= judged_from && slot % ASK_EVERY == 0 {
            found[tars].ask(&forecaster, &limits, now, grid.extremes(slot, horizon));
        }
        let (truth, yesterday) = (grid.at(slot + horizon), grid.before(slot + horizon, day));
        let (Some(truth), Some(yesterday), true) = (truth, yesterday, slot >= judged_from) else { continue };
        // All are judged on the same rows: those on which the one that may stay silent speaks.
        let Some(ahead) = forecaster.ahead() else { continue };
        let plain = |expected| Ahead { expected, interval: (expected, expected) };
        for (name, of) in ForecasterName::ALL.into_iter().zip(&mut found) {
            let (said, promises) = match name {
                ForecasterName::Last => (plain(now), false),
                ForecasterName::Average => (plain(recent), false),
                ForecasterName::Tars => (ahead, true),
            };
            of.note(said, promises, truth, yesterday);
        }
    }
    Some(found)
}

/// A series on its regular grid.
struct Grid {
    /// Slot of the first value, counted from midnight.
    first: usize,
    start_s: i64,
    interval_s: i64,
    values: Vec<Option<f64>>,
}

impl Grid {
    fn of(series: &Labelled, interval_s: u32) -> Self {
        let interval_s = i64::from(interval_s);
        let start_s = series.times_s.first().copied().unwrap_or_default();
        let first = usize::try_from(start_s.rem_euclid(DAY_S as i64) / interval_s).unwrap_or_default();
        let mut grid = Self { first, start_s, interval_s, values: Vec::new() };
        for (at_s, value) in series.times_s.iter().zip(&series.values) {
            let slot = grid.slot_of(*at_s);
            // A gap longer than the series has rows would be a mistake in its times.
            if slot > 2 * series.values.len() {
                break;
            }
            if slot >= grid.values.len() {
                grid.values.resize(slot + 1, None);
            }
            grid.values[slot] = *value;
        }
        grid
    }

    fn slot_of(&self, at_s: i64) -> usize {
        usize::try_from(at_s.saturating_sub(self.start_s) / self.interval_s).unwrap_or_default()
    }

    /// At quantiles of what came before `slot`; none where nothing did.
    fn limits(&self, slot: usize) -> Vec<Crossing> {
        let mut before: Vec<f64> = self.values.iter().take(slot).copied().flatten().collect();
        before.retain(|it| it.is_finite());
        before.sort_unstable_by(f64::total_cmp);
        let limit = |share: f64| match share < 0.5 {
            true => Crossing::Below(quantile(&before, share)),
            false => Crossing::Above(quantile(&before, share)),
        };
        if before.is_empty() { Vec::new() } else { LIMITS_AT.map(limit).to_vec() }
    }

    /// The smallest and the largest of the `count` slots after `slot`; `None` where one of them is a gap, or after the end.
    fn extremes(&self, slot: usize, count: usize) -> Option<(f64, f64)> {
        let mut coming = self.values.get(slot + 1..slot + 1 + count)?.iter().copied();
        coming.try_fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
            it.map(|it| (low.min(it), high.max(it)))
        })
    }

    fn at(&self, slot: usize) -> Option<f64> {
        self.values.get(slot).copied().flatten()
    }

    fn before(&self, slot: usize, by: usize) -> Option<f64> {
        slot.checked_sub(by).and_then(|slot| self.at(slot))
    }
}

/// Figures of each data set, one per forecaster in the order of [`ForecasterName::ALL`].
#[must_use]
pub fn ahead_figures(found: &[(&str, Vec<Foreseen>)]) -> BTreeMap<String, Vec<AheadFigures>> {
    let mut sets: BTreeMap<&str, Vec<&[Foreseen]>> = BTreeMap::new();
    for (dataset, of_series) in found {
        sets.entry(dataset).or_default().push(of_series);
    }
    let figures = |all: &[&[Foreseen]], index: usize| {
        let each: Vec<Foreseen> = all.iter().map(|it| it[index]).filter(|it| it.mase().is_some()).collect();
        let sum = |of: fn(&Foreseen) -> usize| each.iter().map(of).sum::<usize>();
        let (promised, kept) = (sum(|it| it.promised), sum(|it| it.kept));
        AheadFigures {
            series: each.len(),
            rows: sum(|it| it.rows),
            mase: each.iter().filter_map(Foreseen::mase).sum::<f64>() / each.len().max(1) as f64,
            coverage: (promised > 0).then(|| kept as f64 / promised as f64),
            sure: all.iter().map(|it| it[index].sure).fold(Answers::default(), Answers::and),
            likely: all.iter().map(|it| it[index].likely).fold(Answers::default(), Answers::and),
        }
    };
    let of_set = |all: &Vec<&[Foreseen]>| {
        (0..ForecasterName::ALL.len()).map(|index| figures(all, index)).collect::<Vec<_>>()
    };
    sets.iter().map(|(name, all)| ((*name).to_owned(), of_set(all))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON_S: u32 = 900;
    const INTERVAL_S: u32 = 300;

    /// Ten days of `value(slot)`.
    fn series(value: impl Fn(usize) -> f64) -> (SeriesEntry, Labelled) {
        let rows = 10 * DAY_S / INTERVAL_S as usize;
        let times_s = (0..rows as i64).map(|it| it * i64::from(INTERVAL_S)).collect();
        let values = (0..rows).map(|it| Some(value(it))).collect();
        let series = Labelled { times_s, values, labels: vec![false; rows] };
        (SeriesEntry::of_file("d", "a.csv", &series), series)
    }

    fn figures_of(value: impl Fn(usize) -> f64) -> Vec<AheadFigures> {
        let (entry, series) = series(value);
        let found = foresee(&entry, &series, HORIZON_S).unwrap();
        ahead_figures(&[("d", found)]).remove("d").unwrap()
    }

    /// Noise that is the same in every run.
    fn noise(slot: usize) -> f64 {
        let mixed = (slot as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    }

    #[test]
    fn a_value_that_wanders_is_foreseen_better_than_as_yesterday_and_one_of_the_clock_is_not_foreseen_by_the_last()
     {
        let slope = figures_of(|it| it as f64 + noise(it));
        let [last, average, tars] = [0, 1, 2].map(|it| slope[it].mase);
        // Three slots of a line of one per slot are missed, against 288 of a day.
        assert!((last - 3.0 / 288.0).abs() < 2e-3, "{last}");
        assert!(average > last && tars < last, "{average} {tars}");
        let clock = figures_of(|it| if it / 3 % 2 == 0 { 1.0 } else { -1.0 } + noise(it));
        assert!(clock[0].mase > 2.0, "what is now is the opposite of what will be: {clock:?}");
        assert!(clock[2].mase < 1.2, "{clock:?}");
    }

    #[test]
    fn the_interval_is_judged_by_what_came_and_only_where_there_is_one() {
        let noisy = figures_of(|it| 100.0 + 10.0 * noise(it));
        let covered = noisy[2].coverage.unwrap();
        assert!((0.86..=0.95).contains(&covered), "{covered}");
        assert_eq!((noisy[0].coverage, noisy[1].coverage), (None, None));
        assert_eq!(noisy[0].rows, noisy[2].rows, "all are judged on the same rows");
    }

    #[test]
    fn what_was_said_of_limits_is_held_against_what_came() {
        let asked = figures_of(|it| 100.0 + 10.0 * (it as f64 / 40.0).sin() + noise(it));
        let (said, came) = asked[2].sure.said_and_came().unwrap();
        assert!(said >= SURE && (said - came).abs() < 0.15, "{said} {came}");
        let (said, _) = asked[2].likely.said_and_came().unwrap();
        assert!((LIKELY..SURE).contains(&said), "{said}");
        assert_eq!(asked[0].sure.said_and_came(), None, "nobody asks who gives no probability");
    }

    #[test]
    fn a_limit_comes_from_the_past_and_what_comes_is_known_only_without_a_gap() {
        let (_, mut rows) = series(|it| it as f64);
        rows.values[7] = None;
        let grid = Grid::of(&rows, INTERVAL_S);
        assert_eq!(grid.limits(0), []);
        assert_eq!(grid.limits(2)[2], Crossing::Above(0.9));
        assert_eq!([grid.extremes(0, 3), grid.extremes(5, 3)], [Some((1.0, 3.0)), None]);
        assert_eq!(grid.extremes(grid.values.len() - 3, 3), None);
    }

    #[test]
    fn a_grid_that_is_too_coarse_and_a_series_that_never_moves_are_not_judged() {
        let (entry, rows) = series(|_| 5.0);
        assert_eq!(foresee(&SeriesEntry { interval_s: 3600, ..entry.clone() }, &rows, HORIZON_S), None);
        let found = foresee(&entry, &rows, HORIZON_S).unwrap();
        assert_eq!(ahead_figures(&[("d", found)])["d"][0].series, 0);
    }

    #[test]
    fn a_jump_of_the_clock_makes_a_gap_and_no_endless_grid() {
        let (entry, mut rows) = series(noise);
        let last = rows.times_s.last_mut().unwrap();
        *last += 1_000_000_000_000;
        assert!(foresee(&entry, &rows, HORIZON_S).is_some());
    }
}
