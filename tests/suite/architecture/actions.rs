//! One action, one name: the variant of `PlaybookName`, its folder in `templates/`, its fixtures in
//! `tests/fixtures/edits/` (`<folder>-<case>`; `undo-<case>` is nobody's), and its heading below "Actions" in
//! ARCHITECTURE.md.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};

use super::Finding;

pub(crate) const RULE: &str = "Playbooks, template folders, edit fixtures and headings are the same list.\n\
    Why: an action without words, without a proof or without a description is half built.\n\
    Instead: add what is missing, or remove the action everywhere. The list that counts is \
    `PlaybookName::folder` in src/model/playbook.rs.";

const TEMPLATES: &str = "templates/";
const FIXTURES: &str = "tests/fixtures/edits/";
/// Fixtures of the undo, which every action has and which is no action of its own.
const UNDO: &str = "undo-";

/// `playbooks` is the text of src/model/playbook.rs, `map` of ARCHITECTURE.md, `files` every path of the tree.
/// A folder that does not exist at all is not compared.
pub(crate) fn check(playbooks: &str, map: &str, files: &[String]) -> Vec<Finding> {
    let declared = declared(playbooks);
    let folders: BTreeSet<&str> = declared.iter().map(|it| it.1.as_str()).collect();
    let mut findings = Vec::new();
    if declared.is_empty() {
        findings.push(Finding::new("src/model/playbook.rs", "`PlaybookName::folder` names no folder"));
    }
    if let Some(templates) = folders_below(files, TEMPLATES) {
        findings.extend(differences("templates/", &folders, &templates));
    }
    if let Some(fixtures) = folders_below(files, FIXTURES) {
        let owner =
            |fixture: &&str| folders.iter().find(|it| fixture.starts_with(&format!("{it}-"))).copied();
        let owned: BTreeSet<&str> = fixtures.iter().filter_map(owner).collect();
        findings.extend(differences(FIXTURES, &folders, &owned));
        let stray = fixtures.iter().filter(|it| owner(it).is_none() && !it.starts_with(UNDO));
        findings
            .extend(stray.map(|it| Finding::new(format!("{FIXTURES}{it}"), "does not start with an action")));
    }
    let variants: BTreeSet<&str> = declared.iter().map(|it| it.0.as_str()).collect();
    findings.extend(differences("ARCHITECTURE.md, section Actions", &variants, &headings(map)));
    findings
}

fn differences(place: &str, wanted: &BTreeSet<&str>, found: &BTreeSet<&str>) -> Vec<Finding> {
    let missing = wanted.difference(found).map(|it| Finding::new(place, format!("`{it}` is missing")));
    let unknown = found.difference(wanted).map(|it| Finding::new(place, format!("`{it}` is not an action")));
    missing.chain(unknown).collect()
}

/// Names of the folders directly below `parent`; `None` when there is no such parent.
fn folders_below<'a>(files: &'a [String], parent: &str) -> Option<BTreeSet<&'a str>> {
    let below: Vec<&str> = files.iter().filter_map(|it| it.strip_prefix(parent)).collect();
    let folders = below.iter().filter_map(|it| it.split_once('/')).map(|(folder, _)| folder).collect();
    (!below.is_empty()).then_some(folders)
}

/// The `### ` headings of the section `## Actions`.
fn headings(map: &str) -> BTreeSet<&str> {
    let section = map.lines().skip_while(|it| *it != "## Actions").skip(1);
    section.take_while(|it| !it.starts_with("## ")).filter_map(|it| it.strip_prefix("### ")).collect()
}

/// (variant, folder) of every arm of `fn folder`.
fn declared(playbooks: &str) -> Vec<(String, String)> {
    let syntax = syn::parse_file(playbooks).expect("src/model/playbook.rs is Rust");
    let mut arms = Arms { inside: false, found: Vec::new() };
    arms.visit_file(&syntax);
    arms.found
}

struct Arms {
    inside: bool,
    found: Vec<(String, String)>,
}

impl<'ast> Visit<'ast> for Arms {
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.inside = item.sig.ident == "folder";
        visit::visit_impl_item_fn(self, item);
        self.inside = false;
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let (syn::Pat::Path(variant), syn::Expr::Lit(literal)) = (&arm.pat, &*arm.body) else { return };
        let (Some(variant), syn::Lit::Str(folder)) = (variant.path.segments.last(), &literal.lit) else {
            return;
        };
        if self.inside {
            self.found.push((variant.ident.to_string(), folder.value()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYBOOKS: &str = "impl PlaybookName { fn as_str(self) -> &'static str { match self { Self::A => \"A\" } }
        fn folder(self) -> &'static str { match self { Self::ScaleOut => \"scale-out\", Self::Stop => \"stop\" } } }";
    const MAP: &str = "# Map\n## Actions\n### ScaleOut\ntext\n### Stop\n## Next\n### Other\n";

    fn found(map: &str, files: &[&str]) -> Vec<String> {
        let files: Vec<String> = files.iter().map(|it| (*it).to_owned()).collect();
        check(PLAYBOOKS, map, &files).into_iter().map(|it| format!("{}: {}", it.place, it.text)).collect()
    }

    #[test]
    fn equal_lists_pass_and_absent_folders_are_not_compared() {
        assert_eq!(found(MAP, &["src/a.rs"]), Vec::<String>::new());
        let files = [
            "templates/README.md",
            "templates/scale-out/commit.hbs",
            "templates/stop/commit.hbs",
            "tests/fixtures/edits/scale-out-crlf/before/a.yaml",
            "tests/fixtures/edits/stop-hpa/before/a.yaml",
            "tests/fixtures/edits/undo-count/before/a.yaml",
        ];
        assert_eq!(found(MAP, &files), Vec::<String>::new());
    }

    #[test]
    fn each_list_can_fall_behind() {
        assert_eq!(
            found(MAP, &["templates/scale-out/a", "templates/extra/a"]),
            ["templates/: `stop` is missing", "templates/: `extra` is not an action"]
        );
        assert_eq!(
            found(MAP, &["tests/fixtures/edits/scale-out-a/x", "tests/fixtures/edits/odd/x"]),
            [
                "tests/fixtures/edits/: `stop` is missing",
                "tests/fixtures/edits/odd: does not start with an action"
            ]
        );
        assert_eq!(
            found("## Actions\n### ScaleOut\n### Go\n", &[]),
            [
                "ARCHITECTURE.md, section Actions: `Stop` is missing",
                "ARCHITECTURE.md, section Actions: `Go` is not an action"
            ]
        );
        assert_eq!(check("fn f() {}", "", &[]).len(), 1);
    }
}
