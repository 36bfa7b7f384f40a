//! The proof after every edit: both parsers read the file before and after, and only the addressed path may
//! differ, exactly as intended. Trees come in, agreement or a reason goes out.

use super::error::YamlError;
use super::fresh::Fresh;
use super::node::{Document, Node, NodeKind};
use super::scalar::Value;
use super::{MAX_EXPANDED_BYTES, parse};
use serde::Deserialize;
use serde::de::{Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::fmt;

/// The intended difference at the end of a trail of child indexes.
#[derive(Debug, Clone)]
pub enum Change {
    /// The node is this now.
    Replace(Fresh),
    /// The mapping has one more entry, at its end.
    Insert(String, Fresh),
    /// The list has one more item, at its end.
    Push(Fresh),
    /// The mapping or list lacks the child with this index.
    Remove(usize),
    /// The scalar has this text now, and its notation still.
    Text(String),
    /// The stream has one more document, at its end.
    AddDocument(Fresh),
}

/// A text as both parsers read it.
#[derive(Debug)]
pub struct Reading {
    pub documents: Vec<Document>,
    second: Vec<Plain>,
}

/// Reads a text with both parsers, and refuses what they do not read alike.
pub fn read_twice(source: &str) -> Result<Reading, YamlError> {
    let documents = parse::parse(source)?;
    let mut total = 0_usize;
    for document in &documents {
        total = total.saturating_add(document.expanded.unwrap_or(usize::MAX));
        if total > MAX_EXPANDED_BYTES {
            let line = document.root.line;
            return Err(YamlError::Bound {
                what: "bytes once aliases are copied",
                limit: MAX_EXPANDED_BYTES,
                line,
            });
        }
    }
    let mut second = Vec::with_capacity(documents.len());
    if !documents.is_empty() {
        // Told that the text is UTF-8, libyaml takes a byte order mark for the first column.
        let unmarked = source.strip_prefix('\u{feff}').unwrap_or(source);
        for document in yaml_serde::Deserializer::from_str(unmarked) {
            second.push(Plain::deserialize(document).map_err(YamlError::SecondParser)?);
        }
    }
    if second.len() != documents.len() {
        return Err(YamlError::ParsersDisagree {
            line: documents.last().map_or(1, |document| document.root.line),
        });
    }
    for (document, plain) in documents.iter().zip(&second) {
        agree(&document.root, plain).map_err(|line| YamlError::ParsersDisagree { line })?;
    }
    Ok(Reading { documents, second })
}

/// Checks that `after` is `before` with exactly `change` at `trail` in one document, for both parsers.
pub fn check(
    before: &Reading,
    after: &Reading,
    document: usize,
    trail: &[usize],
    change: &Change,
) -> Result<(), YamlError> {
    let oracle = |parser: &str, reason: String| YamlError::Oracle { reason: format!("{parser}: {reason}") };
    let added = match change {
        Change::AddDocument(fresh) => Some(fresh),
        _ => None,
    };
    if before.documents.len() + usize::from(added.is_some()) != after.documents.len() {
        return Err(oracle("granit", "another number of documents".to_owned()));
    }
    if let (Some(fresh), Some(first), Some(second)) = (added, after.documents.last(), after.second.last()) {
        let new = || "the new document is not as intended".to_owned();
        matches(&first.root, fresh).then_some(()).ok_or_else(|| oracle("granit", new()))?;
        matches(second, fresh).then_some(()).ok_or_else(|| oracle("libyaml", new()))?;
    }
    for (index, (old, new)) in before.documents.iter().zip(&after.documents).enumerate() {
        let trail = (index == document && added.is_none()).then_some(trail);
        compare(&old.root, &new.root, trail, change).map_err(|reason| oracle("granit", reason))?;
    }
    for (index, (old, new)) in before.second.iter().zip(&after.second).enumerate() {
        let trail = (index == document && added.is_none()).then_some(trail);
        compare(old, new, trail, change).map_err(|reason| oracle("libyaml", reason))?;
    }
    Ok(())
}

/// Checks that two texts read alike, for both parsers.
pub fn check_same(before: &Reading, after: &Reading) -> Result<(), YamlError> {
    // No document has this index, so none may differ.
    check(before, after, usize::MAX, &[], &Change::Remove(0))
}

/// What a tree must tell for the comparison; both parsers' trees can.
trait Tree: Sized {
    fn children(&self) -> Children<'_, Self>;
    /// Equal in everything that is not a collection's content: kind, text, style, tag, anchor.
    fn same_self(&self, other: &Self) -> bool;
    /// Equal in what a replaced value keeps: anchor and tag.
    fn same_marks(&self, other: &Self) -> bool;
    /// Equal in notation.
    fn same_style(&self, other: &Self) -> bool;
    fn is_value(&self, value: &Value) -> bool;
    fn is_key(&self, key: &str) -> bool {
        self.is_value(&Value::Text(key.to_owned()))
    }
    fn place(&self) -> String;
}

enum Children<'a, T> {
    None,
    Map(&'a [(T, T)]),
    List(&'a [T]),
}

fn same<T: Tree>(old: &T, new: &T) -> Result<(), String> {
    let differs = || Err(format!("something else changed, {}", new.place()));
    if !old.same_self(new) {
        return differs();
    }
    match (old.children(), new.children()) {
        (Children::None, Children::None) => Ok(()),
        (Children::Map(old), Children::Map(new)) if old.len() == new.len() => old
            .iter()
            .zip(new)
            .try_for_each(|(old, new)| same(&old.0, &new.0).and_then(|()| same(&old.1, &new.1))),
        (Children::List(old), Children::List(new)) if old.len() == new.len() => {
            old.iter().zip(new).try_for_each(|(old, new)| same(old, new))
        }
        _ => differs(),
    }
}

fn compare<T: Tree>(old: &T, new: &T, trail: Option<&[usize]>, change: &Change) -> Result<(), String> {
    let Some(trail) = trail else { return same(old, new) };
    let Some((&next, rest)) = trail.split_first() else { return changed(old, new, change) };
    let differs = || Err(format!("an ancestor of the path changed, {}", new.place()));
    if !old.same_self(new) {
        return differs();
    }
    match (old.children(), new.children()) {
        (Children::Map(old), Children::Map(new)) if old.len() == new.len() => {
            old.iter().zip(new).enumerate().try_for_each(|(index, (old, new))| {
                same(&old.0, &new.0)?;
                compare(&old.1, &new.1, (index == next).then_some(rest), change)
            })
        }
        (Children::List(old), Children::List(new)) if old.len() == new.len() => {
            old.iter().zip(new).enumerate().try_for_each(|(index, (old, new))| {
                compare(old, new, (index == next).then_some(rest), change)
            })
        }
        _ => differs(),
    }
}

fn changed<T: Tree>(old: &T, new: &T, change: &Change) -> Result<(), String> {
    let wrong = || format!("the addressed value is not as intended, {}", new.place());
    if let Change::Replace(fresh) = change {
        return if matches(new, fresh) && old.same_marks(new) { Ok(()) } else { Err(wrong()) };
    }
    if let Change::Text(text) = change {
        let fine = new.is_value(&Value::Text(text.clone())) && old.same_marks(new) && old.same_style(new);
        return if fine { Ok(()) } else { Err(wrong()) };
    }
    if !old.same_self(new) {
        return Err(wrong());
    }
    match (change, old.children(), new.children()) {
        (Change::Insert(key, fresh), Children::Map(old), Children::Map(new)) => {
            let Some(((new_key, new_value), kept)) = new.split_last() else { return Err(wrong()) };
            if old.len() != kept.len() || !new_key.is_key(key) || !matches(new_value, fresh) {
                return Err(wrong());
            }
            old.iter()
                .zip(kept)
                .try_for_each(|(old, new)| same(&old.0, &new.0).and_then(|()| same(&old.1, &new.1)))
        }
        (Change::Push(fresh), Children::List(old), Children::List(new)) => {
            let Some((item, kept)) = new.split_last() else { return Err(wrong()) };
            if old.len() != kept.len() || !matches(item, fresh) {
                return Err(wrong());
            }
            old.iter().zip(kept).try_for_each(|(old, new)| same(old, new))
        }
        (Change::Remove(at), Children::Map(old), Children::Map(new)) if new.len() + 1 == old.len() => old
            .iter()
            .enumerate()
            .filter(|(index, _)| index != at)
            .zip(new)
            .try_for_each(|((_, old), new)| same(&old.0, &new.0).and_then(|()| same(&old.1, &new.1))),
        (Change::Remove(at), Children::List(old), Children::List(new)) if new.len() + 1 == old.len() => old
            .iter()
            .enumerate()
            .filter(|(index, _)| index != at)
            .zip(new)
            .try_for_each(|((_, old), new)| same(old, new)),
        _ => Err(wrong()),
    }
}

fn matches<T: Tree>(tree: &T, fresh: &Fresh) -> bool {
    match (fresh, tree.children()) {
        (Fresh::Scalar(value), Children::None) => tree.is_value(value),
        (Fresh::Map(fresh), Children::Map(entries)) => {
            fresh.len() == entries.len()
                && fresh.iter().zip(entries).all(|((key, value), (k, v))| k.is_key(key) && matches(v, value))
        }
        (Fresh::List(fresh), Children::List(items)) => {
            fresh.len() == items.len() && fresh.iter().zip(items).all(|(fresh, item)| matches(item, fresh))
        }
        _ => false,
    }
}

fn same_float(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

impl Tree for Node {
    fn children(&self) -> Children<'_, Self> {
        match &self.kind {
            NodeKind::Map(entries) => Children::Map(entries),
            NodeKind::List(items) => Children::List(items),
            NodeKind::Scalar(_) | NodeKind::Alias(_) => Children::None,
        }
    }

    fn same_self(&self, other: &Self) -> bool {
        let anchor = |node: &Self| node.anchor.as_ref().map(|anchor| anchor.name.clone());
        let kind = match (&self.kind, &other.kind) {
            (NodeKind::Scalar(a), NodeKind::Scalar(b)) => {
                (&a.text, a.style, &a.tag) == (&b.text, b.style, &b.tag)
            }
            (NodeKind::Alias(a), NodeKind::Alias(b)) => a.name == b.name,
            (NodeKind::Map(_), NodeKind::Map(_)) | (NodeKind::List(_), NodeKind::List(_)) => true,
            _ => false,
        };
        // An empty flow collection may become a filled one, never a block one.
        kind && self.flow == other.flow && self.tag == other.tag && anchor(self) == anchor(other)
    }

    fn same_marks(&self, other: &Self) -> bool {
        let anchor = |node: &Self| node.anchor.as_ref().map(|anchor| anchor.name.clone());
        let tag = |node: &Self| node.as_scalar().map_or(node.tag.clone(), |scalar| scalar.tag.clone());
        anchor(self) == anchor(other) && tag(self) == tag(other)
    }

    fn same_style(&self, other: &Self) -> bool {
        let style = |node: &Self| node.as_scalar().map(|scalar| scalar.style);
        style(self) == style(other)
    }

    fn is_value(&self, value: &Value) -> bool {
        let Some(scalar) = self.as_scalar().filter(|scalar| !scalar.ambiguous()) else { return false };
        match (scalar.typed(), value) {
            (Value::Float(a), Value::Float(b)) => same_float(a, *b),
            (typed, value) => typed == *value,
        }
    }

    fn place(&self) -> String {
        format!("line {}", self.line)
    }
}

/// A value as libyaml based readers see it: typed, aliases copied, no styles.
#[derive(Debug, Clone)]
enum Plain {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Plain>),
    Map(Vec<(Plain, Plain)>),
    Tagged(String, Box<Plain>),
}

impl Tree for Plain {
    fn children(&self) -> Children<'_, Self> {
        match self {
            Self::Map(entries) => Children::Map(entries),
            Self::List(items) => Children::List(items),
            Self::Tagged(_, inner) => inner.children(),
            _ => Children::None,
        }
    }

    fn same_self(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) | (Self::List(_), Self::List(_)) | (Self::Map(_), Self::Map(_)) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => same_float(*a, *b),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Tagged(a, old), Self::Tagged(b, new)) => a == b && old.same_self(new),
            _ => false,
        }
    }

    fn same_marks(&self, _other: &Self) -> bool {
        true
    }

    fn same_style(&self, _other: &Self) -> bool {
        true
    }

    fn is_value(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::Int(a), Value::Int(b)) => *a == i128::from(*b),
            (Self::Float(a), Value::Float(b)) => same_float(*a, *b),
            (Self::Text(a), Value::Text(b)) => a == b,
            _ => false,
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Text(text) => format!("at the text {:?}", text.chars().take(40).collect::<String>()),
            Self::List(_) | Self::Map(_) => "at a collection".to_owned(),
            other => format!("at {other:?}"),
        }
    }
}

