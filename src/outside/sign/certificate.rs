//! OpenPGP certificates (RFC 9580, keys of version 4): which of its keys may sign, and when. In: armored text. Out: for
//! each key the span of time it may sign in, or why it never may. Signatures inside a certificate are checked here once;
//! a revocation that cannot be checked is an error, never overlooked.

use std::io::Read as _;

use pgp::armor::{BlockType, Dearmor, DearmorOptions};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    Packet, PacketParser, PublicKey, PublicSubkey, RevocationCode, SecretKey, SecretSubkey, Signature,
    SignatureType, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{EddsaLegacyPublicParams, Fingerprint, KeyDetails, KeyVersion, PublicParams, Tag};
use zeroize::Zeroizing;

use super::ALLOWED_BYTES_MAX;

/// Shortest RSA modulus that is believed.
const RSA_BITS_MIN: u16 = 2048;

const PUBLIC_BLOCK: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const PRIVATE_BLOCK: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";

/// A primary key and the subkeys it vouches for.
#[derive(Debug, Clone)]
pub struct Certificate {
    primary: Member,
    subkeys: Vec<Member>,
}

/// One key of a certificate.
#[derive(Debug, Clone)]
struct Member {
    key: Public,
    life: Result<Life, &'static str>,
}

#[derive(Debug, Clone)]
pub enum Public {
    Primary(PublicKey),
    Subkey(PublicSubkey),
}

/// When a key is good, in seconds since 1970, and whether it is for signing.
#[derive(Debug, Clone, Copy)]
struct Life {
    from_s: i64,
    /// The first second in which it is no longer good.
    until_s: Option<i64>,
    /// From when a revocation counts: always, unless the key was only replaced or retired.
    revoked_s: Option<i64>,
    signs: bool,
}

/// A key found in a list of certificates.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    certificate: &'a Certificate,
    member: &'a Member,
}

/// A private key whose secret part is neither encrypted nor left out.
pub enum Secret {
    Primary(SecretKey),
    Subkey(SecretSubkey),
}

impl Public {
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Primary(key) => key.fingerprint(),
            Self::Subkey(key) => key.fingerprint(),
        }
    }
}

impl Secret {
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Primary(key) => key.fingerprint(),
            Self::Subkey(key) => key.fingerprint(),
        }
    }
}

/// As `gpg` shows it, without blanks.
pub fn shown(fingerprint: &Fingerprint) -> String {
    fingerprint.to_string().to_uppercase()
}

impl Life {
    fn check(&self, time_s: i64) -> Result<(), &'static str> {
        if self.revoked_s.is_some_and(|from_s| time_s >= from_s) {
            return Err("is revoked");
        }
        if time_s < self.from_s {
            return Err("did not exist yet at that time");
        }
        if self.until_s.is_some_and(|until_s| time_s >= until_s) {
            return Err("had expired at that time");
        }
        Ok(())
    }
}

impl Certificate {
    pub fn fingerprint(&self) -> Fingerprint {
        self.primary.key.fingerprint()
    }

    /// Keys that a signature could come from, the one to prefer first: the newest subkey, the primary key last.
    pub fn candidates(&self) -> Vec<Found<'_>> {
        let mut subkeys: Vec<&Member> = self.subkeys.iter().collect();
        subkeys.sort_by_key(|it| std::cmp::Reverse(it.life.map_or(i64::MIN, |life| life.from_s)));
        let members = subkeys.into_iter().chain([&self.primary]);
        members.map(|member| Found { certificate: self, member }).collect()
    }
}

impl<'a> Found<'a> {
    pub fn key(&self) -> &'a Public {
        &self.member.key
    }

    pub fn certificate(&self) -> &'a Certificate {
        self.certificate
    }

    /// Whether the key is for signing at all, at one time or another.
    pub fn is_for_signing(&self) -> bool {
        self.member.life.is_ok_and(|life| life.signs)
    }

    /// Whether a signature made by this key at `time_s` counts.
    ///
    /// # Errors
    /// With the reason, when it does not.
    pub fn may_sign(&self, time_s: i64) -> Result<(), String> {
        let named =
            |what: &str, why: &str| format!("its {what} {} {why}", shown(&self.member.key.fingerprint()));
        let primary = self.certificate.primary.life.map_err(|why| named("key", why))?;
        primary
            .check(time_s)
            .map_err(|why| format!("its primary key {} {why}", shown(&self.certificate.fingerprint())))?;
        let own = self.member.life.map_err(|why| named("key", why))?;
        own.check(time_s).map_err(|why| named("key", why))?;
        if own.signs { Ok(()) } else { Err(named("key", "is not for signing")) }
    }
}

