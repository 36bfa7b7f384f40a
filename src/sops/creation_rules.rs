//! `.sops.yaml`: which recipients and which rule a file of a path should have. The text of the configuration
//! comes in; the rule for a path, and what a file does differently, go out.
//!
//! The first rule whose `path_regex` finds something in the path, as seen from the configuration's folder,
//! applies. The configuration is read with libyaml, because anchors and aliases are usual in it.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::error::SopsError;
use super::file::SopsFile;
use super::metadata::{KeyGroup, Recipient};
use super::pattern::Pattern;
use super::rule::{FIELDS, Rule};
use crate::yaml::MAX_SOURCE_BYTES;

/// Deepest nesting of `merge` in a key group.
const MERGE_DEPTH_MAX: usize = 8;

/// The creation rules of one configuration file.
#[derive(Debug)]
pub struct CreationRules {
    pub rules: Vec<CreationRule>,
}

/// What files of some paths should be like.
#[derive(Debug)]
pub struct CreationRule {
    path: Option<Pattern>,
    /// Recipients by key group.
    pub groups: Vec<BTreeSet<Recipient>>,
    /// How many groups are needed.
    pub threshold: usize,
    pub rule: Rule,
    pub mac_only_encrypted: bool,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    creation_rules: Option<Vec<RawRule>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawRule {
    path_regex: Option<String>,
    age: Option<Keys>,
    pgp: Option<Keys>,
    kms: Option<Keys>,
    gcp_kms: Option<Keys>,
    hckms: Option<Keys>,
    azure_keyvault: Option<Keys>,
    hc_vault_transit_uri: Option<Keys>,
    key_groups: Option<Vec<RawGroup>>,
    shamir_threshold: Option<usize>,
    unencrypted_suffix: Option<String>,
    encrypted_suffix: Option<String>,
    unencrypted_regex: Option<String>,
    encrypted_regex: Option<String>,
    unencrypted_comment_regex: Option<String>,
    encrypted_comment_regex: Option<String>,
    mac_only_encrypted: Option<bool>,
}

/// Keys as a list, or as text with commas.
#[derive(Deserialize)]
#[serde(untagged)]
enum Keys {
    Text(String),
    List(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawGroup {
    merge: Vec<RawGroup>,
    age: Vec<String>,
    pgp: Vec<String>,
    kms: Vec<RawKey>,
    gcp_kms: Vec<RawKey>,
    hckms: Vec<RawKey>,
    azure_keyvault: Vec<RawKey>,
    hc_vault: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawKey {
    arn: Option<String>,
    resource_id: Option<String>,
    key_id: Option<String>,
    #[serde(rename = "vaultUrl")]
    vault_url: Option<String>,
    key: Option<String>,
}

impl Keys {
    fn list(self) -> Vec<String> {
        match self {
            Self::List(keys) => keys,
            Self::Text(text) => {
                text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
            }
        }
    }
}

impl CreationRules {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When it is not valid, a pattern cannot be used, or a recipient is none.
    pub fn parse(source: &[u8]) -> Result<Self, SopsError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(wrong("creation_rules", format!("larger than {MAX_SOURCE_BYTES} bytes")));
        }
        let raw: RawFile =
            yaml_serde::from_slice(source).map_err(|error| wrong("creation_rules", error.to_string()))?;
        let rules = raw.creation_rules.unwrap_or_default();
        let read = |(index, rule): (usize, RawRule)| {
            rule.read().map_err(|error| wrong(&format!("creation_rules[{index}]"), error.to_string()))
        };
        Ok(Self { rules: rules.into_iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// The rule for a path as seen from the configuration's folder, with its index.
    #[must_use]
    pub fn for_path(&self, path: &str) -> Option<(usize, &CreationRule)> {
        let fits = |rule: &CreationRule| rule.path.as_ref().is_none_or(|pattern| pattern.finds(path));
        self.rules.iter().enumerate().find(|(_, rule)| fits(rule))
    }
}

fn wrong(field: &str, reason: String) -> SopsError {
    SopsError::Metadata { field: field.to_owned(), reason }
}

impl RawRule {
    fn read(mut self) -> Result<CreationRule, SopsError> {
        let texts = [
            self.unencrypted_suffix.take(),
            self.encrypted_suffix.take(),
            self.unencrypted_regex.take(),
            self.encrypted_regex.take(),
            self.unencrypted_comment_regex.take(),
            self.encrypted_comment_regex.take(),
        ];
        let given: Vec<(&str, String)> = FIELDS
            .into_iter()
            .zip(texts)
            .filter_map(|(field, text)| Some((field, text.filter(|text| !text.is_empty())?)))
            .collect();
        let rule = match &given[..] {
            [] => Rule::default(),
            [(field, text)] => Rule::new(field, text)?,
            [_, (field, _), ..] => return Err(wrong(field, "a file has only one rule".to_owned())),
        };
        let path = self.path_regex.take().filter(|text| !text.is_empty());
        let path = path.map(|text| Pattern::new("path_regex", &text)).transpose()?;
        let (threshold, mac_only_encrypted) =
            (self.shamir_threshold, self.mac_only_encrypted.unwrap_or(false));
        let groups = self.groups()?;
        let threshold = match threshold.filter(|it| *it > 0) {
            Some(threshold) if groups.len() > 1 => threshold,
            _ => groups.len(),
        };
        Ok(CreationRule { path, groups, threshold, rule, mac_only_encrypted })
    }

    fn groups(self) -> Result<Vec<BTreeSet<Recipient>>, SopsError> {
        if let Some(groups) = self.key_groups.filter(|groups| !groups.is_empty()) {
            return groups.into_iter().map(|group| group.recipients(0)).collect();
        }
        let mut group = BTreeSet::new();
        for name in self.age.map(Keys::list).unwrap_or_default() {
            group.insert(Recipient::age(&name)?);
        }
        let services = [
            ("pgp", self.pgp),
            ("aws-kms", self.kms),
            ("gcp-kms", self.gcp_kms),
            ("hc-kms", self.hckms),
            ("azure-kv", self.azure_keyvault),
            ("hc-vault", self.hc_vault_transit_uri),
        ];
        for (kind, keys) in services {
            let keys = keys.map(Keys::list).unwrap_or_default();
            group.extend(keys.iter().map(|key| service(kind, key)));
        }
        Ok(vec![group])
    }
}

/// A key of a service under the name that the file's stanza gives it.
fn service(kind: &str, key: &str) -> Recipient {
    let name = match kind {
        "pgp" => key.replace(' ', ""),
        // The role behind the key is how to reach it, not who it is.
        "aws-kms" => key.split('+').next().unwrap_or(key).to_owned(),
        // The version of a key may be left out, so it never counts.
        "azure-kv" => match key.split_once("/keys/") {
            Some((vault, rest)) => format!("{vault}/keys/{}", rest.split('/').next().unwrap_or(rest)),
            None => key.to_owned(),
        },
        _ => key.to_owned(),
    };
    Recipient { kind: kind.to_owned(), name }
}

impl RawGroup {
    fn recipients(self, depth: usize) -> Result<BTreeSet<Recipient>, SopsError> {
        if depth > MERGE_DEPTH_MAX {
            return Err(wrong("merge", format!("nested deeper than {MERGE_DEPTH_MAX}")));
        }
        let mut group = BTreeSet::new();
        for inner in self.merge {
            group.extend(inner.recipients(depth + 1)?);
        }
        for name in self.age.into_iter().flat_map(|text| Keys::Text(text).list()) {
            group.insert(Recipient::age(&name)?);
        }
        group.extend(self.pgp.iter().map(|key| service("pgp", key)));
        group.extend(self.hc_vault.iter().map(|key| service("hc-vault", key)));
        group.extend(self.kms.into_iter().filter_map(|key| Some(service("aws-kms", &key.arn?))));
        group.extend(self.gcp_kms.into_iter().filter_map(|key| Some(service("gcp-kms", &key.resource_id?))));
        group.extend(self.hckms.into_iter().filter_map(|key| Some(service("hc-kms", &key.key_id?))));
        let azure = self.azure_keyvault.into_iter();
        group.extend(
            azure.filter_map(|key| {
                Some(service("azure-kv", &format!("{}/keys/{}", key.vault_url?, key.key?)))
            }),
        );
        Ok(group)
    }
}

impl CreationRule {
    /// What a file does differently from the rule, one sentence each; empty when it follows the rule.
    #[must_use]
    pub fn breaches(&self, file: &SopsFile) -> Vec<String> {
        let metadata = file.metadata();
        let found = metadata.recipients();
        let wanted: BTreeSet<Recipient> = self.groups.iter().flatten().cloned().collect();
        let mut breaches = Vec::new();
        breaches.extend(
            found.difference(&wanted).map(|it| format!("{it} can read it, and the rule does not say so")),
        );
        breaches.extend(
            wanted.difference(&found).map(|it| format!("{it} should be able to read it, and cannot")),
        );
        let sets = |groups: &[KeyGroup]| -> BTreeSet<BTreeSet<Recipient>> {
            groups.iter().map(|group| group.recipients.iter().cloned().collect()).collect()
        };
        let grouped = sets(&metadata.groups) == self.groups.iter().cloned().collect();
        if breaches.is_empty() && (!grouped || metadata.threshold != self.threshold) {
            breaches.push("its key groups or their threshold are not those of the rule".to_owned());
        }
        if metadata.rule != self.rule {
            let (is, should) = (&metadata.rule, &self.rule);
            breaches.push(format!(
                "it encrypts by {} {:?}, and the rule says {} {:?}",
                is.field(),
                is.text(),
                should.field(),
                should.text()
            ));
        }
        if metadata.mac_only_encrypted != self.mac_only_encrypted {
            breaches.push(format!("its mac_only_encrypted is {}", metadata.mac_only_encrypted));
        }
        breaches
    }
}
