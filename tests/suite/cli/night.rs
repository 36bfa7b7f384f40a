//! What a person reads at three in the morning: a help that is found by purpose, a line that says that a command
//! still works, and errors that name the thing to touch. Broken machines come in; words and exit codes go out.

use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::output::all_at_terminal;
use super::{VERBS, empty, refused, settings, write};
use crate::support::git_http::GitHttp;
use crate::support::program::{Said, git, shell, tars};

/// Keys, settings and a repository with one commit: what a tick needs to begin.
fn prepared() -> tempfile::TempDir {
    let home = empty();
    let dir = home.path();
    shell(dir, "ssh-keygen -q -t ed25519 -N '' -f key && sed 's/^/tars@example.com /' key.pub > allowed")
        .ok();
    git(dir, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
    git(dir, &["clone", "-q", "repo.git", "work"]);
    shell(dir, "head -c 8000 /dev/urandom | base64 | sed 's/^/# /' > work/a.yaml").ok();
    git(&dir.join("work"), &["add", "-A"]);
    git(&dir.join("work"), &["commit", "-q", "-m", "a"]);
    git(&dir.join("work"), &["push", "-q", "origin", "HEAD:main"]);
    write(dir, "");
    home
}

/// The settings with one line for another.
fn with(dir: &Path, from: &str, to: &str) {
    let text = settings(dir);
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(dir.join("tars.yaml"), text.replace(from, to)).unwrap();
}

#[track_caller]
fn says(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, code, "{said:#?}");
    for word in words {
        assert!(said.err.contains(word), "{word:?} is missing in {}", said.err);
    }
}

#[test]
fn the_help_groups_the_verbs_by_what_a_person_wants_and_every_verb_shows_how() {
    let home = empty();
    let help = tars(home.path(), &["--help"]).ok();
    let place = |words: &str| help.find(words).unwrap_or_else(|| panic!("{words:?} in {help}"));
    let order = [
        "\nLook commands:\n",
        "\n  status ",
        "\n  explain ",
        "\nAct commands:\n",
        "\n  run ",
        "\nSetup \
                 commands:\n",
        "\n  check ",
        "\nOptions:\n",
        "\nExit codes:\n",
    ];
    assert!(order.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "{help}");
    assert!(!help.contains("Other commands"), "{help}");
    for verb in VERBS.iter().filter(|verb| **verb != "version") {
        let verb = match *verb {
            "audit" => "audit verify",
            "policy" => "policy lint",
            "forge" => "forge check",
            "config" => "config view",
            "sops" => "sops check",
            "source" => "source query",
            verb => verb,
        };
        let help = shell(home.path(), &format!("tars {verb} --help")).ok();
        let example = |line: &str| line.starts_with("  ") && line.contains(&format!("tars {verb}"));
        let shown = help.split_once("\nExamples:\n").map_or("", |(_, shown)| shown);
        assert!(shown.lines().any(example), "{verb}: {help}");
    }
}

