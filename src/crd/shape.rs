//! A document against a JSON schema, with every finding at its place in the file.
//! A tree and a schema come in, problems go out. Only the keywords that our own types produce are understood;
//! a test fails when the types begin to produce another one.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::problem::{PolicyProblem, Report, quoted};
use super::tree::{Entry, Node, Place, Value};

/// Keywords that [`check`] obeys or that say nothing about validity.
#[cfg(test)]
pub(super) const KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "properties",
    "required",
    "title",
    "type",
];

/// Everything in which `root` breaks `schema`.
pub(super) fn check(root: &Node, schema: &Json, report: &Report<'_>) -> Vec<PolicyProblem> {
    let mut walk = Walk { defs: &schema["$defs"], report, problems: Vec::new() };
    walk.node("the document", Place::START, root, schema);
    walk.problems
}

struct Walk<'a> {
    defs: &'a Json,
    report: &'a Report<'a>,
    problems: Vec<PolicyProblem>,
}

impl Walk<'_> {
    fn error(&mut self, code: &'static str, place: Place, message: String, help: String) {
        self.problems.push(self.report.error(code, place, message, help));
    }

    fn resolve<'s>(&'s self, schema: &'s Json) -> &'s Json {
        match schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
            Some(name) => &self.defs[name],
            None => schema,
        }
    }

    /// `field` is what the value is called in messages; `key` is where its key stands.
    fn node(&mut self, field: &str, key: Place, node: &Node, schema: &Json) {
        // Kubernetes drops nulls; `verify:` with nothing behind it is `verify` left out.
        if matches!(node.value, Value::Null) || self.problems.len() >= super::MAX_PROBLEMS {
            return;
        }
        let place = if matches!(node.value, Value::Map(_) | Value::List(_)) { key } else { node.place };
        if matches!(node.value, Value::Indirect) {
            let message = format!("`{field}` is an alias or carries a tag");
            return self.error("TARS-P004", place, message, "write the value itself".into());
        }
        let schema = self.resolve(schema).clone();
        if let Some(choices) = choices(&schema) {
            return self.choice(field, place, node, &choices);
        }
        for keyword in ["anyOf", "oneOf"] {
            let Some(branches) = schema[keyword].as_array() else { continue };
            let resolved: Vec<Json> = branches.iter().map(|it| self.resolve(it).clone()).collect();
            let found = resolved.iter().find(|it| accepts_type(it, &node.value));
            // With no fitting branch, the first one gives the best description of what was expected.
            let Some(branch) = found.or_else(|| resolved.first()) else { return };
            return self.node(field, key, node, branch);
        }
        if !accepts_type(&schema, &node.value) {
            let message = format!("`{field}` is {}, expected {}", described(&node.value), expected(&schema));
            return self.error("TARS-P012", place, message, type_help(&schema, &node.value));
        }
        match &node.value {
            Value::Map(entries) => self.map(field, key, entries, &schema),
            Value::List(nodes) => self.list(field, key, nodes, &schema),
            Value::Number(number) => self.number(field, place, number, &schema),
            Value::Text(text) => {
                self.length(field, place, text.chars().count(), ["minLength", "maxLength"], &schema);
            }
            _ => {}
        }
    }

    fn map(&mut self, field: &str, key: Place, entries: &[Entry], schema: &Json) {
        let mut seen = BTreeSet::new();
        for entry in entries {
            if self.problems.len() >= super::MAX_PROBLEMS {
                return;
            }
            if !seen.insert(entry.key.as_str()) {
                let message = format!("`{}` stands twice in the same mapping", quoted(&entry.key));
                self.error("TARS-P003", entry.key_place, message, "remove one of them".into());
            } else if let Some(child) = schema["properties"].get(&entry.key) {
                self.node(&entry.key, entry.key_place, &entry.node, child);
            } else if schema["additionalProperties"].is_object() {
                let name = quoted(&entry.key);
                self.node(&name, entry.key_place, &entry.node, &schema["additionalProperties"]);
            } else {
                let known = schema["properties"].as_object();
                let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                let message = format!("unknown field `{}`", quoted(&entry.key));
                self.error("TARS-P021", entry.key_place, message, suggestion(&entry.key, &known));
            }
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            let given = entries.iter().any(|it| it.key == required && !matches!(it.node.value, Value::Null));
            if !given {
                let message =
                    format!("{field} has no `{required}`").replace("the document has", "the policy has");
                self.error("TARS-P011", key, message, format!("add `{required}:`"));
            }
        }
    }

    fn list(&mut self, field: &str, key: Place, nodes: &[Node], schema: &Json) {
        self.length(field, key, nodes.len(), ["minItems", "maxItems"], schema);
        let items = &schema["items"];
        let name = format!("an entry of {field}");
        for node in nodes {
            if matches!(node.value, Value::Null) {
                self.error("TARS-P012", node.place, format!("{name} is empty"), "remove the dash".into());
            } else {
                self.node(&name, node.place, node, items);
            }
        }
    }

    fn number(&mut self, field: &str, place: Place, number: &serde_json::Number, schema: &Json) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        let (low, high) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if low.is_some_and(|low| value < low) || high.is_some_and(|high| value > high) {
            let help = match (low, high) {
                (Some(low), Some(high)) => format!("between {low} and {high}"),
                (Some(low), None) => format!("at least {low}"),
                (_, high) => format!("at most {}", high.unwrap_or_default()),
            };
            self.error("TARS-P014", place, format!("`{field}` is {number}, outside its bounds"), help);
        }
    }

    fn length(&mut self, field: &str, place: Place, length: usize, keywords: [&str; 2], schema: &Json) {
        let [low, high] = keywords.map(|it| schema[it].as_u64());
        let length = length as u64;
        if low.is_some_and(|low| length < low) {
            self.error("TARS-P014", place, format!("`{field}` is empty"), "at least one is needed".into());
        } else if let Some(high) = high.filter(|high| length > *high) {
            self.error(
                "TARS-P014",
                place,
                format!("`{field}` has length {length}"),
                format!("at most {high}"),
            );
        }
    }

    fn choice(&mut self, field: &str, place: Place, node: &Node, choices: &[String]) {
        let text = match &node.value {
            Value::Text(text) => text.as_str(),
            other => described(other),
        };
        if !choices.iter().any(|it| it == text) {
            let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
            let message = format!("`{field}` cannot be `{}`", quoted(text));
            self.error("TARS-P013", place, message, suggestion(text, &choices));
        }
    }
}

