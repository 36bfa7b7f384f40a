//! The official YAML test suite: every scalar of every valid document is set, removed and edited inside, and the
//! edit is refused or changes that scalar only. A selection lies in `tests/fixtures/yaml-suite`;
//! `TARS_YAML_SUITE` names a folder with all of it, or with any other files called `in.yaml`.
#![allow(clippy::disallowed_methods, reason = "fixtures are read from disk, in tests only")]

use super::{Edit, Node, NodeKind, Path, Step, Style, Value, apply, read};
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

/// Bytes that both texts start with and end with, together.
fn common(a: &[u8], b: &[u8]) -> usize {
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    head + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// Whether only the bytes of the node differ.
pub fn only_there(source: &[u8], edited: &[u8], node: &Node) -> bool {
    if node.span.is_empty() {
        return common(source, edited) >= source.len();
    }
    let (head, tail) = (&source[..node.span.start], &source[node.span.end..]);
    edited.starts_with(head) && edited[head.len()..].ends_with(tail)
}

const OTHER: &str = "new: 'text' # x";

/// Edits of one scalar: set four ways, removed, and set inside if it holds YAML. How many were made.
fn edit_each_way(source: &[u8], document: usize, path: &Path, node: &Node) -> usize {
    let mut made = 0;
    for value in
        [Value::Int(7), Value::Text(OTHER.to_owned()), Value::Text("two\nlines\n".to_owned()), Value::Null]
    {
        let edit = Edit::Set { document, path: path.clone(), value: value.clone() };
        let Ok(edited) = apply(source, &[edit]) else { continue };
        made += 1;
        assert!(only_there(source, &edited, node), "{}", String::from_utf8_lossy(&edited));
        let now = read(&edited).unwrap();
        let now = now[document].root.at(path).unwrap().as_scalar().unwrap().typed();
        assert_eq!(now, value, "{}", String::from_utf8_lossy(&edited));
    }
    if let Ok(edited) = apply(source, &[Edit::Remove { document, path: path.clone() }]) {
        made += 1;
        assert!(common(source, &edited) >= edited.len(), "{}", String::from_utf8_lossy(&edited));
    }
    let Some(text) = node.text().filter(|_| node.as_scalar().is_some_and(|it| it.style == Style::Literal))
    else {
        return made;
    };
    for (inner, tree) in read(text.as_bytes()).unwrap_or_default().iter().enumerate() {
        let mut found = Vec::new();
        scalars(&tree.root, &Path::default(), &mut found);
        for (below, scalar) in found {
            let edit = Box::new(Edit::Set { document: inner, path: below.clone(), value: Value::Int(7) });
            let Ok(edited) = apply(source, &[Edit::Inside { document, path: path.clone(), edit }]) else {
                continue;
            };
            made += 1;
            let lost = source.len() - common(source, &edited).min(source.len());
            let lines = text[scalar.span.clone()].lines().count();
            let margins = lines * node.as_scalar().and_then(|it| it.block.as_ref()?.indent).unwrap_or(0);
            assert!(lost <= scalar.span.len() + lines + margins, "{}", String::from_utf8_lossy(&edited));
            let now = read(&edited).unwrap();
            let now = read(now[document].root.at(path).unwrap().text().unwrap().as_bytes()).unwrap();
            let now = now[inner].root.at(&below).unwrap().as_scalar().unwrap().typed();
            assert_eq!(now, Value::Int(7), "{}", String::from_utf8_lossy(&edited));
        }
    }
    made
}

#[test]
fn every_scalar_of_the_official_suite_is_edited_alone_or_refused() {
    let (mut made, mut asked) = (0, 0);
    for (name, source) in files() {
        let Ok(documents) = read(&source) else { continue };
        for (document, tree) in documents.iter().enumerate() {
            let mut found = Vec::new();
            scalars(&tree.root, &Path::default(), &mut found);
            for (path, node) in found {
                let outcome = std::panic::catch_unwind(|| edit_each_way(&source, document, &path, node));
                let Ok(edits) = outcome else { panic!("{} {path}", name.display()) };
                made += edits;
                asked += 5;
            }
        }
    }
    assert!(made > 400, "{made} of {asked} edits were made");
}
