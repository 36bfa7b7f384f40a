//! Entries that come and go: the file's rule decides what is encrypted, and nothing else moves. The real sops is the
//! judge of all rules, stores and places.
#![allow(clippy::disallowed_methods, reason = "the real sops is started, found by its place and by CI=true")]

use std::io::Write as _;
use std::path::{Path as FilePath, PathBuf};

use super::*;
use crate::sops::fixture::{block, encrypted, encrypted_as, identities, identity, recipient};
use crate::sops::{Identities, Recipient, Store};

const PLAIN: &str = "metadata:\n  name: a # here\n  annotations:\nspec:\n  list:\n    - env: one\n    - env: two\n  env: three\n";
const RULE: &str = "encrypted_regex: ^(env|secret)$";

fn store_of(text: &str) -> Store {
    if text.starts_with('{') { Store::Json } else { Store::Yaml }
}

fn access(identities: Identities) -> Access {
    Access { identities, expected: None }
}

fn put(at: &str, text: &str) -> yaml::Edit {
    yaml::Edit::Put { document: 0, path: Path::parse(at).unwrap(), value: Value::Text(text.to_owned()) }
}

fn remove(at: &str) -> yaml::Edit {
    yaml::Edit::Remove { document: 0, path: Path::parse(at).unwrap() }
}

fn made_by(text: &str, edit: &yaml::Edit, access: &Access) -> Result<String, SopsError> {
    let file = SopsFile::read(store_of(text), text.as_bytes())?;
    let mut inputs = Inputs { now: "2026-11-23T12:00:00Z".parse().unwrap(), random: &mut block };
    reshape(&file, edit, access, &mut inputs).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn made(text: &str, edit: &yaml::Edit) -> Result<String, SopsError> {
    made_by(text, edit, &access(identities(0)))
}

fn value(text: &str, at: &str) -> String {
    let file = SopsFile::read(Store::Yaml, text.as_bytes()).unwrap();
    let unlocked = file.unlock(&identities(0)).unwrap();
    let value = unlocked.get(&file, 0, &Path::parse(at).unwrap()).unwrap();
    String::from_utf8(value.expose().to_vec()).unwrap()
}

/// Lines of one that the other has not, without time and MAC.
fn only_in<'a>(one: &'a str, other: &str) -> Vec<&'a str> {
    let stamp = |line: &str| ["lastmodified:", "mac:"].iter().any(|it| line.trim().starts_with(it));
    one.lines().filter(|line| !stamp(line) && !other.lines().any(|it| it == *line)).collect()
}

#[test]
fn a_new_entry_stays_plain_or_is_encrypted_as_the_rule_of_the_file_says_and_goes_again() {
    for rule in
        [RULE, "encrypted_regex: ^(env|secret)$\n    mac_only_encrypted: true", "unencrypted_regex: ^plain"]
    {
        let before = encrypted(PLAIN, rule, &[0]);
        for (at, whole, sealed) in [
            ("metadata.annotations.plain", "metadata.annotations", false),
            ("metadata.plain/at", "metadata.plain/at", false),
            ("plain.deep.er", "plain", false),
            ("spec.secret", "spec.secret", true),
            ("spec.list[1].secret", "spec.list[1].secret", true),
        ] {
            let after = made(&before, &put(at, "2026-11-23T10:00:00Z"))
                .unwrap_or_else(|e| panic!("{at}: {e}\n{before}"));
            assert_eq!(value(&after, at), "2026-11-23T10:00:00Z", "{rule}: {at}");
            assert_eq!(after.contains("2026-11-23T10:00:00Z"), !sealed, "{rule}: {at}\n{after}");
            let file = SopsFile::read(Store::Yaml, after.as_bytes()).unwrap();
            assert_eq!(file.sealed_text(0, &Path::parse(at).unwrap()).is_some(), sealed, "{rule}: {at}");
            let lost = only_in(&before, &after);
            assert!(lost.iter().all(|it| it.trim() == "annotations:"), "{rule}: {at}: {lost:?}");
            // An only entry goes with its parent.
            let back = made(&after, &remove(whole)).unwrap();
            assert_eq!(value(&back, "spec.list[1].env"), "two");
            assert!(!back.contains("er:") && !back.contains("secret:"), "{back}");
        }
    }
}

