//! Labelled series as they are written: new rows joined to old ones, labels set over a time, CSV and manifest. Values
//! come in, text goes out; what was labelled before is kept.

use std::collections::BTreeMap;

use serde::Serialize;

use super::read::{COLUMNS, Labelled, ROWS_MAX, SeriesEntry};

impl Labelled {
    /// Adds the rows that are newer than the newest one here, without a label. Beyond the most rows of a series the
    /// oldest go.
    pub fn extend(&mut self, rows: impl IntoIterator<Item = (i64, Option<f64>)>) -> usize {
        let mut added = 0;
        for (at_s, value) in rows {
            if self.times_s.last().is_none_or(|last| *last < at_s) {
                self.times_s.push(at_s);
                self.values.push(value);
                self.labels.push(false);
                added += 1;
            }
        }
        let surplus = self.times_s.len().saturating_sub(ROWS_MAX);
        self.times_s.drain(..surplus);
        self.values.drain(..surplus);
        self.labels.drain(..surplus);
        added
    }

    /// Labels the rows in `from_s..=to_s`; how many changed comes back.
    pub fn mark(&mut self, (from_s, to_s): (i64, i64), label: bool) -> usize {
        let mut changed = 0;
        for (at_s, it) in self.times_s.iter().zip(&mut self.labels) {
            if (from_s..=to_s).contains(at_s) && *it != label {
                *it = label;
                changed += 1;
            }
        }
        changed
    }

    /// Events: runs of rows with the label 1.
    #[must_use]
    pub fn events(&self) -> usize {
        let before = std::iter::once(&false).chain(&self.labels);
        self.labels.iter().zip(before).filter(|(now, before)| **now && !**before).count()
    }

    /// The rows as [`super::read_series`] reads them.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = COLUMNS.join(",");
        text.push('\n');
        for ((at_s, value), label) in self.times_s.iter().zip(&self.values).zip(&self.labels) {
            let value = value.map_or_else(String::new, |it| it.to_string());
            text.push_str(&format!("{at_s},{value},{}\n", u8::from(*label)));
        }
        text
    }
}

#[derive(Serialize)]
struct Written<'a> {
    series: Vec<WrittenSeries<'a>>,
}

#[derive(Serialize)]
struct WrittenSeries<'a> {
    id: &'a str,
    dataset: &'a str,
    group: &'a str,
    service: &'a str,
    file: &'a str,
    rows: usize,
    interval_s: u32,
    score_from: usize,
    events: usize,
    label_rate: f64,
    vus_window: usize,
}

/// `manifest.json` for these series, as [`super::read_manifest`] reads it.
#[must_use]
pub fn manifest(series: &BTreeMap<String, (SeriesEntry, Labelled)>) -> String {
    let series = series.values().map(|(entry, labelled)| {
        let rows = labelled.labels.len();
        let in_events = labelled.labels.iter().filter(|it| **it).count();
        WrittenSeries {
            id: &entry.id,
            dataset: &entry.dataset,
            group: &entry.service,
            service: &entry.service,
            file: &entry.file,
            rows,
            interval_s: entry.interval_s,
            score_from: entry.score_from,
            events: labelled.events(),
            label_rate: in_events as f64 / rows.max(1) as f64,
            vus_window: entry.vus_window,
        }
    });
    let written = Written { series: series.collect() };
    // Texts and numbers cannot fail to serialise.
    serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{read_manifest, read_series};
    use super::*;

    fn labelled(rows: &[(i64, Option<f64>)]) -> Labelled {
        let mut labelled = Labelled::default();
        labelled.extend(rows.iter().copied());
        labelled
    }

    #[test]
    fn a_second_recording_adds_what_is_new_and_keeps_labels() {
        let mut it = labelled(&[(0, Some(1.0)), (60, None)]);
        assert_eq!(it.mark((0, 60), true), 2);
        assert_eq!(it.extend([(0, Some(9.0)), (60, Some(9.0)), (120, Some(3.0))]), 1);
        assert_eq!(it.values, [Some(1.0), None, Some(3.0)]);
        assert_eq!(it.labels, [true, true, false]);
    }

    #[test]
    fn a_label_holds_from_its_first_to_its_last_second() {
        let mut it = labelled(&[(0, None), (60, None), (120, None), (180, None)]);
        assert_eq!((it.mark((60, 120), true), it.mark((60, 120), true)), (2, 0));
        assert_eq!((it.labels.clone(), it.events()), (vec![false, true, true, false], 1));
        assert_eq!(it.mark((120, 500), false), 1);
        assert_eq!((it.mark((180, 180), true), it.events()), (1, 2));
    }

    #[test]
    fn the_manifest_is_read_back() {
        let it = labelled(&[(0, Some(1.0)), (30, Some(2.0)), (60, Some(3.0))]);
        let entry = SeriesEntry {
            service: "backend".into(),
            ..SeriesEntry::of_file("latency", "latency/backend.csv", &it)
        };
        let text = manifest(&BTreeMap::from([("latency/backend.csv".to_owned(), (entry.clone(), it))]));
        assert_eq!(read_manifest(&text).unwrap()["latency"], [entry]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rows in prop::collection::btree_map(-1_000_000_i64..4_000_000_000, prop::option::of(-1e12_f64..1e12), 1..50),
            marked in (0_i64..4_000_000_000, 0_i64..1_000_000_000),
        ) {
            let mut it = labelled(&rows.into_iter().collect::<Vec<_>>());
            it.mark((marked.0, marked.0 + marked.1), true);
            prop_assert_eq!(read_series(&it.csv()).unwrap(), it);
        }
    }
}
