//! The tree a document is read into: every node knows its kind, its line and its bytes. Aliases are leaves.

use super::error::YamlError;
use super::path::{Path, Step};
use super::scalar::{self, Value};
use std::collections::HashMap;
use std::ops::Range;

/// One document of a stream.
#[derive(Debug, Clone)]
pub struct Document {
    pub root: Node,
    /// Lines of the aliases of each anchor, by anchor number.
    pub(super) aliases: HashMap<usize, Vec<usize>>,
    /// Bytes the document costs once every alias is copied; `None` when an alias contains itself.
    pub(super) expanded: Option<usize>,
}

/// A value in a document.
#[derive(Debug, Clone)]
pub struct Node {
    pub kind: NodeKind,
    /// 1-based line of its first byte.
    pub line: usize,
    /// Bytes of the value itself, without anchor, tag, and trailing comment; block scalars include their
    /// header.
    pub span: Range<usize>,
    /// End of the token before it: its indicators, anchor and tag stand between this and the span.
    pub(super) lead: usize,
    pub(super) anchor: Option<Anchor>,
    /// Resolved tag as written, for collections; scalars have it in [`Scalar::tag`].
    pub(super) tag: Option<String>,
    /// Written with brackets or braces.
    pub(super) flow: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Anchor {
    pub id: usize,
    pub name: String,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum NodeKind {
    Scalar(Scalar),
    /// Entries in file order, duplicates included.
    Map(Vec<(Node, Node)>),
    List(Vec<Node>),
    Alias(Alias),
}

/// `*name`: stands for the node that carries `&name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    /// 1-based line of the anchor.
    pub anchor_line: usize,
    pub(super) id: usize,
}

/// A scalar as it was written and as it decodes.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// Text after escapes and folding; empty for a value that is not there (`key:`).
    pub text: String,
    pub style: Style,
    /// The explicit tag in its resolved form (`tag:yaml.org,2002:int`, `!local`).
    pub tag: Option<String>,
    pub(super) block: Option<Block>,
}

/// Where the parts of a literal or folded scalar are.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The header token: `|`, `>-`, `|2+`.
    pub header: Range<usize>,
    /// Columns its content is indented by; `None` when there is no content.
    pub indent: Option<usize>,
}

/// The notation of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
    Folded,
}

impl Alias {
    /// The refusal of an edit at this alias.
    pub(super) fn refused(&self, line: usize) -> YamlError {
        YamlError::Alias { alias: self.name.clone(), line, anchor_line: self.anchor_line }
    }
}

const CORE: &str = "tag:yaml.org,2002:";

impl Scalar {
    /// The value, by tag if there is one, else by the YAML 1.2 core schema if it is plain, else its text.
    #[must_use]
    pub fn typed(&self) -> Value {
        match self.tag.as_deref().map(|tag| tag.strip_prefix(CORE)) {
            None if self.style == Style::Plain => scalar::core(&self.text),
            Some(Some("int" | "float" | "bool" | "null")) => scalar::core(&self.text),
            _ => Value::Text(self.text.clone()),
        }
    }

    /// Whether YAML 1.1, YAML 1.2 and Go readers may type this scalar differently.
    #[must_use]
    pub fn ambiguous(&self) -> bool {
        self.style == Style::Plain && self.tag.is_none() && scalar::ambiguous(&self.text)
    }

    pub(super) fn core_tag(&self) -> Option<&str> {
        self.tag.as_deref()?.strip_prefix(CORE)
    }
}

impl Document {
    #[cfg(test)]
    /// The node an alias of this document stands for.
    #[must_use]
    pub fn target(&self, alias: &Alias) -> Option<&Node> {
        fn find(node: &Node, id: usize) -> Option<&Node> {
            if node.anchor.as_ref().is_some_and(|anchor| anchor.id == id) {
                return Some(node);
            }
            match &node.kind {
                NodeKind::Map(entries) => {
                    entries.iter().find_map(|(key, value)| find(key, id).or_else(|| find(value, id)))
                }
                NodeKind::List(items) => items.iter().find_map(|item| find(item, id)),
                NodeKind::Scalar(_) | NodeKind::Alias(_) => None,
            }
        }
        find(&self.root, alias.id)
    }
}

