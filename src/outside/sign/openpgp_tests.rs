//! OpenPGP keys, certificates and signatures, compared with the real gpg and with git that uses it.

use pgp::packet::{PacketTrait as _, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, Password, Timestamp};

use super::certificate::{Public, Secret};
use super::gpg_fixture::Gpg;
use super::*;
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::git::{CommitDraft, Objects};

/// A time at which keys made by a test exist.
fn soon_s() -> i64 {
    SystemClock.now().as_second() + 60
}

const IN_2020: [&str; 2] = ["--faked-system-time", "20200101T000000!"];
const IN_2020_S: i64 = 1_577_836_800;
const YEAR_S: i64 = 365 * 86_400;

fn allowing(certificates: &str) -> AllowedSigners {
    AllowedSigners::parse("", certificates).unwrap()
}

#[track_caller]
fn rejected(allowed: &AllowedSigners, signature: &str, time_s: i64, reason: &str) {
    match allowed.verify(b"m", Some(signature), time_s) {
        SignatureCheck::Rejected(why) => assert!(why.contains(reason), "{why:?} does not say {reason:?}"),
        other => panic!("{other:?}, expected {reason:?}"),
    }
}

#[track_caller]
fn accepted(allowed: &AllowedSigners, signature: &str, time_s: i64, key: &str) {
    let check = allowed.verify(b"m", Some(signature), time_s);
    assert_eq!(check, SignatureCheck::Allowed(key.to_owned()));
}

#[test]
fn gpg_accepts_what_we_sign_and_we_what_gpg_signs() {
    let Some(gpg) = Gpg::new("gpg_accepts_what_we_sign_and_we_what_gpg_signs") else { return };
    for (user, algorithm) in [("e@x", "ed25519"), ("r@x", "rsa3072")] {
        let id = gpg.make(&[], user, algorithm, "sign", "never");
        let allowed = allowing(&gpg.public(&id));
        let key = SigningKey::load(&gpg.secret(user, "--export-secret-keys", &id)).unwrap();
        assert_eq!(key.fingerprint(), id);
        let time_s = soon_s();
        let ours = key.sign(b"m", time_s - 60).unwrap();
        assert_eq!(ours, key.sign(b"m", time_s - 60).unwrap(), "the same bytes and time");
        assert!(gpg.verifies(&ours, b"m") && !gpg.verifies(&ours, b"n"), "{algorithm}");
        accepted(&allowed, &ours, time_s, &id);
        accepted(&allowed, &gpg.sign(&["-u", &id], b"m"), time_s, &id);
        assert_eq!(allowed.accepts(&key, time_s), Ok(()));
        let foreign = allowed.verify(b"n", Some(&ours), time_s);
        assert_eq!(foreign, SignatureCheck::Rejected("it does not belong to these bytes".to_owned()));
    }
}

#[test]
fn git_accepts_our_commits_and_we_accept_commits_of_git() {
    let Some(gpg) = Gpg::new("git_accepts_our_commits_and_we_accept_commits_of_git") else { return };
    let id = gpg.make(&[], "t@x", "ed25519", "sign", "never");
    let key = SigningKey::load(&gpg.secret("key", "--export-secret-keys", &id)).unwrap();
    let allowed = allowing(&gpg.public(&id));
    let hub = gpg.home().join("hub.git");
    let objects = Objects::init_bare(&hub).unwrap();
    let draft = CommitDraft {
        base_tree: None,
        edits: vec![("a".to_owned(), Some(b"1".to_vec()))],
        parents: Vec::new(),
        message: "First".to_owned(),
        author: ("t".to_owned(), "t@x".to_owned()),
        time_s: SystemClock.now().as_second(),
    };
    let ours = objects.write_commit(&draft, &key).unwrap();
    assert_eq!(ours, objects.write_commit(&draft, &key).unwrap(), "the same draft and key");
    gpg.git(&hub, &["verify-commit", &ours.commit]);
    let signing = format!("user.signingKey={id}");
    let theirs = gpg.git(&hub, &["-c", &signing, "commit-tree", "-S", "-m", "by git", &ours.tree]);
    for commit in [&ours.commit, theirs.trim()] {
        let read = objects.commit(commit).unwrap();
        let check = allowed.verify(&read.payload, read.signature.as_deref(), read.time_s);
        assert_eq!(check, SignatureCheck::Allowed(id.clone()));
        let mut tampered = read.payload.clone();
        tampered[10] ^= 1;
        let check = allowed.verify(&tampered, read.signature.as_deref(), read.time_s);
        assert!(matches!(check, SignatureCheck::Rejected(_)));
    }
}

