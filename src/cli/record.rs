//! `tars record`: the windows of the signals as labelled series on disk, in the form that `tars eval` reads. It adds
//! rows and never changes one, and it labels nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::failure::Failure;
use super::output::{Console, Piece, Table};
use super::source::{Asked, Parts, Unread, asked, tell_pushed};
use super::sourcing::Record;
use super::{checklist, eval, settings};
use crate::eval::{Labelled, SeriesEntry, manifest};
use crate::model::signal::{ServiceOf, SignalKey};
use crate::observe::metrics::{RangeResult, SourceError};
use crate::observe::signals::{MAX_SERIES, SignalConfig};
use crate::observe::sources::Sources;
use crate::observe::watched::{Services, by_service};
use crate::outside::clock::{Clock, SystemClock};
use crate::outside::files;

/// Series of a folder, by file.
pub type Recorded = BTreeMap<String, (SeriesEntry, Labelled)>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    file: String,
    rows: usize,
    added: usize,
    events: usize,
}

/// Reads the sources and adds what is new to the folder.
///
/// # Errors
/// When the settings or the folder cannot be used, or a source cannot be asked; what was read before is written.
pub fn run(args: &Record, console: &Console) -> Result<(), Failure> {
    checklist::run(args.patience.timeout, "asking", record(args, console))
}

async fn record(args: &Record, console: &Console) -> Result<(), Failure> {
    let watching = settings::watching(&args.settings.config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sources = settings::feeds(&watching, &clock)?.sources;
    let mut recording = Recording::of(&args.folder)?;
    let asked = asked(&watching, args.signal.as_deref())?;
    let (mut unread, mut unusable) = (Unread::of(&asked), None);
    for it in &asked {
        match one(&mut recording, (&sources, it, clock.now()), console).await {
            Ok(()) => tell_pushed(it, console),
            Err(Missed::Source(error)) => unread.note(it, error, console),
            // What was read of the others is written.
            Err(Missed::Folder(failure)) => unusable = Some(failure),
        }
    }
    if unread.is_all() && recording.added.is_empty() {
        return unread.end();
    }
    let lines = recording.finish();
    let changed = lines.iter().filter(|it| it.added > 0).map(|it| it.file.as_str());
    if !lines.is_empty() {
        save(&args.folder, &recording.recorded, changed)?;
    }
    let row = |it: &Line| -> Vec<Piece> {
        let numbers = [it.rows, it.added, it.events].map(|it| Piece::from(it.to_string()));
        std::iter::once(it.file.clone().into()).chain(numbers).collect()
    };
    let table = Table {
        headers: vec!["FILE", "ROWS", "ADDED", "EVENTS"],
        wide: 0,
        rows: lines.iter().map(row).collect(),
    };
    let names: Vec<String> = lines.iter().map(|it| it.file.clone()).collect();
    console.list(&table, &names, &lines, "nothing to record")?;
    unread.end()?;
    unusable.map_or(Ok(()), Err)?;
    if lines.is_empty() { Err(Failure::answered_no()) } else { Ok(()) }
}

/// Where the series of this key is kept.
#[must_use]
pub fn file_of(key: &SignalKey) -> String {
    format!("{}/{}.csv", as_name(key.signal.as_str()), as_name(key.service.as_str()))
}

/// A name that is one segment of a path, and no other name's.
fn as_name(text: &str) -> String {
    let keep = |(at, c): (usize, char)| match c {
        '.' if at > 0 => ".".to_owned(),
        c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => c.to_string(),
        c => format!("%{:02X}", u32::from(c)),
    };
    text.chars().enumerate().map(keep).collect()
}

/// Why a signal is not recorded.
enum Missed {
    Source(SourceError),
    Folder(Failure),
}

/// Records one signal.
async fn one(
    recording: &mut Recording<'_>,
    (sources, asked, now): (&Sources, &Asked, Timestamp),
    console: &Console,
) -> Result<(), Missed> {
    let mut warnings = BTreeSet::new();
    let mut parts = Parts::of(sources, &asked.config, now).await.map_err(Missed::Source)?;
    while let Some(part) = parts.next().await.map_err(Missed::Source)? {
        warnings.extend(recording.take(&asked.config, part).map_err(Missed::Folder)?);
    }
    warnings.iter().for_each(|it| console.warn(&format!("{}: {it}", asked.name)));
    Ok(())
}

struct Recording<'a> {
    folder: &'a Path,
    recorded: Recorded,
    /// Rows that are new, of each file that was looked at.
    added: BTreeMap<String, usize>,
}

