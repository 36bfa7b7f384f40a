//! Tests of [`super::diff`] on a real repository.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::diff::{ChangedEntry, Entry, Stands};
use super::fixture::{World, draft, text};
use super::{Edit, GitError, Objects, TreeLimits};

fn all(_: &str) -> bool {
    true
}

/// What differs, as both ways of asking say it.
fn rows(objects: &Objects, old: Option<&str>, new: &str) -> Vec<ChangedEntry> {
    let rows = objects.changed_entries(old, new, TreeLimits::default(), &all).unwrap();
    let mut news = rows.iter();
    let mut same = |path: &str, new: Stands<'_>| {
        let row = news.next().unwrap();
        let id = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let new = new.map(|(mode, bytes)| Entry { mode, oid: id(bytes) });
        assert_eq!((path, &new), (row.path.as_str(), &row.new));
    };
    objects.each_changed_entry(old, new, TreeLimits::default(), &mut same).unwrap();
    assert_eq!(news.next(), None);
    rows
}

async fn blob(world: &World, bytes: &str) -> String {
    text(&world.git(&["hash-object", "-w", "--stdin"], Some(bytes.as_bytes())).await)
}

/// Rows as `git mktree` reads them; the objects they name need not exist.
async fn tree(world: &World, rows: &str) -> String {
    text(&world.git(&["mktree", "--missing"], Some(rows.as_bytes())).await)
}

fn entry(mode: u32, oid: &str) -> Option<Entry> {
    Some(Entry { mode, oid: oid.to_owned() })
}

fn row(path: &str, old: Option<Entry>, new: Option<Entry>) -> ChangedEntry {
    ChangedEntry { path: path.to_owned(), old, new }
}

#[tokio::test]
async fn folders_and_files_that_are_the_same_on_both_sides_are_never_opened() {
    let world = World::new();
    let (a, b, absent) = (blob(&world, "a").await, blob(&world, "b").await, "7".repeat(40));
    let side = |oid: &str| format!("040000 tree {absent}\tsame\n100644 blob {oid}\tvalue.yaml\n");
    let (one, two) = (tree(&world, &side(&a)).await, tree(&world, &side(&b)).await);
    let changed = rows(&world.hub(), Some(&one), &two);
    assert_eq!(changed, [row("value.yaml", entry(0o100_644, &a), entry(0o100_644, &b))]);
    assert_eq!(rows(&world.hub(), Some(&two), &two), []);
    let missing = world.hub().changed_entries(None, &one, TreeLimits::default(), &all);
    assert!(matches!(missing, Err(GitError::Objects { .. })), "the absent folder is opened when it is new");
}

#[tokio::test]
async fn every_kind_of_change_is_a_row() {
    let world = World::new();
    let (a, b) = (blob(&world, "a").await, blob(&world, "b").await);
    let below = tree(&world, &format!("100644 blob {a}\tx\n")).await;
    let old = format!(
        "100644 blob {a}\tapp\n100644 blob {a}\tapp.yaml\n100644 blob {a}\tgone\n100644 blob {a}\trun\n"
    );
    let new = format!(
        "040000 tree {below}\tapp\n100644 blob {b}\tapp.yaml\n120000 blob {a}\tlink\n100755 blob {a}\trun\n\
         160000 commit {}\tsub\n",
        world.first.commit
    );
    let (old, new) = (tree(&world, &old).await, tree(&world, &new).await);
    let file = |oid: &str| entry(0o100_644, oid);
    let expected = [
        row("app", file(&a), None),
        row("app.yaml", file(&a), file(&b)),
        row("app/x", None, file(&a)),
        row("gone", file(&a), None),
        row("link", None, entry(0o120_000, &a)),
        row("run", file(&a), entry(0o100_755, &a)),
        row("sub", None, entry(0o160_000, &world.first.commit)),
    ];
    assert_eq!(rows(&world.hub(), Some(&old), &new), expected);
    let backwards = expected.map(|it| ChangedEntry { path: it.path, old: it.new, new: it.old });
    assert_eq!(rows(&world.hub(), Some(&new), &old), backwards);
    let wanted = |path: &str| path.starts_with("app");
    let few = world.hub().changed_entries(Some(&old), &new, TreeLimits::default(), &wanted).unwrap();
    assert_eq!(few.len(), 3);
}

