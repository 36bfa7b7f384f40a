//! Timestamps as go-yaml and sops read and write them: text comes in, RFC 3339 text goes out.

use jiff::civil::{Date, DateTime, Time};

/// Brings an RFC 3339 time into the form sops writes; `None` when it is none.
pub(super) fn rfc3339(text: &str) -> Option<String> {
    (text.len() >= 20 && text.as_bytes()[10] == b'T').then(|| parse(text, Separator::Zoned))?
}

/// A plain YAML scalar that go-yaml takes for a time: a date, a date and time with a zone, or one without and
/// with a space. Single digits are allowed in every field but the year.
pub(super) fn timestamp(text: &str) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits != 4 || text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    parse(text, Separator::Zoned)
        .or_else(|| parse(text, Separator::Space))
        .or_else(|| parse(text, Separator::DateOnly))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    /// `T` or `t`, and a zone at the end.
    Zoned,
    Space,
    DateOnly,
}

fn parse(text: &str, form: Separator) -> Option<String> {
    let mut rest = text;
    let year = number(&mut rest, 4, 4)?;
    let month = after(&mut rest, "-")?;
    let day = after(&mut rest, "-")?;
    let date = Date::new(i16::try_from(year).ok()?, narrow(month)?, narrow(day)?).ok()?;
    if form == Separator::DateOnly {
        return rest.is_empty().then(|| write(date.at(0, 0, 0, 0), "", "Z"));
    }
    let separators: &[char] = if form == Separator::Zoned { &['T', 't'] } else { &[' '] };
    rest = rest.strip_prefix(separators)?;
    let hour = number(&mut rest, 1, 2)?;
    let minute = after(&mut rest, ":")?;
    let second = after(&mut rest, ":")?;
    let time = Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, 0).ok()?;
    let fraction = fraction(&mut rest);
    let zone =
        if form == Separator::Zoned { zone(rest)? } else { rest.is_empty().then(|| "Z".to_owned())? };
    Some(write(date.to_datetime(time), &fraction, &zone))
}

fn write(at: DateTime, fraction: &str, zone: &str) -> String {
    let dot = if fraction.is_empty() { "" } else { "." };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{dot}{fraction}{zone}",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

fn narrow(number: u32) -> Option<i8> {
    i8::try_from(number).ok()
}

fn after(rest: &mut &str, separator: &str) -> Option<u32> {
    *rest = rest.strip_prefix(separator)?;
    number(rest, 1, 2)
}

fn number(rest: &mut &str, least: usize, most: usize) -> Option<u32> {
    let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let number = (digits >= least).then(|| rest[..digits].parse().ok())?;
    *rest = &rest[digits..];
    number
}

/// Nanoseconds without trailing zeros; what is finer is cut off.
fn fraction(rest: &mut &str) -> String {
    let Some(tail) = rest.strip_prefix(['.', ',']) else { return String::new() };
    let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return String::new();
    }
    *rest = &tail[digits..];
    tail[..digits.min(9)].trim_end_matches('0').to_owned()
}

fn zone(text: &str) -> Option<String> {
    if text == "Z" {
        return Some("Z".to_owned());
    }
    let mut rest = text.strip_prefix(['+', '-'])?;
    let hours = number(&mut rest, 2, 2)?;
    rest = rest.strip_prefix(':')?;
    let minutes = number(&mut rest, 2, 2)?;
    if hours >= 24 || minutes >= 60 || !rest.is_empty() {
        return None;
    }
    Some(if hours == 0 && minutes == 0 { "Z".to_owned() } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_the_form_that_go_writes() {
        for (text, canonical) in [
            ("2024-01-02", "2024-01-02T00:00:00Z"),
            ("2024-1-2", "2024-01-02T00:00:00Z"),
            ("2024-1-2T3:4:5Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02t03:04:05.1200Z", "2024-01-02T03:04:05.12Z"),
            ("2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05+02:00"),
            ("2024-01-02T03:04:05+00:00", "2024-01-02T03:04:05Z"),
            ("2024-01-02 03:04:05.123456789", "2024-01-02T03:04:05.123456789Z"),
        ] {
            assert_eq!(timestamp(text).as_deref(), Some(canonical), "{text}");
        }
        for text in [
            "2024",
            "2024-13-01",
            "2024-02-30",
            "2024-01-02T",
            "2024-01-02 03:04:05Z",
            "20240-1-1",
            "2024-01",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
        assert_eq!(rfc3339("2024-01-02T03:04:05.50Z").as_deref(), Some("2024-01-02T03:04:05.5Z"));
        assert_eq!(rfc3339("2024-01-02"), None);
    }
}
