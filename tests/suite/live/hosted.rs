//! The loop through a real Gitea: tars opens the pull request, and the forge merges it, by itself within the rules or
//! because a person approved and pressed the button. Comes in: the program of `tests/install-parts`; out: what the
//! repository, the pull request and the audit say afterwards.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::wait_for;
use super::world::{Host, Programs, World, policy};
use super::{ANOMALY, SURGE_CLIENTS, TO_MERGE, TO_VERIFIED, told_once, warmed_up};
use crate::support::gitea::{Gitea, LEAST_SCOPES, ORGANISATION};

const BOT: &str = "tars-bot";
const REVIEWER: &str = "maintainer";

/// A repository of a Gitea that tars may write to, and no more.
struct OnGitea {
    gitea: Gitea,
    name: &'static str,
    token: String,
    reviewer: String,
}

impl OnGitea {
    fn start(programs: &Programs, name: &'static str) -> Self {
        let gitea = Gitea::start(programs.gitea.as_ref().expect("asked before"));
        let token = gitea.user(BOT, LEAST_SCOPES);
        let reviewer = gitea.user(REVIEWER, &["write:repository", "write:issue"]);
        gitea.repository(name, &[BOT, REVIEWER]);
        Self { gitea, name, token, reviewer }
    }

    fn path(&self) -> String {
        format!("/repos/{ORGANISATION}/{}", self.name)
    }

    fn protect(&self, approvals: u32) {
        let rule = json!({ "rule_name": "main", "enable_push": false, "required_approvals": approvals });
        self.gitea.admin("POST", &format!("{}/branch_protections", self.path()), Some(&rule), 201);
    }

    /// The one pull request there is, whatever its state.
    fn pull(&self) -> Option<Value> {
        let all = self.gitea.admin("GET", &format!("{}/pulls?state=all", self.path()), None, 200);
        let all = all.as_array().unwrap();
        assert!(all.len() <= 1, "more than one pull request: {all:#?}");
        let number = &all.first()?["number"];
        // A list does not tell everything.
        Some(self.gitea.admin("GET", &format!("{}/pulls/{number}", self.path()), None, 200))
    }

    fn as_reviewer(&self, path: &str, body: &Value) -> (u16, Value) {
        self.gitea.ask(&self.reviewer, "POST", &format!("{}{path}", self.path()), Some(body))
    }

    fn finished(&self, body_says: &str) {
        let pull = self.pull().expect("a pull request");
        assert_eq!(pull["merged"], true, "{pull:#}");
        let body = pull["body"].as_str().unwrap();
        assert!(body.contains(body_says), "{body}");
        assert!(
            pull["title"].as_str().unwrap().starts_with("tars: scale out production/backend 3→7"),
            "{pull:#}"
        );
    }
}

impl Host for OnGitea {
    fn take(&self, folder: &Path) -> String {
        let bare = folder.join("repo.git");
        let address =
            self.gitea.url.replace("http://", &format!("http://keeper:{}@", self.gitea.admin_token));
        let pushed = Command::new("git")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .arg("--git-dir")
            .arg(&bare)
            .args([
                "push",
                "--quiet",
                "--force",
                &format!("{address}/{ORGANISATION}/{}.git", self.name),
                "main",
            ])
            .output()
            .unwrap();
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
        self.protect(0);
        fs::remove_dir_all(&bare).unwrap();
        symlink(self.gitea.on_disk(self.name), &bare).unwrap();
        let token = folder.join("token");
        fs::write(&token, &self.token).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let (at, url, name) = (folder.display(), &self.gitea.url, self.name);
        format!(
            "repository: {{url: '{url}/{ORGANISATION}/{name}.git', state_dir: {at}/state, token_file: {at}/token, \
             aliases: ['https://git.example.com/shop/gitops.git']}}\n\
             forge: {{kind: gitea, url: '{url}', repository: {ORGANISATION}/{name}, token_file: {at}/token, \
             reviewers: [{REVIEWER}]}}\n"
        )
    }
}

/// Nobody touches it: the forge merges what the permit allows, and refuses every push to main.
pub(super) fn merged_by_the_forge(programs: &Programs) {
    let host = OnGitea::start(programs, "automatic");
    let world = World::start_on(programs, &policy(ANOMALY), false, Some(&host));
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    world.wait_for_entry("Verified", TO_MERGE + TO_VERIFIED);
    told_once(&world);
    wait_for("the pull request tells the end", Duration::from_secs(30), || {
        host.pull()?["body"].as_str()?.contains("Verified").then_some(())
    });
    host.finished("Verified");
    let pull = host.pull().unwrap();
    assert_eq!(pull["merged_by"]["login"], BOT, "{pull:#}");
    assert!(!world.log().contains("ERROR"), "nothing failed, yet: {}", world.log());
}

/// A person reads, approves and merges; the protection asks for that approval.
pub(super) fn merged_by_a_person(programs: &Programs) {
    let host = OnGitea::start(programs, "reviewed");
    let asks = policy(ANOMALY).replace("mode: AutoMerge", "mode: Propose");
    let world = World::start_on(programs, &asks, false, Some(&host));
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    let pull = wait_for("a pull request is open", TO_MERGE, || host.pull());
    let (number, head) = (pull["number"].clone(), pull["head"]["sha"].clone());
    wait_for("the reviewer is asked", Duration::from_secs(30), || {
        let asked = host.pull()?["requested_reviewers"].as_array()?.clone();
        asked.iter().any(|it| it["login"] == REVIEWER).then_some(())
    });
    let approval = json!({ "event": "APPROVED", "body": "Looks right.", "commit_id": head });
    let (status, said) = host.as_reviewer(&format!("/pulls/{number}/reviews"), &approval);
    assert_eq!(status, 200, "{said}");
    let merge = json!({ "do": "merge", "head_commit_id": head });
    wait_for("the person can merge", Duration::from_secs(30), || {
        (host.as_reviewer(&format!("/pulls/{number}/merge"), &merge).0 == 200).then_some(())
    });
    world.wait_for_entry("Verified", TO_VERIFIED);
    assert_eq!(world.kinds(), ["Proposed", "Merged", "Synced", "Verified"], "{}", world.log());
    wait_for("the pull request tells the end", Duration::from_secs(30), || {
        host.pull()?["body"].as_str()?.contains("Verified").then_some(())
    });
    host.finished("merged by a person");
    let clone = world.repository().to_string_lossy().into_owned();
    let signers = world.path("allowed_signers").to_string_lossy().into_owned();
    let (code, out, err) = world.ask(&["audit", "verify", "-C", &clone, "--allowed-signers", &signers]);
    assert_eq!(code, 0, "{out}{err}");
}
