//! What comes from others: the lock file's size, versions with known advisories, actions pinned by hash.
//! Licences, banned crates and sources are the business of `deny.toml` and `.ci/run`.

use regex::Regex;

use crate::support;

/// Every package is somebody to trust. Raising this is a decision, taken in the commit that needs it.
/// The age crate brings 75, most of them for messages in other languages; the pgp crate 49, most of them ciphers that
/// it has no switch for; comrak 13, of which none is in the program: tests read pull requests with it as forges do;
/// octocrab 26, a third of them for other systems; kube 18, without its macros and its runtime.
const PACKAGES_MAX: usize = 530;

/// (name, version) of every package of a lock file.
fn locked(lock: &str) -> Vec<(String, Vec<u64>)> {
    let package = Regex::new(r#"\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)""#).unwrap();
    package.captures_iter(lock).map(|it| (it[1].to_owned(), version(&it[2]))).collect()
}

/// The numbers of a version; what follows `-` or `+` does not count.
fn version(text: &str) -> Vec<u64> {
    let core = text.split(['-', '+']).next().unwrap_or("");
    core.split('.').map(|it| it.parse().unwrap_or_else(|_| panic!("{text} is no version"))).collect()
}

/// What the list of advisories refuses in the lock file.
fn refused(advisories: &str, lock: &str) -> Vec<String> {
    let packages = locked(lock);
    let mut found = Vec::new();
    for line in advisories.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, least) = match words[..] {
            ["at-least", name, least] => (name, Some(version(least))),
            ["never", name] => (name, None),
            _ => panic!("tests/suite/advisories.txt: `{line}` is neither at-least nor never"),
        };
        let bad = |it: &&(String, Vec<u64>)| it.0 == name && least.as_ref().is_none_or(|least| it.1 < *least);
        found.extend(packages.iter().filter(bad).map(|it| format!("{name} {:?}: {line}", it.1)));
    }
    found
}

/// Steps of a workflow that name an action by tag or branch.
fn unpinned(workflow: &str) -> Vec<&str> {
    let uses = Regex::new(r"(?m)^[ -]*uses:\s*(\S+)").unwrap();
    let pinned = Regex::new(r"^(?:\./|[^@]+@[0-9a-f]{40}$)").unwrap();
    let named = uses.captures_iter(workflow).map(|it| it.get(1).map_or("", |it| it.as_str()));
    named.filter(|it| !pinned.is_match(it)).collect()
}

#[test]
fn the_lock_file_stays_small() {
    let count = locked(&support::text("Cargo.lock").expect("Cargo.lock")).len();
    assert!(
        (100..=PACKAGES_MAX).contains(&count),
        "Cargo.lock has {count} packages, at most {PACKAGES_MAX} are accepted: drop a dependency or a feature"
    );
}

#[test]
fn no_locked_version_has_a_known_advisory() {
    let advisories = support::text("tests/suite/advisories.txt").expect("tests/suite/advisories.txt");
    let found = refused(&advisories, &support::text("Cargo.lock").expect("Cargo.lock"));
    assert!(found.is_empty(), "update or drop these crates:\n  {}", found.join("\n  "));
}

#[test]
fn the_fuzz_targets_are_built_from_the_versions_that_are_shipped() {
    let lock = |path: &str| locked(&support::text(path).unwrap_or_else(|| panic!("{path}")));
    let shipped = lock("Cargo.lock");
    let own = ["arbitrary", "libfuzzer-sys", "tars-fuzz"];
    let other: Vec<_> = lock("tests/fuzz/Cargo.lock")
        .into_iter()
        .filter(|it| !own.contains(&it.0.as_str()) && !shipped.contains(it))
        .collect();
    assert!(
        other.is_empty(),
        "copy Cargo.lock to tests/fuzz and run `cargo update --workspace` there: {other:?}"
    );
}

#[test]
fn actions_are_pinned_by_commit() {
    let workflows: Vec<String> =
        support::files().into_iter().filter(|it| it.starts_with(".github/workflows/")).collect();
    assert!(!workflows.is_empty(), ".github/workflows/ is empty");
    for path in workflows {
        let text = support::text(&path).unwrap();
        assert_eq!(unpinned(&text), Vec::<&str>::new(), "{path}: a tag can be moved, a full hash cannot");
    }
}

#[test]
fn old_and_abandoned_crates_are_refused() {
    let lock = "[[package]]\nname = \"a\"\nversion = \"0.9.10\"\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0+x\"\n";
    assert_eq!(refused("# note\nat-least a 0.9.9\nat-least c 9.0.0\nnever d\n", lock), [""; 0]);
    assert_eq!(refused("at-least a 0.10.0\nnever b\n", lock).len(), 2);
}

#[test]
fn an_action_by_tag_is_refused() {
    let hash = "0".repeat(40);
    let text = format!(
        "steps:\n  - uses: a/b@{hash} # v1\n  - uses: ./local\n  - uses: a/c@v4\n    uses: a/d@main\n"
    );
    assert_eq!(unpinned(&text), ["a/c@v4", "a/d@main"]);
}
