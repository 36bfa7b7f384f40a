//! age identities and recipients: the text of a key file comes in, data keys are wrapped and unwrapped. Only
//! X25519 keys are used. SSH, plugin and post-quantum keys are recognised and left alone: a plugin is a
//! program whose name comes from the file, and nothing here starts programs.

use std::fmt;
use std::io::Read as _;

use age::armor::ArmoredReader;
use zeroize::Zeroizing;

use super::ENVELOPE_BYTES_MAX;
use super::error::SopsError;

/// Longest content of an envelope: a Shamir share of a data key.
const SHARE_BYTES_MAX: u64 = 64;

/// Secret keys that may open files. Never printed; only the recipients they belong to are.
#[derive(Clone, Default)]
pub struct Identities {
    keys: Vec<age::x25519::Identity>,
    recipients: Vec<String>,
    unused: Vec<&'static str>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("recipients", &self.recipients).finish_non_exhaustive()
    }
}

impl Identities {
    /// Reads the text of an age key file: one identity per line, empty lines and `#` lines ignored.
    ///
    /// # Errors
    /// [`SopsError::Identity`] with the line, never its content, when a line is no identity at all.
    pub fn parse(text: &str) -> Result<Self, SopsError> {
        let mut identities = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with("-----BEGIN ") {
                identities.unused.push("an SSH key (only age keys open files here)");
                break;
            }
            if let Some(kind) = unused(line) {
                identities.unused.push(kind);
                continue;
            }
            let key: age::x25519::Identity = line.parse().map_err(|_| SopsError::Identity {
                line: index + 1,
                reason: "not an age identity (AGE-SECRET-KEY-1...)",
            })?;
            identities.recipients.push(key.to_public().to_string());
            identities.keys.push(key);
        }
        Ok(identities)
    }

    /// Adds the keys of another source.
    pub fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.recipients.extend(other.recipients);
        self.unused.extend(other.unused);
    }

    /// Whether no key can be used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The recipients these identities belong to.
    #[must_use]
    pub fn recipients(&self) -> &[String] {
        &self.recipients
    }

    /// Keys that were given and cannot be used, in words.
    #[must_use]
    pub fn unused(&self) -> &[&'static str] {
        &self.unused
    }

    /// Opens an armored age file that holds a data key or a share of one; `None` when no identity fits.
    pub(super) fn unwrap(&self, envelope: &str) -> Option<Zeroizing<Vec<u8>>> {
        if envelope.len() > ENVELOPE_BYTES_MAX || self.keys.is_empty() {
            return None;
        }
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(envelope.as_bytes())).ok()?;
        let reader = decryptor.decrypt(self.keys.iter().map(|key| key as &dyn age::Identity)).ok()?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        reader.take(SHARE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

fn unused(line: &str) -> Option<&'static str> {
    [
        ("AGE-SECRET-KEY-PQ-1", "a post-quantum age key (not supported)"),
        ("AGE-PLUGIN-", "an age plugin key (plugins are never run)"),
    ]
    .into_iter()
    .find_map(|(prefix, kind)| line.starts_with(prefix).then_some(kind))
}

/// What kind of age recipient a text is; `None` when it is none.
pub(super) fn recipient_kind(text: &str) -> Option<&'static str> {
    let lower =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if text.parse::<age::x25519::Recipient>().is_ok() {
        return Some("age");
    }
    if let Some(rest) = text.strip_prefix("ssh-ed25519 ").or_else(|| text.strip_prefix("ssh-rsa ")) {
        return (!rest.is_empty() && !rest.contains(char::is_control)).then_some("ssh");
    }
    let rest = text.strip_prefix("age1")?;
    if rest.strip_prefix("pq1").is_some_and(lower) {
        return Some("age-pq");
    }
    rest.rsplit_once('1').is_some_and(|(name, data)| lower(name) && lower(data)).then_some("age-plugin")
}

/// Encrypts a data key or a share of it for one recipient, as an armored age file.
pub(super) fn wrap(recipient: &str, bytes: &[u8]) -> Result<String, SopsError> {
    let refused = || SopsError::Recipient { recipient: recipient.to_owned() };
    let key: age::x25519::Recipient = recipient.parse().map_err(|_| refused())?;
    age::encrypt_and_armor(&key, bytes).map_err(|error| SopsError::Envelope(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sops::fixture;

    #[test]
    fn a_data_key_is_wrapped_for_exactly_its_recipient() {
        let (mine, other) = (fixture::identities(0), fixture::identities(1));
        let envelope = wrap(&mine.recipients()[0], b"0123456789").unwrap();
        assert_eq!(&**mine.unwrap(&envelope).unwrap(), b"0123456789");
        assert!(other.unwrap(&envelope).is_none());
        assert!(Identities::default().unwrap(&envelope).is_none());
    }

    #[test]
    fn only_x25519_recipients_are_used_and_the_rest_is_named() {
        let mine = fixture::identities(0).recipients()[0].clone();
        assert_eq!(recipient_kind(&mine), Some("age"));
        assert_eq!(recipient_kind("ssh-ed25519 AAAA"), Some("ssh"));
        assert_eq!(recipient_kind("age1yubikey1qqqq"), Some("age-plugin"));
        assert_eq!(recipient_kind("age1pq1qqqq"), Some("age-pq"));
        for hostile in ["age1../../x1qq", "age1x1", "age1", "", "AGE1QQ", &mine[..60], "age1a b1c", "-x"] {
            assert_eq!(recipient_kind(hostile), None, "{hostile}");
            assert!(wrap(hostile, b"x").is_err());
        }
        assert!(wrap("age1yubikey1qqqq", b"x").is_err());
    }

    #[test]
    fn a_key_file_is_read_and_a_bad_line_is_not_repeated() {
        let text = format!("# created\n\n{}\nAGE-PLUGIN-YUBIKEY-1XYZ\n", fixture::identity(0));
        let identities = Identities::parse(&text).unwrap();
        assert_eq!((identities.recipients().len(), identities.unused().len()), (1, 1));
        let error = Identities::parse("\nAGE-SECRET-KEY-1CANARY").unwrap_err();
        assert!(!format!("{error} {error:?} {identities:?}").contains("CANARY"));
        assert!(!format!("{identities:?}").contains("SECRET"));
        assert!(error.to_string().starts_with("identity line 2"));
        let ssh = Identities::parse("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n").unwrap();
        assert!(ssh.is_empty() && ssh.unused()[0].contains("SSH"));
    }
}
