//! Reading and writing objects, compared with the real git program.

use super::fixture::{MAIN, World, draft, edit, git, text};
use super::{GitError, Objects, TreeLimits};
use crate::outside::sign::{AllowedSigners, SignatureCheck, SigningKey};

fn all(_: &str) -> bool {
    true
}

/// A tree with the given `mktree` rows, in the hub.
async fn tree(world: &World, rows: &str) -> String {
    text(&world.git(&["mktree"], Some(rows.as_bytes())).await)
}

async fn blob(world: &World, bytes: &[u8]) -> String {
    text(&world.git(&["hash-object", "-w", "--stdin"], Some(bytes)).await)
}

#[tokio::test]
async fn git_accepts_our_signature_and_so_do_we() {
    let world = World::new();
    let hub = world.hub();
    let line = &world.line;
    let signers = world.temp.path().join("signers");
    super::super::files::write_new(&signers, format!("tars@example.org {line}\n").as_bytes(), 0o600).unwrap();
    let config = format!("gpg.ssh.allowedSignersFile={}", signers.display());
    let verified = world.git(&["-c", &config, "verify-commit", &world.first.commit], None).await;
    assert!(verified.success(), "{}", verified.stderr);

    let commit = hub.commit(&world.first.commit).unwrap();
    let allowed = AllowedSigners::load(Some(&signers), None).unwrap();
    let check = allowed.verify(&commit.payload, commit.signature.as_deref(), commit.time_s);
    assert_eq!(check, SignatureCheck::Allowed(world.signer.fingerprint()));

    let mut tampered = commit.payload.clone();
    let last = tampered.len() - 2;
    tampered[last] ^= 1;
    assert!(matches!(
        allowed.verify(&tampered, commit.signature.as_deref(), commit.time_s),
        SignatureCheck::Rejected(_)
    ));
    assert_eq!(allowed.verify(&commit.payload, None, 0), SignatureCheck::Unsigned);
    let (stranger, _) = SigningKey::generate(&world.temp.path().join("stranger")).unwrap();
    let foreign = stranger.sign(&commit.payload, 0).unwrap();
    assert!(matches!(allowed.verify(&commit.payload, Some(&foreign), 0), SignatureCheck::Rejected(_)));
}

#[tokio::test]
async fn we_accept_what_git_itself_signed() {
    let world = World::new();
    let key = world.temp.path().join("key");
    let config = format!("user.signingKey={}", key.display());
    let signed = world
        .git(
            &["-c", "gpg.format=ssh", "-c", &config, "commit-tree", "-S", "-m", "by git", &world.first.tree],
            None,
        )
        .await;
    let commit = world.hub().commit(&text(&signed)).unwrap();
    let allowed = AllowedSigners::parse(&format!("t@x {}", world.line), "").unwrap();
    assert!(matches!(
        allowed.verify(&commit.payload, commit.signature.as_deref(), commit.time_s),
        SignatureCheck::Allowed(_)
    ));
}

#[test]
fn the_same_draft_gives_the_same_commit_and_reads_back() {
    let world = World::new();
    let hub = world.hub();
    let base = &world.first.commit;
    let change =
        draft(Some(base), &[base], vec![edit("app.yaml", "replicas: 5\n")], "Scale\n\nBecause: load\n\n\n");
    let one = hub.write_commit(&change, &world.signer).unwrap();
    assert_eq!(one, hub.write_commit(&change, &world.signer).unwrap());

    let read = hub.commit(&one.commit).unwrap();
    assert_eq!((&read.message[..], read.time_s), ("Scale\n\nBecause: load\n", 1_700_000_000));
    assert_eq!((&read.author_name[..], &read.author_email[..]), ("tars", "tars@example.org"));
    assert_eq!((read.parents, &read.tree), (vec![base.clone()], &one.tree));
    assert_eq!(hub.tree_of(&one.commit).unwrap(), one.tree);
    let rows = hub.list_tree(&one.commit, TreeLimits::default(), &|p| p == "app.yaml").unwrap();
    assert_eq!(hub.blob(&rows[0].oid, 100).unwrap(), b"replicas: 5\n");
    assert_eq!((rows.len(), rows[0].size, rows[0].mode), (1, 12, 0o100_644));
}

