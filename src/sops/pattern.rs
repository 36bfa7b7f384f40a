//! Patterns of rules, as Go's `regexp` reads them: a pattern comes in, an engine that finds the same goes out.
//! Rust's engine is of the same family; only the Perl classes differ, which are ASCII in Go.

use regex::{Regex, RegexBuilder};

use super::error::SopsError;

/// Largest compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// An unanchored pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Compiles; `field` names where the pattern stands.
    pub(super) fn new(field: &'static str, text: &str) -> Result<Self, SopsError> {
        let regex = RegexBuilder::new(&ascii_classes(text))
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|source| SopsError::Pattern { field, source })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn finds(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Writes the Perl classes out as the ASCII sets they are in Go.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    let mut class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next();
                let set = match escaped {
                    Some('d') => "[0-9]",
                    Some('D') => "[^0-9]",
                    Some('w') => "[0-9A-Za-z_]",
                    Some('W') => "[^0-9A-Za-z_]",
                    Some('s') => r"[\t\n\f\r\x20]",
                    Some('S') => r"[^\t\n\f\r\x20]",
                    Some('b') if !class => r"(?-u:\b)",
                    _ => {
                        out.push('\\');
                        out.extend(escaped);
                        continue;
                    }
                };
                out.push_str(set);
                continue;
            }
            '[' if !class => class = true,
            // In Go a bracket inside a class is a bracket, except for `[:alpha:]`.
            '[' if !chars.as_str().starts_with(':') => out.push('\\'),
            '[' => {
                let end = chars.as_str().find(":]").map_or(0, |at| at + 2);
                let (named, rest) = chars.as_str().split_at(end);
                out.push('[');
                out.push_str(named);
                chars = rest.chars();
                continue;
            }
            ']' => class = false,
            '&' | '~' if class => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perl_classes_are_ascii_as_in_go() {
        let finds = |pattern: &str, text: &str| Pattern::new("x", pattern).unwrap().finds(text);
        assert!(finds(r"^\w+$", "abc_1") && !finds(r"^\w+$", "é"));
        assert!(finds(r"^[\w-]+$", "a-b") && !finds(r"^[\w-]+$", "a-é"));
        assert!(finds(r"^\D$", "é") && !finds(r"^\d$", "\u{664}"));
        assert!(finds(r"\bdata\b", "a data b") && !finds(r"\bdata\b", "adata"));
        assert!(finds("^(data|stringData)$", "data") && !finds("^(data|stringData)$", "metadata"));
        assert!(finds("data", "metadata"));
        assert!(finds("^[[:alpha:]]+$", "ab") && finds("^[a[]$", "[") && finds(r"^\.$", "."));
        assert!(finds("^[&&a]$", "&") && !finds("^[a&&b]$", "c"));
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_refused_with_its_place() {
        for bad in ["(", "(?=a)", r"(a)\1", "a{100000}{100000}"] {
            assert!(matches!(Pattern::new("encrypted_regex", bad), Err(SopsError::Pattern { .. })), "{bad}");
        }
    }
}
