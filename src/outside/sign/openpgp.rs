//! OpenPGP signatures over bytes, as `git commit -S` makes them with `gpg`. In: an armored private key or a list of
//! certificates, bytes and their time. Out: an armored signature, or a fingerprint, or why not. A signature has one form
//! only, the one GnuPG writes; what is not understood is rejected.

use std::io;

use base64ct::{Base64, Encoding as _};
use pgp::armor::{self, BlockType};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    PacketHeader, Signature, SignatureConfig, SignatureType, SignatureVersion, Subpacket, SubpacketData,
};
use pgp::ser::Serialize;
use pgp::types::{
    Fingerprint, KeyId, PacketHeaderVersion, PacketLength, Password, Tag, Timestamp, VerifyingKey,
};

use super::SignError;
use super::certificate::{self, Certificate, Public, Secret};

pub const BEGIN: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// A private key with the certificate that says what it may do.
pub struct OpenPgpKey {
    certificate: Certificate,
    secrets: Vec<Secret>,
}

impl OpenPgpKey {
    /// Reads an armored private key, as `gpg --armor --export-secret-keys` writes it.
    ///
    /// # Errors
    /// With the reason and what to do, when it is not one key, or no part of it can sign without a passphrase.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (certificate, secrets) = certificate::read_private(text)?;
        let has_secret = |it: &Fingerprint| secrets.iter().any(|secret| secret.fingerprint() == *it);
        if !certificate
            .candidates()
            .iter()
            .any(|it| it.is_for_signing() && has_secret(&it.key().fingerprint()))
        {
            return Err("no key in it can sign without a passphrase; take the passphrase off a copy \
                        (gpg --passwd), then write it with: gpg --armor --export-secret-keys"
                .to_owned());
        }
        Ok(Self { certificate, secrets })
    }

    /// Of the whole key, whichever part of it signs.
    pub fn fingerprint(&self) -> String {
        certificate::shown(&self.certificate.fingerprint())
    }

    /// Which part signs at `time_s`.
    ///
    /// # Errors
    /// When none may, with the reason of the one that would be preferred.
    pub fn signing_fingerprint(&self, time_s: i64) -> Result<Fingerprint, SignError> {
        Ok(self.secret_at(time_s)?.fingerprint())
    }

    fn secret_at(&self, time_s: i64) -> Result<&Secret, SignError> {
        let mut first = None;
        for found in self.certificate.candidates() {
            let fingerprint = found.key().fingerprint();
            let Some(secret) = self.secrets.iter().find(|it| it.fingerprint() == fingerprint) else {
                continue;
            };
            match found.may_sign(time_s) {
                Ok(()) => return Ok(secret),
                Err(why) if found.is_for_signing() => first = first.or(Some(why)),
                Err(_) => {}
            }
        }
        Err(SignError::NotNow(first.unwrap_or_default()))
    }

    /// As [`super::SigningKey::sign`].
    pub fn sign(&self, payload: &[u8], time_s: i64) -> Result<String, SignError> {
        let time = u32::try_from(time_s)
            .map_err(|_| SignError::NotNow("an OpenPGP signature cannot carry that time".to_owned()))?;
        let signed = match self.secret_at(time_s)? {
            Secret::Primary(key) => sign_with(key, payload, Timestamp::from_secs(time)),
            Secret::Subkey(key) => sign_with(key, payload, Timestamp::from_secs(time)),
        };
        signed.map_err(|error| SignError::OpenPgp(Box::new(error)))
    }
}

fn sign_with(
    key: &impl pgp::types::SigningKey,
    payload: &[u8],
    time: Timestamp,
) -> Result<String, pgp::errors::Error> {
    let mut config = SignatureConfig::v4(SignatureType::Binary, key.algorithm(), HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        Subpacket::regular(SubpacketData::SignatureCreationTime(time))?,
    ];
    config.unhashed_subpackets = vec![issuer(key.legacy_key_id())?];
    write(&config.sign(key, &Password::empty(), payload)?)
}

fn issuer(id: KeyId) -> Result<Subpacket, pgp::errors::Error> {
    Subpacket::regular(SubpacketData::IssuerKeyId(id))
}

/// The packet's contents as bytes.
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn to_writer<W: io::Write>(&self, writer: &mut W) -> Result<(), pgp::errors::Error> {
        Ok(writer.write_all(&self.0)?)
    }

    fn write_len(&self) -> usize {
        self.0.len()
    }
}

/// The one form: a packet with the old kind of header, as GnuPG writes it, in armor with a checksum and no headers.
fn write(signature: &Signature) -> Result<String, pgp::errors::Error> {
    let body = signature.to_bytes()?;
    let mut bytes = match u8::try_from(body.len()) {
        Ok(length) => vec![0x88, length],
        Err(_) => {
            let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
            vec![0x89, length[0], length[1]]
        }
    };
    bytes.extend(body);
    wrap(bytes)
}