#[tokio::test]
async fn a_comparison_stops_at_each_bound_and_refuses_hostile_names_that_are_new() {
    let world = World::new();
    let hub = world.hub();
    let x = blob(&world, "x").await;
    let plain = tree(&world, &format!("100644 blob {x}\tf\n")).await;
    let hostile = tree(&world, &format!("100644 blob {x}\t.GIT\n100644 blob {x}\tf\n")).await;
    let refused = hub.changed_entries(Some(&plain), &hostile, TreeLimits::default(), &all);
    assert!(matches!(refused, Err(GitError::Refused { .. })));
    assert_eq!(rows(&hub, Some(&hostile), &plain).len(), 1, "what goes away harms nobody");
    assert_eq!(hub.changed_paths(Some(&plain), &hostile).unwrap().len(), 1);
    // Ten levels of ten times the same folder: 10^10 paths in eleven objects.
    let mut bomb = plain.clone();
    for _ in 0..10 {
        let rows: String = (0..10).map(|i| format!("040000 tree {bomb}\td{i}\n")).collect();
        bomb = tree(&world, &rows).await;
    }
    let limits = TreeLimits { entries_max: 10_000, ..TreeLimits::default() };
    let passed = hub.changed_entries(None, &bomb, limits, &|_| false);
    assert!(matches!(passed, Err(GitError::TooLarge { unit: "entries", .. })));
    assert!(matches!(hub.changed_paths(None, &bomb), Err(GitError::TooLarge { .. })));
    let one_file = TreeLimits { files_max: 1, ..TreeLimits::default() };
    let two = tree(&world, &format!("100644 blob {x}\ta\n100644 blob {x}\tb\n")).await;
    assert!(matches!(hub.changed_entries(None, &two, one_file, &all), Err(GitError::TooLarge { .. })));
    let mut deep = plain;
    for _ in 0..70 {
        deep = tree(&world, &format!("040000 tree {deep}\td\n")).await;
    }
    let passed = hub.changed_entries(None, &deep, TreeLimits::default(), &all);
    assert!(matches!(passed, Err(GitError::TooLarge { unit: "nested folders", .. })));
}

#[tokio::test]
async fn a_folder_out_of_order_is_malformed() {
    let world = World::new();
    let x = blob(&world, "x").await;
    let raw_id: Vec<u8> = (0..20).map(|i| u8::from_str_radix(&x[2 * i..2 * i + 2], 16).unwrap()).collect();
    let mut raw = Vec::new();
    for name in ["b", "a"] {
        raw.extend_from_slice(format!("100644 {name}\0").as_bytes());
        raw.extend_from_slice(&raw_id);
    }
    let args = ["hash-object", "-t", "tree", "-w", "--literally", "--stdin"];
    let odd = text(&world.git(&args, Some(&raw)).await);
    let malformed = world.hub().changed_entries(Some(&world.first.commit), &odd, TreeLimits::default(), &all);
    assert!(matches!(malformed, Err(GitError::Malformed { .. })), "{malformed:?}");
}

fn files() -> impl Strategy<Value = BTreeMap<String, u8>> {
    // No name is a folder of another: what a path stands for must not depend on the order of edits.
    let path = "[ab](\\.[ab])?/[ab](-[ab])?/[abc]";
    proptest::collection::btree_map(path, 0..3_u8, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_rows_are_exactly_the_paths_whose_bytes_differ(before in files(), after in files()) {
        let world = World::new();
        let hub = world.hub();
        let write = |files: &BTreeMap<String, u8>| {
            let edits: Vec<Edit> =
                files.iter().map(|(path, value)| (path.clone(), Some(vec![*value]))).collect();
            hub.write_commit(&draft(None, &[], edits, "m"), &world.signer).unwrap().commit
        };
        let (old, new) = (write(&before), write(&after));
        let found: BTreeMap<String, (bool, bool)> = rows(&hub, Some(&old), &new)
            .into_iter()
            .map(|row| (row.path, (row.old.is_some(), row.new.is_some())))
            .collect();
        let paths = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path));
        let expected: BTreeMap<String, (bool, bool)> = paths
            .map(|path| (path.clone(), (before.contains_key(path), after.contains_key(path))))
            .collect();
        prop_assert_eq!(found, expected);
    }
}
