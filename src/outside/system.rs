//! The process and its machine: environment for `config`, names, terminal, and the request to stop.
//! Nothing is cached and nothing is interpreted.

#![expect(clippy::disallowed_methods, reason = "the one file that reads the environment")]

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use super::files;

/// Longest instance name taken from the machine: one DNS label (RFC 1123).
const INSTANCE_NAME_MAX: usize = 63;
/// SIGXFSZ on every processor that tars is built for.
const FILE_SIZE_EXCEEDED: i32 = 25;

/// An environment variable; absent when unset, empty or not UTF-8.
#[must_use]
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// As [`var`], but a variable that is set to nothing says so: `PAGER=` means "no pager".
#[must_use]
pub fn var_even_empty(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Every variable whose name is UTF-8.
#[must_use]
pub fn variables() -> Vec<(String, OsString)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
}

/// Folder for files that may go at any time.
#[must_use]
pub fn temp_dir() -> PathBuf {
    std::env::temp_dir()
}

/// The name this program was called by: a path when it was given one.
#[must_use]
pub fn program_name() -> String {
    std::env::args().next().unwrap_or_default()
}

/// The arguments after the program's name; what is not UTF-8 in them is replaced.
#[must_use]
pub fn arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned()).collect()
}

/// A name for this instance: the pod's or host's name, reduced to letters, digits and `-`; `tars` when there
/// is none. Not unique by itself.
#[must_use]
pub fn instance_name() -> String {
    let name = var("HOSTNAME")
        .or_else(|| {
            let bytes = files::read_bounded(Path::new("/proc/sys/kernel/hostname"), 256).ok()?;
            String::from_utf8(bytes).ok()
        })
        .unwrap_or_default();
    dns_label(&name)
}

fn dns_label(name: &str) -> String {
    let label: String = name
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(INSTANCE_NAME_MAX)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() { "tars".to_owned() } else { label.to_owned() }
}

/// Whether standard error is a terminal.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether standard output is a terminal.
#[must_use]
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Lines that the terminal on standard output shows at once; absent when it is none or does not say.
#[must_use]
pub fn terminal_rows() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0).then_some(usize::from(size.ws_row))
}

/// From now on a file that may not grow further is an error of that write, with its path, and not the end of the process
/// (SIGXFSZ, `setrlimit(2)`). To be called on a runtime; where it cannot be done, all stays as it was.
pub fn outlive_file_size_limits() {
    use tokio::signal::unix::{SignalKind, signal};
    // Whoever listens may go at once: the handler stays.
    drop(signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED)));
}

/// Resolves when the process is asked to stop: Ctrl-C or SIGTERM.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn stop_requested() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_name_is_always_a_dns_label() {
        assert_eq!(dns_label("tars-7d9f.Example_org\n"), "tars-7d9f-example-org");
        assert_eq!(dns_label("\u{202e}\n"), "tars");
        assert_eq!(dns_label(&"a".repeat(300)).len(), INSTANCE_NAME_MAX);
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(var("TARS_TEST_SURELY_UNSET"), None);
        assert!(var("PATH").is_some());
    }
}
