//! The command line as data. Parsing never touches the world: help, version and completion work when all
//! else is broken.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::output::Format;

/// Proposes remediations as commits to your GitOps repository, and merges only what is low risk and inside
/// every budget.
#[derive(Debug, Parser)]
#[command(name = "tars", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 yes · 1 no · 2 usage or invalid input · 3 cannot reach · 5 refused · \
    6 conflict\nStart with `tars demo`: it needs no cluster, no Prometheus and no network.")]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show the whole loop on a simulated workload: no cluster, no network
    Demo(Demo),
    /// Reconcile: watch, decide, propose, verify
    Run(Run),
    /// One screen: what is open, what needs you, budgets
    Status(Look),
    /// List or show policies, remediations and proposals
    Get(Get),
    /// Why did, or did not, this happen
    Explain(Explain),
    /// Remediation history, straight from git
    Log(Log),
    /// How an object reaches a cluster, and where its fields are written
    Tree(Tree),
    /// Preview what a playbook would change; writes nothing
    Render(Render),
    /// What every policy, or one, would change now; exit code 1 when something would
    Diff(Diff),
    /// Check everything tars needs and say how to fix what is missing
    Check(Check),
    /// Check the audit trail
    #[command(subcommand)]
    Audit(Audit),
    /// Write and check policies
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Show, locate and check the settings
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
    /// Print the version
    Version(Plain),
}

/// Which repository to read, and how to print.
#[derive(Debug, Args)]
pub struct Look {
    /// A clone of the GitOps repository, bare or not
    #[arg(short = 'C', long = "repository", value_name = "DIR", default_value = ".")]
    pub repository: PathBuf,
    /// The watched branch
    #[arg(long, default_value = "main")]
    pub branch: String,
    /// OpenSSH allowed_signers file to check signatures with [default: the clone's gpg.ssh.allowedSignersFile]
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    #[command(flatten)]
    pub print: Plain,
}

#[derive(Debug, Args)]
pub struct Plain {
    /// Output format
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Which story to play
    #[arg(value_enum, default_value_t = Scenario::LatencyScaleout)]
    pub scenario: Scenario,
    /// List the scenarios
    #[arg(long)]
    pub list: bool,
    /// Play the human who merges what waits for one
    #[arg(long)]
    pub approve: bool,
    /// Seed of the workload's noise
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the repository and everything else in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    #[command(flatten)]
    pub print: Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A surge; replicas 3 to 5 merge by themselves, latency falls, the scale-back is proposed when it is over
    LatencyScaleout,
    /// A bad release; the image goes back to the last good one, after a person agrees
    BadReleaseRollback,
    /// 10,000 alerts and three competing replicas; one pull request
    Storm,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Settings file
    #[arg(long, value_name = "FILE", env = "TARS_CONFIG", default_value = "tars.yaml")]
    pub config: PathBuf,
    /// One tick, then stop
    #[arg(long)]
    pub once: bool,
    /// The most any policy may do
    #[arg(long, value_enum)]
    pub mode: Option<ModeArg>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Serve webhooks without a secret; loopback only
    #[arg(long)]
    pub insecure_webhook: bool,
    /// Log format
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// More log lines (-v: debug, -vv: trace)
    #[arg(short, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    Observe,
    Propose,
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct Get {
    #[arg(value_enum)]
    pub kind: GetKind,
    /// Action id, incident id, policy or target; everything when left out
    pub name: Option<String>,
    #[command(flatten)]
    pub look: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GetKind {
    /// Policies of the watched branch
    #[value(aliases = ["policy", "pol", "rpol"])]
    Policies,
    /// Every remediation action the ledger knows
    #[value(aliases = ["remediation", "rem"])]
    Remediations,
    /// Proposals; with a name, the pull request's text
    #[value(aliases = ["proposal", "pr"])]
    Proposals,
    /// Budgets and what is left of them
    #[value(aliases = ["budget", "bud"])]
    Budgets,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// Incident, action, commit, target (namespace/Kind/name), reason or TARS code; `last` for the newest action
    #[arg(required_unless_present = "list_codes")]
    pub reference: Option<String>,
    /// Why was this playbook not taken?
    #[arg(long, value_name = "PLAYBOOK")]
    pub why_not: Option<String>,
    /// List every reason and TARS code
    #[arg(long)]
    pub list_codes: bool,
    #[command(flatten)]
    pub look: Look,
}

#[derive(Debug, Args)]
pub struct Log {
    /// Only entries of this policy
    #[arg(long)]
    pub policy: Option<String>,
    /// Only entries of this target (namespace/Kind/name)
    #[arg(long)]
    pub target: Option<String>,
    /// Only entries of this action or incident
    #[arg(long)]
    pub action: Option<String>,
    /// Newest entries to print
    #[arg(short = 'n', long, default_value_t = 100)]
    pub max_count: usize,
    #[command(flatten)]
    pub look: Look,
}

#[derive(Debug, Args)]
pub struct Tree {
    /// The object: namespace/Kind/name
    pub target: String,
    #[command(flatten)]
    pub look: Look,
}

#[derive(Debug, Args)]
pub struct Render {
    /// ScaleOut, Rollback or RestartPod
    pub playbook: String,
    /// The object: namespace/Kind/name
    #[arg(long)]
    pub target: String,
    /// Take the bounds from this policy [default: the one policy that allows it]
    #[arg(long)]
    pub policy: Option<String>,
    /// A bound of the playbook instead of a policy's, for example --set step=2 --set maxReplicas=10
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "policy")]
    pub set: Vec<String>,
    /// What to print
    #[arg(long, value_enum, default_value_t = RenderPart::Patch)]
    pub what: RenderPart,
    #[command(flatten)]
    pub look: Look,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RenderPart {
    /// The diff, and what the proof compared
    Patch,
    /// The commit message
    Commit,
    /// Title and body of the pull request
    Pr,
    /// All three
    All,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// Name of a policy; every policy when left out
    pub policy: Option<String>,
    #[command(flatten)]
    pub look: Look,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Settings file
    #[arg(long, value_name = "FILE", env = "TARS_CONFIG", default_value = "tars.yaml")]
    pub config: PathBuf,
    #[command(flatten)]
    pub print: Plain,
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Signatures, sequence, budgets, and that every Tars commit has its entry; needs only a clone
    Verify(Look),
}

#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Check policy files as the reconciler reads them
    Lint {
        /// Files or folders
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        print: Plain,
    },
    /// Print the JSON schema of a policy
    Schema,
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the settings as resolved from file, environment and flags
    View(Check),
    /// Print which file is read
    Path(Check),
    /// Check the settings file
    Validate(Check),
    /// Print the JSON schema of the settings file
    Schema,
    /// List the environment variables and the setting each overrides
    Env,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
