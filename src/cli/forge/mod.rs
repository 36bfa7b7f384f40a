//! `tars forge check|login|prs|webhook-test`. The configured forge is asked, nothing on it is changed; facts about it go
//! to standard output. What the reconciler does with a forge is not decided here.

mod check;
mod login;
mod places;
mod prs;
mod webhook_test;

use crate::cli::args::ForgeVerb;
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Console;
use crate::config::{ForgeAt, ForgeSettings, Settings};
use crate::propose::forge::{ForgeError, Trouble};

/// Runs the verb.
///
/// # Errors
/// Exit code 1 when a check failed, 2 when the settings are wrong or name nothing, 3 when the forge cannot be
/// reached, 4 when it does not accept the token, 7 when the time is over.
pub fn run(verb: &ForgeVerb, console: &Console) -> Result<(), Failure> {
    match verb {
        ForgeVerb::Check(args) => check::run(args, console),
        ForgeVerb::Login(args) => login::run(args, console),
        ForgeVerb::Prs(args) => prs::run(args, console),
        ForgeVerb::WebhookTest(args) => webhook_test::run(args, console),
    }
}

/// Where the forge is.
fn place(settings: &Settings) -> Result<&ForgeAt, Failure> {
    match &settings.forge {
        ForgeSettings::At(at) => Ok(at),
        ForgeSettings::Local => Err(Failure::usage("forge.kind is local: there is no forge to ask").hint(
            "set forge.kind: gitea or github, with url, repository and token_file; tars config schema describes them",
        )),
    }
}

/// The forge's "no" as this program says it.
pub fn failed(error: ForgeError) -> Failure {
    let kind = match error.trouble {
        Trouble::Unauthenticated | Trouble::Forbidden => Kind::Denied,
        Trouble::Missing => Kind::Usage,
        Trouble::Conflict => Kind::Conflict,
        Trouble::NotReady => Kind::No,
        Trouble::Protocol
        | Trouble::RateLimited(_)
        | Trouble::Unreachable
        | Trouble::Lost
        | Trouble::Elsewhere => Kind::Unreachable,
    };
    let hint = error.hint();
    Failure::new(kind, "the forge did not answer as it should").because(error).hint(hint)
}
