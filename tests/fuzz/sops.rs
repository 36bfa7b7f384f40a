//! Any bytes as a SOPS file, as a file to encrypt and as `.sops.yaml`, with and without the throw-away identity.
//! It may refuse; it may not panic, put plaintext into an error, or write what it cannot open again.

#![no_main]

#[allow(unused, reason = "part of the room is used here")]
#[path = "../../src/sops/mod.rs"]
mod sops;
#[allow(unused, reason = "part of the room is used here")]
#[path = "../../src/yaml/mod.rs"]
mod yaml;

#[allow(unused, reason = "each target uses some of the choices")]
mod choices;

use std::error::Error;
use std::sync::LazyLock;

use choices::Choices;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use sops::{CreationRules, Edit, Identities, Inputs, Plaintext, Recipe, SopsError, SopsFile, Store};
use yaml::Path;

const KEYS: &str = include_str!("../fixtures/sops/keys.txt");
/// Stands where a secret would, and in no seed; the length is that of something worth stealing.
const CANARY: &str = "canary-0451-secret";
/// What an encrypted value begins with.
const SEALED: &str = "ENC[AES256_GCM";

/// What `.sops.yaml` may ask for, one after the other.
const RULES: [&str; 6] = [
    "",
    "unencrypted_suffix: _unencrypted",
    "encrypted_regex: '^(data|stringData|a)'",
    "unencrypted_regex: '^a'",
    "encrypted_comment_regex: secret",
    "mac_only_encrypted: true",
];

static IDENTITIES: LazyLock<Identities> = LazyLock::new(|| Identities::parse(KEYS).expect("keys.txt"));
static NOBODY: LazyLock<Identities> = LazyLock::new(Identities::default);

/// Blocks that never repeat within one input, and are the same for the same input.
fn random() -> impl FnMut() -> Option<[u8; 32]> {
    let mut count = 0_u64;
    move || {
        count += 1;
        Some(Sha256::digest(count.to_be_bytes()).into())
    }
}

/// No word of the error, of its causes, or of how it is printed for a programmer, may hold `secret`.
fn keeps(error: &SopsError, secret: &str) {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(secret), "plaintext in an error: {text}");
        }
        cause = error.source();
    }
}

fn store(choices: &mut Choices<'_>, source: &[u8]) -> Store {
    match choices.byte() {
        0 if source.trim_ascii_start().starts_with(b"{") => Store::Json,
        0 | 1 => Store::Yaml,
        2 => Store::Json,
        3 => Store::Dotenv,
        4 => Store::Ini,
        _ => Store::Binary,
    }
}

fn value(choices: &mut Choices<'_>) -> Plaintext {
    match choices.byte() % 4 {
        0 => Plaintext::text(CANARY),
        1 => Plaintext::int(i64::from(choices.byte())),
        2 => Plaintext::bool(choices.byte() & 1 == 1),
        _ => Plaintext::text(&choices.text(64)),
    }
}

/// Reads, opens and changes one value; what was written opens again.
fn reads_and_sets(source: &[u8], store: Store, choices: &mut Choices<'_>) {
    let Ok(file) = SopsFile::read(store, source) else { return };
    assert!(file.unlock(&NOBODY).is_err(), "nobody opens a file");
    let places: Vec<(usize, Path)> =
        file.paths().map(|(document, path, _)| (document, path.clone())).collect();
    if places.is_empty() {
        return;
    }
    let (document, path) = &places[choices.below(places.len())];
    let value = value(choices);
    let edit = Edit { document: *document, path, value: &value, expected: None };
    let mut blocks = random();
    let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random: &mut blocks };
    let in_source = source.windows(CANARY.len()).any(|it| it == CANARY.as_bytes());
    for identities in [&*NOBODY, &*IDENTITIES] {
        match sops::set(&file, edit, identities, &mut inputs) {
            Ok(edited) => {
                let after = SopsFile::read(store, &edited).expect("what was written reads back");
                let opens = file.unlock(&IDENTITIES).is_ok();
                assert!(!opens || after.unlock(&IDENTITIES).is_ok(), "what was written opens");
                let all = [(&file, None), (&after, None)];
                assert!(sops::compare(all[0], all[1]).len() <= 1, "one value changed");
            }
            Err(error) if !in_source => keeps(&error, CANARY),
            Err(_) => {}
        }
    }
}

/// A value in the clear where the rule wants ciphertext: an accident that an error must not make worse.
fn with_a_canary(source: &[u8], choices: &mut Choices<'_>) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(source).ok()?;
    let starts: Vec<usize> = text.match_indices(SEALED).map(|(at, _)| at).collect();
    let start = *starts.get(choices.below(starts.len().max(1)))?;
    let end = text[start..].find(']').map_or(text.len(), |at| start + at + 1);
    let canary = match choices.byte() % 5 {
        0 => CANARY.to_owned(),
        1 => format!("{SEALED},data:{CANARY},iv:eA==,tag:eA==,type:str]"),
        2 => format!("!!int {CANARY}"),
        3 => format!("\"{CANARY}"),
        _ => format!("[{CANARY}"),
    };
    Some([&text[..start], &canary, &text[end..]].concat().into_bytes())
}

/// Whatever is wrong with a file that holds the canary, the words about it do not.
fn tells_nothing(source: &[u8], store: Store) {
    let file = match SopsFile::read(store, source) {
        Ok(file) => file,
        Err(error) => return keeps(&error, CANARY),
    };
    for identities in [&*NOBODY, &*IDENTITIES] {
        if let Err(error) = file.unlock(identities) {
            keeps(&error, CANARY);
        }
    }
}

/// Encrypts a text by one of the rules; what was written opens, and what is not encrypted stands as it was.
fn encrypts(source: &[u8], store: Store, choices: &mut Choices<'_>) {
    let rule = RULES[choices.below(RULES.len())];
    let recipient = &IDENTITIES.recipients()[0];
    let settings = format!("creation_rules:\n- age: {recipient}\n  {rule}\n");
    let rules = CreationRules::parse(settings.as_bytes()).expect("a good rule");
    let rule = rules.for_path("x.yaml").expect("it is for every path").1;
    let recipe = Recipe {
        groups: vec![vec![recipient.clone()]],
        threshold: None,
        rule: rule.rule.clone(),
        mac_only_encrypted: rule.mac_only_encrypted,
    };
    let mut blocks = random();
    let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random: &mut blocks };
    if let Ok(sealed) = sops::encrypt(store, source, &recipe, &mut inputs) {
        let file = SopsFile::read(store, &sealed).expect("what was written reads back");
        assert!(file.unlock(&IDENTITIES).is_ok(), "what was written opens");
        reads_and_sets(&sealed, store, choices);
    }
}

fuzz_target!(|input: &[u8]| {
    let (source, mut choices) = Choices::split(input);
    let _ = sops::detect("x.yaml", source);
    let store = store(&mut choices, source);
    match choices.byte() % 4 {
        0 => reads_and_sets(source, store, &mut choices),
        1 => encrypts(source, store, &mut choices),
        2 => {
            if let Some(source) = with_a_canary(source, &mut choices) {
                tells_nothing(&source, store);
            }
        }
        _ => {
            if let Ok(rules) = CreationRules::parse(source) {
                let _ = rules.for_path(&choices.text(64));
            }
            let _ = std::str::from_utf8(source).map(Identities::parse);
        }
    }
});
