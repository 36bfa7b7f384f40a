//! What `--jq` and `-o jsonpath=` have in common: bounds, and an error that points at its place.
//! An expression and a place in it come in, a few lines with a caret go out.

use std::ops::Range;

use super::page::harmless;
use crate::cli::failure::{Failure, Kind};

/// Longest expression. Both languages nest, and a parser nests with them.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting of brackets in an expression: far below what a stack holds.
pub const NESTING_MAX: usize = 64;
/// Most that one expression may print: an expression may repeat its input without end.
pub const RESULT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Characters shown before and after the place of a mistake.
const SHOWN: usize = 36;

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Bytes of the expression; empty at its end.
    pub at: Range<usize>,
    /// What stands there, or what is missing there.
    pub label: String,
    pub hint: Option<&'static str>,
}

impl Mistake {
    #[must_use]
    pub fn new(at: Range<usize>, label: impl Into<String>) -> Self {
        Self { at, label: label.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// The mistake as an error of the command line. `flag` is where the expression came from.
    #[must_use]
    pub fn in_expression(&self, flag: &str, text: &str) -> Failure {
        let lines = pointed(flag, text, &self.at, &self.label);
        let failure = Failure::usage(format!("the expression of {flag} is not valid\n{lines}"));
        match self.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Is the expression small and flat enough to be read at all?
///
/// # Errors
/// [`Mistake`] at the first byte or bracket too many.
pub fn bounded(text: &str) -> Result<(), Mistake> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let end = text.len();
        return Err(Mistake::new(end..end, format!("longer than {EXPRESSION_BYTES_MAX} bytes")));
    }
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Err(Mistake::new(at..at + 1, format!("nested deeper than {NESTING_MAX}")));
        }
    }
    Ok(())
}

/// The expression does not fit the data.
#[must_use]
pub fn unfit(flag: &str, why: impl std::fmt::Display) -> Failure {
    let why = harmless(&why.to_string(), false, true);
    let why: String = why.chars().take(400).collect();
    Failure::new(Kind::Usage, format!("the expression of {flag} does not fit this answer: {why}"))
        .hint("-o json shows the answer it works on")
}

/// A place in an expression, as rustc points at one.
fn pointed(flag: &str, text: &str, at: &Range<usize>, label: &str) -> String {
    let start = text.floor_char_boundary(at.start);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |it| start + it);
    let end = text.floor_char_boundary(at.end.clamp(start, line_end));
    let column = text[line_start..start].chars().count() + 1;

    let left: Vec<char> = text[line_start..start].chars().collect();
    let cut_left = left.len().saturating_sub(SHOWN);
    let left: String = left[cut_left..].iter().collect();
    let here: String = text[start..end].chars().take(SHOWN).collect();
    let right: String = text[end..line_end].chars().take(SHOWN).collect();
    let mark = |cut: bool| if cut { "..." } else { "" };
    let left = format!("{}{}", mark(cut_left > 0), harmless(&left, false, true));
    let here = harmless(&here, false, true);
    let shown = format!(
        "{left}{here}{}{}",
        harmless(&right, false, true),
        mark(text[end..line_end].chars().count() > SHOWN)
    );
    let carets = "^".repeat(here.chars().count().max(1));
    let (number, gutter) = (line.to_string(), " ".repeat(line.to_string().len()));
    let blanks = " ".repeat(left.chars().count());
    let label = harmless(label, false, true);
    format!(
        "{gutter}--> {flag}:{line}:{column}\n\
         {gutter} |\n\
         {number} | {shown}\n\
         {gutter} | {blanks}{carets} {label}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_pointed_at() {
        let shown = Mistake::new(6..7, "this bracket is never closed").in_expression("--jq", ".items[");
        assert_eq!(
            shown.render(),
            "error: the expression of --jq is not valid\n \
             --> --jq:1:7\n  |\n1 | .items[\n  |       ^ this bracket is never closed\n"
        );
    }

    #[test]
    fn a_mistake_at_the_end_in_another_line_or_a_long_line_has_its_caret_too() {
        let end = pointed("--jq", ".a |", &(4..4), "expected a term");
        assert!(end.ends_with("1 | .a |\n  |     ^ expected a term"), "{end}");
        let second = pointed("--jq", ".a\n| ?", &(5..6), "what?");
        assert!(second.contains("--jq:2:3") && second.ends_with("2 | | ?\n  |   ^ what?"), "{second}");
        let long = format!("{}?{}", ".a".repeat(100), "b".repeat(100));
        let cut = pointed("--jq", &long, &(200..201), "what?");
        assert!(cut.lines().all(|it| it.chars().count() < 90), "{cut}");
        let lines: Vec<&str> = cut.lines().collect();
        assert_eq!(lines[2].find('?'), lines[3].find('^'), "{cut}");
    }

    #[test]
    fn an_expression_is_bounded_in_length_and_depth() {
        assert_eq!(bounded(&"[".repeat(NESTING_MAX)), Ok(()));
        assert_eq!(bounded(&"[]".repeat(1000)), Ok(()));
        assert!(bounded(&"(".repeat(NESTING_MAX + 1)).is_err());
        assert!(bounded(&"a".repeat(EXPRESSION_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn places_inside_a_character_do_not_panic() {
        for start in 0..8 {
            for end in start..9 {
                let _ = pointed("--jq", "é→💣", &(start..end), "x");
            }
        }
    }
}
