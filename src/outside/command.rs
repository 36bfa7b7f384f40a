//! Runs one program and waits for it, with nothing left to chance: cleared environment, fixed locale, closed
//! input, its own process group, a deadline and byte caps.
//! In: a [`CommandSpec`]. Out: status, output bytes, and standard error made safe to print. No shell, ever.

#![expect(clippy::disallowed_methods, reason = "the one file that starts processes")]

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::{clock, files, system};

/// How much of standard error is kept, in bytes; the rest is read and dropped so that the program never
/// blocks.
pub const STDERR_BYTES_MAX: usize = 16 * 1024;

/// How long a program may take to clean up after SIGTERM before SIGKILL. Git removes its lock files in that
/// time; a killed one leaves them behind for ever.
const GRACE: Duration = Duration::from_secs(2);

/// How often is looked whether a group is gone.
const GONE_EVERY: Duration = Duration::from_millis(20);

/// Where programs are looked for when the environment names no place.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long a program fills a folder unseen. A disk takes a few hundred megabytes in that time at most.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One program run.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// Name looked up in `PATH`, or a path.
    pub program: OsString,
    pub args: Vec<OsString>,
    /// The whole environment but for `PATH` (ours) and `LC_ALL=C`, which are always set.
    pub env: Vec<(String, CommandValue)>,
    pub cwd: Option<PathBuf>,
    /// Bytes for standard input; `None` closes it.
    pub stdin: Option<Vec<u8>>,
    /// For the whole run, input and output included.
    pub timeout: Duration,
    /// More than this on standard output ends the run with an error.
    pub output_max_bytes: usize,
    /// A folder that may not grow without end.
    pub fills: Option<FolderBound>,
}

/// More than `bytes_max` in the files of `folder`, those from before included, ends the run with an error.
#[derive(Debug, Clone)]
pub struct FolderBound {
    pub folder: PathBuf,
    pub bytes_max: u64,
}

/// The value of an environment variable, which may be a secret: Debug never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandValue(pub OsString);

impl std::fmt::Debug for CommandValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl<T: Into<OsString>> From<T> for CommandValue {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

/// What a finished program left.
#[derive(Debug, Clone)]
pub struct CommandOutput {
    /// Absent when a signal ended it.
    pub status_code: Option<i32>,
    pub stdout: Vec<u8>,
    /// At most [`STDERR_BYTES_MAX`] bytes of it, control and direction characters escaped.
    pub stderr: String,
}

/// Why a run has no output. The program may still have done what it was asked before it was stopped.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error("cannot start {program}")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("{program} did not finish within {timeout_s} s and was stopped")]
    Timeout { program: String, timeout_s: u64 },
    #[error("{program} wrote more than {bytes_max} bytes and was stopped")]
    OutputTooLarge { program: String, bytes_max: usize },
    #[error("{program} filled a folder with more than {bytes_max} bytes and was stopped")]
    FolderTooLarge { program: String, bytes_max: u64 },
    #[error("lost contact with {program}")]
    Io {
        program: String,
        #[source]
        source: io::Error,
    },
}

/// Runs a program to its end. When the future is dropped, the process group is asked to stop (SIGTERM).
///
/// # Errors
/// When it cannot start, runs out of time, or writes too much anywhere. A non-zero status is not an error here.
pub async fn run(spec: CommandSpec) -> Result<CommandOutput, CommandError> {
    let program = spec.program.to_string_lossy().into_owned();
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear();
    command.env("PATH", system::var("PATH").unwrap_or_else(|| PATH_DEFAULT.to_owned())).env("LC_ALL", "C");
    command.envs(spec.env.iter().map(|(name, value)| (name, &value.0)));
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    command.stdin(if spec.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);

    let mut child =
        command.spawn().map_err(|source| CommandError::Start { program: program.clone(), source })?;
    let mut group = Group::of(&child);
    let talk = converse(&mut child, spec.stdin, spec.output_max_bytes);
    let work = async {
        tokio::select! {
            ended = talk => ended,
            bytes_max = overfull(spec.fills.as_ref()) => Err(Stop::FolderTooLarge(bytes_max)),
        }
    };
    let failure = match tokio::time::timeout(spec.timeout, work).await {
        Ok(Ok((status, stdout, stderr))) => {
            group.disarm();
            return Ok(CommandOutput { status_code: status.code(), stdout, stderr: printable(&stderr) });
        }
        Ok(Err(Stop::TooLarge)) => CommandError::OutputTooLarge { program, bytes_max: spec.output_max_bytes },
        Ok(Err(Stop::FolderTooLarge(bytes_max))) => CommandError::FolderTooLarge { program, bytes_max },
        Ok(Err(Stop::Io(source))) => CommandError::Io { program, source },
        Err(_) => CommandError::Timeout { program, timeout_s: spec.timeout.as_secs() },
    };
    group.stop(&mut child).await;
    Err(failure)
}

