//! `tars eval --causes`: compares root-cause rankers on the labelled cases of a folder. One case at a time is in
//! memory. What ranks and what judges is in `src/eval/causes/`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::eval::{csv_of, manifest_text, text, write, wrong};
use super::failure::{Failure, Kind};
use super::output::{Console, Piece, Table};
use crate::config;
use crate::eval::{
    Case, CauseFigures, Placed, RankerName, Wide, beginning, cause_figures, read_calls, read_cases, read_wide,
};
use crate::model::services::ServiceGraph;
use crate::outside::clock::Stopwatch;

/// Largest file of one case.
const CASE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest settings file.
const SETTINGS_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub struct Causes {
    /// Judge root-cause rankers on the cases of the manifest (`rca[]`) instead of detectors
    #[arg(long, conflicts_with_all = ["models", "every", "no_vus", "scores", "report"])]
    pub causes: bool,
    /// With --causes or --report: settings file whose `services` are the calls of cases that come without a graph
    #[arg(long, value_name = "FILE", requires = "calls")]
    pub services: Option<PathBuf>,
    /// Write the ranking with the graph to this file as well: case, rank, service
    #[arg(long, value_name = "FILE", requires = "causes")]
    pub ranks: Option<PathBuf>,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    dataset: String,
    ranker: &'static str,
    cases: usize,
    at_1: f64,
    at_3: f64,
    at_5: f64,
    avg_5: f64,
    mrr: f64,
    us_per_case: f64,
}

/// Ranks and judges, and prints a line for each data set, system and kind of fault, and each ranker.
///
/// # Errors
/// Exit code 2 when the folder or a file in it cannot be used; 1 when it has no such cases.
pub fn run(
    args: &Causes,
    folder: &std::path::Path,
    datasets: &[String],
    csv: Option<&PathBuf>,
    console: &Console,
) -> Result<(), Failure> {
    let (lines, ranks) = measured(args, folder, datasets)?;
    if lines.is_empty() {
        return Err(Failure::new(Kind::No, "there is no such root-cause case in this folder")
            .hint("its manifest.json lists them under `rca`"));
    }
    if let Some(file) = csv {
        write(file, &csv_of(&HEADERS, lines.iter().map(cells)))?;
    }
    if let Some(file) = &args.ranks {
        write(file, &format!("case,rank,service\n{ranks}"))?;
    }
    let names: Vec<String> = lines.iter().map(|it| format!("{}/{}", it.dataset, it.ranker)).collect();
    console.list(&table(&lines), &names, &lines, "no cases")
}

/// The rows of a page, below [`HEADERS`]; none where no manifest lists cases.
///
/// # Errors
/// When the folder or a file in it cannot be used.
pub fn rows(
    args: &Causes,
    folder: &std::path::Path,
    datasets: &[String],
) -> Result<Vec<Vec<String>>, Failure> {
    if !folder.join("manifest.json").is_file() {
        return Ok(Vec::new());
    }
    Ok(measured(args, folder, datasets)?.0.iter().map(cells).collect())
}

/// A line for each data set, system and kind of fault, and each ranker; and the ranks that the last of them gave.
fn measured(
    args: &Causes,
    folder: &std::path::Path,
    datasets: &[String],
) -> Result<(Vec<Line>, String), Failure> {
    let path = folder.join("manifest.json");
    let mut cases = read_cases(&manifest_text(&path)?).map_err(|error| wrong(&path, &error))?;
    cases.retain(|it| datasets.is_empty() || datasets.contains(&it.dataset));
    let declared = declared(args)?;
    let mut results: Vec<Results> = RankerName::ALL.iter().map(|_| Results::default()).collect();
    for case in &cases {
        judge(case, folder, &declared, &mut results)?;
    }
    let mut lines = Vec::new();
    for (ranker, result) in RankerName::ALL.into_iter().zip(&results) {
        let us_per_case = result.took_us / cases.len().max(1) as f64;
        let figures = cause_figures(&result.placed);
        lines.extend(figures.iter().map(|(name, it)| line(name, ranker, it, us_per_case)));
    }
    lines.sort_by(|a, b| a.dataset.cmp(&b.dataset));
    Ok((lines, results.pop().map(|it| it.ranks).unwrap_or_default()))
}

