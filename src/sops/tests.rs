//! Files written by sops 3.13.3: read, opened, changed, tampered with. And what never may be printed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::compare::Difference;
use super::fixture::{identities, random, recipient};
use super::rule::Rule;
use super::*;
use crate::yaml::Path;

const TYPES: &[u8] = include_bytes!("../../tests/fixtures/sops/types.yaml");
const REGEX: &[u8] = include_bytes!("../../tests/fixtures/sops/regex.yaml");
const MAC_ONLY: &[u8] = include_bytes!("../../tests/fixtures/sops/mac-only.yaml");
const MULTI: &[u8] = include_bytes!("../../tests/fixtures/sops/multi.yaml");
const GROUPS: &[u8] = include_bytes!("../../tests/fixtures/sops/groups.yaml");
const COMMENTS: &[u8] = include_bytes!("../../tests/fixtures/sops/comment-regex.yaml");
const JSON: &[u8] = include_bytes!("../../tests/fixtures/sops/plain.json");

fn file(source: &[u8]) -> SopsFile {
    let store = if source.starts_with(b"{") { Store::Json } else { Store::Yaml };
    SopsFile::read(store, source).unwrap()
}

fn text(source: &[u8]) -> String {
    String::from_utf8(source.to_vec()).unwrap()
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn value(source: &[u8], document: usize, at: &str) -> String {
    let file = file(source);
    let unlocked = file.unlock(&identities(0)).unwrap();
    let value = unlocked.get(&file, document, &path(at)).unwrap();
    format!("{} {}", value.kind.name(), String::from_utf8_lossy(value.expose()))
}

fn change(source: &[u8], document: usize, at: &str, value: &Plaintext) -> Result<Vec<u8>, SopsError> {
    change_with(source, (document, at), value, &identities(0), None)
}

fn change_with(
    source: &[u8],
    (document, at): (usize, &str),
    value: &Plaintext,
    identities: &Identities,
    expected: Option<&BTreeSet<Recipient>>,
) -> Result<Vec<u8>, SopsError> {
    let now: Timestamp = "2026-11-23T12:00:00.5Z".parse().unwrap();
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let mut random = random(CALLS.fetch_add(1, Ordering::Relaxed));
    let mut inputs = Inputs { now, random: &mut random };
    let path = path(at);
    let store = if source.starts_with(b"{") { Store::Json } else { Store::Yaml };
    let edit = Edit { document, path: &path, value, expected };
    set(&SopsFile::read(store, source)?, edit, identities, &mut inputs)
}

/// Lines that differ; both have the same number.
fn differing(old: &[u8], new: &[u8]) -> Vec<String> {
    let (old, new) = (text(old), text(new));
    assert_eq!(old.lines().count(), new.lines().count());
    let pairs = old.lines().zip(new.lines()).filter(|(old, new)| old != new);
    pairs.map(|(_, new)| new.trim().split([':', ' ']).next().unwrap().to_owned()).collect()
}

#[test]
fn every_type_that_sops_writes_is_read_back() {
    for (at, expected) in [
        ("text", "str hello world"),
        ("int", "int 42"),
        ("float", "float 1.5"),
        ("big", "float 1000000000000000000000"),
        ("yes", "bool True"),
        ("time", "time 2024-01-02T03:04:05Z"),
        ("date", "time 2024-01-02T00:00:00Z"),
        ("octal", "int 15"),
        ("empty", "str "),
        ("literal", "str one\ntwo\n"),
        ("unicode", "str 日本 é"),
        ("nested.deep.password", "str canary-9f2e"),
        ("nested.port_unencrypted", "int 8080"),
        ("nested.odd_unencrypted", "int 1000"),
    ] {
        assert_eq!(value(TYPES, 0, at), expected, "{at}");
    }
    assert_eq!(value(MULTI, 1, "list[1]"), "str y");
    assert_eq!(value(MULTI, 2, "c"), "str three");
    assert_eq!(value(JSON, 0, "list[1]"), "str two");
    assert_eq!(value(JSON, 0, "f"), "float 1.5");
}

#[test]
fn every_file_of_sops_opens_with_each_of_its_recipients() {
    for source in [TYPES, REGEX, MAC_ONLY, MULTI, COMMENTS, JSON] {
        file(source).unlock(&identities(0)).unwrap();
    }
    file(MAC_ONLY).unlock(&identities(1)).unwrap();
    for source in [TYPES, GROUPS] {
        let error = file(source).unlock(&identities(2)).unwrap_err();
        assert!(error.to_string().contains(&recipient(0)), "{error}");
    }
    // Two of three groups.
    let mut two = identities(0);
    assert!(file(GROUPS).unlock(&two).is_err());
    two.extend(identities(2));
    file(GROUPS).unlock(&two).unwrap();
    two.extend(identities(1));
    file(GROUPS).unlock(&two).unwrap();
}

#[test]
fn an_edit_changes_its_value_the_time_and_the_mac_and_nothing_else() {
    for (source, document, at, line, blocks) in [
        (TYPES, 0, "nested.deep.password", "password", 1),
        (TYPES, 0, "int", "int", 1),
        (TYPES, 0, "nested.port_unencrypted", "port_unencrypted", 1),
        (REGEX, 0, "spec.replicas", "replicas", 1),
        (MAC_ONLY, 0, "spec.replicas", "replicas", 1),
        (COMMENTS, 0, "password", "password", 1),
        (COMMENTS, 0, "user", "user", 1),
        (MULTI, 1, "list[1]", "-", 3),
        (JSON, 0, "deep.k", "\"k\"", 1),
    ] {
        let new = change(source, document, at, &Plaintext::int(5)).unwrap();
        let quote = if source == JSON { "\"" } else { "" };
        let metadata = ["lastmodified", "mac"].map(|it| format!("{quote}{it}{quote}"));
        let mut expected = vec![line.to_owned()];
        (0..blocks).for_each(|_| expected.extend(metadata.clone()));
        let (mut found, mut wanted) = (differing(source, &new), expected);
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{at}");
        assert_eq!(value(&new, document, at), "int 5");
        assert!(text(&new).contains("2026-11-23T12:00:00Z"));
    }
    let two = {
        let mut it = identities(0);
        it.extend(identities(1));
        it
    };
    let new = change_with(GROUPS, (0, "data.password"), &Plaintext::text("x"), &two, None).unwrap();
    assert_eq!(differing(GROUPS, &new).len(), 3);
}

#[test]
fn setting_the_value_that_is_there_changes_nothing() {
    assert_eq!(change(TYPES, 0, "int", &Plaintext::int(42)).unwrap(), TYPES);
    assert_ne!(change(TYPES, 0, "int", &Plaintext::text("42")).unwrap(), TYPES);
}

#[test]
fn an_encrypted_value_may_become_empty_and_full_again() {
    let empty = change(TYPES, 0, "text", &Plaintext::text("")).unwrap();
    assert_eq!(value(&empty, 0, "text"), "str ");
    let full = change(&empty, 0, "text", &Plaintext::bool(true)).unwrap();
    assert_eq!(value(&full, 0, "text"), "bool True");
    let list = change(TYPES, 0, "list[3].n", &Plaintext::float(0.5).unwrap()).unwrap();
    assert_eq!(value(&list, 0, "list[3].n"), "float 0.5");
    assert!(Plaintext::float(f64::NAN).is_none() && Plaintext::float(-0.0).is_none());
}

#[test]
fn tampering_is_found_and_never_signed_over() {
    let source = text(REGEX);
    let password = source.lines().find(|line| line.contains("password:")).unwrap();
    let user = source.lines().find(|line| line.contains("user:")).unwrap();
    let cipher = |line: &str| line[line.find("ENC").unwrap()..].to_owned();
    let swapped = source.replace(&cipher(password), "@").replace(&cipher(user), &cipher(password));
    for (what, tampered, forged) in [
        ("plain value", source.replace("replicas: 3", "replicas: 4"), false),
        ("plain type", source.replace("replicas: 3", "replicas: 3.5"), false),
        ("added plain value", source.replace("kind: Secret", "kind: Secret\nmore: x"), false),
        ("removed value", source.replace(&format!("{user}\n"), ""), false),
        ("moved ciphertext", swapped.replace('@', &cipher(user)), true),
        ("renamed key", source.replace("user:", "admin:"), true),
        ("time", source.replace("lastmodified: \"2026", "lastmodified: \"2025"), false),
        ("another mac", source.replace("mac: ENC[AES256_GCM,data:", "mac: ENC[AES256_GCM,data:AAAA"), false),
    ] {
        assert_ne!(tampered, source, "{what}");
        let file = SopsFile::read(Store::Yaml, tampered.as_bytes()).unwrap();
        let error = file.unlock(&identities(0)).unwrap_err();
        let expected = if forged {
            matches!(error, SopsError::Forged { .. })
        } else {
            matches!(error, SopsError::MacMismatch)
        };
        assert!(expected, "{what}: {error}");
        let set = change(tampered.as_bytes(), 0, "spec.replicas", &Plaintext::int(9));
        assert!(matches!(set, Err(SopsError::MacMismatch | SopsError::Forged { .. })), "{what}");
    }
}

#[test]
fn without_an_identity_only_plain_values_of_mac_only_encrypted_files_change() {
    let nobody = Identities::default();
    let new = change_with(MAC_ONLY, (0, "spec.replicas"), &Plaintext::int(5), &nobody, None).unwrap();
    assert_eq!(differing(MAC_ONLY, &new), ["replicas"]);
    file(&new).unlock(&identities(1)).unwrap();
    for (source, at) in [(MAC_ONLY, "data.password"), (REGEX, "spec.replicas"), (REGEX, "data.password")] {
        let error = change_with(source, (0, at), &Plaintext::int(5), &nobody, None).unwrap_err();
        assert!(matches!(error, SopsError::NeedsIdentity { .. }), "{at}: {error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn strangers_and_missing_recipients_stop_an_edit() {
    let names = |them: &[usize]| them.iter().map(|at| Recipient::age(&recipient(*at)).unwrap()).collect();
    let set = |expected: BTreeSet<Recipient>| {
        change_with(MAC_ONLY, (0, "spec.replicas"), &Plaintext::int(5), &identities(0), Some(&expected))
    };
    set(names(&[0, 1])).unwrap();
    let error = set(names(&[0])).unwrap_err();
    assert!(matches!(&error, SopsError::Stranger { recipient: name } if *name == recipient(1)), "{error}");
    let error = set(names(&[0, 1, 2])).unwrap_err();
    assert!(matches!(&error, SopsError::Missing { recipient: name } if *name == recipient(2)), "{error}");
}

#[test]
fn what_cannot_be_set_is_refused() {
    for at in ["sops.mac", "sops.age[0].recipient", "data", "nothing.here", "metadata.labels.none"] {
        let error = change(REGEX, 0, at, &Plaintext::int(5)).unwrap_err();
        assert!(matches!(error, SopsError::Refused { .. } | SopsError::Yaml(_)), "{at}: {error}");
    }
    assert!(change(REGEX, 1, "a", &Plaintext::int(5)).is_err());
    let mut none = || None;
    let mut same = || Some([1; 32]);
    let at = path("data.password");
    let value = Plaintext::int(5);
    let edit = Edit { document: 0, path: &at, value: &value, expected: None };
    for random in [&mut none as &mut dyn FnMut() -> Option<[u8; 32]>, &mut same] {
        let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random };
        let error = set(&file(REGEX), edit, &identities(0), &mut inputs).unwrap_err();
        assert!(matches!(error, SopsError::Random));
    }
}

#[test]
fn stanzas_of_key_services_are_named_and_survive_an_edit() {
    let stanzas = "    pgp:\n        - created_at: \"2024-01-02T03:04:05Z\"\n          enc: |-\n            -----BEGIN PGP MESSAGE-----\n\n            abc\n            -----END PGP MESSAGE-----\n          fp: ABCDEF\n    kms:\n        - arn: arn:aws:kms:eu-1:1:key/2\n          created_at: \"2024-01-02T03:04:05Z\"\n          enc: AQ==\n          aws_profile: \"\"\n    version";
    let source = text(REGEX).replace("    version", stanzas);
    let names: Vec<String> =
        file(source.as_bytes()).metadata().recipients().iter().map(ToString::to_string).collect();
    assert_eq!(names, [recipient(0), "aws-kms:arn:aws:kms:eu-1:1:key/2".to_owned(), "pgp:ABCDEF".to_owned()]);
    let new = change(source.as_bytes(), 0, "data.password", &Plaintext::text("x")).unwrap();
    assert!(text(&new).contains(stanzas));
    assert_eq!(differing(source.as_bytes(), &new), ["password", "lastmodified", "mac"]);
}

#[test]
fn metadata_that_is_not_as_sops_writes_it_is_refused() {
    let source = text(REGEX);
    for (what, bad) in [
        (
            "unquoted time",
            source.replace(
                &source[source.find("lastmodified: \"").unwrap()..][..36],
                "lastmodified: 2024-01-02T03:04:05Z",
            ),
        ),
        ("no version", source.replace("    version: 3.13.3\n", "")),
        ("odd version", source.replace("3.13.3", "new")),
        ("no mac", source.replace("    mac: ", "    # mac: ")),
        ("two rules", source.replace("    version", "    encrypted_suffix: x\n    version")),
        ("unknown field", source.replace("    version", "    encrypted_moon: x\n    version")),
        ("key twice", source.replace("    version", "    version: 3.13.3\n    version")),
        ("hostile recipient", source.replace("recipient: age1", "recipient: age1../../")),
        ("bad pattern", source.replace("^(data|stringData)$", "(")),
        (
            "no recipients",
            source[..source.find("    age:").unwrap()].to_owned()
                + &source[source.find("    lastmodified").unwrap()..],
        ),
        ("bad flag", source.replace("    version", "    mac_only_encrypted: maybe\n    version")),
        ("in the clear", source.replace("user: ENC[", "user: 5 #")),
        ("not the form", source.replace("user: ENC[AES256_GCM", "user: ENC[AES128_CBC")),
        ("merge key", source.replace("kind: Secret", "kind: &k Secret\nother: *k")),
    ] {
        assert_ne!(bad, source, "{what}");
        assert!(SopsFile::read(Store::Yaml, bad.as_bytes()).is_err(), "{what}");
    }
    assert!(matches!(SopsFile::read(Store::Yaml, b"a: 1\n"), Err(SopsError::NotSops)));
    for store in [Store::Dotenv, Store::Ini, Store::Binary] {
        let error = SopsFile::read(store, b"x").unwrap_err();
        assert!(error.to_string().contains(store.name()) && error.hint().is_some());
    }
}

#[test]
fn plaintext_reaches_no_message_and_no_debug_output() {
    let canary = "canary-9f2e";
    let file = file(TYPES);
    let unlocked = file.unlock(&identities(0)).unwrap();
    let secret = unlocked.get(&file, 0, &path("nested.deep.password")).unwrap();
    assert_eq!(secret.expose(), canary.as_bytes());
    let mut said = format!("{file:?}{unlocked:?}{secret:?}{secret:#?}{:?}", identities(0));
    let source = text(TYPES);
    for tampered in [
        source.replace("port_unencrypted: 8080", "port_unencrypted: 1"),
        source.replace("password:", "passwort:"),
        source.replace("type:str", "type:int"),
        source.replace("type:str", "type:time"),
    ] {
        let error =
            SopsFile::read(Store::Yaml, tampered.as_bytes()).unwrap().unlock(&identities(0)).unwrap_err();
        said.push_str(&format!("{error}{error:?}"));
    }
    for at in ["nested.deep", "nested.deep.password.x", "sops.mac", "none"] {
        let error = change(TYPES, 0, at, secret).unwrap_err();
        said.push_str(&format!("{error}{error:?}"));
    }
    let recipe = recipe();
    for bad in [
        format!("a: {canary}\na: {canary}\n"),
        format!("a: &x {canary}\nb: *x\n"),
        format!("- {canary}\n"),
        format!("a: {{b: {canary}\n"),
        format!("a: !x {canary}\n"),
        format!("a: [x, # {canary}\n y]\n"),
        format!("a: {canary}\nsops: 1\n"),
    ] {
        let mut random = random(1);
        let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random: &mut random };
        let error = encrypt(Store::Yaml, bad.as_bytes(), &recipe, &mut inputs).unwrap_err();
        said.push_str(&format!("{error}{error:?}{}", error.hint().unwrap_or("")));
    }
    let changed = change(TYPES, 0, "text", secret).unwrap();
    let other = SopsFile::read(Store::Yaml, &changed).unwrap();
    let opened = other.unlock(&identities(0)).unwrap();
    said.push_str(&format!("{:?}", compare((&file, Some(&unlocked)), (&other, Some(&opened)))));
    said.push_str(&text(&changed));
    assert!(!said.contains(canary));
    // The test can fail: the canary is where it should be.
    assert!(String::from_utf8_lossy(secret.expose()).contains(canary));
}

fn recipe() -> Recipe {
    Recipe {
        groups: vec![vec![recipient(0)]],
        threshold: None,
        rule: Rule::default(),
        mac_only_encrypted: false,
    }
}

#[test]
fn what_sops_would_not_read_back_is_not_encrypted() {
    for bad in [
        "",
        "- a\n",
        "{a: 1}\n",
        "  a: 1\n",
        "1: a\n",
        "a: 18446744073709551615\n",
        "a: &x 1\nb: *x\n",
        "a: &x {b: 1}\nc:\n  <<: *x\n",
        "a: 1\na: 2\n",
        "a: !custom x\n",
        "a: 1\nsops: {}\n",
        "a: [x, # where\n  y]\n",
    ] {
        let mut random = random(1);
        let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random: &mut random };
        assert!(encrypt(Store::Yaml, bad.as_bytes(), &recipe(), &mut inputs).is_err(), "{bad}");
    }
    let mut random = random(1);
    let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random: &mut random };
    let plugin = Recipe { groups: vec![vec!["age1yubikey1qqqq".to_owned()]], ..recipe() };
    let error = encrypt(Store::Yaml, b"a: 1\n", &plugin, &mut inputs).unwrap_err();
    assert!(matches!(error, SopsError::Recipient { .. }), "{error}");
    assert!(encrypt(Store::Json, b"{\"a\": 1, \"a\": 2}", &recipe(), &mut inputs).is_err());
    assert!(encrypt(Store::Json, b"{a: 1}", &recipe(), &mut inputs).is_err());
}

