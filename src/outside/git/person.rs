//! Git as a person has it set up: their identity, keys, helpers and remotes, in their own clone. Branch names and
//! object ids come in, what git did comes out. For commands a person gives; the reconciler never uses it.
//!
//! No branch, index or work tree of the clone is touched, and none of its hooks runs: objects are added, and what the
//! clone knows of a remote branch moves with a push, as it does with every push. Nothing
//! may ask questions, because a stop at night must not hang at a prompt: keys belong in an agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::command::{self, CommandError, CommandOutput, CommandSpec, CommandValue, printable};
use super::super::system;
use super::names::{check_ref, parse_oid, refused};
use super::remote::{PushOutcome, RefUpdate, outcome};
use super::{GitError, Objects};

/// For one run of git; a fetch of what is new since the last one is the longest.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Most bytes git may print.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Longest piece of git's own words handed on, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// Variables that would point git at another repository than the one named.
const REDIRECTS: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// A person's clone.
#[derive(Debug)]
pub struct Person {
    folder: PathBuf,
    objects: Objects,
}

/// A commit that a person made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub commit: String,
    pub signed: bool,
}

impl Person {
    /// Opens the clone in `folder`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: &Path) -> Result<Self, GitError> {
        Ok(Self { folder: folder.to_owned(), objects: Objects::open(folder)? })
    }

    /// Clones `url` without a work tree into `folder`, which is empty, and opens that.
    ///
    /// # Errors
    /// When the remote cannot be read.
    pub async fn clone_bare(url: &str, folder: &Path) -> Result<Self, GitError> {
        let args = ["clone", "--bare", "--quiet", "--end-of-options", url, "."];
        let ended = command::run(spec(folder, &args)).await;
        let output = ended.map_err(|source| GitError::Program { what: "clone", source })?;
        if !output.success() {
            return Err(GitError::Remote { what: "clone", detail: detail(&output) });
        }
        Self::open(folder)
    }

    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// `Name <address>`, as the person's next commit would have it.
    ///
    /// # Errors
    /// When git does not know who they are.
    pub async fn identity(&self) -> Result<String, GitError> {
        Self::identity_in(&self.folder).await
    }

    /// The same in any folder, clone or not.
    ///
    /// # Errors
    /// As [`Person::identity`].
    pub async fn identity_in(folder: &Path) -> Result<String, GitError> {
        let what = "tell who you are";
        let ended = command::run(spec(folder, &["var", "GIT_COMMITTER_IDENT"])).await;
        let output = ended.map_err(|source| GitError::Program { what, source })?;
        if !output.success() {
            return Err(GitError::Person { what, detail: detail(&output) });
        }
        let ident = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // The time stands behind it.
        Ok(ident.rsplit_once('>').map_or(ident.clone(), |(who, _)| format!("{who}>")))
    }

    /// The head of a branch (`refs/heads/...`) of `remote` this very moment, with its history in this clone; `None`:
    /// there is no such branch.
    ///
    /// # Errors
    /// When the remote cannot be read.
    pub async fn head_of(&self, remote: &str, branch: &str) -> Result<Option<String>, GitError> {
        check_ref(branch)?;
        let args = ["ls-remote", "--heads", "--refs", "--quiet", "--end-of-options", remote, branch];
        let listed = self.reach("list the branches of", &args).await?;
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let rows = text.lines().filter_map(|line| line.split_once('\t'));
        let is_it = |(oid, name): &(&str, &str)| *name == branch && parse_oid(oid).is_ok();
        let Some((head, _)) = rows.into_iter().find(is_it) else {
            return Ok(None);
        };
        // Even where the commit is here: of another fetch that is under way, or was killed, it may be all that is. Git looks
        // whether everything below it is, and asks for nothing then.
        // Objects alone: neither a branch of the clone nor FETCH_HEAD moves, so two of these do not meet.
        let fetch = ["fetch", "--no-tags", "--no-write-fetch-head", "--refmap=", "--no-auto-maintenance"];
        let what = ["--no-recurse-submodules", "--quiet", "--end-of-options", remote, branch];
        self.reach("fetch from", &[&fetch[..], &what].concat()).await?;
        Ok(Some(head.to_owned()))
    }

    /// Commits `tree` on `parent` as this person does, signed when they sign (`commit.gpgSign`).
    ///
    /// # Errors
    /// When git does not know who they are, or cannot sign.
    pub async fn commit(&self, tree: &str, parent: &str, message: &str) -> Result<Made, GitError> {
        parse_oid(tree)?;
        parse_oid(parent)?;
        let signs = self.ask(&["config", "--type=bool", "--get", "commit.gpgSign"]).await?;
        let signed = signs.success() && String::from_utf8_lossy(&signs.stdout).trim() == "true";
        let mut args = vec!["commit-tree", "-p", parent, "-F", "-"];
        if signed {
            args.push("-S");
        }
        args.push(tree);
        let spec = CommandSpec { stdin: Some(message.as_bytes().to_vec()), ..self.spec(&args) };
        let made = command::run(spec).await.map_err(|source| GitError::Program { what: "commit", source })?;
        if !made.success() {
            return Err(GitError::Person { what: "commit as you", detail: detail(&made) });
        }
        let commit = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        parse_oid(&commit)?;
        Ok(Made { commit, signed })
    }

    /// Notes a commit in the clone itself under `refs/tars-cli/...`, which is no branch.
    ///
    /// # Errors
    /// When the clone cannot be written.
    pub async fn remember(&self, name: &str, commit: &str) -> Result<(), GitError> {
        parse_oid(commit)?;
        if !name.starts_with("refs/tars-cli/") {
            return Err(refused("reference", name, "it is not one of this command's own"));
        }
        let what = "note a commit";
        let output = self.ask(&["update-ref", "--end-of-options", name, commit]).await?;
        if output.success() { Ok(()) } else { Err(GitError::Person { what, detail: detail(&output) }) }
    }

    /// What [`Person::remember`] noted under `name`.
    ///
    /// # Errors
    /// When the clone cannot be read.
    pub async fn recall(&self, name: &str) -> Result<Option<String>, GitError> {
        let output = self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", name]).await?;
        let noted = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
        Ok(Some(noted).filter(|noted| output.success() && parse_oid(noted).is_ok()))
    }

    /// Pushes one branch to `remote` if it stands where `update` says.
    ///
    /// # Errors
    /// Only for what never reached the remote.
    pub async fn push(&self, remote: &str, update: &RefUpdate) -> Result<PushOutcome, GitError> {
        check_ref(&update.name)?;
        let Some(new) = &update.new else {
            return Err(refused("reference", &update.name, "a person's branch is not deleted here"));
        };
        let lease =
            format!("--force-with-lease={}:{}", update.name, update.expect.as_deref().unwrap_or_default());
        let spec = format!("{new}:{}", update.name);
        let args =
            ["push", "--porcelain", "--no-verify", "--quiet", &lease, "--end-of-options", remote, &spec];
        match command::run(self.spec(&args)).await {
            Ok(output) => Ok(outcome(std::slice::from_ref(update), &output)),
            Err(source @ CommandError::Start { .. }) => Err(GitError::Program { what: "push", source }),
            Err(other) => Ok(PushOutcome::Unknown(other.to_string())),
        }
    }

    /// For what talks to a remote.
    async fn reach(&self, what: &'static str, args: &[&str]) -> Result<CommandOutput, GitError> {
        let output = self.ask(args).await?;
        if output.success() { Ok(output) } else { Err(GitError::Remote { what, detail: detail(&output) }) }
    }

    async fn ask(&self, args: &[&str]) -> Result<CommandOutput, GitError> {
        command::run(self.spec(args)).await.map_err(|source| GitError::Program { what: "run", source })
    }

    fn spec(&self, args: &[&str]) -> CommandSpec {
        spec(&self.folder, args)
    }
}

