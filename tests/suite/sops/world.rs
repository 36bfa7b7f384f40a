//! A temporary folder with the real sops, the test identities, and both programs run in a cleared environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::program::Said;
use crate::support::{parts, root, tars};

pub(super) struct World {
    dir: tempfile::TempDir,
    sops: PathBuf,
    recipients: Vec<String>,
}

impl World {
    /// `None` when sops is not installed.
    pub(super) fn new(test: &str) -> Option<Self> {
        let sops = parts::find("sops", test)?;
        let dir = tempfile::tempdir().unwrap();
        let keys = std::fs::read_to_string(root().join("tests/fixtures/sops/keys.txt")).unwrap();
        let recipients =
            keys.lines().filter_map(|it| it.strip_prefix("# public key: ")).map(str::to_owned).collect();
        let private = dir.path().join("keys.txt");
        std::fs::write(&private, keys).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&private, mode).unwrap();
        Some(Self { dir, sops, recipients })
    }

    pub(super) fn recipient(&self, at: usize) -> String {
        self.recipients[at].clone()
    }

    /// A folder with a `.sops.yaml` of these creation rules.
    pub(super) fn folder(&self, name: &str, rules: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(".sops.yaml"), format!("creation_rules:\n{rules}")).unwrap();
        dir
    }

    fn run(&self, program: &Path, dir: &Path, args: &[&str], input: &str, identity: bool) -> Said {
        let given = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(given.path(), input).unwrap();
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", "120"])
            .arg(program)
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("HOME", dir)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SOPS_DISABLE_VERSION_CHECK", "1")
            .stdin(std::fs::File::open(given.path()).unwrap())
            .stdout(Stdio::piped());
        if identity {
            command.env("SOPS_AGE_KEY_FILE", self.dir.path().join("keys.txt"));
        }
        let output = command.output().unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(super) fn sops(&self, dir: &Path, args: &[&str]) -> Said {
        self.run(&self.sops, dir, args, "", true)
    }

    pub(super) fn tars(&self, dir: &Path, args: &[&str]) -> Said {
        self.run(&tars(), dir, args, "", true)
    }

    pub(super) fn tars_with(&self, dir: &Path, args: &[&str], input: &str, identity: bool) -> Said {
        self.run(&tars(), dir, args, input, identity)
    }

    /// Writes `name` encrypted by sops, and returns its text.
    pub(super) fn sops_encrypt(&self, dir: &Path, name: &str, plain: &str) -> String {
        std::fs::write(dir.join(name), plain).unwrap();
        let text = self.sops(dir, &["-e", name]).ok();
        std::fs::write(dir.join(name), &text).unwrap();
        text
    }

    /// The text of a file with one value changed by tars.
    #[track_caller]
    pub(super) fn tars_set(&self, dir: &Path, name: &str, path: &str, kind: &str, value: &str) -> String {
        self.tars_with(dir, &["sops", "set", name, path, "--type", kind], value, true).ok()
    }

    /// The same mapping as JSON, laid out by sops.
    pub(super) fn plain_json(&self, yaml: &str) -> String {
        let value: serde_json::Value = yaml_serde::from_str(yaml).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    }
}

/// New lines of a text that has as many lines as before.
#[track_caller]
pub(super) fn differing(old: &str, new: &str) -> Vec<String> {
    assert_eq!(old.lines().count(), new.lines().count(), "{old}\n{new}");
    old.lines().zip(new.lines()).filter(|(old, new)| old != new).map(|(_, new)| new.to_owned()).collect()
}
