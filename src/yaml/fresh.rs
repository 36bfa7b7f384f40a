//! New values before they have bytes: what an edit adds, and its spelling in block and flow notation.

use super::node::Style;
use super::scalar::{self, Place, Value};

/// A value that an edit writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Fresh {
    Scalar(Value),
    Map(Vec<(String, Fresh)>),
    List(Vec<Fresh>),
}

/// How the surroundings are laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Columns between a key and the keys nested under it.
    pub step: usize,
    /// Columns between a key and the dashes of the list under it.
    pub dash: usize,
    /// Quotes of the strings around.
    pub quotes: Style,
    pub eol: &'static str,
    pub place: Place,
}

impl Fresh {
    /// Wraps a value into one mapping per key, outermost first.
    pub fn nested(keys: &[String], value: Fresh) -> Fresh {
        keys.iter().rev().fold(value, |value, key| Fresh::Map(vec![(key.clone(), value)]))
    }

    /// Every text in it, keys too.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Scalar(Value::Text(text)) => vec![text],
            Self::Scalar(_) => Vec::new(),
            Self::Map(entries) => {
                entries.iter().flat_map(|(key, value)| [vec![key.as_str()], value.texts()].concat()).collect()
            }
            Self::List(items) => items.iter().flat_map(Fresh::texts).collect(),
        }
    }

    /// In one line: `{a: 1, b: [x]}`.
    pub fn flow(&self, layout: Layout) -> String {
        let layout = Layout { place: Place { flow: true, ..layout.place }, ..layout };
        match self {
            Self::Scalar(value) => scalar::spell(value, layout.quotes, layout.place),
            Self::Map(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| flow_entry(key, value, layout)).collect();
                format!("{{{}}}", entries.join(", "))
            }
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.flow(layout)).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

/// `key: value` for a flow mapping.
pub fn flow_entry(key: &str, value: &Fresh, layout: Layout) -> String {
    let layout = Layout { place: Place { flow: true, ..layout.place }, ..layout };
    format!("{}: {}", spell_key(key, layout.place), value.flow(layout))
}

fn spell_key(key: &str, place: Place) -> String {
    scalar::spell(&Value::Text(key.to_owned()), Style::Plain, place)
}

/// `key: value` for a block mapping whose keys are at `column`; the first line is not indented and the last
/// has no line break.
pub fn block_entry(key: &str, value: &Fresh, column: usize, layout: Layout) -> String {
    let key = spell_key(key, layout.place);
    let nested = column + layout.step;
    match value {
        Fresh::Map(entries) if !entries.is_empty() => {
            format!("{key}:{}{}", layout.eol, block_entries(entries, nested, layout))
        }
        Fresh::List(items) if !items.is_empty() => {
            format!("{key}:{}{}", layout.eol, block_items(items, column + layout.dash, layout))
        }
        Fresh::Scalar(value) => format!("{key}: {}", scalar::spell(value, layout.quotes, layout.place)),
        empty => format!("{key}: {}", empty.flow(layout)),
    }
}

/// The lines of a block mapping, each indented by `column`.
pub fn block_entries(entries: &[(String, Fresh)], column: usize, layout: Layout) -> String {
    let margin = " ".repeat(column);
    let lines: Vec<String> = entries
        .iter()
        .map(|(key, value)| format!("{margin}{}", block_entry(key, value, column, layout)))
        .collect();
    lines.join(layout.eol)
}

/// The lines of a block list whose dashes are at `column`.
pub fn block_items(items: &[Fresh], column: usize, layout: Layout) -> String {
    let lines: Vec<String> = items.iter().map(|item| block_item(item, column, 2, layout)).collect();
    lines.join(layout.eol)
}

/// One block list item with its dash at `column` and its content `offset` columns right of it.
pub fn block_item(item: &Fresh, column: usize, offset: usize, layout: Layout) -> String {
    let dash = format!("{}-{}", " ".repeat(column), " ".repeat(offset - 1));
    match item {
        Fresh::Map(entries) if !entries.is_empty() => {
            let lines = block_entries(entries, column + offset, layout);
            format!("{dash}{}", &lines[column + offset..])
        }
        Fresh::Scalar(value) => format!("{dash}{}", scalar::spell(value, layout.quotes, layout.place)),
        other => format!("{dash}{}", other.flow(layout)),
    }
}
