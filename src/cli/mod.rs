//! One file per verb of the command line.
//! Arguments come in; data goes to standard output, talk to standard error, the answer to the exit code.
//! No rule about remediations lives here.

mod args;
mod asking;
mod audit;
mod calls;
mod charts;
mod check;
mod checklist;
mod cluster;
mod config;
mod demo;
mod detector;
mod detectors;
mod eval;
mod eval_ahead;
mod eval_causes;
mod explain;
mod failure;
mod forge;
mod get;
mod help;
mod history;
mod inbox;
mod init;
mod label;
mod log;
mod outlets;
mod output;
mod own_commit;
mod pace;
mod policy;
mod preview;
mod record;
mod rights;
mod run;
mod selector;
mod senses;
mod serving;
mod settings;
mod sops;
mod source;
mod sourcing;
mod status;
mod stop;
mod telling;
mod tree;
mod writing;

use std::process::ExitCode;

use clap::{FromArgMatches as _, ValueEnum as _};
use serde_json::json;

use self::args::{Cli, Verb};
use self::failure::Failure;
use self::output::{ColorChoice, Console, Page};
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::system;

/// Parses the command line, runs the verb, and says what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let parsed = help::command().try_get_matches().and_then(|it| Cli::from_arg_matches(&it));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            output::usage(&error, color_by_eye());
            // Help and version are answers; everything else is a usage error.
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let console = Console::new(&cli.print, SystemClock.now());
    match console.and_then(|console| waited(&cli.verb, &console)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::fail(&failure, cli.print.color);
            }
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// `--color` of a command line that could not be parsed, or that asks for help.
fn color_by_eye() -> ColorChoice {
    let words: Vec<String> = system::arguments();
    let value = words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix("--color") {
        Some("") => words.get(index + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    value.and_then(|it| ColorChoice::from_str(it, false).ok()).unwrap_or_default()
}

/// Runs the verb; a person at a terminal sees that it works.
fn waited(verb: &Verb, console: &Console) -> Result<(), Failure> {
    if let Some(text) = help::waiting_for(verb) {
        console.wait(text);
    }
    let outcome = dispatch(verb, console);
    console.rest();
    outcome
}

fn dispatch(verb: &Verb, console: &Console) -> Result<(), Failure> {
    match verb {
        Verb::Demo(args) => demo::run(args, console),
        Verb::Run(args) => run::run(args, console),
        Verb::Status(args) => status::run(args, console),
        Verb::Get(args) => get::run(args, console),
        Verb::Explain(args) => explain::run(args, console),
        Verb::Log(args) => log::run(args, console),
        Verb::Eval(args) => eval::run(args, console),
        Verb::Source(verb) => source::run(verb, console),
        Verb::Record(args) => record::run(args, console),
        Verb::Label(args) => label::run(args, console),
        Verb::Check(args) => check::run(args, console),
        Verb::Audit(verb) => audit::run(verb, console),
        Verb::Tree(args) => tree::run(args, console),
        Verb::Render(args) => preview::render(args, console),
        Verb::Diff(args) => preview::diff(args, console),
        Verb::Init(args) => init::run(args, console),
        Verb::Suspend(args) => stop::suspend(args, console),
        Verb::Resume(args) => stop::resume(args, console),
        Verb::Snooze(args) => asking::snooze(args, console),
        Verb::Revert(args) => asking::revert(args, console),
        Verb::Policy(verb) => policy::run(verb, console),
        Verb::Forge(verb) => forge::run(verb, console),
        Verb::Config(verb) => config::run(verb, console),
        Verb::Sops(verb) => sops::run(verb, console),
        Verb::Completion { shell } => completion(*shell, console),
        Verb::Version => version(console),
    }
}

fn completion(shell: clap_complete::Shell, console: &Console) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut help::command(), "tars", &mut script);
    console.script(&String::from_utf8_lossy(&script))
}

fn version(console: &Console) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    console.answer(&["tars".to_owned()], &json!({ "name": "tars", "version": version }), || {
        let mut page = Page::new();
        page.put(format!("tars {version}")).line();
        page
    })
}

/// How this program was called, so that the commands it suggests can be pasted: its path when it was given
/// one, its name otherwise.
#[must_use]
pub fn invocation() -> String {
    let name = system::program_name();
    if name.contains('/') { name } else { "tars".to_owned() }
}
