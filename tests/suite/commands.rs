//! The commands by which a person changes something, from outside: suspend, resume, snooze, revert, init. The built
//! program, real git and a bare remote; often two of them at once. Never: a change of the person's own branches.

use std::path::Path;
use std::thread;

use tempfile::TempDir;

use crate::support;
use crate::support::program::{Said, git, kinds, shell, tars};

const POLICY: &str = "apiVersion: aiops.tars/v1alpha1
kind: RemediationPolicy
metadata:
  name: backend-latency # the first one
  namespace: shop
spec:
  mode: Propose
  triggers:
    - { type: promql, query: up }
  actions:
    - type: ScaleOut
      scaleOut: { step: 2, maxReplicas: 10 }
  allowedResources: [Deployment/backend]
  verify: { signal: latency_p95, service: backend, below: 250 }
";
const APP: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: backend
  namespace: shop
spec:
  replicas: 3 # three
  selector:
    matchLabels: { app: backend }
  template:
    metadata:
      labels: { app: backend }
    spec:
      containers:
        - name: app
          image: r.example/app:1
";

/// A bare remote with an application and a policy, two clones of two people, and settings.
fn world() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    git(dir, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
    for who in ["ann", "bob"] {
        git(dir, &["clone", "-q", "repo.git", who]);
        let clone = dir.join(who);
        git(&clone, &["config", "user.name", who]);
        git(&clone, &["config", "user.email", &format!("{who}@example.com")]);
    }
    let ann = dir.join("ann");
    std::fs::create_dir_all(ann.join("policies")).unwrap();
    std::fs::create_dir_all(ann.join("apps")).unwrap();
    std::fs::write(ann.join("policies/backend.yaml"), POLICY).unwrap();
    std::fs::write(ann.join("apps/backend.yaml"), APP).unwrap();
    git(&ann, &["checkout", "-q", "-b", "main"]);
    git(&ann, &["add", "-A"]);
    git(&ann, &["commit", "-q", "-m", "Import"]);
    git(&ann, &["push", "-q", "origin", "main"]);
    shell(dir, "ssh-keygen -q -t ed25519 -N '' -f key && sed 's/^/tars@example.com /' key.pub > allowed")
        .ok();
    let at = dir.display();
    let settings = format!(
        "repository: {{url: {at}/repo.git, state_dir: {at}/state}}\n\
         signing: {{key_file: {at}/key, allowed_signers_file: {at}/allowed}}\n\
         prometheus: {{url: \"http://127.0.0.1:9\"}}\n\
         signals: [{{signal: latency_p95, service: backend, query: up}}]\n\
         webhook: {{enabled: false}}\n"
    );
    std::fs::write(dir.join("tars.yaml"), settings).unwrap();
    home
}

fn show(dir: &Path, what: &str) -> Option<String> {
    let said = shell(dir, &format!("git -C repo.git show '{what}'"));
    (said.code == 0).then_some(said.out)
}

