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
    StrangeKey,
    OtherCommit,
    BatchTorn,
    BatchGrown,
    MissingBranch,
    SpareBranch,
}

struct Forge {
    folder: PathBuf,
    head: Option<String>,
    seq: u64,
    doctor: Doctor,
    /// Sign as this OpenPGP user, whose keys are in `gnupg`; with the SSH key otherwise.
    openpgp: bool,
}

impl Forge {
    fn new(folder: &Path, doctor: Doctor) -> Self {
        let forge = Self { folder: folder.to_owned(), head: None, seq: 0, doctor, openpgp: false };
        forge.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        for key in ["key", "strange"] {
            run(clean("ssh-keygen", folder)
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(key)));
        }
        let public = std::fs::read_to_string(folder.join("key.pub")).unwrap();
        std::fs::write(folder.join("allowed_signers"), format!("tars@example.com {public}")).unwrap();
        forge
    }

    fn command(&self, index: &str) -> Command {
        let mut command = clean("git", &self.folder);
        command.current_dir(&self.folder).env("GIT_INDEX_FILE", self.folder.join(index));
        command.args(["-c", "user.name=tars", "-c", "user.email=tars@example.com"]);
        if self.openpgp {
            command
                .env("GNUPGHOME", self.folder.join("gnupg"))
                .args(["-c", "user.signingkey=tars@example.com"]);
            return command;
        }
        let strange = self.doctor == Doctor::StrangeKey && self.seq == 2;
        let key = self.folder.join(if strange { "strange" } else { "key" });
        command.args(["-c", "gpg.format=ssh", "-c"]).arg(format!("user.signingkey={}", key.display()));
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
                "metadata:\n  name: {}\nspec:\n  cause:\n    key: webhook {}{{}}\n  change:\n    branch: {}\n    base: '{}'\n    \
                 head: '{}'\n    tree: '{}'\nstatus: {kind}\n",
                it.id, it.cause, it.branch, it.base, it.head, it.tree
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

    fn branch(&self, name: &str, at: &str) {
        self.git(&["update-ref", &format!("refs/heads/{name}"), at]);
    }

    /// A commit for an action on top of `base`, and the action that says so.
    fn action(
        &self,
        (id, cause, target): (&'static str, &'static str, &'static str),
        branch: &str,
        base: &str,
    ) -> Action {
        let message = format!("Scale out\n\nTars-Id: {id}\nTars-Policy: race");
        let head = self.commit("main", Some(base), (&format!("{id}.yaml"), "replicas: 2\n"), &message, true);
        let tree = self.git(&["rev-parse", &format!("{head}^{{tree}}")]);
        Action { id, cause, target, branch: branch.to_owned(), base: base.to_owned(), head, tree }
    }
}

struct Action {
    id: &'static str,
    cause: &'static str,
    target: &'static str,
    branch: String,
    base: String,
    head: String,
    tree: String,
}

/// One action that was merged, and two that wait as one batch.
fn build(folder: &Path, doctor: Doctor) -> Forge {
    continued(Forge::new(folder, doctor))
}

fn continued(mut forge: Forge) -> Forge {
    let doctor = forge.doctor;
    let start = forge.commit("main", None, ("app.yaml", "replicas: 1\n"), "Start", false);
    let mut first = forge.action(("act-1", "Slow", "shop/Deployment/a"), "tars/race/x/act-1", &start);
    forge.branch("main", &first.head);
    if doctor == Doctor::StrangerOnMain {
        let strange = forge.commit("main", Some(&first.head), ("app.yaml", "replicas: 9\n"), "Mine", false);
        forge.branch("main", &strange);
    }
    if doctor == Doctor::OtherTree {
        first.tree = "0".repeat(40);
    }
    forge.entry("Genesis", None);
    forge.entry("Proposed", Some(&first));
    if doctor != Doctor::NoReservation {
        forge.entry("MergeReserved", Some(&first));
    }
    if doctor == Doctor::SecondReservation {
        forge.entry("Proposed", Some(&first));
        forge.entry("MergeReserved", Some(&first));
    }
    if doctor == Doctor::MergeNotRecorded {
        forge.branch(&first.branch, &first.head);
    } else {
        forge.entry("Merged", Some(&first));
    }
    let target = if doctor == Doctor::SameTargetTwice { first.target } else { "shop/Deployment/b" };
    let cause = if doctor == Doctor::SameCauseTwice { first.cause } else { "Queue" };
    let batch = "tars/batch-act-2";
    let mut second = forge.action(("act-2", cause, target), batch, &first.head);
    let below = if doctor == Doctor::BatchTorn { &first.head } else { &second.head };
    let third = forge.action(("act-3", "Disk", "shop/Deployment/c"), batch, below);
    if doctor == Doctor::OtherCommit {
        second.tree = first.tree.clone();
    }
    forge.entry("Proposed", Some(&second));
    forge.entry("Proposed", Some(&third));
    let mut tip = third.head.clone();
    if doctor == Doctor::BatchGrown {
        tip = forge.commit("main", Some(&tip), ("app.yaml", "replicas: 9\n"), "Mine", false);
    }
    if doctor != Doctor::MissingBranch {
        forge.branch(batch, &tip);
    }
    if doctor == Doctor::SpareBranch {
        forge.branch("tars/race/x/act-9", &first.head);
    }
    if doctor == Doctor::FileWithoutAction {
        let text = "metadata:\n  name: act-9\n";
        let seq = forge.seq;
        let message = format!(
            "tars: Genesis (#{seq})\n\nTars-Seq: {seq}\nTars-Prev: {seq:032x}\nTars-Entry: {:032x}\nTars-Kind: \
             Checkpoint\nTars-Repo: race\nTars-Time: 2026-11-23T10:59:00Z\nTars-Instance: tars-0",
            seq + 1
        );
        let commit = forge.commit("ledger", forge.head.as_deref(), ("open/act-9.yaml", text), &message, true);
        forge.branch("tars/ledger", &commit);
    }
    forge
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
        (Doctor::StrangeKey, "signatures"),
        (Doctor::OtherCommit, "open"),
        (Doctor::BatchTorn, "open"),
        (Doctor::BatchGrown, "open"),
        (Doctor::MissingBranch, "open"),
        (Doctor::SpareBranch, "open"),
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
    for lost in [alert("shop/Deployment/a", "Queue", "gone"), alert("shop/Deployment/d", "Slow", "inbox")] {
        let (code, text) = ask(lost);
        assert!(code == Some(1) && text.contains("FAIL accepted"), "{text}");
    }
}

#[test]
fn the_checker_follows_a_batch_that_a_person_merged_in_one_go() {
    let test = "the_checker_follows_a_batch_that_a_person_merged_in_one_go";
    let Some(python) = parts::find("python3", test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let forge = build(folder.path(), Doctor::Nothing);
    let (code, text) = check(&python, folder.path(), &[]);
    assert!(code == Some(0) && text.contains("3 files, 1 branches"), "{text}");
    let (main, tip) = (forge.git(&["rev-parse", "main"]), forge.git(&["rev-parse", "tars/batch-act-2"]));
    let tree = format!("{tip}^{{tree}}");
    let merge = forge.git(&["commit-tree", &tree, "-p", &main, "-p", &tip, "-m", "Merge both"]);
    forge.branch("main", &merge);
    // tars has not looked yet, and says nothing.
    let (code, text) = check(&python, folder.path(), &["--people"]);
    assert!(code == Some(0) && text.contains("3 merges"), "{text}");
    let (code, text) = check(&python, folder.path(), &[]);
    assert!(code == Some(1) && text.contains("is nobody's"), "{text}");
}

#[test]
fn the_checker_believes_openpgp_keys_that_it_was_given_and_no_others() {
    let test = "the_checker_believes_openpgp_keys_that_it_was_given_and_no_others";
    let (Some(python), Some(_)) = (parts::find("python3", test), parts::find("gpg", test)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut forge = Forge::new(folder.path(), Doctor::Nothing);
    forge.openpgp = true;
    let home = folder.path().join("gnupg");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let gpg = |args: &[&str]| {
        let mut command = clean("gpg", folder.path());
        run(command.env("GNUPGHOME", &home).args(["--batch", "--quiet", "--passphrase", ""]).args(args))
    };
    for (user, file) in [("tars@example.com", "keys"), ("other@example.com", "others")] {
        gpg(&["--quick-gen-key", user, "ed25519", "sign", "never"]);
        std::fs::write(folder.path().join(file), gpg(&["--armor", "--export", user])).unwrap();
    }
    continued(forge);
    let keys = |file: &str| folder.path().join(file).display().to_string();
    let (code, text) = check(&python, folder.path(), &["--openpgp-keys", &keys("keys")]);
    assert!(code == Some(0) && text.contains(" OpenPGP)"), "{text}");
    for more in [&[][..], &["--openpgp-keys", &keys("others")]] {
        let (code, text) = check(&python, folder.path(), more);
        assert!(code == Some(1) && text.contains("FAIL signatures"), "{text}");
    }
    run(clean("gpgconf", folder.path()).env("GNUPGHOME", &home).args(["--kill", "all"]));
}
