//! `tars policy lint` and `tars policy schema`.

use std::path::{Path, PathBuf};

use super::args::{Plain, PolicyVerb};
use super::failure::{Failure, Kind};
use super::output::{self, Format};
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
pub fn run(verb: &PolicyVerb) -> Result<(), Failure> {
    match verb {
        PolicyVerb::Lint { paths, print } => lint(paths, print),
        PolicyVerb::Schema => output::data(&crd::schema()),
    }
}

fn lint(paths: &[PathBuf], print: &Plain) -> Result<(), Failure> {
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
    match print.output {
        Format::Json | Format::Yaml => {
            let lines: Vec<&PolicyProblem> = problems.iter().map(|(it, _)| it).collect();
            output::list(print.output, &output::Table::default(), &[], &lines, "")?;
        }
        Format::Table | Format::Wide | Format::Name => {
            for (problem, text) in &problems {
                output::data(&format!("{}\n", crd::render_problem(problem, text)))?;
            }
            let warnings = problems.len() - errors;
            output::data(&format!(
                "{} in {}: {}, {}\n",
                output::counted(policies, "policy", "policies"),
                output::counted(files.len(), "file", "files"),
                output::counted(errors, "error", "errors"),
                output::counted(warnings, "warning", "warnings")
            ))?;
        }
    }
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