impl<'a> Recording<'a> {
    fn of(folder: &'a Path) -> Result<Self, Failure> {
        Ok(Self { folder, recorded: load(folder)?, added: BTreeMap::new() })
    }

    /// Takes the samples of one part, series by series as the reconciler would, and says what it had to leave out.
    fn take(&mut self, config: &SignalConfig, mut part: RangeResult) -> Result<Vec<String>, Failure> {
        let mut warnings = std::mem::take(&mut part.warnings);
        let found = match &config.service {
            ServiceOf::Named(service) => {
                part.series.into_iter().map(|it| (service.clone(), it.samples)).collect()
            }
            ServiceOf::Label(label) => {
                let Services { found, unusable, .. } = by_service(part.series, label);
                if unusable > 0 {
                    warnings.push(SourceError::NoService(unusable, label.clone()).to_string());
                }
                found
            }
        };
        for (service, samples) in found.into_iter().take(MAX_SERIES) {
            let key = SignalKey { signal: config.signal.clone(), service };
            let rows =
                samples.iter().map(|it| (it.at.as_second(), Some(it.value).filter(|it| it.is_finite())));
            self.add(&key, config.step_s, rows)?;
        }
        Ok(warnings)
    }

    fn add(
        &mut self,
        key: &SignalKey,
        step_s: u32,
        rows: impl Iterator<Item = (i64, Option<f64>)>,
    ) -> Result<(), Failure> {
        let file = file_of(key);
        let mut labelled = match self.recorded.remove(&file) {
            Some((_, labelled)) => labelled,
            None => unnamed(self.folder, &file)?.unwrap_or_default(),
        };
        let added = labelled.extend(rows);
        if labelled.times_s.is_empty() {
            return Ok(());
        }
        let entry = SeriesEntry {
            service: key.service.to_string(),
            interval_s: step_s,
            ..SeriesEntry::of_file(key.signal.as_str(), &file, &Labelled::default())
        };
        self.recorded.insert(file.clone(), (entry, labelled));
        *self.added.entry(file).or_default() += added;
        Ok(())
    }

    /// What became of each file, when all parts of all signals were taken.
    fn finish(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (file, added) in &self.added {
            if let Some((entry, labelled)) = self.recorded.get_mut(file) {
                entry.score_from = SeriesEntry::of_file(&entry.dataset, file, labelled).score_from;
                let (rows, events) = (labelled.labels.len(), labelled.events());
                lines.push(Line { file: file.clone(), rows, added: *added, events });
            }
        }
        lines
    }
}

/// A series that no manifest names: a run that was killed wrote it, and its rows may be nowhere else any more.
fn unnamed(folder: &Path, file: &str) -> Result<Option<Labelled>, Failure> {
    match files::open_bounded(&folder.join(file), u64::MAX) {
        Err(error) if error.is_not_found() => Ok(None),
        _ => eval::series(folder, file).map(Some),
    }
}

/// What the folder holds; nothing when there is none yet.
///
/// # Errors
/// When it holds something else.
pub fn load(folder: &Path) -> Result<Recorded, Failure> {
    files::create_private_dir(folder)
        .map_err(|error| Failure::usage(format!("could not use {}", folder.display())).because(error))?;
    let names = files::names_in(folder, MAX_SERIES)
        .map_err(|error| Failure::usage(format!("could not read {}", folder.display())).because(error))?;
    if names.is_empty() {
        return Ok(Recorded::new());
    }
    let mut recorded = Recorded::new();
    for entry in eval::manifest(folder)?.into_values().flatten() {
        let labelled = eval::series(folder, &entry.file)?;
        recorded.insert(entry.file.clone(), (entry, labelled));
    }
    Ok(recorded)
}