/// The key with this fingerprint. Key ids are never looked at: two keys can share one.
///
/// # Errors
/// With the reason, when no listed certificate has it.
pub fn find<'a>(list: &'a [Certificate], fingerprint: &Fingerprint) -> Result<Found<'a>, String> {
    list.iter()
        .flat_map(Certificate::candidates)
        .find(|found| found.key().fingerprint() == *fingerprint)
        .ok_or_else(|| format!("its key {} is not allowed", shown(fingerprint)))
}

/// Hashes in which nobody can make two texts collide.
pub fn is_strong(hash: HashAlgorithm) -> bool {
    matches!(
        hash,
        HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    )
}

/// Whether `text` is an armored private key: decides which kind of key a file holds.
pub fn holds_private_key(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == PRIVATE_BLOCK)
}

/// The certificates of any number of armored blocks. Between them stand empty lines and lines that begin with `#`.
///
/// # Errors
/// With the reason, when anything is not understood.
pub fn read_public(text: &str) -> Result<Vec<Certificate>, String> {
    let mut certificates = Vec::new();
    let (mut block, mut count) = (String::new(), 0);
    for line in text.lines() {
        let line = line.trim_end();
        if block.is_empty() && (line.is_empty() || line.starts_with('#')) {
            continue;
        }
        if block.is_empty() {
            count += 1;
            if line != PUBLIC_BLOCK {
                return Err(format!("block {count} does not begin with {PUBLIC_BLOCK}"));
            }
        }
        block.push_str(line);
        block.push('\n');
        if line.starts_with("-----END ") {
            let read = decode(&block, BlockType::PublicKey).map_err(str::to_owned);
            let read = read.and_then(|bytes| packets_to_certificates(&bytes));
            certificates.extend(read.map_err(|why| format!("block {count}: {why}"))?);
            block.clear();
        }
    }
    if block.is_empty() { Ok(certificates) } else { Err(format!("block {count} has no end")) }
}

/// The certificates in bytes without armor.
pub fn packets_to_certificates(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    gather(bytes, &mut Vec::new())?.into_iter().map(Draft::finish).collect()
}

/// The one certificate of an armored private key, with the private keys that can be used.
///
/// # Errors
/// With the reason, when it is not understood.
pub fn read_private(text: &str) -> Result<(Certificate, Vec<Secret>), String> {
    let start = text.find(PRIVATE_BLOCK).unwrap_or(0);
    let mut secrets = Vec::new();
    let drafts = gather(&decode(&text[start..], BlockType::PrivateKey)?, &mut secrets)?;
    let [draft] = <[Draft; 1]>::try_from(drafts).map_err(|_| "it holds more than one key")?;
    Ok((draft.finish()?, secrets))
}

fn decode(armored: &str, kind: BlockType) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    // Without the armor's checksum, as RFC 9580 advises: what it would notice, the signatures inside do.
    let options = DearmorOptions::new().set_limit(ALLOWED_BYTES_MAX);
    let mut dearmor = Dearmor::with_options(armored.as_bytes(), options);
    let mut bytes = Zeroizing::new(Vec::new());
    dearmor.read_to_end(&mut bytes).map_err(|_| "its armor is damaged")?;
    if dearmor.typ != Some(kind) {
        return Err("it is another kind of block");
    }
    Ok(bytes)
}

/// The packets of one certificate, not yet checked.
struct Draft {
    primary: PublicKey,
    signatures: Vec<Signature>,
    users: Vec<(UserId, Vec<Signature>)>,
    subkeys: Vec<(PublicSubkey, Vec<Signature>)>,
    place: Place,
}

/// What a signature packet belongs to: the packet before it.
enum Place {
    Primary,
    User,
    Subkey,
    /// Pictures and the like say nothing about signing.
    Attribute,
}

impl Draft {
    fn new(primary: PublicKey) -> Self {
        Self {
            primary,
            signatures: Vec::new(),
            users: Vec::new(),
            subkeys: Vec::new(),
            place: Place::Primary,
        }
    }

