//! Everything that reaches standard output: tables for people, records for programs.
//! A broken pipe is success: whoever reads decides when it is enough.

use std::io::{self, Write as _};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::failure::{Failure, Kind};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Columns for people
    #[default]
    Table,
    /// Columns for people, with more of them
    Wide,
    /// One JSON document; lists are a `kind: List` object
    Json,
    /// The same as YAML
    Yaml,
    /// One name per line
    Name,
}

/// Writes `text` to standard output. Characters that would drive a terminal or reorder a line show as
/// escapes: much of what is printed was written by strangers, and nothing of ours needs them.
///
/// # Errors
/// Only for a real write error; a closed pipe is not one.
pub fn data(text: &str) -> Result<(), Failure> {
    let text = harmless(text, |c| c.escape_unicode().to_string());
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Kind::No, "could not write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

/// Control characters but for line ends and tabs, and those that no reader sees or that turn a line around.
fn harmless(text: &str, escape: impl Fn(char) -> String) -> String {
    let deceives = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if deceives(c) { safe.push_str(&escape(c)) } else { safe.push(c) }
    }
    safe
}

/// Writes talk (progress, warnings) to standard error; nobody can be told if that fails. Escapes as [`data`].
pub fn talk(text: &str) {
    let text = harmless(text, |c| c.escape_unicode().to_string());
    let mut err = anstream::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.write_all(b"\n"));
}

/// `1 signal`, `3 signals`.
#[must_use]
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Rows under upper-case headers, columns three spaces apart. `wide` headers and cells are shown only with
/// `-o wide`.
#[derive(Debug, Default)]
pub struct Table {
    pub headers: Vec<&'static str>,
    /// How many of the headers, from the right, are for `-o wide` only.
    pub wide: usize,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        let columns =
            if format == Format::Wide { self.headers.len() } else { self.headers.len() - self.wide };
        let header: Vec<String> = self.headers.iter().map(|it| (*it).to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&self.rows).collect();
        let width = |column: usize| {
            lines.iter().map(|row| row.get(column).map_or(0, |it| it.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in lines {
            let mut line = String::new();
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                line.push_str(cell);
                let pad = width + 3 - cell.chars().count();
                line.extend(std::iter::repeat_n(' ', pad));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Prints a list in the chosen format. `names` and `items` run in step.
///
/// # Errors
/// When the items cannot be serialised or written.
pub fn list<T: Serialize>(
    format: Format,
    table: &Table,
    names: &[String],
    items: &[T],
    empty: &str,
) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide if items.is_empty() => {
            talk(empty);
            Ok(())
        }
        Format::Table | Format::Wide => data(&table.render(format)),
        Format::Name => data(&names.iter().map(|name| format!("{name}\n")).collect::<String>()),
        Format::Json | Format::Yaml => {
            record(format, &json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": items }))
        }
    }
}

/// Prints one record as JSON (`-o json`) or YAML (anything else).
///
/// # Errors
/// When it cannot be serialised or written.
pub fn record<T: Serialize>(format: Format, item: &T) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Kind::No, format!("could not print: {error}"));
    let text = match format {
        Format::Json => {
            let value: Value = serde_json::to_value(item).map_err(|error| failed(&error))?;
            let text = serde_json::to_string_pretty(&value).map_err(|error| failed(&error))? + "\n";
            // All of them stand inside strings, and none is beyond the first plane.
            harmless(&text, |c| format!("\\u{:04x}", u32::from(c)))
        }
        _ => yaml_serde::to_string(item).map_err(|error| failed(&error))?,
    };
    data(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_drive_a_terminal_is_escaped_and_json_stays_what_it_was() {
        let evil = "a\u{1b}]52;c;x\u{7}\u{9b}b\u{202e}c\td\n";
        let shown = harmless(evil, |c| c.escape_unicode().to_string());
        assert_eq!(shown, "a\\u{1b}]52;c;x\\u{7}\\u{9b}b\\u{202e}c\td\n");
        let json = serde_json::to_string(&json!({ "text": evil })).unwrap();
        let safe = harmless(&json, |c| format!("\\u{:04x}", u32::from(c)));
        assert!(safe.is_ascii());
        assert_eq!(serde_json::from_str::<Value>(&safe).unwrap()["text"], evil);
    }

    #[test]
    fn a_table_lines_up_and_hides_its_wide_columns() {
        let table = Table {
            headers: vec!["NAME", "STATE", "REASON"],
            wide: 1,
            rows: vec![vec!["a".into(), "Proposed".into(), "x".into()], vec!["long-name".into(), "é".into()]],
        };
        assert_eq!(table.render(Format::Table), "NAME        STATE\na           Proposed\nlong-name   é\n");
        assert!(table.render(Format::Wide).contains("Proposed   x\n"));
    }
}
