//! A local bare clone of one remote, with fetch and push. In: full branch names and object ids. Out: what the
//! remote has, and whether a push landed, was refused, or is unknown. No error text is ever interpreted, and
//! a clone is never repaired: it is dropped and opened anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Mutex;

use super::super::command::{CommandError, CommandOutput};
use super::super::files::{self, FileError, Lock};
use super::super::random;
use super::names::{check_ref, check_ref_pattern, parse_oid, ref_matches, refused};
use super::objects::Objects;
use super::program::Program;
use super::{GitError, GitSettings};

/// Most folders of other clones looked at when opening.
const CLONES_MAX: usize = 10_000;

/// How often a fresh folder name may lose the race against a clean-up.
const OPEN_ATTEMPTS_MAX: u32 = 5;

/// Failed fetches in a row, with a remote that answers, after which the clone itself is suspected.
const FETCH_FAILURES_MAX: u32 = 2;

/// Longest piece of git's own words handed on, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// One branch of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Full name, `refs/heads/...`.
    pub name: String,
    /// The commit it shall have; `None` deletes it.
    pub new: Option<String>,
    /// The commit it must have on the remote for anything to happen; `None`: it must not exist.
    pub expect: Option<String>,
}

/// How a push ended. All branches of one push share one fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// The remote confirmed every branch.
    Landed,
    /// The remote, or the lease, refused every branch: nothing changed. Says why, escaped; for people only.
    Rejected(String),
    /// It may have landed. Read the branch again and look for what was pushed; never push again blindly.
    Unknown(String),
}

/// A disposable bare clone in a folder of its own, locked for as long as this value lives, deleted with it.
#[derive(Debug)]
pub struct Mirror {
    objects: Objects,
    program: Program,
    folder: PathBuf,
    lock_path: PathBuf,
    _lock: Lock,
    /// Two fetches at once would fight over git's own locks.
    fetching: Mutex<()>,
    failures: AtomicU32,
    doubtful: AtomicBool,
}

