//! A secret that cannot be printed: no Display, no Serialize, and a Debug that says nothing. In: a bounded
//! file or a value. Out: the value, to the driver that puts it on the wire, and a comparison whose time says
//! nothing about the contents.

use std::fmt;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::files::{self, FileError};

/// Longest secret read from a file, in bytes. Tokens of every forge are far below.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;

/// A token or password.
#[derive(Clone)]
pub struct Secret(String);

/// Why a secret could not be taken. Never holds any of its bytes.
#[derive(Debug, Error)]
pub enum SecretError {
    #[error("cannot read the secret file")]
    File(#[source] FileError),
    #[error("others can read the secret file {0} (mode {1:o}); chmod 600 it")]
    Exposed(PathBuf, u32),
    #[error("the secret is empty")]
    Empty,
    /// Such a value would become structure in a header or a configuration line.
    #[error("the secret holds a space, a control character or a byte that is not ASCII")]
    Characters,
}

impl Secret {
    /// Takes a value; blanks at both ends are dropped.
    ///
    /// # Errors
    /// When nothing is left, or a character could not travel in an HTTP header.
    pub fn new(value: &str) -> Result<Self, SecretError> {
        let value = value.trim();
        if value.is_empty() {
            return Err(SecretError::Empty);
        }
        if !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SecretError::Characters);
        }
        Ok(Self(value.to_owned()))
    }

    /// Reads a file of at most [`SECRET_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or as [`Secret::new`].
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let bytes = files::read_bounded(path, SECRET_BYTES_MAX).map_err(SecretError::File)?;
        Self::new(&String::from_utf8(bytes).map_err(|_| SecretError::Characters)?)
    }

    /// Reads a file that nobody but its owner can read.
    ///
    /// # Errors
    /// When others can read it, or as [`Secret::from_file`].
    pub fn from_private_file(path: &Path) -> Result<Self, SecretError> {
        is_private(path)?;
        Self::from_file(path)
    }

    /// The bytes of a file that nobody but its owner can read: a key, which has lines.
    ///
    /// # Errors
    /// When others can read it, or it cannot be read or is larger than [`SECRET_BYTES_MAX`].
    pub fn private_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        is_private(path)?;
        files::read_bounded(path, SECRET_BYTES_MAX).map(Zeroizing::new).map_err(SecretError::File)
    }

    /// The value, for the wire only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What `Authorization: Basic` has for this user when the secret is the password (RFC 7617).
    #[must_use]
    pub fn as_basic(&self, user: &str) -> Self {
        Self(Base64::encode_string(format!("{user}:{}", self.0).as_bytes()))
    }

    /// Compares in constant time. Both sides are hashed first, so that not even the length leaks.
    #[must_use]
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let ours: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        let theirs: [u8; 32] = Sha256::digest(candidate).into();
        ours.ct_eq(&theirs).into()
    }
}

impl Secret {
    /// The authentication code (HMAC-SHA-256) of a message, given in parts.
    #[must_use]
    pub fn code(&self, message: &[&[u8]]) -> [u8; 32] {
        hmac_sha256(self.0.as_bytes(), message)
    }

    /// Is `code` the one of this message? Compared in constant time.
    #[must_use]
    pub fn signs(&self, message: &[&[u8]], code: &[u8; 32]) -> bool {
        self.code(message).ct_eq(code).into()
    }

    /// As [`Secret::signs`], with the key that stands behind `whsec_` in base64 (Standard Webhooks).
    #[must_use]
    pub fn signs_webhook(&self, message: &[&[u8]], code: &[u8; 32]) -> bool {
        let key = self.0.strip_prefix("whsec_").and_then(|it| Base64::decode_vec(it).ok());
        match key {
            Some(key) => hmac_sha256(&key, message).ct_eq(code).into(),
            None => self.signs(message, code),
        }
    }
}

/// HMAC (RFC 2104) with SHA-256.
pub fn hmac_sha256(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = message
        .iter()
        .fold(Sha256::new_with_prefix(block.map(|it| it ^ 0x36)), |hash, part| hash.chain_update(part));
    Sha256::new_with_prefix(block.map(|it| it ^ 0x5c)).chain_update(inner.finalize()).finalize().into()
}

fn is_private(path: &Path) -> Result<(), SecretError> {
    match files::exposed(path).map_err(SecretError::File)? {
        None => Ok(()),
        Some(mode) => Err(SecretError::Exposed(path.to_owned(), mode)),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::new("canary-1234").unwrap();
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(..) Secret(..)");
    }

    #[test]
    fn only_the_whole_value_matches() {
        let secret = Secret::new("canary-1234\n").unwrap();
        assert!(secret.matches(b"canary-1234"));
        for wrong in [&b"canary-123"[..], b"canary-12345", b"", b"canary-1234\n"] {
            assert!(!secret.matches(wrong));
        }
    }

    /// RFC 4231, cases 1, 2, 6 and 7.
    #[test]
    fn codes_are_those_of_the_standard() {
        let hex = |code: [u8; 32]| code.iter().map(|it| format!("{it:02x}")).collect::<String>();
        let long = [0xaa_u8; 131];
        let first = "This is a test using a larger than block-size key and a larger than ";
        let middle = "The key needs to be hashed before being used by the HMAC algorithm.";
        for (key, message, expected) in [
            (
                &[0x0b_u8; 20][..],
                &["Hi There"][..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                &["what do ya want ", "for nothing?"],
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &long,
                &["Test Using Larger Than Block-Size Key - Hash Key First"],
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &long,
                &[first, "block-size data. ", middle],
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ] {
            let parts: Vec<&[u8]> = message.iter().map(|it| it.as_bytes()).collect();
            assert_eq!(hex(hmac_sha256(key, &parts)), expected);
        }
    }

    #[test]
    fn a_value_that_could_become_a_header_line_is_refused_without_being_repeated() {
        for bad in ["canary\r\nHost: evil", "can ary", "canar\u{202e}y", "canary\0"] {
            let error = Secret::new(bad).unwrap_err();
            assert!(matches!(error, SecretError::Characters));
            assert!(!format!("{error} {error:?}").contains("canar"));
        }
        assert!(matches!(Secret::new(" \n").unwrap_err(), SecretError::Empty));
    }

    #[test]
    fn a_secret_file_is_trimmed_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        files::write_durable(&path, b"  abc\n").unwrap();
        assert_eq!(Secret::from_file(&path).unwrap().expose(), "abc");
        assert_eq!(Secret::from_private_file(&path).unwrap().expose(), "abc");
        let shared = dir.path().join("shared");
        files::write_new(&shared, b"abc", 0o640).unwrap();
        assert!(matches!(Secret::from_private_file(&shared), Err(SecretError::Exposed(_, 0o640))));
        files::write_durable(&path, &vec![b'a'; SECRET_BYTES_MAX + 1]).unwrap();
        assert!(matches!(Secret::from_file(&path), Err(SecretError::File(FileError::TooLarge { .. }))));
    }
}
