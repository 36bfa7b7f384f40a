//! `tars audit verify` against real tampering. One demo is played; every case gets its own copy of the
//! repository, changes it with plain git, and must be found at the place where it was changed. What a clone
//! alone cannot show is written down as a test too.

use std::path::{Path, PathBuf};

use crate::support::program::{Said, commits, git, git_with, tars};

const LEDGER: &str = "refs/heads/tars/ledger";

/// A copy of the demo's repository, with the keys of the demo beside it.
struct Copy {
    home: PathBuf,
    repo: PathBuf,
    /// Ledger commits, oldest first.
    entries: Vec<String>,
}

/// A commit as plain text that can be changed and written again.
#[derive(Clone)]
struct Draft {
    tree: String,
    parents: Vec<String>,
    message: String,
    date: String,
}

/// Who signs a rewritten commit.
#[derive(Clone, Copy)]
enum Key {
    Valid,
    Foreign,
    Nobody,
}

impl Copy {
    fn of(kept: &Path, to: &Path) -> Self {
        let copied = std::process::Command::new("cp").arg("-R").arg(kept).arg(to).status().unwrap();
        assert!(copied.success());
        let repo = to.join("repo.git");
        git(&repo, &["config", "gpg.ssh.allowedSignersFile", to.join("allowed_signers").to_str().unwrap()]);
        let entries = commits(&repo, "tars/ledger");
        Self { home: to.to_owned(), repo, entries }
    }

    fn verify(&self) -> Said {
        tars(&self.home, &["audit", "verify", "-C", "repo.git"])
    }

    fn draft(&self, commit: &str) -> Draft {
        let field = |format: &str| git(&self.repo, &["log", "-1", &format!("--format={format}"), commit]);
        let raw = git(&self.repo, &["cat-file", "commit", commit]);
        Draft {
            tree: field("%T"),
            parents: field("%P").split_whitespace().map(str::to_owned).collect(),
            message: raw.split_once("\n\n").unwrap().1.to_owned() + "\n",
            date: field("%ct") + " +0000",
        }
    }

    fn write(&self, draft: &Draft, key: Key) -> String {
        let file = |name: &str| format!("user.signingkey={}", self.home.join(name).display());
        let mut args = vec!["-c", "gpg.format=ssh"];
        let signing = match key {
            Key::Valid => Some(file("signing-key")),
            Key::Foreign => Some(file("person-key")),
            Key::Nobody => None,
        };
        if let Some(signing) = &signing {
            args.extend(["-c", signing]);
        }
        args.extend(["commit-tree", draft.tree.as_str(), "-F", "-"]);
        if signing.is_some() {
            args.push("-S");
        }
        for parent in &draft.parents {
            args.extend(["-p", parent]);
        }
        let dates = [("GIT_AUTHOR_DATE", draft.date.as_str()), ("GIT_COMMITTER_DATE", draft.date.as_str())];
        git_with(&self.repo, &args, &dates, draft.message.as_bytes())
    }

    /// Writes the chain again from `drafts` on top of entry `from - 1`, each signed with the valid key, and
    /// moves the ledger there.
    fn relink(&self, from: usize, drafts: Vec<(Draft, Key)>) {
        let mut parent = self.entries[from - 1].clone();
        for (mut draft, key) in drafts {
            draft.parents.splice(..draft.parents.len().min(1), [parent]);
            parent = self.write(&draft, key);
        }
        git(&self.repo, &["update-ref", LEDGER, &parent]);
    }

    /// Entries from `from` on, all signed with the valid key.
    fn tail(&self, from: usize) -> Vec<(Draft, Key)> {
        self.entries[from..].iter().map(|commit| (self.draft(commit), Key::Valid)).collect()
    }

    /// Changes one entry, and signs it and all that follow again.
    fn change(&self, seq: usize, key: Key, edit: impl FnOnce(&mut Draft)) {
        let mut tail = self.tail(seq);
        edit(&mut tail[0].0);
        tail[0].1 = key;
        self.relink(seq, tail);
    }