fn heads(dir: &Path) -> Vec<String> {
    let listed = git(&dir.join("repo.git"), &["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
    listed.lines().map(str::to_owned).collect()
}

/// What the person had checked out, staged and named, as one text.
fn own_state(dir: &Path, who: &str) -> String {
    let clone = dir.join(who);
    let refs = git(&clone, &["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads"]);
    refs + &git(&clone, &["status", "--porcelain"]) + &git(&clone, &["log", "-1", "--format=%H"])
}

#[track_caller]
fn says(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, code, "{said:#?}");
    for word in words {
        assert!(said.out.contains(word) || said.err.contains(word), "{word:?} is missing: {said:#?}");
    }
}

#[test]
fn a_stop_holds_at_once_is_the_persons_own_commit_and_can_be_taken_back() {
    let home = world();
    let dir = home.path();
    shell(dir, "ssh-keygen -q -t ed25519 -N '' -f person").ok();
    for (key, value) in [
        ("gpg.format", "ssh"),
        ("user.signingKey", &*format!("{}/person", dir.display())),
        ("commit.gpgSign", "true"),
    ] {
        git(&dir.join("ann"), &["config", key, value]);
    }
    let before = own_state(dir, "ann");
    let dry = tars(dir, &["suspend", "--reason", "load test", "-C", "ann", "--dry-run"]);
    says(&dry, 0, &["policies/SUSPENDED", "+load test", "would commit"]);
    assert_eq!(show(dir, "main:policies/SUSPENDED"), None);
    let said = tars(dir, &["suspend", "--reason", "load test", "-C", "ann"]);
    says(&said, 0, &["nothing merges by itself", "on main of origin, signed", "tars resume"]);
    assert!(show(dir, "main:policies/SUSPENDED").unwrap().starts_with("load test\n\nSince "));
    let commit = git(&dir.join("repo.git"), &["log", "-1", "--format=%an <%ae>|%s|%b", "main"]);
    assert_eq!(commit.trim(), "ann <ann@example.com>|Suspend tars|load test");
    assert!(git(&dir.join("repo.git"), &["cat-file", "-p", "main"]).contains("BEGIN SSH SIGNATURE"));
    assert_eq!(own_state(dir, "ann"), before, "the person's clone is as it was");
    let again = tars(dir, &["suspend", "--reason", "other", "-C", "bob"]);
    says(&again, 0, &["already; nothing was written"]);
    let head = git(&dir.join("repo.git"), &["rev-parse", "main"]);

    says(&tars(dir, &["resume", "-C", "bob"]), 0, &["tars-cli/resume", "merge tars-cli/resume into main"]);
    assert_eq!(git(&dir.join("repo.git"), &["rev-parse", "main"]), head, "an end waits for a review");
    says(&tars(dir, &["resume", "-C", "bob"]), 0, &["tars-cli/resume"]);
    assert_eq!(heads(dir), ["main", "tars-cli/resume"], "asked twice, one branch");
    let said = tars(dir, &["resume", "-C", "bob", "--push", "-o", "json"]);
    assert_eq!(
        (said.code, &said.json()["state"], &said.json()["signed"]),
        (0, &"Done".into(), &false.into())
    );
    assert_eq!(show(dir, "main:policies/SUSPENDED"), None);
    says(&tars(dir, &["resume", "-C", "ann", "--push"]), 0, &["already; nothing was written"]);
}

#[test]
fn a_stop_that_ends_by_itself_says_when_and_is_only_ever_made_longer() {
    let home = world();
    let dir = home.path();
    let file = || show(dir, "main:policies/SUSPENDED").unwrap();
    let said = tars(dir, &["suspend", "--for", "2h", "--reason", "load test", "-C", "ann", "-o", "json"]);
    let until = said.json()["until"].as_str().unwrap().to_owned();
    assert!(file().starts_with(&format!("load test\n\nUntil: {until}\nSince ")), "{}", file());
    let shorter = tars(dir, &["suspend", "--for", "1h", "--reason", "mine", "-C", "bob"]);
    says(&shorter, 0, &["suspended already, at least until ", "nothing was written"]);
    says(
        &tars(dir, &["suspend", "--for", "3h", "--reason", "longer", "-C", "bob"]),
        0,
        &["suspended until "],
    );
    assert!(file().starts_with("longer\n"));
    says(&tars(dir, &["suspend", "--reason", "for good", "-C", "ann"]), 0, &["nothing merges by itself"]);
    assert!(file().starts_with("for good\n\nSince "), "{}", file());
    says(&tars(dir, &["suspend", "--for", "9h", "--reason", "x", "-C", "bob"]), 0, &["already"]);
    // A stop that is over is none.
    let ended = "old\n\nUntil: 2020-01-01T00:00:00Z\n";
    shell(dir, "git -C ann pull -q").ok();
    std::fs::write(dir.join("ann/policies/SUSPENDED"), ended).unwrap();
    shell(dir, "git -C ann commit -qam old && git -C ann push -q").ok();
    says(&tars(dir, &["suspend", "--for", "1h", "--reason", "again", "-C", "bob"]), 0, &["suspended until "]);
    assert!(file().starts_with("again\n"));
    let policy = tars(dir, &["suspend", "backend-latency", "--for", "1h", "--reason", "x", "-C", "ann"]);
    says(&policy, 2, &["--for"]);
}

#[test]
fn one_policy_is_suspended_by_one_field_and_every_other_byte_stays() {
    let home = world();
    let dir = home.path();
    says(
        &tars(dir, &["suspend", "backend-latency", "--reason", "tuning", "-C", "ann"]),
        0,
        &["is suspended"],
    );
    let text = show(dir, "main:policies/backend.yaml").unwrap();
    assert_eq!(text, format!("{POLICY}  suspend: true\n"));
    says(&tars(dir, &["suspend", "backend-latency", "--reason", "x", "-C", "ann"]), 0, &["already"]);
    says(&tars(dir, &["resume", "backend-latency", "--push", "-C", "bob"]), 0, &["is resumed"]);
    let text = show(dir, "main:policies/backend.yaml").unwrap();
    assert_eq!(text, format!("{POLICY}  suspend: false\n"));
    let unknown = tars(dir, &["suspend", "nope", "--reason", "x", "-C", "ann"]);
    says(&unknown, 2, &["named nope", "backend-latency"]);
    says(&tars(dir, &["suspend", "--reason", " ", "-C", "ann"]), 2, &["the reason is empty"]);
}

#[test]
fn two_people_at_once_and_a_busy_branch_lose_nothing() {
    let home = world();
    let dir = home.path();
    thread::scope(|scope| {
        for round in 0..4 {
            for (who, args) in [
                ("ann", ["suspend", "--reason", "a", "-C"]),
                ("bob", ["suspend", "backend-latency", "--reason=b", "-C"]),
            ] {
                scope.spawn(move || {
                    let said = tars(dir, &[&args[..], &[who]].concat());
                    assert_eq!(said.code, 0, "{round} {who}: {said:#?}");
                });
            }
        }
        scope.spawn(move || {
            shell(
                dir,
                "git clone -q repo.git third && cd third && git config user.name c && git config user.email c@x && \
                 for i in 1 2 3 4 5 6; do until git pull -q --rebase && git commit -q --allow-empty -m $i && \
                 git push -q; do git reset -q --hard origin/main; done; done",
            )
            .ok();
        });
    });
    let log = git(&dir.join("repo.git"), &["log", "--format=%s", "--first-parent", "main"]);
    let count = |subject: &str| log.lines().filter(|it| *it == subject).count();
    assert_eq!((count("Suspend tars"), count("Suspend policy backend-latency")), (1, 1), "{log}");
    assert!((1..=6).all(|i| count(&i.to_string()) == 1), "{log}");
    assert!(show(dir, "main:policies/SUSPENDED").is_some());
}

#[test]
fn a_stop_holds_in_a_clone_whose_last_fetch_was_killed_after_the_first_object() {
    let home = world();
    let dir = home.path();
    shell(
        dir,
        "git clone -q repo.git third && cd third && git config user.name c && git config user.email c@x && \
         echo more >> apps/backend.yaml && git commit -qam more && git push -q && \
         git cat-file commit HEAD | git -C ../ann hash-object -t commit -w --stdin",
    )
    .ok();
    let head = git(&dir.join("repo.git"), &["rev-parse", "main"]);
    assert!(!shell(dir, &format!("git -C ann ls-tree {head}")).err.is_empty(), "the tree is not there");
    says(&tars(dir, &["suspend", "--reason", "incident", "-C", "ann"]), 0, &["suspended: nothing merges"]);
}

#[test]
fn where_the_branch_is_protected_the_stop_waits_on_a_branch_and_says_so() {
    let home = world();
    let dir = home.path();
    let hook = "#!/bin/sh\n[ \"$1\" != refs/heads/main ] || { echo protected >&2; exit 1; }\n";
    std::fs::write(dir.join("repo.git/hooks/update"), hook).unwrap();
    shell(dir, "chmod +x repo.git/hooks/update").ok();
    let said = tars(dir, &["suspend", "--reason", "incident", "-C", "ann"]);
    says(&said, 4, &["does not take your push to main", "tars-cli/suspend", "merge it at once"]);
    assert!(show(dir, "tars-cli/suspend:policies/SUSPENDED").is_some());
    assert_eq!(show(dir, "main:policies/SUSPENDED"), None);
    let review = tars(dir, &["suspend", "--reason", "incident", "-C", "ann", "--review"]);
    says(&review, 0, &["tars-cli/suspend"]);
    // Somebody else's work on that branch is not overwritten.
    shell(dir, "git -C bob fetch -q && git -C bob checkout -q tars-cli/suspend && git -C bob commit -q --allow-empty -m mine && git -C bob push -q").ok();
    let kept = git(&dir.join("repo.git"), &["rev-parse", "tars-cli/suspend"]);
    says(&tars(dir, &["suspend", "--reason", "x", "-C", "ann", "--review"]), 6, &["left alone"]);
    assert_eq!(git(&dir.join("repo.git"), &["rev-parse", "tars-cli/suspend"]), kept);
}

#[test]
fn quiet_is_recorded_once_seen_by_everybody_and_can_be_ended() {
    let home = world();
    let dir = home.path();
    let ask = ["snooze", "backend-latency", "--for", "4h", "--reason", "known", "--by", "ann"];
    says(&tars(dir, &[&ask[..], &["--dry-run"]].concat()), 0, &["would record", "nothing was written"]);
    assert_eq!(heads(dir), ["main"]);
    let said = tars(dir, &ask);
    says(&said, 0, &["quiet for backend-latency until ", "asked   by ann", "reason  known", "--off"]);
    assert_eq!(kinds(&dir.join("repo.git")), ["Genesis", "Asked"]);
    let target = ["snooze", "shop/Deployment/backend", "--for", "30m", "--reason", "r", "--by", "bob"];
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| says(&tars(dir, &target), 0, &[]));
            scope.spawn(|| says(&tars(dir, &ask), 0, &[]));
        }
    });
    tars(dir, &["audit", "verify", "-C", "repo.git", "--allowed-signers", "allowed"]).ok();
    let status = tars(dir, &["status", "-C", "repo.git"]).ok();
    assert!(status.contains("quiet for policy backend-latency until"), "{status}");
    assert!(status.contains("asked for by bob: r"), "{status}");
    let log = tars(dir, &["log", "-C", "repo.git"]).ok();
    assert!(log.contains("Asked") && log.contains("quiet for shop/Deployment/backend"), "{log}");
    tars(dir, &["snooze", "backend-latency", "--off", "--by", "ann"]).ok();
    tars(dir, &["snooze", "shop/Deployment/backend", "--off", "--by", "ann"]).ok();
    says(&tars(dir, &["snooze", "backend-latency", "--off", "--by", "ann"]), 0, &["already"]);
    let status = tars(dir, &["status", "-C", "repo.git"]).ok();
    assert!(!status.contains("Asked for"), "{status}");
    for (args, code, words) in [
        (&["snooze", "nope", "--for", "1h", "--reason", "r", "--by", "a"][..], 2, "named nope"),
        (&["snooze", "backend-latency", "--for", "721h", "--reason", "r", "--by", "a"], 2, "30 days"),
        (&["snooze", "backend-latency", "--for", "1h", "--by", "a"], 2, "--reason"),
        (&["revert", "act-0123456789ab", "--by", "a"], 5, "nothing of act-0123456789ab is left to undo"),
        (&["revert", "shop/Deployment/backend", "--by", "a"], 5, "nothing that tars changed"),
    ] {
        says(&tars(dir, args), code, &[words]);
    }
    std::fs::write(dir.join("state/ledger-last-seen"), "half a commi").unwrap();
    says(
        &tars(dir, &ask),
        2,
        &["state/ledger-last-seen does not hold the id of a commit", "tars audit verify"],
    );
}

