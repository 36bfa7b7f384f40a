//! `tars sops check|diff|keys|doctor|set|encrypt`. Files, folders or commits come in; facts about them, or a
//! file with ciphertext in it, go to standard output. Plaintext never does, on any of them.

pub mod args;
mod diff;
mod doctor;
pub mod identities;
mod look;
mod source;
mod write;

use serde::Serialize;

use self::args::{SopsTree, SopsVerb};
use self::identities::Keyring;
use self::look::{Look, Status};
use super::failure::Failure;
use super::output::{Console, Piece, Table, counted};

/// Runs the verb.
///
/// # Errors
/// Exit code 1 when a file is broken or differs, 2 when something cannot be read, 5 when an edit is refused.
pub fn run(verb: &SopsVerb, console: &Console) -> Result<(), Failure> {
    match verb {
        SopsVerb::Check(tree) => check(tree, console),
        SopsVerb::Diff { old, new, repository, keys } => diff::run(old, new, repository, keys, console),
        SopsVerb::Keys(tree) => keys(tree, console),
        SopsVerb::Doctor(tree) => doctor::run(tree, console),
        SopsVerb::Set { .. } => write::set(verb, console),
        SopsVerb::Encrypt { file } => write::encrypt(file, console),
    }
}

fn check(tree: &SopsTree, console: &Console) -> Result<(), Failure> {
    let keyring = Keyring::load(&tree.keys)?;
    let found = source::find(tree)?;
    let looks: Vec<Look> = found.files.iter().map(|file| look::at(file, &found, &keyring)).collect();
    let rows = looks.iter().map(|it| {
        let rule = if it.breaches.is_empty() { it.rule.clone() } else { it.breaches.join("; ") };
        vec![it.file.as_str().into(), it.status.word().into(), Piece::from(rule), it.detail.as_str().into()]
    });
    let table = Table { headers: vec!["FILE", "MAC", "RULE", "DETAIL"], wide: 0, rows: rows.collect() };
    let names: Vec<String> = looks.iter().map(|it| it.file.clone()).collect();
    console.list(&table, &names, &looks, "no SOPS files")?;
    let count = |wanted: &dyn Fn(&Look) -> bool| looks.iter().filter(|it| wanted(it)).count();
    let broken = count(&|it| it.status == Status::Broken);
    let breaking = count(&|it| !it.breaches.is_empty());
    let unverified = count(&|it| matches!(it.status, Status::NoIdentity | Status::NotRead));
    if console.is_for_people() {
        let files = counted(looks.len(), "SOPS file", "SOPS files");
        console.talk(&format!(
            "{files}: {broken} broken, {breaking} against their rule, {unverified} not verified"
        ));
    }
    if broken + breaking == 0 { Ok(()) } else { Err(Failure::answered_no()) }
}

#[derive(Debug, Serialize)]
struct Key {
    file: String,
    /// Key group, from 1; every group's share is needed up to the threshold.
    group: usize,
    groups_needed: usize,
    recipient: String,
    kind: String,
    /// Whether one of the given identities is this recipient's.
    yours: bool,
}

fn keys(tree: &SopsTree, console: &Console) -> Result<(), Failure> {
    let keyring = Keyring::load(&tree.keys)?;
    let found = source::find(tree)?;
    let mut items = Vec::new();
    for file in &found.files {
        let Ok(sops) = crate::sops::SopsFile::read(file.store, &file.bytes) else {
            console.talk(&format!("{}: cannot be read; tars sops check says why", file.name));
            continue;
        };
        let metadata = sops.metadata();
        for (index, group) in metadata.groups.iter().enumerate() {
            items.extend(group.recipients.iter().map(|recipient| Key {
                file: file.name.clone(),
                group: index + 1,
                groups_needed: metadata.threshold,
                recipient: recipient.to_string(),
                kind: recipient.kind.clone(),
                yours: keyring.identities.recipients().contains(&recipient.name),
            }));
        }
    }
    let rows = items.iter().map(|it| {
        let yours = if it.yours { "yes" } else { "" };
        vec![
            Piece::from(it.file.as_str()),
            format!("{} (needs {})", it.group, it.groups_needed).into(),
            it.recipient.as_str().into(),
            it.kind.as_str().into(),
            yours.into(),
        ]
    });
    let headers = vec!["FILE", "GROUP", "RECIPIENT", "KIND", "YOURS"];
    let table = Table { headers, wide: 0, rows: rows.collect() };
    let names: Vec<String> = items.iter().map(|it| it.recipient.clone()).collect();
    console.list(&table, &names, &items, "no SOPS files")
}