#[test]
fn what_was_encrypted_comes_back_as_its_ciphertext_and_never_as_another_value() {
    let before = encrypted(PLAIN, RULE, &[0]);
    let file = SopsFile::read(Store::Yaml, before.as_bytes()).unwrap();
    let cipher = file.sealed_text(0, &Path::parse("spec.env").unwrap()).unwrap();
    let without = made(&before, &remove("spec.env")).unwrap();
    assert!(!without.contains(cipher));
    let back = made(&without, &put("spec.env", cipher)).unwrap();
    assert_eq!(value(&back, "spec.env"), "three");
    assert!(only_in(&before, &back).is_empty() && only_in(&back, &before).is_empty());
    for at in ["spec.secret", "spec.plain"] {
        let why = made(&without, &put(at, cipher)).unwrap_err().to_string();
        assert!(why.contains("a ciphertext belongs to one place"), "{at}: {why}");
    }
    let other = encrypted(PLAIN, RULE, &[0]);
    let other = made(&other, &remove("spec.env")).unwrap();
    assert!(made(&other, &put("spec.env", cipher)).is_err(), "another data key");
}

#[test]
fn without_an_identity_only_what_no_mac_covers_comes_or_goes() {
    let nobody = Access::default();
    let covered = encrypted(PLAIN, RULE, &[0]);
    let open = encrypted(PLAIN, "encrypted_regex: ^(env|secret)$\n    mac_only_encrypted: true", &[0]);
    let after = made_by(&open, &put("metadata.annotations.at", "x"), &nobody).unwrap();
    assert_eq!(value(&after, "metadata.annotations.at"), "x");
    assert_eq!(only_in(&after, &open).len(), 1, "{after}");
    for (text, edit, words) in [
        (&covered, put("metadata.annotations.at", "x"), "mac_only_encrypted is not set"),
        (&covered, remove("metadata.name"), "mac_only_encrypted is not set"),
        (&open, put("spec.secret", "x"), "it is encrypted"),
        (&open, remove("spec.env"), "it is encrypted"),
    ] {
        let why = made_by(text, &edit, &nobody).unwrap_err().to_string();
        assert!(why.contains(words), "{edit:?}: {why}");
    }
}

#[test]
fn what_cannot_come_or_go_is_refused_before_anything_is_written() {
    let text = encrypted(PLAIN, RULE, &[0]);
    let set = yaml::Edit::Set { document: 0, path: Path::parse("spec.env").unwrap(), value: Value::Int(1) };
    for (edit, words) in [
        (put("sops.mac", "x"), "metadata of sops"),
        (remove("sops.age"), "metadata of sops"),
        (put("metadata.name", "b"), "another value would change"),
        (put("spec.env", "b"), "another value would change"),
        (set, "only single entries"),
    ] {
        let why = made(&text, &edit).unwrap_err().to_string();
        assert!(why.contains(words), "{edit:?}: {why}");
    }
    let tampered = text.replace("name: a", "name: b");
    assert!(matches!(made(&tampered, &put("metadata.x", "y")), Err(SopsError::MacMismatch)));
    let strangers =
        Access { expected: Some([Recipient::parse(&recipient(1)).unwrap()].into()), ..access(identities(0)) };
    assert!(matches!(made_by(&text, &put("metadata.x", "y"), &strangers), Err(SopsError::Stranger { .. })));
}

