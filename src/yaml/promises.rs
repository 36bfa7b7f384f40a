//! Promise 5 on random documents: an edit changes only the bytes and only the value it names, for both parsers.

use super::property::{Place, Shape, shape, tree_value, value, write};
use super::{Edit, Fresh, Path, Step, Value, YamlError, apply, read};
use proptest::prelude::*;

/// What libyaml reads, and the place a path leads to in it.
fn second(source: &[u8]) -> Vec<yaml_serde::Value> {
    use serde::Deserialize;
    let source = source.strip_prefix("\u{feff}".as_bytes()).unwrap_or(source);
    yaml_serde::Deserializer::from_slice(source).map(|d| yaml_serde::Value::deserialize(d).unwrap()).collect()
}

fn slot<'v>(root: &'v mut yaml_serde::Value, path: &Path) -> &'v mut yaml_serde::Value {
    path.steps().iter().fold(root, |at, step| match step {
        Step::Key(key) => at.get_mut(key.as_str()).unwrap(),
        Step::Index(index) => at.get_mut(*index).unwrap(),
        Step::Item { .. } => unreachable!("the generator writes indexes"),
    })
}

fn plain(value: &Value) -> yaml_serde::Value {
    match value {
        Value::Null => yaml_serde::Value::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Int(int) => (*int).into(),
        Value::Float(float) => (*float).into(),
        Value::Text(text) => text.as_str().into(),
    }
}

fn prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn suffix(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// How many documents each promise runs on: 10,000 in CI, 1,000 on a laptop, or `TARS_YAML_DOCS=1000000`.
#[allow(clippy::disallowed_methods, reason = "the size of a test run is asked for from outside")]
pub fn documents() -> u32 {
    let standard = if std::env::var("CI").is_ok_and(|it| it == "true") { 10_000 } else { 1_000 };
    std::env::var("TARS_YAML_DOCS").ok().and_then(|count| count.parse().ok()).unwrap_or(standard)
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: documents(), failure_persistence: None, ..ProptestConfig::default() }
}

/// The header that keeps the line breaks at the end of a text.
pub fn header(text: &str) -> &'static str {
    let body = text.trim_end_matches(['\r', '\n']);
    ["|-", "|", "|+"][text[body.len()..].matches('\n').count().min(2)]
}

/// The text as the value of a literal block scalar between two other keys.
pub fn wrapped(text: &str, header: &str, margin: usize, eol: &str) -> String {
    let pad = " ".repeat(margin);
    let mut lines = String::new();
    for line in text.split_inclusive('\n') {
        let blank = line.trim_end_matches(['\r', '\n']).is_empty();
        lines.push_str(if blank { "" } else { &pad });
        lines.push_str(line);
    }
    let end = if header == "|-" { eol } else { "" };
    format!("kind: X{eol}text: {header} # YAML{eol}{lines}{end}after: 1{eol}")
}

