//! Encrypts a file that is in the clear. Its text, the recipients and the rule come in; the same text with
//! every value the rule names replaced by its ciphertext, and the `sops` block added, goes out. What is not
//! encrypted keeps every byte. Aliases, merge keys and comments of uncertain place are refused, because sops
//! would write them out in its own way.

use std::ops::Range;

use serde::Serialize as _;
use zeroize::Zeroizing;

use super::age_keys;
use super::cipher::{additional, seal};
use super::comments::column;
use super::edit::{Inputs, Nonces};
use super::error::SopsError;
use super::file::{SopsFile, parse};
use super::metadata_text::{self, NewBlock};
use super::rule::Rule;
use super::secret::{DataKey, Kind, Plaintext};
use super::shamir;
use super::store::Store;
use super::tree::{self, Leaf, Remark, Tree};
use super::value::Typed;
use super::{RECIPIENTS_MAX, mac};
use crate::yaml::{Document, NodeKind};

/// For whom and what is encrypted.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// age recipients by key group. With more than one group the data key is split among them.
    pub groups: Vec<Vec<String>>,
    /// How many groups are needed; all of them when `None`.
    pub threshold: Option<usize>,
    pub rule: Rule,
    pub mac_only_encrypted: bool,
}

/// Replace these bytes by this text.
type Splice = (Range<usize>, String);

/// Encrypts a whole file.
///
/// # Errors
/// [`SopsError::AlreadySops`], [`SopsError::Recipient`], or what sops would not read back; then nothing is
/// returned.
pub fn encrypt(
    store: Store,
    source: &[u8],
    recipe: &Recipe,
    inputs: &mut Inputs<'_>,
) -> Result<Vec<u8>, SopsError> {
    let (text, documents) = parse(store, source)?;
    check_documents(store, &text, &documents)?;
    let tree = tree::walk(store, &text, &documents, &recipe.rule)?;
    let time = inputs.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut nonces = Nonces::new(inputs.random);
    let key = DataKey(Zeroizing::new(nonces.next()?));

    let mut splices = seal_tree(store, &text, &tree, &recipe.rule, &key, &mut nonces)?;
    let values: Vec<Option<&Plaintext>> = tree.leaves.iter().map(value).collect();
    let pairs = tree.leaves.iter().map(|leaf| leaf.sealed).zip(values.iter().copied());
    let mac = Plaintext::text(&mac::compute(recipe.mac_only_encrypted, pairs));
    let mac = seal(&mac, &key, &time, nonces.next()?).ok_or(SopsError::Random)?;
    let (groups, threshold) = envelopes(recipe, &key, &mut nonces)?;
    let block = NewBlock {
        groups,
        threshold,
        rule: &recipe.rule,
        mac_only_encrypted: recipe.mac_only_encrypted,
        last_modified: &time,
        mac: &mac,
    };
    for (index, document) in documents.iter().enumerate() {
        if let NodeKind::Map(entries) = &document.root.kind {
            splices.push(match store {
                Store::Json => json_block(&text, document, entries.is_empty(), &block)?,
                _ => yaml_block(&text, &documents, index, &block),
            });
        }
    }
    let bytes = splice(&text, splices)?.into_bytes();
    prove(store, &bytes, key, &values)?;
    Ok(bytes)
}

fn value(leaf: &Leaf) -> Option<&Plaintext> {
    match &leaf.typed {
        Typed::Value(value) => Some(value),
        Typed::Null => None,
    }
}

fn check_documents(store: Store, source: &str, documents: &[Document]) -> Result<(), SopsError> {
    let refuse = |line, reason| Err(SopsError::Tree { line, reason });
    for (index, document) in documents.iter().enumerate() {
        let root = &document.root;
        if root.as_map().any(|(key, _)| key.text() == Some("sops")) {
            return Err(SopsError::AlreadySops);
        }
        if index == 0 && !matches!(root.kind, NodeKind::Map(_)) {
            return refuse(root.line, "the first document must be a mapping");
        }
        let braces = tree::is_flow(source, root) || root.as_map().next().is_none();
        if store != Store::Json && matches!(root.kind, NodeKind::Map(_)) && braces {
            return refuse(root.line, "a YAML document in braces has no place for the sops block");
        }
        let first = root.as_map().next().filter(|_| store != Store::Json);
        if first.is_some_and(|(key, _)| column(source, key.span.start) != 0) {
            return refuse(root.line, "the document's first key is indented");
        }
    }
    if documents.is_empty() { refuse(1, "the file is empty") } else { Ok(()) }
}

fn seal_tree(
    store: Store,
    source: &str,
    tree: &Tree,
    rule: &Rule,
    key: &DataKey,
    nonces: &mut Nonces<'_>,
) -> Result<Vec<Splice>, SopsError> {
    let mut splices: Vec<Splice> = Vec::new();
    for leaf in tree.leaves.iter().filter(|leaf| leaf.sealed) {
        let Some(value) = value(leaf).filter(|value| !value.bytes.is_empty()) else { continue };
        let text = seal(value, key, &additional(&leaf.keys), nonces.next()?).ok_or(SopsError::Random)?;
        let quoted = leaf.flow || store == Store::Json;
        let start = if leaf.tagged { tag_start(source, leaf) } else { leaf.span.start };
        splices.push((start..leaf.span.end, if quoted { format!("\"{text}\"") } else { text }));
    }
    for remark in &tree.remarks {
        let text = &source[remark.span.start + 1..remark.span.end];
        let text = match remark.sealed && !text.is_empty() {
            true => seal_comment(remark, text, rule, key, nonces)?,
            false => text.to_owned(),
        };
        match splices.iter_mut().find(|(range, _)| range.contains(&remark.span.start)) {
            // Behind the header of a block scalar, which is gone now.
            Some((_, value)) => value.push_str(&format!(" #{text}")),
            None => splices.push((remark.span.start + 1..remark.span.end, text)),
        }
    }
    Ok(splices)
}

