//! `tars sops doctor`: everything that is, or will be, wrong with SOPS files, their rules and the identities
//! at hand, each with what to do about it.

use serde::Serialize;
use serde_json::json;

use super::args::SopsTree;
use super::identities::Keyring;
use super::look::{self, Status};
use super::source::{self, Sources};
use crate::cli::failure::Failure;
use crate::cli::output::{Console, Page, Symbol, counted};
use crate::model::causes::causes;
use crate::outside::files;

#[derive(Debug, Serialize)]
struct Advice {
    /// Something is wrong now; otherwise it is a warning.
    wrong: bool,
    place: String,
    what: String,
    fix: String,
}

fn advice(wrong: bool, place: &str, what: impl Into<String>, fix: impl Into<String>) -> Advice {
    Advice { wrong, place: place.to_owned(), what: what.into(), fix: fix.into() }
}

/// Looks at everything and prints what to do.
///
/// # Errors
/// Exit code 1 when something is wrong, 2 when something cannot be read.
pub fn run(tree: &SopsTree, console: &Console) -> Result<(), Failure> {
    let keyring = Keyring::load(&tree.keys)?;
    let found = source::find(tree)?;
    let mut all = identities(&keyring, &found)?;
    all.extend(configs(&found));
    all.extend(sops_files(&found, &keyring));
    let wrong = all.iter().filter(|it| it.wrong).count();
    let list = json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": all });
    let names: Vec<String> = all.iter().map(|it| it.place.clone()).collect();
    console.answer(&names, &list, || {
        let mut page = Page::new();
        for it in &all {
            page.put(if it.wrong { Symbol::Failed } else { Symbol::Warning });
            page.put(format!(" {}: {}", it.place, it.what)).line();
            page.put(format!("    → {}", it.fix)).line();
        }
        let files = counted(found.files.len(), "SOPS file", "SOPS files");
        page.put(format!("{files}: {wrong} wrong, {} to consider", all.len() - wrong)).line();
        page
    })?;
    if wrong == 0 { Ok(()) } else { Err(Failure::answered_no()) }
}

fn identities(keyring: &Keyring, found: &Sources) -> Result<Vec<Advice>, Failure> {
    let mut all = Vec::new();
    if keyring.identities.is_empty() && !found.files.is_empty() {
        let fix =
            "give one with --age-key-file, SOPS_AGE_KEY_FILE or SOPS_AGE_KEY; until then no MAC is verified";
        all.push(advice(false, "identities", "there is no age identity", fix));
    }
    for unused in keyring.identities.unused() {
        let fix = "add an age recipient whose key tars can hold, or use sops for these files";
        all.push(advice(false, "identities", format!("{unused} is not used"), fix));
    }
    for file in &keyring.files {
        let exposed = files::exposed(file).map_err(|error| {
            Failure::usage(format!("could not look at {}", file.display())).because(error)
        })?;
        if exposed.is_some() {
            let name = file.display().to_string();
            all.push(advice(
                true,
                &name,
                "others on this machine can read this key file",
                format!("chmod 600 {name}"),
            ));
        }
    }
    Ok(all)
}

fn configs(found: &Sources) -> Vec<Advice> {
    let mut all = Vec::new();
    for (folder, rules) in &found.configs {
        if let Err(error) = rules {
            let place = format!("{folder}/.sops.yaml");
            let place = place.trim_start_matches('/');
            all.push(advice(
                true,
                place,
                causes(error),
                "mend the rule; no file below can be created until then",
            ));
        }
    }
    for name in &found.ignored_configs {
        all.push(advice(true, name, "sops ignores a configuration of this name", "rename it to .sops.yaml"));
    }
    for file in &found.clear_secrets {
        if let Some((place, _)) = found.rule(&file.path) {
            let what = format!("a Secret in the clear where {place} applies");
            let fix = format!("tars sops encrypt {}, and replace what the repository has seen", file.name);
            all.push(advice(true, &file.name, what, fix));
        }
    }
    all
}

fn sops_files(found: &Sources, keyring: &Keyring) -> Vec<Advice> {
    let mut all = Vec::new();
    for file in &found.files {
        let look = look::at(file, found, keyring);
        let name = file.name.as_str();
        if look.status == Status::Broken {
            all.push(advice(true, name, look.detail, look.hint.unwrap_or("restore it from an older commit")));
            continue;
        }
        for breach in &look.breaches {
            let fix = "sops updatekeys for recipients; decrypt and encrypt again for anything else";
            all.push(advice(true, name, breach.clone(), fix));
        }
        let Some(read) = look.read else {
            all.push(advice(false, name, look.detail, "use the sops program for this file"));
            continue;
        };
        if look.rule == "no rule" && found.config(&file.path).is_some_and(|(_, rules)| rules.is_ok()) {
            all.push(advice(false, name, "no creation rule applies to its path", "add one to .sops.yaml"));
        }
        let plain = read.paths().any(|(_, _, sealed)| !sealed);
        if plain && !read.metadata().mac_only_encrypted {
            let what = "plain values are under the MAC: no plain field changes without an identity";
            all.push(advice(false, name, what, "set mac_only_encrypted: true in its rule and encrypt again"));
        }
    }
    all
}
