//! JSON files are read by the YAML room for their byte spans, and by `serde_json` for their meaning. Both must
//! see the same document, or the file is refused. Text and tree come in, agreement or the line goes out.

use serde_json::Value;

use super::error::SopsError;
use crate::yaml::{Document, Node, NodeKind, Style};

/// Checks that the only document is a JSON object and that both readers agree about it.
pub(super) fn check(source: &str, documents: &[Document]) -> Result<(), SopsError> {
    let value: Value = serde_json::from_str(source).map_err(SopsError::Json)?;
    let [document] = documents else {
        return Err(SopsError::Tree { line: 1, reason: "a JSON file holds one document" });
    };
    if !value.is_object() {
        return Err(SopsError::Tree { line: 1, reason: "sops takes only JSON files that hold an object" });
    }
    agree(&document.root, &value)
}

fn agree(node: &Node, value: &Value) -> Result<(), SopsError> {
    let differ =
        Err(SopsError::Tree { line: node.line, reason: "YAML and JSON readers read this differently" });
    match (&node.kind, value) {
        (NodeKind::Map(entries), Value::Object(map)) => {
            if entries.len() != map.len() {
                return Err(SopsError::Tree { line: node.line, reason: "a key is there twice" });
            }
            for (key, inner) in entries {
                match key.text().and_then(|key| map.get(key)) {
                    Some(value) => agree(inner, value)?,
                    None => return differ,
                }
            }
            Ok(())
        }
        (NodeKind::List(items), Value::Array(values)) if items.len() == values.len() => {
            items.iter().zip(values).try_for_each(|(item, value)| agree(item, value))
        }
        (NodeKind::Scalar(scalar), Value::String(text))
            if scalar.style == Style::DoubleQuoted && scalar.text == *text =>
        {
            Ok(())
        }
        (NodeKind::Scalar(scalar), Value::Null | Value::Bool(_) | Value::Number(_))
            if scalar.style == Style::Plain =>
        {
            Ok(())
        }
        _ => differ,
    }
}