#[tokio::test]
async fn a_changed_file_keeps_its_mode_and_the_neighbours_their_bytes() {
    let world = World::new();
    let script = blob(&world, b"#!/bin/sh\n").await;
    let sub = tree(&world, &format!("100755 blob {script}\trun.sh\n")).await;
    let rows = format!(
        "120000 blob {script}\tlink\n160000 commit {}\tmodule\n040000 tree {sub}\tbin\n",
        world.first.commit
    );
    let base = tree(&world, &rows).await;
    let hub = world.hub();
    let change =
        draft(Some(&base), &[], vec![edit("bin/run.sh", "#!/bin/bash\n"), edit("bin/new/x", "1")], "m");
    let written = hub.write_commit(&change, &world.signer).unwrap();
    let modes: Vec<(String, u32)> = hub
        .list_tree(&written.commit, TreeLimits::default(), &all)
        .unwrap()
        .into_iter()
        .map(|row| (row.path, row.mode))
        .collect();
    let expected =
        [("bin/new/x", 0o100_644), ("bin/run.sh", 0o100_755), ("link", 0o120_000), ("module", 0o160_000)];
    assert_eq!(modes, expected.map(|(path, mode)| (path.to_owned(), mode)));
    let changed = hub.changed_paths(Some(&base), &written.commit).unwrap();
    assert_eq!(changed.iter().map(|c| &c.0[..]).collect::<Vec<_>>(), ["bin/new/x", "bin/run.sh"]);
    assert!(changed[0].1.is_none() && changed[1].1.is_some() && changed[1].2.is_some());
}

#[tokio::test]
async fn no_edit_goes_through_a_link_a_submodule_or_a_file() {
    let world = World::new();
    let target = blob(&world, b"../../etc").await;
    let rows = format!(
        "120000 blob {target}\tlink\n160000 commit {}\tmodule\n100644 blob {target}\tfile\n",
        world.first.commit
    );
    let base = tree(&world, &rows).await;
    let hub = world.hub();
    for path in
        ["link", "link/x", "module", "module/x", "file/x", "../x", "a/../x", ".git/config", "a//b", "/x"]
    {
        for bytes in [Some(b"x".to_vec()), None] {
            let change = draft(Some(&base), &[], vec![(path.to_owned(), bytes)], "m");
            let refused = hub.write_commit(&change, &world.signer).unwrap_err();
            assert!(matches!(refused, GitError::Refused { .. }), "{path}: {refused:?}");
        }
    }
}

#[test]
fn edits_that_contradict_each_other_or_change_nothing_are_refused() {
    let world = World::new();
    let hub = world.hub();
    let base = &world.first.commit;
    let write =
        |edits, parents: &[&str]| hub.write_commit(&draft(Some(base), parents, edits, "m"), &world.signer);
    for edits in [
        vec![edit("a", "1"), edit("a", "2")],
        vec![edit("a", "1"), edit("a/b", "2")],
        vec![edit("a/b", "1"), edit("a", "2")],
        vec![edit("apps", "a folder becomes a file")],
    ] {
        assert!(matches!(write(edits, &[base]), Err(GitError::Refused { .. })));
    }
    for edits in [vec![], vec![edit("app.yaml", "replicas: 3\n")]] {
        assert!(matches!(write(edits, &[base]), Err(GitError::EmptyChange)));
    }
    let missing = vec![("none.yaml".to_owned(), None)];
    assert!(matches!(write(missing, &[base]), Err(GitError::NotFound { .. })));
    let side = world.commit(&hub, base, "side");
    write(vec![], &[base, &side]).expect("a merge may keep the tree of its first parent");
}

