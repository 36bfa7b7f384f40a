//! The checker must be able to fail: a small honest ledger made with plain git passes, and every doctored copy
//! of it is refused under the name of the invariant it breaks.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::support;
use super::super::support::parts;
use super::world::{clean, run};

/// What is wrong with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doctor {
    Nothing,
    SkippedNumber,
    WrongPrevious,
    UnsignedEntry,
    ClockSetBack,
    SecondReservation,
    SameTargetTwice,
    SameCauseTwice,
    NoReservation,
    OtherTree,
    MergeNotRecorded,
    StrangerOnMain,
    FileWithoutAction,
}

struct Forge {
    folder: PathBuf,
    head: Option<String>,
    seq: u64,
    doctor: Doctor,
}

impl Forge {
    fn new(folder: &Path, doctor: Doctor) -> Self {
        let forge = Self { folder: folder.to_owned(), head: None, seq: 0, doctor };
        forge.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        let key = folder.join("key");
        run(clean("ssh-keygen", folder).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        std::fs::write(folder.join("allowed_signers"), format!("tars@example.com {public}")).unwrap();
        forge
    }

    fn command(&self, index: &str) -> Command {
        let mut command = clean("git", &self.folder);
        command.current_dir(&self.folder).env("GIT_INDEX_FILE", self.folder.join(index));
        command.args(["-c", "user.name=tars", "-c", "user.email=tars@example.com", "-c", "gpg.format=ssh"]);
        command.arg("-c").arg(format!("user.signingkey={}", self.folder.join("key").display()));
        command
    }

    fn git(&self, args: &[&str]) -> String {
        run(self.command("index").args(args)).trim().to_owned()
    }

    /// Commits `text` as `path` on top of what the index holds.
    fn commit(
        &self,
        index: &str,
        parent: Option<&str>,
        file: (&str, &str),
        message: &str,
        sign: bool,
    ) -> String {
        let blob = self.folder.join("blob");
        std::fs::write(&blob, file.1).unwrap();
        let oid = run(self.command(index).args(["hash-object", "-w"]).arg(&blob));
        let row = format!("100644,{},{}", oid.trim(), file.0);
        run(self.command(index).args(["update-index", "--add", "--cacheinfo", &row]));
        let tree = run(self.command(index).arg("write-tree"));
        let mut command = self.command(index);
        command.args(["commit-tree", tree.trim(), "-m", message]);
        if let Some(parent) = parent {
            command.args(["-p", parent]);
        }
        if sign {
            command.arg("-S");
        }
        run(&mut command).trim().to_owned()
    }

    fn entry(&mut self, kind: &str, action: Option<&Action>) {
        let mut trailers = format!("Tars-Seq: {}\n", self.number(kind));
        let previous = if self.doctor == Doctor::WrongPrevious && kind == "Merged" { 99 } else { self.seq };
        if self.seq > 0 {
            trailers += &format!("Tars-Prev: {previous:032x}\n");
        }
        trailers += &format!("Tars-Entry: {:032x}\nTars-Kind: {kind}\n", self.seq + 1);
        let mut file = ("README.md".to_owned(), format!("entry {}\n", self.seq));
        if let Some(it) = action {
            trailers += &format!(
                "Tars-Id: {}\nTars-Fingerprint: {}\nTars-Policy: race\nTars-Target: {}\nTars-Tree: {}\n",
                it.id, it.cause, it.target, it.tree
            );
            let text = format!(
                "metadata:\n  name: {}\nspec:\n  cause:\n    key: webhook {}{{}}\nstatus: {kind}\n",
                it.id, it.cause
            );
            file = (format!("open/{}.yaml", it.id), text);
        }
        let minute = if self.doctor == Doctor::ClockSetBack && kind == "Merged" { 0 } else { self.seq };
        trailers +=
            &format!("Tars-Repo: race\nTars-Time: 2026-11-23T10:{minute:02}:00Z\nTars-Instance: tars-0");
        let message = format!("tars: {kind} (#{})\n\n{trailers}", self.seq);
        let sign = !(self.doctor == Doctor::UnsignedEntry && kind == "Merged");
        let commit = self.commit("ledger", self.head.as_deref(), (&file.0, &file.1), &message, sign);
        self.git(&["update-ref", "refs/heads/tars/ledger", &commit]);
        self.head = Some(commit);
        self.seq += 1;
    }

    fn number(&self, kind: &str) -> u64 {
        self.seq + u64::from(self.doctor == Doctor::SkippedNumber && kind == "Merged")
    }

    fn branch(&self, action: &Action) {
        self.git(&["update-ref", &format!("refs/heads/tars/race/x/{}", action.id), "refs/heads/main"]);
    }
}

struct Action {
    id: &'static str,
    cause: &'static str,
    target: &'static str,
    tree: String,
}

/// One action that was merged and one that waits.
fn build(folder: &Path, doctor: Doctor) {
    let mut forge = Forge::new(folder, doctor);
    let base = forge.commit("main", None, ("app.yaml", "replicas: 1\n"), "Start", false);
    let message = "Scale out\n\nTars-Id: act-1\nTars-Policy: race";
    let merge = forge.commit("main", Some(&base), ("app.yaml", "replicas: 2\n"), message, true);
    let tree = forge.git(&["rev-parse", &format!("{merge}^{{tree}}")]);
    let proposed = if doctor == Doctor::OtherTree { "0".repeat(40) } else { tree.clone() };
    forge.git(&["update-ref", "refs/heads/main", &merge]);
    if doctor == Doctor::StrangerOnMain {
        let strange = forge.commit("main", Some(&merge), ("app.yaml", "replicas: 9\n"), "Mine", false);
        forge.git(&["update-ref", "refs/heads/main", &strange]);
    }
    let first = Action { id: "act-1", cause: "Slow", target: "shop/Deployment/a", tree: proposed };
    forge.entry("Genesis", None);
    forge.entry("Proposed", Some(&first));
    if doctor != Doctor::NoReservation {
        forge.entry("MergeReserved", Some(&first));
    }
    if doctor == Doctor::SecondReservation {
        forge.entry("Proposed", Some(&first));
        forge.entry("MergeReserved", Some(&first));
    }
    if doctor != Doctor::MergeNotRecorded {
        forge.entry("Merged", Some(&first));
    }
    let target = if doctor == Doctor::SameTargetTwice { first.target } else { "shop/Deployment/b" };
    let cause = if doctor == Doctor::SameCauseTwice { first.cause } else { "Queue" };
    let second = Action { id: "act-2", cause, target, tree };
    forge.entry("Proposed", Some(&second));
    forge.branch(&second);
    if doctor == Doctor::FileWithoutAction {
        let text = "metadata:\n  name: act-3\n";
        let seq = forge.seq;
        let message = format!(
            "tars: Genesis (#{seq})\n\nTars-Seq: {seq}\nTars-Prev: {seq:032x}\nTars-Entry: {:032x}\nTars-Kind: \
             Checkpoint\nTars-Repo: race\nTars-Time: 2026-11-23T10:59:00Z\nTars-Instance: tars-0",
            seq + 1
        );
        let commit = forge.commit("ledger", forge.head.as_deref(), ("open/act-3.yaml", text), &message, true);
        forge.git(&["update-ref", "refs/heads/tars/ledger", &commit]);
    }
    let merged_waits = doctor == Doctor::MergeNotRecorded;
    if merged_waits {
        forge.branch(&first);
    }
}

fn check(python: &Path, folder: &Path, more: &[&str]) -> (Option<i32>, String) {
    let out = clean(python, folder)
        .arg(support::root().join("tests/checker/ledger_check.py"))
        .args(["--repo", folder.to_str().unwrap(), "--per-policy", "1", "--global-limit", "1"])
        .arg("--allowed-signers")
        .arg(folder.join("allowed_signers"))
        .args(more)
        .output()
        .unwrap();
    let text = [String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)].concat();
    (out.status.code(), text)
}

