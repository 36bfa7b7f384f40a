//! The JSON schema of our types as the structural schema that a custom resource definition takes: references resolved,
//! alternatives flattened, keywords that an API server refuses left out. Rules and patterns from `rules` are put in at
//! their paths. A schema comes in and one goes out.

use serde_json::{Map, Value as Json, json};

use super::rules::{self, Rule};

/// What an API server refuses, or reads in another way than JSON schema does.
const DROPPED: [&str; 5] = ["$schema", "$defs", "title", "additionalProperties", "const"];

/// The schema of the object at the root, `prefix` being its path in the rules: `spec`.
pub(super) fn structural(schema: &Json, defs: &Json, path: &str) -> Json {
    let described = schema["description"].as_str();
    let schema = resolved(schema, defs);
    if let Some(flat) = flattened(schema, defs, path) {
        return with_rules(described_as(flat, described), path);
    }
    let mut made = Map::new();
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let value = match keyword.as_str() {
            "type" => type_of(value),
            "properties" => properties(value, defs, path),
            "items" => structural(value, defs, &format!("{path}[]")),
            "additionalProperties" if value.is_object() => structural(value, defs, &format!("{path}{{}}")),
            // Those of Rust's numbers; the others (double, date-time) mean the same on an API server.
            "format" if value.as_str().is_some_and(|it| it.starts_with("uint")) => continue,
            // An empty default says nothing, and `null` is none.
            "default" if !value.is_number() => continue,
            keyword if DROPPED.contains(&keyword) => continue,
            _ => value.clone(),
        };
        made.insert(keyword.clone(), value);
    }
    with_rules(described_as(Json::Object(made), described), path)
}

fn resolved<'s>(schema: &'s Json, defs: &'s Json) -> &'s Json {
    match schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
        Some(name) => &defs[name],
        None => schema,
    }
}

/// Alternatives: of an optional type the type, of an enumeration its values, of a number or a text the form that
/// Kubernetes has for it, of a mapping or a short text the mapping.
fn flattened(schema: &Json, defs: &Json, path: &str) -> Option<Json> {
    let branches = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array())?;
    let branches: Vec<&Json> = branches.iter().filter(|it| it["type"] != "null").collect();
    if branches.iter().all(|it| it["const"].is_string()) {
        let values: Vec<&Json> = branches.iter().map(|it| &it["const"]).collect();
        let lines: Vec<String> = branches.iter().filter_map(|it| explained(it)).collect();
        let text = [schema["description"].as_str().unwrap_or_default(), &lines.join(" ")].join(" ");
        return Some(json!({ "type": "string", "enum": values, "description": text.trim() }));
    }
    let types: Vec<&str> = branches.iter().filter_map(|it| resolved(it, defs)["type"].as_str()).collect();
    if types.contains(&"number") && types.contains(&"string") {
        let text = schema["description"].as_str().unwrap_or_default();
        return Some(json!({ "x-kubernetes-int-or-string": true, "description": text }));
    }
    let object = branches.iter().find(|it| resolved(it, defs)["type"] == "object");
    object.or(branches.first()).map(|it| structural(it, defs, path))
}

/// `Observe: decide and record.`
fn explained(branch: &Json) -> Option<String> {
    Some(format!("{}: {}", branch["const"].as_str()?, branch["description"].as_str()?))
}

fn type_of(value: &Json) -> Json {
    let first = value.as_array().and_then(|all| all.iter().find(|it| *it != "null"));
    first.unwrap_or(value).clone()
}

fn properties(value: &Json, defs: &Json, path: &str) -> Json {
    let each = value.as_object().into_iter().flatten();
    Json::Object(
        each.map(|(name, it)| (name.clone(), structural(it, defs, &format!("{path}.{name}")))).collect(),
    )
}

/// The description at the place of use says more than that of the type.
fn described_as(mut schema: Json, description: Option<&str>) -> Json {
    if let Some(description) = description {
        schema["description"] = json!(description);
    }
    schema
}

fn with_rules(mut schema: Json, path: &str) -> Json {
    if let Some(shape) = rules::shape(path) {
        schema["pattern"] = json!(shape.pattern);
        schema["maxLength"] = json!(shape.chars_max);
    }
    let found = rules::at(path);
    if !found.is_empty() {
        let rule = |it: &Rule| json!({ "rule": it.cel, "message": format!("{} [{}]", it.message, it.code) });
        schema["x-kubernetes-validations"] = found.iter().map(|it| rule(it)).collect();
    }
    schema
}
