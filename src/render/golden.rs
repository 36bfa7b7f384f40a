//! Golden trees: every folder of `tests/fixtures/edits` holds a repository before, the repository expected
//! after, and the plan in `case.yaml`; `good/`, where there is one, is the tree at the plan's good commit.
#![allow(clippy::disallowed_methods, reason = "fixtures are read from disk, in tests only")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::layout::index;
use crate::model::change::FieldChange;
use crate::model::fixtures::{at, oid};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::playbook::Plan;
use crate::model::reason::Reason;
use crate::model::tree::{EntryMode, RepoTree, TreeFile};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    target: String,
    plan: Plan,
}

struct Golden {
    name: String,
    case: Case,
    before: RepoTree,
    expected: RepoTree,
    good: Option<RepoTree>,
}

pub(super) fn tree<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> RepoTree {
    let entry =
        |(path, bytes): (&str, &[u8])| (RepoPath::new(path).unwrap(), TreeFile::held(EntryMode::File, bytes));
    RepoTree::held(oid('b'), files.into_iter().map(entry).collect())
}

fn read_tree(root: &Path) -> RepoTree {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    tree(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())))
}

fn goldens() -> Vec<Golden> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/edits");
    let folders = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir());
    let mut all: Vec<Golden> = folders
        .map(|folder| Golden {
            name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
            case: yaml_serde::from_slice(&std::fs::read(folder.join("case.yaml")).unwrap())
                .unwrap_or_else(|e| panic!("{}: {e}", folder.display())),
            before: read_tree(&folder.join("before")),
            expected: read_tree(&folder.join("expected")),
            good: folder.join("good").is_dir().then(|| read_tree(&folder.join("good"))),
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(all.len() >= 25, "the fixtures are missing");
    all
}

pub(super) fn render(
    before: &RepoTree,
    target: &str,
    plan: &Plan,
    good: Option<&RepoTree>,
) -> Result<CheckedChanges, Vec<Reason>> {
    edits(&RenderRequest {
        tree: before,
        index: &index(before),
        target: &WorkloadRef::parse(target).unwrap(),
        plan,
        old_tree: good,
        allowed_paths: &[],
        write_to: &[],
        fresh: Fresh { now: at(0), random: || None },
    })
}

fn edited(before: &RepoTree, changes: &CheckedChanges) -> RepoTree {
    let mut after = before.clone();
    for (path, bytes) in changes.files() {
        *after.files.get_mut(path).unwrap() = TreeFile::held(EntryMode::File, bytes.as_slice());
    }
    after
}

fn show(tree: &RepoTree) -> String {
    let text = |path| String::from_utf8_lossy(&tree.bytes(path, usize::MAX).unwrap()).into_owned();
    tree.files.keys().map(|path| format!("--- {path}\n{}", text(path))).collect()
}

#[test]
fn every_golden_case_gives_exactly_the_expected_bytes() {
    let mut wrong = Vec::new();
    for golden in goldens() {
        match render(&golden.before, &golden.case.target, &golden.case.plan, golden.good.as_ref()) {
            Ok(changes) => {
                let after = edited(&golden.before, &changes);
                if after != golden.expected {
                    wrong.push(format!(
                        "{}: expected\n{}got\n{}",
                        golden.name,
                        show(&golden.expected),
                        show(&after)
                    ));
                }
            }
            Err(reasons) => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                wrong.push(format!("{}: refused: {}", golden.name, reasons.join("; ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rendering_the_same_plan_again_changes_nothing() {
    for golden in goldens() {
        let again = render(&golden.expected, &golden.case.target, &golden.case.plan, golden.good.as_ref());
        assert!(again.is_err(), "{}: the plan was applied twice", golden.name);
    }
}

#[test]
fn every_change_can_be_undone_to_the_bytes_before() {
    for golden in goldens() {
        let done =
            render(&golden.before, &golden.case.target, &golden.case.plan, golden.good.as_ref()).unwrap();
        let swap = |it: &FieldChange| FieldChange { from: it.to.clone(), to: it.from.clone(), ..it.clone() };
        let undo = Plan::Undo { changes: done.fields().iter().map(swap).collect() };
        let undone = render(&golden.expected, &golden.case.target, &undo, None);
        let undone = undone.unwrap_or_else(|e| panic!("{}: {e:?}", golden.name));
        let back = edited(&golden.expected, &undone);
        assert!(back == golden.before, "{}: undone to\n{}", golden.name, show(&back));
    }
}

#[test]
fn the_diff_names_every_changed_line_and_no_other() {
    for golden in goldens() {
        let changes =
            render(&golden.before, &golden.case.target, &golden.case.plan, golden.good.as_ref()).unwrap();
        let body = changes.diff().lines().filter(|l| !l.starts_with("+++") && !l.starts_with("---"));
        let (added, removed): (Vec<&str>, Vec<&str>) =
            body.filter(|l| l.starts_with(['+', '-'])).partition(|l| l.starts_with('+'));
        let fields = changes.fields();
        assert!(!added.is_empty() || !removed.is_empty(), "{}", golden.name);
        if fields.iter().all(|change| change.to.is_some()) {
            assert!(removed.len() <= fields.len(), "{}: {}", golden.name, changes.diff());
        }
        assert!(changes.fields_changed() as usize >= fields.len(), "{}", golden.name);
        assert!(changes.objects_compared() > 0);
    }
}

fn manifest(before: &str, after: &str, comment: &str, replicas: u32) -> String {
    format!(
        "# {before}\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: backend, namespace: shop}}\n\
         spec:\n  replicas: {replicas} # {comment}\n# {after}\n  paused: false\n"
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_outside_the_named_line_stay_and_a_second_render_is_refused(
        before in "[ -~]{0,40}", after in "[ -~]{0,40}", comment in "[ -~]{0,40}",
        from in 1u32..1000, step in 1u32..1000, crlf: bool,
    ) {
        let ends = |text: String| if crlf { text.replace('\n', "\r\n") } else { text };
        let old = ends(manifest(&before, &after, &comment, from));
        let new = ends(manifest(&before, &after, &comment, from + step));
        let start = tree([("a.yaml", old.as_bytes())]);
        let plan = Plan::Scale { from, to: from + step, autoscaler: None };
        let changes = render(&start, "shop/Deployment/backend", &plan, None).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&changes.files()[0].1), new);
        let once = edited(&start, &changes);
        prop_assert!(render(&once, "shop/Deployment/backend", &plan, None).is_err());
    }
}
