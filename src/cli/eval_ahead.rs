//! `tars eval --ahead`: compares forecasts on a folder of series. One series at a time is in memory.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::eval::{csv_of, manifest, series, write};
use super::failure::{Failure, Kind};
use super::output::{Console, Piece, Table};
use crate::eval::{AheadFigures, Answers, ForecasterName, ahead_figures, foresee};

#[derive(Debug, Args)]
pub struct Ahead {
    /// Judge what `type: forecast` triggers ask, 15 and 30 minutes ahead, instead of detectors
    #[arg(long, conflicts_with_all = ["models", "every", "no_vus", "scores", "report", "causes"])]
    pub ahead: bool,
}

/// How far ahead, seconds.
const HORIZONS_S: [u32; 2] = [900, 1800];

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    dataset: String,
    ahead_s: u32,
    forecaster: &'static str,
    series: usize,
    rows: usize,
    /// Against the same minute of the day before.
    mase: f64,
    /// Of the interval for nine of ten.
    coverage: Option<f64>,
    sure: usize,
    sure_said: Option<f64>,
    sure_came: Option<f64>,
    likely: usize,
    likely_said: Option<f64>,
    likely_came: Option<f64>,
}

/// Looks ahead and judges, and prints a line for each data set, distance and forecaster.
///
/// # Errors
/// Exit code 2 when the folder or a file in it cannot be used; 1 when none of its series can be looked ahead in.
pub fn run(
    folder: &Path,
    datasets: &[String],
    csv: Option<&PathBuf>,
    console: &Console,
) -> Result<(), Failure> {
    let lines = measured(folder, datasets)?;
    if lines.is_empty() {
        return Err(Failure::new(Kind::No, "no series of this folder can be looked ahead in")
            .hint("a series needs a value every ten minutes or more often, and more than a day of them"));
    }
    if let Some(file) = csv {
        write(file, &csv_of(&HEADERS, lines.iter().map(cells)))?;
    }
    let name = |it: &Line| format!("{}/{}/{}", it.dataset, it.ahead_s, it.forecaster);
    let names: Vec<String> = lines.iter().map(name).collect();
    console.list(&table(&lines), &names, &lines, "no series")
}

/// The rows of a page, below [`HEADERS`].
///
/// # Errors
/// When the folder or a file in it cannot be used.
pub fn rows(folder: &Path, datasets: &[String]) -> Result<Vec<Vec<String>>, Failure> {
    let mut lines = measured(folder, datasets)?;
    lines.sort_by(|a, b| a.dataset.cmp(&b.dataset));
    Ok(lines.iter().map(cells).collect())
}

/// A line for each data set, distance and forecaster.
fn measured(folder: &Path, datasets: &[String]) -> Result<Vec<Line>, Failure> {
    let mut wanted = manifest(folder)?;
    wanted.retain(|name, _| datasets.is_empty() || datasets.contains(name));
    let mut found = HORIZONS_S.map(|_| Vec::new());
    for (dataset, entry) in wanted.iter().flat_map(|(name, all)| all.iter().map(move |it| (name, it))) {
        let rows = series(folder, &entry.file)?;
        for (horizon_s, found) in HORIZONS_S.into_iter().zip(&mut found) {
            // Once for its data set, once for all of them together.
            for name in [dataset.as_str(), "all"] {
                found.extend(foresee(entry, &rows, horizon_s).map(|it| (name, it)));
            }
        }
    }
    let mut lines = Vec::new();
    for (ahead_s, found) in HORIZONS_S.into_iter().zip(&found) {
        for (dataset, figures) in ahead_figures(found) {
            let of = ForecasterName::ALL.into_iter().zip(figures).filter(|it| it.1.series > 0);
            lines.extend(of.map(|(name, it)| line(&dataset, ahead_s, name, it)));
        }
    }
    Ok(lines)
}

fn line(dataset: &str, ahead_s: u32, name: ForecasterName, it: AheadFigures) -> Line {
    let AheadFigures { series, rows, mase, coverage, sure, likely } = it;
    let of = |it: Answers| it.said_and_came().unzip();
    let ((sure_said, sure_came), (likely_said, likely_came)) = (of(sure), of(likely));
    Line {
        dataset: dataset.to_owned(),
        ahead_s,
        forecaster: name.as_str(),
        series,
        rows,
        mase,
        coverage,
        sure: sure.count,
        sure_said,
        sure_came,
        likely: likely.count,
        likely_said,
        likely_came,
    }
}

pub const HEADERS: [&str; 13] = [
    "DATASET",
    "AHEAD",
    "FORECASTER",
    "SERIES",
    "ROWS",
    "MASE",
    "COVERAGE",
    "SURE",
    "SAID",
    "CAME",
    "LIKELY",
    "L-SAID",
    "L-CAME",
];

fn cells(line: &Line) -> Vec<String> {
    let share = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), |it| format!("{it:.3}"));
    vec![
        line.dataset.clone(),
        format!("{}m", line.ahead_s / 60),
        line.forecaster.to_owned(),
        line.series.to_string(),
        line.rows.to_string(),
        format!("{:.3}", line.mase),
        share(line.coverage),
        line.sure.to_string(),
        share(line.sure_said),
        share(line.sure_came),
        line.likely.to_string(),
        share(line.likely_said),
        share(line.likely_came),
    ]
}

fn table(lines: &[Line]) -> Table {
    let row = |line: &Line| cells(line).into_iter().map(Piece::from).collect();
    Table { headers: HEADERS.to_vec(), wide: 0, rows: lines.iter().map(row).collect() }
}
