//! Keys, allow-lists and signatures, compared with the real ssh-keygen.

use std::time::Duration;

use super::*;
use crate::outside::command::{CommandSpec, run};

async fn ssh_keygen(dir: &Path, args: &[&str]) {
    let spec = CommandSpec {
        program: "ssh-keygen".into(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        cwd: Some(dir.to_owned()),
        stdin: None,
        timeout: Duration::from_secs(60),
        output_max_bytes: 10_000,
        fills: None,
    };
    let out = run(spec).await.unwrap();
    assert!(out.success(), "{}", out.stderr);
}

fn signer(dir: &Path, name: &str) -> (SigningKey, String) {
    SigningKey::generate(&dir.join(name)).unwrap()
}

fn allowing(line: &str) -> AllowedSigners {
    AllowedSigners::parse(&format!("* {line}"), "").unwrap()
}

#[tokio::test]
async fn keys_of_ssh_keygen_are_read_and_ours_are_read_by_it() {
    let dir = tempfile::tempdir().unwrap();
    ssh_keygen(dir.path(), &["-q", "-t", "ed25519", "-N", "", "-f", "k"]).await;
    let theirs = SigningKey::load(&dir.path().join("k")).unwrap();
    assert!(theirs.fingerprint().starts_with("SHA256:"));

    let (ours, line) = signer(dir.path(), "ours");
    ssh_keygen(dir.path(), &["-y", "-f", "ours"]).await;
    let public = files::read_bounded(&dir.path().join("ours.pub"), 1000).unwrap();
    assert_eq!(String::from_utf8(public).unwrap().trim(), line);
    assert_eq!(files::permission_bits(&dir.path().join("ours")).unwrap(), 0o600);
    assert_eq!(SigningKey::load(&dir.path().join("ours")).unwrap().fingerprint(), ours.fingerprint());
    assert!(SigningKey::generate(&dir.path().join("ours")).is_err(), "a key is never overwritten");
}

#[tokio::test]
async fn a_key_others_can_read_or_another_kind_of_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    ssh_keygen(dir.path(), &["-q", "-t", "ed25519", "-N", "passphrase", "-f", "locked"]).await;
    ssh_keygen(dir.path(), &["-q", "-t", "ecdsa", "-N", "", "-f", "ecdsa"]).await;
    for name in ["locked", "ecdsa"] {
        assert!(matches!(SigningKey::load(&dir.path().join(name)), Err(SignError::SshKey(_))), "{name}");
    }
    let (key, _) = signer(dir.path(), "key");
    let text = files::read_bounded(&dir.path().join("key"), 1000).unwrap();
    for (name, mode) in [("group", 0o640), ("world", 0o604)] {
        files::write_new(&dir.path().join(name), &text, mode).unwrap();
        let refused = SigningKey::load(&dir.path().join(name)).unwrap_err();
        assert!(matches!(refused, SignError::Exposed(..)), "{name}: {refused}");
    }
    let body = String::from_utf8(text).unwrap();
    let secret = body.lines().nth(3).unwrap();
    assert!(!format!("{key:?}").contains(secret));
}

#[test]
fn the_same_bytes_give_the_same_signature() {
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = signer(dir.path(), "k");
    assert_eq!(key.sign(b"x", 0).unwrap(), key.sign(b"x", 1).unwrap());
    assert_ne!(key.sign(b"x", 0).unwrap(), key.sign(b"y", 0).unwrap());
}

#[tokio::test]
async fn a_signature_for_another_purpose_or_in_another_format_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let (key, line) = signer(dir.path(), "k");
    let allowed = allowing(&line);
    files::write_new(&dir.path().join("m"), b"m", 0o600).unwrap();
    for (purpose, hash, good) in [("git", "sha512", true), ("git", "sha256", true), ("file", "sha512", false)]
    {
        let option = format!("hashalg={hash}");
        ssh_keygen(dir.path(), &["-q", "-Y", "sign", "-n", purpose, "-O", &option, "-f", "k", "m"]).await;
        let armored =
            String::from_utf8(files::read_bounded(&dir.path().join("m.sig"), 5000).unwrap()).unwrap();
        let check = allowed.verify(b"m", Some(armored.trim_end()), 0);
        assert_eq!(matches!(check, SignatureCheck::Allowed(_)), good, "{purpose} {hash} {check:?}");
        files::remove_file(&dir.path().join("m.sig")).unwrap();
    }
    let long = key.sign(b"m", 0).unwrap() + &"\n".repeat(SIGNATURE_BYTES_MAX);
    for bad in ["", "-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----", "x", &long] {
        assert!(matches!(allowed.verify(b"m", Some(bad), 0), SignatureCheck::Rejected(_)));
    }
}

#[test]
fn every_changed_byte_of_a_signature_rejects_it() {
    let dir = tempfile::tempdir().unwrap();
    let (key, line) = signer(dir.path(), "k");
    let allowed = allowing(&line);
    let good = key.sign(b"m", 0).unwrap();
    assert!(matches!(allowed.verify(b"m", Some(&good), 0), SignatureCheck::Allowed(_)));
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bytes).unwrap();
        assert!(matches!(allowed.verify(b"m", Some(&bad), 0), SignatureCheck::Rejected(_)), "byte {at}");
    }
}

#[test]
fn limits_in_an_allow_list_are_honoured_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (_, line) = signer(dir.path(), "k");
    let count = |text: String| AllowedSigners::parse(&text, "").unwrap().ssh.count();
    assert_eq!(count(format!("# comment\n\na@x {line}\n  b@x,c@x\t{line}\n")), 2);
    assert_eq!(count(format!("a@x namespaces=\"git\" {line}")), 1);
    assert_eq!(count(format!("a@x namespaces=\"file,git\" {line}")), 1);
    assert_eq!(count(format!("\"a b\" namespaces=\"file,email\" {line}")), 0);
    for bad in [
        format!("a@x cert-authority {line}"),
        format!("a@x valid-before=\"20200101\" {line}"),
        format!("a@x namespaces=\"git\",valid-after=\"20200101\" {line}"),
        format!("a@x namespaces=git {line}"),
        format!("a@x namespaces=\"!git,*\" {line}"),
        format!("a@x namespaces=\"git {line}"),
        "a@x".to_owned(),
        "a@x ssh-ed25519".to_owned(),
        "a@x ssh-ed25519 AAAA".to_owned(),
        line.clone(),
    ] {
        let text = format!("# one\n{bad}");
        assert!(matches!(AllowedSigners::parse(&text, ""), Err(SignError::Signers { line: 2, .. })), "{bad}");
    }
}
