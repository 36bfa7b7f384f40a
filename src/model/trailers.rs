//! Trailers: the `Key: value` lines that end a commit message. Pairs come in and a paragraph goes out, or a
//! message comes in and the pairs of its last paragraph go out. Values that strangers wrote are
//! percent-encoded, so none of them can add a line, a key or a paragraph. Never guesses: what tars did not
//! write is refused by [`parse`] and merely noticed by [`claims`].

use thiserror::Error;

/// Longest encoded value, bytes.
pub const MAX_VALUE_BYTES: usize = 256;
/// Most trailers of one message.
pub const MAX_TRAILERS: usize = 32;
/// Every key that tars writes starts with this.
pub const PREFIX: &str = "Tars-";

/// A trailer paragraph was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrailerError {
    #[error("the message has no trailer paragraph")]
    Missing,
    #[error("line {line} of the trailer paragraph is not 'Key: value' as tars writes it")]
    Line { line: usize },
    #[error("key {key:?} is not letters, digits and '-', starting with a letter, at most 64")]
    Key { key: String },
    #[error("key {key:?} stands twice")]
    Duplicate { key: String },
    #[error("the value of {key} is empty or longer than {MAX_VALUE_BYTES} bytes once encoded")]
    Length { key: String },
    #[error("more than {MAX_TRAILERS} trailers")]
    TooMany,
}

/// Percent-encodes everything outside `!`..=`~`, and `%` itself (RFC 3986 section 2.1, upper-case digits).
#[must_use]
pub fn encode(value: &str) -> String {
    encode_within(value, usize::MAX)
}

/// As [`encode`], cut between two characters so that at most `bytes_max` bytes come out.
#[must_use]
pub fn encode_within(value: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(value.len().min(bytes_max));
    for character in value.chars() {
        let whole = out.len();
        for &byte in character.encode_utf8(&mut [0; 4]).as_bytes() {
            if byte.is_ascii_graphic() && byte != b'%' {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        if out.len() > bytes_max {
            out.truncate(whole);
            break;
        }
    }
    out
}

/// Undoes [`encode`]; `None` for anything that [`encode`] would not have written.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = tail.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let value = String::from_utf8(bytes).ok()?;
    (encode(&value) == text).then_some(value)
}

fn check_key(key: &str) -> Result<(), TrailerError> {
    let fits = (1..=64).contains(&key.len())
        && key.as_bytes()[0].is_ascii_alphabetic()
        && key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if fits { Ok(()) } else { Err(TrailerError::Key { key: key.chars().take(80).collect() }) }
}

/// Keys compare as git compares them: without regard to case.
fn check_unique(pairs: &[(String, String)], key: &str) -> Result<(), TrailerError> {
    if pairs.len() == MAX_TRAILERS {
        return Err(TrailerError::TooMany);
    }
    match pairs.iter().any(|(other, _)| other.eq_ignore_ascii_case(key)) {
        true => Err(TrailerError::Duplicate { key: key.to_owned() }),
        false => Ok(()),
    }
}

/// The trailer paragraph of `pairs`, one line each, in the order given, with a final newline.
///
/// # Errors
/// [`TrailerError`] when a key breaks the grammar or stands twice, or a value is empty or too long.
pub fn write(pairs: &[(&str, &str)]) -> Result<String, TrailerError> {
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut text = String::new();
    for (key, value) in pairs {
        check_key(key)?;
        check_unique(&seen, key)?;
        let value = encode(value);
        if value.is_empty() || value.len() > MAX_VALUE_BYTES {
            return Err(TrailerError::Length { key: (*key).to_owned() });
        }
        text.push_str(&format!("{key}: {value}\n"));
        seen.push(((*key).to_owned(), value));
    }
    if seen.is_empty() { Err(TrailerError::Missing) } else { Ok(text) }
}

/// The pairs of the last paragraph of `message`, decoded, in the order they stand. Every line of that
/// paragraph must be a trailer as [`write()`] writes it; the subject paragraph is never one.
///
/// # Errors
/// [`TrailerError`] with the first line or key that breaks the grammar.
pub fn parse(message: &str) -> Result<Vec<(String, String)>, TrailerError> {
    let message = message.strip_suffix('\n').unwrap_or(message);
    let (_, paragraph) = message.rsplit_once("\n\n").ok_or(TrailerError::Missing)?;
    let mut pairs = Vec::new();
    for (index, line) in paragraph.split('\n').enumerate() {
        let refused = || TrailerError::Line { line: index + 1 };
        let (key, value) = line.split_once(": ").ok_or_else(refused)?;
        check_key(key)?;
        check_unique(&pairs, key)?;
        if value.is_empty() || value.len() > MAX_VALUE_BYTES {
            return Err(TrailerError::Length { key: key.to_owned() });
        }
        pairs.push((key.to_owned(), decode(value).ok_or_else(refused)?));
    }
    Ok(pairs)
}

/// Could any reader take this message for one of ours? True when a line after the subject starts, in any
/// case, with a `Tars-` key and a colon. Wider than git on purpose: a squash, a comment line or a divider
/// moves what git calls the trailer block, and a forgery must not hide behind the difference.
#[must_use]
pub fn claims(message: &str) -> bool {
    message.split(['\n', '\r']).skip(1).any(|line| {
        let Some((key, _)) = line.split_once(':') else { return false };
        let key = key.trim_end_matches([' ', '\t']);
        key.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
            && key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    })
}

#[cfg(test)]
#[path = "trailers_tests.rs"]
mod tests;