impl Mirror {
    /// Makes an empty clone and deletes those whose process is gone. Does not talk to the remote.
    ///
    /// # Errors
    /// When the settings are refused, git is missing or too old, or the folder cannot be written.
    pub async fn open(settings: &GitSettings) -> Result<Self, GitError> {
        let clones = settings.state_dir.join("clones");
        Program::new(settings, &clones, &clones)?;
        files::create_private_dir(&clones)?;
        // Git gets this path through the environment and runs elsewhere.
        let clones = clones.canonicalize().map_err(|source| FileError::Io {
            what: "resolve",
            path: clones.clone(),
            source,
        })?;
        delete_stale(&clones)?;
        let (folder, lock_path, lock) = claim(&clones)?;
        let (repository, home) = (folder.join("repository.git"), folder.join("home"));
        let prepared = files::create_private_dir(&home).map_err(GitError::from).and_then(|()| {
            Ok((Objects::init_bare(&repository)?, Program::new(settings, &repository, &home)?))
        });
        let (objects, program) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                discard(&folder, &lock_path);
                return Err(error);
            }
        };
        let mirror = Self {
            objects,
            program,
            folder,
            lock_path,
            _lock: lock,
            fetching: Mutex::new(()),
            failures: AtomicU32::new(0),
            doubtful: AtomicBool::new(false),
        };
        mirror.program.check_version().await?;
        Ok(mirror)
    }

    /// What the git program hashes with, if it says that this does not detect collisions.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn careless_sha1(&self) -> Result<Option<String>, GitError> {
        self.program.careless_sha1().await
    }

    /// The objects of this clone, fetched and written.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Brings the named branches (`refs/heads/main`, `refs/heads/tars/*`) and their history here. Answers
    /// what the remote has of them, full name to commit; a name that is missing does not exist there.
    ///
    /// # Errors
    /// [`GitError::Remote`] when the remote cannot be read; [`GitError::Doubtful`] when the clone must go.
    pub async fn fetch(&self, refs: &[&str]) -> Result<BTreeMap<String, String>, GitError> {
        self.fetch_counting(refs, true).await
    }

    /// As [`Mirror::fetch`], for branches that we can do without: that they cannot be had, however often,
    /// says nothing against the clone.
    ///
    /// # Errors
    /// As `fetch`.
    pub async fn fetch_beside(&self, refs: &[&str]) -> Result<BTreeMap<String, String>, GitError> {
        self.fetch_counting(refs, false).await
    }

    async fn fetch_counting(
        &self,
        refs: &[&str],
        counts: bool,
    ) -> Result<BTreeMap<String, String>, GitError> {
        for pattern in refs {
            check_ref_pattern(pattern)?;
        }
        let _turn = self.fetching.lock().await;
        self.check_trust("fetch")?;
        let remote = self.advertised(refs).await?;
        let local = self.local(refs)?;
        if remote == local {
            return Ok(remote);
        }
        for name in local.keys().filter(|name| !remote.contains_key(*name)) {
            self.forget(name)?;
        }
        let wanted: Vec<String> = refs
            .iter()
            .filter(|pattern| remote.keys().any(|name| ref_matches(pattern, name)))
            .map(|pattern| format!("+{pattern}:{pattern}"))
            .collect();
        if !wanted.is_empty() {
            self.transfer(&wanted, counts).await?;
        }
        self.local(refs)
    }

    /// Pushes branches with a lease on each: all of them or none (`--atomic`, `--force-with-lease`).
    ///
    /// # Errors
    /// Only for what never reached the remote: a refused name, a missing commit, a git that cannot start.
    pub async fn push(&self, updates: &[RefUpdate]) -> Result<PushOutcome, GitError> {
        let mut args = vec!["push".to_owned(), "--atomic".into(), "--porcelain".into(), "--no-verify".into()];
        let mut specs = Vec::new();
        let mut names = BTreeSet::new();
        for update in updates {
            self.check_update(update)?;
            if !names.insert(&update.name[..]) {
                return Err(refused("reference", &update.name, "it is named twice in one push"));
            }
            args.push(format!(
                "--force-with-lease={}:{}",
                update.name,
                update.expect.as_deref().unwrap_or("")
            ));
            specs.push(format!("{}:{}", update.new.as_deref().unwrap_or(""), update.name));
        }
        if updates.is_empty() {
            return Err(refused("push", "", "it names no reference"));
        }
        self.check_trust("push")?;
        args.push("--end-of-options".to_owned());
        args.push(self.program.url().to_owned());
        args.extend(specs);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match self.program.run(&args).await {
            Ok(output) => {
                let outcome = outcome(updates, &output);
                if outcome == PushOutcome::Landed {
                    self.note_landed(updates);
                }
                Ok(outcome)
            }
            Err(source @ CommandError::Start { .. }) => Err(GitError::Program { what: "push", source }),
            Err(other) => Ok(PushOutcome::Unknown(other.to_string())),
        }
    }

    /// The clone has what it pushed. Were that not noted, the next look would fetch it, and git would walk the whole
    /// tree to prove that nothing is missing. What is not noted costs that, and nothing else.
    fn note_landed(&self, updates: &[RefUpdate]) {
        let Ok(_turn) = self.fetching.try_lock() else { return };
        let repository = self.objects.lock();
        for RefUpdate { name, new, .. } in updates {
            let _ = match new.as_deref().map(parse_oid) {
                Some(Ok(new)) => repository.reference(name, new, true, "").map(drop),
                Some(Err(_)) => Ok(()),
                None => repository.find_reference(name).and_then(|mut it| it.delete()),
            };
        }
    }

    fn check_update(&self, update: &RefUpdate) -> Result<(), GitError> {
        check_ref(&update.name)?;
        if let Some(expect) = &update.expect {
            parse_oid(expect)?;
        }
        match &update.new {
            Some(new) => self.objects.tree_of(new).map(drop),
            None if update.expect.is_none() => {
                Err(refused("reference", &update.name, "it can be deleted only if it exists"))
            }
            None => Ok(()),
        }
    }

    fn check_trust(&self, what: &'static str) -> Result<(), GitError> {
        if self.doubtful.load(Ordering::SeqCst) { Err(GitError::Doubtful { what }) } else { Ok(()) }
    }

    fn doubt(&self, what: &'static str) -> GitError {
        self.doubtful.store(true, Ordering::SeqCst);
        GitError::Doubtful { what }
    }

    /// What the remote has. Writes nothing here, so a failure leaves the clone as good as it was.
    async fn advertised(&self, refs: &[&str]) -> Result<BTreeMap<String, String>, GitError> {
        let mut args =
            vec!["ls-remote", "--heads", "--refs", "--quiet", "--end-of-options", self.program.url()];
        args.extend(refs);
        let output = match self.program.run(&args).await {
            Ok(output) if output.success() => output,
            Ok(output) => return Err(remote_error("list the branches of", &output)),
            Err(source @ CommandError::Start { .. }) => {
                return Err(GitError::Program { what: "list the branches", source });
            }
            Err(other) => {
                return Err(GitError::Remote { what: "list the branches of", detail: other.to_string() });
            }
        };
        let text = String::from_utf8_lossy(&output.stdout);
        // Git matches a pattern against the end of a name; only whole names count here. A name that we would
        // refuse to ask for is one that nobody here can mean.
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(oid, name)| parse_oid(oid).is_ok() && check_ref(name).is_ok())
            .filter(|(_, name)| refs.iter().any(|pattern| ref_matches(pattern, name)))
            .map(|(oid, name)| (name.to_owned(), oid.to_owned()))
            .collect())
    }

    fn local(&self, refs: &[&str]) -> Result<BTreeMap<String, String>, GitError> {
        let mut all = self.objects.refs("refs/heads/")?;
        all.retain(|name, _| {
            check_ref(name).is_ok() && refs.iter().any(|pattern| ref_matches(pattern, name))
        });
        Ok(all)
    }

    fn forget(&self, name: &str) -> Result<(), GitError> {
        let repository = self.objects.lock();
        let deleted = repository.find_reference(name).and_then(|mut reference| reference.delete());
        deleted.map_err(|_| self.doubt("forget a branch"))
    }

    /// The whole history, on purpose. In 20,000 commits on 5,000 files a shallow first fetch (`--depth 1`) took a
    /// twentieth of the time and one without old files (`--filter=blob:none`) half of it, once per process. But
    /// whether a merge has landed, a synced revision holds it, or somebody else was faster is told by ancestry,
    /// and in a cut history "is not an ancestor" is a guess; and the index reads nearly every file.
    async fn transfer(&self, refspecs: &[String], counts: bool) -> Result<(), GitError> {
        let mut args =
            vec!["fetch", "--prune", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        args.extend(["--no-auto-maintenance", "--quiet", "--end-of-options", self.program.url()]);
        args.extend(refspecs.iter().map(String::as_str));
        // Also when this future is dropped half-way: what a stopped git leaves behind is not looked into.
        let guard = DoubtOnDrop(&self.doubtful);
        let result = self.program.run_filling(&args).await;
        match result {
            Ok(output) if output.success() => {
                guard.disarm();
                self.failures.store(0, Ordering::SeqCst);
                Ok(())
            }
            // It ended by itself and so cleaned up after itself; the remote is at fault, unless it persists.
            Ok(output) if output.status_code.is_some() => {
                guard.disarm();
                if counts && self.failures.fetch_add(1, Ordering::SeqCst) + 1 >= FETCH_FAILURES_MAX {
                    return Err(self.doubt("fetch"));
                }
                Err(remote_error("fetch from", &output))
            }
            Err(source @ CommandError::Start { .. }) => {
                guard.disarm();
                Err(GitError::Program { what: "fetch", source })
            }
            Err(CommandError::FolderTooLarge { .. }) => {
                Err(GitError::CloneTooLarge { max_mib: self.program.clone_max_mib() })
            }
            Ok(_) | Err(_) => Err(self.doubt("fetch")),
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        discard(&self.folder, &self.lock_path);
    }
}

struct DoubtOnDrop<'a>(&'a AtomicBool);

