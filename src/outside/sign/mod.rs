//! Signatures over the bytes of a commit, as `git commit -S` makes them: by SSH keys ([`ssh`]) or by OpenPGP keys
//! ([`openpgp`]), whichever the key file holds. In: a key file, lists of allowed keys, bytes and their time. Out: an
//! armored signature, or a typed verdict. A verdict is never an exit code, and what is not understood is rejected.

mod certificate;
mod openpgp;
mod ssh;

#[cfg(test)]
mod gpg_fixture;
#[cfg(test)]
mod openpgp_tests;
#[cfg(test)]
mod ssh_tests;

use std::fmt;
use std::path::Path;

use thiserror::Error;
use zeroize::Zeroizing;

use self::certificate::Certificate;
use self::openpgp::OpenPgpKey;
use self::ssh::{SshKey, SshSigners};
use super::files::{self, FileError};
use super::random::RandomError;

/// Largest key file and list of allowed keys, in bytes. An OpenPGP key comes with its certificate, which others may
/// have signed.
const KEY_BYTES_MAX: usize = 64 * 1024;
const ALLOWED_BYTES_MAX: usize = 1024 * 1024;

/// Largest armored signature, in bytes: ed25519 has about 300, RSA of 8192 bits 1500.
const SIGNATURE_BYTES_MAX: usize = 4096;