    /// The raw commit with other text, its old signature still in it.
    fn change_without_key(&self, seq: usize, edit: impl FnOnce(String) -> String) {
        let raw = git(&self.repo, &["cat-file", "commit", &self.entries[seq]]) + "\n";
        let mut parent = self.store(&edit(raw));
        for commit in &self.entries[seq + 1..] {
            let raw = git(&self.repo, &["cat-file", "commit", commit]) + "\n";
            let old = git(&self.repo, &["rev-parse", &format!("{commit}^")]);
            parent = self.store(&raw.replacen(&old, &parent, 1));
        }
        git(&self.repo, &["update-ref", LEDGER, &parent]);
    }

    fn store(&self, raw: &str) -> String {
        git_with(&self.repo, &["hash-object", "-t", "commit", "-w", "--stdin"], &[], raw.as_bytes())
    }

    /// `tree` with one file set to `text`.
    fn with_file(&self, tree: &str, path: &str, text: &str) -> String {
        let blob = git_with(&self.repo, &["hash-object", "-w", "--stdin"], &[], text.as_bytes());
        let index = self.home.join("tampering-index");
        let env = [("GIT_INDEX_FILE", index.to_str().unwrap())];
        git_with(&self.repo, &["read-tree", tree], &env, b"");
        let entry = format!("100644,{blob},{path}");
        git_with(&self.repo, &["update-index", "--add", "--cacheinfo", &entry], &env, b"");
        git_with(&self.repo, &["write-tree"], &env, b"")
    }

    fn without(&self, tree: &str, path: &str) -> String {
        let index = self.home.join("tampering-index");
        let env = [("GIT_INDEX_FILE", index.to_str().unwrap())];
        git_with(&self.repo, &["read-tree", tree], &env, b"");
        git_with(&self.repo, &["rm", "-q", "--cached", path], &env, b"");
        git_with(&self.repo, &["write-tree"], &env, b"")
    }

    fn file(&self, commit: &str, path: &str) -> String {
        git(&self.repo, &["cat-file", "-p", &format!("{commit}:{path}")]) + "\n"
    }

    fn person_on_main(&self, message: &str) -> String {
        let main = git(&self.repo, &["rev-parse", "main"]);
        let tree = git(&self.repo, &["rev-parse", "main^{tree}"]);
        let date = "1795433400 +0000".to_owned();
        let draft = Draft { tree, parents: vec![main], message: message.to_owned(), date };
        let commit = self.write(&draft, Key::Foreign);
        git(&self.repo, &["update-ref", "refs/heads/main", &commit]);
        commit
    }
}

fn short(commit: &str) -> String {
    commit.chars().take(7).collect()
}