/// Whether both parsers read the same structure and, where no reader could argue, the same values. Copies of
/// aliases and tagged nodes are not looked into. The error is the line of the first difference.
fn agree(node: &Node, plain: &Plain) -> Result<(), usize> {
    match (&node.kind, plain) {
        (NodeKind::Alias(_), _) | (_, Plain::Tagged(..)) => Ok(()),
        (NodeKind::Map(entries), Plain::Map(plains)) if entries.len() == plains.len() => {
            entries.iter().zip(plains).try_for_each(|(entry, plain)| {
                agree(&entry.0, &plain.0).and_then(|()| agree(&entry.1, &plain.1))
            })
        }
        (NodeKind::List(items), Plain::List(plains)) if items.len() == plains.len() => {
            items.iter().zip(plains).try_for_each(|(item, plain)| agree(item, plain))
        }
        (NodeKind::Scalar(scalar), plain) => {
            let fine = match plain {
                Plain::Text(text) => {
                    let argued = scalar.ambiguous() || scalar.tag.is_some();
                    *text == scalar.text && (argued || matches!(scalar.typed(), Value::Text(_)))
                }
                Plain::List(_) | Plain::Map(_) => false,
                other => scalar.ambiguous() || scalar.tag.is_some() || other.is_value(&scalar.typed()),
            };
            if fine { Ok(()) } else { Err(node.line) }
        }
        _ => Err(node.line),
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_none<E>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Plain, E> {
        Ok(Plain::Int(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Plain, E> {
        Ok(i128::try_from(value).map_or_else(|_| Plain::Text(value.to_string()), Plain::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        Ok(Plain::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Plain, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Plain::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Plain, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Plain::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Plain, A::Error> {
        let (tag, content) = access.variant::<String>()?;
        Ok(Plain::Tagged(tag, Box::new(content.newtype_variant()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(before: &str, after: &str, trail: &[usize], change: &Change) -> Result<(), YamlError> {
        check(&read_twice(before).unwrap(), &read_twice(after).unwrap(), 0, trail, change)
    }

    fn five() -> Change {
        Change::Replace(Fresh::Scalar(Value::Int(5)))
    }

    #[test]
    fn the_intended_change_passes() {
        verdict("a: 1\nb: [x]\n", "a: 5\nb: [x]\n", &[0], &five()).unwrap();
        let new = Fresh::Map(vec![("k".to_owned(), Fresh::Scalar(Value::Null))]);
        verdict("a: 1\n", "a: 1\nb: {k: null}\n", &[], &Change::Insert("b".to_owned(), new.clone())).unwrap();
        verdict("a: [1]\n", "a: [1, {k: ~}]\n", &[0], &Change::Push(new)).unwrap();
        verdict("a: 1\nb: 2\n", "b: 2\n", &[], &Change::Remove(0)).unwrap();
    }

    #[test]
    fn any_other_difference_is_found() {
        let before = "a: 1\nb: 'x'\nc: &n 1\nd: *n\ne: [1, 2]\nf: |\n  t\n";
        for (old, new) in [
            ("a: 1", "a: 6"),
            ("a: 1", "a: 05"),
            ("a: 1", "a: \"5\""),
            ("a: 1", "a: !!int 5"),
            ("a: 1", "a: &m 5"),
            ("b: 'x'", "b: x"),
            ("b: 'x'", "b: 'x '"),
            ("b: 'x'", "B: 'x'"),
            ("b: 'x'", "b: !!str 'x'"),
            ("c: &n 1\nd: *n", "c: &m 1\nd: *m"),
            ("c: &n 1\nd: *n", "c: &n 1\nd: 1"),
            ("e: [1, 2]", "e: [1]"),
            ("e: [1, 2]", "e: [2, 1]"),
            ("e: [1, 2]", "e:\n- 1\n- 2"),
            ("  t\n", "  t\n  u\n"),
            ("  t\n", "  t"),
            ("f: |\n  t\n", "f: |\n  t\ng: 1\n"),
            ("f: |\n  t\n", "f: |\n  t\n---\na: 1\n"),
        ] {
            let after = before.replace(old, new).replace("a: 1", "a: 5");
            let found = verdict(before, &after, &[0], &five());
            assert!(matches!(found, Err(YamlError::Oracle { .. })), "{after}");
        }
        verdict(before, &before.replace("a: 1", "a: 5"), &[0], &five()).unwrap();
    }

    #[test]
    fn either_parser_alone_can_object() {
        let [before, good, bad] =
            ["a: 1\nb: 2\n", "a: 5\nb: 2\n", "a: 5\nb: 3\n"].map(|text| read_twice(text).unwrap());
        let mixed = |documents: &Reading, second: &Reading| Reading {
            documents: documents.documents.clone(),
            second: second.second.clone(),
        };
        check(&before, &mixed(&good, &good), 0, &[0], &five()).unwrap();
        for after in [mixed(&good, &bad), mixed(&bad, &good)] {
            assert!(matches!(check(&before, &after, 0, &[0], &five()), Err(YamlError::Oracle { .. })));
        }
    }

    #[test]
    fn structural_changes_are_checked_entry_by_entry() {
        let insert = Change::Insert("b".to_owned(), Fresh::Scalar(Value::Int(5)));
        for after in
            ["a: 1\n", "b: 5\na: 1\n", "a: 1\nb: 5\nc: 1\n", "a: 2\nb: 5\n", "a: 1\nb: 6\n", "a: 1\nc: 5\n"]
        {
            assert!(verdict("a: 1\n", after, &[], &insert).is_err(), "{after}");
        }
        for after in ["b: 2\n", "a: 1\nb: 2\n", "c: 3\n", "b: 2\nc: 4\n", "c: 3\nb: 2\n"] {
            assert!(verdict("a: 1\nb: 2\nc: 3\n", after, &[], &Change::Remove(0)).is_err(), "{after}");
        }
        let push = Change::Push(Fresh::Scalar(Value::Int(5)));
        for after in ["- 1\n", "- 5\n- 1\n", "- 1\n- 5\n- 5\n", "- 1\n- x\n"] {
            assert!(verdict("- 1\n", after, &[], &push).is_err(), "{after}");
        }
    }

    #[test]
    fn tagged_collections_are_looked_into_by_both_parsers() {
        verdict("!sum\n- a: 1\n- b: 2\n", "!sum\n- a: 5\n- b: 2\n", &[0, 0], &five()).unwrap();
        assert!(verdict("!sum\n- a: 1\n- b: 2\n", "!max\n- a: 5\n- b: 2\n", &[0, 0], &five()).is_err());
    }

    #[test]
    fn what_the_parsers_read_differently_is_refused() {
        let error = read_twice("a: 1\nb: [?x, 1]\n").unwrap_err();
        assert!(matches!(error, YamlError::ParsersDisagree { .. } | YamlError::SecondParser(_)), "{error:?}");
        assert!(matches!(read_twice("- &x: \n  a: 1\n"), Err(YamlError::ParsersDisagree { line: 2 })));
    }
}
