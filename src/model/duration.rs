//! Durations as people write them in policies and settings: `90s`, `10m`, `1h30m`.

use thiserror::Error;

/// The text is no duration; says what was given and how one looks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{given:?} is not a duration such as `90s`, `10m` or `1h30m`; days are written in hours")]
pub struct InvalidDuration {
    pub given: String,
}

/// Seconds of a duration in the notation of Go's `time.ParseDuration`, restricted to whole numbers of
/// `h`, `m` and `s`, each at most once and in this order. `0` needs no unit there, so it needs none here.
///
/// # Errors
/// [`InvalidDuration`] for anything else, and for more than `u32::MAX` seconds.
pub fn parse_s(text: &str) -> Result<u32, InvalidDuration> {
    // An attacker-sized duration must not become an attacker-sized error message.
    let invalid = || InvalidDuration { given: text.chars().take(40).collect() };
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total_s: u32 = 0;
    for (unit, unit_s) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, tail)) = rest.split_once(unit) else { continue };
        if number.is_empty() || !number.bytes().all(|c| c.is_ascii_digit()) {
            return Err(invalid());
        }
        let number: u32 = number.parse().map_err(|_| invalid())?;
        total_s = number.checked_mul(unit_s).and_then(|s| total_s.checked_add(s)).ok_or_else(invalid)?;
        rest = tail;
    }
    if rest.is_empty() && !text.is_empty() { Ok(total_s) } else { Err(invalid()) }
}

/// The shortest text that [`parse_s`] reads back as `seconds`.
#[must_use]
pub fn format_s(seconds: u32) -> String {
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, seconds) in
            [("0", 0), ("0s", 0), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h0m5s", 3605)]
        {
            assert_eq!(parse_s(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "10",
            "m",
            "-5m",
            "+5m",
            "1.5h",
            "5m1h",
            "5m5m",
            "1d",
            "10 m",
            "99999999h",
            "4294967296s",
            "1h ",
        ] {
            assert!(parse_s(bad).is_err(), "{bad:?} must be refused");
        }
    }

    proptest! {
        #[test]
        fn every_duration_survives_being_written_and_read(seconds: u32) {
            prop_assert_eq!(parse_s(&format_s(seconds)), Ok(seconds));
        }
    }
}