    fn add(&mut self, packet: Packet) -> Result<(), &'static str> {
        match packet {
            Packet::UserId(id) => {
                self.users.push((id, Vec::new()));
                self.place = Place::User;
            }
            Packet::UserAttribute(_) => self.place = Place::Attribute,
            Packet::PublicSubkey(key) => {
                self.subkeys.push((key, Vec::new()));
                self.place = Place::Subkey;
            }
            Packet::Signature(signature) => {
                let kind = signature.typ();
                if kind == Some(SignatureType::SubkeyRevocation) && !matches!(self.place, Place::Subkey) {
                    return Err("it holds the revocation of a subkey that is not there");
                }
                let list = match self.place {
                    // Wherever it stands, it must not be overlooked.
                    _ if kind == Some(SignatureType::KeyRevocation) => Some(&mut self.signatures),
                    Place::Primary => Some(&mut self.signatures),
                    Place::User => self.users.last_mut().map(|it| &mut it.1),
                    Place::Subkey => self.subkeys.last_mut().map(|it| &mut it.1),
                    Place::Attribute => None,
                };
                if let Some(list) = list {
                    list.push(signature);
                }
            }
            Packet::Trust(_) | Packet::Marker(_) | Packet::Padding(_) => {}
            _ => return Err("it holds a packet that has no place in a certificate"),
        }
        Ok(())
    }

    fn finish(self) -> Result<Certificate, String> {
        let shown = shown(&self.primary.fingerprint());
        let life = self.primary_life().map_err(|why| format!("{shown} {why}"))?;
        let mut subkeys = Vec::new();
        for (key, signatures) in &self.subkeys {
            let life = subkey_life(&self.primary, key, signatures).map_err(|why| format!("{shown} {why}"))?;
            subkeys.push(Member { key: Public::Subkey(key.clone()), life });
        }
        Ok(Certificate { primary: Member { key: Public::Primary(self.primary), life: Ok(life) }, subkeys })
    }

    /// What the primary key says about itself last, in a signature over itself or over a user id that it has not
    /// taken back.
    fn primary_life(&self) -> Result<Life, &'static str> {
        let key = &self.primary;
        is_usable(key)?;
        let mut revoked_s = None;
        let mut newest = None;
        for signature in &self.signatures {
            let good = signature.verify_key(key).is_ok();
            match signature.typ() {
                Some(SignatureType::KeyRevocation) if good => revoked_s = earlier(revoked_s, signature),
                // A revoker named by the owner, or damage: either way it must not be overlooked.
                Some(SignatureType::KeyRevocation) => {
                    return Err("has a revocation that its own key did not make");
                }
                Some(SignatureType::Key) if good => newest = newer(newest, signature),
                _ => {}
            }
        }
        for (id, signatures) in &self.users {
            let own = signatures.iter().filter(|it| it.verify_certification(key, Tag::UserId, id).is_ok());
            let (gone, good): (Vec<_>, Vec<_>) =
                own.partition(|it| it.typ() == Some(SignatureType::CertRevocation));
            let gone = gone.into_iter().map(Signature::created).max();
            if let Some(good) = good.into_iter().fold(None, newer)
                && gone.is_none_or(|gone| good.created() > gone)
            {
                newest = newer(newest, good);
            }
        }
        let newest = newest.ok_or("is not vouched for by itself, or by a weak hash only")?;
        Ok(Life { revoked_s, ..life(key, newest) })
    }
}

/// Outer error: the certificate must not be used. Inner: this subkey must not.
fn subkey_life(
    primary: &PublicKey,
    key: &PublicSubkey,
    signatures: &[Signature],
) -> Result<Result<Life, &'static str>, &'static str> {
    let mut revoked_s = None;
    let mut newest = None;
    for signature in signatures {
        let good = signature.verify_subkey_binding(primary, key).is_ok();
        match signature.typ() {
            Some(SignatureType::SubkeyRevocation) if good => revoked_s = earlier(revoked_s, signature),
            Some(SignatureType::SubkeyRevocation) => {
                return Err("has a revocation of a subkey that its own key did not make");
            }
            Some(SignatureType::SubkeyBinding) if good => newest = newer(newest, signature),
            _ => {}
        }
    }
    let Some(binding) = newest else {
        return Ok(Err("is not bound to its primary key, or by a weak hash only"));
    };
    let life = Life { revoked_s, ..life(key, binding) };
    if !life.signs {
        return Ok(Ok(life));
    }
    // Without the subkey's own word anybody could claim somebody else's signing key as his.
    let back = binding.embedded_signature().filter(|it| it.hash_alg().is_some_and(is_strong));
    if back.is_none_or(|it| it.verify_primary_key_binding(key, primary).is_err()) {
        return Ok(Err("has not confirmed that it belongs to its primary key"));
    }
    Ok(is_usable(key).map(|()| life))
}