/// Writes these files, and the manifest of all.
///
/// # Errors
/// When a file cannot be written.
pub fn save<'a>(
    folder: &Path,
    recorded: &Recorded,
    changed: impl Iterator<Item = &'a str>,
) -> Result<(), Failure> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        let failed = |error| Failure::usage(format!("could not write {}", path.display())).because(error);
        files::create_private_dir(parent).map_err(failed)?;
        files::write_durable(&path, text.as_bytes()).map_err(failed)
    };
    if files::names_in(folder, 1).is_ok_and(|it| it.is_empty()) {
        // A run that is killed before the last file must not leave a folder that looks like somebody else's.
        write("manifest.json", &manifest(&Recorded::new()))?;
    }
    for file in changed {
        if let Some((_, labelled)) = recorded.get(file) {
            write(file, &labelled.csv())?;
        }
    }
    write("manifest.json", &manifest(recorded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{at, signal};
    use crate::model::ids::SignalName;
    use crate::model::signal::{Sample, SourceKind};
    use crate::observe::metrics::{FoundSeries, Labels};

    #[test]
    fn a_name_never_leaves_the_folder_and_two_names_never_share_a_file() {
        let names = ["..", ".", "a/b", "a%2Fb", "a:b", "a.b", ".a"].map(as_name);
        assert_eq!(names, ["%2E.", "%2E", "a%2Fb", "a%252Fb", "a%3Ab", "a.b", "%2Ea"]);
        assert_eq!(file_of(&signal("shop/web", "latency.p95")), "latency.p95/shop%2Fweb.csv");
    }

    fn config(service: ServiceOf) -> SignalConfig {
        SignalConfig {
            signal: SignalName::new("latency").unwrap(),
            service,
            source: SourceKind::Prometheus,
            query: "latency".to_owned(),
            step_s: 30,
            window_s: 3_600,
            period: None,
            staleness_s: 120,
        }
    }

    fn series(app: &str, pod: &str, samples: &[(i64, f64)]) -> FoundSeries {
        let pairs = [("app", app), ("pod", pod)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sample = |(at_s, value): &(i64, f64)| Sample { at: at(*at_s), value: *value };
        FoundSeries { labels: Labels::of(pairs.into()), samples: samples.iter().map(sample).collect() }
    }

    fn part(series: &[FoundSeries]) -> RangeResult {
        RangeResult { series: series.to_vec(), warnings: Vec::new() }
    }

    fn web() -> ServiceOf {
        ServiceOf::Named(SignalName::new("web").unwrap())
    }

    #[test]
    fn a_recording_is_added_to_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(web());
        let mut recording = Recording::of(folder.path()).unwrap();
        recording.take(&config, part(&[series("web", "a", &[(0, 1.0), (30, f64::NAN)])])).unwrap();
        recording.take(&config, part(&[series("web", "a", &[(60, 2.5)])])).unwrap();
        recording.take(&config, part(&[])).unwrap();
        let lines = recording.finish();
        assert_eq!((lines.len(), lines[0].rows, lines[0].added), (1, 3, 3));
        save(folder.path(), &recording.recorded, std::iter::once("latency/web.csv")).unwrap();
        let mut again = Recording::of(folder.path()).unwrap();
        assert_eq!(again.recorded, recording.recorded);
        again.take(&config, part(&[series("web", "a", &[(60, 9.0), (90, 3.0)])])).unwrap();
        let line = again.finish().remove(0);
        assert_eq!((line.rows, line.added), (4, 1));
        let (entry, labelled) = &again.recorded["latency/web.csv"];
        assert_eq!((entry.service.as_str(), entry.interval_s), ("web", 30));
        assert_eq!(labelled.values, [Some(1.0), None, Some(2.5), Some(3.0)]);
    }

    #[test]
    fn two_series_of_one_service_are_both_left_out_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut recording = Recording::of(folder.path()).unwrap();
        let found = [
            series("web", "a", &[(0, 1.0)]),
            series("web", "b", &[(0, 7.0), (30, 8.0)]),
            series("db", "c", &[(0, 2.0)]),
        ];
        let warnings = recording.take(&config(ServiceOf::Label("app".to_owned())), part(&found)).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("share its value"), "{warnings:?}");
        let files: Vec<String> = recording.finish().into_iter().map(|it| it.file).collect();
        assert_eq!(files, ["latency/db.csv"]);
    }

    /// The folder as a run leaves it that writes files and is killed.
    fn forget_names(folder: &Path) {
        let empty = manifest(&Recorded::new());
        files::write_durable(&folder.join("manifest.json"), empty.as_bytes()).unwrap();
    }

    #[test]
    fn rows_of_a_run_that_was_killed_before_its_manifest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(web());
        let mut killed = Recording::of(folder.path()).unwrap();
        killed.take(&config, part(&[series("web", "a", &[(0, 1.0)])])).unwrap();
        save(folder.path(), &killed.recorded, std::iter::once("latency/web.csv")).unwrap();
        forget_names(folder.path());
        let mut next = Recording::of(folder.path()).unwrap();
        next.take(&config, part(&[series("web", "a", &[(30, 2.0)])])).unwrap();
        assert_eq!(next.finish()[0].rows, 2);
    }

    #[test]
    fn a_run_that_was_killed_before_its_first_file_leaves_a_folder_that_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Recording::of(folder.path()).unwrap().finish().is_empty());
        assert!(files::names_in(folder.path(), 10).unwrap().is_empty(), "nothing was read");
        forget_names(folder.path());
        files::create_private_dir(&folder.path().join("latency")).unwrap();
        assert!(Recording::of(folder.path()).unwrap().recorded.is_empty());
    }
}
