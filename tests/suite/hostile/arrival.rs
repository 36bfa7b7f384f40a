//! What must be refused, or survived, before a single file is looked at: trees and commits that git itself
//! refuses on arrival, entries of the ledger that two readers would read differently, and repositories that
//! are far larger than they look.

use std::process::Command;
use std::time::{Duration, Instant};

use super::tree::Tree;
use super::{World, deployment, honest, policy};
use crate::support::parts;
use crate::support::program::{git, git_with, tars};

/// Most time for one tick on a repository that is a bomb; generous, because the machine may be busy.
const TICK_MAX: Duration = Duration::from_secs(100);

/// Git's own findings on arrival are named by these.
const FOUND: [&str; 6] = ["hasDot", "gitmodules", "fullPathname", "badTree", "invalid path", "fsck"];

#[test]
fn a_tree_with_a_name_that_becomes_dot_git_somewhere_is_refused_until_it_is_gone() {
    let world = World::new(&honest());
    for name in [
        ".git",
        ".GIT",
        "..",
        ".",
        "GIT~1",
        ".git ",
        ".git.",
        ".git::$INDEX_ALLOCATION",
        ".g\u{200c}it",
        "apps/.git/hooks/pre-commit",
        "apps/.Git/config",
        "apps/../../x",
    ] {
        let mut tree = honest();
        tree.file(name, "#!/bin/sh\ntouch PWNED\n");
        world.main(&tree);
        world.is_refused_as_a_whole(name, &FOUND);
    }
    world.main(&honest());
    world.serves_the_honest_target();
}

/// Trees as bytes, because `git mktree` writes only good ones: what is wrong, and the entries.
fn malformed(blob: &str, folder: &str) -> Vec<(&'static str, Vec<u8>)> {
    let entry = |mode: &str, name: &str, oid: &str| {
        let digits = (0..40).step_by(2).map(|at| u8::from_str_radix(&oid[at..at + 2], 16).unwrap());
        [format!("{mode} {name}\0").into_bytes(), digits.collect()].concat()
    };
    let zero = "0".repeat(40);
    vec![
        ("a name twice", [entry("100644", "a", blob), entry("100644", "a", blob)].concat()),
        (
            "a file and a folder of one name",
            [entry("100644", "a", blob), entry("40000", "a", folder)].concat(),
        ),
        ("not in order", [entry("100644", "b", blob), entry("100644", "a", blob)].concat()),
        ("a mode with a zero before it", entry("0100644", "a", blob)),
        ("a name that is a path", entry("100644", "a/b", blob)),
        ("no name", entry("100644", "", blob)),
        ("an object of zeros", entry("100644", "a", &zero)),
        ("cut short", entry("100644", "a", blob)[..20].to_vec()),
    ]
}

#[test]
fn a_tree_that_two_readers_read_differently_is_refused_until_it_is_gone() {
    let world = World::new(&honest());
    let repo = world.repo();
    let blob = git(&repo, &["rev-parse", "main:apps/good.yaml"]);
    let folder = git(&repo, &["rev-parse", "main:apps"]);
    for (what, bytes) in malformed(&blob, &folder) {
        let args = ["hash-object", "-t", "tree", "-w", "--literally", "--stdin"];
        let bad = git_with(&repo, &args, &[], &bytes);
        let mut tree = honest();
        tree.raw("bad", "040000", "tree", &bad);
        world.main(&tree);
        let words = [
            "fsck",
            "badTree",
            "duplicateEntries",
            "not properly sorted",
            "zero-padded",
            "full pathnames",
            "empty name",
            "repository corruption",
            "null sha1",
            "nullSha1",
            "too-short tree",
            "missing",
            "truncated",
            "unpack",
            "malformed",
        ];
        world.is_refused_as_a_whole(what, &words);
    }
    world.main(&honest());
    world.serves_the_honest_target();
}

