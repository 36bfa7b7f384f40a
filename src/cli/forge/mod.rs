//! `tars forge check|prs`. The configured forge is asked, nothing on it is changed; facts about it go to standard
//! output. What the reconciler does with a forge is not decided here.

mod check;
mod prs;

use crate::cli::args::ForgeVerb;
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Console;
use crate::propose::forge::{ForgeError, Trouble};

/// Runs the verb.
///
/// # Errors
/// Exit code 1 when a check failed, 2 when the settings are wrong or name nothing, 3 when the forge cannot be
/// reached, 4 when it does not accept the token, 7 when the time is over.
pub fn run(verb: &ForgeVerb, console: &Console) -> Result<(), Failure> {
    match verb {
        ForgeVerb::Check(args) => check::run(args, console),
        ForgeVerb::Prs(args) => prs::run(args, console),
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
