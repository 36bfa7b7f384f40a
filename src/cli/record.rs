//! `tars record`: the windows of the signals as labelled series on disk, in the form that `tars eval` reads. It adds
//! rows and never changes one, and it labels nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::checklist::within;
use super::failure::{Failure, Kind};
use super::output::{Console, Piece, Table};
use super::source::{asked, read, unanswered};
use super::sourcing::Record;
use super::{eval, settings};
use crate::eval::{Labelled, SeriesEntry, manifest};
use crate::model::ids::SignalName;
use crate::model::signal::{ServiceOf, SignalKey};
use crate::observe::signals::MAX_SERIES;
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::No, "could not start").because(error))?;
    runtime.block_on(within(args.patience.timeout, "asking", record(args, console)))
}

async fn record(args: &Record, console: &Console) -> Result<(), Failure> {
    let watching = settings::watching(&args.settings.config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sources = settings::feeds(&watching, &clock)?.sources;
    let mut recorded = load(&args.folder)?;
    let (mut lines, mut failed) = (Vec::new(), None);
    for it in asked(&watching, args.signal.as_deref())? {
        let found = match read(&sources, &it.config, clock.now()).await {
            Ok(found) => found,
            Err(error) => {
                console.warn(&format!("{}: {}", it.name, crate::model::causes::causes(&error)));
                failed = Some(unanswered(&it.name, error));
                continue;
            }
        };
        for series in found.into_iter().take(MAX_SERIES) {
            let service = match &it.config.service {
                ServiceOf::Named(service) => service.clone(),
                ServiceOf::Label(label) => match SignalName::new(series.labels.get(label)) {
                    Ok(service) => service,
                    Err(_) => continue,
                },
            };
            let key = SignalKey { signal: it.config.signal.clone(), service };
            let rows = series
                .samples
                .iter()
                .map(|it| (it.at.as_second(), Some(it.value).filter(|value| value.is_finite())));
            lines.extend(add(&mut recorded, &key, it.config.step_s, rows));
        }
    }
    save(&args.folder, &recorded, lines.iter().filter(|it| it.added > 0).map(|it| it.file.as_str()))?;
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
    failed.map_or(Ok(()), Err)
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

fn add(
    recorded: &mut Recorded,
    key: &SignalKey,
    step_s: u32,
    rows: impl Iterator<Item = (i64, Option<f64>)>,
) -> Option<Line> {
    let file = file_of(key);
    let mut labelled = recorded.remove(&file).map(|it| it.1).unwrap_or_default();
    let added = labelled.extend(rows);
    if labelled.times_s.is_empty() {
        return None;
    }
    let entry = SeriesEntry {
        service: key.service.to_string(),
        interval_s: step_s,
        ..SeriesEntry::of_file(key.signal.as_str(), &file, &labelled)
    };
    let (rows, events) = (labelled.labels.len(), labelled.events());
    recorded.insert(file.clone(), (entry, labelled));
    Some(Line { file, rows, added, events })
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
    use crate::model::fixtures::signal;

    #[test]
    fn a_name_never_leaves_the_folder_and_two_names_never_share_a_file() {
        let names = ["..", ".", "a/b", "a%2Fb", "a:b", "a.b", ".a"].map(as_name);
        assert_eq!(names, ["%2E.", "%2E", "a%2Fb", "a%252Fb", "a%3Ab", "a.b", "%2Ea"]);
        assert_eq!(file_of(&signal("shop/web", "latency.p95")), "latency.p95/shop%2Fweb.csv");
    }

    #[test]
    fn a_recording_is_added_to_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let key = signal("web", "latency");
        let mut recorded = load(folder.path()).unwrap();
        add(&mut recorded, &key, 30, [(0, Some(1.0)), (30, None), (60, Some(2.5))].into_iter()).unwrap();
        assert!(add(&mut recorded, &signal("none", "latency"), 30, std::iter::empty()).is_none());
        save(folder.path(), &recorded, std::iter::once("latency/web.csv")).unwrap();
        let mut again = load(folder.path()).unwrap();
        assert_eq!(again, recorded);
        let line = add(&mut again, &key, 30, [(60, Some(9.0)), (90, Some(3.0))].into_iter()).unwrap();
        assert_eq!((line.rows, line.added), (4, 1));
        assert_eq!(again["latency/web.csv"].0.service, "web");
    }
}
