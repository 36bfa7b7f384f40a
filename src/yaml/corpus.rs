//! The official YAML test suite: every scalar of every valid document is set, and the edit is refused or changes
//! that scalar only. A selection lies in `tests/fixtures/yaml-suite`; `TARS_YAML_SUITE` names a folder with all of it.
#![allow(clippy::disallowed_methods, reason = "fixtures are read from disk, in tests only")]

use super::{Edit, Node, NodeKind, Path, Step, Value, apply, read};
use std::path::PathBuf;

/// The folders of the suite: the selection, and all of it where the environment says so.
fn folders() -> Vec<PathBuf> {
    let selection = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/yaml-suite");
    let whole = std::env::var_os("TARS_YAML_SUITE").map(PathBuf::from);
    std::iter::once(selection).chain(whole).collect()
}

/// Every valid `in.yaml`; one with an `error` beside it is not.
pub fn files() -> Vec<(PathBuf, Vec<u8>)> {
    let mut open = folders();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        open.extend(entries.map(|it| it.unwrap().path()).filter(|it| it.is_dir() && !it.is_symlink()));
        let file = folder.join("in.yaml");
        if file.is_file() && !folder.join("error").is_file() {
            let bytes = std::fs::read(&file).unwrap();
            found.push((file, bytes));
        }
    }
    found.sort();
    found
}

/// Every scalar that a path leads to, with its path.
pub fn scalars<'a>(node: &'a Node, path: &Path, found: &mut Vec<(Path, &'a Node)>) {
    match &node.kind {
        NodeKind::Scalar(_) | NodeKind::Alias(_) => found.push((path.clone(), node)),
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                if let Some(text) = key.text() {
                    scalars(value, &path.clone().key(text), found);
                }
            }
        }
        NodeKind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let mut below = path.clone();
                below.0.push(Step::Index(index));
                scalars(item, &below, found);
            }
        }
    }
}

fn common(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

/// Whether only the bytes of the node differ.
pub fn only_there(source: &[u8], edited: &[u8], node: &Node) -> bool {
    if node.span.is_empty() {
        let head = common(source.iter().copied(), edited.iter().copied());
        let tail = common(source.iter().rev().copied(), edited.iter().rev().copied());
        return head + tail >= source.len();
    }
    let (head, tail) = (&source[..node.span.start], &source[node.span.end..]);
    edited.starts_with(head) && edited[head.len()..].ends_with(tail)
}

#[test]
fn every_scalar_of_the_official_suite_is_set_alone_or_refused() {
    let (mut made, mut refused) = (0, 0);
    let values = [
        Value::Int(7),
        Value::Text("new: 'text' # x".to_owned()),
        Value::Text("two\nlines\n".to_owned()),
        Value::Null,
    ];
    for (name, source) in files() {
        let Ok(documents) = read(&source) else { continue };
        for (document, tree) in documents.iter().enumerate() {
            let mut found = Vec::new();
            scalars(&tree.root, &Path::default(), &mut found);
            for (path, node) in found {
                for value in &values {
                    let edit = Edit::Set { document, path: path.clone(), value: value.clone() };
                    let Ok(edited) = apply(&source, &[edit]) else {
                        refused += 1;
                        continue;
                    };
                    made += 1;
                    let told = || format!("{} {path}: {}", name.display(), String::from_utf8_lossy(&edited));
                    assert!(only_there(&source, &edited, node), "{}", told());
                    let again = read(&edited).unwrap();
                    let now = again[document].root.at(&path).unwrap().as_scalar().unwrap();
                    assert_eq!(now.typed(), *value, "{}", told());
                }
            }
        }
    }
    assert!(made > 200, "{made} edits made, {refused} refused");
}