impl Node {
    /// The value under a key; `None` if it is not there, there twice, or this is not a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        let mut found = self.as_map().filter(|(name, _)| name.text() == Some(key)).map(|(_, value)| value);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Follows a path from this node.
    ///
    /// # Errors
    /// [`YamlError::NotFound`], [`YamlError::ManyMatches`], [`YamlError::DuplicateKey`] or
    /// [`YamlError::Alias`].
    pub fn at(&self, path: &Path) -> Result<&Node, YamlError> {
        let mut node = self;
        for (depth, step) in path.steps().iter().enumerate() {
            let here = || Path(path.0[..=depth].to_vec()).to_string();
            let index = node.child_index(step, here)?;
            node = index.and_then(|index| node.child(index)).ok_or_else(|| node.missing(here()))?;
        }
        Ok(node)
    }

    pub(super) fn missing(&self, path: String) -> YamlError {
        let merge = matches!(&self.kind, NodeKind::Map(_)) && self.merges();
        if merge {
            YamlError::Merged { path, line: self.line }
        } else {
            YamlError::NotFound { path, line: self.line }
        }
    }

    /// Whether this mapping has a merge key (`<<`).
    pub(super) fn merges(&self) -> bool {
        self.as_map().any(|(key, _)| key.is_merge_key())
    }

    pub(super) fn is_merge_key(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar(s) if s.text == "<<" && s.style == Style::Plain)
    }

    /// Index of the child a step leads to.
    pub(super) fn child_index(
        &self,
        step: &Step,
        path: impl Fn() -> String,
    ) -> Result<Option<usize>, YamlError> {
        if let NodeKind::Alias(alias) = &self.kind {
            return Err(alias.refused(self.line));
        }
        match step {
            Step::Key(wanted) => {
                let mut found = self.as_map().enumerate().filter(|(_, (key, _))| key.text() == Some(wanted));
                let first = found.next();
                if let Some((_, (key, _))) = found.next() {
                    return Err(YamlError::DuplicateKey { key: wanted.clone(), line: key.line });
                }
                Ok(first.map(|(index, _)| index))
            }
            Step::Index(index) => Ok(self.as_list().nth(*index).map(|_| *index)),
            Step::Item { key, value } => {
                let found: Vec<usize> = self
                    .as_list()
                    .enumerate()
                    .filter(|(_, item)| item.get(key).and_then(Node::text) == Some(value))
                    .map(|(index, _)| index)
                    .collect();
                match found[..] {
                    [] => Ok(None),
                    [index] => Ok(Some(index)),
                    _ => {
                        let lines = found.iter().filter_map(|index| Some(self.child(*index)?.line)).collect();
                        Err(YamlError::ManyMatches { path: path(), line: self.line, lines })
                    }
                }
            }
        }
    }

    /// The value of the entry, or the item, at an index.
    pub(super) fn child(&self, index: usize) -> Option<&Node> {
        match &self.kind {
            NodeKind::Map(entries) => entries.get(index).map(|(_, value)| value),
            NodeKind::List(items) => items.get(index),
            NodeKind::Scalar(_) | NodeKind::Alias(_) => None,
        }
    }

    /// Decoded text of a scalar of any type.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The scalar, if this is one.
    #[must_use]
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    #[cfg(test)]
    /// Text of a scalar that is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        let scalar = self.as_scalar()?;
        matches!(scalar.typed(), Value::Text(_)).then_some(scalar.text.as_str())
    }

    #[cfg(test)]
    /// A whole number every reader agrees on.
    #[must_use]
    pub fn as_u32(&self) -> Option<u32> {
        match self.as_scalar().filter(|scalar| !scalar.ambiguous())?.typed() {
            Value::Int(int) => u32::try_from(int).ok(),
            _ => None,
        }
    }

    /// Whether this is a null, written or left out.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| scalar.typed() == Value::Null)
    }

    /// The items; none if this is not a list.
    pub fn as_list(&self) -> impl Iterator<Item = &Node> {
        match &self.kind {
            NodeKind::List(items) => items.as_slice(),
            _ => &[],
        }
        .iter()
    }

    /// The entries, key and value, in file order; none if this is not a mapping.
    pub fn as_map(&self) -> impl Iterator<Item = (&Node, &Node)> {
        match &self.kind {
            NodeKind::Map(entries) => entries.as_slice(),
            _ => &[],
        }
        .iter()
        .map(|(key, value)| (key, value))
    }

    pub(super) fn shape(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar(_) if self.is_null() => "nothing",
            NodeKind::Scalar(_) => "a scalar",
            NodeKind::Map(_) => "a mapping",
            NodeKind::List(_) => "a list",
            NodeKind::Alias(_) => "an alias",
        }
    }
}
