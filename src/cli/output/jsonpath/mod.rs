//! `-o jsonpath=`: kubectl's dialect of JSONPath, a template of texts and `{...}`. A template and an answer
//! come in, text goes out. Pure and bounded; what it does not know is refused by name, never skipped.
//!
//! | in a template | means |
//! |---|---|
//! | `text` | itself |
//! | `{"\n"}` | a text with escapes |
//! | `{.a.b}` `{['a.b']}` | members; one that is not there gives nothing |
//! | `{.a\.b}` `{['a\.b']}` `{["a.b"]}` | a member with a dot in its name |
//! | `{[0]}` `{[-1]}` `{[0,2]}` `{['a','b']}` `{[1:4:2]}` `{[*]}` `{.*}` | elements and members |
//! | `{..a}` | `a` at any depth |
//! | `{.items[?(@.a=="b")]}` | elements for which it holds: `== != < <= > >=`, or that there is such a thing |
//! | `{$}` `{@}` | the whole answer; the current element |
//! | `{range .items[*]}...{end}` | the part between, once per element |
//!
//! Several results of one `{...}` stand apart by a blank; texts are raw, everything else is compact JSON.
//! Source: <https://kubernetes.io/docs/reference/kubectl/jsonpath/>. Unlike there, `$` is the whole answer
//! inside a range too.

mod eval;
mod parse;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::expression::bounded;
use crate::cli::failure::Failure;

/// Where the expression comes from, for messages.
const FLAG: &str = "-o jsonpath";

/// A template that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Path(Path),
    Range { over: Path, body: Vec<Part> },
}

/// Where to start, and the steps from there.
#[derive(Debug, Clone, PartialEq)]
struct Path {
    from_root: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// The member of this name.
    Member(String),
    /// Elements by place; a negative one counts from the end.
    Element(Place),
    /// What each of these finds, one after the other.
    Union(Vec<Vec<Step>>),
    /// Every member or element.
    All,
    /// The value and everything in it.
    Descend,
    /// Elements for which it holds.
    Where(Box<Filter>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    At(i64),
    /// From, up to and not with, every so many.
    Slice(Option<i64>, Option<i64>, usize),
}

#[derive(Debug, Clone, PartialEq)]
enum Filter {
    Exists(Path),
    Compare { left: Operand, operator: Operator, right: Operand },
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a template.
    ///
    /// # Errors
    /// A usage error that points at the mistake.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        bounded(text)
            .and_then(|()| parse::template(text))
            .map(|parts| Self { parts })
            .map_err(|mistake| mistake.in_expression(FLAG, text))
    }

    /// Fills in the template.
    ///
    /// # Errors
    /// When an element is asked for that is not there, when something else than a list is filtered, or when a
    /// bound is met. `raw` makes a text of others fit for where it is shown.
    pub fn run(&self, answer: &Value, raw: &dyn Fn(&str) -> String) -> Result<String, Failure> {
        eval::run(&self.parts, answer, raw).map_err(|why| super::expression::unfit(FLAG, why))
    }
}
