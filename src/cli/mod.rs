//! One file per verb of the command line.
//! Arguments come in; data goes to standard output, talk to standard error, the answer to the exit code.
//! No rule about remediations lives here.

mod args;
mod audit;
mod charts;
mod check;
mod config;
mod demo;
mod explain;
mod failure;
mod get;
mod history;
mod log;
mod output;
mod policy;
mod preview;
mod run;
mod settings;
mod status;
mod tree;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::args::{Cli, Verb};
use self::failure::Failure;

/// Parses the command line, runs the verb, and says what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; everything else is a usage error.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match dispatch(&cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.render();
            if !text.is_empty() {
                output::talk(text.trim_end());
            }
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

fn dispatch(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Status(look) => status::run(look),
        Verb::Get(args) => get::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Log(args) => log::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Audit(verb) => audit::run(verb),
        Verb::Tree(args) => tree::run(args),
        Verb::Render(args) => preview::render(args),
        Verb::Diff(args) => preview::diff(args),
        Verb::Policy(verb) => policy::run(verb),
        Verb::Config(verb) => config::run(verb),
        Verb::Completion { shell } => completion(*shell),
        Verb::Version(print) => version(print.output),
    }
}

fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tars", &mut script);
    output::data(&String::from_utf8_lossy(&script))
}

fn version(format: output::Format) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match format {
        output::Format::Json | output::Format::Yaml => {
            output::record(format, &serde_json::json!({ "name": "tars", "version": version }))
        }
        _ => output::data(&format!("tars {version}\n")),
    }
}

/// How this program was called, so that the commands it suggests can be pasted: its path when it was given
/// one, its name otherwise.
#[must_use]
pub fn invocation() -> String {
    let name = crate::outside::system::program_name();
    if name.contains('/') { name } else { "tars".to_owned() }
}
