//! Wire form of the custom resources and their checked conversion into the model.
//! YAML text comes in, policies or problems with file, line and fix go out. It never talks to a cluster.
//!
//! The Rust types in `wire` are the only description of a policy: their JSON schema is what
//! `tars policy schema` prints *and* what a document is checked against, so the two cannot disagree. What a
//! schema cannot say (one field against another) is in `check`.

pub mod action;
mod check;
mod condition;
mod definition;
pub mod event;
pub mod object;
pub mod policy_status;
mod problem;
mod quantity;
mod rules;
mod shape;
mod structural;
mod tree;
mod wire;

#[cfg(test)]
mod fields_tests;
#[cfg(test)]
pub mod tests;

use crate::model::ids::{ObjectId, RepoPath};
use crate::model::policy::Policy;

pub use definition::definitions;
pub use problem::{
    CODES, PolicyProblem, ProblemSeverity, duplicate_policy, linked_policy, render_problem, unread_policy,
};

/// Largest policy file that is read, bytes; etcd would refuse an object of this size six times over.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// Most problems that are reported for one file: a broken file must not fill a terminal.
const MAX_PROBLEMS: usize = 50;

const KIND: &str = "RemediationPolicy";

/// What a file holds: its usable policies and everything that is worth saying about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Linted {
    /// Policies of the documents that have no error.
    pub policies: Vec<Policy>,
    /// Errors and warnings, in the order of the file.
    pub problems: Vec<PolicyProblem>,
}

/// Reads the policies of one file as it was at `commit`, with errors and warnings.
#[must_use]
pub fn lint(path: &RepoPath, bytes: &[u8], commit: &ObjectId) -> Linted {
    let mut linted = Linted { policies: Vec::new(), problems: Vec::new() };
    let report = problem::Report::new(path);
    let text = match text_of(bytes) {
        Ok(text) => text,
        Err((message, help)) => {
            linted.problems.push(report.error("TARS-P002", tree::Place::START, message, help));
            return linted;
        }
    };
    match tree::documents(text) {
        Ok(documents) => {
            for document in &documents {
                read_document(document, &report, commit, &mut linted);
            }
        }
        Err(fault) => {
            let help = "the file must be YAML as Kubernetes reads it";
            linted.problems.push(report.error("TARS-P001", fault.place, fault.message, help));
        }
    }
    // Warnings are dropped first: an error that nobody sees would make the file look usable.
    linted.problems.sort_by_key(|it| (it.severity, it.line, it.column));
    linted.problems.truncate(MAX_PROBLEMS);
    linted.problems.sort_by_key(|it| (it.line, it.column));
    linted
}

/// The policies of one file below the policy folder. Documents of other kinds are ignored.
///
/// # Errors
/// Every problem of the file, warnings included, when at least one of them is an error: a file that is wrong
/// in one place is not trusted in the others.
pub fn policies(path: &RepoPath, bytes: &[u8], commit: &ObjectId) -> Result<Vec<Policy>, Vec<PolicyProblem>> {
    let linted = lint(path, bytes, commit);
    if linted.problems.iter().any(|it| it.severity == ProblemSeverity::Error) {
        return Err(linted.problems);
    }
    Ok(linted.policies)
}

/// JSON schema (2020-12) of a `RemediationPolicy`, for editors and for `tars policy schema`.
#[must_use]
pub fn schema() -> String {
    format!("{:#}", wire::schema())
}

fn text_of(bytes: &[u8]) -> Result<&str, (String, String)> {
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes, more than {MAX_FILE_BYTES}", bytes.len());
        return Err((message, "one file per policy keeps changes readable".into()));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the file is not UTF-8 (byte {})", error.valid_up_to());
        (message, "save it as UTF-8".into())
    })
}

fn read_document(root: &tree::Node, report: &problem::Report<'_>, commit: &ObjectId, linted: &mut Linted) {
    if matches!(root.value, tree::Value::Null) {
        return;
    }
    match addressed_to_us(root, report) {
        Err(problem) => linted.problems.push(problem),
        Ok(()) => {
            let mut problems = shape::check(root, &wire::schema(), report);
            if problems.is_empty() {
                let (policy, found) = check::policy(root, report, commit);
                problems = found;
                if let Some(policy) = policy {
                    if linted
                        .policies
                        .iter()
                        .any(|it| (&it.namespace, &it.name) == (&policy.namespace, &policy.name))
                    {
                        let message =
                            format!("a second policy `{}` in namespace `{}`", policy.name, policy.namespace);
                        problems.push(report.error(
                            "TARS-P017",
                            root.at("metadata.name"),
                            message,
                            "rename one of them",
                        ));
                    } else {
                        linted.policies.push(policy);
                    }
                }
            }
            linted.problems.append(&mut problems);
        }
    }
}

/// Is this document a policy of the version we read? If not: an error when it was probably meant to be one,
/// else a warning that it is ignored.
fn addressed_to_us(root: &tree::Node, report: &problem::Report<'_>) -> Result<(), PolicyProblem> {
    let version = root.text("apiVersion").unwrap_or_default();
    let kind = root.text("kind").unwrap_or_default();
    let ours = crate::model::action::API_VERSION;
    let group_is_ours = version == "aiops.tars" || version.starts_with("aiops.tars/");
    if kind == KIND {
        if version == ours {
            return Ok(());
        }
        let message = format!("`{KIND}` has apiVersion `{}`", problem::quoted(version));
        return Err(report.error(
            "TARS-P010",
            root.at("apiVersion"),
            message,
            format!("write `apiVersion: {ours}`"),
        ));
    }
    if strsim::damerau_levenshtein(kind, KIND) <= 3 || (group_is_ours && kind != "RemediationAction") {
        let message = format!("unknown kind `{}`", problem::quoted(kind));
        return Err(report.error("TARS-P010", root.at("kind"), message, format!("did you mean `{KIND}`?")));
    }
    let message = match kind {
        "" => "a document without `kind` is ignored".to_owned(),
        kind => format!("a document of kind `{}` is ignored", problem::quoted(kind)),
    };
    Err(report.warning("TARS-P040", root.at("kind"), message, "keep only policies in this folder"))
}
