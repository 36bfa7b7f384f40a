//! The two outputs, as the flags and the surroundings want them. Every command gets one and prints through it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::format::Format;
use super::json_escaped;
use super::jsonpath::JsonPath;
use super::page::{Page, Piece, Style, harmless};
use super::query::Query;
use super::table::Table;
use super::terminal::{ColorChoice, Environment, Terminal};
use super::waiting::Waiting;
use crate::cli::args::Print;
use crate::cli::failure::{Failure, Kind};
use crate::outside::{pager, system};

/// What an answer is made into.
#[derive(Debug)]
enum Form {
    People { wide: bool },
    Json,
    Yaml,
    Name,
    JsonPath(JsonPath),
    Query(Query),
}

/// Where a command prints.
#[derive(Debug)]
pub struct Console {
    form: Form,
    /// Nobody asked for a form: commands whose answer is a document print that.
    default_form: bool,
    headers: bool,
    quiet: bool,
    out: Terminal,
    err: Terminal,
    pager: Option<Vec<String>>,
    /// What stands on the terminal until there is something to print.
    waiting: RefCell<Option<Waiting>>,
}

/// The process's surroundings.
fn surroundings() -> Environment {
    Environment {
        no_color: system::var("NO_COLOR"),
        clicolor: system::var("CLICOLOR"),
        clicolor_force: system::var("CLICOLOR_FORCE"),
        term: system::var("TERM"),
        lc_all: system::var("LC_ALL"),
        lc_ctype: system::var("LC_CTYPE"),
        lang: system::var("LANG"),
        tars_pager: system::var_even_empty("TARS_PAGER"),
        pager: system::var_even_empty("PAGER"),
        stdout_is_terminal: system::stdout_is_terminal(),
        stderr_is_terminal: system::stderr_is_terminal(),
    }
}

impl Console {
    /// Understands the flags. A wrong expression is found here, before any work.
    ///
    /// # Errors
    /// When an expression is not valid, or two flags want two forms.
    pub fn new(print: &Print, now: Timestamp) -> Result<Self, Failure> {
        let form = match (&print.output, &print.jq) {
            (None | Some(Format::Json), Some(text)) => Form::Query(Query::parse(text)?),
            (Some(_), Some(_)) => {
                return Err(Failure::usage("--jq works on JSON, and -o asks for another form")
                    .hint("leave -o out: --jq alone means -o json"));
            }
            (None | Some(Format::Table), None) => Form::People { wide: false },
            (Some(Format::Wide), None) => Form::People { wide: true },
            (Some(Format::Json), None) => Form::Json,
            (Some(Format::Yaml), None) => Form::Yaml,
            (Some(Format::Name), None) => Form::Name,
            (Some(Format::JsonPath(text)), None) => Form::JsonPath(JsonPath::parse(text)?),
        };
        let surroundings = surroundings();
        Ok(Self {
            form,
            default_form: print.output.is_none() && print.jq.is_none(),
            headers: !print.no_headers,
            quiet: print.quiet,
            out: surroundings.stdout(print.color, now),
            err: surroundings.stderr(print.color),
            pager: if print.no_pager { None } else { surroundings.pager() },
            waiting: RefCell::new(None),
        })
    }

    /// Says on a terminal what is waited for, until something is printed or [`Console::rest`] is called.
    pub fn wait(&self, text: &str) {
        if self.err.animated && !self.quiet {
            self.rest();
            *self.waiting.borrow_mut() = Some(Waiting::start(text, self.err.unicode));
        }
    }

    /// Nothing is waited for any more. Everything that prints begins with this.
    pub fn rest(&self) {
        drop(self.waiting.borrow_mut().take());
    }

