//! What an edit would change besides its target: the candidates of a refusal, each with the objects of other
//! environments that would follow it. Objects of an index come in, plain values for people and programs go out.

use super::objects::{FieldPath, written};
use super::place::Place;
use super::{Found, Index, reference_of};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::reason::Reason;

/// Most changes elsewhere that one sentence lists.
const MAX_LISTED: usize = 5;

/// A place that could be written if its other effects were wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub place: Place,
    /// What else would change.
    pub elsewhere: Vec<Elsewhere>,
}

/// One field of another object that an edit would change too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    pub object: WorkloadRef,
    /// Where the object comes from: the outermost kustomization, or the manifest itself.
    pub entry: RepoPath,
    pub field: FieldPath,
    pub from: Option<String>,
    /// `None` as long as the new value is not known.
    pub to: Option<String>,
}

impl std::fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or = |value: &Option<String>, none: &str| value.clone().unwrap_or_else(|| none.to_owned());
        let (from, to) = (or(&self.from, "absent"), or(&self.to, "the new value"));
        write!(f, "{} through {}: {} {from} -> {to}", self.object, self.entry, self.field)
    }
}

/// Why there is no place, and which there would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPlace {
    pub reason: Reason,
    /// Empty when the field cannot be written anywhere.
    pub candidates: Vec<Candidate>,
}

impl From<Reason> for NoPlace {
    fn from(reason: Reason) -> Self {
        Self { reason, candidates: Vec::new() }
    }
}

impl From<NoPlace> for Reason {
    fn from(refused: NoPlace) -> Self {
        let list = refused.candidates.iter().map(|candidate| {
            let place = format!("{} {}", candidate.place.file, candidate.place.field());
            let changes: Vec<String> =
                candidate.elsewhere.iter().take(MAX_LISTED).map(ToString::to_string).collect();
            let more = candidate.elsewhere.len().saturating_sub(MAX_LISTED);
            match (changes.is_empty(), more) {
                (true, _) => place,
                (false, 0) => format!("{place} (also changes {})", changes.join(", ")),
                (false, more) => format!("{place} (also changes {} and {more} more)", changes.join(", ")),
            }
        });
        let list: Vec<String> = list.collect();
        let mut reason = refused.reason;
        if !list.is_empty() {
            reason.text = format!("{}; candidates: {}", reason.text, list.join("; "));
        }
        reason
    }
}

impl NoPlace {
    /// The same refusal, now that the value to write is known.
    #[must_use]
    pub fn with_value(mut self, to: &str) -> Self {
        for change in self.candidates.iter_mut().flat_map(|c| &mut c.elsewhere) {
            change.to = Some(to.to_owned());
        }
        self
    }
}

impl Index {
    /// A candidate with the objects whose field `path` is decided at `place` as well.
    pub(super) fn candidate(&self, live: &Found, place: Place, path: &FieldPath) -> Candidate {
        let decided_here = |other: &Found| {
            let at = self.decided_at(other, path);
            at.is_some_and(|at| {
                at.file == place.file && at.document == place.document && at.form == place.form
            })
        };
        let others = self.others(live, &place.file);
        let elsewhere = others.filter(decided_here).filter_map(|other| {
            Some(Elsewhere {
                object: reference_of(&other)?,
                entry: other.layers.last().map_or(&other.declared.file, |layer| &layer.file).clone(),
                field: path.clone(),
                from: path.find(&other.value).and_then(written),
                to: None,
            })
        });
        let elsewhere = elsewhere.collect();
        Candidate { place, elsewhere }
    }
}