fn seal_comment(
    remark: &Remark,
    text: &str,
    rule: &Rule,
    key: &DataKey,
    nonces: &mut Nonces<'_>,
) -> Result<String, SopsError> {
    if !remark.certain {
        return Err(SopsError::Comment { line: remark.line });
    }
    let value = Plaintext::new(Kind::Comment, text.as_bytes());
    let text = seal(&value, key, &additional(&remark.keys), nonces.next()?).ok_or(SopsError::Random)?;
    if rule.field() == "unencrypted_comment_regex" && rule.marks(&text) {
        let reason = "the rule's pattern matches an encrypted comment, which sops then takes for a switch";
        return Err(SopsError::Tree { line: remark.line, reason });
    }
    Ok(text)
}

/// The tag would say another type than the ciphertext has, so it goes with the value.
fn tag_start(source: &str, leaf: &Leaf) -> usize {
    let before = source[..leaf.span.start].trim_end();
    let start = before.rfind(|c: char| c.is_whitespace() || c == ',' || c == '[').map_or(0, |at| at + 1);
    if before[start..].starts_with('!') { start } else { leaf.span.start }
}

/// Envelopes of a data key: (recipient, armored age file) by group.
type Envelopes = Vec<Vec<(String, String)>>;

fn envelopes(
    recipe: &Recipe,
    key: &DataKey,
    nonces: &mut Nonces<'_>,
) -> Result<(Envelopes, usize), SopsError> {
    let groups = &recipe.groups;
    let count: usize = groups.iter().map(Vec::len).sum();
    if count > RECIPIENTS_MAX || groups.is_empty() || groups.iter().any(Vec::is_empty) {
        return Err(SopsError::Shares { reason: "every group needs a recipient, and there is a limit" });
    }
    let threshold = recipe.threshold.unwrap_or(groups.len());
    let shares = if groups.len() == 1 {
        vec![Zeroizing::new(key.0.to_vec())]
    } else {
        let mut pool: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::new());
        let mut coefficients = || {
            if pool.is_empty() {
                pool.extend(nonces.next().ok()?);
            }
            pool.pop()
        };
        shamir::split(&*key.0, groups.len(), threshold, &mut coefficients)?
    };
    let wrapped = groups.iter().zip(&shares).map(|(group, share)| {
        let wrap = |recipient: &String| Ok((recipient.clone(), age_keys::wrap(recipient, share)?));
        group.iter().map(wrap).collect::<Result<Vec<_>, SopsError>>()
    });
    Ok((wrapped.collect::<Result<_, _>>()?, threshold))
}

fn yaml_block(source: &str, documents: &[Document], index: usize, block: &NewBlock<'_>) -> Splice {
    let at = tree::document_end(source, documents, index);
    let eol = if source.contains("\r\n") { "\r\n" } else { "\n" };
    let mut text = String::new();
    if !source[..at].ends_with('\n') {
        text.push_str(eol);
    }
    for line in metadata_text::yaml(block) {
        text.push_str(&line);
        text.push_str(eol);
    }
    (at..at, text)
}

fn json_block(
    source: &str,
    document: &Document,
    empty: bool,
    block: &NewBlock<'_>,
) -> Result<Splice, SopsError> {
    let root = &document.root;
    let value = metadata_text::json(block);
    let first = root.as_map().next().map_or(root.span.end, |(key, _)| key.span.start);
    let last = root.as_map().last().map_or(root.span.start + 1, |(_, value)| value.span.end);
    let line = &source[root.span.start + 1..first];
    let comma = if empty { "" } else { "," };
    let Some((_, margin)) = line.rsplit_once('\n').filter(|_| !empty) else {
        return Ok((last..last, format!("{comma}\"sops\":{value}")));
    };
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(margin.as_bytes());
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .map_err(SopsError::Json)?;
    let pretty = String::from_utf8_lossy(&bytes).replace('\n', &format!("\n{margin}"));
    Ok((last..last, format!("{comma}\n{margin}\"sops\": {pretty}")))
}

fn splice(source: &str, mut splices: Vec<Splice>) -> Result<String, SopsError> {
    splices.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = String::with_capacity(source.len() * 2);
    let mut at = 0;
    for (range, text) in &splices {
        let kept = source.get(at..range.start).ok_or(SopsError::Oracle { reason: "two changes overlap" })?;
        out.push_str(kept);
        out.push_str(text);
        at = range.end;
    }
    out.push_str(source.get(at..).unwrap_or(""));
    Ok(out)
}

fn prove(store: Store, bytes: &[u8], key: DataKey, values: &[Option<&Plaintext>]) -> Result<(), SopsError> {
    let read = SopsFile::read(store, bytes)?.unlock_with(key)?;
    let same = |(old, new): (&Option<&Plaintext>, &Option<Plaintext>)| match (old, new) {
        (Some(old), Some(new)) => old.same(new),
        (old, new) => old.is_none() && new.is_none(),
    };
    if read.values.len() == values.len() && values.iter().zip(&read.values).all(same) {
        Ok(())
    } else {
        Err(SopsError::Oracle { reason: "a value is not what it was" })
    }
}
