//! Comments that point at a value: the text behind a scalar on its line, and the markers among them
//! (`replicas: 3 # {"$tars": "replicas"}`). A file comes in; nothing is changed.
//!
//! A comment belongs to a scalar only if nothing but white space, or the comma of its entry, stands between
//! them; behind `{a: 1, b: 2} # ...` it belongs to nobody.

use super::error::YamlError;
use super::node::{Node, NodeKind};
use super::parse;
use super::path::{Path, Step};
use super::source::{self, line_end, next_line};
use serde::Deserialize;

/// A scalar that a comment on its line marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// List items are addressed by index.
    pub path: Path,
    /// The text under `$tars`.
    pub marker: String,
    /// 1-based line of the scalar.
    pub line: usize,
}

/// The marker comment's JSON; another key, a key twice or another type makes it no marker.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    #[serde(rename = "$tars")]
    tars: String,
}

/// The comment behind the scalar at a path of one document, without `#` and the spaces around it.
///
/// # Errors
/// As [`super::read`] and [`Node::at`]; [`YamlError::Shape`] for a collection.
pub fn comment(source: &[u8], document: usize, path: &Path) -> Result<Option<String>, YamlError> {
    let text = source::text(source)?;
    let root = root(text, document)?;
    let Some((last, above)) = path.steps().split_last() else {
        return scalar_only(&root).map(|node| behind(text, None, node).map(str::to_owned));
    };
    let holder = root.at(&Path(above.to_vec()))?;
    let node = scalar_only(root.at(path)?)?;
    let index = holder.child_index(last, || path.to_string())?;
    let key = index.and_then(|index| holder.as_map().nth(index)).map(|(key, _)| key);
    Ok(behind(text, key, node).map(str::to_owned))
}

/// Every marked scalar of one document, in file order. A comment that cannot be read is no marker.
///
/// # Errors
/// As [`super::read`].
pub fn markers(source: &[u8], document: usize) -> Result<Vec<Marked>, YamlError> {
    let text = source::text(source)?;
    let mut found = Vec::new();
    if text.contains("$tars") {
        collect(text, None, &root(text, document)?, &mut Vec::new(), &mut found);
    }
    Ok(found)
}

fn root(text: &str, wanted: usize) -> Result<Node, YamlError> {
    let mut documents = parse::parse(text)?;
    let found = documents.len();
    if wanted < found {
        Ok(documents.swap_remove(wanted).root)
    } else {
        Err(YamlError::NoDocument { wanted, found })
    }
}

fn scalar_only(node: &Node) -> Result<&Node, YamlError> {
    match node.kind {
        NodeKind::Scalar(_) => Ok(node),
        _ => Err(YamlError::Shape { expected: "a scalar", found: node.shape(), line: node.line }),
    }
}

fn collect(source: &str, key: Option<&Node>, node: &Node, steps: &mut Vec<Step>, found: &mut Vec<Marked>) {
    match &node.kind {
        NodeKind::Scalar(_) => {
            let marker = behind(source, key, node).and_then(|text| serde_json::from_str::<Marker>(text).ok());
            if let Some(Marker { tars: marker }) = marker {
                found.push(Marked { path: Path(steps.clone()), marker, line: node.line });
            }
        }
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                // A key that is a collection has no path.
                let Some(text) = key.text() else { continue };
                steps.push(Step::Key(text.to_owned()));
                collect(source, Some(key), value, steps, found);
                steps.pop();
            }
        }
        NodeKind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                steps.push(Step::Index(index));
                collect(source, None, item, steps, found);
                steps.pop();
            }
        }
        NodeKind::Alias(_) => {}
    }
}