#[test]
fn modules_that_want_to_run_something_are_refused_and_others_are_carried_along_unread() {
    let world = World::new(&honest());
    let marker = world.home().join("PWNED").display().to_string();
    for modules in [
        format!("[submodule \"x\"]\n\tpath = x\n\turl = ./y\n\tupdate = !touch {marker}\n"),
        format!("[submodule \"x\"]\n\tpath = x\n\turl = --upload-pack=touch {marker}\n"),
        format!("[submodule \"x\"]\n\tpath = -x\n\turl = ext::touch {marker}\n"),
        format!("[submodule \"../../x\"]\n\tpath = x\n\turl = {marker}\n"),
        "[submodule \"x\"]\n\tpath = x\n\turl = https://h/x%0ahost=other\n".to_owned(),
    ] {
        let mut tree = honest();
        tree.file(".gitmodules", &modules).module("x");
        world.main(&tree);
        world.is_refused_as_a_whole(&modules, &FOUND);
    }
    let mut linked = honest();
    linked.link(".gitmodules", "policies/good.yaml");
    world.main(&linked);
    world.is_refused_as_a_whole("linked .gitmodules", &FOUND);

    // A path that ends in a carriage return (CVE-2025-48384), hooks, filters and settings in the tree.
    let script = format!("#!/bin/sh\ntouch {marker}\n");
    let mut tree = honest();
    tree.file(".gitmodules", "[submodule \"x\"]\n\tpath = \"x\r\"\n\turl = ./y\n")
        .module("x\r")
        .link("x", ".git/modules/x/hooks")
        .file(".githooks/pre-commit", &script)
        .file("hooks/pre-push", &script)
        .file(".gitattributes", "* filter=evil diff=evil merge=evil\n*.yaml export-subst ident\n")
        .file(".gitconfig", format!("[core]\n\tsshCommand = touch {marker}\n\thooksPath = hooks\n"))
        .file(".lfsconfig", "[lfs]\n\turl = https://h.invalid/\n");
    world.main(&tree);
    let before = git(&world.repo(), &["ls-tree", "-r", "-z", "main"]);
    world.serves_the_honest_target();
    let after = git(&world.repo(), &["ls-tree", "-r", "-z", &world.proposals()[0]]);
    let rows = |text: &str| text.split('\0').map(str::to_owned).collect::<Vec<_>>();
    let differing = rows(&before).into_iter().zip(rows(&after)).filter(|(a, b)| a != b).count();
    assert_eq!(differing, 1, "{before}\n{after}");
    assert!(!world.home().join("PWNED").exists());
}

/// A commit from its raw text; git itself would not write all of them.
fn raw_commit(world: &World, text: &[u8]) -> String {
    let args = ["hash-object", "-t", "commit", "-w", "--literally", "--stdin"];
    git_with(&world.repo(), &args, &[], text)
}

/// Commits that two readers read differently, on top of `parent`: what, the text, and what is said.
fn two_faced(tree: &str, parent: &str) -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let head = format!("tree {tree}\nparent {parent}\n");
    let author = "author A <a@x> 1795433400 +0000\n";
    let committer = "committer A <a@x> 1795433400 +0000\n";
    let signature = "gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n";
    let message = "\nTars-Kind: Merged\n";
    let text = |parts: &[&str]| parts.concat().into_bytes();
    vec![
        (
            "two authors",
            text(&[&head, author, "author B <b@x> 1 +0000\n", committer, message]),
            &["author", "Author"],
        ),
        (
            "two trees",
            text(&[&format!("tree {tree}\n"), &head, author, committer, message]),
            &["tree", "parent", "Author"],
        ),
        ("NUL", text(&[&head, author, committer, "\nx\0Tars-Kind: Merged\n"]), &["NUL", "nul"]),
        (
            "three signatures",
            text(&[&head, author, committer, &signature.repeat(3), message]),
            &["signature"],
        ),
        ("another encoding", text(&[&head, author, committer, "encoding UTF-16\n", message]), &["encoding"]),
        ("no signature", text(&[&head, author, committer, message]), &["is not a ledger entry"]),
        (
            "a header of two megabytes",
            text(&[&head, author, committer, "x-long ", &"x".repeat(2 << 20), "\n", message]),
            &["more than"],
        ),
    ]
}

