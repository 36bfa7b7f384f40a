//! Snapshots of a real object store: they move with the branch, survive a restart, and leave no policy out in
//! silence.

use std::sync::Arc;

use crate::model::ids::{ObjectId, RepoPath, WorkloadRef};
use crate::outside::git::{CommitDraft, Objects};
use crate::outside::sign::SigningKey;

use super::*;

struct World {
    folder: tempfile::TempDir,
    objects: Objects,
    signer: SigningKey,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::init_bare(&folder.path().join("r.git")).unwrap();
        let (signer, _) = SigningKey::generate(&folder.path().join("key")).unwrap();
        Self { folder, objects, signer }
    }

    fn commit(&self, parent: Option<&ObjectId>, edits: &[(&str, Option<&str>)]) -> ObjectId {
        let parent = parent.map(ToString::to_string);
        let edit =
            |(path, text): &(&str, Option<&str>)| ((*path).to_owned(), text.map(|it| it.as_bytes().to_vec()));
        let draft = CommitDraft {
            base_tree: parent.clone(),
            edits: edits.iter().map(edit).collect(),
            parents: parent.into_iter().collect(),
            message: "Change".to_owned(),
            author: ("a".to_owned(), "a@example.org".to_owned()),
            time_s: 1_700_000_000,
        };
        ObjectId::new(self.objects.write_commit(&draft, &self.signer).unwrap().commit).unwrap()
    }

    fn facts(&self) -> PathBuf {
        self.folder.path().join("index.facts")
    }
}

fn repository() -> Repository {
    Repository::new(RepoPath::new("policies").unwrap())
}

fn deployment(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
         template: {{spec: {{containers: [{{name: app, image: 'x:{replicas}'}}]}}}}\n"
    )
}

fn web() -> WorkloadRef {
    WorkloadRef::parse("default/Deployment/web").unwrap()
}

fn replicas(snapshot: &Snapshot) -> Option<u32> {
    snapshot.index.workload(&web()).unwrap().replicas
}

#[test]
fn a_snapshot_moves_with_the_branch_while_somebody_holds_the_old_one() {
    let world = World::new();
    let (three, five) = (deployment("web", 3), deployment("web", 5));
    let first =
        world.commit(None, &[("a/web.yaml", Some(&three)), ("a/api.yaml", Some(&deployment("api", 1)))]);
    let second = world.commit(Some(&first), &[("a/web.yaml", Some(&five)), ("a/api.yaml", None)]);
    let mut repository = repository();
    let held = repository.snapshot(&world.objects, &first).unwrap();
    let moved = repository.snapshot(&world.objects, &second).unwrap();
    assert_eq!((replicas(&held), replicas(&moved)), (Some(3), Some(5)));
    assert_eq!((held.tree.files.len(), moved.tree.files.len(), &moved.tree.commit), (2, 1, &second));
    assert!(Arc::ptr_eq(&moved, &repository.snapshot(&world.objects, &second).unwrap()));
    drop((held, moved));
    let back = repository.snapshot(&world.objects, &first).unwrap();
    assert_eq!((replicas(&back), back.index.targets().len()), (Some(3), 2));
    let past = repository.past_tree(&world.objects, &second).unwrap();
    assert_eq!(past.files.len(), 1);
}

#[test]
fn the_last_release_is_found_in_the_history() {
    let world = World::new();
    let first = world.commit(None, &[("web.yaml", Some(&deployment("web", 3)))]);
    let second = world.commit(Some(&first), &[("web.yaml", Some(&deployment("web", 5)))]);
    let third = world.commit(Some(&second), &[("other.yaml", Some("a: 1\n"))]);
    let mut repository = repository();
    let snapshot = repository.snapshot(&world.objects, &third).unwrap();
    let workload = repository.workload(&world.objects, &snapshot, &web(), &[], true).unwrap();
    let previous = workload.previous.unwrap();
    assert_eq!((workload.last_release.map(|it| it.1), previous.commit), (Some(second), first));
    assert_eq!((previous.containers[0].image.as_str(), previous.only_images_differ), ("x:3", true));
}

#[test]
fn a_policy_that_is_not_read_is_a_problem() {
    let world = World::new();
    let large = format!("# {}\n", "x".repeat(MAX_FILE_BYTES));
    let commit = world.commit(None, &[("policies/large.yaml", Some(&large))]);
    let mut repository = repository();
    let snapshot = repository.snapshot(&world.objects, &commit).unwrap();
    let [problem] = &snapshot.problems[..] else { panic!("{:?}", snapshot.problems) };
    assert_eq!((problem.code, problem.path.as_str()), ("TARS-P043", "policies/large.yaml"));
    let mut odd = Repository {
        odd: ["policies/my policy.yaml", "apps/a b.yaml"].map(String::from).into(),
        ..repository
    };
    let snapshot = odd.understand(snapshot.index.clone()).unwrap();
    let odd: Vec<&str> = snapshot.problems.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(odd.len(), 2);
    assert!(odd[1].contains("my policy.yaml has a path that tars does not accept"), "{odd:?}");
}

#[test]
fn a_freeze_whose_text_cannot_be_read_is_a_freeze() {
    let world = World::new();
    let large = "x".repeat(MAX_FILE_BYTES + 1);
    for (text, shown) in
        [("until monday\nmore", "until monday"), (large.as_str(), "(its text cannot be read")]
    {
        let commit = world.commit(None, &[("policies/SUSPENDED", Some(text))]);
        let snapshot = repository().snapshot(&world.objects, &commit).unwrap();
        let stop = snapshot.suspended.as_ref().unwrap();
        assert!(stop.reason.starts_with(shown) && stop.until.is_none(), "{stop}");
    }
}

#[test]
fn a_restart_finds_its_facts_and_forgets_them_on_any_doubt() {
    let world = World::new();
    let names: Vec<String> = (0..2_001).map(|at| format!("apps/{at}.yaml")).collect();
    let texts: Vec<String> = (0..2_001).map(|at| deployment(&format!("app-{at}"), 1)).collect();
    let edits: Vec<(&str, Option<&str>)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), Some(text.as_str()))).collect();
    let commit = world.commit(None, &edits);
    let fresh_after_start = || {
        let mut repository = repository().with_facts(world.facts());
        repository.snapshot(&world.objects, &commit).unwrap();
        repository.facts.unwrap().unsaved()
    };
    assert!(!world.facts().exists());
    assert_eq!(fresh_after_start(), 0, "all were new, and written at once");
    let written = crate::outside::files::read_bounded(&world.facts(), 1 << 24).unwrap();
    assert_eq!(fresh_after_start(), 0);
    for wrong in [&written[..written.len() - 1], b"", b"something else"] {
        crate::outside::files::write_durable(&world.facts(), wrong).unwrap();
        fresh_after_start();
        let again = crate::outside::files::read_bounded(&world.facts(), 1 << 24).unwrap();
        assert!(again == written, "parsed and written again");
    }
}
