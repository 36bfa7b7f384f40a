//! Lengths, headers, forgotten files and leftovers.

use std::collections::BTreeMap;

use regex::Regex;
use syn::visit::{self, Visit};

use super::Finding;
use super::source::{SourceFile, reachable};

pub(crate) const FILE_LINES_MAX: usize = 600;
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

pub(crate) const LENGTH_RULE: &str = "A file in src/ has at most 600 lines, a function at most 70.\n\
    Why: what does not fit on a screen is not reviewed; wiring and sequencing grow first.\n\
    Instead: split by noun into a sibling file; move a large test block to `tests.rs`; name the steps of a \
    function. Lines count from the signature to the closing brace, comments included.";

pub(crate) const HEADER_RULE: &str = "Every Rust file starts with `//!`.\n\
    Why: a newcomer reads the first three lines to know whether to read on.\n\
    Instead: say what the file is for, what comes in and goes out, and what never happens there.";

pub(crate) const FORGOTTEN_RULE: &str = "\
    Every Rust file is reached by a `mod` declaration from a target of Cargo.toml.\n\
    Why: a file that nobody declares is never compiled, and its tests never run: it looks like safety.\n\
    Instead: declare it (`mod name;`), or delete it.";

pub(crate) const LEFTOVER_RULE: &str = "Nothing unfinished and nobody's machine is left in the tree.\n\
    Why: a note to oneself is read by strangers; an address may belong to somebody; a path works for one person.\n\
    Instead: finish it or open an issue; use example.com, example.org, *.example or *.invalid; use relative paths.";

pub(crate) fn lengths(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(Finding::new(&file.path, format!("{lines} lines, {FILE_LINES_MAX} are allowed")));
        }
        let mut functions = Functions { found: Vec::new() };
        functions.visit_file(&file.syntax);
        findings.extend(functions.found.into_iter().filter(|it| it.lines > FUNCTION_LINES_MAX).map(|it| {
            let text = format!("`{}` has {} lines, {FUNCTION_LINES_MAX} are allowed", it.name, it.lines);
            Finding::new(format!("{}:{}", file.path, it.start), text)
        }));
    }
    findings
}

struct Function {
    name: String,
    start: usize,
    lines: usize,
}

