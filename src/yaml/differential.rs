//! A second editor, written by others, makes the same edits on the same random documents: where it changes
//! one line, both results must hold the same values.

use super::property::{shape, write};
use super::{Edit, Path, Step, Value, apply};
use proptest::prelude::*;
use std::str::FromStr;
use yaml_edit::YamlFile;
use yaml_edit::path::YamlPath;

/// The path in the other editor's words; `None` where its grammar cannot say it.
fn theirs(path: &Path) -> Option<String> {
    let mut text = String::new();
    for step in path.steps() {
        match step {
            Step::Key(key) if key.chars().all(|c| c.is_ascii_alphabetic()) => {
                text.push_str(if text.is_empty() { "" } else { "." });
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            _ => return None,
        }
    }
    Some(text)
}

fn their_edit(source: &str, document: usize, path: &str, value: &Value) -> Option<String> {
    let file = YamlFile::from_str(source).ok()?;
    let tree = file.documents().nth(document)?;
    match value {
        Value::Int(int) => tree.try_set_path(path, *int),
        Value::Bool(bool) => tree.try_set_path(path, *bool),
        Value::Text(text) => tree.try_set_path(path, text.as_str()),
        Value::Null | Value::Float(_) => return None,
    }
    .ok()?;
    Some(file.to_string())
}

fn one_line_changed(before: &str, after: &str) -> bool {
    before.lines().count() == after.lines().count()
        && before.lines().zip(after.lines()).filter(|(before, after)| before != after).count() <= 1
}

fn values(source: &str) -> Option<String> {
    use serde::Deserialize;
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let documents: Result<Vec<_>, _> =
        yaml_serde::Deserializer::from_str(source).map(yaml_serde::Value::deserialize).collect();
    documents.ok().map(|documents| format!("{documents:?}"))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        "[a-z][a-z0-9:/. #'-]{0,12}[a-z]".prop_map(Value::Text),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_editor_that_changes_one_line_leaves_the_same_values(
        shape in shape(), pick in any::<prop::sample::Index>(), value in value(),
    ) {
        let written = write(&shape);
        let comparable: Vec<_> = written.leaves.iter().filter(|leaf| written.editable(leaf)).collect();
        prop_assume!(!comparable.is_empty());
        let leaf = pick.get(&comparable);
        let Some(path) = theirs(&leaf.path) else { return Ok(()) };
        let edit = Edit::Set { document: leaf.document, path: leaf.path.clone(), value: value.clone() };
        let ours = String::from_utf8(apply(written.source.as_bytes(), &[edit]).unwrap()).unwrap();
        let Some(other) = their_edit(&written.source, leaf.document, &path, &value) else { return Ok(()) };
        if one_line_changed(&written.source, &other) && let Some(theirs) = values(&other) {
            prop_assert_eq!(values(&ours).unwrap(), theirs, "{}", written.source);
        }
    }
}

#[test]
fn the_other_editor_is_really_asked() {
    let edited = their_edit("a:\n  b: [1, 2] # c\n", 0, "a.b[1]", &Value::Int(3)).unwrap();
    assert_eq!(edited, "a:\n  b: [1, 3] # c\n");
}
