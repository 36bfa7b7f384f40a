//! Arguments of the verbs by which a person changes something. As in `args`, parsing never touches the world.

use std::path::PathBuf;

use clap::Args;

use super::args::{Beside, Patience, SettingsFile};
use crate::model::duration;

/// Where the person's own clone is, and where it pushes to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Repository")]
pub struct OwnClone {
    /// Your clone of the GitOps repository; its branches, index and files are not touched
    #[arg(short = 'C', long = "repository", value_name = "DIR", default_value = ".")]
    pub repository: PathBuf,
    /// Its remote that tars watches: a name or an address
    #[arg(long, default_value = "origin")]
    pub remote: String,
    /// The watched branch [default: the settings' one, or main]
    #[arg(long)]
    pub branch: Option<String>,
    #[command(flatten)]
    pub beside: Beside,
}

/// Where a person's commit goes.
#[derive(Debug, Clone, Copy, Args)]
pub struct Way {
    /// Push straight to the watched branch
    #[arg(long, conflicts_with = "review")]
    pub push: bool,
    /// Push to a branch tars-cli/... that somebody merges
    #[arg(long)]
    pub review: bool,
}

#[derive(Debug, Args)]
pub struct Suspend {
    /// The policy to suspend; everything when left out
    pub policy: Option<String>,
    /// Why, for everybody who finds tars stopped
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// End by itself after this long, for example 30m or 2h; for a single policy see tars snooze
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting, conflicts_with = "policy")]
    pub lasting_s: Option<u32>,
    #[command(flatten)]
    pub way: Way,
    /// Print what would be committed, write nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub own: OwnClone,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// The policy to resume; the repository as a whole when left out
    pub policy: Option<String>,
    /// Why, for the commit
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    pub way: Way,
    /// Print what would be committed, write nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub own: OwnClone,
}

/// Whose wish it is, and how it reaches the ledger.
#[derive(Debug, Args)]
pub struct Asking {
    /// Who asks [default: your git identity]
    #[arg(long, value_name = "WHO")]
    pub by: Option<String>,
    /// Print what would be recorded, write nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(Debug, Args)]
pub struct Snooze {
    /// A proposal (action id, incident, branch), a target (namespace/Kind/name), or a policy
    pub reference: String,
    /// How long, for example 30m or 4h; 720h at most
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting, required_unless_present = "off")]
    pub lasting_s: Option<u32>,
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT", required_unless_present = "off")]
    pub reason: Option<String>,
    /// End the quiet now
    #[arg(long, conflicts_with_all = ["lasting_s", "reason"])]
    pub off: bool,
    #[command(flatten)]
    pub asking: Asking,
}

#[derive(Debug, Args)]
pub struct Revert {
    /// Action id, branch, commit, or namespace/Kind/name for the newest merged action there
    pub reference: String,
    /// Why, for the pull request
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    #[command(flatten)]
    pub asking: Asking,
}

/// Reads a duration of at least a second.
fn lasting(text: &str) -> Result<u32, String> {
    match duration::parse_s(text) {
        Ok(0) => Err("this is no time at all".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, Args)]
pub struct Init {
    /// A clone of the GitOps repository, or its address
    #[arg(value_name = "REPO", default_value = ".")]
    pub repository: String,
    /// The remote of a clone to push to: a name or an address
    #[arg(long, default_value = "origin")]
    pub remote: String,
    /// The watched branch [default: the settings' one, or main]
    #[arg(long)]
    pub branch: Option<String>,
    /// Ask again although somebody said no before
    #[arg(long)]
    pub again: bool,
    /// Print the plan, write nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub beside: Beside,
}
