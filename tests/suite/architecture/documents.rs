//! Documents name only what exists: paths and symbols in backticks, link targets, `tars` commands.
//!
//! A span is taken for a path when it has no spaces and either holds a `/` and looks like a file, ends with
//! `/`, or starts with a folder of the tree; or when it is a bare file name. Placeholders (`<...>`, `*`, `{`)
//! and what lies in ignored folders are not checked. Blind spots: flags, and words in running text.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use regex::Regex;

use super::{Finding, imports};
use crate::support;

pub(crate) const RULE: &str = "Every path, symbol and command that a document names exists.\n\
    Why: documents rot silently; the reader who trusts them loses an hour.\n\
    Instead: correct the name, or write a placeholder (`<file>`) where the reader brings the file.";

/// Files that a person adds to the watched repository; they are not in this one.
const READERS_FILES: &[&str] = &["policies/SUSPENDED", ".tars/templates/pull-request.hbs", ".tars/"];
/// Folders that git ignores.
const IGNORED: &[&str] = &[".cache", "target"];

/// What a document may name.
pub(crate) struct Tree {
    pub files: Vec<String>,
    /// Verb to its sub-verbs; `None` as long as the program has no verb at all.
    pub verbs: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Room to the text of its files.
    pub rooms: BTreeMap<String, String>,
}

impl Tree {
    pub(crate) fn of_this_checkout() -> Self {
        let files = support::files();
        let mut rooms: BTreeMap<String, String> = BTreeMap::new();
        for path in files.iter().filter(|it| it.ends_with(".rs")) {
            let Some((room, _)) = path.strip_prefix("src/").and_then(|it| it.split_once('/')) else {
                continue;
            };
            *rooms.entry(room.to_owned()).or_default() += &support::text(path).unwrap_or_default();
        }
        Self { files, verbs: verbs(), rooms }
    }

    fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files.iter().any(|it| it == path || it.starts_with(&folder))
    }

    /// Does `path` exist seen from `document`, from one of the folders above it, or from the root?
    fn reaches(&self, document: &str, path: &str) -> bool {
        let mut folder = document;
        while let Some((parent, _)) = folder.rsplit_once('/') {
            if self.exists(&normal(&format!("{parent}/{path}"))) {
                return true;
            }
            folder = parent;
        }
        self.exists(&normal(path))
    }
}

/// The program's verbs, from its help text.
pub(crate) fn verbs() -> Option<BTreeMap<String, BTreeSet<String>>> {
    let help = |args: &[&str]| {
        let out = Command::new(support::tars()).args(args).output().expect("the built tars runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let text = help(&["--help"]);
    if text.is_empty() {
        return None;
    }
    let verbs = listed(&text);
    assert!(!verbs.is_empty(), "`tars --help` has no list below a line that ends with `ommands:`:\n{text}");
    Some(verbs.into_iter().map(|verb| (verb.clone(), listed(&help(&[verb.as_str(), "--help"])))).collect())
}

/// The names below every heading such as "Commands:" in a help text.
fn listed(help: &str) -> BTreeSet<String> {
    let entry = Regex::new(r"^ {2}([a-z][a-z-]*)(?: {2,}.*)?$").unwrap();
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in help.lines() {
        match line.strip_suffix(':') {
            Some(heading) if !line.starts_with(' ') => inside = heading.ends_with("ommands"),
            _ => names.extend(entry.captures(line).filter(|_| inside).map(|found| found[1].to_owned())),
        }
    }
    names
}

/// The documents that are checked: those at the top and every README outside the fixtures.
pub(crate) fn checked(files: &[String]) -> Vec<String> {
    let top = ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
    let readme = |it: &str| it.ends_with("README.md") && !it.starts_with("tests/fixtures/");
    files.iter().filter(|it| top.contains(&it.as_str()) || readme(it)).cloned().collect()
}

pub(crate) fn check(document: &str, text: &str, tree: &Tree) -> Vec<Finding> {
    let span = Regex::new(r"`([^`]+)`").unwrap();
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut findings = Vec::new();
    let mut fence = None;
    for (number, line) in text.lines().enumerate() {
        let mut wrong = Vec::new();
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language.trim().to_owned()) };
        } else if let Some(language) = &fence {
            if matches!(language.as_str(), "sh" | "bash" | "console") {
                wrong.extend(command(line, tree));
                wrong.extend(line.split_whitespace().filter_map(|it| script(it, document, tree)));
            }
        } else {
            for it in span.captures_iter(line) {
                wrong.extend(command(&it[1], tree));
                wrong.extend(path(&it[1], document, tree));
                wrong.extend(symbol(&it[1], tree));
            }
            wrong.extend(link.captures_iter(line).filter_map(|it| target(&it[1], document, tree)));
        }
        findings.extend(wrong.into_iter().map(|it| Finding::new(format!("{document}:{}", number + 1), it)));
    }
    findings
}

