//! The `sops` block of a file: who can read it, what is encrypted, the MAC and its time. The block's node
//! comes in; facts, or the first thing that is not as sops 3.13 writes it, go out. Stanzas of key services
//! are named and otherwise left as they are.

use std::collections::BTreeSet;
use std::fmt;

use super::age_keys::recipient_kind;
use super::error::SopsError;
use super::rule::{FIELDS, Rule};
use super::secret::Kind;
use super::store::Store;
use super::time;
use super::tree::typed;
use super::value::Typed;
use super::{ENVELOPE_BYTES_MAX, RECIPIENTS_MAX};
use crate::yaml::{Node, NodeKind};

/// A list of a key group: the field, the recipient's kind, and the fields that name a recipient with what
/// stands before each.
type Service = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const SERVICES: [Service; 6] = [
    ("pgp", "pgp", &[("", "fp")]),
    ("kms", "aws-kms", &[("", "arn")]),
    ("gcp_kms", "gcp-kms", &[("", "resource_id")]),
    ("hckms", "hc-kms", &[("", "key_id")]),
    ("azure_kv", "azure-kv", &[("", "vault_url"), ("/keys/", "name")]),
    ("hc_vault", "hc-vault", &[("", "vault_address"), ("/v1/", "engine_path"), ("/keys/", "key_name")]),
];

/// Somebody who can read a file: a kind (`age`, `ssh`, `pgp`, `aws-kms`, ...) and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient {
    pub kind: String,
    pub name: String,
}

impl Recipient {
    /// Reads an age or SSH recipient.
    ///
    /// # Errors
    /// [`SopsError::Recipient`] when it is neither.
    pub fn age(name: &str) -> Result<Self, SopsError> {
        match recipient_kind(name) {
            Some(kind) => Ok(Self { kind: kind.to_owned(), name: name.to_owned() }),
            None => Err(SopsError::Recipient { recipient: name.to_owned() }),
        }
    }

    /// Reads what [`Recipient`]'s Display writes: an age or SSH recipient, or `kind:name` for a key service.
    ///
    /// # Errors
    /// [`SopsError::Recipient`], also for plugins and other keys that age alone knows: no file of such a recipient
    /// is ever changed.
    pub fn parse(text: &str) -> Result<Self, SopsError> {
        let refused = || SopsError::Recipient { recipient: text.to_owned() };
        if let Some((kind, name)) = text.split_once(':')
            && SERVICES.iter().any(|(_, known, _)| *known == kind)
        {
            let good = !name.is_empty() && !name.contains(char::is_control);
            return good.then(|| Self { kind: kind.to_owned(), name: name.to_owned() }).ok_or_else(refused);
        }
        Self::age(text).ok().filter(|it| matches!(it.kind.as_str(), "age" | "ssh")).ok_or_else(refused)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.as_str() {
            "age" | "age-pq" | "age-plugin" | "ssh" => f.write_str(&self.name),
            kind => write!(f, "{kind}:{}", self.name),
        }
    }
}

/// Recipients of whom each one alone opens the group's share of the data key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyGroup {
    pub recipients: Vec<Recipient>,
    /// The armored age envelopes, in step with the age and SSH recipients.
    pub(super) envelopes: Vec<String>,
}

/// What the `sops` block says.
#[derive(Debug, Clone)]
pub struct Metadata {
    pub groups: Vec<KeyGroup>,
    /// How many groups are needed; 1 when there is one group.
    pub threshold: usize,
    pub rule: Rule,
    pub mac_only_encrypted: bool,
    /// When the MAC was made, RFC 3339.
    pub last_modified: String,
    pub(super) mac: String,
}

impl Metadata {
    /// Everybody who holds a key of any group.
    #[must_use]
    pub fn recipients(&self) -> BTreeSet<Recipient> {
        self.groups.iter().flat_map(|group| group.recipients.iter().cloned()).collect()
    }

    pub(super) fn parse(store: Store, source: &str, node: &Node) -> Result<Self, SopsError> {
        let block = Block { store, source, place: String::new(), node };
        let known = |name: &str| {
            matches!(
                name,
                "age"
                    | "key_groups"
                    | "shamir_threshold"
                    | "lastmodified"
                    | "mac"
                    | "mac_only_encrypted"
                    | "version"
                    // A notice to readers that the first versions of sops wrote.
                    | "attention"
            ) || FIELDS.contains(&name)
                || SERVICES.iter().any(|(field, ..)| *field == name)
        };
        block.only(known)?;
        let groups = block.groups()?;
        let rules: Vec<(&str, String)> = FIELDS
            .into_iter()
            .filter_map(|field| Some((field, block.optional(field).transpose()?)))
            .map(|(field, text)| Ok((field, text?)))
            .collect::<Result<_, SopsError>>()?;
        let rule = match &rules[..] {
            [] => Rule::default(),
            [(field, text)] => Rule::new(field, text)?,
            [_, (field, _), ..] => return Err(wrong(field, "a file has only one rule")),
        };
        let last_modified = time::rfc3339(&block.text("lastmodified")?)
            .ok_or_else(|| wrong("lastmodified", "not a time of the form 2006-01-02T15:04:05Z"))?;
        if !is_version(&block.text("version")?) {
            return Err(wrong("version", "not a version"));
        }
        let mac_only_encrypted = match block.node.get("mac_only_encrypted").map(|node| block.typed(node)) {
            None => false,
            Some(Ok(Typed::Value(it))) if it.kind == Kind::Bool => it.expose() == b"True",
            Some(_) => return Err(wrong("mac_only_encrypted", "must be true or false")),
        };
        let threshold = block.threshold(groups.len())?;
        let mac = block.text("mac")?;
        Ok(Self { groups, threshold, rule, mac_only_encrypted, last_modified, mac })
    }
}

