//! The command line as data. Parsing never touches the world: help, version and completion work when all
//! else is broken.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::eval::Eval;
use super::output::{ColorChoice, Format, FormatParser};
use super::selector::Filters;
use super::sops::args::SopsVerb;
use super::sourcing::{LabelArgs, Record, SourceVerb};
use super::writing::{Init, Resume, Revert, Snooze, Suspend};
use crate::model::duration;

/// What follows the help.
const AFTER_HELP: &str = "\
Exit codes:
  0    yes, nothing to do, all passed
  1    ran fine, the answer is no: a failed check, nothing of that name
  2    usage, invalid input, an expression that cannot be read
  3    something outside cannot be reached
  4    not authenticated there, or not allowed
  5    refused by policy, budget or suspension
  6    conflict: somebody else holds the lock or changed the branch
  7    --timeout has passed
  130  interrupted; 143 terminated

Data goes to standard output, everything else to standard error.
Start with `tars demo`: it needs no cluster, no Prometheus and no network.";

/// Proposes remediations as commits to your GitOps repository, and merges only what is low risk and inside
/// every budget.
#[derive(Debug, Parser)]
#[command(name = "tars", version, disable_help_subcommand = true, max_term_width = 80)]
#[command(after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub print: Print,
    #[command(subcommand)]
    pub verb: Verb,
}

/// How to print; every verb takes these.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Print {
    /// Output form [default: table]
    #[arg(short = 'o', long = "output", global = true, value_name = "FORM", value_parser = FormatParser)]
    #[arg(hide_possible_values = true, help = OUTPUT_HELP)]
    pub output: Option<Format>,
    /// Print what this jq expression makes of the JSON answer; texts come out raw
    #[arg(long, global = true, value_name = "EXPRESSION")]
    pub jq: Option<String>,
    /// Tables without their first line
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// Nothing but errors on standard error
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Colour: on a terminal, unless NO_COLOR, CLICOLOR, CLICOLOR_FORCE or TERM say otherwise
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    #[arg(hide_default_value = true, hide_possible_values = true, help = COLOR_HELP)]
    pub color: ColorChoice,
    /// Print long answers straight to the terminal, not through $TARS_PAGER, $PAGER or less
    #[arg(long, global = true)]
    pub no_pager: bool,
}

const OUTPUT_HELP: &str = "table, wide, json, yaml, name, or jsonpath=TEMPLATE as kubectl's [default: table]";
const COLOR_HELP: &str =
    "auto, always or never; auto heeds NO_COLOR, CLICOLOR, CLICOLOR_FORCE and TERM [default: auto]";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show the whole loop on a simulated workload; needs nothing else
    Demo(Demo),
    /// Offer tars to a repository: policies that only observe
    ///
    /// Looks for workloads, autoscalers and what delivers them, and pushes one commit of yours to the branch
    /// tars/onboarding: a policy in Observe mode for each Deployment that could be scaled, and settings to start
    /// from. A second run updates the same branch. With --config and a forge it opens the pull request too. Closing
    /// that, or deleting the branch, is a no. Merging it changes nothing that runs.
    Init(Init),
    /// Reconcile: watch, decide, propose, verify
    Run(Run),
    /// One screen: what is open, what needs you, budgets
    Status(Status),
    /// List or show policies, remediations and proposals
    Get(Get),
    /// Why did, or did not, this happen
    Explain(Explain),
    /// Remediation history, straight from git
    Log(Log),
    /// Compare detectors on labelled series
    ///
    /// FOLDER holds manifest.json, or only CSV files with the columns timestamp (unix seconds), value (empty: missing)
    /// and label (0 or 1), in a folder per data set. Every detector sees the same rows in order and no label. The manifest
    /// is {"series": [...]}; each has id, dataset, file (below FOLDER), interval_s (seconds between rows) and score_from
    /// (rows before it are warm-up), and may have service (what its incidents are grouped by), vus_window (rows, 100) and
    /// nab_windows (pairs of rows).
    ///
    /// Columns: F1, R@P85 (recall at precision 0.85), R@1FP (recall at one false page per series and week) and DF1 (F1 of
    /// events that were found soon enough) at the best threshold for the data set; NAB is its standard score, VUS-PR and
    /// AUC-PR are areas below precision and recall. ACT-P and ACT-R are precision and recall of what policies would act
    /// on, ACT/WK how often a week and series; FEWER is what grouping saves of all alerts; US/PT are microseconds a value.
    /// With @0.8 it is the threshold that policies have unless they say another; FP/WK and DELAY-S are false pages a week
    /// and the median delay in seconds there.
    Eval(Eval),
    /// What the sources of signals hold
    #[command(subcommand)]
    Source(SourceVerb),
    /// Save the watched series as labelled data
    ///
    /// Writes DIR/SIGNAL/SERVICE.csv and manifest.json, in the form that `tars eval` reads. A second run adds what is
    /// new and leaves labels as they are. Every new row has the label 0: `tars label` sets them from the ledger, and so
    /// may you.
    Record(Record),
    /// Label recorded series by what became of proposals
    ///
    /// An action that was merged and after which the signal recovered was right: its signals get the label 1 from the
    /// cause to the sync. One that a person closed was wrong: they get 0 for as long as it stood open. About all others
    /// nothing is known, and their labels stay.
    Label(LabelArgs),
    /// How an object reaches a cluster, and where its fields are written
    Tree(Tree),
    /// Preview what a playbook would change; writes nothing
    Render(Render),
    /// What policies would change now; exit code 1 when something would
    Diff(Diff),
    /// Stop every automatic merge, or one policy, by a commit of yours
    ///
    /// The stop is pushed straight to the watched branch: at night it must hold in seconds, and it can do no harm.
    /// Where the remote does not let you, it waits on the branch tars-cli/suspend and the exit code is 4. Without
    /// POLICY the file SUSPENDED beside the policies says stop; with it the policy's own field spec.suspend does.
    Suspend(Suspend),
    /// End a stop, by a commit of yours
    ///
    /// It goes to the branch tars-cli/resume for somebody to merge, because what starts again can do harm; --push
    /// sends it straight to the watched branch.
    Resume(Resume),
    /// Keep a proposal's cause, a target or a policy quiet for a while
    ///
    /// Recorded in the ledger, so that every replica heeds it: what waits is closed with the reason, nothing new is
    /// proposed until then, and afterwards tars decides anew.
    Snooze(Snooze),
    /// Ask for the proposal that undoes a merged action
    ///
    /// Recorded in the ledger; the next look of a running tars opens the proposal: the fields of that action back to
    /// what they were, checked and signed as always. The same change is not proposed again for the same cause.
    Revert(Revert),
    /// Check everything tars needs and say how to fix what is missing
    Check(Check),
    /// Check the audit trail
    #[command(subcommand)]
    Audit(Audit),
    /// Write and check policies
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Log in to the forge, check it and its webhook, list pull requests
    #[command(subcommand)]
    Forge(ForgeVerb),
    /// Show, locate and check the settings
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Check, compare and write SOPS files; never prints plaintext
    #[command(subcommand)]
    Sops(SopsVerb),
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
    /// Print the version
    Version,
}