struct Functions {
    found: Vec<Function>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let start = signature.fn_token.span.start().line;
        let end = block.brace_token.span.close().end().line;
        self.found.push(Function { name: signature.ident.to_string(), start, lines: end - start + 1 });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

pub(crate) fn headers(texts: &BTreeMap<String, String>) -> Vec<Finding> {
    let bare = texts.iter().filter(|(_, text)| !text.trim_start().starts_with("//! "));
    bare.map(|(path, _)| Finding::new(path, "does not start with `//! `")).collect()
}

/// Files below `src/`, `tests/` and `benches/` that no target of `manifest` reaches.
pub(crate) fn forgotten(manifest: &str, texts: &BTreeMap<String, String>) -> Vec<Finding> {
    let path = Regex::new(r#"(?m)^path\s*=\s*"([^"]+\.rs)""#).unwrap();
    let named = path.captures_iter(manifest).map(|it| it[1].to_owned());
    let targets: Vec<String> = named.chain(["src/lib.rs".to_owned(), "src/main.rs".to_owned()]).collect();
    let mut findings: Vec<Finding> = targets
        .iter()
        .filter(|it| !texts.contains_key(*it))
        .map(|it| Finding::new("Cargo.toml", format!("names {it}, which does not exist")))
        .collect();
    let reached: Vec<String> = targets.iter().flat_map(|it| reachable(it, texts).into_keys()).collect();
    let lost = texts.keys().filter(|path| !reached.contains(path));
    findings.extend(lost.map(|path| Finding::new(path, "no target reaches this file: it is never compiled")));
    findings
}

/// Words of unfinished work, e-mail addresses that may be somebody's, paths of one machine.
pub(crate) fn leftovers(texts: &[(String, String)]) -> Vec<Finding> {
    // Put together from pieces so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["HA", "CK"], ["X", "XX"]].map(|it| it.concat());
    let unfinished =
        Regex::new(&format!(r"\b(?:{})\b|\b(?:todo|unimplemented)!\s*\(", words.join("|"))).unwrap();
    let mail = Regex::new(r"([A-Za-z0-9._%+-]+)@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,})").unwrap();
    let folders = ["home", "root", "Users", "work", "farm"].join("|");
    let machine = Regex::new(&format!(r#"(?:^|[\s"'`=(:])/(?:{folders})/"#)).unwrap();
    let mut findings = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{path}:{}", number + 1);
            if let Some(it) = unfinished.find(line) {
                findings.push(Finding::new(place(), format!("`{}` marks unfinished work", it.as_str())));
            }
            for it in mail.captures_iter(line).filter(|it| !nobody(&it[1], &it[2])) {
                findings.push(Finding::new(place(), format!("`{}` may be a person's address", &it[0])));
            }
            if let Some(it) = machine.find(line) {
                let text = format!("`{}` is a path of one machine", it.as_str().trim());
                findings.push(Finding::new(place(), text));
            }
        }
    }
    findings
}

/// Addresses that belong to nobody by specification (RFC 2606, RFC 6761), and `git@host:path` remotes.
fn nobody(user: &str, domain: &str) -> bool {
    let reserved = ["example.com", "example.org", "example.net"];
    let top = domain.rsplit('.').next().unwrap_or("");
    user == "git"
        || reserved.iter().any(|it| domain == *it || domain.ends_with(&format!(".{it}")))
        || matches!(top, "example" | "invalid" | "test" | "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_long_file_and_a_long_function_are_found() {
        let body = "    let _ = 1;\n".repeat(69);
        let long = format!("//! x\nfn f() {{\n{body}}}\n");
        let found = lengths(&[SourceFile::parse("src/a/b.rs", &long, false)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "src/a/b.rs:2");
        let body = "    let _ = 1;\n".repeat(68);
        let fits = format!("struct A; impl A {{ fn f() {{\n{body}}} }}\n");
        assert_eq!(lengths(&[SourceFile::parse("src/a/b.rs", &fits, false)]).len(), 0);
        let file = "// x\n".repeat(601);
        assert_eq!(lengths(&[SourceFile::parse("src/a/b.rs", &file, false)]).len(), 1);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(headers(&texts(&[("src/a.rs", "// x\n"), ("src/b.rs", "//! For b.\n")])).len(), 1);
    }

    #[test]
    fn an_undeclared_file_is_found() {
        let manifest = "[[test]]\npath = \"tests/suite/main.rs\"\n";
        let files = [
            ("src/lib.rs", "mod a; mod inline { mod deep; } #[cfg(test)] #[path = \"odd.rs\"] mod named;"),
            ("src/main.rs", ""),
            ("src/a/mod.rs", "mod b;"),
            ("src/a/b.rs", "#[cfg(test)] mod tests;"),
            ("src/a/b/tests.rs", ""),
            ("src/inline/deep.rs", ""),
            ("src/odd.rs", ""),
            ("tests/suite/main.rs", "mod cli;"),
            ("tests/suite/cli.rs", "mod help;"),
            ("tests/suite/cli/help.rs", ""),
        ];
        assert_eq!(forgotten(manifest, &texts(&files)).len(), 0);
        let lost = [files.as_slice(), &[("src/a/b_tests.rs", ""), ("tests/suite/old.rs", "")]].concat();
        let places: Vec<String> = forgotten(manifest, &texts(&lost)).into_iter().map(|it| it.place).collect();
        assert_eq!(places, ["src/a/b_tests.rs", "tests/suite/old.rs"]);
        assert_eq!(forgotten("path = \"tests/none.rs\"", &texts(&files[..7])).len(), 1);
    }

    #[test]
    fn files_that_only_tests_reach_are_known() {
        let files = texts(&[
            ("src/lib.rs", "mod a; #[cfg(test)] mod proofs;"),
            ("src/a.rs", "#[cfg(test)] #[path = \"a_tests.rs\"] mod tests;"),
            ("src/a_tests.rs", "mod deeper;"),
            ("src/proofs.rs", ""),
        ]);
        let reached = reachable("src/lib.rs", &files);
        assert_eq!(reached.get("src/a.rs"), Some(&false));
        assert_eq!(reached.get("src/a_tests.rs"), Some(&true));
        assert_eq!(reached.get("src/proofs.rs"), Some(&true));
    }

    #[test]
    fn leftovers_are_found_and_lookalikes_pass() {
        let count = |line: &str| leftovers(&[("src/a.rs".to_owned(), line.to_owned())]).len();
        let at = |user: &str, domain: &str| format!("mail {user}@{domain}");
        assert_eq!(count(&format!("// {}: later", ["TO", "DO"].concat())), 1);
        assert_eq!(count(&format!("fn f() {{ {}!() }}", ["to", "do"].concat())), 1);
        assert_eq!(count(&at("jane.doe", "corp.com")), 1);
        assert_eq!(count(&["see /ho", "me/jane/x"].concat()), 1);
        for line in [at("tars", "example.com"), at("git", "github.com"), at("tars", "localhost")] {
            assert_eq!(count(&line), 0, "{line}");
        }
        assert_eq!(
            count("uses: actions/checkout@0123abcd and sops@v3.13.3, method todos, path src/home/x"),
            0
        );
    }
}
