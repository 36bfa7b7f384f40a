//! The command line as a user meets it: every verb, its exit code, and where it speaks. Data goes to standard
//! output and talk to standard error; every error says what to do. Never: colour or escape codes in a pipe.

use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::support;
use crate::support::program::{Said, git, shell, tars};

mod night;
mod output;

/// Verbs that a user finds in the help.
const VERBS: [&str; 26] = [
    "demo",
    "init",
    "run",
    "status",
    "get",
    "explain",
    "log",
    "eval",
    "source",
    "record",
    "label",
    "tree",
    "render",
    "diff",
    "suspend",
    "resume",
    "snooze",
    "revert",
    "check",
    "audit",
    "policy",
    "forge",
    "config",
    "sops",
    "completion",
    "version",
];

/// The one demo that is played; every test works on its own copy.
static PLAYED: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    tars(folder.path(), &["demo", "--keep", "kept", "-o", "json"]).ok();
    folder
});

/// A demo that was played, for the verbs that look back.
fn played() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let original = PLAYED.path().join("kept");
    shell(folder.path(), &format!("cp -R '{}' kept", original.display())).ok();
    folder
}

fn empty() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The answer to a mistake: this exit code, silence on standard output, these words on standard error.
#[track_caller]
fn refused(dir: &Path, args: &[&str], code: i32, words: &[&str]) -> Said {
    let said = tars(dir, args);
    assert_eq!(said.code, code, "{args:?}: {said:#?}");
    assert_eq!(said.out, "", "{args:?} writes no data: {said:#?}");
    for word in words {
        assert!(said.err.contains(word), "{args:?}: {word:?} is missing in {}", said.err);
    }
    assert!(!said.err.contains("panicked"), "{said:#?}");
    said
}

