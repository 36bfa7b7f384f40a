//! The house rules, held against the code. Each failure says which rule, where, why, and what to do instead.
//!
//! | check | rule |
//! |---|---|
//! | [`imports`] | who may name whom, and what the crate root may show |
//! | [`world`] | pure rooms touch nothing; `outside` alone names process, socket, file, clock |
//! | [`shape`] | file and function length, `//!`, no forgotten file, no leftovers |
//! | [`actions`] | playbooks = template folders = fixtures = headings |
//! | [`documents`] | every path, symbol and command that a document names exists |

mod actions;
mod documents;
mod imports;
mod shape;
mod source;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use source::SourceFile;

use crate::support;

/// Something that breaks a rule, told so that the reader can mend it without asking.
#[derive(Debug)]
pub(crate) struct Finding {
    pub place: String,
    pub text: String,
}

impl Finding {
    pub(crate) fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

/// Fails with every finding, below the rule that they break and its reason.
pub(crate) fn assert_clean(rule: &str, findings: &[Finding]) {
    let list: String = findings.iter().map(|it| format!("\n  {}\n      {}", it.place, it.text)).collect();
    assert!(findings.is_empty(), "{rule}\n{} place(s):{list}\n", findings.len());
}

/// Every Rust file below `src/`, parsed; files that only tests reach are marked.
fn sources() -> Vec<SourceFile> {
    let texts = rust_texts();
    let mut reached = source::reachable("src/lib.rs", &texts);
    reached.extend(source::reachable("src/main.rs", &texts));
    let parse = |(path, text): (&String, &String)| {
        SourceFile::parse(path, text, reached.get(path).copied().unwrap_or(false))
    };
    texts.iter().filter(|(path, _)| path.starts_with("src/")).map(parse).collect()
}

/// Path and text of every Rust file of the tree.
fn rust_texts() -> BTreeMap<String, String> {
    let is_rust = |path: &String| path.rsplit_once('.').is_some_and(|(_, extension)| extension == "rs");
    support::files()
        .into_iter()
        .filter(is_rust)
        .filter_map(|path| support::text(&path).map(|text| (path, text)))
        .collect()
}

/// The verbs of the built program; `None` as long as it has none.
pub(crate) fn program_verbs() -> Option<BTreeMap<String, BTreeSet<String>>> {
    documents::verbs()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let sources = sources();
    assert_clean(imports::RULE, &imports::check(&sources));
}

#[test]
fn the_map_shows_the_import_table_that_the_code_obeys() {
    let map = support::text("ARCHITECTURE.md").expect("ARCHITECTURE.md is the map of the code");
    assert_clean(imports::MAP_RULE, &imports::check_map(&map));
}

#[test]
fn pure_rooms_touch_nothing_and_only_outside_names_the_world() {
    let sources = sources();
    assert_clean(world::RULE, &world::check(&sources));
}

#[test]
fn files_and_functions_stay_short() {
    let sources = sources();
    assert_clean(shape::LENGTH_RULE, &shape::lengths(&sources));
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_clean(shape::HEADER_RULE, &shape::headers(&rust_texts()));
}

#[test]
fn no_rust_file_is_forgotten() {
    let mut manifest = support::text("Cargo.toml").expect("Cargo.toml");
    // The fuzz targets are a package of their own, with paths from its folder.
    let fuzz = support::text("tests/fuzz/Cargo.toml").expect("tests/fuzz/Cargo.toml");
    manifest.push_str(&fuzz.replace("path = \"", "path = \"tests/fuzz/"));
    assert_clean(shape::FORGOTTEN_RULE, &shape::forgotten(&manifest, &rust_texts()));
}

#[test]
fn nothing_unfinished_or_private_is_left_in_the_tree() {
    let files = support::files();
    let texts: Vec<(String, String)> =
        files.into_iter().filter_map(|path| support::text(&path).map(|text| (path, text))).collect();
    assert_clean(shape::LEFTOVER_RULE, &shape::leftovers(&texts));
}

#[test]
fn playbooks_templates_fixtures_and_headings_are_the_same_list() {
    let playbooks = support::text("src/model/playbook.rs").expect("src/model/playbook.rs");
    let map = support::text("ARCHITECTURE.md").expect("ARCHITECTURE.md");
    assert_clean(actions::RULE, &actions::check(&playbooks, &map, &support::files()));
}

#[test]
fn documents_name_only_what_exists() {
    let tree = documents::Tree::of_this_checkout();
    let findings: Vec<Finding> = documents::checked(&tree.files)
        .into_iter()
        .filter_map(|path| support::text(&path).map(|text| (path, text)))
        .flat_map(|(path, text)| documents::check(&path, &text, &tree))
        .collect();
    assert_clean(documents::RULE, &findings);
}

#[test]
fn the_readme_and_the_map_fit_their_readers() {
    for (path, most) in [("README.md", 150), ("ARCHITECTURE.md", 250)] {
        let lines = support::text(path).unwrap_or_else(|| panic!("{path} is missing")).lines().count();
        assert!(lines <= most, "{path} has {lines} lines; {most} is what a newcomer reads. Move detail out.");
    }
}