#[test]
fn the_newest_subkey_signs_even_when_the_primary_key_stayed_at_home() {
    let Some(gpg) = Gpg::new("the_newest_subkey_signs_even_when_the_primary_key_stayed_at_home") else {
        return;
    };
    let id = gpg.make(&IN_2020, "s@x", "ed25519", "cert", "never");
    gpg.add_subkey(&IN_2020, &id, "ed25519", "1y");
    let newest = gpg.add_subkey(&["--faked-system-time", "20200201T000000!"], &id, "rsa2048", "never");
    let allowed = allowing(&gpg.public(&id));
    let key = SigningKey::load(&gpg.secret("sub", "--export-secret-subkeys", &id)).unwrap();
    assert_eq!(key.fingerprint(), id, "the certificate is who signs, whichever key of it did");
    let late = key.sign(b"m", IN_2020_S + 2 * YEAR_S).unwrap();
    let early = key.sign(b"m", IN_2020_S + 86_400).unwrap();
    assert!(late.len() > early.len(), "RSA against ed25519");
    for (signature, time_s) in [(&late, IN_2020_S + 2 * YEAR_S), (&early, IN_2020_S + 86_400)] {
        accepted(&allowed, signature, time_s, &id);
    }
    assert!(gpg.verifies(&late, b"m"));
    rejected(&allowed, &early, IN_2020_S + 2 * YEAR_S, "had expired at that time");
    rejected(&allowed, &late, IN_2020_S, "did not exist yet");
    let primary_only = gpg.public(&format!("{id}!"));
    rejected(
        &allowing(&primary_only),
        &late,
        IN_2020_S + 2 * YEAR_S,
        &format!("its key {newest} is not allowed"),
    );
}

#[test]
fn an_expired_key_neither_signs_nor_counts_however_its_signature_is_dated() {
    let Some(gpg) = Gpg::new("an_expired_key_neither_signs_nor_counts") else { return };
    let id = gpg.make(&IN_2020, "old@x", "ed25519", "sign", "1y");
    let allowed = allowing(&gpg.public(&id));
    let key = SigningKey::load(&gpg.secret("old", "--export-secret-keys", &id)).unwrap();
    let in_time = key.sign(b"m", IN_2020_S + 10).unwrap();
    accepted(&allowed, &in_time, IN_2020_S + YEAR_S - 1, &id);
    rejected(&allowed, &in_time, IN_2020_S + YEAR_S, "had expired at that time");
    rejected(&allowed, &in_time, IN_2020_S - 1, "did not exist yet");
    for time_s in [IN_2020_S - 1, IN_2020_S + YEAR_S] {
        assert!(matches!(key.sign(b"m", time_s), Err(SignError::NotNow(_))));
        assert!(allowed.accepts(&key, time_s).is_err());
    }
}

