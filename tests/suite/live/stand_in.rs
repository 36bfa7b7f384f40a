//! The loop through the stand-ins for GitHub and GitLab, which hold every request and answer against the vendor's own
//! description. Comes in: the parts of `tests/install-parts fakes`; out: what the repository, the pull request, the
//! audit and the stand-in say afterwards.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::wait_for;
use super::world::{Host, Programs, World, policy};
use super::{ANOMALY, STORY, SURGE_CLIENTS, TO_MERGE, TO_VERIFIED, told_once, warmed_up, workload};
use crate::support;
use crate::support::fake::Fake;

const BOT: &str = "tars-bot";
const REVIEWER: &str = "maintainer";
const OWNER: &str = "shop";

/// A repository of a stand-in that tars may write to, and no more.
struct OnStandIn {
    kind: &'static str,
    server: Fake,
    name: &'static str,
    token: String,
    reviewer: String,
    folder: PathBuf,
}

impl OnStandIn {
    fn start(programs: &Programs, kind: &'static str, name: &'static str) -> Self {
        let parts = programs.fakes.as_ref().expect("asked before");
        let server = Fake::start(support::root(), parts, kind);
        let (token, reviewer) = (server.user(BOT), server.user(REVIEWER));
        let mut made =
            json!({ "owner": OWNER, "name": name, "members": { BOT: "write", REVIEWER: "write" } });
        if kind == "gitlab" {
            (made["merge_method"], made["squash_option"]) = (json!("ff"), json!("never"));
        }
        let folder = server.control("POST", "repositories", &made)["folder"].as_str().unwrap().into();
        Self { kind, server, name, token, reviewer, folder }
    }

    fn settled(&self) {
        self.server.is_as_described(if self.kind == "github" { self.name } else { "projects/" });
    }

    /// The one pull request there is, whatever its state, as GitHub tells a person.
    fn github_pull(&self) -> Option<Value> {
        let list = format!("/api/v3/repos/{OWNER}/{}/pulls?state=all", self.name);
        let (status, all) = self.server.ask(&self.reviewer, "GET", &list, None);
        assert_eq!(status, 200, "{all}");
        let all = all.as_array().unwrap();
        assert!(all.len() <= 1, "more than one pull request: {all:#?}");
        let one = format!("/api/v3/repos/{OWNER}/{}/pulls/{}", self.name, all.first()?["number"]);
        Some(self.server.ask(&self.reviewer, "GET", &one, None).1)
    }

    /// The same as GitLab tells.
    fn gitlab_request(&self) -> Option<Value> {
        let list = format!("/api/v4/projects/{OWNER}%2F{}/merge_requests?state=all", self.name);
        let (status, all) = self.server.ask(&self.reviewer, "GET", &list, None);
        assert_eq!(status, 200, "{all}");
        let all = all.as_array().unwrap();
        assert!(all.len() <= 1, "more than one merge request: {all:#?}");
        all.first().cloned()
    }
}

impl Host for OnStandIn {
    fn take(&self, folder: &Path) -> String {
        let bare = folder.join("repo.git");
        let pushed = Command::new("git")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .arg("--git-dir")
            .arg(&bare)
            .args(["push", "--quiet", "--force"])
            .arg(&self.folder)
            .arg("main")
            .output()
            .unwrap();
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
        // Only now: a protected branch takes no push like this one.
        let rule = json!({ "protection": [{ "branch": "main", "merge_level": 30 }] });
        self.server.control("PATCH", &format!("repositories/{OWNER}/{}", self.name), &rule);
        fs::remove_dir_all(&bare).unwrap();
        symlink(&self.folder, &bare).unwrap();
        let token = folder.join("token");
        fs::write(&token, &self.token).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let (at, url, name, kind) = (folder.display(), &self.server.url, self.name, self.kind);
        format!(
            "repository: {{url: '{url}/{OWNER}/{name}.git', state_dir: {at}/state, token_file: {at}/token, \
             aliases: ['https://git.example.com/shop/gitops.git']}}\n\
             forge: {{kind: {kind}, url: '{url}', repository: {OWNER}/{name}, token_file: {at}/token, \
             reviewers: [{REVIEWER}]}}\n"
        )
    }
}