fn add() -> Edit {
    Edit::AddDocument { tree: Fresh::Map(vec![("k".to_owned(), Fresh::Scalar(Value::Null))]) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_set_changes_the_bytes_and_the_value_of_its_leaf_only(
        shape in shape(), pick in any::<prop::sample::Index>(), value in value(),
    ) {
        let written = write(&shape);
        let leaf = pick.get(&written.leaves).clone();
        let source = written.source.as_bytes();
        let edit = Edit::Set { document: leaf.document, path: leaf.path.clone(), value: value.clone() };
        let result = apply(source, &[edit]);
        if !written.editable(&leaf) {
            let refused = matches!(
                result,
                Err(YamlError::Alias { .. } | YamlError::Shared { .. } | YamlError::Tag { .. })
            );
            prop_assert!(refused, "{result:?}");
            return Ok(());
        }
        let edited = result.map_err(|error| TestCaseError::fail(format!("{error:?} {}", written.source)))?;
        let end = leaf.bytes.end.min(source.len());
        let head = &source[..leaf.bytes.start.min(end)];
        let tail = &source[end..];
        prop_assert!(edited.starts_with(head) && edited[head.len()..].ends_with(tail), "{}", written.source);
        let mut expected = second(source);
        *slot(&mut expected[leaf.document], &leaf.path) = plain(&value);
        prop_assert_eq!(format!("{expected:?}"), format!("{:?}", second(&edited)));
        let documents = read(&edited).unwrap();
        let now = documents[leaf.document].root.at(&leaf.path).unwrap().as_scalar().unwrap().typed();
        prop_assert_eq!(format!("{now:?}"), format!("{value:?}"));
    }

    #[test]
    fn a_put_only_inserts_and_a_remove_takes_it_back(
        shape in shape(), pick in any::<prop::sample::Index>(), value in value(), deep in any::<bool>(),
    ) {
        let written = write(&shape);
        let map = pick.get(&written.maps).clone();
        let source = written.source.as_bytes();
        let top = map.path.clone().key("new/key");
        let path = if deep { top.clone().key("b").key("c") } else { top.clone() };
        let put = Edit::Put { document: map.document, path, value };
        let edited = match apply(source, std::slice::from_ref(&put)) {
            Ok(edited) if written.editable(&map) => edited,
            // A block scalar without its final line break, or an inherited mapping.
            Err(YamlError::Unsupported { .. }) if !shape.final_break => return Ok(()),
            Err(YamlError::Merged { .. }) if deep => return Ok(()),
            Err(YamlError::Shared { .. }) if !written.editable(&map) => return Ok(()),
            other => return Err(TestCaseError::fail(format!("{other:?} {}", written.source))),
        };
        prop_assert!(prefix(source, &edited) + suffix(source, &edited) >= source.len());
        let remove = Edit::Remove { document: map.document, path: top };
        let back = apply(&edited, &[remove]).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(String::from_utf8(back).unwrap(), written.source);
    }

    #[test]
    fn a_tree_only_inserts_and_a_remove_takes_it_back(
        shape in shape(), pick in any::<prop::sample::Index>(), tree in tree_value(),
    ) {
        let written = write(&shape);
        let map = pick.get(&written.maps).clone();
        let source = written.source.as_bytes();
        let path = map.path.clone().key("new");
        let insert = Edit::Insert { document: map.document, path: path.clone(), tree: tree.clone() };
        let edited = match apply(source, std::slice::from_ref(&insert)) {
            Ok(edited) if written.editable(&map) => edited,
            Err(YamlError::Unsupported { .. }) if !shape.final_break => return Ok(()),
            Err(YamlError::Merged { .. }) if !matches!(tree, Fresh::Scalar(_)) => return Ok(()),
            Err(YamlError::Shared { .. }) if !written.editable(&map) => return Ok(()),
            other => return Err(TestCaseError::fail(format!("{other:?} {}", written.source))),
        };
        prop_assert!(prefix(source, &edited) + suffix(source, &edited) >= source.len());
        let remove = Edit::Remove { document: map.document, path };
        let back = apply(&edited, &[remove]).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(String::from_utf8(back).unwrap(), written.source);
    }

    #[test]
    fn an_item_by_merge_key_only_inserts_and_a_remove_takes_it_back(
        shape in shape(), pick in any::<prop::sample::Index>(), tree in tree_value(),
    ) {
        let written = write(&shape);
        let item = |leaf: &&Place| matches!(leaf.path.0.last(), Some(Step::Index(_)));
        let items: Vec<&Place> = written.leaves.iter().filter(item).collect();
        if items.is_empty() {
            return Ok(());
        }
        let leaf = pick.get(&items);
        let source = written.source.as_bytes();
        let path = Path(leaf.path.0[..leaf.path.0.len() - 1].to_vec()).item("id", "zz");
        let tree = Fresh::Map(vec![("v".to_owned(), tree)]);
        let insert = Edit::Insert { document: leaf.document, path: path.clone(), tree };
        let edited = match apply(source, std::slice::from_ref(&insert)) {
            Ok(edited) => edited,
            Err(YamlError::Unsupported { .. }) if !shape.final_break => return Ok(()),
            // Shared by an alias, or an item that may have the same merge key.
            Err(YamlError::Shared { .. } | YamlError::Alias { .. } | YamlError::Merged { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{error:?} {}", written.source))),
        };
        prop_assert!(prefix(source, &edited) + suffix(source, &edited) >= source.len());
        let remove = Edit::Remove { document: leaf.document, path };
        let back = apply(&edited, &[remove]).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(String::from_utf8(back).unwrap(), written.source);
    }

    #[test]
    fn a_new_document_leaves_every_byte_before_it(shape in shape(), tree in tree_value()) {
        let written = write(&shape);
        let tree = Fresh::Map(vec![("kind".to_owned(), tree)]);
        match apply(written.source.as_bytes(), &[Edit::AddDocument { tree }]) {
            Ok(bytes) => {
                prop_assert!(bytes.starts_with(written.source.as_bytes()));
                prop_assert_eq!(read(&bytes).unwrap().len(), shape.documents.len() + 1);
            }
            Err(YamlError::Unsupported { .. }) if !shape.final_break => {}
            Err(error) => return Err(TestCaseError::fail(format!("{error:?} {}", written.source))),
        }
    }

    #[test]
    fn an_edit_inside_a_block_scalar_is_the_edit_of_its_text(
        shape in shape(), pick in any::<prop::sample::Index>(), value in value(), margin in 1_usize..7,
        verb in 0_u8..3,
    ) {
        let shape = Shape { bom: false, ..shape };
        let written = write(&shape);
        let eol = if shape.crlf { "\r\n" } else { "\n" };
        let leaf = pick.get(&written.leaves).clone();
        let (document, path) = (leaf.document, leaf.path.clone());
        let edit = match verb {
            0 => Edit::Set { document, path, value },
            1 => Edit::Remove { document, path },
            _ => {
                let map = pick.get(&written.maps).clone();
                Edit::Put { document: map.document, path: map.path.key("new").key("b"), value }
            }
        };
        let header = header(&written.source);
        let source = wrapped(&written.source, header, margin, eol);
        let text = Path::default().key("text");
        let inside = Edit::Inside { document: 0, path: text, edit: Box::new(edit.clone()) };
        let outer = apply(source.as_bytes(), &[inside]);
        match (apply(written.source.as_bytes(), &[edit]), outer) {
            (Ok(plain), Ok(outer)) => {
                let plain = String::from_utf8(plain).unwrap();
                let expected = wrapped(&plain, header, margin, eol);
                prop_assert_eq!(String::from_utf8(outer).unwrap(), expected);
            }
            (Err(plain), Err(outer)) => {
                let name = |error: YamlError| format!("{error:?}").split([' ', '{']).next().map(str::to_owned);
                prop_assert_eq!(name(plain), name(outer));
            }
            // The text ends with a block scalar now, whose line breaks the header outside would drop.
            (Ok(_), Err(YamlError::Unsupported { .. })) if verb == 1 && header != "|+" => {}
            (plain, outer) => {
                return Err(TestCaseError::fail(format!("{plain:?} {outer:?} {source}")));
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(
        text in "[-a-c:{}\\[\\]&*!|>'\"%#? \\n\\r\\t0-9,<~]{0,60}", value in value(),
    ) {
        let paths = ["a", "a.b", "a[0]", "[0]", "b[a=c]", ""];
        for path in paths {
            let path = Path::parse(path).unwrap();
            let entries = vec![("k".to_owned(), value.clone())];
            for edit in [
                Edit::Put { document: 0, path: path.clone(), value: value.clone() },
                Edit::Remove { document: 0, path: path.clone() },
                Edit::Append { document: 0, path: path.clone(), entries },
                Edit::Insert { document: 0, path: path.clone(), tree: Fresh::List(vec![]) },
                Edit::Inside { document: 0, path: path.clone(), edit: Box::new(add()) },
                add(),
            ] {
                if let Ok(bytes) = apply(text.as_bytes(), &[edit]) {
                    prop_assert!(read(&bytes).is_ok());
                }
            }
        }
    }
}
