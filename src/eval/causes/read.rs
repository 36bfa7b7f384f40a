//! Reads root-cause cases: the manifest's `rca[]`, wide CSV with a column per `service|metric`, and call graphs.
//! Text comes in; cases, or an error with line and fix, go out. Nothing is ranked here.

use serde::Deserialize;

use super::super::read::{ROWS_MAX, ReadError};
use crate::detect::cause::Track;

/// Most columns of one wide file.
const COLUMNS_MAX: usize = 10_000;

/// One labelled case, as the manifest has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Case {
    pub id: String,
    pub dataset: String,
    #[serde(default)]
    pub system: String,
    /// The metrics around the incident.
    pub file: String,
    /// Metrics of a quiet time before, where `file` has none.
    pub normal_file: Option<String>,
    /// Pairs of caller and callee.
    pub call_graph: Option<String>,
    /// When the fault began, unix seconds; else it is found from `target`.
    pub inject_ts: Option<i64>,
    pub interval_s: u32,
    pub fault: Option<String>,
    /// The metric that somebody complained about.
    pub target: Option<Target>,
    pub root_cause_service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Target {
    pub node: String,
    pub metric: String,
    #[serde(default)]
    pub agg: String,
}

impl Target {
    /// Is this column the one that is meant?
    #[must_use]
    pub fn is(&self, service: &str, metric: &str) -> bool {
        let named = match self.agg.as_str() {
            "" => metric == self.metric,
            agg => metric.split_once('|') == Some((&self.metric, agg)),
        };
        service == self.node && named
    }
}

#[derive(Debug, Deserialize)]
struct Wire {
    #[serde(default)]
    rca: Vec<Case>,
}

/// The cases of a `manifest.json`.
///
/// # Errors
/// [`ReadError`] when it is no manifest, or names a file outside of its folder.
pub fn read_cases(text: &str) -> Result<Vec<Case>, ReadError> {
    let wire: Wire = serde_json::from_str(text).map_err(|error| ReadError {
        line: error.line(),
        what: error.to_string(),
        fix: "a case has id, dataset, file (columns timestamp and service|metric), interval_s and root_cause_service, and \
              inject_ts or target with node and metric",
    })?;
    for case in &wire.rca {
        let files = [Some(&case.file), case.normal_file.as_ref(), case.call_graph.as_ref()];
        if let Some(outside) = files.into_iter().flatten().find(|it| it.starts_with('/') || it.contains(".."))
        {
            return Err(ReadError {
                line: 1,
                what: format!("{} names {outside}, outside of the folder", case.id),
                fix: "name files relative to manifest.json",
            });
        }
    }
    Ok(wire.rca)
}

/// Pairs of caller and callee, as JSON.
///
/// # Errors
/// [`ReadError`] when it is anything else.
pub fn read_calls(text: &str) -> Result<Vec<(String, String)>, ReadError> {
    serde_json::from_str(text).map_err(|error| ReadError {
        line: error.line(),
        what: error.to_string(),
        fix: "write a JSON list of pairs: [[\"caller\", \"callee\"]]",
    })
}

/// A table with a column per service and metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wide {
    /// Service and metric of each column.
    pub columns: Vec<(String, String)>,
    pub times_s: Vec<i64>,
    /// By column, then by row.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Reads one wide CSV: `timestamp`, then columns called `service|metric`.
///
/// # Errors
/// [`ReadError`] for the first line that is wrong.
pub fn read_wide(text: &str) -> Result<Wide, ReadError> {
    let mut lines = text.lines().enumerate();
    let header = lines.next().map(|it| it.1).unwrap_or_default();
    let names: Vec<&str> = header.split(',').skip(1).collect();
    let wrong = |line: usize, what: String, fix| ReadError { line: line + 1, what, fix };
    if !header.starts_with("timestamp,") || names.len() > COLUMNS_MAX {
        let fix = "the first column is timestamp, the others are called service|metric";
        return Err(wrong(0, format!("this is no header of up to {COLUMNS_MAX} columns"), fix));
    }
    let column = |name: &&str| name.split_once('|').map(|(service, metric)| (service.into(), metric.into()));
    let columns = names.iter().map(|name| {
        column(name)
            .ok_or_else(|| wrong(0, format!("the column {name:?} has no |"), "call it service|metric"))
    });
    let mut wide = Wide { columns: columns.collect::<Result<_, _>>()?, ..Wide::default() };
    wide.values = vec![Vec::new(); wide.columns.len()];
    for (index, line) in lines.filter(|it| !it.1.trim().is_empty()) {
        if wide.times_s.len() == ROWS_MAX {
            return Err(wrong(index, format!("more than {ROWS_MAX} rows"), "split it by time"));
        }
        let mut cells = line.trim_end().split(',');
        let time = cells.next().unwrap_or_default();
        let time_s = time.parse::<f64>().ok().filter(|it| it.is_finite() && it.abs() < 1e12);
        let time_s = time_s.ok_or_else(|| {
            wrong(index, format!("the timestamp {time:?} is no number"), "write whole unix seconds")
        })?;
        wide.times_s.push(time_s as i64);
        for column in &mut wide.values {
            let cell = cells.next().ok_or_else(|| {
                wrong(index, "fewer cells than columns".to_owned(), "leave the cell of a missing value empty")
            })?;
            column.push(cell.parse::<f64>().ok().filter(|it| it.is_finite()));
        }
    }
    Ok(wide)
}

impl Wide {
    /// `later` below this, by the names of its columns; rows stand at a distance of `step_s` from 0 on, because
    /// the clocks of the two may have nothing to do with each other.
    #[must_use]
    pub fn then(mut self, later: &Self, step_s: u32) -> Self {
        let (before, after) = (self.times_s.len(), later.times_s.len());
        for (column, values) in later.columns.iter().zip(&later.values) {
            let place = match self.columns.iter().position(|it| it == column) {
                Some(place) => place,
                None => {
                    self.columns.push(column.clone());
                    self.values.push(vec![None; before]);
                    self.columns.len() - 1
                }
            };
            self.values[place].extend(values);
        }
        for column in &mut self.values {
            column.resize(before + after, None);
        }
        self.times_s = (0..(before + after) as i64).map(|row| row * i64::from(step_s)).collect();
        self
    }

    /// The columns as tracks.
    #[must_use]
    pub fn tracks(&self, step_s: u32) -> Vec<Track<'_>> {
        let start_s = self.times_s.first().copied().unwrap_or_default();
        let columns = self.columns.iter().zip(&self.values);
        columns
            .map(|((service, metric), values)| Track { service, metric, start_s, step_s, values })
            .collect()
    }
}