enum Stop {
    TooLarge,
    FolderTooLarge(u64),
    Io(io::Error),
}

/// Ends when a folder holds more than it may; without a bound, never.
async fn overfull(bound: Option<&FolderBound>) -> u64 {
    let Some(FolderBound { folder, bytes_max }) = bound.cloned() else { return std::future::pending().await };
    loop {
        clock::wait(LOOK_EVERY).await;
        let folder = folder.clone();
        let looked = tokio::task::spawn_blocking(move || files::holds_more(&folder, bytes_max)).await;
        if looked.unwrap_or(true) {
            return bytes_max;
        }
    }
}

async fn converse(
    child: &mut Child,
    input: Option<Vec<u8>>,
    output_max_bytes: usize,
) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), Stop> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let (Some(mut pipe), Some(bytes)) = (stdin, input) {
            // A program may stop reading early on purpose; its status says whether that was a failure.
            let _ = pipe.write_all(&bytes).await;
        }
        Ok(())
    };
    let out = async {
        let (bytes, cut) = read_capped(stdout, output_max_bytes, true).await.map_err(Stop::Io)?;
        if cut { Err(Stop::TooLarge) } else { Ok(bytes) }
    };
    let err = async { read_capped(stderr, STDERR_BYTES_MAX, false).await.map_err(Stop::Io) };
    let ((), stdout, (stderr, _)) = tokio::try_join!(feed, out, err)?;
    let status = child.wait().await.map_err(Stop::Io)?;
    Ok((status, stdout, stderr))
}

/// Reads to the end, keeps at most `bytes_max`, and says whether there was more. With `stop`, gives up at the
/// first byte too many.
async fn read_capped(
    pipe: Option<impl AsyncRead + Unpin>,
    bytes_max: usize,
    stop: bool,
) -> io::Result<(Vec<u8>, bool)> {
    let (mut kept, mut cut) = (Vec::new(), false);
    let Some(mut pipe) = pipe else { return Ok((kept, cut)) };
    let mut chunk = [0_u8; 8192];
    loop {
        let read = pipe.read(&mut chunk).await?;
        if read == 0 {
            return Ok((kept, cut));
        }
        let take = read.min(bytes_max - kept.len());
        kept.extend_from_slice(&chunk[..take]);
        cut |= take < read;
        if cut && stop {
            return Ok((kept, cut));
        }
    }
}