/// A way to tamper; gives what the finding must name.
type Tampering = (&'static str, fn(&Copy) -> String);

const OPEN: &str = "open/production.deployment.backend.yaml";

/// Entries of the demo: 0 Genesis, 1 Proposed, 2 MergeReserved, 3 Merged, 4 Synced, 5 Verified, 6 Proposed.
const TAMPERINGS: [Tampering; 17] = [
    ("an entry is dropped and the rest signed again", |copy| {
        let mut tail = copy.tail(4);
        tail.remove(0);
        copy.relink(4, tail);
        "entry 5".to_owned()
    }),
    ("two entries change places", |copy| {
        let mut tail = copy.tail(4);
        tail.swap(0, 1);
        copy.relink(4, tail);
        "entry 5".to_owned()
    }),
    ("a record is edited without a key", |copy| {
        let tree = git(&copy.repo, &["rev-parse", &format!("{}^{{tree}}", copy.entries[2])]);
        let text = copy.file(&copy.entries[2], OPEN).replace("class: Low", "class: Medium");
        let edited = copy.with_file(&tree, OPEN, &text);
        copy.change_without_key(2, |raw| raw.replacen(&tree, &edited, 1));
        "entry 2".to_owned()
    }),
    ("a record is edited with a valid key", |copy| {
        let text = copy.file(&copy.entries[2], OPEN).replace("class: Low", "class: High");
        copy.change(2, Key::Valid, |draft| draft.tree = copy.with_file(&draft.tree, OPEN, &text));
        "entry 2".to_owned()
    }),
    ("a trailer is edited without a key", |copy| {
        copy.change_without_key(4, |raw| raw.replacen("Tars-Instance: demo", "Tars-Instance: other", 1));
        "entry 4".to_owned()
    }),
    ("an entry is unsigned", |copy| {
        copy.change(3, Key::Nobody, |_| {});
        "entry 3".to_owned()
    }),
    ("an entry is signed by a foreign key", |copy| {
        copy.change(3, Key::Foreign, |_| {});
        "entry 3".to_owned()
    }),
    ("a number is left out", |copy| {
        copy.change(6, Key::Valid, |draft| {
            draft.message = draft.message.replace("Tars-Seq: 6", "Tars-Seq: 7").replace("#6", "#7");
            draft.message = draft.message.replace("Entry 6", "Entry 7");
        });
        "entry 7".to_owned()
    }),
    ("an entry carries a file that is not its own", |copy| {
        copy.change(4, Key::Valid, |draft| draft.tree = copy.with_file(&draft.tree, "extra.txt", "hello\n"));
        "extra.txt".to_owned()
    }),
    ("the ledger has a merge commit", |copy| {
        let main = git(&copy.repo, &["rev-parse", "main"]);
        copy.change(6, Key::Valid, |draft| draft.parents.push(main));
        "entry 6".to_owned()
    }),
    ("an entry is back-dated", |copy| {
        copy.change(5, Key::Valid, |draft| {
            draft.message = draft.message.replace("Tars-Time: 2026-11-23T10:", "Tars-Time: 2026-11-20T10:");
        });
        "entry 5".to_owned()
    }),
    ("a valid key exceeds the budget", |copy| {
        let third = forge_executions(copy);
        format!("entry {third}: Budget")
    }),
    ("a commit on main claims to be tars'", |copy| {
        let trailers = "Tars-Id: act-000000000000\nTars-Action: ScaleOut\n";
        let commit = copy.person_on_main(&format!("Scale out production/backend\n\n{trailers}"));
        format!("commit {}", short(&commit))
    }),
    ("the merge on main is amended", |copy| {
        let mut draft = copy.draft("main");
        draft.message = draft.message.replace("from 3 to 5", "from 3 to 4");
        let amended = copy.write(&draft, Key::Foreign);
        git(&copy.repo, &["update-ref", "refs/heads/main", &amended]);
        format!("commit {}", short(&amended))
    }),
    ("the merge on main is taken away", |copy| {
        git(&copy.repo, &["update-ref", "refs/heads/main", "main^"]);
        "entry 3".to_owned()
    }),
    ("a checkpoint lies", |copy| {
        append_lying_checkpoint(copy);
        "7".to_owned()
    }),
    ("the entries belong to another repository", |copy| {
        copy.change(4, Key::Valid, |draft| {
            draft.message = draft.message.replace("Tars-Repo: demo", "Tars-Repo: other");
        });
        "entry 4".to_owned()
    }),
];

/// Plays the first execution twice more within the hour, under other names, correctly linked and signed.
/// Gives the number of the third reservation.
fn forge_executions(copy: &Copy) -> usize {
    let mut drafts = Vec::new();
    let original = copy.draft(&copy.entries[1]).message;
    let id = value(&original, "Tars-Id");
    let verified = copy.draft(&copy.entries[5]);
    let (mut last, mut tree) = (value(&verified.message, "Tars-Entry"), verified.tree);
    for (index, source) in [1_usize, 2, 3, 4, 5, 1, 2].into_iter().enumerate() {
        let seq = 6 + index;
        let mut draft = copy.draft(&copy.entries[source]);
        let (forged, entry) = (format!("act-{:012x}", 0xabc + index / 5), format!("{:032x}", 0x5eed + seq));
        draft.message = draft
            .message
            .replace(&value(&draft.message, "Tars-Entry"), &entry)
            .replace(&value(&draft.message, "Tars-Prev"), &last)
            .replace(&id, &forged)
            .replace(&format!("#{source})"), &format!("#{seq})"))
            .replace(&format!("Entry {source} "), &format!("Entry {seq} "))
            .replace(&format!("Tars-Seq: {source}\n"), &format!("Tars-Seq: {seq}\n"))
            .replace(&value(&draft.message, "Tars-Time"), &format!("2026-11-23T10:{:02}:00Z", 8 + seq));
        let done = format!("actions/2026/11/23/{id}.yaml");
        let record = |path: &str| copy.file(&copy.entries[source], path).replace(&id, &forged);
        tree = if source == 5 {
            copy.with_file(&copy.without(&tree, OPEN), &done.replace(&id, &forged), &record(&done))
        } else {
            copy.with_file(&tree, OPEN, &record(OPEN))
        };
        draft.tree.clone_from(&tree);
        last = entry;
        drafts.push((draft, Key::Valid));
    }
    copy.relink(6, drafts);
    6 + 6
}

fn append_lying_checkpoint(copy: &Copy) {
    let mut draft = copy.draft(&copy.entries[6]);
    let tree = copy.with_file(&draft.tree, "checkpoint.json", "{}\n");
    let entry = value(&draft.message, "Tars-Entry");
    draft.message = format!(
        "tars: ledger entry (#7)\n\nEntry 7 of the tars ledger: a checkpoint.\n\nTars-Seq: 7\nTars-Prev: {entry}\n\
         Tars-Entry: {}\nTars-Kind: Checkpoint\nTars-Repo: demo\nTars-Time: 2026-11-23T12:00:00Z\n\
         Tars-Instance: demo\n",
        "f".repeat(32)
    );
    draft.tree = tree;
    let mut all = copy.tail(6);
    all.push((draft, Key::Valid));
    copy.relink(6, all);
}

fn value(message: &str, key: &str) -> String {
    let line = message.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("{key} in {message}")).to_owned()
}

