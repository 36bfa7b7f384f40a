//! Writes the `sops` block of a new file in the layout of sops 3.13: keys in alphabetical order, four columns
//! per level in YAML. Facts and envelopes come in, text goes out.

use serde_json::{Map, Value, json};

use super::FORMAT_VERSION;
use super::rule::Rule;

/// What a new block says.
#[derive(Debug)]
pub(super) struct NewBlock<'a> {
    /// (recipient, armored envelope) by group.
    pub groups: Vec<Vec<(String, String)>>,
    pub threshold: usize,
    pub rule: &'a Rule,
    pub mac_only_encrypted: bool,
    pub last_modified: &'a str,
    pub mac: &'a str,
}

/// The block as lines of YAML, the key `sops:` first.
pub(super) fn yaml(block: &NewBlock<'_>) -> Vec<String> {
    let mut lines = vec!["sops:".to_owned()];
    if let [group] = &block.groups[..] {
        lines.push("    age:".to_owned());
        lines.extend(yaml_group(group, 8));
    }
    // `encrypted_*` and `age` come before these, `mac*`, `shamir*`, `unencrypted_*` and `version` after.
    let rule = format!("    {}: {}", block.rule.field(), Value::from(block.rule.text()));
    let early = block.rule.field().starts_with("enc");
    if early {
        lines.push(rule.clone());
    }
    if block.groups.len() > 1 {
        lines.push("    key_groups:".to_owned());
        for group in &block.groups {
            lines.push("        - age:".to_owned());
            lines.extend(yaml_group(group, 12));
            lines.push("          hc_vault: []".to_owned());
        }
    }
    lines.push(format!("    lastmodified: \"{}\"", block.last_modified));
    lines.push(format!("    mac: {}", block.mac));
    if block.mac_only_encrypted {
        lines.push("    mac_only_encrypted: true".to_owned());
    }
    if block.groups.len() > 1 {
        lines.push(format!("    shamir_threshold: {}", block.threshold));
    }
    if !early {
        lines.push(rule);
    }
    lines.push(format!("    version: {FORMAT_VERSION}"));
    lines
}

fn yaml_group(group: &[(String, String)], columns: usize) -> Vec<String> {
    let margin = " ".repeat(columns);
    let mut lines = Vec::new();
    for (recipient, envelope) in group {
        lines.push(format!("{margin}- enc: |"));
        lines.extend(envelope.lines().map(|line| format!("{margin}    {line}")));
        lines.push(format!("{margin}  recipient: {recipient}"));
    }
    lines
}

/// The block as a JSON object.
pub(super) fn json(block: &NewBlock<'_>) -> Value {
    let group = |group: &Vec<(String, String)>| -> Value {
        group.iter().map(|(recipient, enc)| json!({ "enc": enc, "recipient": recipient })).collect()
    };
    let mut map = Map::new();
    if let [single] = &block.groups[..] {
        map.insert("age".to_owned(), group(single));
    } else {
        let groups = block.groups.iter().map(|it| json!({ "age": group(it), "hc_vault": [] }));
        map.insert("key_groups".to_owned(), groups.collect());
        map.insert("shamir_threshold".to_owned(), block.threshold.into());
    }
    map.insert(block.rule.field().to_owned(), block.rule.text().into());
    map.insert("lastmodified".to_owned(), block.last_modified.into());
    map.insert("mac".to_owned(), block.mac.into());
    if block.mac_only_encrypted {
        map.insert("mac_only_encrypted".to_owned(), true.into());
    }
    map.insert("version".to_owned(), FORMAT_VERSION.into());
    Value::Object(map)
}
