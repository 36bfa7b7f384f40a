//! `tars eval`: compares detectors on a folder of labelled series. One series at a time is in memory, beside the
//! scores of the data set at hand.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;

use super::eval_ahead::{self, Ahead};
use super::eval_causes::{self, Causes};
use super::failure::{Failure, Kind};
use super::output::{Console, Piece, Table};
use crate::config::ALARMS_PER_WEEK;
use crate::eval::{
    CandidateName, Clip, Comparison, Figures, Judged, Labelled, Manifest, Meta, Page, ReadError, Scored,
    SeriesEntry, choose, clips, figures, judge, read_manifest, read_series,
};
use crate::model::anomaly::FALSE_ALARMS_PER_WEEK;
use crate::outside::clock::Stopwatch;
use crate::outside::files::{self, FileError};

/// Largest file of one series.
const SERIES_BYTES_MAX: usize = 128 * 1024 * 1024;
const MANIFEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most files that are looked at in a folder without a manifest.
const FILES_MAX: usize = 10_000;
/// Incidents that a report shows.
const PICTURES: usize = 10;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("calls").args(["causes", "report"]).multiple(true))]
pub struct Eval {
    /// Where the labelled series are
    pub folder: PathBuf,
    /// Which detectors
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    #[arg(default_values = ["ewma", "gaussian", "seasonal", "stream"])]
    pub models: Vec<DetectorArg>,
    /// Which data sets [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub datasets: Vec<String>,
    /// Let `batch`, which refits for every score, score only every so many rows; the score stands in between
    #[arg(long, value_name = "ROWS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,
    /// What a score of 0.8 of `stream` means, as `detection.false_alarms_per_week` does: so often a series without faults has one
    #[arg(long, value_name = "RATE", default_value_t = FALSE_ALARMS_PER_WEEK, value_parser = rate)]
    pub false_alarms_per_week: f64,
    /// Leave VUS-PR out, the slowest figure
    #[arg(long)]
    pub no_vus: bool,
    /// Write all figures to this file as well
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write every score of the first detector to this file as well: series, timestamp, score
    #[arg(long, value_name = "FILE")]
    pub scores: Option<PathBuf>,
    /// Write a page of Markdown with the tables, those of --ahead and --causes too, and beside it pictures of ten
    /// incidents of the first detector, half of them its worst misses
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub causes: Causes,
    #[command(flatten)]
    pub ahead: Ahead,
}

