//! What commands that check have in common: lines with a verdict, a bound on time, the page and the exit code.
//! Findings come in, the answer goes to standard output. What is checked is the command's own.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::failure::{Failure, Kind};
use super::output::{Console, Page, Symbol};
use crate::model::duration;
use crate::outside::clock::OutsideClock;

/// Most warnings of one kind that a person gets to read; programs get all.
const ALIKE_MAX: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
pub struct Line {
    check: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

pub fn pass(check: &'static str, detail: impl Into<String>) -> Line {
    Line { check, verdict: Verdict::Pass, detail: detail.into(), fix: None }
}

pub fn warn(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Line {
    Line { check, verdict: Verdict::Warn, detail: detail.into(), fix: Some(fix.into()) }
}

pub fn fail(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Line {
    Line { check, verdict: Verdict::Fail, detail: detail.into(), fix: Some(fix.into()) }
}

/// How far our clock is from somebody else's.
pub fn clock(whose: &str, outside: Option<OutsideClock>, max_skew_s: u32) -> Option<Line> {
    let outside = outside?;
    let skew = outside.seen_at.duration_since(outside.says).as_secs();
    Some(if skew.abs() > i64::from(max_skew_s) {
        let fix = "synchronise the clocks; nothing merges until then";
        fail("clock", format!("{skew} s away from {whose}"), fix)
    } else {
        pass("clock", format!("within {} s of {whose}", skew.abs() + 1))
    })
}

/// Runs `work` on a runtime of its own, for at most `timeout_s`. Whatever still waits for the outside afterwards
/// is given up.
///
/// # Errors
/// Those of `work` and of [`within`].
pub fn run<T>(
    timeout_s: Option<u32>,
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::No, "could not start").because(error))?;
    let outcome = runtime.block_on(within(timeout_s, what, work));
    runtime.shutdown_background();
    outcome
}

/// Gives `work` at most this many seconds, if any.
///
/// # Errors
/// Exit code 7 when they have passed; otherwise those of `work`.
pub async fn within<T>(
    timeout_s: Option<u32>,
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(seconds) = timeout_s else { return work.await };
    match tokio::time::timeout(Duration::from_secs(u64::from(seconds)), work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let after = duration::format_s(seconds);
            Err(Failure::new(Kind::TimedOut, format!("{what} did not finish within {after}"))
                .hint("give it more time with --timeout"))
        }
    }
}

/// Did nothing fail so far?
pub fn all_passed(lines: &[Line]) -> bool {
    lines.iter().all(|line| line.verdict != Verdict::Fail)
}

/// Prints what is known, however the checks ended; `more` is for programs.
///
/// # Errors
/// Exit code 1 when a check failed, or the error by which the checks ended.
pub fn conclude(
    lines: &[Line],
    more: Option<(&str, Value)>,
    outcome: Result<(), Failure>,
    console: &Console,
) -> Result<(), Failure> {
    if outcome.is_ok() || !lines.is_empty() {
        print(lines, more, console)?;
    }
    outcome?;
    if all_passed(lines) { Ok(()) } else { Err(Failure::answered_no()) }
}

fn print(lines: &[Line], more: Option<(&str, Value)>, console: &Console) -> Result<(), Failure> {
    let names: Vec<String> = lines.iter().map(|line| line.check.to_owned()).collect();
    let mut list = json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": lines });
    if let Some((key, value)) = more {
        list[key] = value;
    }
    console.answer(&names, &list, || {
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        let mut page = Page::new();
        for (at, line) in lines.iter().enumerate() {
            let alike = |it: &&Line| (it.check, it.verdict) == (line.check, Verdict::Warn);
            let before = lines[..at].iter().filter(alike).count();
            let all = lines.iter().filter(alike).count();
            if line.verdict == Verdict::Warn && before >= ALIKE_MAX && all > ALIKE_MAX + 1 {
                if before == ALIKE_MAX {
                    let more = all - ALIKE_MAX;
                    page.put(format!("               and {more} more like these: -o json has them all"))
                        .line();
                }
                continue;
            }
            page.put(match line.verdict {
                Verdict::Pass => Symbol::Done,
                Verdict::Warn => Symbol::Warning,
                Verdict::Fail => Symbol::Failed,
            });
            page.put(format!(" {:<12} {}", line.check, line.detail)).line();
            if let Some(fix) = &line.fix {
                page.put(format!("               → {fix}")).line();
            }
        }
        let (failed, warned) = (count(Verdict::Fail), count(Verdict::Warn));
        page.put(format!("{failed} failed, {warned} warned, {} passed", count(Verdict::Pass))).line();
        page
    })
}
