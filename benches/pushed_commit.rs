//! From a decision to its pushed commit, against the git command line in the same run. Generated repositories
//! come in, a big one and a small one beside it; a table of medians and their ratios goes out. In every round,
//! one after the other:
//!
//! | row | what is timed |
//! |---|---|
//! | tars | look at the remote, read one file's bytes, write blob and trees, sign a proposal and a ledger entry, push both branches in one atomic push |
//! | tars, watched branch moved | the same after somebody changed ten files: fetch and tree comparison come on top |
//! | push | `git push` alone, of a commit that is already there |
//! | warm work tree | edit, `git commit`, `git push` in a checked-out clone |
//! | shallow clone | `git clone --depth 1`, edit, `git commit`, `git push` |

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::generator::{MAIN, UNIT_FILES, change, deployment_path, deployment_text, generate, git};
use crate::outside::git::{CommitDraft, GitSettings, Mirror, PushOutcome, RefUpdate};
use crate::outside::sign::SigningKey;
use crate::{files, number, peak_mib};

const LEDGER: &str = "refs/heads/tars/ledger";
const SMALL: usize = 1_000;

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
    async fn open(hub: &Path, folder: &Path, unit: usize) -> (Self, Duration) {
        let settings = GitSettings {
            url: hub.to_str().unwrap().to_owned(),
            state_dir: folder.join("state"),
            timeout_s: 120,
            clone_max_mib: 2_048,
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
        let file = deployment_path(unit);
        let blob = mirror.objects().entry(&main, &file).unwrap().unwrap().oid;
        (Self { mirror, signer, main, ledger: None, blob, file }, cold)
    }

    /// One decision, from the look at the remote to the confirmed push.
    async fn propose(&mut self, round: usize) -> Spent {
        let started = Instant::now();
        let refs = self.mirror.fetch(&[MAIN, "refs/heads/tars/*"]).await.unwrap();
        let look = started.elapsed();
        let objects = self.mirror.objects();
        if refs[MAIN] != self.main {
            let rows = objects.changed_paths(Some(&self.main), &refs[MAIN]).unwrap();
            if let Some((_, _, Some(blob))) = rows.into_iter().find(|(path, _, _)| *path == self.file) {
                self.blob = blob;
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

/// The three ways of the command line, in one round.
struct Peers {
    hub: PathBuf,
    folder: PathBuf,
    warm: PathBuf,
    unit: usize,
}

impl Peers {
    fn new(hub: &Path, folder: &Path, unit: usize) -> Self {
        let warm = folder.join("warm");
        let url = format!("file://{}", hub.display());
        git(folder, &["clone", "-q", &url, warm.to_str().unwrap()]);
        Self { hub: hub.to_owned(), folder: folder.to_owned(), warm, unit }
    }

    fn edit_and_commit(&self, clone: &Path, round: usize) {
        let text = deployment_text(self.unit, 1_000 + round);
        std::fs::write(clone.join(deployment_path(self.unit)), text).unwrap();
        git(clone, &["commit", "-q", "--no-verify", "-a", "-m", "Scale out"]);
    }

    fn bare_push(&self, round: usize) -> Duration {
        self.edit_and_commit(&self.warm, 2 * round);
        push(&self.warm, &format!("peer/push-{round}"))
    }

    fn warm_work_tree(&self, round: usize) -> Duration {
        let started = Instant::now();
        self.edit_and_commit(&self.warm, 2 * round + 1);
        push(&self.warm, &format!("peer/warm-{round}"));
        started.elapsed()
    }

    fn shallow_clone(&self, round: usize) -> Duration {
        let clone = self.folder.join("shallow");
        let url = format!("file://{}", self.hub.display());
        let started = Instant::now();
        git(&self.folder, &["clone", "-q", "--depth", "1", &url, clone.to_str().unwrap()]);
        self.edit_and_commit(&clone, round);
        push(&clone, &format!("peer/shallow-{round}"));
        let took = started.elapsed();
        std::fs::remove_dir_all(clone).unwrap();
        took
    }
}

fn push(clone: &Path, branch: &str) -> Duration {
    let started = Instant::now();
    git(clone, &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")]);
    started.elapsed()
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

/// What is timed in each of the two repositories, by round.
#[derive(Default)]
struct Times {
    whole: Vec<Duration>,
    look: Vec<Duration>,
    own: Vec<Duration>,
    bare_push: Vec<Duration>,
}

impl Times {
    async fn round(&mut self, ours: &mut Ours, peers: &Peers, round: usize) {
        let spent = ours.propose(round).await;
        self.whole.push(spent.whole);
        self.look.push(spent.look);
        self.own.push(spent.own);
        self.bare_push.push(peers.bare_push(round));
    }
}

pub fn table() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(rounds());
}

async fn rounds() {
    let (files, rounds) = (files(), number("TARS_BENCH_ROUNDS", 7));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (large, small) = (at("large.git"), at("small.git"));
    generate(&large, files);
    generate(&small, SMALL);
    for name in ["ours-large", "ours-small", "peers-large", "peers-small"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let empty_mib = peak_mib();
    let (unit, unit_small) = (files / UNIT_FILES / 2, SMALL / UNIT_FILES / 2);
    let (mut ours, cold) = Ours::open(&large, &at("ours-large"), unit).await;
    let (mut ours_small, _) = Ours::open(&small, &at("ours-small"), unit_small).await;
    let peers = Peers::new(&large, &at("peers-large"), unit);
    let peers_small = Peers::new(&small, &at("peers-small"), unit_small);

    let (mut many, mut few) = (Times::default(), Times::default());
    let (mut warm, mut shallow, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        many.round(&mut ours, &peers, 2 * round).await;
        few.round(&mut ours_small, &peers_small, round).await;
        warm.push(peers.warm_work_tree(2 * round));
        shallow.push(peers.shallow_clone(round));
        change(&large, round);
        moved.push(ours.propose(2 * round + 1).await.whole);
    }
    let (warm, shallow, moved) = (median(&warm), median(&shallow), median(&moved));
    let [whole, look, own, push] = [&many.whole, &many.look, &many.own, &many.bare_push].map(|it| median(it));
    let [whole_few, look_few, own_few, push_few] =
        [&few.whole, &few.look, &few.own, &few.bare_push].map(|it| median(it));

    println!(
        "decision to pushed commit, median of {rounds} rounds, milliseconds, in {files} and {SMALL} files"
    );
    for (name, ms, ms_few) in [
        ("tars", whole, Some(whole_few)),
        ("  of which the look at the remote", look, Some(look_few)),
        ("  of which in this process", own, Some(own_few)),
        ("push", push, Some(push_few)),
        ("tars, watched branch moved", moved, None),
        ("warm work tree", warm, None),
        ("shallow clone", shallow, None),
        ("first fetch of tars, once", cold.as_secs_f64() * 1_000.0, None),
    ] {
        let few = ms_few.map_or_else(String::new, |it| format!("{it:>10.1}"));
        println!("  {name:<36}{ms:>10.1}{few}");
    }
    println!("ratios");
    for (name, ratio, goal) in [
        ("tars / push", whole / push, "goal: at most 2"),
        ("warm work tree / tars", warm / whole, "no goal"),
        ("shallow clone / tars", shallow / whole, "goal: at least 20"),
        ("in this process, many / few files", own / own_few, "goal: near 1"),
        // A server walks the whole tree of what it has before it takes a push (rev-list --objects --not --all):
        // the same for every client, and nothing that a client can spare it.
        ("tars, many / few files", whole / whole_few, "bounded by the next"),
        ("push, many / few files", push / push_few, "the server's own"),
    ] {
        println!("  {name:<36}{ratio:>10.2}  ({goal})");
    }
    println!("peak memory of tars, MiB: {:.1}, of which {empty_mib:.1} before the first fetch", peak_mib());
}
