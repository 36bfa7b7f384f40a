//! A YAML file as values that know where they stand. Text comes in, one tree per document goes out.
//! Nothing is edited or written here, and aliases are never followed.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde_json::Value as Json;

/// Deepest nesting that is read; a policy needs seven.
const MAX_DEPTH: usize = 32;

/// Where something stands: 1-based line and column, and its length in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub line: u32,
    pub column: u32,
    pub length: u32,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1, length: 1 };

    fn of(span: Span) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let one_line = span.start.line() == span.end.line();
        let length = if one_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        Self {
            line: narrow(span.start.line()),
            column: narrow(span.start.col()).saturating_add(1),
            length: narrow(length.max(1)),
        }
    }
}

/// The text is not YAML, or not of a kind that a policy may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub place: Place,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    /// Duplicate keys are kept, in order.
    Map(Vec<Entry>),
    /// An alias, or a value with an explicit tag.
    Indirect,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

impl Node {
    /// The child below `segment`: a key, or an index into a list.
    fn child(&self, segment: &str) -> Option<(Place, &Self)> {
        match &self.value {
            Value::Map(entries) => {
                let entry = entries.iter().find(|it| it.key == segment)?;
                Some((entry.key_place, &entry.node))
            }
            Value::List(nodes) => {
                let node = nodes.get(segment.parse::<usize>().ok()?)?;
                Some((node.place, node))
            }
            _ => None,
        }
    }

    /// Where the value at the dotted `path` stands (`spec.actions.0.type`): the scalar itself, or the key of
    /// a collection. Of a path that does not exist: the deepest part that does.
    pub(super) fn at(&self, path: &str) -> Place {
        let mut here = self;
        let mut place = self.place;
        for segment in path.split('.') {
            let Some((key_place, node)) = here.child(segment) else { break };
            place = if matches!(node.value, Value::Map(_) | Value::List(_) | Value::Null) {
                key_place
            } else {
                node.place
            };
            here = node;
        }
        place
    }

    /// The key of the entry at the dotted `path`, for problems with the field and not with its value.
    pub(super) fn key_at(&self, path: &str) -> Place {
        let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
        let mut here = self;
        for segment in parent.split('.').filter(|it| !it.is_empty()) {
            let Some((_, node)) = here.child(segment) else { return self.at(path) };
            here = node;
        }
        here.child(last).map_or_else(|| self.at(path), |(key_place, _)| key_place)
    }

    /// The text of the entry `key`.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.child(key)?.1.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The tree without its places and without fields that are null, as Kubernetes drops them. A
    /// [`Value::Indirect`] becomes null; the shape check has refused it by then.
    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::Null | Value::Indirect => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(value) => Json::Number(value.clone()),
            Value::Text(value) => Json::String(value.clone()),
            Value::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let given = entries.iter().filter(|it| !matches!(it.node.value, Value::Null));
                given.map(|it| (it.key.clone(), it.node.to_json())).collect()
            }
        }
    }
}

/// Every document of `text`, in order.
///
/// # Errors
/// The first [`Fault`] of the file.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Fault> {
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder { parser: Parser::new_from_str_with_options(text, options) };
    let mut documents = Vec::new();
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => documents.push(builder.node(event, span, 0)?),
        }
    }
}

struct Builder<'text> {
    parser: Parser<'text, StrInput<'text>>,
}

impl<'text> Builder<'text> {
    fn next(&mut self) -> Result<(Event<'text>, Span), Fault> {
        match self.parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let place = Place::of(Span::empty(*error.marker()));
                Err(Fault { place, message: error.info() })
            }
            None => Err(Fault { place: Place::START, message: "the file ends unexpectedly".into() }),
        }
    }

    fn node(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Node, Fault> {
        let place = Place::of(span);
        if depth > MAX_DEPTH {
            return Err(Fault { place, message: format!("nested deeper than {MAX_DEPTH} levels") });
        }
        let (value, tagged) = match event {
            Event::Scalar(text, style, _, tag) => (scalar(text, style), tag.is_some()),
            Event::SequenceStart(_, _, tag) => (self.list(depth)?, tag.is_some()),
            Event::MappingStart(_, _, tag) => (self.map(depth)?, tag.is_some()),
            _ => (Value::Indirect, false),
        };
        Ok(Node { place, value: if tagged { Value::Indirect } else { value } })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(nodes)),
                (event, span) => nodes.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut entries = Vec::new();
        loop {
            let (key, key_place) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(text, ..), span) => (text.into_owned(), Place::of(span)),
                (_, span) => {
                    return Err(Fault { place: Place::of(span), message: "a key must be plain text".into() });
                }
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, key_place, node });
        }
    }
}

/// The core schema of YAML 1.2, chapter 10.3.2, without octal and hexadecimal numbers: they stay text, and a
/// number field refuses them.
fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.into_owned());
    }
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let looks_like_a_number =
        text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let number = if looks_like_a_number {
        let integer = text.parse::<i64>().ok().map(serde_json::Number::from);
        integer.or_else(|| text.parse::<f64>().ok().and_then(serde_json::Number::from_f64))
    } else {
        None
    };
    number.map_or_else(|| Value::Text(text.into_owned()), Value::Number)
}
