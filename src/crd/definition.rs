//! The two custom resource definitions, made from the types that read and write the objects. Nothing comes in; YAML for
//! an API server goes out. The chart's copies are held equal to it by a test.

use serde_json::{Value as Json, json};

use super::action::{ActionSpec, ActionStatus};
use super::policy_status::PolicyStatus;
use super::rules;
use super::structural::structural;
use super::wire::PolicyFile;
use crate::model::action::API_VERSION;

struct Kind {
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
    about: &'static str,
}

const POLICY: Kind = Kind {
    kind: super::KIND,
    plural: "remediationpolicies",
    short: "rpol",
    about: "When and how a known, bounded remedy may be applied, by a commit, to which resources, and how often.",
};
const ACTION: Kind = Kind {
    kind: "RemediationAction",
    plural: "remediationactions",
    short: "rem",
    about: "One remedy for one target, as the ledger in git records it. tars writes it to be looked at and waited for: \
            what is edited here is set back, and deleting it changes nothing.",
};

/// Both definitions, as one stream of documents.
///
/// # Errors
/// When one cannot be written as YAML.
pub fn definitions() -> Result<String, yaml_serde::Error> {
    let policy = schemars::schema_for!(PolicyFile).to_value();
    let policy = definition(
        &POLICY,
        &structural(&policy["properties"]["spec"], &policy["$defs"], "spec"),
        &schemars::schema_for!(PolicyStatus).to_value(),
        (&policy_columns(), &[]),
    );
    let spec = schemars::schema_for!(ActionSpec).to_value();
    let action = definition(
        &ACTION,
        &structural(&spec, &spec["$defs"], "action.spec"),
        &schemars::schema_for!(ActionStatus).to_value(),
        (&action_columns(), &ACTION_FIELDS),
    );
    Ok(format!("---\n{}---\n{}", yaml_serde::to_string(&policy)?, yaml_serde::to_string(&action)?))
}

/// `kubectl get rem --field-selector spec.action=Rollback`
const ACTION_FIELDS: [&str; 4] = [".spec.action", ".spec.policy", ".spec.risk", ".spec.target"];

fn definition(kind: &Kind, spec: &Json, status: &Json, (columns, fields): (&[Json], &[&str])) -> Json {
    let (group, version) = API_VERSION.split_once('/').unwrap_or((API_VERSION, ""));
    let properties = json!({
        "apiVersion": { "type": "string" },
        "kind": { "type": "string" },
        "metadata": { "type": "object" },
        "spec": spec,
        "status": structural(status, &status["$defs"], "status"),
    });
    let mut schema = json!({
        "type": "object", "description": kind.about, "required": ["spec"], "properties": properties,
    });
    let about_names: Vec<Json> = rules::at("")
        .iter()
        .filter(|_| kind.kind == super::KIND)
        .map(|it| json!({ "rule": it.cel, "message": format!("{} [{}]", it.message, it.code) }))
        .collect();
    if !about_names.is_empty() {
        schema["x-kubernetes-validations"] = json!(about_names);
    }
    let mut served = json!({
        "name": version, "served": true, "storage": true,
        "additionalPrinterColumns": columns,
        "schema": { "openAPIV3Schema": schema },
        "subresources": { "status": {} },
    });
    if !fields.is_empty() {
        let fields: Vec<Json> = fields.iter().map(|it| json!({ "jsonPath": it })).collect();
        served["selectableFields"] = json!(fields);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{group}", kind.plural) },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind, "listKind": format!("{}List", kind.kind),
                "plural": kind.plural, "singular": kind.kind.to_ascii_lowercase(),
                "shortNames": [kind.short], "categories": ["tars"],
            },
            "versions": [served],
        },
    })
}

fn column(name: &str, path: &str) -> Json {
    json!({ "name": name, "type": "string", "jsonPath": path })
}

fn condition(name: &str, kind: &str) -> Json {
    column(name, &format!(".status.conditions[?(@.type==\"{kind}\")].status"))
}

fn reason() -> Json {
    column("Reason", ".status.conditions[?(@.type==\"Ready\")].reason")
}

/// Shown with `-o wide` only.
fn wide(mut column: Json) -> Json {
    column["priority"] = json!(1);
    column
}

fn age(name: &str, path: &str) -> Json {
    json!({ "name": name, "type": "date", "jsonPath": path })
}

fn policy_columns() -> Vec<Json> {
    vec![
        column("Mode", ".status.mode"),
        condition("Ready", "Ready"),
        json!({ "name": "Suspended", "type": "boolean", "jsonPath": ".spec.suspend" }),
        json!({ "name": "Open", "type": "integer", "jsonPath": ".status.open" }),
        column("Budget", ".status.budget"),
        age("Last", ".status.lastActionTime"),
        age("Age", ".metadata.creationTimestamp"),
        wide(reason()),
        wide(column("Source", ".status.source")),
        wide(column("Repo", ".status.repository")),
        wide(column("Signals", ".status.signals")),
    ]
}

fn action_columns() -> Vec<Json> {
    vec![
        column("Target", ".spec.target"),
        column("Action", ".spec.action"),
        column("Risk", ".spec.risk"),
        column("Decision", ".spec.decision"),
        column("PR", ".status.pullRequest"),
        condition("Merged", "Merged"),
        condition("Verified", "Verified"),
        age("Age", ".status.proposedAt"),
        wide(json!({ "name": "Score", "type": "integer", "jsonPath": ".spec.scorePercent" })),
        wide(column("Policy", ".spec.policy")),
        wide(reason()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the chart they are what Helm installs before everything else.
    const IN_CHART: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/tars/crds/crds.yaml"));

    #[test]
    fn the_charts_definitions_are_those_of_the_types() {
        let made = definitions().unwrap();
        assert!(made == IN_CHART, "run: tars policy schema --crd > charts/tars/crds/crds.yaml");
    }

    /// Every value below `value`, with its path.
    fn walk<'a>(path: &str, value: &'a Json, seen: &mut Vec<(String, &'a Json)>) {
        seen.push((path.to_owned(), value));
        match value {
            Json::Object(map) => map.iter().for_each(|(key, it)| walk(&format!("{path}.{key}"), it, seen)),
            Json::Array(list) => list.iter().for_each(|it| walk(&format!("{path}[]"), it, seen)),
            _ => {}
        }
    }

    #[test]
    fn no_number_is_a_float_but_the_threshold_that_the_seed_has() {
        let made = definitions().unwrap();
        let mut floats = Vec::new();
        for text in made.split("---\n").filter(|it| !it.is_empty()) {
            let document: Json = yaml_serde::from_str(text).unwrap();
            let mut seen = Vec::new();
            walk("", &document, &mut seen);
            floats.extend(seen.into_iter().filter(|it| *it.1 == json!("number")).map(|it| it.0));
        }
        assert_eq!(floats.len(), 1, "{floats:?}");
        assert!(floats[0].ends_with(".threshold.type"), "{floats:?}");
    }

    #[test]
    fn every_rule_and_every_pattern_has_a_place_in_a_definition() {
        let made = definitions().unwrap();
        let places = made.matches("message: ").count();
        assert_eq!(places, rules::count(), "a rule at a path that no type has is no rule");
    }
}