/// The process group of a child: whatever it started is stopped with it.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // The group may be gone already, which is what was wanted.
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Ends when nobody of the group is left. A git that serves a push from a folder ends after the one that asked,
    /// and takes its lock files away first: killed before that, it would leave them to everybody.
    async fn gone(&self) {
        while self.0.is_some_and(|pid| test_kill_process_group(pid).is_ok()) {
            clock::wait(GONE_EVERY).await;
        }
    }

    async fn stop(&mut self, child: &mut Child) {
        self.signal(Signal::TERM);
        let ended = async {
            let _ = child.wait().await;
            self.gone().await;
        };
        let _ = tokio::time::timeout(GRACE, ended).await;
        // Also after a clean exit: a grandchild may have ignored the first signal.
        self.signal(Signal::KILL);
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
        self.disarm();
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// Makes bytes from outside safe for a terminal, a log line and a page: control, direction and invisible
/// characters become escapes, invalid UTF-8 the replacement character. Line feeds stay.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        if c != '\n' && is_unprintable(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

/// Would this character act on a terminal, or show another text than there is? C0 and C1 controls, direction
/// overrides (Trojan Source, CVE-2021-42574), joiners, tags and other characters without a form.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

impl CommandOutput {
    /// Whether the program ended by itself with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status_code == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Stopwatch;
    use super::*;

    fn sh(script: &str) -> CommandSpec {
        CommandSpec {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: Vec::new(),
            cwd: None,
            stdin: None,
            timeout: Duration::from_secs(20),
            output_max_bytes: 1024,
            fills: None,
        }
    }

    #[tokio::test]
    async fn the_environment_is_ours_and_the_input_closed() {
        let mut spec = sh("cat; env");
        spec.env.push(("ONLY".to_owned(), "this".into()));
        let out = run(spec).await.unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let mut names: Vec<_> = text.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        names.retain(|n| !matches!(*n, "PWD" | "_" | "SHLVL" | "OLDPWD"));
        assert_eq!(names, ["LC_ALL", "ONLY", "PATH"]);
    }

    #[tokio::test]
    async fn input_arrives_and_a_status_is_data() {
        let mut spec = sh("cat; echo oops >&2; exit 3");
        spec.stdin = Some(b"hello".to_vec());
        let out = run(spec).await.unwrap();
        assert_eq!((out.status_code, &out.stdout[..], &out.stderr[..]), (Some(3), &b"hello"[..], "oops\n"));
        let killed = run(sh("kill -9 $$")).await.unwrap();
        assert_eq!(killed.status_code, None);
    }

    #[tokio::test]
    async fn too_much_output_stops_the_program() {
        let error = run(sh("yes")).await.unwrap_err();
        assert!(matches!(error, CommandError::OutputTooLarge { bytes_max: 1024, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_program_that_fills_its_folder_is_stopped_and_one_that_does_not_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        files::create_private_dir(&below).unwrap();
        let filling = |script: &str| {
            let fills = FolderBound { folder: dir.path().to_owned(), bytes_max: 1 << 20 };
            CommandSpec { cwd: Some(below.clone()), fills: Some(fills), ..sh(script) }
        };
        let out = run(filling("head -c 1000000 /dev/zero > few; echo done")).await.unwrap();
        assert_eq!(out.stdout, b"done\n");
        // Many files, none of them large; then nothing more: it is still there when somebody looks.
        let many = "i=0; while [ $i -lt 100 ]; do head -c 10000 /dev/zero > $i; i=$((i+1)); done; sleep 60";
        let error = run(filling(many)).await.unwrap_err();
        assert!(matches!(error, CommandError::FolderTooLarge { bytes_max: 1_048_576, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_flood_on_standard_error_is_cut_and_does_not_block() {
        let out = run(sh("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo done")).await.unwrap();
        assert_eq!((out.stderr.len(), &out.stdout[..]), (STDERR_BYTES_MAX, &b"done\n"[..]));
    }

    #[tokio::test]
    async fn a_deadline_stops_the_whole_group_even_grandchildren_that_ignore_the_request() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("pid");
        let mut spec = sh(&format!(
            "(trap '' TERM; sh -c 'echo $PPID' > {}; while :; do sleep 1; done) & wait",
            mark.display()
        ));
        spec.timeout = Duration::from_secs(2);
        let watch = Stopwatch::start();
        let error = run(spec).await.unwrap_err();
        assert!(matches!(error, CommandError::Timeout { .. }), "{error:?}");
        assert!(watch.elapsed() < Duration::from_secs(15));
        let text = files::read_bounded(&mark, 20).unwrap();
        let pid = String::from_utf8(text).unwrap().trim().to_owned();
        let stat = format!("/proc/{pid}/stat");
        let running = || {
            // A zombie only waits to be reaped by the machine's first process.
            let stat = files::read_bounded(stat.as_ref(), 500).unwrap_or_default();
            let stat = String::from_utf8_lossy(&stat).into_owned();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['R', 'S', 'D']))
        };
        // The kernel delivers the signal in its own time.
        while running() && watch.elapsed() < Duration::from_secs(20) {
            tokio::task::yield_now().await;
        }
        assert!(!running());
    }

    #[tokio::test]
    async fn a_missing_program_says_its_name() {
        let mut spec = sh("");
        spec.program = "surely-not-installed-here".into();
        assert_eq!(run(spec).await.unwrap_err().to_string(), "cannot start surely-not-installed-here");
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor_or_forge_a_line() {
        assert_eq!(printable(b"\x1b]52;c;x\x07\r\x9b"), "\\u{1b}]52;c;x\\u{7}\\u{d}\u{fffd}");
        assert_eq!(printable("a\u{202e}b\u{2028}c\u{85}d\ne".as_bytes()), "a\\u{202e}b\\u{2028}c\\u{85}d\ne");
    }

    #[test]
    fn debug_of_a_run_shows_no_environment_value() {
        let mut spec = sh("");
        spec.env.push(("TOKEN".to_owned(), "canary".into()));
        assert!(!format!("{spec:?}").contains("canary"));
    }
}
