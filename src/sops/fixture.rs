//! Keys and random bytes for this room's tests. The identities guard nothing.

use super::age_keys::Identities;

/// Three identities made for the tests, shared with the suite.
const KEYS: &str = include_str!("../../tests/fixtures/sops/keys.txt");

pub(super) fn identity(at: usize) -> &'static str {
    KEYS.lines().filter(|line| line.starts_with("AGE-")).nth(at).unwrap()
}

pub(super) fn identities(at: usize) -> Identities {
    Identities::parse(identity(at)).unwrap()
}

pub(super) fn recipient(at: usize) -> String {
    identities(at).recipients()[0].clone()
}

/// Blocks that never repeat: a counter through SHA-256.
pub(super) fn random(seed: u64) -> impl FnMut() -> Option<[u8; 32]> {
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
