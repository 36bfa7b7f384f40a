//! A commit that a person gives from the command line, as themselves: made on what the remote has this moment, and
//! pushed only if it still has it. What to change is asked again after every lost race. Never through the
//! reconciler's keys, and never by force over what somebody else pushed.

use std::time::Duration;

use super::failure::{Failure, Kind, denied};
use crate::model::ids::{BranchName, ObjectId};
use crate::outside::clock;
use crate::outside::git::{Edit, GitError, Made, Objects, Person, PushOutcome, RefUpdate};
use crate::outside::random;

/// Races that may be lost before somebody has to look.
const RACES_MAX: u32 = 30;
/// Mean wait after one.
const RACE_WAIT: Duration = Duration::from_millis(100);

/// What a commit is to hold.
#[derive(Debug, Clone)]
pub struct Change {
    pub edits: Vec<Edit>,
    pub message: String,
}

/// The person's clone, and what of its remote is meant.
#[derive(Debug)]
pub struct Own {
    pub person: Person,
    pub remote: String,
    pub main: BranchName,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The watched branch says so already.
    Already,
    /// It is on `branch` of the remote.
    Landed { made: Made, branch: BranchName },
    /// The branch holds the same change already.
    Waits { commit: ObjectId, branch: BranchName },
    /// The remote does not let this person push there; nothing had moved. Its words, for people only.
    NotAllowed(String),
}

/// How one attempt ended.
enum Attempt {
    Landed,
    Lost,
    NotAllowed(String),
}

fn git(error: GitError) -> Failure {
    let kind = match &error {
        GitError::Remote { .. } if denied(&error) => Kind::Denied,
        GitError::Remote { .. } => Kind::Unreachable,
        GitError::Person { .. } => Kind::Usage,
        _ => Kind::No,
    };
    let hint = match &error {
        GitError::Remote { .. } => {
            "name the remote with --remote; nothing is asked here, so keys belong in an agent"
        }
        GitError::Person { .. } => {
            "git config user.name and user.email say who you are, commit.gpgSign and user.signingKey how you sign"
        }
        _ => "name your clone of the GitOps repository with -C DIR",
    };
    Failure::new(kind, "git did not do it").because(error).hint(hint)
}

impl Own {
    /// The head of the watched branch on the remote.
    ///
    /// # Errors
    /// When the remote cannot be read or has no such branch.
    pub async fn head(&self) -> Result<ObjectId, Failure> {
        self.head_of(&self.main).await?.ok_or_else(|| {
            Failure::usage(format!("{} has no branch {}", self.remote, self.main))
                .hint("name the watched branch with --branch")
        })
    }

    /// The head of a branch on the remote.
    ///
    /// # Errors
    /// When the remote cannot be read.
    pub async fn head_of(&self, branch: &BranchName) -> Result<Option<ObjectId>, Failure> {
        let head = self.person.head_of(&self.remote, &format!("refs/heads/{branch}")).await.map_err(git)?;
        let id = |head| ObjectId::new(head).map_err(|error| Failure::new(Kind::No, "bad id").because(error));
        head.map(id).transpose()
    }

    /// Commits what `make` says to the watched branch.
    ///
    /// # Errors
    /// Exit code 6 when others were faster again and again; those of `make` and of git.
    pub async fn to_watched(
        &self,
        mut make: impl FnMut(&Objects, &ObjectId) -> Result<Option<Change>, Failure>,
    ) -> Result<Outcome, Failure> {
        for _ in 0..RACES_MAX {
            let head = self.head().await?;
            let Some(change) = make(self.person.objects(), &head)? else { return Ok(Outcome::Already) };
            let made = self.commit(&change, &head).await?;
            match self.push(&made, &self.main, Some(&head)).await? {
                Attempt::Landed => return Ok(Outcome::Landed { made, branch: self.main.clone() }),
                Attempt::NotAllowed(said) => return Ok(Outcome::NotAllowed(said)),
                Attempt::Lost => clock::wait(random::jitter(RACE_WAIT, 1.0)).await,
            }
        }
        Err(busy())
    }