impl DoubtOnDrop<'_> {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for DoubtOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Takes a new folder: the lock first, then the folder, so that a folder without a held lock is always stale.
fn claim(clones: &Path) -> Result<(PathBuf, PathBuf, Lock), GitError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let name = random::hex(8)?;
        let (folder, lock_path) = (clones.join(&name), clones.join(format!("{name}.lock")));
        match files::lock_exclusive(&lock_path) {
            Ok(lock) => {
                files::create_private_dir(&folder)?;
                return Ok((folder, lock_path, lock));
            }
            // Another process took the new lock file for a stale one and removed it.
            Err(FileError::Locked { .. }) if attempt < OPEN_ATTEMPTS_MAX => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Deletes the clones whose lock nobody holds: their process is gone, killed or not.
fn delete_stale(clones: &Path) -> Result<(), GitError> {
    for name in files::names_in(clones, CLONES_MAX)? {
        let stem = name.strip_suffix(".lock").unwrap_or(&name);
        let (folder, lock_path) = (clones.join(stem), clones.join(format!("{stem}.lock")));
        // A folder without its lock file gets one here, and goes with it.
        if let Ok(_held) = files::lock_exclusive(&lock_path) {
            discard(&folder, &lock_path);
        }
    }
    Ok(())
}

/// Deletes a clone. What cannot be deleted now is deleted by the next process that opens one.
fn discard(folder: &Path, lock_path: &Path) {
    if files::remove_dir(folder).is_ok() {
        let _ = files::remove_file(lock_path);
    }
}

/// Reads the machine-readable report of a push (git-push(1), "Output"): one line per branch.
pub(super) fn outcome(updates: &[RefUpdate], output: &CommandOutput) -> PushOutcome {
    let text = String::from_utf8_lossy(&output.stdout);
    let report: BTreeMap<&str, (char, &str)> = text.lines().filter_map(report_line).collect();
    let said = |update: &RefUpdate| report.get(&update.name[..]).copied();
    let landed = |update: &RefUpdate| match said(update) {
        Some((' ' | '+' | '-' | '*', _)) => true,
        // "Already there" fulfils a lease only if that is what the lease said; else somebody else put it
        // there.
        Some(('=', _)) => update.new == update.expect,
        _ => false,
    };
    // "[remote failure]" is a remote that did not report: not a refusal.
    let refused = |update: &RefUpdate| {
        said(update).is_some_and(|(flag, why)| {
            flag == '!' && (why.starts_with("[rejected]") || why.starts_with("[remote rejected]"))
        })
    };
    if output.success() && updates.iter().all(landed) {
        return PushOutcome::Landed;
    }
    if output.status_code == Some(1) && updates.iter().all(refused) {
        let reasons: Vec<String> = updates
            .iter()
            .filter_map(|update| Some(format!("{} {}", update.name, said(update)?.1)))
            .collect();
        return PushOutcome::Rejected(detail(&reasons.join("; ")));
    }
    PushOutcome::Unknown(detail(&output.stderr))
}

/// `<flag> TAB <from>:<to> TAB <summary>`.
fn report_line(line: &str) -> Option<(&str, (char, &str))> {
    let mut fields = line.splitn(3, '\t');
    let (flag, names, summary) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, to) = names.split_once(':')?;
    let mut flags = flag.chars();
    let flag = flags.next().filter(|_| flags.next().is_none())?;
    Some((to, (flag, summary)))
}

