//! `--jq`: the jq language on an answer, hermetic. An answer and an expression come in, lines go out: texts
//! raw, everything else as compact JSON, as `gh` does. No clock, environment, file, module, further input or
//! log is reachable: the filters that would reach them are not there.

use std::fmt;

use jaq_core::data::JustLut;
use jaq_core::load::lex::Expect as LexExpect;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::Val;
use serde_json::Value;

use super::expression::{Mistake, RESULT_BYTES_MAX, bounded, unfit};
use crate::cli::failure::Failure;

/// Where the expression comes from, for messages.
const FLAG: &str = "--jq";

/// Filters that would look at the world.
const NATIVES_LEFT_OUT: [&str; 7] =
    ["env", "now", "halt", "localtime", "strflocaltime", "debug_empty", "stderr_empty"];
/// Definitions of the standard library that are made of those.
const DEFINITIONS_LEFT_OUT: [&str; 4] = ["debug", "stderr", "halt", "halt_error"];
/// What people may write and not get.
const WORLDLY: [&str; 14] = [
    "env",
    "now",
    "halt",
    "halt_error",
    "localtime",
    "strflocaltime",
    "debug",
    "stderr",
    "input",
    "inputs",
    "$ENV",
    "input_filename",
    "$__loc__",
    "input_line_number",
];
const HERMETIC: &str =
    "an expression sees this one answer only: no environment, clock, file, module or further input";

/// A compiled expression.
pub struct Query(Filter<JustLut<Val>>);

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Query")
    }
}

impl Query {
    /// Reads an expression.
    ///
    /// # Errors
    /// A usage error that points at the mistake.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        bounded(text)
            .and_then(|()| compile(text))
            .map(Self)
            .map_err(|mistake| mistake.in_expression(FLAG, text))
    }

    /// Runs on one answer.
    ///
    /// # Errors
    /// When the expression fails on it, or makes more than [`RESULT_BYTES_MAX`] bytes. `raw` makes a text of
    /// others fit for where it is shown.
    pub fn run(&self, answer: &Value, raw: impl Fn(&str) -> String) -> Result<String, Failure> {
        let input = jaq_json::read::parse_single(answer.to_string().as_bytes())
            .map_err(|error| unfit(FLAG, error))?;
        let context = Ctx::<JustLut<Val>>::new(&self.0.lut, Vars::new([]));
        let mut text = String::new();
        for output in self.0.id.run((context, input)).map(unwrap_valr) {
            match output.map_err(|error| unfit(FLAG, error))? {
                Val::TStr(bytes) | Val::BStr(bytes) => text.push_str(&raw(&String::from_utf8_lossy(&bytes))),
                value => text.push_str(&super::json_escaped(&value.to_string())),
            }
            text.push('\n');
            if text.len() > RESULT_BYTES_MAX {
                return Err(unfit(FLAG, format_args!("it makes more than {RESULT_BYTES_MAX} bytes")));
            }
        }
        Ok(text)
    }
}

fn compile(text: &str) -> Result<Filter<JustLut<Val>>, Mistake> {
    let definitions = jaq_core::defs()
        .chain(jaq_std::defs().filter(|it| !DEFINITIONS_LEFT_OUT.contains(&it.name)))
        .chain(jaq_json::defs());
    let natives = jaq_core::funs()
        .chain(jaq_std::funs().filter(|it| !NATIVES_LEFT_OUT.contains(&it.0)))
        .chain(jaq_json::funs());
    let arena = Arena::default();
    let file = File { code: text, path: () };
    let modules = Loader::new(definitions).load(&arena, file).map_err(|errors| unread(text, errors))?;
    // Data files named by an import are read by the caller, and this one reads none.
    load::import(&modules, |_| Err(String::new())).map_err(|errors| unread(text, errors))?;
    Compiler::default().with_funs(natives).compile(modules).map_err(|errors| {
        let first = errors.into_iter().flat_map(|(_, undefined)| undefined).next();
        let Some((name, what)) = first else { return Mistake::new(0..0, "cannot be compiled") };
        let mistake = Mistake::new(load::span(text, name), format!("there is no {} {name:?}", what.as_str()));
        if WORLDLY.contains(&name) { mistake.hint(HERMETIC) } else { mistake }
    })
}

