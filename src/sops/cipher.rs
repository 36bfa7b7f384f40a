//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`. Text, the data key and the path come in,
//! plaintext goes out, and back. AES-256-GCM with a nonce of 32 bytes; the path is the additional data, so a
//! value that is moved or renamed does not open.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _, consts::U32};
use aes_gcm::{AesGcm, Nonce, Tag};
use base64ct::{Base64, Encoding as _};
use zeroize::Zeroizing;

use super::secret::{DataKey, Kind, Plaintext};

type Aes256Gcm = AesGcm<aes_gcm::aes::Aes256, U32>;

const PREFIX: &str = "ENC[AES256_GCM,";
const TAG_BYTES: usize = 16;

/// The parts of an encrypted value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed {
    data: Vec<u8>,
    pub nonce: [u8; 32],
    tag: [u8; TAG_BYTES],
    pub kind: Kind,
}

/// Additional data of a value: the keys that lead to it; list positions do not count. A comment at the top
/// has none, and a lone colon.
pub(super) fn additional(keys: &[String]) -> String {
    keys.join(":") + ":"
}

impl Sealed {
    /// Reads the text form; `None` for anything that sops does not write.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?.strip_suffix(']')?;
        let mut parts = rest.split(',');
        let mut part = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix(':');
        let (data, nonce, tag, kind) = (part("data")?, part("iv")?, part("tag")?, part("type")?);
        if parts.next().is_some() || data.is_empty() {
            return None;
        }
        Some(Self {
            data: Base64::decode_vec(data).ok()?,
            nonce: Base64::decode_vec(nonce).ok()?.try_into().ok()?,
            tag: Base64::decode_vec(tag).ok()?.try_into().ok()?,
            kind: Kind::named(kind)?,
        })
    }

    /// Decrypts; `None` when key, additional data or any byte is not the one it was sealed with, or the
    /// content is not of its type.
    pub(super) fn open(&self, key: &DataKey, additional: &str) -> Option<Plaintext> {
        let mut bytes = Zeroizing::new(self.data.clone());
        let cipher = Aes256Gcm::new((&*key.0).into());
        let (nonce, tag) = (Nonce::from(self.nonce), Tag::from(self.tag));
        cipher
            .decrypt_inout_detached(&nonce, additional.as_bytes(), bytes.as_mut_slice().into(), &tag)
            .ok()?;
        Plaintext::decrypted(self.kind, bytes)
    }
}

/// Encrypts into the text form; the empty string stays empty, as in sops. `nonce` must never have been used
/// with this key.
pub(super) fn seal(value: &Plaintext, key: &DataKey, additional: &str, nonce: [u8; 32]) -> Option<String> {
    if value.bytes.is_empty() {
        return Some(String::new());
    }
    let mut data = value.bytes.clone();
    let cipher = Aes256Gcm::new((&*key.0).into());
    let sealed =
        cipher.encrypt_inout_detached(&Nonce::from(nonce), additional.as_bytes(), data.as_mut_slice().into());
    let tag: [u8; TAG_BYTES] = sealed.ok()?.into();
    Some(format!(
        "{PREFIX}data:{},iv:{},tag:{},type:{}]",
        Base64::encode_string(&data),
        Base64::encode_string(&nonce),
        Base64::encode_string(&tag),
        value.kind.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DataKey {
        DataKey(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_value_opens_only_with_its_key_its_path_and_every_byte() {
        let text = seal(&Plaintext::text("canary"), &key(1), "a:b:", [7; 32]).unwrap();
        let sealed = Sealed::parse(&text).unwrap();
        assert_eq!(sealed.open(&key(1), "a:b:").unwrap().expose(), b"canary");
        assert!(sealed.open(&key(2), "a:b:").is_none());
        assert!(sealed.open(&key(1), "a:c:").is_none());
        let mut changed = sealed.clone();
        changed.data[0] ^= 1;
        assert!(changed.open(&key(1), "a:b:").is_none());
        let mut changed = sealed;
        changed.tag[15] ^= 1;
        assert!(changed.open(&key(1), "a:b:").is_none());
    }

    #[test]
    fn what_sops_does_not_write_is_not_a_sealed_value() {
        let good = seal(&Plaintext::int(5), &key(1), "a:", [7; 32]).unwrap();
        assert!(Sealed::parse(&good).is_some());
        for bad in [
            good.replace("type:int", "type:thing"),
            good.replace("GCM", "CBC"),
            format!("{good} "),
            format!(" {good}"),
            good.replace(",tag", ",tag:AAAA,tag"),
            "ENC[AES256_GCM,data:,iv:AA==,tag:AA==,type:str]".to_owned(),
            "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]".to_owned(),
            "plain".to_owned(),
        ] {
            assert!(Sealed::parse(&bad).is_none(), "{bad}");
        }
        assert_eq!(seal(&Plaintext::text(""), &key(1), "a:", [7; 32]).unwrap(), "");
    }
}
