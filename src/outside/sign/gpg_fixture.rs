//! The real gpg in a home of its own, for the tests of this room and of git's. Its agent is stopped at the end.

#![expect(clippy::disallowed_methods, reason = "a fixture that must end its agent when a test fails")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::outside::files;

pub struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    /// `None` where gpg is missing, after saying so.
    ///
    /// # Panics
    /// When it is missing where `CI=true`.
    pub fn new(test: &str) -> Option<Self> {
        if Command::new("gpg").arg("--version").stdout(Stdio::null()).status().is_err() {
            let text = format!("{test}: gpg is missing; run tests/install-parts");
            assert!(!std::env::var("CI").is_ok_and(|it| it == "true"), "{text}");
            let _ = writeln!(std::io::stderr(), "SKIP {text}");
            return None;
        }
        // A short path: the agent's socket lies in it.
        Some(Self { home: tempfile::Builder::new().prefix("gpg").tempdir().unwrap() })
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn output(&self, args: &[&str], stdin: &[u8]) -> (bool, Vec<u8>, String) {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home())
            .args(["--no-tty", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let out = child.wait_with_output().unwrap();
        (out.status.success(), out.stdout, String::from_utf8_lossy(&out.stderr).into_owned())
    }

    /// Runs gpg with `stdin`; it must succeed.
    pub fn run(&self, args: &[&str], stdin: &[u8]) -> String {
        let (success, stdout, stderr) = self.output(args, stdin);
        assert!(success, "gpg {args:?}: {stderr}");
        String::from_utf8(stdout).unwrap()
    }

    /// Makes a key for `user`, unprotected, and returns its fingerprint. `options` come first.
    pub fn make(&self, options: &[&str], user: &str, algorithm: &str, usage: &str, expires: &str) -> String {
        let make = ["--batch", "--status-fd", "1", "--quick-gen-key", user, algorithm, usage, expires];
        let said = self.run(&[options, &make].concat(), b"");
        said.lines().find_map(|it| it.split_once("KEY_CREATED P ")).unwrap().1.trim().to_owned()
    }

    /// Adds a signing subkey and returns its fingerprint.
    pub fn add_subkey(&self, options: &[&str], key: &str, algorithm: &str, expires: &str) -> String {
        self.run(&[options, &["--batch", "--quick-add-key", key, algorithm, "sign", expires]].concat(), b"");
        let listed = self.run(&["--batch", "--with-colons", "--list-keys", key], b"");
        listed.lines().rfind(|it| it.starts_with("fpr:")).unwrap().split(':').nth(9).unwrap().to_owned()
    }

    /// Revokes a key; `reason` is gpg's digit: 0 none, 1 compromised, 2 superseded, 3 no longer used.
    pub fn revoke(&self, options: &[&str], key: &str, reason: u8) {
        let answers = format!("y\n{reason}\n\ny\n");
        let make = ["--command-fd", "0", "--armor", "--gen-revoke", key];
        let certificate = self.run(&[options, &make].concat(), answers.as_bytes());
        self.run(&["--batch", "--import"], certificate.as_bytes());
    }

    /// Revokes the only subkey.
    pub fn revoke_subkey(&self, key: &str, reason: u8) {
        let answers = format!("key 1\nrevkey\ny\n{reason}\n\ny\nsave\n");
        self.run(&["--command-fd", "0", "--edit-key", key], answers.as_bytes());
    }

    pub fn public(&self, key: &str) -> String {
        self.run(&["--batch", "--armor", "--export", key], b"")
    }

    pub fn export_bytes(&self, key: &str) -> Vec<u8> {
        self.output(&["--batch", "--export", key], b"").1
    }

    /// Runs git with this gpg home; it must succeed.
    pub fn git(&self, dir: &Path, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(dir).args(args).env("GNUPGHOME", self.home()).env("HOME", self.home());
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "t"),
            ("GIT_AUTHOR_EMAIL", "t@x"),
            ("GIT_COMMITTER_NAME", "t"),
            ("GIT_COMMITTER_EMAIL", "t@x"),
        ] {
            git.env(name, value);
        }
        let out = git.output().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// A key file in the home: what `export` writes, readable by its owner only.
    pub fn secret(&self, name: &str, export: &str, key: &str) -> PathBuf {
        let path = self.home().join(name);
        let text = self.run(&["--batch", "--armor", export, key], b"");
        files::write_new(&path, text.as_bytes(), 0o600).unwrap();
        path
    }

    /// A detached armored signature without a final line feed.
    pub fn sign(&self, options: &[&str], payload: &[u8]) -> String {
        let sign = [options, &["--batch", "--armor", "--detach-sign"]].concat();
        self.run(&sign, payload).trim_end().to_owned()
    }

    /// Whether gpg itself accepts a signature.
    pub fn verifies(&self, signature: &str, payload: &[u8]) -> bool {
        let file = self.home().join("check.asc");
        files::write_durable(&file, signature.as_bytes()).unwrap();
        self.output(&["--batch", "--verify", file.to_str().unwrap(), "-"], payload).0
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home()).args(["--kill", "all"]).status();
    }
}
