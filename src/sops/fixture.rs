//! Keys and random bytes for this room's tests. The identities guard nothing.

use super::age_keys::Identities;

/// Three identities made for the tests.
pub(super) const IDENTITIES: [&str; 3] = [
    "AGE-SECRET-KEY-1HSXNTHRZAMDR4FEDDPJJH2RMXPFRCPL7LVS4REDET952AZZDNQJSC3NK5Y",
    "AGE-SECRET-KEY-14TKLK7JWU079NWJQX6A89CWPDVA2Y2AUEM2CRL43DXKZ0XVQQJDSGD7WWF",
    "AGE-SECRET-KEY-1NXDYN82PXSAEA0Q89YQ22MUDQFW0LL6QFN92T5RYAN3SDGLYK2XQ2FSC6E",
];

pub(super) fn identities(at: usize) -> Identities {
    Identities::parse(IDENTITIES[at]).unwrap()
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