/// Which repository to read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Repository")]
pub struct Look {
    /// A clone of the GitOps repository, bare or not
    #[arg(short = 'C', long = "repository", value_name = "DIR", default_value = ".")]
    pub repository: PathBuf,
    /// The watched branch
    #[arg(long, default_value = "main")]
    pub branch: String,
    #[command(flatten)]
    pub allowed: Allowed,
}

/// Whose signatures count. Keys of both kinds may be named at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Repository")]
pub struct Allowed {
    /// OpenSSH allowed_signers file to check signatures with [default: the clone's gpg.ssh.allowedSignersFile]
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,
    /// Armored OpenPGP certificates to check signatures with
    #[arg(long, value_name = "FILE")]
    pub allowed_keys: Option<PathBuf>,
}

/// What a clone does not say of itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Repository")]
pub struct Beside {
    /// Settings file with the repository's addresses and SOPS keys [default: every address counts as this repository, no keys]
    #[arg(long, value_name = "FILE", env = "TARS_CONFIG")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub filters: Filters,
    #[command(flatten)]
    pub look: Look,
}

/// How long to wait for the world outside.
#[derive(Debug, Args)]
pub struct Patience {
    /// Give up after this long, for example 30s or 5m
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub timeout: Option<u32>,
}

/// Reads a duration of at least a second.
fn seconds(text: &str) -> Result<u32, String> {
    match duration::parse_s(text) {
        Ok(0) => Err("a timeout of nothing leaves no time for anything".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(error) => Err(error.to_string()),
    }
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
    #[arg(short, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// With --once: give up after this long, for example 30s or 5m
    #[arg(long, value_name = "DURATION", value_parser = seconds, requires = "once")]
    pub timeout: Option<u32>,
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
    pub filters: Filters,
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
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub max_count: usize,
    #[command(flatten)]
    pub filters: Filters,
    #[command(flatten)]
    pub look: Look,
}

#[derive(Debug, Args)]
pub struct Tree {
    /// The object: namespace/Kind/name
    pub target: String,
    #[command(flatten)]
    pub look: Look,
    #[command(flatten)]
    pub beside: Beside,
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
    #[command(flatten)]
    pub beside: Beside,
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
    #[command(flatten)]
    pub beside: Beside,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(Debug, Args)]
pub struct SettingsFile {
    /// Settings file
    #[arg(long, value_name = "FILE", env = "TARS_CONFIG", default_value = "tars.yaml")]
    pub config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum ForgeVerb {
    /// Each permission and setting that an automatic merge needs, and where to change it; writes nothing
    Check(ForgeQuestion),
    /// Try a token, say whose it is and what it lacks, and keep it in forge.token_file; never shows it
    Login(ForgeLogin),
    /// Open pull requests of tars: checks, approvals, whether they can merge
    Prs(ForgeQuestion),
    /// Send a signed ping to a running tars, as the forge would, and say what came back
    WebhookTest(ForgeWebhookTest),
}

#[derive(Debug, Args)]
pub struct ForgeLogin {
    /// File with the token; otherwise it is read from standard input
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(Debug, Args)]
pub struct ForgeWebhookTest {
    /// The route to test, as the forge would reach it; otherwise the address in the settings
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(flatten)]
    pub patience: Patience,
}

#[derive(Debug, Args)]
pub struct ForgeQuestion {
    #[command(flatten)]
    pub settings: SettingsFile,
    #[command(flatten)]
    pub patience: Patience,
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
    },
    /// Print the JSON schema of a policy
    Schema {
        /// Instead: the custom resource definitions, for kubectl apply --server-side -f -
        #[arg(long)]
        crd: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the settings as resolved from file, environment and flags
    View(SettingsFile),
    /// Print which file is read
    Path(SettingsFile),
    /// Check the settings file
    Validate(SettingsFile),
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