/// A rate that the settings take too.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|it| ALARMS_PER_WEEK.contains(it));
    rate.ok_or_else(|| format!("use {} to {}", ALARMS_PER_WEEK.start(), ALARMS_PER_WEEK.end()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DetectorArg {
    /// The declared ensemble, refitted for every score
    Batch,
    /// Moving average and variance alone
    Ewma,
    /// Mean and deviation of a sliding window
    Gaussian,
    /// Trend and seasons, refitted every day
    Seasonal,
    /// The declared models, updated by every value
    Stream,
    /// The same, less what it said in the last hours: what a page is worth
    StreamNews,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    dataset: String,
    model: String,
    series: usize,
    events: usize,
    best_f1: Option<f64>,
    recall_at_precision_85: Option<f64>,
    recall_at_one_false_page: Option<f64>,
    delayed_f1: Option<f64>,
    delayed_f1_at_threshold: Option<f64>,
    nab: Option<f64>,
    nab_at_threshold: Option<f64>,
    vus_pr: Option<f64>,
    auc_pr: Option<f64>,
    incident_precision: Option<f64>,
    incident_recall: Option<f64>,
    incidents_per_series_week: f64,
    noise_fewer: Option<f64>,
    us_per_point: f64,
    f1_at_threshold: Option<f64>,
    false_pages_per_series_week: f64,
    delay_median_s: Option<f64>,
}

/// Scores and judges, and prints a line for each data set and detector.
///
/// # Errors
/// Exit code 2 when the folder or a file in it cannot be used; 1 when it has no series of that name.
pub fn run(args: &Eval, console: &Console) -> Result<(), Failure> {
    for file in [&args.csv, &args.scores, &args.report, &args.causes.ranks].into_iter().flatten() {
        has_folder(file)?;
    }
    if args.causes.causes {
        return eval_causes::run(&args.causes, &args.folder, &args.datasets, args.csv.as_ref(), console);
    }
    if args.ahead.ahead {
        return eval_ahead::run(&args.folder, &args.datasets, args.csv.as_ref(), console);
    }
    let mut manifest = manifest(&args.folder)?;
    if !args.datasets.is_empty() {
        let known = manifest.keys().cloned().collect::<Vec<_>>().join(", ");
        if let Some(unknown) = args.datasets.iter().find(|name| !manifest.contains_key(*name)) {
            return Err(Failure::new(Kind::No, format!("there is no data set {unknown}"))
                .hint(format!("the folder has: {known}")));
        }
        manifest.retain(|name, _| args.datasets.contains(name));
    }
    let mut lines = Vec::new();
    let mut kept = Kept::wanted(args);
    for (dataset, entries) in &manifest {
        for (place, model) in args.models.iter().map(|it| candidate(*it)).enumerate() {
            let mut keep = (place == 0).then_some(&mut kept);
            let judged = entries
                .iter()
                .map(|entry| scored(entry, model, args, keep.as_deref_mut()))
                .collect::<Result<Vec<_>, _>>()?;
            lines.push(line(dataset, model, args.every, &figures(&judged)));
        }
    }
    let names: Vec<String> = lines.iter().map(|it| format!("{}/{}", it.dataset, it.model)).collect();
    console.list(&table(&lines), &names, &lines, "no series")?;
    if let Some(file) = &args.csv {
        write(file, &csv_of(&HEADERS, lines.iter().map(cells)))?;
    }
    if let Some((file, scores)) = args.scores.as_ref().zip(kept.scores) {
        write(file, &scores)?;
    }
    if let Some((file, clips)) = args.report.as_ref().zip(kept.clips) {
        report(file, args, &lines, &choose(&clips, PICTURES))?;
    }
    Ok(())
}

/// Minutes of work are not to end with a path that never was one.
fn has_folder(file: &Path) -> Result<(), Failure> {
    let parent = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match files::names_in(parent, 0) {
        Ok(_) if !file.is_dir() => Ok(()),
        Ok(_) => Err(Failure::usage(format!("{} is a folder; name a file", file.display()))),
        Err(error) => Err(Failure::usage(format!("could not write {}", file.display())).because(error)),
    }
}

fn candidate(name: DetectorArg) -> CandidateName {
    match name {
        DetectorArg::Batch => CandidateName::Batch,
        DetectorArg::Ewma => CandidateName::Ewma,
        DetectorArg::Gaussian => CandidateName::Gaussian,
        DetectorArg::Seasonal => CandidateName::Seasonal,
        DetectorArg::Stream => CandidateName::Stream,
        DetectorArg::StreamNews => CandidateName::StreamNews,
    }
}

fn unreadable(path: &Path, error: FileError) -> Failure {
    let too_large = matches!(error, FileError::TooLarge { .. });
    let failure = Failure::usage(format!("could not read {}", path.display())).because(error);
    if too_large { failure.hint("split it by time into several files") } else { failure }
}

pub(super) fn wrong(path: &Path, error: &ReadError) -> Failure {
    Failure::usage(format!("{}:{}: {}", path.display(), error.line, error.what)).hint(error.fix)
}

pub(super) fn text(path: &Path, bytes_max: usize) -> Result<String, Failure> {
    let bytes = files::read_bounded(path, bytes_max).map_err(|error| unreadable(path, error))?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{} is no text", path.display())).hint("write it as UTF-8"))
}

/// One series of a folder.
///
/// # Errors
/// When it cannot be read.
pub fn series(folder: &Path, file: &str) -> Result<Labelled, Failure> {
    let path = folder.join(file);
    read_series(&text(&path, SERIES_BYTES_MAX)?).map_err(|error| wrong(&path, &error))
}

/// The manifest at `path`.
pub(super) fn manifest_text(path: &Path) -> Result<String, Failure> {
    text(path, MANIFEST_BYTES_MAX)
}

/// What the manifest lists, or else the CSV files of the folder and of the folders in it.
///
/// # Errors
/// When there is neither.
pub fn manifest(folder: &Path) -> Result<Manifest, Failure> {
    if folder.is_file() {
        return Err(
            Failure::usage(format!("{} is a file", folder.display())).hint("name the folder that holds it")
        );
    }
    let path = folder.join("manifest.json");
    match files::read_bounded(&path, MANIFEST_BYTES_MAX) {
        Ok(bytes) => {
            return read_manifest(&String::from_utf8_lossy(&bytes)).map_err(|error| wrong(&path, &error));
        }
        Err(error) if !error.is_not_found() => return Err(unreadable(&path, error)),
        Err(_) => {}
    }
    let mut found = Manifest::new();
    let names = files::names_in(folder, FILES_MAX).map_err(|error| unreadable(folder, error))?;
    for name in names {
        let inner = match name.ends_with(".csv") {
            true => vec![("data".to_owned(), name)],
            false => files::names_in(&folder.join(&name), FILES_MAX)
                .unwrap_or_default()
                .into_iter()
                .filter(|it| it.ends_with(".csv"))
                .map(|it| (name.clone(), format!("{name}/{it}")))
                .collect(),
        };
        for (dataset, file) in inner {
            let entry = SeriesEntry::of_file(&dataset, &file, &series(folder, &file)?);
            found.entry(dataset).or_default().push(entry);
        }
    }
    match found.is_empty() {
        true => Err(Failure::usage(format!("{} has no series", folder.display()))
            .hint("put manifest.json there, or CSV files with the columns timestamp,value,label")),
        false => Ok(found),
    }
}

pub(super) fn write(file: &Path, text: &str) -> Result<(), Failure> {
    files::write_durable(file, text.as_bytes())
        .map_err(|error| Failure::usage(format!("could not write {}", file.display())).because(error))
}

/// What is kept of the first detector beside its figures.
struct Kept {
    /// The lines of a CSV.
    scores: Option<String>,
    clips: Option<Vec<Clip>>,
}

impl Kept {
    fn wanted(args: &Eval) -> Self {
        Self {
            scores: args.scores.is_some().then(|| "series,timestamp,score\n".to_owned()),
            clips: args.report.is_some().then(Vec::new),
        }
    }

    fn take(&mut self, entry: &SeriesEntry, series: &Labelled, scores: &[f64]) {
        if let Some(lines) = &mut self.scores {
            for (at_s, score) in series.times_s.iter().zip(scores) {
                let _ = writeln!(lines, "{},{at_s},{score}", entry.id);
            }
        }
        if let Some(kept) = &mut self.clips {
            kept.extend(clips(entry, series, scores));
        }
    }
}

/// Writes the page of detectors, forecasts and root causes, and its pictures beside it under its name with a number.
fn report(file: &Path, args: &Eval, lines: &[Line], clips: &[Clip]) -> Result<(), Failure> {
    let stem = file.file_stem().map_or_else(|| "report".into(), |it| it.to_string_lossy().into_owned());
    let rows: Vec<_> = lines.iter().map(cells).collect();
    let ahead = eval_ahead::rows(&args.folder, &args.datasets)?;
    let causes = eval_causes::rows(&args.causes, &args.folder, &args.datasets)?;
    let compared = [
        Comparison {
            title: "Detectors",
            about: "`stream` is what `tars run` scores with; `stream-news` is the same, less what it said in the last hours. `ewma`, \
                    `gaussian` and `seasonal` are what it is compared with.",
            headers: &HEADERS,
            rows: &rows,
        },
        Comparison {
            title: "Forecasts",
            about: "`tars` is what triggers of `type: forecast` ask; `last` is the value now, `average` the mean of the last times of \
                    this length. Series with a value at least every ten minutes. How sure `tars` may be is asked every tenth \
                    row, for limits at the outer tenth and hundredth of what came before the judged part.",
            headers: &eval_ahead::HEADERS,
            rows: &ahead,
        },
        Comparison {
            title: "Root causes",
            about: "Metrics alone, with and without the calls between services. When an incident began is no finding here: \
                    it is the label's own time where there is one, and else read off the metric somebody complained \
                    about. `alone` and `graph` see ten slots after it, `n-sigma` and `robust` all that follow.",
            headers: &eval_causes::HEADERS,
            rows: &causes,
        },
    ];
    let page = Page::new(&stem, &compared, clips);
    for (name, picture) in &page.pictures {
        write(&file.with_file_name(name), picture)?;
    }
    write(file, &page.text)
}

fn scored(
    entry: &SeriesEntry,
    model: CandidateName,
    args: &Eval,
    keep: Option<&mut Kept>,
) -> Result<Judged, Failure> {
    let series = series(&args.folder, &entry.file)?;
    let mut detector = model.start(Meta {
        interval_s: entry.interval_s,
        every: args.every as usize,
        false_alarms_per_week: args.false_alarms_per_week,
    });
    let watch = Stopwatch::start();
    let rows = series.times_s.iter().zip(&series.values);
    let scores: Vec<f64> = rows.map(|(at_s, value)| detector.step(*at_s, *value)).collect();
    let took_us = watch.elapsed().as_secs_f64() * 1e6;
    if let Some(keep) = keep {
        keep.take(entry, &series, &scores);
    }
    Ok(judge(entry, &series, Scored { scores, took_us }, !args.no_vus))
}

fn line(dataset: &str, model: CandidateName, every: u32, figures: &Figures) -> Line {
    let model = match every {
        2.. if model.refits() => format!("{} (every {every})", model.as_str()),
        _ => model.as_str().to_owned(),
    };
    // Without events there is nothing to be found, and no share of it.
    let of_events = |share: f64| (figures.event.events > 0).then_some(share);
    Line {
        dataset: dataset.to_owned(),
        model,
        series: figures.series,
        events: figures.event.events,
        best_f1: of_events(figures.sweep.best_f1),
        recall_at_precision_85: of_events(figures.sweep.recall_at_precision),
        recall_at_one_false_page: of_events(figures.sweep.recall_at_one_page),
        delayed_f1: of_events(figures.delayed.best_f1),
        delayed_f1_at_threshold: of_events(figures.delayed.f1),
        nab: figures.nab.map(|it| it.best),
        nab_at_threshold: figures.nab.map(|it| it.at_threshold),
        vus_pr: figures.vus_pr,
        auc_pr: figures.auc_pr,
        incident_precision: figures.incident_precision,
        incident_recall: of_events(figures.incident_recall),
        incidents_per_series_week: figures.incidents_per_week,
        noise_fewer: figures.noise_fewer,
        us_per_point: figures.us_per_point,
        f1_at_threshold: of_events(figures.event.f1),
        false_pages_per_series_week: figures.event.false_pages_per_week,
        delay_median_s: figures.event.delay_median_s,
    }
}

const HEADERS: [&str; 21] = [
    "DATASET", "MODEL", "SERIES", "EVENTS", "F1", "R@P85", "R@1FP", "DF1", "NAB", "VUS-PR", "ACT-P", "ACT-R",
    "ACT/WK", "FEWER", "US/PT", "AUC-PR", "F1@0.8", "DF1@0.8", "NAB@0.8", "FP/WK", "DELAY-S",
];
/// Columns that only `-o wide` shows.
const WIDE: usize = 6;

fn cells(line: &Line) -> Vec<String> {
    let three = |value: f64| format!("{value:.3}");
    let maybe = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), three);
    let one = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |it| format!("{it:.1}"));
    vec![
        line.dataset.clone(),
        line.model.clone(),
        line.series.to_string(),
        line.events.to_string(),
        maybe(line.best_f1),
        maybe(line.recall_at_precision_85),
        maybe(line.recall_at_one_false_page),
        maybe(line.delayed_f1),
        one(line.nab),
        maybe(line.vus_pr),
        maybe(line.incident_precision),
        maybe(line.incident_recall),
        three(line.incidents_per_series_week),
        maybe(line.noise_fewer),
        format!("{:.2}", line.us_per_point),
        maybe(line.auc_pr),
        maybe(line.f1_at_threshold),
        maybe(line.delayed_f1_at_threshold),
        one(line.nab_at_threshold),
        three(line.false_pages_per_series_week),
        one(line.delay_median_s),
    ]
}

fn table(lines: &[Line]) -> Table {
    let row = |line: &Line| cells(line).into_iter().map(Piece::from).collect();
    Table { headers: HEADERS.to_vec(), wide: WIDE, rows: lines.iter().map(row).collect() }
}

/// Rows below their headers, which are in small letters there.
pub(super) fn csv_of(headers: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows = rows.map(|it| it.join(","));
    std::iter::once(headers.join(",").to_lowercase()).chain(rows).map(|it| it + "\n").collect()
}