#[test]
fn a_comparison_names_places_and_never_values() {
    let old = file(REGEX);
    let new_bytes = change(REGEX, 0, "data.password", &Plaintext::text("x")).unwrap();
    let new_bytes = change(&new_bytes, 0, "spec.replicas", &Plaintext::int(4)).unwrap();
    let new = file(&new_bytes);
    let (a, b) = (old.unlock(&identities(0)).unwrap(), new.unlock(&identities(0)).unwrap());
    let words = |found: Vec<Difference>| -> Vec<(String, &'static str)> {
        found.into_iter().map(|it| (it.path, it.change.word())).collect()
    };
    let both = [("data.password".to_owned(), "changed"), ("spec.replicas".to_owned(), "changed")];
    assert_eq!(words(compare((&old, Some(&a)), (&new, Some(&b)))), both);
    let unknown = [("data.password".to_owned(), "re-encrypted"), ("spec.replicas".to_owned(), "changed")];
    assert_eq!(words(compare((&old, None), (&new, Some(&b)))), unknown);
    assert!(compare((&old, Some(&a)), (&old, Some(&a))).is_empty());
    let less = text(REGEX).replace("    name: db\n", "    title: db\n");
    let less = file(less.as_bytes());
    let moved = [("metadata.title".to_owned(), "added"), ("metadata.name".to_owned(), "removed")];
    let mut found = words(compare((&old, None), (&less, None)));
    found.sort_by_key(|it| it.1);
    assert_eq!(found, moved);
}

