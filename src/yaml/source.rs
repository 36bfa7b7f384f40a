//! Geometry of a text: lines, columns and line endings by byte offset, and replacing byte ranges.

use super::MAX_SOURCE_BYTES;
use super::error::YamlError;
use std::ops::Range;

/// Replace these bytes by this text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    pub range: Range<usize>,
    pub text: String,
}

impl Splice {
    pub fn insert(at: usize, text: impl Into<String>) -> Self {
        Self { range: at..at, text: text.into() }
    }

    pub fn delete(range: Range<usize>) -> Self {
        Self { range, text: String::new() }
    }
}

/// Checks the bounds on raw bytes and decodes them.
pub fn text(source: &[u8]) -> Result<&str, YamlError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(YamlError::Bound { what: "bytes", limit: MAX_SOURCE_BYTES, line: 1 });
    }
    std::str::from_utf8(source).map_err(|error| {
        let good = &source[..error.valid_up_to()];
        YamlError::NotUtf8 { line: 1 + good.iter().filter(|b| **b == b'\n').count() }
    })
}

/// Applies splices; their ranges do not overlap and are in any order.
pub fn splice(source: &str, splices: &[Splice]) -> Option<String> {
    let mut ordered: Vec<&Splice> = splices.iter().collect();
    ordered.sort_by_key(|splice| splice.range.start);
    let mut out = String::with_capacity(source.len() + splices.iter().map(|s| s.text.len()).sum::<usize>());
    let mut at = 0;
    for splice in ordered {
        out.push_str(source.get(at..splice.range.start)?);
        out.push_str(&splice.text);
        at = splice.range.end;
    }
    out.push_str(source.get(at..)?);
    Some(out)
}

/// Offset of the first byte of the line `at` is on; a byte order mark belongs to no line.
pub fn line_start(source: &str, at: usize) -> usize {
    match source[..at].rfind('\n') {
        Some(newline) => newline + 1,
        None if source.starts_with('\u{feff}') && at >= 3 => 3,
        None => 0,
    }
}

/// Offset of the line break that ends the line `at` is on, or the end of the text.
pub fn line_end(source: &str, at: usize) -> usize {
    match source[at..].find('\n') {
        Some(newline) if source[..at + newline].ends_with('\r') && newline > 0 => at + newline - 1,
        Some(newline) => at + newline,
        None => source.len(),
    }
}

/// Offset of the first byte of the next line, or the end of the text.
pub fn next_line(source: &str, at: usize) -> usize {
    source[at..].find('\n').map_or(source.len(), |newline| at + newline + 1)
}

/// Column in characters, from 0.
pub fn column(source: &str, at: usize) -> usize {
    source[line_start(source, at)..at].chars().count()
}

/// Whether only white space stands before `at` on its line.
pub fn opens_line(source: &str, at: usize) -> bool {
    source[line_start(source, at)..at].bytes().all(|b| b == b' ')
}

/// The line ending in use around `at`: of its line, else of the line before, else a line feed.
pub fn line_break(source: &str, at: usize) -> &'static str {
    let newline = source[at..].find('\n').map(|n| at + n).or_else(|| source[..at].rfind('\n'));
    match newline {
        Some(newline) if source[..newline].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// From the end of one token forward to an indicator that opens the next node, over white space, comments,
/// the mapping colon, anchors and tags. `None` when something else comes first.
pub fn find_indicator(source: &str, from: usize, wanted: &[u8]) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut at = from;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            byte if wanted.contains(&byte) => return Some(at),
            b' ' | b'\t' | b'\r' | b'\n' | b':' => at += 1,
            b'#' => at = line_end(source, at),
            b'&' | b'!' => {
                at += bytes[at..].iter().take_while(|b| !b.is_ascii_whitespace()).count();
            }
            // A dash before a wanted `|`: the list item that holds the block scalar.
            b'-' | b'?' | b',' => at += 1,
            0xef if source[at..].starts_with('\u{feff}') => at += 3,
            _ => return None,
        }
    }
    None
}
