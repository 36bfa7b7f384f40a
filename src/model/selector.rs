//! Which series a person means: a vector selector as PromQL writes it, `name{label="value", other=~"re.*"}`. Text
//! comes in, a checked selector goes out that says yes or no to labels. It evaluates nothing.

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Most matchers of one selector.
const MATCHERS_MAX: usize = 32;
/// Longest selector, bytes.
const TEXT_BYTES_MAX: usize = 4_096;
/// Largest compiled expression, bytes.
const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// The label that holds a metric's name.
pub const NAME_LABEL: &str = "__name__";

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}, at character {at}")]
pub struct SelectorError {
    pub what: String,
    /// 1-based.
    pub at: usize,
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    NotEqual(String),
    Match(Regex),
    NoMatch(Regex),
}

/// A checked selector. At least one of its matchers does not match an absent label.
#[derive(Debug, Clone)]
pub struct Selector {
    matchers: Vec<(String, Test)>,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`SelectorError`] says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(SelectorError { what: format!("longer than {TEXT_BYTES_MAX} bytes"), at: 1 });
        }
        let mut reader = Reader { text, at: 0 };
        let selector = Self { matchers: reader.selector()? };
        // PromQL refuses these too: they name everything.
        if selector.matchers.iter().all(|(_, test)| test.accepts("")) {
            return Err(reader.wrong("it matches every series; name a metric or a label"));
        }
        Ok(selector)
    }

    /// The metric's name, when only one can match.
    #[must_use]
    pub fn metric(&self) -> Option<&str> {
        self.matchers.iter().find_map(|(label, test)| match test {
            Test::Equal(name) if label == NAME_LABEL => Some(name.as_str()),
            _ => None,
        })
    }

    /// The value that the label must have, when only one can match.
    #[must_use]
    pub fn equal(&self, name: &str) -> Option<&str> {
        self.matchers.iter().find_map(|(label, test)| match test {
            Test::Equal(value) if label == name => Some(value.as_str()),
            _ => None,
        })
    }

    /// Labels that anything is said about, in the order of the text.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.matchers.iter().map(|(label, _)| label.as_str())
    }

    /// Does it mean the series with these labels? `value` gives a label's value, and "" for one that is absent.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> &'a str) -> bool {
        self.matchers.iter().all(|(label, test)| test.accepts(value(label)))
    }
}