/// The texts a schema allows, when it is a plain enumeration.
fn choices(schema: &Json) -> Option<Vec<String>> {
    if let Some(values) = schema["enum"].as_array() {
        return Some(values.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect());
    }
    if let Some(only) = schema["const"].as_str() {
        return Some(vec![only.to_owned()]);
    }
    let branches = schema["oneOf"].as_array()?;
    branches.iter().map(|it| it["const"].as_str().map(str::to_owned)).collect()
}

/// The JSON types a schema allows; an enumeration is text.
fn types(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(name) => vec![name],
        Json::Array(names) => names.iter().filter_map(Json::as_str).filter(|it| *it != "null").collect(),
        _ if choices(schema).is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

fn accepts_type(schema: &Json, value: &Value) -> bool {
    types(schema).into_iter().any(|name| match value {
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => name == "number" || (name == "integer" && !number.is_f64()),
        Value::Text(_) => name == "string",
        Value::List(_) => name == "array",
        Value::Map(_) => name == "object",
        Value::Null | Value::Indirect => false,
    })
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
        Value::Indirect => "an alias",
    }
}

fn expected(schema: &Json) -> &'static str {
    match types(schema).first() {
        Some(&"boolean") => "true or false",
        Some(&"integer") => "a whole number",
        Some(&"number") => "a number",
        Some(&"array") => "a list",
        Some(&"object") => "a mapping",
        _ => "text",
    }
}

fn type_help(schema: &Json, value: &Value) -> String {
    let help = match (types(schema).first().copied(), value) {
        (Some("string"), Value::Number(_) | Value::Bool(_)) => {
            "put it in quotes; a duration needs its unit, as in 90s"
        }
        (Some("integer" | "number"), Value::Text(_)) => "write digits, without quotes and without a unit",
        (Some("boolean"), _) => "write true or false, without quotes",
        (Some("array"), _) => "write a list: one `- ` per entry",
        (Some("object"), _) => "write its fields below it, indented",
        _ => return format!("write {}", expected(schema)),
    };
    help.into()
}

/// `did you mean ...?` when one of `known` is close, else the list.
fn suggestion(given: &str, known: &[&str]) -> String {
    let given = given.to_ascii_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &name.to_ascii_lowercase());
    let near = known.iter().map(|name| (distance(name), *name)).min();
    match near {
        // A third of the letters may be wrong; beyond that a suggestion only distracts.
        Some((wrong, name)) if wrong <= (name.len() / 3).max(1) => format!("did you mean `{name}`?"),
        _ => format!("one of: {}", known.join(", ")),
    }
}