#[test]
fn a_revoked_key_counts_only_before_it_was_replaced_and_never_when_it_was_lost() {
    let Some(gpg) = Gpg::new("a_revoked_key_counts_only_before_it_was_replaced") else { return };
    let in_2021 = ["--faked-system-time", "20210101T000000!"];
    for (user, reason, counts_before) in [("none@x", 0, false), ("lost@x", 1, false), ("new@x", 2, true)] {
        let id = gpg.make(&IN_2020, user, "ed25519", "sign", "never");
        let key = SigningKey::load(&gpg.secret(user, "--export-secret-keys", &id)).unwrap();
        let signature = key.sign(b"m", IN_2020_S + 10).unwrap();
        accepted(&allowing(&gpg.public(&id)), &signature, IN_2020_S + 20, &id);
        gpg.revoke(&in_2021, &id, reason);
        let allowed = allowing(&gpg.public(&id));
        rejected(&allowed, &signature, IN_2020_S + 2 * YEAR_S, "is revoked");
        if counts_before {
            accepted(&allowed, &signature, IN_2020_S + 20, &id);
        } else {
            rejected(&allowed, &signature, IN_2020_S + 20, "is revoked");
        }
        assert!(allowed.accepts(&key, soon_s()).is_err(), "the list knows more than the key file");
    }
    let id = gpg.make(&[], "sub@x", "ed25519", "cert", "never");
    let subkey = gpg.add_subkey(&[], &id, "ed25519", "never");
    let signature = gpg.sign(&["-u", &id], b"m");
    accepted(&allowing(&gpg.public(&id)), &signature, soon_s(), &id);
    gpg.revoke_subkey(&id, 1);
    rejected(&allowing(&gpg.public(&id)), &signature, soon_s(), &format!("{subkey} is revoked"));
    let file = gpg.secret("revoked", "--export-secret-keys", &id);
    assert!(matches!(SigningKey::load(&file).unwrap().sign(b"m", soon_s()), Err(SignError::NotNow(_))));
}

#[test]
fn weak_hashes_other_kinds_of_signatures_and_second_ones_are_rejected() {
    let Some(gpg) = Gpg::new("weak_hashes_other_kinds_of_signatures_and_second_ones") else { return };
    let id = gpg.make(&[], "w@x", "rsa2048", "sign", "never");
    let other = gpg.make(&[], "o@x", "ed25519", "sign", "never");
    let allowed = allowing(&(gpg.public(&id) + "\n# a colleague\n" + &gpg.public(&other)));
    let time_s = soon_s();
    let sign = |options: &[&str]| gpg.sign(&[&["-u", id.as_str()][..], options].concat(), b"m");
    accepted(&allowed, &sign(&[]), time_s, &id);
    accepted(&allowed, &sign(&["--digest-algo", "SHA384"]), time_s, &id);
    rejected(&allowed, &sign(&["--digest-algo", "SHA1"]), time_s, "too weak");
    rejected(&allowed, &sign(&["--digest-algo", "RIPEMD160"]), time_s, "too weak");
    rejected(&allowed, &sign(&["--digest-algo", "SHA224"]), time_s, "too weak");
    rejected(&allowed, &sign(&["--textmode"]), time_s, "something else than exactly these bytes");
    rejected(&allowed, &sign(&["-u", &other]), time_s, "");
    rejected(&allowed, &sign(&["--comment", "x"]), time_s, "OpenPGP signature");
    rejected(&allowed, &sign(&["--default-sig-expire", "1d"]), time_s, "lose its force");
    rejected(&allowed, &sign(&["--sig-notation", "!odd@example.org=x"]), time_s, "not understood");
    accepted(&allowed, &sign(&["--sig-notation", "known@example.org=x"]), time_s, &id);
    rejected(&allowing(&gpg.public(&other)), &sign(&[]), time_s, &format!("its key {id} is not allowed"));
    rejected(&AllowedSigners::default(), &sign(&[]), time_s, "is not allowed");
}

