//! Keys and random bytes for tests. The identities guard nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::age_keys::Identities;
use super::{CreationRules, Inputs, Recipe, Store, encrypt};

/// Three identities made for the tests, shared with the suite.
const KEYS: &str = include_str!("../../tests/fixtures/sops/keys.txt");

pub fn identity(at: usize) -> &'static str {
    KEYS.lines().filter(|line| line.starts_with("AGE-")).nth(at).unwrap()
}

pub fn identities(at: usize) -> Identities {
    Identities::parse(identity(at)).unwrap()
}

pub fn recipient(at: usize) -> String {
    identities(at).recipients()[0].clone()
}

/// Blocks that never repeat: a counter through SHA-256.
pub fn random(seed: u64) -> impl FnMut() -> Option<[u8; 32]> {
    use sha2::Digest as _;
    let mut count = 0_u64;
    move || {
        count += 1;
        let mut hash = sha2::Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update(count.to_be_bytes());
        Some(hash.finalize().into())
    }
}

/// A block that no other call gives.
pub fn block() -> Option<[u8; 32]> {
    static COUNT: AtomicU64 = AtomicU64::new(1 << 32);
    random(COUNT.fetch_add(1, Ordering::Relaxed))()
}

/// A YAML text encrypted for these identities by the fields of a creation rule.
pub fn encrypted(text: &str, rule: &str, owners: &[usize]) -> String {
    encrypted_as(Store::Yaml, text, rule, owners)
}

/// As [`encrypted`], in any store.
pub fn encrypted_as(store: Store, text: &str, rule: &str, owners: &[usize]) -> String {
    let owners: Vec<String> = owners.iter().map(|at| recipient(*at)).collect();
    let rules = format!("creation_rules:\n  - age: {}\n    {rule}\n", owners.join(","));
    let rules = CreationRules::parse(rules.as_bytes()).unwrap();
    let (_, found) = rules.for_path("a.yaml").unwrap();
    let recipe = Recipe {
        groups: vec![owners],
        threshold: None,
        rule: found.rule.clone(),
        mac_only_encrypted: found.mac_only_encrypted,
    };
    let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random: &mut block };
    String::from_utf8(encrypt(store, text.as_bytes(), &recipe, &mut inputs).unwrap()).unwrap()
}