/// The first reason why an expression cannot be read.
fn unread(text: &str, errors: load::Errors<&str, ()>) -> Mistake {
    let end = text.len()..text.len();
    let first = errors.into_iter().next().map(|(_, error)| error);
    match first {
        Some(load::Error::Io(files)) => {
            let at = files.first().map_or(end, |(name, _)| load::span(text, name));
            Mistake::new(at, "modules cannot be loaded").hint(HERMETIC)
        }
        Some(load::Error::Lex(errors)) => match errors.into_iter().next() {
            Some((LexExpect::Delim(open), _)) => Mistake::new(load::span(text, open), "this is never closed"),
            Some((expected, rest)) => {
                let start = load::span(text, rest).start;
                let length = rest.chars().next().map_or(0, char::len_utf8);
                Mistake::new(start..start + length, format!("expected {}", expected.as_str()))
            }
            None => Mistake::new(end, "cannot be read"),
        },
        Some(load::Error::Parse(errors)) => match errors.into_iter().next() {
            Some((expected, found)) => {
                Mistake::new(load::span(text, found), format!("expected {}", expected.as_str()))
            }
            None => Mistake::new(end, "cannot be read"),
        },
        None => Mistake::new(end, "cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(expression: &str, answer: &Value) -> String {
        Query::parse(expression).unwrap().run(answer, str::to_owned).unwrap()
    }

    fn refused(expression: &str) -> String {
        Query::parse(expression).unwrap_err().render()
    }

    #[test]
    fn texts_are_raw_and_the_rest_is_json() {
        let answer = json!({ "items": [{ "name": "a", "n": 1.5 }, { "name": "b\n", "n": null }] });
        assert_eq!(run(".items[].name", &answer), "a\nb\n\n");
        assert_eq!(run(".items | map(.n)", &answer), "[1.5,null]\n");
        assert_eq!(run(".items[] | select(.n == 1.5) | {name}", &answer), "{\"name\":\"a\"}\n");
        assert_eq!(
            run(".items | length, (map(.name | ascii_upcase | ltrimstr(\"A\")) | @json)", &answer),
            "2\n[\"\",\"B\\n\"]\n"
        );
        assert_eq!(run("empty", &answer), "");
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        let answer = json!([0.1, 1e300, 12_345_678_901_234_567_u64, -0.5]);
        let back: Value = serde_json::from_str(&run(".", &answer)).unwrap();
        assert_eq!(back, answer);
    }

    #[test]
    fn the_world_is_out_of_reach() {
        for expression in
            ["env", "$ENV", "now", "input", "[inputs]", "halt", "halt_error", "debug", "stderr", "localtime"]
        {
            let text = refused(expression);
            assert!(text.contains("there is no") && text.contains("hint: an expression sees"), "{text}");
        }
        for expression in ["include \"a\"; .", "import \"a\" as a; ."] {
            let text = refused(expression);
            assert!(text.contains("modules cannot be loaded"), "{text}");
        }
        let read = refused("import \"/etc/passwd\" as $a; $a");
        assert!(read.contains("modules cannot be loaded"), "{read}");
    }

    #[test]
    fn a_mistake_has_its_place() {
        for (expression, place, words) in [
            (".items[", ":1:7", "never closed"),
            (".items[] | nope", ":1:12", "there is no filter \"nope\""),
            (".items[] | ", ":1:12", "expected term"),
            (".a & .b", ":1:4", "expected"),
            ("$x", ":1:1", "there is no variable"),
            (")", ":1:1", "expected"),
            ("\"abc", ":1:1", "never closed"),
        ] {
            let text = refused(expression);
            assert!(
                text.contains(place) && text.contains(words) && text.contains('^'),
                "{expression}: {text}"
            );
        }
    }

    #[test]
    fn an_expression_that_does_not_fit_or_never_ends_is_an_error() {
        let query = Query::parse(".a | keys").unwrap();
        let failure = query.run(&json!({ "a": 1 }), str::to_owned).unwrap_err();
        assert!(failure.render().contains("does not fit this answer"), "{}", failure.render());
        let long = "x".repeat(1 << 20);
        let endless = Query::parse("repeat(.)").unwrap().run(&json!(long), str::to_owned).unwrap_err();
        assert!(endless.render().contains("more than 67108864 bytes"), "{}", endless.render());
    }
}
