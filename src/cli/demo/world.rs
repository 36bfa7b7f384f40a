//! The demo's world: a bare repository made from `gitops-example`, keys, and a cluster that applies what the
//! watched branch says. Real git objects and real signatures; only the cluster and its metrics are simulated.

use std::path::{Path, PathBuf};
use std::time::Duration;

use include_dir::{Dir, DirEntry, include_dir};
use jiff::{SignedDuration, Timestamp};

use super::source::Simulated;
use super::workload::Running;
use crate::cli::failure::{Failure, Kind};
use crate::layout::MAX_FILE_BYTES;
use crate::model::ids::{ObjectId, RepoPath, WorkloadRef};
use crate::observe::repository::Repository;
use crate::outside::clock::{Clock as _, VirtualClock};
use crate::outside::files;
use crate::outside::git::{CommitDraft, Objects};
use crate::outside::sign::SigningKey;

static EXAMPLE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/gitops-example");

/// How long the simulated cluster takes to notice and apply a commit.
const APPLY_DELAY: Duration = Duration::from_secs(45);
/// Image tag of the release that fails in the rollback scenario.
const BAD_TAG_SUFFIX: &str = "-rc1";
/// What that release touches.
const RELEASED_OVERLAY: &str = "apps/backend/overlays/production/kustomization.yaml";
const RELEASED_RESOURCES: &str = "apps/backend/overlays/production/resources.yaml";

/// Where everything of one demo lies.
#[derive(Debug)]
pub struct World {
    pub folder: PathBuf,
    pub repository: PathBuf,
    pub signing_key: PathBuf,
    pub allowed_signers: PathBuf,
    person: SigningKey,
    clock: VirtualClock,
}

fn failed(what: &str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Failure {
    let message = format!("could not prepare the demo: {what}");
    move |source| Failure { source: Some(source), ..Failure::new(Kind::No, message.clone()) }
}

fn example_files(dir: &Dir<'_>, files: &mut Vec<(String, Option<Vec<u8>>)>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => example_files(dir, files),
            DirEntry::File(file) => {
                files.push((file.path().to_string_lossy().into_owned(), Some(file.contents().to_vec())));
            }
        }
    }
}

impl World {
    /// Makes the folder, the keys and the repository with its first commit.
    ///
    /// # Errors
    /// When the folder exists already or cannot be written.
    pub fn create(folder: &Path, clock: &VirtualClock) -> Result<Self, Failure> {
        if folder.exists() {
            return Err(Failure::usage(format!("{} exists already", folder.display()))
                .hint("name a folder that does not exist yet, or remove that one"));
        }
        files::create_private_dir(folder).map_err(|it| failed("the folder")(it.into()))?;
        // Git and the clone's settings need paths that hold from everywhere.
        let folder = &folder.canonicalize().map_err(|it| failed("the folder")(it.into()))?;
        let (person, _) =
            SigningKey::generate(&folder.join("person-key")).map_err(|it| failed("a key")(it.into()))?;
        let world = Self {
            repository: folder.join("repo.git"),
            signing_key: folder.join("signing-key"),
            allowed_signers: folder.join("allowed_signers"),
            folder: folder.to_owned(),
            person,
            clock: clock.clone(),
        };
        let (_, public) =
            SigningKey::generate(&world.signing_key).map_err(|it| failed("a key")(it.into()))?;
        let line = format!("tars@demo.invalid namespaces=\"git\" {public}\n");
        files::write_durable(&world.allowed_signers, line.as_bytes())
            .map_err(|it| failed("the list of allowed keys")(it.into()))?;
        let objects =
            Objects::init_bare(&world.repository).map_err(|it| failed("the repository")(it.into()))?;
        objects
            .set_config("gpg.ssh.allowedSignersFile", &world.allowed_signers.to_string_lossy())
            .map_err(|it| failed("the repository")(it.into()))?;
        let mut example = Vec::new();
        example_files(&EXAMPLE, &mut example);
        // The demo has its own settings; everything else is the example as it is.
        example.retain(|(path, _)| path != "tars.yaml");
        world.commit(&objects, None, example, "Import the platform repository")?;
        Ok(world)
    }

    fn commit(
        &self,
        objects: &Objects,
        parent: Option<&ObjectId>,
        edits: Vec<(String, Option<Vec<u8>>)>,
        message: &str,
    ) -> Result<ObjectId, Failure> {
        let draft = CommitDraft {
            base_tree: parent.map(ToString::to_string),
            edits,
            parents: parent.iter().map(ToString::to_string).collect(),
            message: format!("{message}\n"),
            author: ("Platform team (demo)".to_owned(), "platform@demo.invalid".to_owned()),
            time_s: self.clock.now().as_second(),
        };
        let written =
            objects.write_commit(&draft, &self.person).map_err(|it| failed("a commit")(it.into()))?;
        objects
            .set_local_ref("refs/heads/main", &written.commit, parent.map(ObjectId::as_str))
            .map_err(|it| failed("the branch")(it.into()))?;
        ObjectId::new(written.commit).map_err(|it| failed("a commit")(it.into()))
    }

