//! Where a value stands in a document, also when that is inside a text of the document (`patch: |-`). Paths and
//! documents come in; values, edits and one line of text for the record go out.

use std::fmt;

use serde_json::Value as Json;

use super::edit_refused;
use super::objects::{FieldPath, json};
use crate::model::reason::Reason;
use crate::yaml;

/// A path in a document, or in the YAML text at a path of the document. Text form: `spec.replicas`, or
/// `patches[0].patch|spec.replicas` with the path of the text before the bar; `patches[0].patch|1|spec.replicas`
/// in the second document of that text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address {
    /// The text that holds the value.
    pub text: Option<FieldPath>,
    /// Position of the document in the text; `None`: it has only one.
    pub nth: Option<usize>,
    pub path: FieldPath,
}

impl From<FieldPath> for Address {
    fn from(path: FieldPath) -> Self {
        Self { text: None, nth: None, path }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => match self.nth {
                Some(nth) => write!(f, "{text}|{nth}|{}", self.path),
                None => write!(f, "{text}|{}", self.path),
            },
            None => write!(f, "{}", self.path),
        }
    }
}

impl Address {
    /// Reads the text form; `None` when it is malformed or empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (outer, path) = match bar(text) {
            Some(at) => (Some(FieldPath::parse(&text[..at])?), &text[at + 1..]),
            None => (None, text),
        };
        let (nth, path) = match bar(path).filter(|_| outer.is_some()) {
            Some(at) => (Some(path[..at].parse().ok()?), &path[at + 1..]),
            None => (None, path),
        };
        let path = FieldPath::parse(path).filter(|p| !p.0.is_empty())?;
        Some(Self { text: outer, nth, path })
    }

    /// The same text, another path in it.
    #[must_use]
    pub fn with(&self, path: FieldPath) -> Self {
        Self { text: self.text.clone(), nth: self.nth, path }
    }

    /// The value that the path is followed in: the document, or a document of the text.
    #[must_use]
    pub fn ground(&self, document: &Json) -> Option<Json> {
        let Some(text) = &self.text else { return Some(document.clone()) };
        let text = text.find(document)?.as_str()?;
        self.chosen(&yaml::read(text.as_bytes()).ok()?).map(|it| json(&it.root))
    }

    /// The document of the text that is meant; `None` when that is not said.
    fn chosen<'d>(&self, documents: &'d [yaml::Document]) -> Option<&'d yaml::Document> {
        match (self.nth, documents) {
            (Some(nth), _) => documents.get(nth),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// The value here; null counts as absent.
    #[must_use]
    pub fn find(&self, document: &Json) -> Option<Json> {
        self.path.find(&self.ground(document)?).filter(|v| !v.is_null()).cloned()
    }

    /// Is this a whole number that every reader agrees on, written plainly?
    #[must_use]
    pub fn is_plain_count(&self, root: &yaml::Node) -> bool {
        let at = |path: &FieldPath| yaml::Path::parse(&path.to_string()).ok();
        let Some(path) = at(&self.path) else { return false };
        match &self.text {
            None => root.at(&path).is_ok_and(is_plain_number),
            Some(text) => {
                let text = at(text).and_then(|text| root.at(&text).ok()).and_then(yaml::Node::text);
                let documents = text.and_then(|text| yaml::read(text.as_bytes()).ok()).unwrap_or_default();
                self.chosen(&documents).is_some_and(|it| it.root.at(&path).is_ok_and(is_plain_number))
            }
        }
    }

    /// An edit at this place. `make` gets the document and the path that its own edit is to name.
    ///
    /// # Errors
    /// `EditRefused` when the path cannot be written down.
    pub fn edit(
        &self,
        document: usize,
        make: impl FnOnce(usize, yaml::Path) -> yaml::Edit,
    ) -> Result<yaml::Edit, Reason> {
        let written = |path: &FieldPath| {
            yaml::Path::parse(&path.to_string()).map_err(|e| edit_refused(format!("{path} is no path: {e}")))
        };
        let path = written(&self.path)?;
        match &self.text {
            None => Ok(make(document, path)),
            Some(text) => inside(document, written(text)?, make(self.nth.unwrap_or_default(), path)),
        }
    }
}

/// An edit of the YAML text at `path`.
fn inside(document: usize, path: yaml::Path, edit: yaml::Edit) -> Result<yaml::Edit, Reason> {
    Ok(yaml::Edit::Inside { document, path, edit: Box::new(edit) })
}

fn is_plain_number(node: &yaml::Node) -> bool {
    node.as_scalar().is_some_and(|scalar| {
        let digits = scalar.text.as_bytes();
        scalar.style == yaml::Style::Plain
            && scalar.tag.is_none()
            && (1..=9).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit)
            && (digits.len() == 1 || digits[0] != b'0')
    })
}

/// The bar that is not inside quotes.
fn bar(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '|' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::objects::Step;
    use super::*;

    fn path() -> impl Strategy<Value = FieldPath> {
        let step = prop_oneof![
            "[a-z|.\"\\\\\\[\\] =/]{0,6}".prop_map(Step::Key),
            "[a-z|.\"\\\\\\[\\] =/]{0,6}".prop_map(Step::Named),
            (0usize..9).prop_map(Step::At),
        ];
        prop::collection::vec(step, 1..5).prop_map(FieldPath)
    }

    proptest! {
        #[test]
        fn what_is_written_down_reads_back(
            text in prop::option::of(path()), nth in prop::option::of(0usize..12), path in path(),
        ) {
            let nth = nth.filter(|_| text.is_some());
            let address = Address { text, nth, path };
            prop_assert_eq!(Address::parse(&address.to_string()), Some(address));
        }
    }

    #[test]
    fn a_value_inside_a_text_is_found() {
        let document = serde_json::json!({"patches": [{"patch": "spec: {replicas: 3}\n"}, {"patch": "a: 1\n---\nb: 2\n"}]});
        let at = |text: &str| Address::parse(text).unwrap().find(&document);
        assert_eq!(at("patches[0].patch|spec.replicas"), Some(3.into()));
        assert_eq!(at("patches[0].patch|spec.paused"), None);
        assert_eq!(at("patches[1].patch|a"), None, "which document is not said");
        assert_eq!(at("patches[1].patch|1|b"), Some(2.into()));
        assert_eq!(at("patches[1].patch|2|b"), None);
        assert_eq!(Address::parse("a|x|b"), None);
        assert_eq!(Address::parse("a|"), None);
        assert_eq!(Address::parse(""), None);
    }
}
