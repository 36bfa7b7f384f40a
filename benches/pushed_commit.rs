//! From a decision to its pushed commit, against the git command line in the same run. Comes in: nothing but
//! the real `git`. Goes out: a table of medians and their ratios; a slow run is told, never failed.
//!
//! A generated repository has `TARS_BENCH_FILES` files (100,000) in a tree ten folders deep; a small one beside
//! it shows whether the number of files costs anything. In every round, one after the other:
//!
//! | row | what is timed |
//! |---|---|
//! | tars | look at the remote, read one file's bytes, write blob and trees, sign a proposal and a ledger entry, push both branches in one atomic push |
//! | tars, watched branch moved | the same after somebody changed ten files: fetch and tree comparison come on top |
//! | push | `git push` alone, of a commit that is already there |
//! | warm work tree | edit, `git commit`, `git push` in a checked-out clone |
//! | shallow clone | `git clone --depth 1`, edit, `git commit`, `git push` |
//!
//! The rooms of tars are private, and a door for benches would be one for everybody: the drivers import
//! nothing of ours, so this file takes the room itself.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench plays the outside world and ends at the first surprise"
)]

// A bench without a harness is compiled with its unit tests, which then nobody calls.
#[allow(unused, reason = "part of the room, and none of its tests, is used here")]
#[path = "../src/outside/mod.rs"]
mod outside;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use outside::git::{CommitDraft, GitSettings, Mirror, PushOutcome, RefUpdate, TreeLimits};
use outside::sign::SigningKey;

const MAIN: &str = "refs/heads/main";
const LEDGER: &str = "refs/heads/tars/ledger";
/// Folders above the four that are counted, so that the tree is ten deep with the file.
const PREFIX: &str = "clusters/production/teams/shop/apps";
/// Ten files each: what one folder of a GitOps repository holds.
const FILES_PER_FOLDER: usize = 10;
const SMALL: usize = 1_000;
/// Files that somebody else changes between two rounds.
const MOVED_FILES: usize = 10;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |it| it.parse().unwrap())
}

fn path(file: usize) -> String {
    let folder = file / FILES_PER_FOLDER;
    let (a, b, c, d) = (folder / 1000, folder / 100 % 10, folder / 10 % 10, folder % 10);
    format!("{PREFIX}/zone-{a}/group-{b}/service-{c}/part-{d}/file-{}.yaml", file % FILES_PER_FOLDER)
}

fn manifest(file: usize, replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{file}\n  namespace: shop\nspec:\n  \
         replicas: {replicas} # sized by hand\n"
    )
}

/// Git with nobody's settings; its standard output.
fn git(folder: &Path, args: &[&str]) -> String {
    let out = command(folder, args).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.current_dir(folder).args(args).env_clear();
    git.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/nonexistent").env("LC_ALL", "C");
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for (who, name) in [("AUTHOR", "peer"), ("COMMITTER", "peer")] {
        git.env(format!("GIT_{who}_NAME"), name).env(format!("GIT_{who}_EMAIL"), "peer@example.org");
    }
    git
}

