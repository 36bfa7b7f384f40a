//! `tars policy lint` and `tars policy schema`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::PolicyVerb;
use super::config;
use super::failure::{Failure, Kind};
use super::output::{Console, Page, counted};
use crate::crd::{self, PolicyProblem, ProblemSeverity};
use crate::model::ids::{ObjectId, RepoPath};
use crate::outside::files;

/// Largest policy file.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most files below one folder.
const FILES_MAX: usize = 10_000;

/// Runs the verb.
///
/// # Errors
/// Exit code 1 when a policy has an error, 2 when a file cannot be read.
pub fn run(verb: &PolicyVerb, console: &Console) -> Result<(), Failure> {
    match verb {
        PolicyVerb::Lint { paths } => lint(paths, console),
        PolicyVerb::Schema { crd: false } => config::schema(&crd::schema(), console),
        PolicyVerb::Schema { crd: true } => definitions(console),
    }
}

/// Both custom resource definitions, as one stream.
fn definitions(console: &Console) -> Result<(), Failure> {
    let wrong = |error| Failure::new(Kind::No, "could not write the definitions").because(error);
    let text = crd::definitions().map_err(wrong)?;
    console.answer(&["crds".to_owned()], &json!({ "yaml": text }), || {
        let mut page = Page::new();
        page.block(text.clone());
        page
    })
}

fn lint(paths: &[PathBuf], console: &Console) -> Result<(), Failure> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    files.sort();
    let mut problems: Vec<(PolicyProblem, String)> = Vec::new();
    let mut policies = 0;
    for file in &files {
        let bytes = files::read_bounded(file, FILE_BYTES_MAX)
            .map_err(|error| Failure::usage(format!("could not read {}", file.display())).because(error))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let linted = crd::lint(&shown_path(file)?, &bytes, &unborn()?);
        policies += linted.policies.len();
        problems.extend(linted.problems.into_iter().map(|problem| (problem, text.clone())));
    }
    let errors = problems.iter().filter(|(it, _)| it.severity == ProblemSeverity::Error).count();
    let items: Vec<&PolicyProblem> = problems.iter().map(|(it, _)| it).collect();
    let list = json!({ "apiVersion": "cli.tars/v1", "kind": "List", "items": items });
    let places: Vec<String> =
        items.iter().map(|it| format!("{}:{}:{}", it.path, it.line, it.column)).collect();
    console.answer(&places, &list, || {
        let mut page = Page::new();
        for (problem, text) in &problems {
            page.block(format!("{}\n", crd::render_problem(problem, text)));
        }
        page.put(format!(
            "{} in {}: {}, {}",
            counted(policies, "policy", "policies"),
            counted(files.len(), "file", "files"),
            counted(errors, "error", "errors"),
            counted(problems.len() - errors, "warning", "warnings")
        ));
        page.line();
        page
    })?;
    if errors == 0 { Ok(()) } else { Err(Failure::answered_no()) }
}

/// The name shown in messages: the path as given where that is a path a repository can hold, otherwise the
/// file's name.
fn shown_path(file: &Path) -> Result<RepoPath, Failure> {
    let whole = file.to_string_lossy();
    let name = file.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    RepoPath::new(whole.trim_start_matches("./"))
        .or_else(|_| RepoPath::new(name))
        .map_err(|error| Failure::usage(format!("cannot lint {}", file.display())).because(error))
}

/// Policies read from files belong to no commit.
fn unborn() -> Result<ObjectId, Failure> {
    ObjectId::new("0".repeat(40)).map_err(|error| Failure::new(Kind::No, "bad id").because(error))
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !path.exists() {
        return Err(Failure::usage(format!("{} does not exist", path.display())));
    }
    if !path.is_dir() {
        into.push(path.to_owned());
        return Ok(());
    }
    let names = files::names_in(path, FILES_MAX)
        .map_err(|error| Failure::usage(format!("could not list {}", path.display())).because(error))?;
    for name in names {
        let child = path.join(&name);
        if child.is_dir() {
            collect(&child, into)?;
        } else if name.ends_with(".yaml") || name.ends_with(".yml") {
            into.push(child);
        }
    }
    Ok(())
}
