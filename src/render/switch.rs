//! Switches one policy off or on again: its file comes in, the same bytes with `spec.suspend` changed go out, one
//! field and nothing else.

use crate::yaml::{self, Edit, Path, Value, YamlError};

/// `bytes` with `spec.suspend` of the policy `name` as wanted; `None` when no document of the file is that policy.
///
/// # Errors
/// When the file cannot be read as YAML, or the field cannot be set without touching anything else.
pub fn switch_policy(bytes: &[u8], name: &str, suspend: bool) -> Result<Option<Vec<u8>>, YamlError> {
    let is_it = |document: &yaml::Document| {
        let text = |node: Option<&yaml::Node>| node.and_then(|it| it.text().map(str::to_owned));
        let root = &document.root;
        text(root.get("kind")).as_deref() == Some("RemediationPolicy")
            && text(root.get("metadata").and_then(|it| it.get("name"))).as_deref() == Some(name)
    };
    let Some(document) = yaml::read(bytes)?.iter().position(is_it) else { return Ok(None) };
    let path = Path::default().key("spec").key("suspend");
    yaml::apply(bytes, &[Edit::Put { document, path, value: Value::Bool(suspend) }]).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "kind: RemediationPolicy\nmetadata: {name: a}\nspec:\n  mode: Propose # careful\n---\n\
                       kind: RemediationPolicy\nmetadata:\n  name: b\nspec:\n  suspend: true   # since May\n";

    fn switched(name: &str, suspend: bool) -> Option<String> {
        let bytes = switch_policy(TWO.as_bytes(), name, suspend).unwrap()?;
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn one_field_of_one_policy_changes_and_every_other_byte_stays() {
        let on = TWO.replace("# careful\n", "# careful\n  suspend: true\n");
        assert_eq!(switched("a", true).unwrap(), on);
        let off = TWO.replace("suspend: true ", "suspend: false ");
        assert_eq!(switched("b", false).unwrap(), off);
        assert_eq!(switched("c", true), None);
    }
}
