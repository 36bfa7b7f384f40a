//! Reads a template of kubectl's JSONPath dialect.

use serde_json::{Number, Value};

use super::{Filter, Operand, Operator, Part, Path, Place, Step};
use crate::cli::output::expression::Mistake;

type Parsed<T> = Result<T, Mistake>;

const NO_LOGIC: &str =
    "kubectl's JSONPath has no and, or and regular expressions; --jq has: .items[] | select(.a == 1 and .b)";

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

/// The whole template.
pub(super) fn template(text: &str) -> Parsed<Vec<Part>> {
    let starts = text.trim_start();
    if !text.contains('{') && starts.starts_with(['.', '$', '@', '[']) {
        return Err(Mistake::new(0..text.len(), "this would be printed as it is")
            .hint("put the path into braces: -o jsonpath='{.items[*].metadata.name}'"));
    }
    let mut parser = Parser { text, at: 0 };
    let parts = parser.parts(None)?;
    Ok(parts)
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// The character here, or the end, is not what should stand here.
    fn wrong(&self, label: impl Into<String>) -> Mistake {
        let length = self.peek().map_or(0, char::len_utf8);
        Mistake::new(self.at..self.at + length, label)
    }

    fn expect(&mut self, token: &str, open: usize) -> Parsed<()> {
        if self.take(token) {
            return Ok(());
        }
        match self.peek() {
            None => Err(Mistake::new(open..open + 1, format!("no `{token}` closes this"))),
            Some(_) => Err(self.wrong(format!("expected `{token}`"))),
        }
    }

    /// Texts and `{...}` up to the end, or up to the `{end}` of the range that began at `range`.
    fn parts(&mut self, range: Option<usize>) -> Parsed<Vec<Part>> {
        let mut parts = Vec::new();
        loop {
            let text = self.rest().split('{').next().unwrap_or("");
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
                self.at += text.len();
            }
            let open = self.at;
            if !self.take("{") {
                return match range {
                    None => Ok(parts),
                    Some(at) => Err(Mistake::new(at..at + 5, "no {end} ends this range")),
                };
            }
            self.blanks();
            if self.word("end") {
                if range.is_none() {
                    return Err(Mistake::new(open..self.at, "there is no {range} to end here"));
                }
                self.close(open)?;
                return Ok(parts);
            }
            self.action(open, &mut parts)?;
        }
    }

    /// What stands between two braces: a range with its body, or texts and paths one after the other.
    fn action(&mut self, open: usize, parts: &mut Vec<Part>) -> Parsed<()> {
        let start = self.at;
        if self.word("range") {
            self.blanks();
            let over = self.path()?;
            self.close(open)?;
            let body = self.parts(Some(start))?;
            parts.push(Part::Range { over, body });
            return Ok(());
        }
        loop {
            self.blanks();
            match self.peek() {
                Some('}') if self.at > start => break,
                Some('"' | '\'') => parts.push(Part::Text(self.quoted()?)),
                Some('.' | '[' | '$' | '@') => parts.push(Part::Path(self.path()?)),
                Some('}') => return Err(self.wrong("there is nothing between the braces")),
                None => return Err(Mistake::new(open..open + 1, "no `}` closes this")),
                Some(_) => return Err(self.unknown()),
            }
        }
        self.close(open)
    }

    fn close(&mut self, open: usize) -> Parsed<()> {
        self.blanks();
        self.expect("}", open)
    }

    /// A keyword that ends where a word ends.
    fn word(&mut self, word: &str) -> bool {
        let follows = self.rest().strip_prefix(word).map(|it| it.chars().next());
        let ends = follows.is_some_and(|it| it.is_none_or(|c| !is_name(c)));
        if ends {
            self.at += word.len();
        }
        ends
    }

    /// Names what stands here and is not known.
    fn unknown(&self) -> Mistake {
        let rest = self.rest();
        for operator in ["&&", "||", "=~"] {
            if rest.starts_with(operator) {
                let at = self.at..self.at + operator.len();
                return Mistake::new(at, format!("there is no `{operator}`")).hint(NO_LOGIC);
            }
        }
        let word: String = rest.chars().take_while(|c| is_name(*c)).collect();
        if word.is_empty() {
            return self.wrong("expected a path, a quoted text, `range` or `end`");
        }
        let label = if rest[word.len()..].starts_with('(') {
            format!("there is no function `{word}`")
        } else {
            format!("`{word}` is no path; a path begins with a dot: `.{word}`")
        };
        Mistake::new(self.at..self.at + word.len(), label)
    }

    fn path(&mut self) -> Parsed<Path> {
        let from_root = self.take("$");
        let bare = from_root || self.take("@");
        let mut steps = Vec::new();
        loop {
            if self.take("..") {
                steps.push(Step::Descend);
                if self.peek() == Some('[') {
                    continue;
                }
                steps.push(self.member()?);
            } else if self.take(".") {
                match self.peek() {
                    Some('[') => {}
                    // `{.}` is the current element itself.
                    None | Some('}' | ')' | ' ') if steps.is_empty() => {
                        return Ok(Path { from_root, steps });
                    }
                    _ => steps.push(self.member()?),
                }
            } else if self.peek() == Some('[') {
                let open = self.at;
                self.at += 1;
                steps.extend(self.bracket(open)?);
            } else if steps.is_empty() && !bare {
                return Err(self.wrong("expected a path; it begins with `.`, `[`, `$` or `@`"));
            } else {
                return Ok(Path { from_root, steps });
            }
        }
    }

    /// The name after a dot; a backslash takes the next character as it is.
    fn member(&mut self) -> Parsed<Step> {
        if self.take("*") {
            return Ok(Step::All);
        }
        let start = self.at;
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    let Some(escaped) = self.peek() else {
                        return Err(self.wrong("a character must follow the backslash"));
                    };
                    name.push(escaped);
                    self.at += escaped.len_utf8();
                }
                c if is_name(c) => {
                    name.push(c);
                    self.at += c.len_utf8();
                }
                _ => break,
            }
        }
        if self.peek() == Some('(') {
            return Err(Mistake::new(start..self.at, format!("there is no function `{name}`")));
        }
        if name.is_empty() {
            return Err(self.wrong("expected a name").hint("other names go in quotes: ['a b']"));
        }
        Ok(Step::Member(name))
    }

    /// What stands in `[...]`, one or several.
    fn bracket(&mut self, open: usize) -> Parsed<Vec<Step>> {
        let mut branches = vec![self.branch(open)?];
        while self.take(",") {
            branches.push(self.branch(open)?);
        }
        self.expect("]", open)?;
        Ok(match branches.len() {
            1 => branches.remove(0),
            _ => vec![Step::Union(branches)],
        })
    }

    fn branch(&mut self, open: usize) -> Parsed<Vec<Step>> {
        self.blanks();
        let steps = match self.peek() {
            Some('*') => {
                self.at += 1;
                vec![Step::All]
            }
            Some('?') => {
                self.at += 1;
                vec![Step::Where(Box::new(self.filter()?))]
            }
            Some('\'') => self.names()?,
            Some('"') => vec![Step::Member(self.quoted()?)],
            Some('(') => {
                return Err(self.wrong("there are no scripts").hint("the last element is [-1]"));
            }
            None => return Err(Mistake::new(open..open + 1, "no `]` closes this")),
            Some(_) => vec![Step::Element(self.place()?)],
        };
        self.blanks();
        Ok(steps)
    }

    /// `'a.b'`: names between dots, as kubectl reads single quotes; a backslash takes a dot as it is.
    fn names(&mut self) -> Parsed<Vec<Step>> {
        let open = self.at;
        self.at += 1;
        let mut names = vec![String::new()];
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            let escaped = if c == '\\' { self.peek() } else { None };
            self.at += escaped.map_or(0, char::len_utf8);
            match (escaped.unwrap_or(c), names.last_mut()) {
                ('\'', _) if escaped.is_none() => {
                    return Ok(names.into_iter().map(Step::Member).collect());
                }
                ('.', _) if escaped.is_none() => names.push(String::new()),
                (c, Some(name)) => name.push(c),
                (_, None) => {}
            }
        }
        Err(Mistake::new(open..open + 1, "this quote is never closed"))
    }

    /// `2`, `-1`, `1:3`, `::2`.
    fn place(&mut self) -> Parsed<Place> {
        let start = self.at;
        let first = self.integer()?;
        if !self.take(":") {
            return first.map(Place::At).ok_or_else(|| {
                self.wrong("expected a number, `*`, `?(...)` or a quoted name").hint(
                    "elements: [0] [-1] [0,2] [1:4] [*]; members: ['name']; a condition: [?(@.a==\"b\")]",
                )
            });
        }
        let end = self.integer()?;
        let step = if self.take(":") { self.integer()? } else { None };
        match usize::try_from(step.unwrap_or(1)) {
            Ok(step) if step > 0 => Ok(Place::Slice(first, end, step)),
            _ => Err(Mistake::new(start..self.at, "the step of a slice is 1 or more")),
        }
    }

    fn integer(&mut self) -> Parsed<Option<i64>> {
        let sign = usize::from(self.rest().starts_with('-'));
        let digits = self.rest()[sign..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Ok(None);
        }
        let at = self.at..self.at + sign + digits;
        let number = self.text[at.clone()].parse();
        self.at = at.end;
        number.map(Some).map_err(|_| Mistake::new(at, "this number is too large"))
    }

    /// What follows `?`: `(@.a == "b")` or `(@.a)`.
    fn filter(&mut self) -> Parsed<Filter> {
        let open = self.at;
        self.expect("(", open.saturating_sub(1))?;
        let start = self.at;
        let left = self.operand()?;
        self.blanks();
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let operator = operators.into_iter().find(|(token, _)| self.take(token)).map(|it| it.1);
        let filter = match (operator, left) {
            (Some(operator), left) => {
                let right = self.operand()?;
                Filter::Compare { left, operator, right }
            }
            (None, Operand::Path(path)) => Filter::Exists(path),
            (None, Operand::Literal(_)) => {
                return Err(Mistake::new(start..self.at, "a condition compares, or names a path"));
            }
        };
        self.blanks();
        match self.peek() {
            Some(')') | None => {}
            Some('=') if !self.rest().starts_with("=~") => return Err(self.wrong("expected `==`")),
            Some(_) => return Err(self.unknown()),
        }
        self.expect(")", open)?;
        Ok(filter)
    }

    fn operand(&mut self) -> Parsed<Operand> {
        self.blanks();
        match self.peek() {
            Some('"' | '\'') => Ok(Operand::Literal(Value::String(self.quoted()?))),
            Some('@' | '$' | '.' | '[') => self.path().map(Operand::Path),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number().map(Operand::Literal),
            _ => {
                for (word, value) in
                    [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
                {
                    if self.word(word) {
                        return Ok(Operand::Literal(value));
                    }
                }
                let word: String = self.rest().chars().take_while(|c| is_name(*c)).collect();
                let at = self.at..self.at + word.len();
                Err(match word.is_empty() {
                    true => self.wrong("expected a path, a quoted text, a number, true or false"),
                    false => Mistake::new(at, format!("a text stands in quotes: \"{word}\"")),
                })
            }
        }
    }

    fn number(&mut self) -> Parsed<Value> {
        let length = self.rest().bytes().take_while(|c| c.is_ascii_digit() || b"+-.eE".contains(c)).count();
        let at = self.at..self.at + length;
        self.at = at.end;
        let number: Result<Number, _> = serde_json::from_str(&self.text[at.clone()]);
        number.map(Value::Number).map_err(|_| Mistake::new(at, "this is no number"))
    }

    /// A text in quotes, with the escapes of Go: `\n \t \r \\ \" \' \/ \uXXXX`.
    fn quoted(&mut self) -> Parsed<String> {
        let open = self.at;
        let Some(quote @ ('"' | '\'')) = self.peek() else {
            return Err(self.wrong("expected a name in quotes"));
        };
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(text),
                '\\' => text.push(self.escaped()?),
                c => text.push(c),
            }
        }
        Err(Mistake::new(open..open + 1, "this quote is never closed"))
    }

    fn escaped(&mut self) -> Parsed<char> {
        let start = self.at - 1;
        let Some(c) = self.peek() else {
            return Err(Mistake::new(start..self.at, "a character must follow the backslash"));
        };
        self.at += c.len_utf8();
        match c {
            'n' => Ok('\n'),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            '\\' | '"' | '\'' | '/' => Ok(c),
            'u' => {
                let digits = self.rest().get(..4).unwrap_or("");
                let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let code = code.filter(|_| !digits.starts_with('+'));
                self.at += if code.is_some() { 4 } else { 0 };
                code.ok_or_else(|| Mistake::new(start..self.at, "\\u is followed by four hex digits"))
            }
            _ => Err(Mistake::new(start..self.at, format!("there is no escape \\{c}"))),
        }
    }
}

/// A character of a member's name that needs no quotes.
fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '+' | '#' | '~' | '%')
}
