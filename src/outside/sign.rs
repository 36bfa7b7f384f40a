//! SSH signatures over bytes, as `git commit -S` makes them with `gpg.format=ssh` (OpenSSH PROTOCOL.sshsig).
//! In: a key file, an allow-list, bytes. Out: an armored signature, or a typed verdict. A verdict is never an
//! exit code, and what is not understood is rejected.

use std::fmt;
use std::path::Path;

use ssh_key::private::{Ed25519Keypair, PrivateKey};
use ssh_key::public::{KeyData, PublicKey};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, SshSig};
use thiserror::Error;

use super::files::{self, FileError};
use super::random::{self, RandomError};

/// What git signs under; a signature made for anything else must not count as a commit's.
const NAMESPACE: &str = "git";

/// Largest key file and allow-list, in bytes.
const KEY_BYTES_MAX: usize = 16 * 1024;
const SIGNERS_BYTES_MAX: usize = 1024 * 1024;

/// Largest armored signature, in bytes; an ed25519 one has about 300.
const SIGNATURE_BYTES_MAX: usize = 4096;

/// Why a key or an allow-list cannot be used. Never holds key material.
#[derive(Debug, Error)]
pub enum SignError {
    #[error("cannot use the key or signers file")]
    File(#[from] FileError),
    #[error("cannot make a key")]
    Random(#[from] RandomError),
    #[error("others can read the key file {0} (mode {1:o}); chmod 600 it")]
    Exposed(String, u32),
    #[error(
        "{0} is not an unencrypted ed25519 key in OpenSSH format; make one with: ssh-keygen -t ed25519 -N ''"
    )]
    Key(String),
    #[error("the key cannot sign")]
    Sign(#[source] ssh_key::Error),
    #[error("line {line} of the allowed signers is not usable: {why}")]
    Signers { line: usize, why: &'static str },
}

/// A signing key. Its Debug shows the fingerprint only.
pub struct SshSigner {
    key: PrivateKey,
}

impl SshSigner {
    /// Reads an unencrypted ed25519 key that nobody but its owner can read.
    ///
    /// # Errors
    /// When the file is missing, readable by others, or another kind of key.
    pub fn load(path: &Path) -> Result<Self, SignError> {
        let shown = path.display().to_string();
        let mode = files::permission_bits(path)?;
        if mode & 0o077 != 0 {
            return Err(SignError::Exposed(shown, mode));
        }
        let bytes = files::read_bounded(path, KEY_BYTES_MAX)?;
        match PrivateKey::from_openssh(&bytes) {
            Ok(key) if key.algorithm() == Algorithm::Ed25519 && !key.is_encrypted() => Ok(Self { key }),
            _ => Err(SignError::Key(shown)),
        }
    }

    /// Makes a key and writes it to `path` (0600) and its public half to `path.pub` (0644). Never overwrites.
    ///
    /// # Errors
    /// When either file exists or cannot be written.
    pub fn generate(path: &Path) -> Result<Self, SignError> {
        let mut seed = [0_u8; 32];
        random::fill(&mut seed)?;
        let key =
            PrivateKey::new(Ed25519Keypair::from_seed(&seed).into(), "tars").map_err(SignError::Sign)?;
        let text = key.to_openssh(LineEnding::LF).map_err(SignError::Sign)?;
        files::write_new(path, text.as_bytes(), 0o600)?;
        let signer = Self { key };
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        files::write_new(Path::new(&public), format!("{}\n", signer.public_line()?).as_bytes(), 0o644)?;
        Ok(signer)
    }

    /// An armored signature over `payload`, without a final line feed. The same bytes give the same
    /// signature.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        let signature = self.key.sign(NAMESPACE, HashAlg::Sha512, payload).map_err(SignError::Sign)?;
        Ok(signature.to_pem(LineEnding::LF).map_err(SignError::Sign)?.trim_end().to_owned())
    }

    /// `ssh-ed25519 AAAA... comment`, as in a `.pub` file.
    ///
    /// # Errors
    /// When the key cannot be written as text.
    pub fn public_line(&self) -> Result<String, SignError> {
        self.key.public_key().to_openssh().map_err(SignError::Sign)
    }

    /// `SHA256:...`, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }
}

impl fmt::Debug for SshSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshSigner({})", self.fingerprint())
    }
}

/// The verdict on one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureCheck {
    /// Valid, and made by a listed key: its `SHA256:` fingerprint.
    Allowed(String),
    Unsigned,
    /// Invalid, not understood, or by a key that is not listed; with the reason.
    Rejected(String),
}

/// The keys that may sign commits: OpenSSH's allowed signers file (ssh-keygen(1), "ALLOWED SIGNERS").
#[derive(Debug, Clone, Default)]
pub struct AllowedSigners {
    keys: Vec<PublicKey>,
}

