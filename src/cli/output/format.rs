//! `-o`: which form an answer takes. A word comes in, a form goes out.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// How an answer is printed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// Columns for people, with more of them.
    Wide,
    /// One JSON document; lists are a `kind: List` object.
    Json,
    /// The same as YAML.
    Yaml,
    /// One name per line.
    Name,
    /// A template of kubectl's JSONPath, filled in from the JSON document.
    JsonPath(String),
}

/// What begins a template.
const JSONPATH: &str = "jsonpath=";

/// Words and what they mean, for help and completion.
const WORDS: [(&str, &str); 6] = [
    ("table", "columns for people"),
    ("wide", "columns for people, with more of them"),
    ("json", "one document; lists are a `kind: List` object"),
    ("yaml", "the same as YAML"),
    ("name", "one name per line"),
    (JSONPATH, "a template, as kubectl's: jsonpath='{.items[*].metadata.name}'"),
];

impl Format {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            _ => Self::JsonPath(text.strip_prefix(JSONPATH)?.to_owned()),
        })
    }
}

/// Reads `-o`. A parser of its own, because `jsonpath=` is no fixed word.
#[derive(Debug, Clone, Copy)]
pub struct FormatParser;

impl TypedValueParser for FormatParser {
    type Value = Format;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Format, clap::Error> {
        let text = value.to_string_lossy();
        Format::parse(&text).ok_or_else(|| {
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
            let named = argument.map_or_else(|| "-o".to_owned(), ToString::to_string);
            let words = WORDS.iter().map(|(word, _)| (*word).to_owned()).collect();
            error.insert(ContextKind::InvalidArg, ContextValue::String(named));
            error.insert(ContextKind::InvalidValue, ContextValue::String(text.into_owned()));
            error.insert(ContextKind::ValidValue, ContextValue::Strings(words));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(WORDS.iter().map(|(word, help)| PossibleValue::new(*word).help(*help))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_in_the_help_is_read_and_no_other() {
        for (word, _) in WORDS {
            assert!(Format::parse(word).is_some(), "{word}");
        }
        assert_eq!(Format::parse("jsonpath={.a=b}"), Some(Format::JsonPath("{.a=b}".to_owned())));
        for word in ["", "xml", "JSON", "jsonpath", "go-template={{.a}}", "custom-columns=A:.a"] {
            assert_eq!(Format::parse(word), None, "{word}");
        }
    }
}