    /// Does the answer go to people, who get sentences and columns?
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        matches!(self.form, Form::People { .. })
    }

    /// Is the answer a document for programs?
    #[must_use]
    pub fn is_for_programs(&self) -> bool {
        !matches!(self.form, Form::People { .. } | Form::Name)
    }

    /// Does standard error carry errors only?
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Does standard error take colour? For the log, which is written by others.
    #[must_use]
    pub fn colours_talk(&self) -> bool {
        self.err.colour
    }

    /// Prints a list. `names` and `items` run in step.
    ///
    /// # Errors
    /// When the items cannot be serialised or written, or an expression does not fit them.
    pub fn list<T: Serialize>(
        &self,
        table: &Table,
        names: &[String],
        items: &[T],
        empty: &str,
    ) -> Result<(), Failure> {
        match &self.form {
            Form::People { .. } if items.is_empty() => {
                self.talk(empty);
                Ok(())
            }
            Form::People { wide } => self.show(&table.painted(*wide, self.headers, &self.out)),
            _ => self.answer(names, &listed(items), Page::new),
        }
    }

    /// Prints one answer: `page` for people, `names` for `-o name`, `value` for everything else.
    ///
    /// # Errors
    /// As [`Console::list`].
    pub fn answer<T: Serialize>(
        &self,
        names: &[String],
        value: &T,
        page: impl FnOnce() -> Page,
    ) -> Result<(), Failure> {
        let raw = |text: &str| self.raw(text);
        let text = match &self.form {
            Form::People { .. } => page().painted(&self.out),
            Form::Name => names.iter().map(|name| raw(name) + "\n").collect(),
            Form::Json => pretty(&as_json(value)?)?,
            Form::Yaml => self.raw(&yaml_serde::to_string(value).map_err(unprintable)?),
            Form::JsonPath(path) => {
                let mut text = path.run(&as_json(value)?, &raw)?;
                // As kubectl, exactly the template; but a prompt behind it would be read as part of it.
                if self.out.interactive && !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text
            }
            Form::Query(query) => query.run(&as_json(value)?, raw)?,
        };
        self.show(&text)
    }

    /// Prints a document that has no form for people: as `otherwise` when nobody asked for a form.
    ///
    /// # Errors
    /// As [`Console::list`]; and when a form was asked for that it does not have.
    pub fn document<T: Serialize>(&self, value: &T, otherwise: &Format) -> Result<(), Failure> {
        match &self.form {
            Form::People { .. } | Form::Name if !self.default_form => {
                Err(Failure::usage("this answer is a document: it has neither columns nor a name")
                    .hint("ask for -o json, yaml or jsonpath=..., or use --jq"))
            }
            Form::People { .. } | Form::Name if *otherwise == Format::Yaml => {
                self.show(&self.raw(&yaml_serde::to_string(value).map_err(unprintable)?))
            }
            Form::People { .. } | Form::Name => self.show(&pretty(&as_json(value)?)?),
            _ => self.answer(&[], value, Page::new),
        }
    }

    /// Prints a program's text, such as a completion script, as it is.
    ///
    /// # Errors
    /// When a form was asked for, or it cannot be written.
    pub fn script(&self, text: &str) -> Result<(), Failure> {
        self.rest();
        if self.default_form {
            return write(text);
        }
        Err(Failure::usage("this command prints a script, which has no other form")
            .hint("leave -o and --jq out"))
    }

    /// Prints a part of a story at once: no pager, the next part comes when it happens.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn story(&self, page: &Page) -> Result<(), Failure> {
        self.rest();
        write(&page.painted(&self.out))
    }

    /// Talk: progress, and why an answer is empty. Nobody can be told if that fails.
    pub fn talk(&self, text: &str) {
        self.rest();
        if !self.quiet {
            say(&harmless(text, true, self.err.unicode));
        }
    }

    /// A warning is talk too.
    pub fn warn(&self, text: &str) {
        self.rest();
        if !self.quiet {
            let word = Piece::from("warning:").styled(Style::Warn).painted(&self.err);
            say(&format!("{word} {}", harmless(text, true, self.err.unicode)));
        }
    }

    /// Text of others, fit for where it is shown: a program gets every byte, a terminal only text.
    fn raw(&self, text: &str) -> String {
        if self.out.interactive { harmless(text, true, true) } else { text.to_owned() }
    }

    /// Writes an answer; a long one through the pager, if a person is looking.
    fn show(&self, text: &str) -> Result<(), Failure> {
        self.rest();
        if let (true, Some([program, args @ ..])) = (self.out.interactive, self.pager.as_deref()) {
            let rows = system::terminal_rows().unwrap_or(usize::MAX);
            if text.lines().count() >= rows && pager::show(program, args, text.as_bytes()).is_ok() {
                return Ok(());
            }
        }
        write(text)
    }
}

/// Says what failed, whatever the flags: `color` is what is known of them.
pub fn fail(failure: &Failure, color: ColorChoice) {
    let err = surroundings().stderr(color);
    let text = failure.render();
    let text = harmless(text.trim_end(), true, err.unicode);
    let word = Piece::from("error:").styled(Style::Bad).painted(&err);
    match text.strip_prefix("error:") {
        Some(rest) => say(&format!("{word}{rest}")),
        None => say(&text),
    }
}

/// Prints what the parser of the command line says: help and version on standard output, the rest as talk.
pub fn usage(error: &clap::Error, color: ColorChoice) {
    let surroundings = surroundings();
    let to_stderr = error.use_stderr();
    let terminal = match to_stderr {
        true => surroundings.stderr(color),
        false => surroundings.stdout(color, Timestamp::UNIX_EPOCH),
    };
    let text = error.render();
    let text = if terminal.colour { text.ansi().to_string() } else { text.to_string() };
    if to_stderr {
        say(text.trim_end());
    } else {
        let _ = write(&text);
    }
}

/// `1 signal`, `3 signals`.
#[must_use]
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn listed<T: Serialize>(items: &[T]) -> Value {
    json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": items })
}

fn unprintable(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::No, format!("could not print: {error}"))
}

fn as_json<T: Serialize>(value: &T) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(unprintable)
}

fn pretty(value: &Value) -> Result<String, Failure> {
    let mut text = json_escaped(&serde_json::to_string_pretty(value).map_err(unprintable)?);
    let _ = writeln!(text);
    Ok(text)
}

/// Writes to standard output; a closed pipe is no error.
fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Kind::No, "could not write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

fn say(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.write_all(b"\n"));
}
