//! The SOPS format, compatible with sops 3.13: reads YAML and JSON files, opens them with age identities,
//! verifies their MAC, changes one value or adds or removes one entry, leaves every other byte as it was, and
//! writes new files.
//!
//! Bytes, identities, the time and random bytes come in; bytes, facts about keys, or a refusal go out. The
//! envelopes of a new file's data key are made by the `age` crate with randomness of its own. Plaintext is
//! held in [`Plaintext`] only, which is wiped and cannot be printed. No recipient is ever added to an
//! existing file or taken from it, nothing is written over a MAC that does not hold, and no plugin, key
//! service or agent is ever called.
//!
//! The format has no specification. Facts are those of sops 3.13.3; the integration test runs the two
//! against each other.

mod access;
mod age_keys;
mod cipher;
mod comments;
mod compare;
mod creation_rules;
mod edit;
mod encrypt;
mod error;
mod file;
mod json;
mod mac;
mod metadata;
mod metadata_text;
mod pattern;
mod reshape;
mod rule;
mod secret;
mod shamir;
mod store;
mod time;
mod tree;
mod value;

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub use access::Access;
pub use age_keys::Identities;
pub use compare::compare;
pub use creation_rules::{CreationRule, CreationRules};
pub use edit::{Edit, Inputs, restore, set};
pub use encrypt::{Recipe, encrypt};
pub use error::SopsError;
pub use file::{SopsFile, Unlocked};
pub use metadata::Recipient;
pub use reshape::reshape;
pub use secret::Plaintext;
pub use store::{Store, detect};

/// The version of sops whose format this room reads and writes.
pub const FORMAT_VERSION: &str = "3.13.3";
/// Most recipients of one file, over all key groups.
pub const RECIPIENTS_MAX: usize = 256;
/// Largest age envelope of a data key, in bytes; one recipient takes about 400.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
