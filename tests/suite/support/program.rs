//! Runs the built `tars` and plain `git` as a person would: own home, no inherited settings, a bound on time.
//! Arguments come in, exit code and both outputs go out. Never: the developer's own git settings.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a finished program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    fn from(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output, after making sure that the exit code was 0.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A program in an empty environment, in `dir`, killed after two minutes.
fn command(program: &OsStr, dir: &Path) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", "120"])
        .arg(program)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null());
    command
}

/// Runs the built program.
pub(crate) fn tars(dir: &Path, args: &[&str]) -> Said {
    let output = command(super::tars().as_os_str(), dir).args(args).output().expect("tars starts");
    Said::from(&output)
}

/// Runs a shell line with the built `tars` first in `PATH`.
pub(crate) fn shell(dir: &Path, line: &str) -> Said {
    let program = super::tars();
    let first = program.parent().expect("a program lies in a folder").to_path_buf();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([first].into_iter().chain(std::env::split_paths(&inherited))).unwrap();
    let output = command(OsStr::new("bash"), dir).args(["-c", line]).env("PATH", path).output().unwrap();
    Said::from(&output)
}

/// Plain git with `input` on its standard input and extra environment; the output without its last line end.
#[track_caller]
pub(crate) fn git_with(dir: &Path, args: &[&str], env: &[(&str, &str)], input: &[u8]) -> String {
    let given = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(given.path(), input).unwrap();
    let mut git = command(OsStr::new("git"), dir);
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "A Person").env(format!("GIT_{who}_EMAIL"), "person@example.com");
    }
    let out = git
        .args(args)
        .envs(env.iter().copied())
        .stdin(std::fs::File::open(given.path()).unwrap())
        .output()
        .unwrap();
    let said = Said::from(&out);
    assert_eq!(said.code, 0, "git {args:?} in {}: {}", dir.display(), said.err);
    said.out.strip_suffix('\n').unwrap_or(&said.out).to_owned()
}

/// Plain git.
#[track_caller]
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    git_with(dir, args, &[], b"")
}

/// Trailers of one commit, as git itself reads them.
pub(crate) fn trailers(dir: &Path, commit: &str) -> Vec<(String, String)> {
    let message = git(dir, &["log", "-1", "--format=%B", commit]);
    let parsed = git_with(dir, &["interpret-trailers", "--parse"], &[], message.as_bytes());
    parsed
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Commits of a branch, oldest first.
pub(crate) fn commits(dir: &Path, branch: &str) -> Vec<String> {
    git(dir, &["rev-list", "--reverse", branch]).lines().map(str::to_owned).collect()
}

/// What each ledger entry records, oldest first: the values of `Tars-Kind`.
pub(crate) fn kinds(dir: &Path) -> Vec<String> {
    let kind = |commit: &String| {
        let found = trailers(dir, commit).into_iter().find(|(key, _)| key == "Tars-Kind");
        found.expect("every entry has a kind").1
    };
    commits(dir, "tars/ledger").iter().map(kind).collect()
}

/// A clone of the example repository, with one commit.
pub(crate) fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = super::root().join("gitops-example/.");
    let copied = Command::new("cp").arg("-R").arg(from).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    git(folder.path(), &["init", "-q", "-b", "main"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-q", "-m", "Import the platform repository"]);
    folder
}
