//! Addresses inside a document: text such as `spec.containers[name=app].image` comes in, steps go out, and
//! back.

use super::error::YamlError;
use std::fmt;
use std::str::FromStr;

/// One step from a node to a child.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The value of a mapping's key.
    Key(String),
    /// The only list item that is a mapping with this scalar under this key.
    Item { key: String, value: String },
    /// The list item at this index, from 0.
    Index(usize),
}

/// The way from a document's root to a node; empty is the root itself.
///
/// Text form: keys joined by dots, `[name=app]` for an item, `[0]` for an index; a key or value with one of
/// `. [ ] = " \` or white space in it, or an empty one, stands in double quotes with `\"` and `\\` escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`YamlError::BadPath`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        let mut rest = Rest { all: text, at: 0 };
        let mut steps = Vec::new();
        while let Some(next) = rest.peek() {
            match next {
                '[' => steps.push(rest.bracket()?),
                '.' if steps.is_empty() => return Err(rest.error("a path starts with a key or an item")),
                '.' => {
                    rest.at += 1;
                    steps.push(Step::Key(rest.word(&['.', '[', ']', '=', '"'])?));
                }
                _ if steps.is_empty() => steps.push(Step::Key(rest.word(&['.', '[', ']', '=', '"'])?)),
                _ => return Err(rest.error("expected a dot or a bracket")),
            }
        }
        Ok(Self(steps))
    }

    /// The path of a mapping entry below this one.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.push(Step::Key(key.into()));
        self
    }

    #[cfg(test)]
    /// The path of a list item below this one.
    #[must_use]
    pub fn item(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push(Step::Item { key: key.into(), value: value.into() });
        self
    }

    /// The steps from the root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

struct Rest<'a> {
    all: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn peek(&self) -> Option<char> {
        self.all[self.at..].chars().next()
    }

    fn error(&self, reason: &'static str) -> YamlError {
        YamlError::BadPath { path: self.all.to_owned(), reason }
    }

    fn word(&mut self, ends: &[char]) -> Result<String, YamlError> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let rest = &self.all[self.at..];
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        if word.is_empty() || word.contains(char::is_whitespace) || word.contains('\\') {
            return Err(
                self.error("a key that is empty or has a space or a backslash in it needs double quotes")
            );
        }
        self.at += word.len();
        Ok(word.to_owned())
    }

    fn quoted(&mut self) -> Result<String, YamlError> {
        let mut word = String::new();
        let mut escaped = false;
        for (at, c) in self.all[self.at..].char_indices().skip(1) {
            match c {
                '"' | '\\' if escaped => word.push(c),
                _ if escaped => return Err(self.error("only \\\" and \\\\ are escapes")),
                '"' => {
                    self.at += at + 1;
                    return Ok(word);
                }
                '\\' => {}
                c => word.push(c),
            }
            escaped = c == '\\' && !escaped;
        }
        Err(self.error("a quote is not closed"))
    }

    fn bracket(&mut self) -> Result<Step, YamlError> {
        self.at += 1;
        let quoted = self.peek() == Some('"');
        let key = self.word(&['=', ']'])?;
        let step = if self.peek() == Some('=') {
            self.at += 1;
            Step::Item { key, value: self.word(&[']'])? }
        } else if quoted {
            return Err(self.error("expected key=value in the brackets"));
        } else {
            Step::Index(
                key.parse().map_err(|_| self.error("expected an index or key=value in the brackets"))?,
            )
        };
        if self.peek() != Some(']') {
            return Err(self.error("a bracket is not closed"));
        }
        self.at += 1;
        Ok(step)
    }
}

fn write_word(f: &mut fmt::Formatter<'_>, word: &str) -> fmt::Result {
    let plain = !word.is_empty()
        && !word.contains(|c: char| matches!(c, '.' | '[' | ']' | '=' | '"' | '\\') || c.is_whitespace());
    if plain {
        f.write_str(word)
    } else {
        write!(f, "\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    if at > 0 {
                        f.write_str(".")?;
                    }
                    write_word(f, key)?;
                }
                Step::Item { key, value } => {
                    f.write_str("[")?;
                    write_word(f, key)?;
                    f.write_str("=")?;
                    write_word(f, value)?;
                    f.write_str("]")?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Path {
    type Err = YamlError;

    fn from_str(text: &str) -> Result<Self, YamlError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_items_and_indexes_are_told_apart() {
        let path = Path::parse("spec.containers[name=app].args[0].\"a.b/c\"").unwrap();
        let expected = Path::default().key("spec").key("containers").item("name", "app").key("args");
        assert_eq!(path.0[..4], expected.0[..]);
        assert_eq!(path.0[4..], [Step::Index(0), Step::Key("a.b/c".into())]);
        assert_eq!(Path::parse("").unwrap(), Path::default());
        assert_eq!(Path::parse("[image=nginx:1.25]").unwrap(), Path::default().item("image", "nginx:1.25"));
    }

    #[test]
    fn a_malformed_path_is_refused() {
        for text in
            [".a", "a.", "a..b", "a[", "a[]", "a[x]", "a[1", "a[n=]", "a\"b\"", "\"a", "a b", "a]", "a=b"]
        {
            assert!(matches!(Path::parse(text), Err(YamlError::BadPath { .. })), "{text:?}");
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            "\\PC{0,8}".prop_map(Step::Key),
            ("\\PC{0,8}", "\\PC{0,8}").prop_map(|(key, value)| Step::Item { key, value }),
            any::<usize>().prop_map(Step::Index),
        ]
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_back(steps in prop::collection::vec(step(), 0..6)) {
            let path = Path(steps);
            prop_assert_eq!(Path::parse(&path.to_string()).unwrap(), path);
        }
    }
}