    /// Commits what `make` says to `branch`, on today's watched branch. The same branch is used every time: one
    /// commit of ours is replaced, anything else on it is left alone.
    ///
    /// # Errors
    /// As [`Own::to_watched`]; exit code 6 also when the branch holds somebody else's work.
    pub async fn to_branch(
        &self,
        branch: &BranchName,
        mut make: impl FnMut(&Objects, &ObjectId) -> Result<Option<Change>, Failure>,
    ) -> Result<Outcome, Failure> {
        for _ in 0..RACES_MAX {
            let head = self.head().await?;
            let Some(change) = make(self.person.objects(), &head)? else { return Ok(Outcome::Already) };
            let there = self.head_of(branch).await?;
            if let Some(there) = &there
                && self.is_same(there, &change, &head)?
            {
                return Ok(Outcome::Waits { commit: there.clone(), branch: branch.clone() });
            }
            let made = self.commit(&change, &head).await?;
            match self.push(&made, branch, there.as_ref()).await? {
                Attempt::Landed => return Ok(Outcome::Landed { made, branch: branch.clone() }),
                Attempt::NotAllowed(said) => return Ok(Outcome::NotAllowed(said)),
                Attempt::Lost => clock::wait(random::jitter(RACE_WAIT, 1.0)).await,
            }
        }
        Err(busy())
    }

    /// Does the commit `there` bring the same change? It must be one commit with our message above the watched
    /// branch to be replaced by another.
    fn is_same(&self, there: &ObjectId, change: &Change, head: &ObjectId) -> Result<bool, Failure> {
        let objects = self.person.objects();
        let commit = objects.commit(there.as_str()).map_err(git)?;
        let [parent] = &commit.parents[..] else { return Err(somebody_elses(there)) };
        let subject = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let on_main = objects.is_ancestor(parent, head.as_str()).map_err(git)?;
        if !on_main || subject(&commit.message) != subject(&change.message) {
            return Err(somebody_elses(there));
        }
        Ok(parent == head.as_str() && objects.write_tree(parent, &change.edits).map_err(git)? == commit.tree)
    }

    async fn commit(&self, change: &Change, on: &ObjectId) -> Result<Made, Failure> {
        let tree = self.person.objects().write_tree(on.as_str(), &change.edits).map_err(git)?;
        self.person.commit(&tree, on.as_str(), &change.message).await.map_err(git)
    }

    /// What counts is what the branch holds afterwards, whatever the push said.
    async fn push(
        &self,
        made: &Made,
        branch: &BranchName,
        expect: Option<&ObjectId>,
    ) -> Result<Attempt, Failure> {
        let update = RefUpdate {
            name: format!("refs/heads/{branch}"),
            new: Some(made.commit.clone()),
            expect: expect.map(ToString::to_string),
        };
        let said = match self.person.push(&self.remote, &update).await.map_err(git)? {
            PushOutcome::Landed => return Ok(Attempt::Landed),
            PushOutcome::Rejected(said) | PushOutcome::Unknown(said) => said,
        };
        let now = self.head_of(branch).await?;
        let objects = self.person.objects();
        let holds = now.as_ref().map(|now| objects.is_ancestor(&made.commit, now.as_str()));
        Ok(match holds.transpose().map_err(git)? {
            Some(true) => Attempt::Landed,
            _ if now.as_ref() != expect => Attempt::Lost,
            _ => Attempt::NotAllowed(said),
        })
    }
}

fn busy() -> Failure {
    Failure::new(Kind::Conflict, format!("others pushed first {RACES_MAX} times in a row"))
        .hint("nothing was changed; try again")
}

fn somebody_elses(there: &ObjectId) -> Failure {
    Failure::new(Kind::Conflict, format!("{} on that branch is not from this command", there.short()))
        .hint("it is left alone; merge or delete the branch, then try again")
}
