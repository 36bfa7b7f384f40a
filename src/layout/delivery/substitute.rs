//! Flux's `postBuild` substitution: `${name}`, `${name:-default}` and `${name:=default}` in rendered objects. An
//! object and variables come in; the object as the cluster gets it goes out, or a refusal for other forms.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::layout::kustomize::Live;
use crate::layout::objects::json;
use crate::yaml;

/// Variables, or why they are not known.
pub type Variables = Result<BTreeMap<String, String>, String>;

/// Objects with this label or annotation are left alone.
const SWITCH: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// Substitutes in one object. A field that was substituted cannot be edited where it stands; the editor sees
/// the `${` and refuses.
pub fn substitute(live: &mut Live, variables: &Variables) {
    let metadata = &live.value["metadata"];
    let off = ["labels", "annotations"].iter().any(|map| metadata[*map][SWITCH] == "disabled");
    if off || !mentions(&live.value) {
        return;
    }
    let done = match variables {
        Ok(variables) => walk(&mut live.value, variables),
        Err(why) => Err(why.clone()),
    };
    if let Err(why) = done {
        live.refusals.push(why);
        return;
    }
    if let Some(name) = live.value["metadata"]["name"].as_str().filter(|name| *name != live.name()) {
        live.names.push(name.to_owned());
    }
    live.namespace =
        live.value["metadata"]["namespace"].as_str().map(str::to_owned).or(live.namespace.take());
}

fn mentions(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains("${"),
        Json::Array(items) => items.iter().any(mentions),
        Json::Object(map) => map.iter().any(|(key, value)| key.contains("${") || mentions(value)),
        _ => false,
    }
}

fn walk(value: &mut Json, variables: &BTreeMap<String, String>) -> Result<(), String> {
    match value {
        Json::Array(items) => items.iter_mut().try_for_each(|item| walk(item, variables)),
        Json::Object(map) => {
            if let Some(key) = map.keys().find(|key| key.contains("${")) {
                return Err(format!("the key {key:?} is substituted after the build"));
            }
            map.values_mut().try_for_each(|entry| walk(entry, variables))
        }
        Json::String(text) if text.contains("${") => {
            *value = retyped(&replaced(text, variables)?);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn replaced(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        // `$${` is how a dollar sign is written.
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let end = rest[at..].find('}').map(|end| at + end);
        let end = end.ok_or_else(|| format!("{text:?} has a ${{ that is not closed"))?;
        let inner = &rest[at + 2..end];
        let split = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, operator) = inner.split_at(split);
        let known = variables.get(name).map(String::as_str).filter(|it| !it.is_empty());
        let fallback = operator.strip_prefix(":-").or_else(|| operator.strip_prefix(":="));
        match (operator.is_empty(), fallback) {
            _ if name.is_empty() => return Err(format!("{text:?} has a substitution without a name")),
            (true, _) => out.push_str(known.unwrap_or_default()),
            (_, Some(fallback)) => out.push_str(known.unwrap_or(fallback)),
            (_, None) => {
                return Err(format!("{text:?} uses a form of substitution that tars does not render"));
            }
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Substitution works on text: what was a bare `${N}` is typed by what it became.
fn retyped(text: &str) -> Json {
    let read = yaml::read(text.as_bytes()).ok();
    let root = read.as_deref().and_then(|all| all.first()).map(|document| json(&document.root));
    root.filter(|value| value.is_number() || value.is_boolean()).unwrap_or_else(|| Json::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_replaced_as_flux_replaces_it() {
        let variables = BTreeMap::from([("N".to_owned(), "3".to_owned()), ("E".to_owned(), String::new())]);
        for (text, expected) in [
            ("${N}", "3"),
            ("a-${N}-${N}", "a-3-3"),
            ("${E:-x}", "x"),
            ("${MISSING:=5}", "5"),
            ("${MISSING}", ""),
            ("$${N}", "${N}"),
            ("$N", "$N"),
        ] {
            assert_eq!(replaced(text, &variables).unwrap(), expected, "{text}");
        }
        for bad in ["${N/a/b}", "${N", "${}", "${N:2}"] {
            assert!(replaced(bad, &variables).is_err(), "{bad}");
        }
        assert_eq!(retyped("3"), Json::from(3));
        assert_eq!(retyped("3s"), Json::from("3s"));
    }
}
