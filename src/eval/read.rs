//! Reads labelled series: the manifest and CSV with `timestamp,value,label`. Text comes in; series, or an error
//! with line and fix, go out. Nothing is guessed: what cannot be read is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

/// The columns of a series, in the order they are written in.
pub(super) const COLUMNS: [&str; 3] = ["timestamp", "value", "label"];

/// Most rows of one series.
pub const ROWS_MAX: usize = 2_000_000;
/// Rows before this share of a series without a manifest are warm-up.
const WARM_UP_SHARE: f64 = 0.15;
/// The widest buffer of VUS-PR, rows, where no manifest names it.
const VUS_WINDOW: usize = 100;

/// What is wrong, on which line, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct ReadError {
    pub line: usize,
    pub what: String,
    pub fix: &'static str,
}

impl ReadError {
    fn new(line: usize, what: impl Into<String>, fix: &'static str) -> Self {
        Self { line, what: what.into(), fix }
    }
}

/// One series, row by row; a missing value is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labelled {
    pub times_s: Vec<i64>,
    pub values: Vec<Option<f64>>,
    pub labels: Vec<bool>,
}

/// Reads one CSV.
///
/// # Errors
/// [`ReadError`] for the first line that is wrong.
pub fn read_series(text: &str) -> Result<Labelled, ReadError> {
    let mut lines = text.lines().enumerate();
    let header = lines.next().map(|it| it.1.trim()).unwrap_or_default();
    if header.is_empty() {
        return Err(ReadError::new(1, "the file is empty", "put `timestamp,value,label` on its first line"));
    }
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    let mut places = [0; 3];
    for (place, wanted) in places.iter_mut().zip(COLUMNS) {
        *place = names.iter().position(|name| *name == wanted).ok_or_else(|| {
            let fix = "the columns are timestamp (unix seconds), value and label (0 or 1)";
            ReadError::new(1, format!("there is no column {wanted}"), fix)
        })?;
    }
    let mut series = Labelled::default();
    for (index, line) in lines.filter(|it| !it.1.trim().is_empty()) {
        if series.values.len() == ROWS_MAX {
            let what = format!("more than {ROWS_MAX} rows");
            return Err(ReadError::new(index + 1, what, "split it by time into several files"));
        }
        row(index + 1, line, &places, names.len(), &mut series)?;
    }
    match series.values.is_empty() {
        true => Err(ReadError::new(1, "there are no rows below the header", "add rows or remove the file")),
        false => Ok(series),
    }
}

fn row(
    line: usize,
    text: &str,
    places: &[usize; 3],
    columns: usize,
    series: &mut Labelled,
) -> Result<(), ReadError> {
    let cells: Vec<&str> = text.split(',').map(str::trim).collect();
    if cells.len() != columns {
        let what = format!("{} cells where the header has {columns}", cells.len());
        return Err(ReadError::new(line, what, "leave the cell of a missing value empty, with its comma"));
    }
    let [time, value, label] = places.map(|place| cells[place]);
    let time_s: i64 = time.parse().map_err(|_| {
        ReadError::new(line, format!("the timestamp {time:?} is no number"), "write whole unix seconds")
    })?;
    if series.times_s.last().is_some_and(|last| *last > time_s) {
        let what = format!("the timestamp {time_s} is before the one above it");
        return Err(ReadError::new(line, what, "sort the rows by timestamp"));
    }
    let value = match value {
        "" => None,
        text => Some(text.parse::<f64>().ok().filter(|it| it.is_finite()).ok_or_else(|| {
            let what = format!("the value {text:?} is no finite number");
            ReadError::new(line, what, "leave the cell of a missing value empty")
        })?),
    };
    let label = match label {
        "0" => false,
        "1" => true,
        other => {
            let what = format!("the label {other:?} is neither 0 nor 1");
            return Err(ReadError::new(line, what, "write 1 in an event and 0 outside"));
        }
    };
    series.times_s.push(time_s);
    series.values.push(value);
    series.labels.push(label);
    Ok(())
}

/// One series of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesEntry {
    pub id: String,
    pub dataset: String,
    /// What its incidents are grouped by.
    pub service: String,
    pub file: String,
    pub interval_s: u32,
    /// The first row that is judged; all before it is warm-up.
    pub score_from: usize,
    pub vus_window: usize,
    /// Windows of the Numenta benchmark, as rows.
    pub nab_windows: Option<Vec<(usize, usize)>>,
}

impl SeriesEntry {
    /// What a series without a manifest is: the usual distance of its rows, and a warm-up of 15 %.
    #[must_use]
    pub fn of_file(dataset: &str, file: &str, series: &Labelled) -> Self {
        let id = file.strip_suffix(".csv").unwrap_or(file).to_owned();
        let mut steps: Vec<i64> = series.times_s.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_unstable();
        let middle = steps.get(steps.len() / 2).copied().unwrap_or(60);
        Self {
            service: id.clone(),
            id,
            dataset: dataset.to_owned(),
            file: file.to_owned(),
            interval_s: u32::try_from(middle).unwrap_or(60).max(1),
            score_from: (WARM_UP_SHARE * series.values.len() as f64) as usize,
            vus_window: VUS_WINDOW,
            nab_windows: None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Wire {
    series: Vec<WireSeries>,
    #[serde(default)]
    multi: Vec<WireServer>,
}

#[derive(Debug, Deserialize)]
struct WireSeries {
    id: String,
    dataset: String,
    #[serde(default)]
    group: String,
    service: Option<String>,
    file: String,
    interval_s: u32,
    score_from: usize,
    #[serde(default = "vus_window")]
    vus_window: usize,
    nab_windows: Option<Vec<(usize, usize)>>,
}

fn vus_window() -> usize {
    VUS_WINDOW
}

#[derive(Debug, Deserialize)]
struct WireServer {
    id: String,
}

/// Series by data set, both in order.
pub type Manifest = BTreeMap<String, Vec<SeriesEntry>>;

/// Reads `manifest.json`. Series are one service if the manifest says so, or if their group is a server that it
/// lists under `multi`; a group that is only a kind of series joins nothing.
///
/// # Errors
/// [`ReadError`] when it is no manifest, or names a file outside of its folder.
pub fn read_manifest(text: &str) -> Result<Manifest, ReadError> {
    let wire: Wire = serde_json::from_str(text).map_err(|error| {
        let fix = "a series has id, dataset, file, interval_s and score_from (tars eval --help); without manifest.json the CSV \
                   files are read alone";
        ReadError::new(error.line(), error.to_string(), fix)
    })?;
    let server = |group: &str| wire.multi.iter().any(|it| it.id.rsplit('/').next() == Some(group));
    let mut found = Manifest::new();
    for it in wire.series {
        if it.file.starts_with('/') || it.file.split('/').any(|part| part == "..") {
            let what = format!("{:?} lies outside of the folder", it.file);
            return Err(ReadError::new(1, what, "name files below the folder of the manifest"));
        }
        if it.interval_s == 0 {
            let what = format!("interval_s of {:?} is 0", it.id);
            return Err(ReadError::new(1, what, "write the distance of two rows in seconds"));
        }
        let own = if server(&it.group) { it.group.clone() } else { it.id.clone() };
        found.entry(it.dataset.clone()).or_default().push(SeriesEntry {
            service: it.service.unwrap_or(own),
            id: it.id,
            dataset: it.dataset,
            file: it.file,
            interval_s: it.interval_s,
            score_from: it.score_from,
            vus_window: it.vus_window,
            nab_windows: it.nab_windows,
        });
    }
    Ok(found)
}
