//! The README's commands work: those of its `console` blocks are run in order, in one temporary folder that
//! holds a copy of `gitops-example/`, with the built `tars` first in `PATH`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support;

/// What a stranger types on a fresh machine, and what a developer types.
const TWO_COMMANDS: [&str; 2] =
    ["cargo run --locked -- demo", "tests/install-parts && cargo test --locked --features cluster-tests"];

/// Lines of the fenced blocks of one language.
fn fenced<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut inside = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(fence), None) => inside = Some(fence.trim() == language),
            (Some(_), Some(_)) => inside = None,
            (None, Some(true)) => found.push(line),
            (None, _) => {}
        }
    }
    found
}

/// Commands of the fenced blocks of one language, without prompts and comments.
fn commands(text: &str, language: &str) -> Vec<String> {
    fenced(text, language).into_iter().filter_map(|line| typed(line, language)).collect()
}

/// In a `console` block only lines with a prompt are typed; the rest is what the program answers.
fn typed(line: &str, language: &str) -> Option<String> {
    let line = if language == "console" { line.strip_prefix("$ ")? } else { line };
    let line = line.split(" #").next().unwrap_or("").trim();
    (!line.is_empty() && !line.starts_with('#')).then(|| line.to_owned())
}

#[test]
fn the_readme_leads_with_the_two_commands() {
    let readme = support::text("README.md").expect("README.md");
    let shell = commands(&readme, "sh");
    assert_eq!(shell.get(..2), Some(TWO_COMMANDS.map(str::to_owned).as_slice()), "of {shell:?}");
}

#[test]
fn the_policy_in_the_readme_has_ten_lines_and_is_accepted() {
    let readme = support::text("README.md").expect("README.md");
    let policy = fenced(&readme, "yaml");
    assert_eq!(policy.len(), 10, "{policy:#?}");
    if crate::architecture::program_verbs().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), policy.join("\n") + "\n").unwrap();
    run("tars policy lint policy.yaml", folder.path());
}

#[test]
fn every_console_command_of_the_readme_succeeds() {
    let readme = support::text("README.md").expect("README.md");
    let console = commands(&readme, "console");
    assert!(!console.is_empty(), "the README shows how to read a result back");
    if crate::architecture::program_verbs().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let example = support::root().join("gitops-example");
    let copied = Command::new("cp").arg("-R").arg(example).arg(folder.path()).status().unwrap();
    assert!(copied.success(), "gitops-example/ could not be copied");
    for command in console {
        run(&command, folder.path());
    }
}

/// Runs a command line with the built `tars` first in `PATH`, in `folder`, which is also its home.
fn run(command: &str, folder: &Path) {
    let program = support::tars();
    let first = program.parent().expect("a program lies in a folder").to_path_buf();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([first].into_iter().chain(std::env::split_paths(&inherited))).unwrap();
    let out = Command::new("timeout")
        .args(["60", "sh", "-ec", command])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "README.md says `{command}`; it ended with {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn prompts_comments_and_answers_are_told_apart() {
    let text =
        "```sh\n# why\na b   # note\n\nc\n```\ntext\n```console\n$ d e\nanswer\n```\n```yaml\nf: g\n```\n";
    assert_eq!(commands(text, "sh"), ["a b", "c"]);
    assert_eq!(commands(text, "console"), ["d e"]);
}
