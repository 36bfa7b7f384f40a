//! What one field holds in one version of one file, without the rest of the repository. Bytes come in, plain
//! values go out; nothing is rendered.

use serde_json::Value as Json;

use super::address::Address;
use super::objects::{json, object_kind, written};
use crate::model::ids::WorkloadRef;
use crate::yaml;

/// The values of `field` in the documents of `bytes` that declare `resource`, or in every document when none
/// does (a Kustomization, a patch under another name): comparable between two versions of the file. `None`:
/// the file or the field's path cannot be read.
#[must_use]
pub fn field_values(bytes: &[u8], resource: &WorkloadRef, field: &str) -> Option<Vec<Option<String>>> {
    let at = Address::parse(field)?;
    let documents: Vec<Json> = yaml::read(bytes).ok()?.iter().map(|it| json(&it.root)).collect();
    let declares = |it: &&Json| {
        object_kind(it) == Some(resource.kind.as_str()) && it["metadata"]["name"] == *resource.name.as_str()
    };
    let own: Vec<&Json> = documents.iter().filter(declares).collect();
    let looked_at = if own.is_empty() { documents.iter().collect() } else { own };
    let value = |document: &Json| {
        let found = at.find(document).filter(|it| !it.is_null())?;
        Some(written(&found).unwrap_or_else(|| found.to_string()))
    };
    Some(looked_at.into_iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend}\nspec: {replicas: 3}\n---\n\
                       apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: frontend}\nspec: {replicas: 8}\n";

    fn values(bytes: &str, resource: &str, field: &str) -> Option<Vec<Option<String>>> {
        field_values(bytes.as_bytes(), &WorkloadRef::parse(resource).unwrap(), field)
    }

    #[test]
    fn only_the_documents_of_the_object_count_when_there_are_some() {
        let three = Some(vec![Some("3".to_owned())]);
        assert_eq!(values(TWO, "shop/Deployment/backend", "spec.replicas"), three);
        assert_eq!(values(TWO, "shop/Deployment/backend", "spec.paused"), Some(vec![None]));
        let all = values(TWO, "shop/Deployment/api", "spec.replicas").unwrap();
        assert_eq!(all, [Some("3".to_owned()), Some("8".to_owned())]);
    }

    #[test]
    fn a_kustomization_is_read_by_the_name_of_its_entry() {
        let text =
            "kind: Kustomization\nreplicas:\n  - {name: frontend, count: 2}\n  - {name: backend, count: 4}\n";
        let found = values(text, "shop/Deployment/backend", "replicas[name=backend].count");
        assert_eq!(found, Some(vec![Some("4".to_owned())]));
    }

    #[test]
    fn what_cannot_be_read_is_no_value() {
        assert_eq!(values("a: [", "shop/Deployment/backend", "spec.replicas"), None);
        assert_eq!(values(TWO, "shop/Deployment/backend", ""), None);
    }
}