#[test]
fn the_checker_refuses_every_doctored_ledger_by_name() {
    let Some(python) = parts::find("python3", "the_checker_refuses_every_doctored_ledger_by_name") else {
        return;
    };
    let cases = [
        (Doctor::SkippedNumber, "chain"),
        (Doctor::WrongPrevious, "chain"),
        (Doctor::ClockSetBack, "chain"),
        (Doctor::UnsignedEntry, "signatures"),
        (Doctor::SecondReservation, "budgets"),
        (Doctor::SameTargetTwice, "duplicates"),
        (Doctor::SameCauseTwice, "duplicates"),
        (Doctor::NoReservation, "merges"),
        (Doctor::OtherTree, "merges"),
        (Doctor::MergeNotRecorded, "merges"),
        (Doctor::StrangerOnMain, "merges"),
        (Doctor::FileWithoutAction, "open"),
    ];
    for (doctor, name) in cases {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), doctor);
        let (code, text) = check(&python, folder.path(), &[]);
        let failed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("FAIL ")).collect();
        assert!(code == Some(1) && failed.iter().any(|it| it.starts_with(name)), "{doctor:?}: {text}");
    }
}

#[test]
fn the_checker_accepts_an_honest_ledger_and_misses_a_lost_alert() {
    let test = "the_checker_accepts_an_honest_ledger_and_misses_a_lost_alert";
    let Some(python) = parts::find("python3", test) else { return };
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), Doctor::Nothing);
    let alert = |target: &str, cause: &str, inbox: &str| {
        serde_json::json!({
            "process": "tars-0", "inbox": folder.path().join(inbox), "fingerprint": "ace1", "policy": "race",
            "target": target, "cause": format!("webhook {cause}{{}}"),
        })
    };
    std::fs::create_dir(folder.path().join("inbox")).unwrap();
    std::fs::write(folder.path().join("inbox/ace1.json"), "{}").unwrap();
    let list = folder.path().join("accepted.jsonl");
    let ask = |row: serde_json::Value| {
        std::fs::write(&list, format!("{row}\n")).unwrap();
        check(&python, folder.path(), &["--accepted", list.to_str().unwrap()])
    };
    // In the ledger; in the inbox because the target is busy.
    for kept in [alert("shop/Deployment/a", "Slow", "gone"), alert("shop/Deployment/a", "Queue", "inbox")] {
        let (code, text) = ask(kept);
        assert_eq!(code, Some(0), "{text}");
    }
    // Nowhere at all; in the inbox for a target that is free.
    for lost in [alert("shop/Deployment/a", "Queue", "gone"), alert("shop/Deployment/c", "Slow", "inbox")] {
        let (code, text) = ask(lost);
        assert!(code == Some(1) && text.contains("FAIL accepted"), "{text}");
    }
}
