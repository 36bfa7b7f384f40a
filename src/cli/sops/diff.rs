//! `tars sops diff`: which keys differ between two versions of a SOPS file. Values are named by their place
//! and never shown.

use std::path::Path;

use serde::Serialize;

use super::args::SopsKeys;
use super::identities::Keyring;
use super::source::{self, Found};
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::{Console, Piece, Table};
use crate::sops::{SopsError, SopsFile, Unlocked, compare};

#[derive(Debug, Serialize)]
struct Row {
    change: &'static str,
    document: usize,
    path: String,
    encrypted: bool,
}

/// Compares two versions.
///
/// # Errors
/// Exit code 1 when they differ or one of them is broken, 2 when one cannot be read.
pub fn run(
    old: &str,
    new: &str,
    repository: &Path,
    keys: &SopsKeys,
    console: &Console,
) -> Result<(), Failure> {
    let keyring = Keyring::load(keys)?;
    let (old, new) = (source::version(old, repository)?, source::version(new, repository)?);
    let (before, opened_before) = open(&old, &keyring)?;
    let (after, opened_after) = open(&new, &keyring)?;
    let found = compare((&before, opened_before.as_ref()), (&after, opened_after.as_ref()));
    let mut rows: Vec<Row> = found
        .into_iter()
        .map(|it| Row {
            change: it.change.word(),
            document: it.document,
            path: it.path,
            encrypted: it.encrypted,
        })
        .collect();
    rows.extend(metadata(&before, &after));
    if opened_before.is_none() || opened_after.is_none() {
        console
            .talk("not verified: no identity; values that were encrypted again may or may not have changed");
    }
    let cells = rows.iter().map(|it| {
        let encrypted = if it.encrypted { "yes" } else { "" };
        vec![
            Piece::from(it.change),
            it.document.to_string().into(),
            it.path.as_str().into(),
            encrypted.into(),
        ]
    });
    let headers = vec!["CHANGE", "DOCUMENT", "KEY", "ENCRYPTED"];
    let table = Table { headers, wide: 0, rows: cells.collect() };
    let names: Vec<String> = rows.iter().map(|it| it.path.clone()).collect();
    console.list(&table, &names, &rows, "no differences")?;
    if rows.is_empty() { Ok(()) } else { Err(Failure::answered_no()) }
}

fn open(found: &Found, keyring: &Keyring) -> Result<(SopsFile, Option<Unlocked>), Failure> {
    let failed = |error: SopsError, kind| {
        let hint = error.hint();
        let mut failure = Failure::new(kind, format!("{} cannot be compared", found.name)).because(error);
        failure.hints.extend(hint.map(str::to_owned));
        failure
    };
    let file = SopsFile::read(found.store, &found.bytes).map_err(|error| failed(error, Kind::Usage))?;
    match file.unlock(&keyring.identities) {
        Ok(unlocked) => Ok((file, Some(unlocked))),
        Err(SopsError::NoIdentity { .. }) => Ok((file, None)),
        Err(error) => Err(failed(error, Kind::No)),
    }
}

/// What differs in who can read the file and what is encrypted.
fn metadata(before: &SopsFile, after: &SopsFile) -> Vec<Row> {
    let (old, new) = (before.metadata(), after.metadata());
    let (who, whom) = (old.recipients(), new.recipients());
    let row = |change, path: String| Row { change, document: 0, path, encrypted: false };
    let mut rows: Vec<Row> =
        whom.difference(&who).map(|it| row("added", format!("sops recipient {it}"))).collect();
    rows.extend(who.difference(&whom).map(|it| row("removed", format!("sops recipient {it}"))));
    if old.rule != new.rule || old.mac_only_encrypted != new.mac_only_encrypted {
        rows.push(row("changed", "sops rule".to_owned()));
    }
    rows
}
