//! A shared bare repository, a signer and the real git program in a temporary folder, for the tests of this
//! room.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::command::{CommandOutput, CommandSpec, run};
use super::super::sign::SigningKey;
use super::write::Written;
use super::{CommitDraft, Edit, GitSettings, Mirror, Objects};

pub(super) const MAIN: &str = "refs/heads/main";

pub(super) struct World {
    pub(super) temp: tempfile::TempDir,
    pub(super) hub: PathBuf,
    pub(super) signer: SigningKey,
    /// Its public half, as a line.
    pub(super) line: String,
    pub(super) first: Written,
}

impl World {
    /// A hub whose `main` has one commit with `app.yaml` and `apps/backend/deploy.yaml`.
    pub(super) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let hub = temp.path().join("hub.git");
        let objects = Objects::init_bare(&hub).unwrap();
        let (signer, line) = SigningKey::generate(&temp.path().join("key")).unwrap();
        let edits = vec![edit("app.yaml", "replicas: 3\n"), edit("apps/backend/deploy.yaml", "image: a\n")];
        let first = objects.write_commit(&draft(None, &[], edits, "First"), &signer).unwrap();
        objects.set_local_ref(MAIN, &first.commit, None).unwrap();
        Self { temp, hub, signer, line, first }
    }

    pub(super) fn settings(&self) -> GitSettings {
        GitSettings {
            url: self.hub.to_str().unwrap().to_owned(),
            state_dir: self.temp.path().join("state"),
            timeout_s: 20,
            clone_max_mib: 64,
            ssh_identity: None,
            ssh_known_hosts: None,
            name: "tars".to_owned(),
            email: "tars@example.org".to_owned(),
            token: None,
        }
    }

    pub(super) async fn mirror(&self) -> Mirror {
        Mirror::open(&self.settings()).await.unwrap()
    }

    pub(super) fn hub(&self) -> Objects {
        Objects::open(&self.hub).unwrap()
    }

    /// A commit on top of `parent` that sets `app.yaml` to `text`.
    pub(super) fn commit(&self, objects: &Objects, parent: &str, text: &str) -> String {
        let edits = vec![edit("app.yaml", text)];
        objects.write_commit(&draft(Some(parent), &[parent], edits, text), &self.signer).unwrap().commit
    }

    /// A commit without a history, in a clone that has fetched nothing.
    pub(super) fn signer_commit(&self, mirror: &Mirror) -> String {
        let change = draft(None, &[], vec![edit("x", "1")], "Orphan");
        mirror.objects().write_commit(&change, &self.signer).unwrap().commit
    }

    /// Somebody else moves a branch of the hub.
    pub(super) fn others_move(&self, name: &str, text: &str) -> String {
        let hub = self.hub();
        let head = hub.resolve(name).unwrap();
        let parent = head.clone().unwrap_or_else(|| self.first.commit.clone());
        let commit = self.commit(&hub, &parent, text);
        hub.set_local_ref(name, &commit, head.as_deref()).unwrap();
        commit
    }

    /// Installs a hook on the shared side.
    pub(super) fn hook(&self, name: &str, script: &str) {
        let hooks = self.hub.join("hooks");
        super::super::files::create_private_dir(&hooks).unwrap();
        let text = format!("#!/bin/sh\n{script}\n");
        super::super::files::write_new(&hooks.join(name), text.as_bytes(), 0o755).unwrap();
    }

    /// Runs git on the hub.
    pub(super) async fn git(&self, args: &[&str], stdin: Option<&[u8]>) -> CommandOutput {
        git(&self.hub, args, stdin).await
    }
}

pub(super) async fn git(dir: &Path, args: &[&str], stdin: Option<&[u8]>) -> CommandOutput {
    let env = [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "t"),
        ("GIT_AUTHOR_EMAIL", "t@x"),
        ("GIT_COMMITTER_NAME", "t"),
        ("GIT_COMMITTER_EMAIL", "t@x"),
        ("HOME", "/nonexistent"),
    ];
    let spec = CommandSpec {
        program: "git".into(),
        args: args.iter().map(Into::into).collect(),
        env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect(),
        cwd: Some(dir.to_owned()),
        stdin: stdin.map(<[u8]>::to_vec),
        timeout: Duration::from_secs(60),
        output_max_bytes: 1024 * 1024,
        fills: None,
    };
    run(spec).await.unwrap()
}

pub(super) fn text(output: &CommandOutput) -> String {
    assert!(output.success(), "{}", output.stderr);
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

pub(super) fn edit(path: &str, bytes: &str) -> Edit {
    (path.to_owned(), Some(bytes.as_bytes().to_vec()))
}

pub(super) fn draft(base: Option<&str>, parents: &[&str], edits: Vec<Edit>, message: &str) -> CommitDraft {
    CommitDraft {
        base_tree: base.map(str::to_owned),
        edits,
        parents: parents.iter().map(|p| (*p).to_owned()).collect(),
        message: message.to_owned(),
        author: ("tars".to_owned(), "tars@example.org".to_owned()),
        time_s: 1_700_000_000,
    }
}