impl AllowedSigners {
    /// Reads a file as [`AllowedSigners::parse`].
    ///
    /// # Errors
    /// When it cannot be read, or as `parse`.
    pub fn load(path: &Path) -> Result<Self, SignError> {
        let bytes = files::read_bounded(path, SIGNERS_BYTES_MAX)?;
        let text =
            String::from_utf8(bytes).map_err(|_| SignError::Signers { line: 1, why: "it is not UTF-8" })?;
        Self::parse(&text)
    }

    /// One signer per line: `principals [options] keytype key [comment]`. A key limited to other namespaces
    /// than `git` is left out. Options that would limit a key further than we check are an error, so that a
    /// limit is never ignored: certificate authorities and validity times.
    ///
    /// # Errors
    /// With the number of the first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, SignError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = signer_line(line).map_err(|why| SignError::Signers { line: index + 1, why })?;
            keys.extend(parsed);
        }
        Ok(Self { keys })
    }

    /// The fingerprints of the listed keys.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect()
    }

    /// Checks an armored signature over `payload`.
    #[must_use]
    pub fn verify(&self, payload: &[u8], signature: Option<&str>) -> SignatureCheck {
        let Some(armored) = signature else { return SignatureCheck::Unsigned };
        match self.check(payload, armored) {
            Ok(fingerprint) => SignatureCheck::Allowed(fingerprint),
            Err(why) => SignatureCheck::Rejected(why),
        }
    }

    fn check(&self, payload: &[u8], armored: &str) -> Result<String, String> {
        if armored.len() > SIGNATURE_BYTES_MAX {
            return Err("the signature is too long".to_owned());
        }
        let signature =
            SshSig::from_pem(armored.trim_end()).map_err(|_| "it is not an SSH signature".to_owned())?;
        // The library overlooks a wrong version and wrong lengths, which the signature does not cover: only
        // the form it would write itself is taken, so that nobody can give a signed commit a second id.
        let (key, inner) = (signature.public_key().clone(), signature.signature().clone());
        let own = SshSig::new(key, signature.namespace(), signature.hash_alg(), inner);
        let own = own.and_then(|own| own.to_pem(LineEnding::LF)).unwrap_or_default();
        if own.trim_end() != armored.trim_end() {
            return Err("it is not in the one form an SSH signature has".to_owned());
        }
        if signature.namespace() != NAMESPACE {
            return Err("it was made for another purpose than git".to_owned());
        }
        if !supported(&signature.algorithm()) {
            return Err("its algorithm is not supported".to_owned());
        }
        let fingerprint = signature.public_key().fingerprint(HashAlg::Sha256).to_string();
        let listed = self.keys.iter().find(|key| key.key_data() == signature.public_key());
        let key = listed.ok_or_else(|| format!("its key {fingerprint} is not allowed"))?;
        key.verify(NAMESPACE, payload, &signature)
            .map_err(|_| "it does not belong to these bytes".to_owned())?;
        Ok(fingerprint)
    }
}

fn supported(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })
}

/// The key of one line, or `None` when it is not for git.
fn signer_line(line: &str) -> Result<Option<PublicKey>, &'static str> {
    let fields = fields(line)?;
    let mut fields = fields.iter().map(String::as_str).skip(1);
    let mut field = fields.next().ok_or("it has no key")?;
    let mut for_git = true;
    if !field.starts_with("ssh-") && !field.starts_with("ecdsa-") && !field.starts_with("sk-") {
        for_git = options(field)?;
        field = fields.next().ok_or("it has no key")?;
    }
    let body = fields.next().ok_or("it has no key")?;
    let key = PublicKey::from_openssh(&format!("{field} {body}")).map_err(|_| "its key is malformed")?;
    if !supported(&key.algorithm()) || matches!(key.key_data(), KeyData::Other(_)) {
        return Err("its key is neither ed25519 nor ecdsa-sha2-nistp256");
    }
    Ok(for_git.then_some(key))
}

/// Whether the options let a key sign for git.
fn options(text: &str) -> Result<bool, &'static str> {
    let mut for_git = true;
    let mut quoted = false;
    for option in text.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    }) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if !name.eq_ignore_ascii_case("namespaces") {
            return Err("it has an option other than namespaces");
        }
        let list =
            value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).ok_or("namespaces are not quoted")?;
        for_git = list.split(',').any(|pattern| pattern == NAMESPACE || pattern == "*");
        if list.contains('!') {
            return Err("negated namespaces are not supported");
        }
    }
    Ok(for_git)
}

/// Splits at blanks outside quotes.
fn fields(line: &str) -> Result<Vec<String>, &'static str> {
    let mut quoted = false;
    let fields = line
        .split(|c: char| {
            quoted ^= c == '"';
            !quoted && (c == ' ' || c == '\t')
        })
        .filter(|field| !field.is_empty())
        .map(str::to_owned)
        .collect();
    if quoted { Err("a quote is not closed") } else { Ok(fields) }
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