#[test]
fn what_is_asked_for_is_done_by_whoever_reconciles_next() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    tars(dir, &["demo", "--keep", "kept"]).ok();
    let at = dir.join("kept");
    let settings = format!(
        "repository: {{url: {0}/repo.git, state_dir: {0}/state, repo_id: demo}}\n\
         signing: {{key_file: {0}/signing-key, allowed_signers_file: {0}/allowed_signers}}\n\
         prometheus: {{url: \"http://127.0.0.1:9\"}}\n\
         signals: [{{signal: latency_p95, service: backend, query: up}}]\n\
         webhook: {{enabled: false}}\n",
        at.display()
    );
    std::fs::write(dir.join("tars.yaml"), settings).unwrap();
    let named = |state: &str| {
        let list = tars(dir, &["get", "rem", "-C", "kept/repo.git", "-o", "json"]).json();
        let items = list["items"].as_array().unwrap().clone();
        let found = items.into_iter().rfind(|it| it["status"]["state"] == state);
        found.map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
    };
    let (merged, waiting) = (named("Verified").unwrap(), named("Proposed").unwrap());
    let busy = tars(dir, &["revert", "production/Deployment/backend", "--by", "ann"]);
    says(&busy, 5, &[&format!("{merged} is being undone already, by {waiting}")]);
    says(&tars(dir, &["revert", &waiting, "--by", "ann"]), 5, &["was not merged: it is Proposed"]);

    let quiet = tars(dir, &["snooze", &waiting, "--for", "4h", "--reason", "not now", "--by", "ann"]);
    says(&quiet, 0, &[&format!("a running tars closes {waiting} at its next look")]);
    tars(dir, &["run", "--once"]).ok();
    assert_eq!(named("Closed"), Some(waiting));
    assert_eq!(heads(&at), ["main", "tars/ledger"]);
    let off = quiet.out.lines().last().unwrap().split(" snooze ").nth(1).unwrap().to_owned();
    let off: Vec<&str> = off.split(' ').collect();
    says(&tars(dir, &[&["snooze"], &off[..], &["--by", "ann"]].concat()), 0, &["no quiet for"]);

    let asked = tars(dir, &["revert", &merged, "--by", "ann", "--reason", "load test"]);
    says(&asked, 0, &["is asked for", "5 -> 3"]);
    says(&tars(dir, &["revert", &merged, "--by", "bob"]), 0, &["already; nothing was written"]);
    tars(dir, &["run", "--once"]).ok();
    let text = tars(dir, &["get", "proposal", "last", "-C", "kept/repo.git"]).ok();
    assert!(text.contains("asked for by ann: load test") && text.contains("Waiting for you"), "{text}");
    tars(dir, &["audit", "verify", "-C", "kept/repo.git", "--allowed-signers", "kept/allowed_signers"]).ok();
}