    /// Head of the watched branch.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub fn main(&self) -> Result<ObjectId, Failure> {
        let objects = self.objects()?;
        let head = objects.resolve("refs/heads/main").map_err(|it| failed("the branch")(it.into()))?;
        ObjectId::new(head.unwrap_or_default()).map_err(|it| failed("the branch")(it.into()))
    }

    /// # Errors
    /// When the repository cannot be opened.
    pub fn objects(&self) -> Result<Objects, Failure> {
        Objects::open(&self.repository).map_err(|it| failed("the repository")(it.into()))
    }

    /// The platform team releases a version that fails: the image tag and, in the same commit, more memory.
    /// A rollback must take back only the first.
    ///
    /// # Errors
    /// When a file does not look as expected or cannot be written.
    pub fn release_bad_version(&self) -> Result<ObjectId, Failure> {
        let objects = self.objects()?;
        let main = self.main()?;
        let overlay = self.text(&objects, &main, RELEASED_OVERLAY)?;
        let Some(line) = overlay.lines().find(|line| line.trim_start().starts_with("newTag:")) else {
            return Err(Failure::new(Kind::No, format!("{RELEASED_OVERLAY} has no newTag to release")));
        };
        let tag = line.split_once(':').map_or("", |(_, rest)| rest).split('#').next().unwrap_or_default();
        let tag = tag.trim().trim_matches('"');
        let released = overlay.replacen(line, &line.replacen(tag, &format!("{tag}{BAD_TAG_SUFFIX}"), 1), 1);
        let memory = self.text(&objects, &main, RELEASED_RESOURCES)?.replacen("768Mi", "1Gi", 1);
        let edits = vec![
            (RELEASED_OVERLAY.to_owned(), Some(released.into_bytes())),
            (RELEASED_RESOURCES.to_owned(), Some(memory.into_bytes())),
        ];
        self.commit(&objects, Some(&main), edits, "Release the backend with more memory")
    }

    fn text(&self, objects: &Objects, commit: &ObjectId, path: &str) -> Result<String, Failure> {
        let tree = Repository::new(policies_path()?)
            .tree(objects, commit)
            .map_err(|it| failed("the release")(it.into()))?;
        let bytes = RepoPath::new(path).ok().and_then(|path| tree.bytes(&path, MAX_FILE_BYTES).ok());
        String::from_utf8(bytes.map(|it| it.to_vec()).unwrap_or_default())
            .map_err(|it| failed("the release")(it.into()))
    }

    /// A person merges a proposal with plain git: the branch becomes the head of main.
    ///
    /// # Errors
    /// When main is not an ancestor of the branch any more.
    pub fn approve(&self, head: &ObjectId) -> Result<(), Failure> {
        let objects = self.objects()?;
        let main = self.main()?;
        objects
            .set_local_ref("refs/heads/main", head.as_str(), Some(main.as_str()))
            .map_err(|it| failed("the merge")(it.into()))
    }
}

/// # Errors
/// Never for this constant; kept as a result because nothing here may panic.
pub fn policies_path() -> Result<RepoPath, Failure> {
    RepoPath::new("policies").map_err(|it| failed("the policies")(it.into()))
}

/// The simulated cluster: looks at main and applies it a little later.
#[derive(Debug)]
pub struct Cluster {
    target: WorkloadRef,
    seen: Option<(ObjectId, Timestamp)>,
    applied: Option<ObjectId>,
    repository: Repository,
}

impl Cluster {
    /// # Errors
    /// Never for the constants of the example.
    pub fn new(target: WorkloadRef) -> Result<Self, Failure> {
        Ok(Self { target, seen: None, applied: None, repository: Repository::new(policies_path()?) })
    }

    /// Looks at main; what was seen at least [`APPLY_DELAY`] ago is applied. `at_once`: the first commit is
    /// what runs already.
    ///
    /// # Errors
    /// When the repository cannot be read or no longer declares the workload.
    pub fn sync(&mut self, world: &World, source: &Simulated, at_once: bool) -> Result<(), Failure> {
        let now = world.clock.now();
        let main = world.main()?;
        if self.seen.as_ref().is_none_or(|(commit, _)| *commit != main) {
            self.seen = Some((main.clone(), now));
        }
        let Some((commit, since)) = &self.seen else { return Ok(()) };
        let delay = SignedDuration::try_from(APPLY_DELAY).unwrap_or(SignedDuration::ZERO);
        let due = at_once || now.duration_since(*since) >= delay;
        if !due || self.applied.as_ref() == Some(commit) {
            return Ok(());
        }
        let objects = world.objects()?;
        let snapshot = self
            .repository
            .snapshot(&objects, commit)
            .map_err(|it| failed("the simulated cluster")(it.into()))?;
        let workload = snapshot.index.workload(&self.target).map_err(|reason| {
            Failure::new(Kind::No, format!("the simulated cluster lost its workload: {reason}"))
        })?;
        let bad_release = workload.containers.iter().any(|it| it.image.ends_with(BAD_TAG_SUFFIX));
        let from = if at_once { Timestamp::MIN } else { now };
        let replicas = workload.replicas.unwrap_or(1);
        source.with(|model| model.running.push(Running { from, replicas, bad_release }));
        source.apply(commit.to_string());
        self.applied = Some(commit.clone());
        Ok(())
    }
}