fn spec(folder: &Path, args: &[&str]) -> CommandSpec {
    let mut all = vec!["-c".into(), "core.hooksPath=/dev/null".into(), "-C".into()];
    all.push(folder.to_owned().into_os_string());
    all.extend(args.iter().map(Into::into));
    CommandSpec {
        program: "git".into(),
        args: all,
        env: environment(),
        cwd: None,
        stdin: None,
        timeout: TIMEOUT,
        output_max_bytes: OUTPUT_BYTES_MAX,
        fills: None,
    }
}

/// The person's own, but for what would point git elsewhere; and nothing asks at a terminal.
fn environment() -> Vec<(String, CommandValue)> {
    let ours =
        |name: &str| !REDIRECTS.contains(&name) && !matches!(name, "PATH" | "LC_ALL" | "GIT_TERMINAL_PROMPT");
    let mut all: Vec<(String, CommandValue)> = system::variables()
        .into_iter()
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (name, value.into()))
        .collect();
    all.push(("GIT_TERMINAL_PROMPT".to_owned(), "0".into()));
    all
}

/// What git said, as one line for people.
fn detail(output: &CommandOutput) -> String {
    let text = printable(output.stderr.as_bytes());
    let lines: Vec<&str> = text.split('\n').map(str::trim).filter(|it| !it.is_empty()).collect();
    let line: String = lines.join(" | ").chars().take(DETAIL_CHARS_MAX).collect();
    if line.is_empty() { "git said nothing".to_owned() } else { line }
}
