//! Starts programs so that none outlives the test: each is in a process group of its own together with a shell that waits for
//! the end of its standard input, and kills the group then. That input ends with the value, or with this process, however
//! that ends. Comes in: a command and the folder of its log. Never: a signal to a process of another group.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Lines of a log that a failure shows.
const LOG_LINES: usize = 40;
/// `$$` is the shell, which leads the group.
const KEEPER: &str = "\"$@\" & cat >/dev/null; kill -KILL -$$";

/// A running program and its log.
#[derive(Debug)]
pub(crate) struct Kept {
    name: &'static str,
    log: PathBuf,
    command: Command,
    keeper: Child,
}

impl Kept {
    /// Starts `program` in an empty environment with `envs`; its output goes to `<folder>/<name>.log`.
    pub(crate) fn start(
        name: &'static str,
        folder: &Path,
        program: &Path,
        args: &[String],
        envs: &[(&str, String)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER, "sh"])
            .arg(program)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .env("LC_ALL", "C.UTF-8")
            .envs(envs.iter().map(|(key, value)| (key, value)))
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let keeper = command.spawn().unwrap();
        Self { name, log, command, keeper }
    }

    /// Kills it, as a machine that fails does, and starts it again a moment later with what it left on disk.
    pub(crate) fn restart(&mut self, away: Duration) {
        self.end();
        std::thread::sleep(away);
        self.keeper = self.command.spawn().unwrap();
    }

    fn end(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

#[allow(clippy::print_stderr, reason = "what a failed test has to show; the harness shows it only then")]
impl Drop for Kept {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("{}", end_of_log(self.name, &self.log));
        }
    }
}

/// The last lines of a log, below its name.
pub(crate) fn end_of_log(name: &str, log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
    format!("--- end of {name}.log ({} lines)\n{}", lines.len(), tail.join("\n"))
}

#[test]
fn a_kept_program_and_its_children_end_with_the_value() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["-c", "sleep 600 & echo $! >child; wait"].map(str::to_owned);
    let kept = Kept::start("parent", folder.path(), Path::new("/bin/sh"), &args, &[]);
    let child: String = crate::process::wait_for("the child runs", Duration::from_secs(10), || {
        fs::read_to_string(folder.path().join("child")).ok().filter(|it| it.ends_with('\n'))
    });
    let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
    assert!(stat.exists());
    drop(kept);
    let gone = || match fs::read_to_string(&stat) {
        Ok(text) if !text.contains(") Z ") => None,
        _ => Some(()),
    };
    crate::process::wait_for("the child is gone", Duration::from_secs(10), gone);
}
