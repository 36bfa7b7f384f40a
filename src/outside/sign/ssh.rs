//! SSH signatures over bytes, as `git commit -S` makes them with `gpg.format=ssh` (OpenSSH PROTOCOL.sshsig).
//! In: the bytes of a key, an allow-list, bytes. Out: an armored signature, or a fingerprint, or why not. What is not
//! understood is rejected.

use std::path::Path;

use ssh_key::private::{Ed25519Keypair, PrivateKey};
use ssh_key::public::{KeyData, PublicKey};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, SshSig};

use super::SignError;
use crate::outside::{files, random};

/// What git signs under; a signature made for anything else must not count as a commit's.
const NAMESPACE: &str = "git";

/// A signing key.
pub struct SshKey {
    key: PrivateKey,
}

impl SshKey {
    /// An unencrypted ed25519 key, `None` when it is anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let key = PrivateKey::from_openssh(bytes).ok()?;
        (key.algorithm() == Algorithm::Ed25519 && !key.is_encrypted()).then_some(Self { key })
    }

    /// As [`super::SigningKey::generate`].
    pub fn generate(path: &Path) -> Result<(Self, String), SignError> {
        let mut seed = [0_u8; 32];
        random::fill(&mut seed)?;
        let key = PrivateKey::new(Ed25519Keypair::from_seed(&seed).into(), "tars").map_err(SignError::Ssh)?;
        let text = key.to_openssh(LineEnding::LF).map_err(SignError::Ssh)?;
        files::write_new(path, text.as_bytes(), 0o600)?;
        let line = key.public_key().to_openssh().map_err(SignError::Ssh)?;
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        files::write_new(Path::new(&public), format!("{line}\n").as_bytes(), 0o644)?;
        Ok((Self { key }, line))
    }

    pub fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        let signature = self.key.sign(NAMESPACE, HashAlg::Sha512, payload).map_err(SignError::Ssh)?;
        Ok(signature.to_pem(LineEnding::LF).map_err(SignError::Ssh)?.trim_end().to_owned())
    }

    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }
}

/// The keys that may sign commits: OpenSSH's allowed signers file (ssh-keygen(1), "ALLOWED SIGNERS").
#[derive(Debug, Clone, Default)]
pub struct SshSigners {
    keys: Vec<PublicKey>,
}

impl SshSigners {
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

    pub fn lists(&self, signer: &SshKey) -> bool {
        self.keys.iter().any(|key| key.key_data() == signer.key.public_key().key_data())
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The fingerprint of the listed key that signed exactly `payload`, or why the signature counts for nothing.
    pub fn check(&self, payload: &[u8], armored: &str) -> Result<String, String> {
        let signature = SshSig::from_pem(armored).map_err(|_| "it is not an SSH signature".to_owned())?;
        // The library overlooks a wrong version and wrong lengths, which the signature does not cover: only
        // the form it would write itself is taken, so that nobody can give a signed commit a second id.
        let (key, inner) = (signature.public_key().clone(), signature.signature().clone());
        let own = SshSig::new(key, signature.namespace(), signature.hash_alg(), inner);
        let own = own.and_then(|own| own.to_pem(LineEnding::LF)).unwrap_or_default();
        if own.trim_end() != armored {
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