/// `3.13.3`, also with a leading `v`, a pre-release or a build.
fn is_version(text: &str) -> bool {
    let core = text.strip_prefix('v').unwrap_or(text).split(['-', '+']).next().unwrap_or("");
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()))
}

fn wrong(field: &str, reason: impl Into<String>) -> SopsError {
    SopsError::Metadata { field: field.to_owned(), reason: reason.into() }
}

/// A mapping of the block, with its place for messages.
struct Block<'a> {
    store: Store,
    source: &'a str,
    place: String,
    node: &'a Node,
}

impl<'a> Block<'a> {
    fn field(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    fn wrong(&self, name: &str, reason: impl Into<String>) -> SopsError {
        wrong(&self.field(name), reason)
    }

    fn only(&self, known: impl Fn(&str) -> bool) -> Result<(), SopsError> {
        if !matches!(self.node.kind, NodeKind::Map(_)) {
            return Err(wrong(&self.place, "must be a mapping"));
        }
        for (key, _) in self.node.as_map() {
            let name = key.text().unwrap_or_default();
            if !known(name) {
                let reason = "sops 3.13 has no such field; the file may need a newer program";
                return Err(self.wrong(name, reason));
            }
            if self.node.get(name).is_none() {
                return Err(self.wrong(name, "is there twice"));
            }
        }
        Ok(())
    }

    fn typed(&self, node: &Node) -> Result<Typed, &'static str> {
        typed(self.store, self.source, node)
    }

    /// A string; absent, null and empty are the same, as in sops.
    fn optional(&self, name: &str) -> Result<Option<String>, SopsError> {
        let Some(node) = self.node.get(name) else { return Ok(None) };
        match self.typed(node) {
            Ok(Typed::Null) => Ok(None),
            Ok(Typed::Value(it)) if it.kind == Kind::Text => {
                let text =
                    String::from_utf8(it.expose().to_vec()).map_err(|_| self.wrong(name, "not UTF-8"))?;
                Ok(Some(text).filter(|text| !text.is_empty()))
            }
            _ => Err(self.wrong(name, "must be a string (a time needs quotes)")),
        }
    }

    fn text(&self, name: &str) -> Result<String, SopsError> {
        self.optional(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn items(&self, name: &str) -> Result<Vec<Block<'a>>, SopsError> {
        let Some(node) = self.node.get(name) else { return Ok(Vec::new()) };
        if node.is_null() {
            return Ok(Vec::new());
        }
        if !matches!(node.kind, NodeKind::List(_)) {
            return Err(self.wrong(name, "must be a list"));
        }
        let block = |(index, node)| Block {
            store: self.store,
            source: self.source,
            place: format!("{}[{index}]", self.field(name)),
            node,
        };
        Ok(node.as_list().enumerate().map(block).collect())
    }

    fn groups(&self) -> Result<Vec<KeyGroup>, SopsError> {
        let single = self.group()?;
        let several = self.items("key_groups")?;
        let groups = match (single.recipients.is_empty(), several.is_empty()) {
            (false, true) => vec![single],
            (true, false) => several
                .iter()
                .map(|block| {
                    block.only(|name| name == "age" || SERVICES.iter().any(|(field, ..)| *field == name))?;
                    block.group()
                })
                .collect::<Result<_, _>>()?,
            (true, true) => return Err(self.wrong("age", "the file has no recipient at all")),
            (false, false) => return Err(self.wrong("key_groups", "recipients stand in groups and outside")),
        };
        if groups.iter().map(|group| group.recipients.len()).sum::<usize>() > RECIPIENTS_MAX {
            return Err(self.wrong("age", format!("more than {RECIPIENTS_MAX} recipients")));
        }
        Ok(groups)
    }

    fn group(&self) -> Result<KeyGroup, SopsError> {
        let mut group = KeyGroup::default();
        for block in self.items("age")? {
            block.only(|name| matches!(name, "enc" | "recipient"))?;
            let recipient = Recipient::age(&block.text("recipient")?)
                .map_err(|_| block.wrong("recipient", "not an age recipient"))?;
            let envelope = block.text("enc")?;
            if envelope.len() > ENVELOPE_BYTES_MAX {
                return Err(block.wrong("enc", format!("longer than {ENVELOPE_BYTES_MAX} bytes")));
            }
            group.recipients.push(recipient);
            group.envelopes.push(envelope);
        }
        for (field, kind, names) in SERVICES {
            for block in self.items(field)? {
                block.only(|_| true)?;
                let part = |(before, name): &(&str, &str)| Ok(format!("{before}{}", block.text(name)?));
                let name = names.iter().map(part).collect::<Result<String, SopsError>>()?;
                group.recipients.push(Recipient { kind: kind.to_owned(), name });
            }
        }
        Ok(group)
    }

    fn threshold(&self, groups: usize) -> Result<usize, SopsError> {
        let given = match self.node.get("shamir_threshold").map(|node| self.typed(node)) {
            None | Some(Ok(Typed::Null)) => None,
            Some(Ok(Typed::Value(it))) if it.kind == Kind::Int => {
                std::str::from_utf8(it.expose()).ok().and_then(|text| text.parse::<usize>().ok())
            }
            Some(_) => return Err(self.wrong("shamir_threshold", "must be a number")),
        };
        match given.filter(|given| *given > 0) {
            _ if groups == 1 => Ok(1),
            None => Ok(groups),
            Some(given) if (2..=groups).contains(&given) => Ok(given),
            Some(_) => {
                Err(self.wrong("shamir_threshold", "must be at least 2 and at most the number of groups"))
            }
        }
    }
}
