//! Shows a text in the pager of whoever sits at the terminal.
//! In: program, arguments, text. The program is started as it is, never through a shell, and the text reaches
//! it on its standard input only. The environment is the person's own, because a pager needs the terminal's
//! settings; `less` is told to run nothing.

#![expect(clippy::disallowed_methods, reason = "a pager owns the terminal; outside::command takes it away")]

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::system;

/// Runs the pager until it is closed. A pager that is closed early has shown enough.
///
/// # Errors
/// When it cannot be started; nothing was shown then.
pub fn show(program: &str, args: &[String], text: &[u8]) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // Ctrl-C is the pager's to understand: without a handler it would end us, and leave the terminal to
        // two programs.
        let _interrupts = signal(SignalKind::interrupt())?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).env("LESSSECURE", "1");
        // F: leave at once when it fits; R: colours and links, no other escapes; X: keep the screen.
        for (variable, value) in [("LESS", "FRX"), ("LV", "-c")] {
            if system::var(variable).is_none() {
                command.env(variable, value);
            }
        }
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(text).await;
        }
        let _ = child.wait().await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_arrives_and_the_arguments_are_no_shell_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("$(echo shown); x");
        let args = [
            "-c".to_owned(),
            "cat > \"$0\"; echo $LESSSECURE >> \"$0\"".to_owned(),
            file.display().to_string(),
        ];
        show("sh", &args, b"one\ntwo\n").unwrap();
        let shown = super::super::files::read_bounded(&file, 100).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), "one\ntwo\n1\n");
    }

    #[test]
    fn a_pager_that_is_closed_early_or_fails_is_no_error_and_a_missing_one_is() {
        let text = vec![b'x'; 1 << 20];
        show("true", &[], &text).unwrap();
        show("false", &[], &text).unwrap();
        assert!(show("tars-no-such-pager", &[], &text).is_err());
    }
}