fn remote_error(what: &'static str, output: &CommandOutput) -> GitError {
    GitError::Remote { what, detail: detail(&output.stderr) }
}

/// What git says of every remote that it cannot read, whatever the cause; the cause stands before it.
const ADVICE: [&str; 3] = [
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
];

/// One line of bounded, printable text.
fn detail(text: &str) -> String {
    let text = super::super::command::printable(text.as_bytes());
    let lines: Vec<&str> = text.split('\n').map(str::trim).filter(|it| !it.is_empty()).collect();
    let told: Vec<&str> = lines.iter().copied().filter(|it| !ADVICE.contains(it)).collect();
    let line = if told.is_empty() { lines } else { told }.join(" | ");
    let line: String = line.chars().take(DETAIL_CHARS_MAX).collect();
    if line.is_empty() { "git said nothing".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(name: &str, new: Option<&str>, expect: Option<&str>) -> RefUpdate {
        RefUpdate { name: name.to_owned(), new: new.map(str::to_owned), expect: expect.map(str::to_owned) }
    }

    fn said(status: Option<i32>, stdout: &str, updates: &[RefUpdate]) -> PushOutcome {
        let output = CommandOutput { status_code: status, stdout: stdout.into(), stderr: String::new() };
        outcome(updates, &output)
    }

    #[test]
    fn landed_needs_the_word_of_the_remote_for_every_branch() {
        let both = [update("refs/heads/a", Some("1"), None), update("refs/heads/b", Some("2"), Some("1"))];
        let full = "To x\n*\t1:refs/heads/a\t[new branch]\n \t2:refs/heads/b\t1..2\nDone\n";
        assert_eq!(said(Some(0), full, &both), PushOutcome::Landed);
        let half = "To x\n*\t1:refs/heads/a\t[new branch]\nDone\n";
        assert!(matches!(said(Some(0), half, &both), PushOutcome::Unknown(_)));
        assert!(matches!(said(Some(0), "Done\n", &both), PushOutcome::Unknown(_)));
        assert!(matches!(said(None, full, &both), PushOutcome::Unknown(_)));
    }

    #[test]
    fn rejected_needs_a_refusal_of_every_branch() {
        let both = [update("refs/heads/a", Some("1"), None), update("refs/heads/b", Some("2"), Some("1"))];
        let stale = "!\t1:refs/heads/a\t[rejected] (stale info)\n\
                     !\t2:refs/heads/b\t[rejected] (atomic push failed)\n";
        assert!(matches!(said(Some(1), stale, &both), PushOutcome::Rejected(_)));
        let mixed = "!\t1:refs/heads/a\t[rejected] (stale info)\n \t2:refs/heads/b\t1..2\n";
        assert!(matches!(said(Some(1), mixed, &both), PushOutcome::Unknown(_)));
        let silent = "!\t1:refs/heads/a\t[remote failure] (remote failed to report status)\n";
        assert!(matches!(said(Some(1), silent, &both[..1]), PushOutcome::Unknown(_)));
        assert!(matches!(said(Some(128), stale, &both), PushOutcome::Unknown(_)));
        assert!(matches!(said(None, stale, &both), PushOutcome::Unknown(_)));
    }

    #[test]
    fn already_there_is_a_success_only_if_the_lease_said_so() {
        let line = "=\t1:refs/heads/a\t[up to date]\nDone\n";
        assert_eq!(said(Some(0), line, &[update("refs/heads/a", Some("1"), Some("1"))]), PushOutcome::Landed);
        let taken = [update("refs/heads/a", Some("1"), None)];
        assert!(matches!(said(Some(0), line, &taken), PushOutcome::Unknown(_)));
    }

    #[test]
    fn words_of_the_remote_are_one_short_printable_line() {
        assert_eq!(detail("remote: a\x1b[2J\n\nremote: b\n"), "remote: a\\u{1b}[2J | remote: b");
        let advice = ADVICE.join("\n");
        assert_eq!(detail(&format!("fatal: no such host\n{advice}\n")), "fatal: no such host");
        assert_eq!(detail(&advice), ADVICE.join(" | "), "better than nothing");
        assert_eq!(detail(&"x".repeat(5000)).len(), DETAIL_CHARS_MAX);
    }
}
