//! A person's stop of everything: the file SUSPENDED, read. Its text comes in; why, and until when, goes out. What cannot
//! be read is a stop without an end.

use std::fmt;

use jiff::Timestamp;

/// What stands before the end, on a line of its own.
const UNTIL: &str = "Until: ";
/// Most characters of a reason that are shown.
const REASON_CHARS_MAX: usize = 200;

/// Nothing merges by itself, while it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    pub reason: String,
    /// `None`: until somebody takes it back.
    pub until: Option<Timestamp>,
}

impl Suspension {
    /// Reads the file: its first line says why, a later one may say until when. An end that is no time, or is said twice, is
    /// none: a stop that lasts too long costs less than one that ends too early.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let reason = lines.next().unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        let mut ends = lines.filter_map(|it| it.strip_prefix(UNTIL));
        let until = match (ends.next(), ends.next()) {
            (Some(one), None) => one.trim().parse().ok(),
            _ => None,
        };
        Self { reason, until }
    }

    /// The same as a file, with `note` for people below it. The reason is one line.
    #[must_use]
    pub fn text(&self, note: &str) -> String {
        let until = self.until.map_or_else(String::new, |it| format!("{UNTIL}{it}\n"));
        format!("{}\n\n{until}{note}\n", self.reason)
    }

    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Does it hold at every time at which `other` does?
    #[must_use]
    pub fn outlasts(&self, other: &Self) -> bool {
        match (self.until, other.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own >= other,
        }
    }
}

impl fmt::Display for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            Some(until) => write!(f, "{} (until {until})", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_stop_ends_at_its_time_and_not_a_second_before() {
        let until = Some(at("2026-11-23T12:00:00Z"));
        let stop = Suspension { reason: "load test".into(), until };
        let text = stop.text("Since today, by ann.");
        assert_eq!(text, "load test\n\nUntil: 2026-11-23T12:00:00Z\nSince today, by ann.\n");
        assert_eq!(Suspension::read(&text), stop);
        assert!(stop.holds(at("2026-11-23T11:59:59Z")) && !stop.holds(at("2026-11-23T12:00:00Z")));
        assert_eq!(stop.to_string(), "load test (until 2026-11-23T12:00:00Z)");
    }

    #[test]
    fn what_is_no_end_is_a_stop_without_one() {
        for text in [
            "",
            "why",
            "Until: 2026-11-23T12:00:00Z",
            "why\nUntil: soon",
            "why\nUntil: ",
            "why\nuntil: 2026-11-23T12:00:00Z",
            "why\n Until: 2026-11-23T12:00:00Z",
            "why\nUntil: 2026-11-23T12:00:00",
            "why\nUntil: 2026-11-23T12:00:00Z\nUntil: 2026-11-23T12:00:00Z",
        ] {
            let stop = Suspension::read(text);
            assert!(stop.holds(at("2999-01-01T00:00:00Z")), "{text:?}: {stop:?}");
        }
    }

    #[test]
    fn the_longer_stop_is_told_apart() {
        let stop = |until: Option<&str>| Suspension { reason: String::new(), until: until.map(at) };
        let (early, late, never) =
            (stop(Some("2026-11-23T12:00:00Z")), stop(Some("2026-11-23T13:00:00Z")), stop(None));
        assert!(late.outlasts(&early) && never.outlasts(&late) && early.outlasts(&early));
        assert!(!early.outlasts(&late) && !late.outlasts(&never));
    }
}
