//! The line that says on a terminal that a command still works. It appears after a second, is wiped before
//! anything else is printed, and never reaches a pipe, a log or a terminal that cannot take a line back.

use std::io::{self, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Nobody wonders before this has passed.
const PATIENCE: Duration = Duration::from_secs(1);
const FRAME: Duration = Duration::from_millis(200);
const FRAMES_PER_SECOND: u64 = 5;
/// Back to the first column, and erase what stands there (ECMA-48 `EL`).
const WIPE: &[u8] = b"\r\x1b[K";

/// A line that stands for as long as this lives.
#[derive(Debug)]
pub struct Waiting {
    /// Hanging up ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waiting {
    /// Says `text` once a second has passed, with the seconds since.
    #[must_use]
    pub fn start(text: &str, unicode: bool) -> Self {
        let (stop, stopped) = mpsc::channel();
        let text = text.to_owned();
        let thread = thread::spawn(move || {
            let (mut pause, mut frame) = (PATIENCE, 0);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                draw(&line(&text, frame, unicode));
                (pause, frame) = (FRAME, frame + 1);
            }
            if frame > 0 {
                put(WIPE);
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.stop = None;
        // A thread that panicked has nothing on the terminal that anybody could still wipe.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn line(text: &str, frame: u64, unicode: bool) -> String {
    let turning = if unicode { ["◐", "◓", "◑", "◒"] } else { ["|", "/", "-", "\\"] };
    let seconds = PATIENCE.as_secs() + frame / FRAMES_PER_SECOND;
    let dots = if unicode { "…" } else { "..." };
    format!("{} {text}{dots} {seconds} s", turning[(frame % 4) as usize])
}

fn draw(line: &str) {
    put(&[WIPE, line.as_bytes()].concat());
}

/// Nobody can be told if this fails.
fn put(bytes: &[u8]) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(bytes).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_turns_and_counts_seconds() {
        assert_eq!(line("reading", 0, false), "| reading... 1 s");
        assert_eq!(line("reading", 3, false), "\\ reading... 1 s");
        assert_eq!(line("reading", 10, true), "◑ reading… 3 s");
    }

    #[test]
    fn what_ends_before_anybody_wonders_is_never_drawn() {
        let watch = crate::outside::clock::Stopwatch::start();
        drop(Waiting::start("reading", false));
        assert!(watch.elapsed() < PATIENCE, "ending does not wait for the line");
    }
}