#[test]
fn a_folder_goes_with_its_last_file() {
    let world = World::new();
    let hub = world.hub();
    let base = &world.first.commit;
    let gone = vec![("apps/backend/deploy.yaml".to_owned(), None)];
    let written = hub.write_commit(&draft(Some(base), &[base], gone, "m"), &world.signer).unwrap();
    let rows = hub.list_tree(&written.commit, TreeLimits::default(), &all).unwrap();
    assert_eq!(rows.iter().map(|r| &r.path[..]).collect::<Vec<_>>(), ["app.yaml"]);
    assert_eq!(hub.changed_paths(Some(base), &written.commit).unwrap().len(), 1);
    let rest = vec![("app.yaml".to_owned(), None)];
    let empty = hub
        .write_commit(&draft(Some(&written.commit), &[&written.commit], rest, "m"), &world.signer)
        .unwrap();
    assert!(hub.list_tree(&empty.commit, TreeLimits::default(), &all).unwrap().is_empty());
}

#[test]
fn an_author_or_message_that_would_forge_a_header_is_refused() {
    let world = World::new();
    let base = &world.first.commit;
    let good = draft(Some(base), &[base], vec![edit("a", "1")], "m");
    for (name, email) in
        [("a\nb", "x"), ("a", "x>\nauthor b <y"), ("", "x"), ("a", ""), ("a<b", "x"), (" a", "x")]
    {
        let mut bad = good.clone();
        bad.author = (name.to_owned(), email.to_owned());
        assert!(matches!(world.hub().write_commit(&bad, &world.signer), Err(GitError::Refused { .. })));
    }
    for message in ["", "\n", "a\0b"] {
        let mut bad = good.clone();
        bad.message = message.to_owned();
        assert!(matches!(world.hub().write_commit(&bad, &world.signer), Err(GitError::Refused { .. })));
    }
}

#[tokio::test]
async fn a_listing_refuses_hostile_names_and_stops_at_each_bound() {
    let world = World::new();
    let hub = world.hub();
    let x = blob(&world, b"0123456789").await;
    for name in [".git", "..", "GIT~1", ".Git "] {
        let hostile = tree(&world, &format!("100644 blob {x}\t{name}\n")).await;
        let refused = hub.list_tree(&hostile, TreeLimits::default(), &all);
        assert!(matches!(refused, Err(GitError::Refused { .. })), "{name}");
    }
    // Ten levels of ten times the same folder: 10^10 paths in eleven objects.
    let mut bomb = tree(&world, &format!("100644 blob {x}\tf\n")).await;
    for _ in 0..10 {
        let rows: String = (0..10).map(|i| format!("040000 tree {bomb}\td{i}\n")).collect();
        bomb = tree(&world, &rows).await;
    }
    let limits = TreeLimits { entries_max: 10_000, ..TreeLimits::default() };
    assert!(matches!(hub.list_tree(&bomb, limits, &|_| false), Err(GitError::TooLarge { .. })));
    let two = tree(&world, &format!("100644 blob {x}\ta\n100644 blob {x}\tb\n")).await;
    let one_file = TreeLimits { files_max: 1, ..TreeLimits::default() };
    assert!(matches!(hub.list_tree(&two, one_file, &all), Err(GitError::TooLarge { .. })));
    assert_eq!(hub.list_tree(&two, one_file, &|p| p == "b").unwrap().len(), 1);
    let few_bytes = TreeLimits { bytes_max: 19, ..TreeLimits::default() };
    assert!(matches!(hub.list_tree(&two, few_bytes, &all), Err(GitError::TooLarge { .. })));
    assert!(matches!(hub.blob(&x, 9), Err(GitError::TooLarge { .. })));
    assert!(matches!(hub.blob(&two, 1000), Err(GitError::Refused { .. })));
    assert!(matches!(hub.blob(&"0".repeat(39), 9), Err(GitError::Refused { .. })));
    assert!(matches!(hub.blob(&"a".repeat(40), 9), Err(GitError::NotFound { .. })));
}