/// Armor with a checksum and no headers.
pub fn wrap(packets: Vec<u8>) -> Result<String, pgp::errors::Error> {
    let mut text = Vec::new();
    armor::write(&Raw(packets), BlockType::Signature, &mut text, None, true)?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// The packet in an armored signature. Anything else than one packet in the one form is refused.
fn read(armored: &str) -> Result<Signature, &'static str> {
    const DAMAGED: &str = "it is not an OpenPGP signature";
    let inner = armored.strip_prefix(BEGIN).and_then(|it| it.strip_suffix(END)).ok_or(DAMAGED)?;
    let (body, _checksum) = inner.trim().rsplit_once("\n=").ok_or(DAMAGED)?;
    let bytes = Base64::decode_vec(&body.replace('\n', "")).map_err(|_| DAMAGED)?;
    let body = match bytes[..] {
        [0x88, _, ref body @ ..] | [0x89, _, _, ref body @ ..] => body,
        _ => return Err(DAMAGED),
    };
    let length = PacketLength::Fixed(u32::try_from(body.len()).map_err(|_| DAMAGED)?);
    let signature = PacketHeader::from_parts(PacketHeaderVersion::Old, Tag::Signature, length)
        .and_then(|header| Signature::try_from_reader(header, body))
        .map_err(|_| DAMAGED)?;
    // Lengths, checksum, line breaks, a second packet: whatever the signature does not cover shows here.
    match write(&signature) {
        Ok(own) if own == armored => Ok(signature),
        _ => Err("it is not in the one form an OpenPGP signature has"),
    }
}

/// The fingerprint of the listed certificate whose key signed exactly `payload`, or why the signature counts for nothing.
pub fn check(list: &[Certificate], payload: &[u8], armored: &str, time_s: i64) -> Result<String, String> {
    let signature = read(armored)?;
    let config = match signature.config() {
        Some(config) if signature.version() == SignatureVersion::V4 => config,
        _ => return Err("it is not of version 4".to_owned()),
    };
    if config.typ != SignatureType::Binary {
        return Err("it was made for something else than exactly these bytes".to_owned());
    }
    if !certificate::is_strong(config.hash_alg) {
        return Err(format!("its hash {} is too weak", config.hash_alg));
    }
    let (fingerprint, time) = claims(config)?;
    let found = certificate::find(list, &fingerprint)?;
    match found.key() {
        Public::Primary(key) => verify(&signature, config, key, payload)?,
        Public::Subkey(key) => verify(&signature, config, key, payload)?,
    }
    // In this order: what a signature says about its time is worth something only once it has been verified.
    found.may_sign(i64::from(time.as_secs()))?;
    found.may_sign(time_s)?;
    Ok(certificate::shown(&found.certificate().fingerprint()))
}

/// Who made the signature, and when, from the part that it covers.
fn claims(config: &SignatureConfig) -> Result<(Fingerprint, Timestamp), &'static str> {
    let (mut issuers, mut times) = (Vec::new(), Vec::new());
    for packet in config.hashed_subpackets() {
        match &packet.data {
            SubpacketData::IssuerFingerprint(it) => issuers.push(it.clone()),
            SubpacketData::SignatureCreationTime(it) => times.push(*it),
            SubpacketData::SignatureExpirationTime(_) => return Err("it would lose its force by itself"),
            SubpacketData::IssuerKeyId(_) | SubpacketData::SignersUserID(_) => {}
            _ if packet.is_critical => return Err("it makes a condition that is not understood"),
            _ => {}
        }
    }
    match (&issuers[..], &times[..]) {
        ([issuer], [time]) => Ok((issuer.clone(), *time)),
        _ => Err("it does not say once who made it and when"),
    }
}

fn verify(
    signature: &Signature,
    config: &SignatureConfig,
    key: &impl VerifyingKey,
    payload: &[u8],
) -> Result<(), &'static str> {
    if config.pub_alg != key.algorithm() {
        return Err("its algorithm is not that of its key");
    }
    // What the signature does not cover is exactly the key's id, unless the covered part has that already.
    let covered = config.hashed_subpackets().any(|it| matches!(it.data, SubpacketData::IssuerKeyId(_)));
    let expected = if covered { Vec::new() } else { issuer(key.legacy_key_id()).into_iter().collect() };
    if config.unhashed_subpackets != expected {
        return Err("something was added to it");
    }
    signature.verify(key, payload).map_err(|_| "it does not belong to these bytes")
}