#[test]
fn a_word_that_is_nearly_right_is_answered_with_the_right_one() {
    let home = empty();
    for (line, near) in [
        ("stats", "'status'"),
        ("expalin last", "'explain'"),
        ("policy lnt", "'lint'"),
        ("get polices", "policies"),
        ("status --brnch x", "'--branch'"),
        ("demo strom", "storm"),
        ("log -o jsn", "json"),
        ("log -l polcy=a", "policy"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        refused(home.path(), &words, 2, &[near]);
    }
}

/// A remote that takes the question and never answers it.
fn silent() -> GitHttp {
    GitHttp::start(|_, stream| {
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {
            thread::sleep(Duration::from_millis(500));
        }
    })
}

#[test]
fn a_long_wait_is_seen_on_a_terminal_and_nowhere_else() {
    let home = prepared();
    let server = silent();
    let repo = format!("url: {}/repo.git,", home.path().display());
    let slow = format!("url: \"{}/x.git\", timeout_s: 3,", server.origin);
    with(home.path(), &repo, &slow);
    let waiting = "trying everything tars needs";

    let seen = all_at_terminal(home.path(), 40, "tars check").out;
    let (before, after) = seen.rsplit_once("\r\u{1b}[K").unwrap_or_else(|| panic!("{seen:?}"));
    assert!(before.contains(waiting) && before.contains(" 2 s"), "{seen:?}");
    assert!(after.contains("settings") && !after.contains(waiting), "wiped before the answer: {seen:?}");

    for quiet in ["tars check -q", "tars check 2>/dev/null", "TERM=dumb tars check"] {
        let seen = all_at_terminal(home.path(), 40, quiet).out;
        assert!(!seen.contains(waiting), "{quiet}: {seen:?}");
    }
    let piped = tars(home.path(), &["check"]);
    assert_eq!((piped.code, piped.err.as_str()), (1, ""), "{piped:#?}");
    assert!(!piped.out.contains(['\u{1b}', '\r']), "{piped:#?}");
    let quick = all_at_terminal(home.path(), 40, "tars version").out;
    assert!(!quick.contains('\r'), "{quick:?}");
}

#[test]
fn a_state_folder_that_cannot_be_used_is_named_with_what_to_do() {
    let home = prepared();
    let dir = home.path();
    std::fs::write(dir.join("state"), "a file\n").unwrap();
    says(&tars(dir, &["run", "--once"]), 2, &["the state folder", "repository.state_dir"]);
    std::fs::remove_file(dir.join("state")).unwrap();
    // A folder in which nobody, not even root, makes files.
    with(dir, &format!("state_dir: {}/state", dir.display()), "state_dir: /proc/self/net");
    says(&tars(dir, &["run", "--once"]), 2, &["/proc/self/net", "repository.state_dir"]);
}

#[test]
fn a_disk_that_takes_no_more_is_not_blamed_on_the_remote() {
    let home = prepared();
    // Files of one block at most: the pack does not fit.
    let said = shell(home.path(), "ulimit -f 1; tars run --once");
    says(&said, 3, &["repository.state_dir"]);
    tars(home.path(), &["run", "--once"]).ok();
    // What keeps tars from making its copy is this machine's matter.
    shell(home.path(), "rm -rf state/clones && echo > state/clones").ok();
    says(&tars(home.path(), &["run", "--once"]), 1, &["clones", "repository.state_dir"]);
}

#[test]
fn what_an_earlier_process_left_broken_does_not_matter() {
    let home = prepared();
    let dir = home.path();
    tars(dir, &["run", "--once"]).ok();
    shell(
        dir,
        "mkdir -p state/clones/junk state/inbox && for f in state/index.facts state/inbox/junk \
         state/clones/x.lock; do head -c 300 /dev/urandom > $f; done",
    )
    .ok();
    tars(dir, &["run", "--once"]).ok();
}

#[test]
fn a_machine_without_git_is_told_to_get_it() {
    let home = prepared();
    let tars = crate::support::tars();
    let said = shell(home.path(), &format!("PATH=/nonexistent {} run --once", tars.display()));
    says(&said, 1, &["cannot start git", "install git 2.32 or newer"]);
}

#[test]
fn a_remote_that_is_gone_is_told_in_one_sentence() {
    let home = prepared();
    with(home.path(), "repo.git", "gone.git");
    let said = tars(home.path(), &["run", "--once"]);
    says(&said, 3, &["gone.git' does not appear to be a git repository", "repository.url"]);
    assert!(!said.err.contains("correct access rights"), "{}", said.err);
    let said = tars(home.path(), &["status", "-C", "gone.git"]);
    says(&said, 2, &["gone.git is not a git repository", "-C DIR"]);
    assert!(!said.err.contains("class="), "{}", said.err);
}

#[test]
fn an_unknown_setting_is_told_whole_or_not_at_all() {
    let home = prepared();
    write(home.path(), "garbage: 1\n");
    let said = tars(home.path(), &["config", "validate"]);
    says(&said, 2, &["tars.yaml:6: garbage: unknown field `garbage`; every setting is described by"]);
    with(home.path(), "url: \"http://127.0.0.1:9\"", "url: \"http://127.0.0.1:9\", timeout: 1");
    let said = tars(home.path(), &["config", "validate"]);
    says(&said, 2, &["expected one of", "did you mean `timeout_s`?"]);
}

#[test]
fn a_port_that_is_taken_and_a_secret_that_is_missing_say_what_to_set() {
    let home = prepared();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    write(home.path(), &format!("listen: \"{address}\"\n"));
    says(&tars(home.path(), &["run"]), 2, &["cannot listen on", "--listen"]);
    let secret = format!("webhook: {{secret_file: {}/none}}", home.path().display());
    with(home.path(), "webhook: {enabled: false}", &secret);
    says(&tars(home.path(), &["run"]), 2, &["the secret in", "on one line"]);
    let said = tars(home.path(), &["check"]);
    assert!(said.out.contains("cannot open") && said.out.contains("No such file"), "{}", said.out);
    with(home.path(), "webhook: {enabled: false}", "webhook: {}");
    says(&tars(home.path(), &["run", "--once"]), 2, &["webhook.secret_file", "webhook.enabled: false"]);
}

#[test]
fn a_check_praises_nothing_that_did_not_answer_and_does_not_repeat_itself() {
    let home = prepared();
    let dir = home.path();
    let folder = |at: usize| {
        format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: k{at}, namespace: \
             flux-system}}\nspec: {{path: ./a{at}, sourceRef: {{kind: GitRepository, name: other{at}}}}}\n"
        )
    };
    let text = (0..9).map(folder).collect::<Vec<_>>().join("---\n");
    std::fs::write(dir.join("work/flux.yaml"), text).unwrap();
    shell(dir, "cd work && git add -A && git -c user.name=a -c user.email=a@example.com commit -qm b").ok();
    git(&dir.join("work"), &["push", "-q", "origin", "HEAD:main"]);
    let said = tars(dir, &["check"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(!said.out.contains("0 of 1 signals"), "{}", said.out);
    let told = said.out.lines().filter(|line| line.starts_with("! deliveries")).count();
    assert_eq!(told, 3, "{}", said.out);
    assert!(said.out.contains("more like these: -o json has them all"), "{}", said.out);
    let all = tars(dir, &["check", "-o", "json"]).json();
    let all = all["items"].as_array().unwrap().iter().filter(|it| it["check"] == "deliveries").count();
    assert!(all >= 9, "{all}");
}