#[test]
fn no_changed_byte_of_a_signature_leaves_it_valid() {
    let Some(gpg) = Gpg::new("no_changed_byte_of_a_signature_leaves_it_valid") else { return };
    let id = gpg.make(&[], "b@x", "ed25519", "sign", "never");
    let allowed = allowing(&gpg.public(&id));
    let key = SigningKey::load(&gpg.secret("b", "--export-secret-keys", &id)).unwrap();
    let time_s = soon_s();
    for good in [key.sign(b"m", time_s).unwrap(), gpg.sign(&["-u", &id], b"m")] {
        accepted(&allowed, &good, time_s, &id);
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            rejected(&allowed, &String::from_utf8(bytes).unwrap(), time_s, "");
            rejected(&allowed, &good[..at], time_s, "");
        }
        for more in ["\n", " ", "\r\n", "\nx", &format!("\n{good}")] {
            rejected(&allowed, &(good.clone() + more), time_s, "");
        }
        // The same inside the armor, with a checksum that fits: what the signature does not cover counts too.
        let body: String = good.lines().skip(2).take_while(|it| !it.starts_with('=')).collect();
        let packet = <base64ct::Base64 as base64ct::Encoding>::decode_vec(&body).unwrap();
        let wrapped = |bytes: Vec<u8>| openpgp::wrap(bytes).unwrap();
        assert_eq!(wrapped(packet.clone()), good);
        for at in 0..packet.len() {
            for bit in 0..8 {
                let mut bytes = packet.clone();
                bytes[at] ^= 1 << bit;
                rejected(&allowed, &wrapped(bytes), time_s, "");
            }
            rejected(&allowed, &wrapped(packet[..at].to_vec()), time_s, "");
            rejected(&allowed, &wrapped([&packet[..at], &[0], &packet[at..]].concat()), time_s, "");
        }
        rejected(&allowed, &wrapped([&packet[..], &packet].concat()), time_s, "");
        let new_header = [&[0xC2, packet[1]][..], &packet[2..]].concat();
        rejected(&allowed, &wrapped(new_header), time_s, "");
        let longer_header = [&[0x89, 0, packet[1]][..], &packet[2..]].concat();
        rejected(&allowed, &wrapped(longer_header), time_s, "one form");
    }
}

/// What the tool would never make: the subkey did not agree.
#[test]
fn nobody_can_claim_the_signing_key_of_somebody_else() {
    let Some(gpg) = Gpg::new("nobody_can_claim_the_signing_key_of_somebody_else") else { return };
    let victim = gpg.make(&[], "victim@x", "ed25519", "sign", "never");
    let owner = gpg.make(&[], "owner@x", "ed25519", "cert", "never");
    let subkey = gpg.add_subkey(&[], &owner, "ed25519", "never");
    let read = |id: &str| {
        let file = gpg.secret(id, "--export-secret-keys", id);
        certificate::read_private(std::str::from_utf8(&files::read_bounded(&file, 10_000).unwrap()).unwrap())
    };
    let (_, secrets) = read(&victim).unwrap();
    let Some(Secret::Primary(claimer)) = secrets.first() else { panic!("no secret") };
    let listed = certificate::read_public(&gpg.public(&owner)).unwrap();
    let Public::Subkey(claimed) = listed[0].candidates()[0].key() else { panic!("no subkey") };

    let mut flags = pgp::packet::KeyFlags::default();
    flags.set_sign(true);
    let mut config = SignatureConfig::v4(
        SignatureType::SubkeyBinding,
        claimer.algorithm(),
        pgp::crypto::hash::HashAlgorithm::Sha512,
    );
    let now = u32::try_from(SystemClock.now().as_second()).unwrap();
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(now))).unwrap(),
        Subpacket::regular(SubpacketData::KeyFlags(flags)).unwrap(),
        Subpacket::regular(SubpacketData::IssuerFingerprint(claimer.fingerprint())).unwrap(),
    ];
    let binding =
        config.sign_subkey_binding(claimer, claimer.public_key(), &Password::empty(), claimed).unwrap();
    let mut packets = gpg.export_bytes(&victim);
    claimed.to_writer_with_header(&mut packets).unwrap();
    binding.to_writer_with_header(&mut packets).unwrap();
    let list = certificate::packets_to_certificates(&packets).unwrap();
    let allowed = AllowedSigners { openpgp: list, ..AllowedSigners::default() };

    let signature = gpg.sign(&["-u", &owner], b"m");
    accepted(&allowing(&gpg.public(&owner)), &signature, soon_s(), &owner);
    rejected(&allowed, &signature, soon_s(), &format!("{subkey} has not confirmed"));
}