/// A bare repository with `files` manifests on `main`, written as one stream.
fn generate(hub: &Path, files: usize) {
    let parent = hub.parent().unwrap();
    git(parent, &["init", "-q", "--bare", "-b", "main", hub.to_str().unwrap()]);
    let mut import = command(hub, &["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stream = std::io::BufWriter::new(import.stdin.take().unwrap());
    let message = "Everything";
    write!(stream, "commit {MAIN}\ncommitter peer <peer@example.org> 1700000000 +0000\n").unwrap();
    write!(stream, "data {}\n{message}\n", message.len()).unwrap();
    for file in 0..files {
        let text = manifest(file, 3);
        write!(stream, "M 100644 inline {}\ndata {}\n{text}\n", path(file), text.len()).unwrap();
    }
    stream.flush().unwrap();
    drop(stream);
    assert!(import.wait().unwrap().success());
}

/// tars' side of one repository.
struct Ours {
    mirror: Mirror,
    signer: SigningKey,
    main: String,
    ledger: Option<String>,
    /// What an index would remember of the one file: its blob.
    blob: String,
    file: String,
}

impl Ours {
    async fn open(hub: &Path, folder: &Path, file: usize) -> (Self, Duration) {
        let settings = GitSettings {
            url: hub.to_str().unwrap().to_owned(),
            state_dir: folder.join("state"),
            timeout_s: 120,
            ssh_identity: None,
            ssh_known_hosts: None,
            name: "tars".to_owned(),
            email: "tars@example.org".to_owned(),
            token: None,
        };
        let started = Instant::now();
        let mirror = Mirror::open(&settings).await.unwrap();
        let main = mirror.fetch(&[MAIN, "refs/heads/tars/*"]).await.unwrap()[MAIN].clone();
        let cold = started.elapsed();
        let (signer, _) = SigningKey::generate(&folder.join("key")).unwrap();
        let file = path(file);
        let wanted = |path: &str| path == file;
        let rows = mirror.objects().changed_entries(None, &main, TreeLimits::default(), &wanted).unwrap();
        let blob = rows[0].new.clone().unwrap().oid;
        (Self { mirror, signer, main, ledger: None, blob, file }, cold)
    }

    /// One decision, from the look at the remote to the confirmed push.
    async fn propose(&mut self, round: usize) -> Spent {
        let started = Instant::now();
        let refs = self.mirror.fetch(&[MAIN, "refs/heads/tars/*"]).await.unwrap();
        let look = started.elapsed();
        let objects = self.mirror.objects();
        if refs[MAIN] != self.main {
            let wanted = |path: &str| path == self.file;
            let limits = TreeLimits::default();
            let rows = objects.changed_entries(Some(&self.main), &refs[MAIN], limits, &wanted).unwrap();
            if let Some(entry) = rows.into_iter().next().and_then(|row| row.new) {
                self.blob = entry.oid;
            }
            self.main.clone_from(&refs[MAIN]);
        }
        let before = String::from_utf8(objects.blob(&self.blob, 1 << 20).unwrap()).unwrap();
        let after = before.replace("replicas: 3", &format!("replicas: {}", round + 4));
        let proposal = self.commit(Some(&self.main), &self.file, &after, "Scale out");
        let entry =
            self.commit(self.ledger.as_deref(), "open/app.yaml", &format!("round: {round}\n"), "Proposed");
        let updates = [
            RefUpdate { name: LEDGER.to_owned(), new: Some(entry.clone()), expect: self.ledger.clone() },
            RefUpdate { name: format!("refs/heads/tars/app/{round}"), new: Some(proposal), expect: None },
        ];
        let own = started.elapsed() - look;
        let outcome = self.mirror.push(&updates).await.unwrap();
        let whole = started.elapsed();
        assert_eq!(outcome, PushOutcome::Landed);
        self.ledger = Some(entry);
        Spent { whole, look, own }
    }

    fn commit(&self, parent: Option<&str>, path: &str, text: &str, message: &str) -> String {
        let draft = CommitDraft {
            base_tree: parent.map(str::to_owned),
            edits: vec![(path.to_owned(), Some(text.as_bytes().to_vec()))],
            parents: parent.map(str::to_owned).into_iter().collect(),
            message: message.to_owned(),
            author: ("tars".to_owned(), "tars@example.org".to_owned()),
            time_s: 1_700_000_100,
        };
        self.mirror.objects().write_commit(&draft, &self.signer).unwrap().commit
    }
}

/// Where the time of one decision went; the rest of `whole` is the push.
struct Spent {
    whole: Duration,
    /// The look at the remote.
    look: Duration,
    /// In this process: comparing trees, reading, writing and signing.
    own: Duration,
}

/// Somebody changes ten files on the watched branch.
fn move_main(hub: &Path, round: usize) {
    let mut stream = format!("commit {MAIN}\ncommitter peer <peer@example.org> 1700000200 +0000\n");
    write!(stream, "data 4\nMove\nfrom {MAIN}^0\n").unwrap();
    for file in 0..MOVED_FILES {
        let text = manifest(file * 97, 100 + round);
        write!(stream, "M 100644 inline {}\ndata {}\n{text}\n", path(file * 97), text.len()).unwrap();
    }
    let mut import = command(hub, &["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
}

fn edit_and_commit(clone: &Path, file: usize, round: usize) {
    std::fs::write(clone.join(path(file)), manifest(file, 1_000 + round)).unwrap();
    git(clone, &["commit", "-q", "--no-verify", "-a", "-m", "Scale out"]);
}

fn push(clone: &Path, branch: &str) -> Duration {
    let started = Instant::now();
    git(clone, &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")]);
    started.elapsed()
}

/// The three ways of the command line, in one round.
struct Peers {
    hub: PathBuf,
    folder: PathBuf,
    warm: PathBuf,
    file: usize,
}

impl Peers {
    fn new(hub: &Path, folder: &Path, file: usize) -> Self {
        let warm = folder.join("warm");
        let url = format!("file://{}", hub.display());
        git(folder, &["clone", "-q", &url, warm.to_str().unwrap()]);
        Self { hub: hub.to_owned(), folder: folder.to_owned(), warm, file }
    }

    fn bare_push(&self, round: usize) -> Duration {
        edit_and_commit(&self.warm, self.file, 2 * round);
        push(&self.warm, &format!("peer/push-{round}"))
    }

    fn warm_work_tree(&self, round: usize) -> Duration {
        let started = Instant::now();
        edit_and_commit(&self.warm, self.file, 2 * round + 1);
        push(&self.warm, &format!("peer/warm-{round}"));
        started.elapsed()
    }

    fn shallow_clone(&self, round: usize) -> Duration {
        let clone = self.folder.join("shallow");
        let url = format!("file://{}", self.hub.display());
        let started = Instant::now();
        git(&self.folder, &["clone", "-q", "--depth", "1", &url, clone.to_str().unwrap()]);
        edit_and_commit(&clone, self.file, round);
        push(&clone, &format!("peer/shallow-{round}"));
        let took = started.elapsed();
        std::fs::remove_dir_all(clone).unwrap();
        took
    }
}

/// Peak resident memory of this process, in MiB (proc_pid_status(5), `VmHWM`).
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(f64::NAN);
    kib / 1024.0
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (files, rounds) = (number("TARS_BENCH_FILES", 100_000), number("TARS_BENCH_ROUNDS", 7));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (large, small) = (at("large.git"), at("small.git"));
    generate(&large, files);
    generate(&small, SMALL);
    for name in ["ours-large", "ours-small", "peers"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let empty_mib = peak_mib();
    let (mut ours, cold) = Ours::open(&large, &at("ours-large"), files / 2).await;
    let (mut ours_small, _) = Ours::open(&small, &at("ours-small"), SMALL / 2).await;
    let peers = Peers::new(&large, &at("peers"), files / 2);

    let mut times: [Vec<Duration>; 6] = Default::default();
    let mut parts: [Vec<Duration>; 4] = Default::default();
    for round in 0..rounds {
        let spent = [ours.propose(2 * round).await, ours_small.propose(round).await];
        times[2].push(peers.bare_push(round));
        times[3].push(peers.warm_work_tree(round));
        times[4].push(peers.shallow_clone(round));
        move_main(&large, round);
        times[5].push(ours.propose(2 * round + 1).await.whole);
        for (at, spent) in spent.into_iter().enumerate() {
            times[at].push(spent.whole);
            parts[2 * at].push(spent.look);
            parts[2 * at + 1].push(spent.own);
        }
    }
    let [tars, tars_small, push, warm, shallow, moved] = times.each_mut().map(|it| median(it));
    let [look, own, look_small, own_small] = parts.each_mut().map(|it| median(it));

    println!("decision to pushed commit, median of {rounds} rounds, milliseconds");
    for (name, ms) in [
        (format!("tars, {files} files"), tars),
        ("  of which the look at the remote".to_owned(), look),
        ("  of which in this process".to_owned(), own),
        (format!("tars, {SMALL} files"), tars_small),
        ("  of which the look at the remote".to_owned(), look_small),
        ("  of which in this process".to_owned(), own_small),
        ("tars, watched branch moved".to_owned(), moved),
        ("push".to_owned(), push),
        ("warm work tree".to_owned(), warm),
        ("shallow clone".to_owned(), shallow),
        ("first fetch of tars, once".to_owned(), cold.as_secs_f64() * 1_000.0),
    ] {
        println!("  {name:<36}{ms:>10.1}");
    }
    println!("ratios");
    for (name, ratio, goal) in [
        ("tars / push", tars / push, "goal: at most 2"),
        ("warm work tree / tars", warm / tars, "no goal"),
        ("shallow clone / tars", shallow / tars, "goal: at least 20"),
        ("in this process, many / few files", own / own_small, "goal: near 1"),
        // A server walks the whole tree of what it has before it takes a push (rev-list --objects --not --all):
        // the same for every client, and nothing that a client can spare it.
        ("whole, many / few files", tars / tars_small, "bounded by push, many / few files"),
    ] {
        println!("  {name:<36}{ratio:>10.2}  ({goal})");
    }
    println!("peak memory of tars, MiB: {:.1}, of which {empty_mib:.1} before the first fetch", peak_mib());
}
