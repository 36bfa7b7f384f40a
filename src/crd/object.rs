//! `RemediationPolicy` objects of a cluster: read by the code that reads files, and put beside the policies of the
//! repository. Objects come in; the policies in force, and what became of every object, go out. Never asks a server.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::problem::{PolicyProblem, ProblemSeverity};
use crate::model::action::API_VERSION;
use crate::model::ids::{ObjectId, RepoPath, digest_hex};
use crate::model::policy::{CLUSTER_FOLDER, PoliciesFrom, Policy};

/// An object as the server holds it, without what tars does not read.
#[derive(Debug, Deserialize)]
pub struct RawPolicy {
    pub metadata: Meta,
    #[serde(default)]
    pub spec: Json,
    #[serde(default)]
    pub status: Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// Grows with every change of the spec.
    pub generation: i64,
    /// As the server writes times, which sort as texts.
    pub creation_timestamp: String,
}

/// One object, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyObject {
    pub meta: Meta,
    pub status: Json,
    /// What it says, or every problem it has.
    pub policy: Result<Policy, Vec<PolicyProblem>>,
}

impl PolicyObject {
    /// Reads `raw` as if it were a file; `known` is what was read of it before, if its spec did not change since.
    #[must_use]
    pub fn new(raw: RawPolicy, known: Option<&Self>) -> Self {
        let RawPolicy { metadata: meta, spec, status } = raw;
        let is_same = |it: &&Self| it.meta == meta;
        let policy = known.filter(is_same).map_or_else(|| read(&meta, &spec), |it| it.policy.clone());
        Self { meta, status, policy }
    }
}

fn read(meta: &Meta, spec: &Json) -> Result<Policy, Vec<PolicyProblem>> {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": super::KIND,
        "metadata": { "name": meta.name, "namespace": meta.namespace },
        "spec": spec,
    });
    // JSON is YAML.
    let text = object.to_string();
    let place = format!("{CLUSTER_FOLDER}/{}/{}", meta.namespace, meta.name);
    // No server has names for which these fail; without a place there is no problem to show either.
    let path = RepoPath::new(place).map_err(|_| Vec::new())?;
    let digest = digest_hex(&["policy", &text]);
    let read_as = ObjectId::new(&digest[..40]).map_err(|_| Vec::new())?;
    let linted = super::lint(&path, text.as_bytes(), &read_as);
    let is_wrong = linted.problems.iter().any(|it| it.severity == ProblemSeverity::Error);
    match linted.policies.into_iter().next() {
        Some(policy) if !is_wrong => Ok(policy),
        _ => Err(linted.problems),
    }
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is in force.
    Used,
    /// The repository has the same policy, and that one is in force.
    SameInRepository,
    /// The repository has another policy of this name, and that one is in force.
    RepositoryWins,
    /// The settings take policies from the repository only, which has none of this name.
    NotAsked,
    /// It is wrong: the first problem, and how many there are.
    Invalid(String, usize),
    /// The policy of this name in this namespace is older, and in force.
    SecondOfItsName(String),
}

/// The policies in force, and what became of each object.
#[derive(Debug, Default)]
pub struct Together {
    pub policies: Vec<Policy>,
    pub objects: Vec<(Arc<PolicyObject>, Standing)>,
}

/// Puts the objects beside the policies of the repository. A name belongs to the repository first, then to the oldest
/// object: whoever comes later takes no name away.
#[must_use]
pub fn together(from: PoliciesFrom, repository: &[Policy], objects: &[Arc<PolicyObject>]) -> Together {
    let own = if from == PoliciesFrom::Cluster { &[] } else { repository };
    let mut policies = own.to_vec();
    let mut oldest_first: Vec<&Arc<PolicyObject>> = objects.iter().collect();
    let age = |it: &Meta| (it.creation_timestamp.clone(), it.namespace.clone(), it.name.clone());
    oldest_first.sort_by_cached_key(|it| age(&it.meta));
    let mut judged = Vec::new();
    for object in oldest_first {
        let standing = match &object.policy {
            Err(problems) => invalid(problems),
            Ok(policy) => {
                let standing = standing(from, policy, own, &policies);
                if standing == Standing::Used {
                    policies.push(policy.clone());
                }
                standing
            }
        };
        judged.push((Arc::clone(object), standing));
    }
    Together { policies, objects: judged }
}

fn standing(from: PoliciesFrom, policy: &Policy, own: &[Policy], in_force: &[Policy]) -> Standing {
    let is_its = |it: &&Policy| it.name == policy.name;
    if let Some(first) = own.iter().find(is_its) {
        let as_there = Policy { path: first.path.clone(), commit: first.commit.clone(), ..policy.clone() };
        return if as_there == *first { Standing::SameInRepository } else { Standing::RepositoryWins };
    }
    match in_force.iter().find(is_its) {
        _ if from == PoliciesFrom::Repository => Standing::NotAsked,
        Some(first) => Standing::SecondOfItsName(first.namespace.to_string()),
        None => Standing::Used,
    }
}

fn invalid(problems: &[PolicyProblem]) -> Standing {
    let errors = || problems.iter().filter(|it| it.severity == ProblemSeverity::Error);
    let words = |it: &PolicyProblem| format!("{} [{}]: {}", it.message, it.code, it.help);
    let first = errors().next().map_or_else(|| "its name cannot be read".to_owned(), words);
    Standing::Invalid(first, errors().count())
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