#[tokio::test]
async fn a_commit_with_two_authors_or_three_signatures_is_malformed() {
    let world = World::new();
    let head = format!("tree {}\nauthor A <a@x> 1 +0000\n", world.first.tree);
    let signature = "gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n";
    for extra in [
        "author B <b@x> 1 +0000\ncommitter C <c@x> 1 +0000\n".to_owned(),
        format!("committer C <c@x> 1 +0000\n{}", signature.repeat(3)),
        "committer C <c@x> 1 +0000\nencoding latin1\n".to_owned(),
    ] {
        let raw = format!("{head}{extra}\nm\n");
        let args = ["hash-object", "-t", "commit", "-w", "--literally", "--stdin"];
        let oid = text(&world.git(&args, Some(raw.as_bytes())).await);
        assert!(matches!(world.hub().commit(&oid), Err(GitError::Malformed { .. })), "{raw}");
    }
}

#[tokio::test]
async fn history_is_walked_by_first_parent_within_bounds() {
    let world = World::new();
    let hub = world.hub();
    let a = &world.first.commit;
    let b = world.commit(&hub, a, "b");
    let side = world.commit(&hub, a, "side");
    let merge =
        hub.write_commit(&draft(Some(&b), &[&b, &side], vec![], "merge"), &world.signer).unwrap().commit;
    let d = world.commit(&hub, &merge, "d");

    assert_eq!(hub.walk(&d, None, 10).unwrap(), [&d, &merge, &b, a].map(String::as_str));
    assert_eq!(hub.walk(&d, None, 2).unwrap(), [&d, &merge].map(String::as_str));
    assert_eq!(hub.walk(&d, Some(a), 3).unwrap(), [&d, &merge, &b].map(String::as_str));
    assert!(hub.walk(&d, Some(&d), 3).unwrap().is_empty());
    assert!(matches!(hub.walk(&d, Some(a), 2), Err(GitError::TooLarge { .. })));
    assert!(matches!(hub.walk(&d, Some(&side), 10), Err(GitError::NotFound { .. })));
    assert_eq!(hub.walk_all(&[&d], 5).unwrap().len(), 5);
    assert!(matches!(hub.walk_all(&[&d], 4), Err(GitError::TooLarge { .. })));

    assert!(hub.is_ancestor(&side, &d).unwrap() && hub.is_ancestor(&d, &d).unwrap());
    assert!(!hub.is_ancestor(&d, &side).unwrap());
    let orphan =
        hub.write_commit(&draft(None, &[], vec![edit("o", "1")], "o"), &world.signer).unwrap().commit;
    assert!(!hub.is_ancestor(&orphan, &d).unwrap());
    assert_eq!(text(&git(&world.hub, &["merge-base", &b, &side], None).await), *a);
}

#[test]
fn references_are_read_by_their_full_name_only() {
    let world = World::new();
    let hub = world.hub();
    assert_eq!(hub.resolve(MAIN).unwrap(), Some(world.first.commit.clone()));
    assert_eq!(hub.resolve("HEAD").unwrap(), Some(world.first.commit.clone()));
    assert_eq!(hub.resolve("refs/heads/none").unwrap(), None);
    for bad in ["main", "refs/tags/v1", "HEAD~1", "refs/heads/../x", "@{-1}"] {
        assert!(matches!(hub.resolve(bad), Err(GitError::Refused { .. })), "{bad}");
    }
    let next = world.commit(&hub, &world.first.commit, "next");
    assert!(hub.set_local_ref(MAIN, &next, None).is_err());
    assert!(hub.set_local_ref(MAIN, &next, Some(&next)).is_err());
    hub.set_local_ref(MAIN, &next, Some(&world.first.commit)).unwrap();
    assert_eq!(hub.refs("refs/heads/").unwrap()[MAIN], next);
    assert!(hub.refs("refs/heads/tars/").unwrap().is_empty());
    assert!(Objects::open(&world.temp.path().join("none")).is_err());
}
