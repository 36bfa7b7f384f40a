//! The remote's branches, asked for once and followed through our own pushes. The local copy and who writes come in,
//! names and commits go out. What a branch means is not known here.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use super::error::TurnError;
use crate::outside::git::{Mirror, RefUpdate};
use crate::propose::Writer;

/// Branches by their full names.
pub type Refs = BTreeMap<String, String>;

/// What is known of the remote's branches.
pub struct Branches {
    /// The watched branch, the ledger and every proposal.
    pub refs: Refs,
    /// Steps taken since they were read.
    pub steps: usize,
    /// Those of others, when they were asked for, or why they cannot be read.
    pub others: Option<Result<Refs, String>>,
}

/// Fetches our branches and, with one question to the remote, those of others. When that fails, because some
/// branch holds what git refuses, ours are fetched by themselves.
pub fn read_branches<'a>(
    mirror: &'a Mirror,
    writer: &'a Writer,
    with_others: bool,
) -> BoxFuture<'a, Result<Branches, TurnError>> {
    Box::pin(ask_for_branches(mirror, writer, with_others))
}

async fn ask_for_branches(
    mirror: &Mirror,
    writer: &Writer,
    with_others: bool,
) -> Result<Branches, TurnError> {
    let (main, ledger) = (format!("refs/heads/{}", writer.main), format!("refs/heads/{}", writer.ledger));
    let mut unreadable = None;
    if with_others {
        match mirror.fetch_beside(&["refs/heads/*"]).await {
            Ok(all) => {
                let ours =
                    |name: &String| *name == main || *name == ledger || name.starts_with("refs/heads/tars/");
                let (refs, others) = all.into_iter().partition(|(name, _)| ours(name));
                return Ok(Branches { refs, steps: 0, others: Some(Ok(others)) });
            }
            Err(error) => unreadable = Some(Err(format!("the other branches cannot be read: {error}"))),
        }
    }
    let mut wanted = vec![&main[..], "refs/heads/tars/*"];
    if !ledger.starts_with("refs/heads/tars/") {
        wanted.push(&ledger);
    }
    let refs = mirror.fetch(&wanted).await.map_err(TurnError::Fetch)?;
    Ok(Branches { refs, steps: 0, others: unreadable })
}

/// Every other branch: those that somebody else may be changing the same files on.
pub async fn read_others(mirror: &Mirror, writer: &Writer) -> Option<Result<Refs, String>> {
    match read_branches(mirror, writer, true).await {
        Ok(branches) => branches.others,
        Err(error) => Some(Err(format!("the other branches cannot be read: {error}"))),
    }
}

/// Follows our own push.
pub fn apply(refs: &mut Refs, moved: Vec<RefUpdate>) {
    for update in moved {
        match update.new {
            Some(commit) => refs.insert(update.name, commit),
            None => refs.remove(&update.name),
        };
    }
}
