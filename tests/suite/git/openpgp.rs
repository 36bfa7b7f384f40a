//! OpenPGP end to end: the real gpg makes the keys, tars signs with them, plain git and `tars audit verify` check, and a
//! team moves from SSH to OpenPGP without losing its ledger. Keys live in the world's own home.

use crate::support::parts;
use crate::support::program::{Said, git_with, kinds, shell, tars};

use super::World;

/// A world with an OpenPGP key in `pgp-key` and its certificate in `keys`; the agent ends with it.
struct Team {
    world: World,
}

impl Drop for Team {
    fn drop(&mut self) {
        let _ = self.gpg("gpgconf --kill all");
    }
}

impl Team {
    fn new(mode: &str) -> Self {
        let team = Self { world: World::new(mode) };
        team.key("tars@example.com", "", "never");
        team
    }

    fn gpg(&self, line: &str) -> Said {
        shell(self.world.home(), line)
    }

    /// Makes a key as if it were `at` and takes it from then on.
    fn key(&self, user: &str, at: &str, expires: &str) {
        let gpg = "gpg --batch --quiet --pinentry-mode loopback --passphrase ''";
        self.gpg(&format!(
            "set -e; umask 077; {gpg} {at} --quick-gen-key {user} ed25519 sign {expires}; \
             {gpg} --armor --export-secret-keys {user} > pgp-key; {gpg} --armor --export {user} > keys"
        ))
        .ok();
    }

    /// The settings of the world with other words after `signing:`.
    fn sign_with(&self, signing: &str) {
        let file = self.world.home().join("tars.yaml");
        let old = std::fs::read_to_string(&file).unwrap();
        let home = self.world.home().display().to_string();
        let lines = old.lines().map(|line| {
            let new = || format!("signing: {{{}}}", signing.replace("HOME", &home));
            if line.starts_with("signing:") { new() } else { line.to_owned() }
        });
        std::fs::write(&file, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        let home = self.world.home().join(".gnupg");
        git_with(&self.world.repo(), args, &[("GNUPGHOME", home.to_str().unwrap())], b"")
    }

    fn audit(&self, lists: &[&str]) -> Said {
        tars(self.world.home(), &[&["audit", "verify", "-C", "repo.git"][..], lists].concat())
    }
}

const OPENPGP_ONLY: &str = "key_file: HOME/pgp-key, allowed_keys_file: HOME/keys";
const BOTH: &str = "key_file: HOME/pgp-key, allowed_signers_file: HOME/allowed, allowed_keys_file: HOME/keys";

#[test]
fn a_remediation_signed_with_openpgp_is_merged_and_passes_gpg_and_the_audit() {
    if parts::find("gpg", "a_remediation_signed_with_openpgp").is_none() {
        return;
    }
    let team = Team::new("AutoMerge");
    team.sign_with(OPENPGP_ONLY);
    team.world.prometheus.surge("backend");
    team.world.tick();
    assert_eq!(kinds(&team.world.repo()), ["Genesis", "Proposed", "MergeReserved", "Merged"]);
    for commit in ["main", "tars/ledger", "tars/ledger~1", "tars/ledger~2", "tars/ledger~3"] {
        team.git(&["verify-commit", commit]);
    }
    let page = team.audit(&["--allowed-keys", "keys"]).ok();
    assert!(page.contains("4  signatures of allowed keys"), "{page}");
}

#[test]
fn a_team_that_moves_from_ssh_to_openpgp_keeps_its_ledger() {
    if parts::find("gpg", "a_team_that_moves_from_ssh_to_openpgp").is_none() {
        return;
    }
    let team = Team::new("Propose");
    let (branch, _) = team.world.proposed();
    team.world.fetched();
    let clone = team.world.clone_dir();
    super::git(&clone, &["merge", "-q", "--ff-only", &format!("origin/{branch}")]);
    super::git(&clone, &["push", "-q", "origin", "main"]);

    // The new key alone: the old entries are nobody's.
    team.sign_with(OPENPGP_ONLY);
    let said = team.world.once("tars.yaml");
    assert!(said.code != 0 && said.err.contains("is not allowed"), "{said:?}");
    team.sign_with(BOTH);
    team.world.tick();
    assert_eq!(kinds(&team.world.repo()), ["Genesis", "Proposed", "Merged"]);
    assert!(team.git(&["cat-file", "-p", "tars/ledger~1"]).contains("BEGIN SSH SIGNATURE"));
    team.git(&["verify-commit", "tars/ledger"]);
    team.audit(&["--allowed-signers", "allowed", "--allowed-keys", "keys"]).ok();
    for half in [["--allowed-signers", "allowed"], ["--allowed-keys", "keys"]] {
        let said = team.audit(&half);
        assert!(said.code == 1 && said.out.contains("is not allowed"), "{half:?}: {said:?}");
    }
}

#[test]
fn a_key_that_no_list_believes_now_writes_nothing_and_says_why() {
    if parts::find("gpg", "a_key_that_no_list_believes_now").is_none() {
        return;
    }
    let team = Team::new("AutoMerge");
    let before = team.git(&["for-each-ref"]);
    team.world.prometheus.surge("backend");
    team.sign_with("key_file: HOME/pgp-key, allowed_signers_file: HOME/allowed");
    let unlisted = team.world.once("tars.yaml");
    assert!(unlisted.code == 2 && unlisted.err.contains("is not allowed"), "{unlisted:?}");
    assert!(unlisted.err.contains("gpg --armor --export"), "the way on is named: {unlisted:?}");
    team.key("old@example.com", "--faked-system-time '20200101T000000!'", "1y");
    team.sign_with(OPENPGP_ONLY);
    let expired = team.world.once("tars.yaml");
    assert!(expired.code == 2 && expired.err.contains("had expired"), "{expired:?}");
    assert_eq!(team.git(&["for-each-ref"]), before);
}
