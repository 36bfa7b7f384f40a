//! `tars forge login`: a token from standard input or a file is tried on the forge and, when it can do what tars needs,
//! kept in `forge.token_file`, readable by its owner only. It is never shown, and never taken from the command line,
//! where others could read it.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::places::{self, Places};
use crate::cli::args::ForgeLogin;
use crate::cli::checklist::{self, Line, fail, pass};
use crate::cli::failure::Failure;
use crate::cli::output::Console;
use crate::cli::settings;
use crate::config::{ForgeCredential, Overrides};
use crate::model::causes::causes;
use crate::outside::clock::SystemClock;
use crate::outside::files;
use crate::outside::secret::{SECRET_BYTES_MAX, Secret};
use crate::propose::forge::github_client::ForgeAccess;
use crate::propose::forge::{Forge, Trouble};

/// Tries the token and keeps it.
///
/// # Errors
/// Exit code 1 when the token lacks something, 2 when there is none, 3 when the forge cannot be reached, 4 when it does
/// not know the token, 7 when the time is over. Nothing is written then.
pub fn run(args: &ForgeLogin, console: &Console) -> Result<(), Failure> {
    let settings = settings::load(&args.settings.config, &Overrides::default())?;
    let at = super::place(&settings)?;
    let ForgeCredential::TokenFile(file) = &at.credential else {
        return Err(Failure::usage("this forge is asked as an app, which has no token to keep")
            .hint("put the app's private key where forge.app.private_key_file says"));
    };
    let token = given(args.from.as_deref())?;
    let forge = settings::forge_with(at, Arc::new(SystemClock), ForgeAccess::Token(token.clone()), None)?;
    let places = places::of(at.kind);
    let mut lines = Vec::new();
    let outcome = checklist::run(args.patience.timeout, "the login", try_out(&*forge, places, &mut lines));
    if outcome.is_ok() {
        lines.push(if checklist::all_passed(&lines) {
            keep(file, &token)?
        } else {
            fail("kept", "nothing was written", "mend what failed, then log in again")
        });
    }
    checklist::conclude(&lines, None, outcome, console)
}

fn given(from: Option<&Path>) -> Result<Secret, Failure> {
    let unusable = |error| Failure::usage("there is no token that could be used").because(error);
    if let Some(file) = from {
        let hint = format!("is {} the file with the token?", file.display());
        return Secret::from_file(file).map_err(|error| unusable(error).hint(hint));
    }
    let hint =
        "give it on standard input: tars forge login < FILE, or from a password manager through a pipe";
    if std::io::stdin().is_terminal() {
        return Err(Failure::usage("a token typed here could be read over your shoulder").hint(hint));
    }
    let mut text = String::new();
    let most = SECRET_BYTES_MAX as u64 + 1;
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage("could not read the token").because(error).hint(hint))?;
    if text.len() > SECRET_BYTES_MAX {
        return Err(Failure::usage(format!("a token has at most {SECRET_BYTES_MAX} bytes")).hint(hint));
    }
    Secret::new(&text).map_err(|error| unusable(error).hint(hint))
}

async fn try_out(forge: &dyn Forge, places: &Places, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let account = match forge.whoami().await {
        Ok(account) => account,
        Err(error) if error.trouble == Trouble::Forbidden => {
            let fix = format!("make a token with the scope {} as well", places.identity);
            lines.push(fail("token", causes(&error), fix));
            return Ok(());
        }
        Err(error) => return Err(super::failed(error)),
    };
    lines.push(super::check::token(&account));
    match forge.repository().await {
        Ok(facts) => lines.extend(super::check::repository(&facts, &account, places)),
        Err(error) => {
            lines.push(super::check::refused("repository", &error));
            return Ok(());
        }
    }
    lines.extend(super::check::scopes(forge, places).await);
    Ok(())
}

fn keep(file: &Path, token: &Secret) -> Result<Line, Failure> {
    let shown = file.display();
    // A new file that replaces the old one as a whole, made for its owner only.
    files::write_durable(file, format!("{}\n", token.expose()).as_bytes()).map_err(|error| {
        Failure::usage(format!("could not keep the token in {shown}"))
            .because(error)
            .hint("forge.token_file names the file; its folder must take new files")
    })?;
    Ok(pass("kept", format!("written to {shown}, readable by its owner only")))
}