#[test]
fn onboarding_is_one_branch_whose_files_are_accepted_and_a_no_is_a_no() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let example = support::program::example();
    shell(
        dir,
        &format!("git clone -q --bare '{}' repo.git && git clone -q repo.git ann", example.path().display()),
    )
    .ok();
    let ann = dir.join("ann");
    git(&ann, &["config", "user.name", "Ann"]);
    git(&ann, &["config", "user.email", "ann@example.com"]);
    git(&ann, &["rm", "-rq", "policies", "tars.yaml"]);
    git(&ann, &["commit", "-q", "-m", "No tars"]);
    git(&ann, &["push", "-q", "origin", "main"]);
    let before = own_state(dir, "ann");

    let dry = tars(dir, &["init", "ann", "--dry-run"]);
    says(&dry, 0, &["would push tars/onboarding", "mode: Observe", "### What tars would need"]);
    assert_eq!(heads(dir), ["main"]);
    let said = tars(dir, &["init", "ann"]);
    says(&said, 0, &["tars/onboarding waits for you", "# tars: watch ", "production/Deployment/backend"]);
    assert_eq!(own_state(dir, "ann"), before);
    let first = git(&dir.join("repo.git"), &["rev-parse", "tars/onboarding"]);
    says(&tars(dir, &["init", "ann"]), 0, &["holds this already"]);
    assert_eq!(git(&dir.join("repo.git"), &["rev-parse", "tars/onboarding"]), first);
    shell(dir, "git clone -q -b tars/onboarding repo.git look").ok();
    let lint = tars(dir, &["policy", "lint", "look/policies"]);
    says(&lint, 0, &["0 errors, 0 warnings"]);
    tars(dir, &["config", "validate", "--config", "look/tars.yaml"]).ok();

    // The watched branch moves on: the same branch follows.
    git(&ann, &["commit", "-q", "--allow-empty", "-m", "on"]);
    git(&ann, &["push", "-q", "origin", "main"]);
    tars(dir, &["init", "ann"]).ok();
    assert_eq!(heads(dir), ["main", "tars/onboarding"]);
    let parent = git(&dir.join("repo.git"), &["rev-parse", "tars/onboarding^"]);
    assert_eq!(parent, git(&dir.join("repo.git"), &["rev-parse", "main"]));

    git(&ann, &["push", "-q", "origin", ":tars/onboarding"]);
    says(&tars(dir, &["init", "ann"]), 5, &["somebody deleted tars/onboarding", "--again"]);
    assert_eq!(heads(dir), ["main"]);
    tars(dir, &["init", "ann", "--again"]).ok();
    git(&dir.join("repo.git"), &["update-ref", "refs/heads/main", "refs/heads/tars/onboarding"]);
    git(&ann, &["push", "-q", "origin", ":tars/onboarding"]);
    says(&tars(dir, &["init", "ann"]), 0, &["nothing to add"]);
    // An address is as good as a clone.
    says(&tars(dir, &["init", &format!("file://{}/repo.git", dir.display())]), 0, &["nothing to add"]);
}