#[test]
fn a_ledger_entry_that_two_readers_read_differently_stops_every_write_until_it_is_gone() {
    let world = World::new(&honest());
    world.serves_the_honest_target();
    let repo = world.repo();
    let whole = git(&repo, &["rev-parse", "tars/ledger"]);
    let tree = git(&repo, &["rev-parse", "tars/ledger^{tree}"]);
    // Something is due, if the ledger allows it.
    let branch = world.proposals().remove(0);
    git(&repo, &["update-ref", "-d", &format!("refs/heads/{branch}")]);
    for (what, text, words) in two_faced(&tree, &whole) {
        let forged = raw_commit(&world, &text);
        git(&repo, &["update-ref", "refs/heads/tars/ledger", &forged]);
        world.is_refused_as_a_whole(what, words);
        let args = ["audit", "verify", "-C", "repo.git", "--allowed-signers", "allowed"];
        let audit = tars(world.home(), &args);
        assert_eq!(audit.code, 1, "{what}: {audit:#?}");
        let named = audit.out.contains(&forged[..7]) || audit.err.contains("refs/heads/tars/ledger");
        assert!(named, "{what}: {audit:#?}");
        git(&repo, &["update-ref", "refs/heads/tars/ledger", &whole]);
    }
    let tick = world.run();
    assert_eq!(tick.said.code, 0, "{:#?}", tick.said);
    assert_ne!(git(&repo, &["rev-parse", "tars/ledger"]), whole, "the work goes on");
}

#[test]
fn a_commit_of_a_person_that_two_readers_read_differently_grants_nothing() {
    let world = World::new(&honest());
    let repo = world.repo();
    let main = git(&repo, &["rev-parse", "main"]);
    let tree = git(&repo, &["rev-parse", "main^{tree}"]);
    for (what, text, _) in two_faced(&tree, &main) {
        let forged = raw_commit(&world, &text);
        git(&repo, &["update-ref", "refs/heads/main", &forged]);
        let tick = world.run();
        // Git refuses some of them on arrival; the others are ordinary commits that tars never believes.
        assert!([0, 3].contains(&tick.said.code), "{what}: {:#?}", tick.said);
        assert_eq!(git(&repo, &["rev-parse", "main"]), forged, "{what}");
        let proposals = world.proposals();
        assert!(proposals.iter().all(|it| it.starts_with("tars/good/")), "{what}: {proposals:?}");
    }
    world.main(&honest());
    world.serves_the_honest_target();
}

#[track_caller]
fn refused_in_time(world: &World, what: &str, words: &[&str]) {
    let started = Instant::now();
    world.is_refused_as_a_whole(what, words);
    assert!(started.elapsed() < TICK_MAX, "{what}: {:?}", started.elapsed());
}

/// Ten folders in each of ten folders, ten levels deep, of a few objects.
fn tree_bomb(world: &World) -> String {
    let mut leaf = Tree::default();
    leaf.file("f.yaml", "a: 1\n");
    let mut tree = leaf.write(&world.repo());
    for _ in 0..10 {
        let rows: String = (0..10).map(|at| format!("040000 tree {tree}\td{at}\n")).collect();
        tree = git_with(&world.repo(), &["mktree"], &[], rows.as_bytes());
    }
    tree
}

#[test]
fn a_tree_of_ten_thousand_million_files_is_refused_in_time() {
    let world = World::new(&honest());
    let bomb = tree_bomb(&world);
    let mut tree = honest();
    tree.raw("bomb", "040000", "tree", &bomb);
    world.main(&tree);
    refused_in_time(&world, "tree bomb", &["the comparison has more than 200000 paths"]);
    world.main(&honest());
    world.serves_the_honest_target();
}

#[test]
fn a_hundred_thousand_entries_in_one_folder_are_no_trouble_and_more_than_twice_as_many_are_refused() {
    let world = World::new(&honest());
    let mut one = Tree::default();
    one.file("x", "a: 1\n");
    let blob = git(&world.repo(), &["rev-parse", &format!("{}:x", one.write(&world.repo()))]);
    for (ending, count, refused) in
        [("txt", 100_000, false), ("yaml", 100_000, false), ("yaml", 200_001, true)]
    {
        let rows: String = (0..count).map(|at| format!("100644 blob {blob}\tf{at:06}.{ending}\n")).collect();
        let many = git_with(&world.repo(), &["mktree"], &[], rows.as_bytes());
        let mut tree = honest();
        tree.raw("many", "040000", "tree", &many);
        world.main(&tree);
        if refused {
            refused_in_time(&world, ending, &["the comparison has more than 200000 paths"]);
        } else {
            let started = Instant::now();
            world.serves_the_honest_target();
            assert!(started.elapsed() < TICK_MAX, "{:?}", started.elapsed());
        }
    }
}

#[test]
fn a_blob_that_grows_a_thousandfold_is_never_read() {
    let world = World::new(&honest());
    let mut tree = honest();
    tree.file("apps/notes.txt", "x".repeat(64 << 20));
    tree.file("apps/large.yaml", format!("a: {}\n", "x".repeat(20 << 20)));
    world.main(&tree);
    world.settings(&world.repo().display().to_string(), "  timeout_s: 90\n");
    let started = Instant::now();
    world.serves_the_honest_target();
    assert!(started.elapsed() < TICK_MAX, "{:?}", started.elapsed());
}