#[test]
fn a_key_file_is_refused_with_what_to_do() {
    let Some(gpg) = Gpg::new("a_key_file_is_refused_with_what_to_do") else { return };
    let locked = gpg.make(&["--passphrase", "secret words"], "l@x", "ed25519", "sign", "never");
    let text = gpg
        .run(&["--batch", "--passphrase", "secret words", "--armor", "--export-secret-keys", &locked], b"");
    let path = gpg.home().join("locked");
    files::write_new(&path, text.as_bytes(), 0o600).unwrap();
    let refused = SigningKey::load(&path).unwrap_err().to_string();
    assert!(refused.contains("without a passphrase") && refused.contains("gpg --passwd"), "{refused}");

    let cases = [
        ("short", "rsa1024", "2048 bits"),
        ("dsa", "dsa2048", "neither ed25519"),
        ("nist", "nistp256", "neither"),
    ];
    for (user, algorithm, reason) in cases {
        let id = gpg.make(&[], user, algorithm, "sign", "never");
        let refused = SigningKey::load(&gpg.secret(user, "--export-secret-keys", &id)).unwrap_err();
        assert!(refused.to_string().contains(reason), "{algorithm}: {refused}");
        let refused = AllowedSigners::parse("", &gpg.public(&id)).unwrap_err();
        assert!(refused.to_string().contains(reason), "{algorithm}: {refused}");
    }
    let good = gpg.make(&[], "g@x", "ed25519", "sign", "never");
    let secret = gpg.secret("good", "--export-secret-keys", &good);
    let text = String::from_utf8(files::read_bounded(&secret, 10_000).unwrap()).unwrap();
    files::write_new(&gpg.home().join("open"), text.as_bytes(), 0o640).unwrap();
    assert!(matches!(SigningKey::load(&gpg.home().join("open")), Err(SignError::Exposed(..))));
    assert_eq!(format!("{:?}", SigningKey::load(&secret).unwrap()), format!("SigningKey({good})"));
    assert!(AllowedSigners::parse("", &text).is_err(), "a private key is no certificate");
    let public = gpg.public(&good);
    for bad in [
        &public[..public.len() / 2],
        "x",
        &public.replacen("PUBLIC", "PRIVATE", 2),
        &public.replacen("mDM", "mDN", 1),
    ] {
        assert!(AllowedSigners::parse("", bad).is_err(), "{bad}");
    }
    assert!(AllowedSigners::parse("", "# nobody\n\n").unwrap().openpgp.is_empty());
}

#[test]
fn a_list_holds_keys_of_both_kinds() {
    let Some(gpg) = Gpg::new("a_list_holds_keys_of_both_kinds") else { return };
    let id = gpg.make(&[], "both@x", "ed25519", "sign", "never");
    let (ssh, line) = SigningKey::generate(&gpg.home().join("ssh")).unwrap();
    let openpgp = SigningKey::load(&gpg.secret("both", "--export-secret-keys", &id)).unwrap();
    let allowed = AllowedSigners::parse(&format!("t@x {line}"), &gpg.public(&id)).unwrap();
    for key in [&ssh, &openpgp] {
        accepted(&allowed, &key.sign(b"m", soon_s()).unwrap(), soon_s(), &key.fingerprint());
        assert_eq!(allowed.accepts(key, soon_s()), Ok(()));
        assert!(AllowedSigners::default().accepts(key, soon_s()).is_err());
    }
}