impl Test {
    fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Equal(wanted) => wanted == value,
            Self::NotEqual(other) => other != value,
            Self::Match(regex) => regex.is_match(value),
            Self::NoMatch(regex) => !regex.is_match(value),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: impl Into<String>) -> SelectorError {
        let before = self.text.get(..self.at).unwrap_or_default();
        SelectorError { what: what.into(), at: before.chars().count() + 1 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn selector(&mut self) -> Result<Vec<(String, Test)>, SelectorError> {
        let mut matchers = Vec::new();
        self.space();
        if let Some(name) = self.word(|c| c.is_ascii_alphanumeric() || "_:.".contains(c)) {
            matchers.push((NAME_LABEL.to_owned(), Test::Equal(name.to_owned())));
        }
        self.space();
        if self.take("{") {
            self.matchers(&mut matchers)?;
        }
        self.space();
        if !self.rest().is_empty() {
            let fix = "a selector ends here; it has no function, operator or range";
            return Err(self.wrong(fix));
        }
        if matchers.is_empty() {
            return Err(self.wrong("there is no selector"));
        }
        Ok(matchers)
    }

    fn matchers(&mut self, matchers: &mut Vec<(String, Test)>) -> Result<(), SelectorError> {
        loop {
            self.space();
            if self.take("}") {
                return Ok(());
            }
            if matchers.len() == MATCHERS_MAX {
                return Err(self.wrong(format!("more than {MATCHERS_MAX} matchers")));
            }
            let matcher = self.matcher()?;
            matchers.push(matcher);
            self.space();
            if !self.take(",") && !self.rest().starts_with('}') {
                return Err(self.wrong("expected , or }"));
            }
        }
    }

    fn matcher(&mut self) -> Result<(String, Test), SelectorError> {
        let quoted = self.rest().starts_with(['"', '\'', '`']);
        let label = match quoted {
            true => self.string()?,
            false => self.word(|c| c.is_ascii_alphanumeric() || c == '_').unwrap_or_default().to_owned(),
        };
        if label.is_empty() {
            return Err(self.wrong("expected the name of a label"));
        }
        self.space();
        // A lone string in braces is the metric's name.
        if quoted && self.rest().starts_with([',', '}']) {
            return Ok((NAME_LABEL.to_owned(), Test::Equal(label)));
        }
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|it| self.take(it));
        let Some(operator) = operator else { return Err(self.wrong("expected =, !=, =~ or !~")) };
        self.space();
        let value = self.string()?;
        let test = match operator {
            "=" => Test::Equal(value),
            "!=" => Test::NotEqual(value),
            "=~" => Test::Match(self.regex(&value)?),
            _ => Test::NoMatch(self.regex(&value)?),
        };
        Ok((label, test))
    }

    /// Matches the whole value, as PromQL does.
    fn regex(&self, text: &str) -> Result<Regex, SelectorError> {
        let whole = format!("^(?s:{text})$");
        let built = RegexBuilder::new(&whole).size_limit(REGEX_BYTES_MAX).build();
        built.map_err(|_| self.wrong(format!("{text:?} is no expression that can be used")))
    }

    fn word(&mut self, part: impl Fn(char) -> bool) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).filter(|it| !it.is_empty() && !it.starts_with(|c: char| c.is_ascii_digit()))
    }

    fn string(&mut self) -> Result<String, SelectorError> {
        let Some(quote) = self.rest().chars().next().filter(|it| "\"'`".contains(*it)) else {
            return Err(self.wrong("expected a text in quotes"));
        };
        self.at += 1;
        let mut value = String::new();
        loop {
            let Some(next) = self.rest().chars().next() else {
                return Err(self.wrong("the text has no end"));
            };
            self.at += next.len_utf8();
            match next {
                _ if next == quote => return Ok(value),
                '\\' if quote != '`' => value.push(self.escaped()?),
                _ => value.push(next),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, SelectorError> {
        let next = self.rest().chars().next();
        self.at += next.map_or(0, char::len_utf8);
        match next {
            Some('n') => Ok('\n'),
            Some('t') => Ok('\t'),
            Some('r') => Ok('\r'),
            Some(same @ ('\\' | '"' | '\'')) => Ok(same),
            _ => Err(self.wrong("this escape is not known; use \\\\, \\\", \\n, \\r or \\t")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepts(text: &str, labels: &[(&str, &'static str)]) -> bool {
        let selector = Selector::parse(text).unwrap();
        selector.matches(|name| labels.iter().find(|it| it.0 == name).map_or("", |it| it.1))
    }

    #[test]
    fn a_selector_means_what_promql_means() {
        let series = [(NAME_LABEL, "up"), ("job", "api"), ("path", "/a\"b"), ("zone", "eu-1")];
        for text in [
            "up",
            "up{}",
            "{__name__=\"up\"}",
            "{\"up\", job=\"api\"}",
            "up{job=\"api\",}",
            " up { job = 'api' , zone =~ \"eu-.\" } ",
            "up{path=\"/a\\\"b\"}",
            "up{path=`/a\"b`}",
            "up{job!=\"web\", absent=\"\", absent!~\".+\"}",
            "{job=~\"api|web\"}",
        ] {
            assert!(accepts(text, &series), "{text}");
        }
        for text in [
            "down",
            "up{job=\"ap\"}",
            "up{job=~\"a\"}",
            "up{zone!~\"eu.*\"}",
            "up{absent!=\"\"}",
            "up{job=~\"api\\n\"}",
        ] {
            assert!(!accepts(text, &series), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_its_place() {
        for (text, at, word) in [
            ("", 1, "no selector"),
            ("{}", 3, "no selector"),
            ("{a=~\".*\"}", 10, "every series"),
            ("{a!=\"b\"}", 9, "every series"),
            ("sum(up)", 4, "ends here"),
            ("up[5m]", 3, "ends here"),
            ("up{a}", 5, "expected ="),
            ("up{a=b}", 6, "quotes"),
            ("up{a=\"b}", 9, "no end"),
            ("up{a=\"b\" c=\"d\"}", 10, "expected , or }"),
            ("up{a=\"\\q\"}", 9, "escape"),
            ("up{a=~\"(\"}", 10, "expression"),
            ("up{1a=\"b\"}", 6, "name of a label"),
            ("up{a=~\"(x{1000}){1000}\"}", 24, "expression"),
        ] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.what.contains(word), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
        let many = format!("up{{{}}}", "a=\"b\",".repeat(MATCHERS_MAX));
        assert!(Selector::parse(&many).is_err());
    }

    #[test]
    fn names_that_only_one_value_can_have_are_known() {
        let selector = Selector::parse("up{job=\"a\", b=~\"c\"}").unwrap();
        assert_eq!(
            (selector.metric(), selector.equal("job"), selector.equal("b")),
            (Some("up"), Some("a"), None)
        );
        assert_eq!(Selector::parse("{__name__=~\"up|down\"}").unwrap().metric(), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", braces in "[a-z{}=~!\"'`, \\\\]{0,40}") {
            let _ = Selector::parse(&text);
            let _ = Selector::parse(&braces);
        }
    }
}