fn play(folder: &Path) -> PathBuf {
    tars(folder, &["demo", "--keep", "kept"]).ok();
    folder.join("kept")
}

#[test]
fn every_tampering_is_found_where_it_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let kept = play(folder.path());
    let mut missed = Vec::new();
    for (index, (what, tamper)) in TAMPERINGS.iter().enumerate() {
        let copy = Copy::of(&kept, &folder.path().join(format!("copy-{index}")));
        let before = (git(&copy.repo, &["rev-parse", LEDGER]), git(&copy.repo, &["rev-parse", "main"]));
        let place = tamper(&copy);
        let after = (git(&copy.repo, &["rev-parse", LEDGER]), git(&copy.repo, &["rev-parse", "main"]));
        assert_ne!(before, after, "{what}: nothing was changed");
        let said = copy.verify();
        let named = said.out.lines().any(|line| line.starts_with('✗') && line.contains(&place));
        if said.code != 1 || !named {
            missed.push(format!("{what}: wanted a finding at {place:?}, got {said:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn signing_the_same_entries_again_is_no_tampering() {
    let folder = tempfile::tempdir().unwrap();
    let kept = play(folder.path());
    let copy = Copy::of(&kept, &folder.path().join("copy"));
    copy.change(3, Key::Valid, |_| {});
    copy.verify().ok();
}

#[test]
fn an_untouched_clone_passes_and_the_page_says_what_was_checked() {
    let folder = tempfile::tempdir().unwrap();
    let kept = play(folder.path());
    // A fresh clone knows no allowed keys: that is asked for, not assumed.
    git(folder.path(), &["clone", "-q", kept.join("repo.git").to_str().unwrap(), "clone"]);
    let blind = tars(folder.path(), &["audit", "verify", "-C", "clone"]);
    assert_eq!(blind.code, 2, "{blind:?}");
    assert!(blind.err.contains("--allowed-signers"), "{blind:?}");
    let args = ["audit", "verify", "-C", "clone", "--allowed-signers", "kept/allowed_signers"];
    let out = tars(folder.path(), &args).ok();
    for what in ["7  ledger entries", "7  signatures", "checkpoints", "1  executions", "2  commits on main"] {
        assert!(out.contains(what), "{what} in {out}");
    }
    let json = tars(folder.path(), &[args.as_slice(), &["-o", "json"]].concat()).json();
    assert_eq!((&json["passed"], &json["checked"]["entries"]), (&true.into(), &7.into()), "{json}");
}

#[test]
fn a_ledger_cut_off_at_its_end_is_not_visible_in_a_clone_and_the_page_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let kept = play(folder.path());
    let copy = Copy::of(&kept, &folder.path().join("copy"));
    git(&copy.repo, &["update-ref", LEDGER, &copy.entries[5]]);
    let out = copy.verify().ok();
    assert!(out.contains(&short(&copy.entries[5])), "{out}");
    assert!(out.contains("compare that id with another clone"), "{out}");
}

#[test]
fn the_ledger_of_another_repository_does_not_vouch_for_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let kept = play(folder.path());
    tars(folder.path(), &["demo", "bad-release-rollback", "--approve", "--keep", "foreign"]).ok();
    let copy = Copy::of(&kept, &folder.path().join("copy"));
    let foreign = folder.path().join("foreign");
    git(
        &copy.repo,
        &[
            "fetch",
            "-q",
            "--force",
            foreign.join("repo.git").to_str().unwrap(),
            &format!("+{LEDGER}:{LEDGER}"),
        ],
    );
    assert_eq!(copy.verify().code, 1, "its key is not on the list");
    let both = ["copy/allowed_signers", "foreign/allowed_signers"]
        .map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap());
    std::fs::write(folder.path().join("copy/allowed_signers"), both.concat()).unwrap();
    let said = copy.verify();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("is not on the watched branch"), "{said:?}");
}