#[test]
fn creation_rules_apply_first_match_first_and_name_every_breach() {
    let (a, b) = (recipient(0), recipient(1));
    let text = format!(
        "keys:\n  - &a {a}\n  - &b {b}\ncreation_rules:\n  - path_regex: ^prod/.*\\.yaml$\n    encrypted_regex: ^(data|stringData)$\n    mac_only_encrypted: true\n    age: [*a, *b]\n  - path_regex: shared\n    key_groups:\n      - age: [*a]\n      - age: [*b]\n        pgp: [AB CD]\n  - age: >-\n      {a},\n      {b}\n"
    );
    let rules = CreationRules::parse(text.as_bytes()).unwrap();
    let at = |path| rules.for_path(path).map(|(index, _)| index);
    assert_eq!(
        [at("prod/db.yaml"), at("x/prod/db.yaml"), at("shared/a"), at("a")],
        [Some(0), Some(2), Some(1), Some(2)]
    );
    assert_eq!(rules.rules[0].breaches(&file(MAC_ONLY)), [""; 0]);
    let breaches = rules.rules[0].breaches(&file(REGEX));
    assert!(breaches[0].contains(&b) && breaches[1].contains("mac_only_encrypted"), "{breaches:?}");
    assert_eq!(rules.rules[2].breaches(&file(MULTI)).len(), 1);
    assert_eq!((rules.rules[1].groups.len(), rules.rules[1].threshold), (2, 2));
    assert!(rules.rules[1].breaches(&file(GROUPS)).iter().any(|it| it.contains("pgp:ABCD")));
    for bad in [
        "creation_rules: 5",
        "creation_rules:\n- age: age1../x\n",
        "creation_rules:\n- path_regex: (\n",
        "creation_rules:\n- encrypted_regex: a\n  encrypted_suffix: b\n",
    ] {
        assert!(CreationRules::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(CreationRules::parse(b"stores: {}\n").unwrap().for_path("a").is_none());
}