/// The newest `sops` in the cache; without one, a loud skip, or a failure where `CI=true`.
fn sops(test: &str) -> Option<PathBuf> {
    let parts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/parts");
    let folders = std::fs::read_dir(parts).into_iter().flatten().filter_map(Result::ok);
    let found = folders.map(|it| it.path().join("bin/sops")).filter(|it| it.is_file()).max();
    if found.is_none() {
        let text = format!("{test}: sops is missing; run tests/install-parts");
        assert!(!std::env::var("CI").is_ok_and(|it| it == "true"), "{text} (in CI that is a failure)");
        let _ = writeln!(std::io::stderr(), "SKIP {text}");
    }
    found
}

/// What the real sops decrypts a text to, every document as a value; it verifies the MAC first.
fn decrypted(sops: &FilePath, dir: &FilePath, text: &str) -> Result<Vec<yaml_serde::Value>, String> {
    let kind = if store_of(text) == Store::Json { "json" } else { "yaml" };
    let file = dir.join(format!("a.{kind}"));
    std::fs::write(&file, text).unwrap();
    let mut command = std::process::Command::new(sops);
    command
        .env_clear()
        .env("HOME", dir)
        .env("SOPS_AGE_KEY", identity(0))
        .env("SOPS_DISABLE_VERSION_CHECK", "1");
    let out = command.arg("-d").arg(&file).output().unwrap();
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    Ok(values(&out.stdout))
}

fn values(text: &[u8]) -> Vec<yaml_serde::Value> {
    use serde::Deserialize as _;
    yaml_serde::Deserializer::from_slice(text).map(|it| yaml_serde::Value::deserialize(it).unwrap()).collect()
}

#[test]
fn the_real_sops_reads_what_came_and_what_is_left_under_every_rule_and_in_every_store() {
    let Some(sops) = sops("the_real_sops_reads_what_came_and_what_is_left") else { return };
    let dir = tempfile::tempdir().unwrap();
    let commented = "# secret\nmetadata:\n  name: a # note\n  # secret above\n  token: x\n  empty:\nspec:\n  - name: app\n    \
                     env: {a: 1, b: [true, 2.50]}\n  # at the end\n";
    let several = format!("{PLAIN}---\nspec:\n  env: four\n");
    let json = "{\n\t\"metadata\": {\"name\": \"a\"},\n\t\"spec\": [\n\t\t{\"name\": \"app\", \"env\": {\"a\": 1}}\n\t]\n}\n";
    let mut judged = 0;
    for rule in [
        "",
        "encrypted_suffix: _secret",
        "encrypted_regex: ^(env|new)$",
        "unencrypted_regex: ^(metadata|new)$",
        "encrypted_comment_regex: secret",
        "unencrypted_comment_regex: note",
    ] {
        for only in ["", "    mac_only_encrypted: true"] {
            for plain in [commented, &several, json] {
                if store_of(plain) == Store::Json && rule.contains("comment") {
                    continue;
                }
                let before = encrypted_as(store_of(plain), plain, &format!("{rule}\n{only}"), &[0]);
                let at = if plain == several { "spec.list[0].new" } else { "spec[0].env.new" };
                let come =
                    [at, "metadata.new", "metadata.deep.new"].map(|at| put(at, "2026-11-23T10:00:00Z"));
                let go = [at, "metadata.new", "metadata.deep"].map(remove);
                let (mut text, mut plain) = (before.clone(), plain.as_bytes().to_vec());
                for edits in [come, go] {
                    for edit in &edits {
                        let told =
                            |why: SopsError| -> String { panic!("{rule} {only} {edit:?}: {why}\n{before}") };
                        text = made(&text, edit).unwrap_or_else(told);
                        plain = yaml::apply(&plain, std::slice::from_ref(edit)).unwrap();
                    }
                    let judged_as = decrypted(&sops, dir.path(), &text);
                    assert_eq!(judged_as, Ok(values(&plain)), "{rule} {only} {edits:?}\n{text}");
                    judged += 1;
                }
            }
        }
    }
    assert_eq!(judged, 64, "every rule, with and without plain values in the MAC, in every store");
}