/// What one ranker came to.
#[derive(Default)]
struct Results {
    placed: Vec<Placed>,
    ranks: String,
    took_us: f64,
}

fn declared(args: &Causes) -> Result<ServiceGraph, Failure> {
    let Some(path) = &args.services else { return Ok(ServiceGraph::default()) };
    let settings = config::parse(&text(path, SETTINGS_BYTES_MAX)?, &path.display().to_string())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let calls = |it: config::Service| it.calls.into_iter().map(move |callee| (it.name.clone(), callee));
    Ok(ServiceGraph::of(settings.services.into_iter().flat_map(calls)))
}

fn judge(
    case: &Case,
    folder: &std::path::Path,
    declared: &ServiceGraph,
    results: &mut [Results],
) -> Result<(), Failure> {
    let wide = |file: &String| -> Result<Wide, Failure> {
        let path = folder.join(file);
        read_wide(&text(&path, CASE_BYTES_MAX)?).map_err(|error| wrong(&path, &error))
    };
    let (metrics, from_s) = match &case.normal_file {
        // The first row of the incident's file is still quiet: there has to be something to differ from.
        Some(normal) => {
            let normal = wide(normal)?;
            let from_s = (normal.times_s.len() as i64 + 1) * i64::from(case.interval_s);
            (normal.then(&wide(&case.file)?, case.interval_s), from_s)
        }
        None => (wide(&case.file)?, i64::MIN),
    };
    let own = match &case.call_graph {
        Some(file) => {
            let path = folder.join(file);
            let calls = read_calls(&text(&path, CASE_BYTES_MAX)?).map_err(|error| wrong(&path, &error))?;
            Some(ServiceGraph::of(calls))
        }
        None => None,
    };
    let graph = own.as_ref().unwrap_or(declared);
    let tracks = metrics.tracks(case.interval_s);
    let since_s = beginning(case, &tracks, from_s).unwrap_or(from_s);
    for (ranker, result) in RankerName::ALL.into_iter().zip(results) {
        let watch = Stopwatch::start();
        let ranking = ranker.rank(&tracks, graph, since_s);
        result.took_us += watch.elapsed().as_secs_f64() * 1e6;
        for (index, service) in ranking.iter().enumerate() {
            let _ = writeln!(result.ranks, "{},{},{service}", case.id, index + 1);
        }
        result.placed.push(Placed::of(case, &ranking));
    }
    Ok(())
}

fn line(dataset: &str, ranker: RankerName, it: &CauseFigures, us_per_case: f64) -> Line {
    let ranker = ranker.as_str();
    let CauseFigures { cases, at_1, at_3, at_5, avg_5, mrr } = *it;
    Line { dataset: dataset.to_owned(), ranker, cases, at_1, at_3, at_5, avg_5, mrr, us_per_case }
}

pub const HEADERS: [&str; 9] =
    ["DATASET", "RANKER", "CASES", "AC@1", "AC@3", "AC@5", "AVG@5", "MRR", "US/CASE"];
/// Columns that only `-o wide` shows.
const WIDE: usize = 1;

fn cells(line: &Line) -> Vec<String> {
    let shares = [line.at_1, line.at_3, line.at_5, line.avg_5, line.mrr];
    let mut cells = vec![line.dataset.clone(), line.ranker.to_owned(), line.cases.to_string()];
    cells.extend(shares.map(|it| format!("{it:.3}")));
    cells.push(format!("{:.0}", line.us_per_case));
    cells
}

fn table(lines: &[Line]) -> Table {
    let row = |line: &Line| cells(line).into_iter().map(Piece::from).collect();
    Table { headers: HEADERS.to_vec(), wide: WIDE, rows: lines.iter().map(row).collect() }
}
