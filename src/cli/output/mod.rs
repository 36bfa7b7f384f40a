//! Everything that reaches standard output and standard error. Answers come in as values and pages, and leave
//! in the form that was asked for: columns for people, records for programs.
//!
//! Standard output is data only. Text of others never reaches a terminal as anything but text, and a broken
//! pipe is success: whoever reads decides when it is enough.

mod console;
pub mod expression;
mod format;
mod jsonpath;
pub mod links;
mod page;
mod query;
mod table;
mod terminal;
mod waiting;

pub use self::console::{Console, counted, fail, usage};
pub use self::format::{Format, FormatParser};
pub use self::page::{Page, Piece, Style, Symbol};
pub use self::table::Table;
pub use self::terminal::{ColorChoice, rfc3339};

use crate::outside::command::is_unprintable;

/// JSON with what a terminal would obey, or not show, written as `\uXXXX`: the same document. Only strings
/// hold such characters, so no parser is needed to find them.
#[must_use]
fn json_escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_unprintable(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_is_the_same_document_without_escapes_for_a_terminal() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}2J\u{7f}\u{e0041}\u{1b}]0;x\u{7}é\n", "b": [1] });
        let text = json_escaped(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.chars().any(|c| c != '\n' && is_unprintable(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.contains('é'));
    }
}