/// The comment on the last line of an inline scalar, on the header line of a block scalar, or behind the
/// colon of a value that is not there.
fn behind<'s>(source: &'s str, key: Option<&Node>, node: &Node) -> Option<&'s str> {
    let scalar = node.as_scalar()?;
    let marked = node.anchor.is_some() || scalar.tag.is_some();
    let from = match &scalar.block {
        Some(block) => block.header.end,
        None if node.span.is_empty() && scalar.text.is_empty() && !marked => {
            let end = key?.span.end;
            let rest = source[end..next_line(source, end)].trim_start_matches([' ', '\t']);
            source[..next_line(source, end)].len() - rest.strip_prefix(':')?.len()
        }
        None => node.span.end,
    };
    let rest = &source[from..line_end(source, from)];
    let spaced = rest.strip_prefix(',').unwrap_or(rest);
    let text = spaced.trim_start_matches([' ', '\t']);
    (text.len() < spaced.len()).then_some(text)?.strip_prefix('#').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &str, path: &str) -> Option<String> {
        comment(source.as_bytes(), 0, &Path::parse(path).unwrap()).unwrap()
    }

    fn all(source: &str) -> Vec<(String, String, usize)> {
        let found = markers(source.as_bytes(), 0).unwrap();
        found.into_iter().map(|m| (m.path.to_string(), m.marker, m.line)).collect()
    }

    #[test]
    fn the_comment_behind_a_scalar_is_found_in_every_notation() {
        for source in [
            "a: 1 # c: \"d\" #e \n",
            "a: 'x # y'\t# c: \"d\" #e\r\n",
            "a: \"x\" # c: \"d\" #e",
            "a: one\n  two # c: \"d\" #e\nb: 1 # no\n",
            "a: |- # c: \"d\" #e\n  x # no\n",
            "a: # c: \"d\" #e\nb: 1\n",
            "a: &x !!str v # c: \"d\" #e\n",
            "{a: 1, # c: \"d\" #e\n b: 2}\n",
            "a:\n  # no\n  1 # c: \"d\" #e\n",
        ] {
            assert_eq!(at(source, "a").as_deref(), Some("c: \"d\" #e"), "{source:?}");
        }
        assert_eq!(at("- 1 # c\n- 2\n", "[0]").as_deref(), Some("c"));
        assert_eq!(at("x # c\n", "").as_deref(), Some("c"));
    }

    #[test]
    fn a_comment_that_is_not_behind_the_scalar_is_not_its_own() {
        for source in [
            "a: 1\n# c\n",
            "a: x#c\n",
            "a: 'x # c'\n",
            "{a: 1} # c\n",
            "{a: 1, b: 2} # c\n",
            "a: |\n  # c\n",
            "a: |\n  x\n# c\n",
            "a: 1\n",
            "a:\n# c\nb: 1\n",
        ] {
            assert_eq!(at(source, "a"), None, "{source:?}");
        }
        let refused = comment(b"a: {b: 1} # c\n", 0, &Path::default().key("a"));
        assert!(matches!(refused, Err(YamlError::Shape { .. })));
        let refused = comment(b"a: 1\n", 1, &Path::default().key("a"));
        assert!(matches!(refused, Err(YamlError::NoDocument { .. })));
    }

    #[test]
    fn only_one_key_named_tars_with_a_text_is_a_marker() {
        let marked = |comment: &str| all(&format!("z: 1\na: 3 # {comment}\n"));
        let expected = vec![("a".to_owned(), "replicas".to_owned(), 2)];
        assert_eq!(marked("{\"$tars\": \"replicas\"}"), expected);
        assert_eq!(marked(" { \"$tars\":\"replicas\" } "), expected);
        for comment in [
            "{\"$tars\": \"replicas\", \"x\": 1}",
            "{\"$tars\": \"a\", \"$tars\": \"b\"}",
            "{\"$tars\": 1}",
            "{\"$tars\": null}",
            "{\"$imagepolicy\": \"a:b\"}",
            "{\"tars\": \"replicas\"}",
            "{\"$tars\": \"replicas\"} and more",
            "[\"replicas\"]",
            "{\"$tars\": \"replicas\"",
            "{$tars: replicas}",
            "replicas",
            "{}",
            "",
        ] {
            assert_eq!(marked(comment), [], "{comment}");
        }
    }

    #[test]
    fn every_marker_of_a_document_is_listed_with_its_path() {
        let source = "\
spec:
  replicas: 3 # {\"$tars\": \"replicas\"}
  \"a.b\": # {\"$tars\": \"empty\"}
  list:
    - name: x # {\"$tars\": \"name\"}
      text: | # {\"$tars\": \"text\"}
        v # {\"$tars\": \"inner\"}
    - {k: 1, l: 2} # {\"$tars\": \"flow\"}
  b: &r 1 # {\"$tars\": \"anchored\"}
  c: *r # {\"$tars\": \"alias\"}
";
        let expected = [
            ("spec.replicas", "replicas", 2),
            ("spec.\"a.b\"", "empty", 3),
            ("spec.list[0].name", "name", 5),
            ("spec.list[0].text", "text", 6),
            ("spec.b", "anchored", 9),
        ];
        let expected = expected.map(|(path, marker, line)| (path.to_owned(), marker.to_owned(), line));
        assert_eq!(all(source), expected);
    }
}