/// Why a key or a list of allowed keys cannot be used. Never holds key material.
#[derive(Debug, Error)]
pub enum SignError {
    #[error("cannot use the file of a key or of allowed keys")]
    File(#[from] FileError),
    #[error("cannot make a key")]
    Random(#[from] RandomError),
    #[error("others can read the key file {0} (mode {1:o}); chmod 600 it")]
    Exposed(String, u32),
    #[error(
        "{0} is not an unencrypted ed25519 key in OpenSSH format; make one with: ssh-keygen -t ed25519 -N ''"
    )]
    SshKey(String),
    #[error("{file} is not a usable OpenPGP key: {why}")]
    OpenPgpKey { file: String, why: String },
    #[error("the key cannot sign")]
    Ssh(#[source] ssh_key::Error),
    #[error("the key cannot sign")]
    OpenPgp(#[source] Box<pgp::errors::Error>),
    /// The key exists, and this is not its time.
    #[error("the key must not sign: {0}")]
    NotNow(String),
    #[error("line {line} of the allowed signers is not usable: {why}")]
    Signers { line: usize, why: &'static str },
    #[error("the file of allowed OpenPGP keys is not usable: {0}")]
    Certificates(String),
}

/// A key that signs commits. Its Debug shows the fingerprint only.
pub enum SigningKey {
    Ssh(Box<SshKey>),
    OpenPgp(Box<OpenPgpKey>),
}

impl SigningKey {
    /// Reads an unencrypted key that nobody but its owner can read: ed25519 in OpenSSH format, or an armored OpenPGP
    /// private key.
    ///
    /// # Errors
    /// When the file is missing, readable by others, or another kind of key.
    pub fn load(path: &Path) -> Result<Self, SignError> {
        let shown = path.display().to_string();
        if let Some(mode) = files::exposed(path)? {
            return Err(SignError::Exposed(shown, mode));
        }
        let bytes = Zeroizing::new(files::read_bounded(path, KEY_BYTES_MAX)?);
        match std::str::from_utf8(&bytes) {
            Ok(text) if certificate::holds_private_key(text) => OpenPgpKey::parse(text)
                .map(|key| Self::OpenPgp(Box::new(key)))
                .map_err(|why| SignError::OpenPgpKey { file: shown, why }),
            _ => SshKey::parse(&bytes).map(|key| Self::Ssh(Box::new(key))).ok_or(SignError::SshKey(shown)),
        }
    }

    /// Makes an SSH key and writes it to `path` (0600) and its public half to `path.pub` (0644). Never overwrites.
    /// Also out: that public half, as a line.
    ///
    /// # Errors
    /// When either file exists or cannot be written.
    pub fn generate(path: &Path) -> Result<(Self, String), SignError> {
        let (key, line) = SshKey::generate(path)?;
        Ok((Self::Ssh(Box::new(key)), line))
    }

    /// An armored signature over `payload` made at `time_s` (seconds since 1970), without a final line feed. The same
    /// bytes and time give the same signature.
    ///
    /// # Errors
    /// When the key cannot sign, or must not at that time.
    pub fn sign(&self, payload: &[u8], time_s: i64) -> Result<String, SignError> {
        match self {
            Self::Ssh(key) => key.sign(payload),
            Self::OpenPgp(key) => key.sign(payload, time_s),
        }
    }

    /// `SHA256:...` as `ssh-keygen -l` shows it, or forty hexadecimal digits as `gpg --fingerprint` does.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Ssh(key) => key.fingerprint(),
            Self::OpenPgp(key) => key.fingerprint(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

/// The verdict on one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureCheck {
    /// Valid, and made by a listed key: its fingerprint, as [`SigningKey::fingerprint`] writes it.
    Allowed(String),
    Unsigned,
    /// Invalid, not understood, or by a key that is not listed; with the reason.
    Rejected(String),
}

/// The keys that may sign commits, of both kinds.
#[derive(Debug, Clone, Default)]
pub struct AllowedSigners {
    ssh: SshSigners,
    openpgp: Vec<Certificate>,
}

impl AllowedSigners {
    /// Reads the files that are named, as [`AllowedSigners::parse`] reads their text.
    ///
    /// # Errors
    /// When one cannot be read, or as `parse`.
    pub fn load(signers: Option<&Path>, keys: Option<&Path>) -> Result<Self, SignError> {
        let read = |path: Option<&Path>| -> Result<Vec<u8>, SignError> {
            Ok(path.map(|path| files::read_bounded(path, ALLOWED_BYTES_MAX)).transpose()?.unwrap_or_default())
        };
        let signers = String::from_utf8(read(signers)?)
            .map_err(|_| SignError::Signers { line: 1, why: "it is not UTF-8" })?;
        let keys = String::from_utf8(read(keys)?)
            .map_err(|_| SignError::Certificates("it is not armored text".to_owned()))?;
        Self::parse(&signers, &keys)
    }

    /// `signers` is OpenSSH's allowed signers file, `keys` holds armored OpenPGP certificates. Either may be empty.
    ///
    /// # Errors
    /// With the place of the first thing that is not understood.
    pub fn parse(signers: &str, keys: &str) -> Result<Self, SignError> {
        Ok(Self {
            ssh: SshSigners::parse(signers)?,
            openpgp: certificate::read_public(keys).map_err(SignError::Certificates)?,
        })
    }

    /// Whether a signature that `key` makes at `time_s` will be allowed, before anything is signed.
    ///
    /// # Errors
    /// With the reason, when it will not.
    pub fn accepts(&self, key: &SigningKey, time_s: i64) -> Result<(), String> {
        match key {
            SigningKey::Ssh(key) if self.ssh.lists(key) => Ok(()),
            SigningKey::Ssh(_) => Err(format!("its key {} is not allowed", key.fingerprint())),
            SigningKey::OpenPgp(key) => {
                let fingerprint = key.signing_fingerprint(time_s).map_err(|error| error.to_string())?;
                certificate::find(&self.openpgp, &fingerprint)?.may_sign(time_s)
            }
        }
    }

    /// Checks an armored signature over `payload`, whose own time is `time_s`: a key must be good at that time as well
    /// as at the one its signature claims, so that an expired key cannot be used by dating the signature back. The
    /// signature is taken in one form only, without a final line feed: nobody can give a signed commit a second id.
    #[must_use]
    pub fn verify(&self, payload: &[u8], signature: Option<&str>, time_s: i64) -> SignatureCheck {
        let Some(armored) = signature else { return SignatureCheck::Unsigned };
        let checked = if armored.len() > SIGNATURE_BYTES_MAX {
            Err("the signature is too long".to_owned())
        } else if armored.starts_with(openpgp::BEGIN) {
            openpgp::check(&self.openpgp, payload, armored, time_s)
        } else {
            self.ssh.check(payload, armored)
        };
        match checked {
            Ok(fingerprint) => SignatureCheck::Allowed(fingerprint),
            Err(why) => SignatureCheck::Rejected(why),
        }
    }
}