/// Only what can be checked with confidence: one form of signature per message, nothing weak.
fn is_usable(key: &impl KeyDetails) -> Result<(), &'static str> {
    if key.version() != KeyVersion::V4 {
        return Err("is not a key of version 4, the one git and gpg sign with");
    }
    match key.public_params() {
        PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. }) | PublicParams::Ed25519(_) => {
            Ok(())
        }
        PublicParams::RSA(params) => {
            let mut modulus_first = Vec::new();
            // On the wire a number begins with its length in bits.
            let _ = params.to_writer(&mut modulus_first);
            match modulus_first[..] {
                [high, low, ..] if u16::from_be_bytes([high, low]) >= RSA_BITS_MIN => Ok(()),
                _ => Err("is an RSA key of less than 2048 bits"),
            }
        }
        _ => Err("is neither ed25519 nor RSA"),
    }
}

fn life(key: &impl KeyDetails, signature: &Signature) -> Life {
    let from_s = i64::from(key.created_at().as_secs());
    let seconds = |it: pgp::types::Duration| i64::from(it.as_secs());
    let key_end = signature.key_expiration_time().map(seconds).filter(|it| *it > 0).map(|it| from_s + it);
    let word_end = signature.signature_expiration_time().map(seconds).filter(|it| *it > 0);
    let word_end = word_end.map(|it| signature.created().map_or(0, |at| i64::from(at.as_secs())) + it);
    let until_s = [key_end, word_end].into_iter().flatten().min();
    Life { from_s, until_s, revoked_s: None, signs: signature.key_flags().sign() }
}

/// The newer of two statements; one with a weak hash or without a time is none.
fn newer<'a>(so_far: Option<&'a Signature>, next: &'a Signature) -> Option<&'a Signature> {
    let counts = next.created().is_some() && next.hash_alg().is_some_and(is_strong);
    if counts && so_far.is_none_or(|it| it.created() <= next.created()) { Some(next) } else { so_far }
}

/// From when a revocation counts. A key that was replaced or retired was good before; any other reason, or none, means
/// that somebody else may have used it at any time.
fn earlier(so_far: Option<i64>, revocation: &Signature) -> Option<i64> {
    let gentle = matches!(
        revocation.revocation_reason_code(),
        Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired)
    );
    let from_s = revocation.created().filter(|_| gentle).map_or(i64::MIN, |it| i64::from(it.as_secs()));
    Some(so_far.map_or(from_s, |it| it.min(from_s)))
}

/// Sorts packets into certificates; private keys that can be used go to `secrets`.
fn gather(bytes: &[u8], secrets: &mut Vec<Secret>) -> Result<Vec<Draft>, String> {
    let mut drafts: Vec<Draft> = Vec::new();
    for packet in PacketParser::new(bytes) {
        let packet = match packet.map_err(|_| "a packet in it is malformed")? {
            Packet::PublicKey(key) => {
                drafts.push(Draft::new(key));
                continue;
            }
            Packet::SecretKey(key) => {
                drafts.push(Draft::new(key.public_key().clone()));
                if !key.secret_params().is_encrypted() {
                    secrets.push(Secret::Primary(key));
                }
                continue;
            }
            Packet::SecretSubkey(key) => {
                let public = key.public_key().clone();
                if !key.secret_params().is_encrypted() {
                    secrets.push(Secret::Subkey(key));
                }
                Packet::PublicSubkey(public)
            }
            other => other,
        };
        drafts.last_mut().ok_or("it does not begin with a key")?.add(packet)?;
    }
    if drafts.is_empty() { Err("it holds no key".to_owned()) } else { Ok(drafts) }
}