#[test]
fn help_and_version_are_answers_on_standard_output() {
    let home = empty();
    for args in [["--help"], ["-h"]] {
        let said = tars(home.path(), &args);
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        for verb in VERBS {
            assert!(said.out.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {}", said.out);
        }
        assert!(said.out.contains("tars demo"), "a newcomer learns where to start: {}", said.out);
    }
    for verb in VERBS {
        let said = tars(home.path(), &[verb, "--help"]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{verb}");
    }
    let version = tars(home.path(), &["version"]).ok();
    assert_eq!(version, format!("tars {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(tars(home.path(), &["--version"]).ok(), version);
    let json = tars(home.path(), &["version", "-o", "json"]).json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_wrong_word_is_a_usage_error_with_a_suggestion() {
    let home = empty();
    refused(home.path(), &[], 2, &["Usage"]);
    refused(home.path(), &["stauts"], 2, &["status"]);
    refused(home.path(), &["get"], 2, &["KIND"]);
    refused(home.path(), &["get", "pods"], 2, &["policies", "proposals"]);
    refused(home.path(), &["log", "-o", "xml"], 2, &["json", "yaml"]);
    refused(home.path(), &["explain"], 2, &["REFERENCE"]);
    refused(home.path(), &["policy", "lint"], 2, &["PATHS"]);
    refused(home.path(), &["policy", "lint", "nowhere.yaml"], 2, &["nowhere.yaml does not exist"]);
}

#[test]
fn looking_back_prints_data_in_every_format_and_nothing_else() {
    let home = played();
    let verbs: [&[&str]; 7] = [
        &["status"],
        &["log"],
        &["explain", "last"],
        &["get", "policies"],
        &["get", "remediations"],
        &["get", "proposals"],
        &["get", "budgets"],
    ];
    for verb in verbs {
        for format in ["table", "wide", "json", "yaml", "name"] {
            let args = [verb, &["-C", "kept/repo.git", "-o", format]].concat();
            let said = tars(home.path(), &args);
            assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}");
            assert!(said.out.ends_with('\n') && !said.out.contains('\u{1b}'), "{args:?}: {}", said.out);
            assert!(said.out.lines().all(|line| line == line.trim_end()), "{args:?} has trailing blanks");
            match format {
                "json" => assert!(said.json().is_object(), "{args:?}"),
                "yaml" => {
                    let read: serde_json::Value = yaml_serde::from_str(&said.out).unwrap();
                    assert!(read.is_object(), "{args:?}");
                }
                _ => {}
            }
        }
    }
    let names = tars(home.path(), &["get", "rem", "-C", "kept/repo.git", "-o", "name"]).ok();
    assert_eq!(names.lines().count(), 2);
    assert!(names.lines().all(|name| name.starts_with("act-")), "{names}");
}

#[test]
fn every_kind_of_name_finds_the_action() {
    let home = played();
    let list = tars(home.path(), &["get", "rem", "-C", "kept/repo.git", "-o", "json"]).json();
    let action = list["items"]
        .as_array()
        .and_then(|items| items.iter().find(|it| it["status"]["state"] == "Verified"))
        .expect("the verified action");
    let id = action["metadata"]["name"].as_str().unwrap();
    let merge = action["status"]["merge"]["commit"].as_str().unwrap();
    let names = [
        id,
        id.trim_start_matches("act-"),
        action["spec"]["incident"].as_str().unwrap(),
        "backend-latency",
        "production/Deployment/backend",
        merge,
        &merge[..7],
        action["spec"]["change"]["branch"].as_str().unwrap(),
    ];
    for name in names {
        let out = tars(home.path(), &["explain", "-C", "kept/repo.git", name]).ok();
        assert!(out.contains(id), "{name}: {out}");
    }
}

#[test]
fn explain_says_why_who_merges_and_how_to_undo() {
    let home = played();
    let out = tars(home.path(), &["explain", "-C", "kept/repo.git", "last"]).ok();
    for words in ["no longer needed", "A person merges it", "Undo: set replicas", "5 -> 3", "ReviewRequired"]
    {
        assert!(out.contains(words), "{words}: {out}");
    }
    let why_not = |playbook: &str| {
        tars(home.path(), &["explain", "-C", "kept/repo.git", "last", "--why-not", playbook])
    };
    assert!(why_not("ScaleOut").ok().contains("was taken"));
    assert!(why_not("rollback").ok().contains("allows only ScaleOut"));
    let unknown = why_not("Reboot");
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.err.contains("ScaleOut, Rollback, RestartPod"), "{unknown:?}");
    let codes = tars(home.path(), &["explain", "--list-codes", "--no-headers"]).ok();
    for line in codes.lines() {
        let code = line.split_whitespace().next().unwrap();
        assert!(tars(home.path(), &["explain", code]).ok().contains(code), "{code}");
    }
}

#[test]
fn a_proposal_reads_as_a_pull_request() {
    let home = played();
    let out = tars(home.path(), &["get", "proposal", "-C", "kept/repo.git", "last"]).ok();
    assert!(
        out.starts_with("# tars: scale back production/backend 5→3 (no longer needed, low risk)\n"),
        "{out}"
    );
    for part in [
        "**Waiting for you.**",
        "| **Change** |",
        "| **Undo** |",
        "```diff\n",
        "-    count: 5 ",
        "+    count: 3 ",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(!out.contains("### Evidence\n\n\n"), "no empty section: {out}");
}

#[test]
fn every_dead_end_names_the_way_on() {
    let home = played();
    let dir = home.path();
    git(dir, &["init", "-q", "-b", "main", "plain"]);
    std::fs::write(dir.join("plain/a"), "a\n").unwrap();
    git(&dir.join("plain"), &["add", "-A"]);
    git(&dir.join("plain"), &["commit", "-q", "-m", "a"]);
    std::fs::create_dir(dir.join("nothing")).unwrap();
    for verb in [&["status"][..], &["log"], &["explain", "last"], &["get", "policies"], &["audit", "verify"]]
    {
        refused(dir, &[verb, &["-C", "nothing"]].concat(), 2, &["not a git repository", "-C DIR"]);
        refused(
            dir,
            &[verb, &["-C", "kept/repo.git", "--branch", "trunk"]].concat(),
            2,
            &["no branch trunk", "--branch"],
        );
    }
    for verb in [&["status"][..], &["log"], &["explain", "last"], &["get", "remediations"]] {
        refused(
            dir,
            &[verb, &["-C", "plain"]].concat(),
            1,
            &["no branch tars/ledger", "fetch origin tars/ledger"],
        );
    }
    refused(dir, &["explain", "-C", "kept/repo.git", "act-nothing"], 1, &["act-nothing", "tars log"]);
    refused(dir, &["get", "policy", "-C", "kept/repo.git", "nope"], 1, &["no policy is named nope"]);
    let unsigned = tars(dir, &["log", "-C", "kept/repo.git", "--allowed-signers", "gone"]);
    assert_eq!(unsigned.code, 2, "{unsigned:?}");
}

/// Five lines of valid settings; what they name need not exist.
fn settings(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "repository: {{url: {dir}/repo.git, state_dir: {dir}/state}}\n\
         signing: {{key_file: {dir}/key, allowed_signers_file: {dir}/allowed}}\n\
         prometheus: {{url: \"http://127.0.0.1:9\"}}\n\
         signals: [{{signal: latency_p95, service: backend, query: up}}]\n\
         webhook: {{enabled: false}}\n"
    )
}

fn write(dir: &Path, more: &str) {
    std::fs::write(dir.join("tars.yaml"), settings(dir) + more).unwrap();
}

#[test]
fn wrong_settings_are_refused_with_line_and_fix() {
    let home = empty();
    let dir = home.path();
    refused(dir, &["run", "--once"], 2, &["tars.yaml", "--config FILE", "TARS_CONFIG"]);
    for verb in [&["run", "--once"][..], &["check"], &["config", "view"], &["config", "validate"]] {
        write(dir, "modee: Observe\n");
        refused(dir, verb, 2, &["tars.yaml:6", "modee", "did you mean `mode`?"]);
        write(dir, "mode: Sometimes\n");
        refused(dir, verb, 2, &["tars.yaml:6", "mode", "Observe"]);
        write(dir, "tick: fortnight\n");
        refused(dir, verb, 2, &["tars.yaml:6", "tick"]);
    }
    write(dir, "");
    let valid = tars(dir, &["config", "validate"]).ok();
    assert!(valid.contains("1 signal,"), "{valid}");
    assert_eq!(tars(dir, &["config", "path"]).ok(), "tars.yaml\n");
    let schema = tars(dir, &["config", "schema"]).json();
    assert_eq!(schema["title"], "tars settings");
    assert!(tars(dir, &["policy", "schema"]).json().is_object());
}

#[test]
fn keys_are_missing_exposed_or_not_on_the_list() {
    let home = empty();
    let dir = home.path();
    write(dir, "");
    refused(dir, &["run", "--once"], 2, &["the signing key in"]);
    shell(dir, "ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -q -t ed25519 -N '' -f other").ok();
    shell(dir, "chmod 644 key && sed 's/^/tars@example.com /' other.pub > allowed").ok();
    refused(dir, &["run", "--once"], 2, &["others can read the key file", "chmod 600"]);
    shell(dir, "chmod 600 key").ok();
    refused(dir, &["run", "--once"], 2, &["is not allowed", "put its public half in", ".pub"]);
    shell(dir, "sed 's/^/tars@example.com /' key.pub > allowed").ok();
    // The repository cannot be reached: neither a usage error nor a no.
    refused(dir, &["run", "--once"], 3, &["could not read the remote repository", "repository.url"]);
    let said = tars(dir, &["check", "-o", "json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let checks = said.json();
    let verdict = |name: &str| {
        let lines = checks["items"].as_array().unwrap().iter();
        lines
            .filter(|it| it["check"] == name)
            .map(|it| it["verdict"].as_str().unwrap_or(""))
            .collect::<Vec<_>>()
    };
    assert_eq!((verdict("keys"), verdict("git")), (vec!["pass"], vec!["fail"]), "{checks:#}");
    assert!(verdict("prometheus").contains(&"fail"), "{checks:#}");
}

#[test]
fn a_policy_with_a_mistake_is_shown_with_its_place_and_its_fix() {
    let home = empty();
    let policy = support::text("gitops-example/policies/backend-latency.yaml").unwrap();
    let line = 1 + policy.lines().position(|line| line.contains("maxReplicas")).unwrap();
    std::fs::write(home.path().join("policy.yaml"), policy.replace("maxReplicas", "maxReplica")).unwrap();
    let said = tars(home.path(), &["policy", "lint", "policy.yaml"]);
    assert_eq!(said.code, 1, "{said:?}");
    for words in [format!("policy.yaml:{line}:9"), "maxReplicas".to_owned(), "did you mean".to_owned()] {
        assert!(said.out.contains(&words), "{words}: {}", said.out);
    }
    std::fs::write(home.path().join("policy.yaml"), policy).unwrap();
    let good = tars(home.path(), &["policy", "lint", "policy.yaml"]).ok();
    assert_eq!(good, "1 policy in 1 file: 0 errors, 0 warnings\n");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = played();
    for verb in ["log -o yaml", "get rem -o json", "explain last", "completion bash", "config schema"] {
        let place = if verb.starts_with("co") { "" } else { "-C kept/repo.git" };
        let said = shell(home.path(), &format!("set -o pipefail; tars {verb} {place} | head -c 10"));
        assert!([0, 141].contains(&said.code), "{verb}: {said:?}");
        assert_eq!(said.err, "", "{verb}");
    }
    let said = shell(home.path(), "tars log -C kept/repo.git > /dev/full");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("could not write to standard output"), "{said:?}");
}

#[test]
fn completion_scripts_are_complete_and_parse() {
    let home = empty();
    for kind in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = tars(home.path(), &["completion", kind]).ok();
        for verb in VERBS {
            assert!(script.contains(verb), "{verb} in the script for {kind}");
        }
    }
    shell(home.path(), "tars completion bash > script && bash -n script && source ./script").ok();
    refused(home.path(), &["completion", "csh"], 2, &["bash"]);
}

#[test]
fn log_filters_and_limits() {
    let home = played();
    let lines = |more: &[&str]| {
        let said = tars(home.path(), &[&["log", "-C", "kept/repo.git", "-o", "name"], more].concat());
        said.ok().lines().count()
    };
    assert_eq!(lines(&[]), 7);
    assert_eq!(lines(&["--max-count", "2"]), 2);
    assert_eq!(lines(&["--policy", "backend-latency"]), 6);
    assert_eq!(lines(&["--policy", "backend-errors"]), 0);
    assert_eq!(lines(&["--target", "production/Deployment/backend", "--max-count", "3"]), 3);
}