fn audited(world: &World) {
    let clone = world.repository().to_string_lossy().into_owned();
    let signers = world.path("allowed_signers").to_string_lossy().into_owned();
    let (code, out, err) = world.ask(&["audit", "verify", "-C", &clone, "--allowed-signers", &signers]);
    assert_eq!(code, 0, "{out}{err}");
}

/// GitHub knows no fast-forward: it makes a merge commit, which has the computed tree and stands on our commit.
pub(super) fn github_merges(programs: &Programs) {
    let host = OnStandIn::start(programs, "github", "automatic");
    let world = World::start_on(programs, &policy(ANOMALY), false, Some(&host));
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    world.wait_for_entry("Verified", TO_MERGE + TO_VERIFIED);
    assert_eq!(world.kinds(), STORY, "{}", world.log());
    let overlay = super::process::git(&world.repository(), &["show", &format!("main:{}", workload::OVERLAY)]);
    assert_eq!(workload::replicas(&overlay.unwrap()), 7);
    audited(&world);
    wait_for("the pull request tells the end", Duration::from_secs(30), || {
        host.github_pull()?["body"].as_str()?.contains("Verified").then_some(())
    });
    let pull = host.github_pull().unwrap();
    assert_eq!((&pull["merged"], &pull["merged_by"]["login"]), (&json!(true), &json!(BOT)), "{pull:#}");
    assert!(!world.log().contains("ERROR"), "nothing failed, yet: {}", world.log());
    host.settled();
}

/// On GitHub a person approves and squashes.
pub(super) fn person_squashes_on_github(programs: &Programs) {
    let host = OnStandIn::start(programs, "github", "reviewed");
    let asks = policy(ANOMALY).replace("mode: AutoMerge", "mode: Propose");
    let world = World::start_on(programs, &asks, false, Some(&host));
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    let pull = wait_for("a pull request is open", TO_MERGE, || host.github_pull());
    let path = format!("/api/v3/repos/{OWNER}/reviewed/pulls/{}", pull["number"]);
    let approval = json!({ "event": "APPROVE", "commit_id": pull["head"]["sha"] });
    let (status, said) = host.server.ask(&host.reviewer, "POST", &format!("{path}/reviews"), Some(&approval));
    assert_eq!(status, 200, "{said}");
    let merge = json!({ "merge_method": "squash", "sha": pull["head"]["sha"] });
    let (status, said) = host.server.ask(&host.reviewer, "PUT", &format!("{path}/merge"), Some(&merge));
    assert_eq!(status, 200, "{said}");
    world.wait_for_entry("Verified", TO_VERIFIED);
    assert_eq!(world.kinds(), ["Proposed", "Merged", "Synced", "Verified"], "{}", world.log());
    audited(&world);
    host.settled();
}

/// GitLab fast-forwards: what was reviewed is what the branch gets, signature included.
pub(super) fn gitlab_merges(programs: &Programs) {
    let host = OnStandIn::start(programs, "gitlab", "automatic");
    let world = World::start_on(programs, &policy(ANOMALY), false, Some(&host));
    warmed_up(&world);
    world.load.set_clients(SURGE_CLIENTS);
    world.wait_for_entry("Verified", TO_MERGE + TO_VERIFIED);
    told_once(&world);
    wait_for("the merge request tells the end", Duration::from_secs(30), || {
        host.gitlab_request()?["description"].as_str()?.contains("Verified").then_some(())
    });
    assert_eq!(host.gitlab_request().unwrap()["state"], "merged");
    assert!(!world.log().contains("ERROR"), "nothing failed, yet: {}", world.log());
    host.settled();
}