/// Messages of appendix "trailer strings": whatever git itself takes for one of our trailers on the watched
/// branch must be accounted for, so it must be a finding here.
#[test]
fn whatever_git_reads_as_our_trailer_on_main_is_a_finding() {
    const BODIES: [&str; 15] = [
        "Tars-Alert: a\nTars-Action: merged",
        "Tars-Alert: a\r\nTars-Action: merged\r\n",
        "tars-action: merged",
        "Tars-Action : merged",
        "Tars-Action: held\nTars-Action: merged",
        "body\nSigned-off-by: x\nTars-Action: merged\nmore text\nmore\nmore",
        "Tars-Action: merged\n# comment",
        "Tars-Alert: a\rTars-Action: merged",
        "Tars-Alert: a\u{b}Tars-Action: merged",
        "Tars-Alert: a\u{2028}Tars-Action: merged",
        "Tars-Alert: a\n Tars-Action: merged",
        "body text free\nTars-Action: merged\nmore text",
        "Tars-Action: merged\n\nfree text",
        "Tars-Action: merged\n---\ntext",
        "An ordinary sentence about scaling.",
    ];
    let folder = tempfile::tempdir().unwrap();
    let kept = play(folder.path());
    let copy = Copy::of(&kept, &folder.path().join("copy"));
    let forged: Vec<(&str, String)> =
        BODIES.iter().map(|body| (*body, copy.person_on_main(&format!("subject\n\n{body}\n")))).collect();
    let said = copy.verify();
    for (body, commit) in &forged {
        let read = git(&copy.repo, &["log", "-1", "--format=%(trailers:only,unfold)", commit]).to_lowercase();
        let git_sees_it = read.lines().any(|line| line.starts_with("tars-"));
        let found = said.out.contains(&format!("commit {}", short(commit)));
        assert!(found || !git_sees_it, "{body:?} reads as {read:?} and is no finding: {}", said.out);
    }
    let (_, innocent) = forged.last().unwrap();
    assert!(!said.out.contains(&short(innocent)), "{}", said.out);
}