#[test]
fn a_blob_of_two_gibibytes_is_never_read() {
    let Some(python) = parts::find("python3", "a_blob_of_two_gibibytes_is_never_read") else { return };
    let world = World::new(&honest());
    // Two megabytes in the repository; git itself would take a quarter of a minute to write them.
    let script = crate::support::root().join("tests/checker/zero_pack.py");
    let made =
        Command::new(python).arg(script).arg(world.repo().join("objects/pack")).arg("2048").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let blob = String::from_utf8(made.stdout).unwrap();
    assert_eq!(git(&world.repo(), &["cat-file", "-s", blob.trim()]), (2_u64 << 30).to_string());
    let mut tree = honest();
    tree.file("policies/large.yaml", policy("large", "Deployment/large", ""));
    for path in ["apps/large.yaml", "apps/notes.txt", "policies/huge.yaml"] {
        tree.raw(path, "100644", "blob", blob.trim());
    }
    world.main(&tree);
    world.settings(&world.repo().display().to_string(), "  timeout_s: 90\n");
    let started = Instant::now();
    let tick = world.run();
    assert!(started.elapsed() < TICK_MAX, "{:?}", started.elapsed());
    assert_eq!(world.proposals().len(), 1, "{:#?}", tick.said);
    assert!(world.proposals()[0].starts_with("tars/good/"), "{:?}", world.proposals());
    let held = tick.held("large").join("; ");
    assert!(held.contains("apps/large.yaml"), "{held}: {:#?}", tick.said);
}

/// A million branches `<prefix>/<number>`, as git packs them.
fn a_million(world: &World, prefix: &str) {
    let main = git(&world.repo(), &["rev-parse", "main"]);
    let mut rows = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    (0..1_000_000).for_each(|at| rows.push_str(&format!("{main} refs/heads/{prefix}/{at:06}\n")));
    std::fs::write(world.repo().join("packed-refs"), rows).unwrap();
}

#[test]
fn a_million_branches_of_others_are_passed_over_and_a_million_like_ours_are_refused_in_time() {
    let world = World::new(&honest());
    world.settings(&world.repo().display().to_string(), "  timeout_s: 90\n");
    a_million(&world, "feature");
    let started = Instant::now();
    world.serves_the_honest_target();
    assert!(started.elapsed() < TICK_MAX, "{:?}", started.elapsed());
    a_million(&world, "tars/many");
    refused_in_time(&world, "branches", &["wrote more than"]);
    std::fs::remove_file(world.repo().join("packed-refs")).unwrap();
    world.serves_the_honest_target();
}

#[test]
fn one_bomb_in_the_past_of_a_release_does_not_stop_the_honest_target() {
    let world = World::new(&honest());
    let bomb = tree_bomb(&world);
    let base = |image: &str| {
        let mut tree = honest();
        tree.file("apps/past.yaml", deployment("past", "3").replace("app:1", image));
        let rollback = policy("past", "Deployment/past", "")
            .replace("type: ScaleOut", "type: Rollback")
            .replace("scaleOut: {step: 2, maxReplicas: 10}", "rollback: {scope: Image, maxAge: 6h}");
        tree.file("policies/past.yaml", rollback);
        tree
    };
    let mut line: Option<String> = None;
    for (image, bombed) in [("app:1", false), ("app:2", true), ("app:2", false)] {
        let mut tree = base(image);
        if bombed {
            tree.raw("bomb", "040000", "tree", &bomb);
        }
        let tree = tree.write(&world.repo());
        let mut args = vec!["commit-tree", &tree, "-m", "Work"];
        let parent = line.clone();
        if let Some(parent) = &parent {
            args.extend(["-p", parent]);
        }
        line = Some(git(&world.repo(), &args));
    }
    git(&world.repo(), &["update-ref", "refs/heads/main", &line.unwrap()]);
    let tick = world.run();
    assert_eq!(tick.said.code, 0, "in time and within memory: {:#?}", tick.said);
    assert!(world.proposals().iter().any(|it| it.starts_with("tars/good/")), "{:#?}", tick.said);
    assert!(!world.proposals().iter().any(|it| it.starts_with("tars/past/")), "{:#?}", tick.said);
}