fn path(span: &str, document: &str, tree: &Tree) -> Option<String> {
    let odd = |c: char| c.is_whitespace() || "<>*{}$\"'()[]=,;|:@%!?&…\\".contains(c);
    if span.contains(odd) || span.starts_with(['/', '~', '-']) || READERS_FILES.contains(&span) {
        return None;
    }
    let first = span.split('/').next().unwrap_or("");
    if IGNORED.contains(&first) || (first.contains('.') && span.contains('/') && !first.starts_with('.')) {
        return None;
    }
    let last = span.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    let known = ["rs", "md", "toml", "yaml", "yml", "json", "sh", "txt", "lock", "hbs"];
    let extension = last.rsplit_once('.').map_or("", |(_, it)| it);
    // An API group, not a script.
    let is_file = known.contains(&extension) && !last.ends_with(".keda.sh");
    if !span.contains('/') {
        let named = |it: &String| it.rsplit('/').next() == Some(span);
        return (is_file && !tree.files.iter().any(named)).then(|| format!("no file is called `{span}`"));
    }
    let looks_like_a_path = is_file || span.ends_with('/') || first.starts_with('.') || tree.exists(first);
    (looks_like_a_path && !tree.reaches(document, span)).then(|| format!("`{span}` does not exist"))
}

/// A word of a shell line: only what starts with a folder of the tree is ours.
fn script(word: &str, document: &str, tree: &Tree) -> Option<String> {
    let (first, _) = word.split_once('/')?;
    let ours = first.starts_with('.') && first.len() > 2 || tree.exists(first);
    if ours { path(word, document, tree) } else { None }
}

fn target(link: &str, document: &str, tree: &Tree) -> Option<String> {
    let path = link.split('#').next().unwrap_or("");
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let full = normal(&format!("{folder}/{path}"));
    (!tree.exists(&full)).then(|| format!("the link to `{path}` leads nowhere"))
}

/// `room::Name`; a room that is still empty has no symbols to compare.
fn symbol(span: &str, tree: &Tree) -> Option<String> {
    let (room, rest) = span.trim_start_matches("crate::").split_once("::")?;
    let text = tree.rooms.get(room).filter(|it| it.lines().count() > 3)?;
    imports::row(room)?;
    let missing = rest.split("::").find(|name| {
        let name = name.trim_end_matches(['(', ')', '!']);
        !text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
            && !tree.files.iter().any(|it| it.starts_with(&format!("src/{room}/{name}")))
    })?;
    Some(format!("`{span}`: `{missing}` is not in src/{room}"))
}

/// A line or span that calls `tars`.
fn command(line: &str, tree: &Tree) -> Option<String> {
    let verbs = tree.verbs.as_ref()?;
    let line = line.trim_start().trim_start_matches("$ ");
    let line = line.strip_prefix("cargo run --locked -- ").or_else(|| line.strip_prefix("tars "))?;
    let mut words = line.split_whitespace();
    let word = |it: &&str| it.starts_with(|c: char| c.is_ascii_lowercase());
    let verb = words.next().filter(word)?;
    let Some(below) = verbs.get(verb) else { return Some(format!("`tars {verb}` is not a command")) };
    let next = words.next().filter(word)?;
    let wrong = !below.is_empty() && !below.contains(next);
    wrong.then(|| format!("`tars {verb} {next}` is not a command"))
}

/// Resolves `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let files = ["README.md", "src/model/ids.rs", "tests/install-parts", ".ci/run", "world/apps/a.yaml"];
        let help =
            "Usage: tars <COMMAND>\n\nCommands:\n  demo   Show\n  audit  Check\n\nOptions:\n  -h  Help\n";
        let audit = listed("Commands:\n  verify  Verify\n");
        let verbs = listed(help).into_iter().map(|verb| {
            let below = if verb == "audit" { audit.clone() } else { BTreeSet::new() };
            (verb, below)
        });
        Tree {
            files: files.map(str::to_owned).to_vec(),
            verbs: Some(verbs.collect()),
            rooms: BTreeMap::from([("model".to_owned(), "\n\n\n\npub struct RepoPath;\n".to_owned())]),
        }
    }

    fn count(document: &str, text: &str) -> usize {
        check(document, text, &tree()).len()
    }

    #[test]
    fn names_of_things_that_do_not_exist_are_found() {
        for text in [
            "see `src/model/nothing.rs`",
            "see `docs/`",
            "see `tests/nothing`",
            "see `nothing.toml`",
            "see `.ci/nothing`",
            "see [it](src/nothing.rs)",
            "use `model::Nothing`",
            "run `tars nothing`",
            "run `tars audit nothing --flag`",
            "```sh\ncargo run --locked -- nothing\n```",
            "```console\n$ tars nothing\n```",
            "```sh\ntests/nothing && cargo test\n```",
        ] {
            assert_eq!(count("README.md", text), 1, "{text}");
        }
    }

    #[test]
    fn names_of_things_that_exist_pass() {
        let text = "`src/model/ids.rs` `src/model/` `ids.rs` `model::RepoPath` `model::ids` [x](src/model/ids.rs#a)
            [y](https://example.com/a.md) `tars demo` `tars audit verify` `tars/ledger` `apps/v1` `/predict`
            `policies/SUSPENDED` `open/<key>.yaml` `app.kubernetes.io/name` `.cache/parts/` `std::fs`
            `outside::clock` `a.yaml`\n```sh\ntests/install-parts && bash .ci/run\n```\n```yaml\na: tars nothing\n```";
        assert_eq!(
            check("README.md", text, &tree()).into_iter().map(|it| it.text).collect::<Vec<_>>(),
            [""; 0]
        );
        assert_eq!(count("world/policies/README.md", "`apps/a.yaml`"), 0);
        assert_eq!(count("world/policies/README.md", "[a](../apps/a.yaml)"), 0);
        assert_eq!(count("world/policies/README.md", "[a](apps/a.yaml)"), 1);
    }
}
