//! From an edit to byte splices: finds the addressed node, refuses what may not be touched, and places the
//! new text. A document and its text come in, splices and the intended change of the tree go out.

use super::block;
use super::edit::Edit;
use super::error::YamlError;
use super::fresh::{Fresh, Layout};
use super::grow::{dash_step, indent_step};
use super::node::{Document, Node, NodeKind, Scalar, Style};
use super::oracle::Change;
use super::path::{Path, Step};
use super::scalar::{self, Place, Value};
use super::source::{Splice, find_indicator, line_break};
use std::collections::HashSet;

/// What to splice, and what the tree must look like afterwards.
#[derive(Debug)]
pub struct Plan {
    pub splices: Vec<Splice>,
    /// Child indexes from the root to the changed node.
    pub trail: Vec<usize>,
    pub change: Change,
}

/// Plans one edit of one document.
pub fn plan(source: &str, document: &Document, path: &Path, edit: &Edit) -> Result<Plan, YamlError> {
    let planner = Planner { source, document, path };
    let target = planner.walk()?;
    match edit {
        Edit::Set { value, .. } | Edit::Put { value, .. } if target.rest.is_empty() => {
            planner.set(target, value)
        }
        Edit::Put { value, .. } => planner.insert(target, Fresh::Scalar(value.clone())),
        Edit::Insert { tree, .. } if target.rest.is_empty() => planner.fill(target, tree),
        Edit::Insert { tree, .. } => planner.insert(target, tree.clone()),
        Edit::Remove { .. } if target.rest.is_empty() => planner.remove(target),
        Edit::Append { entries, .. } => planner.append(target, entries),
        Edit::Set { .. } | Edit::Remove { .. } | Edit::Inside { .. } | Edit::AddDocument { .. } => {
            Err(target.node().missing(path.to_string()))
        }
    }
}

/// The node a path leads to and the child indexes to it, under the same rules as for an edit of it.
pub fn find<'a>(
    source: &'a str,
    document: &'a Document,
    path: &'a Path,
) -> Result<(&'a Node, Vec<usize>), YamlError> {
    let target = Planner { source, document, path }.walk()?;
    if target.rest.is_empty() {
        Ok((target.node(), target.trail))
    } else {
        Err(target.node().missing(path.to_string()))
    }
}

/// Where a path leads: the nodes from the root to the last one found, and the steps nothing was found for.
pub(super) struct Target<'a> {
    pub chain: Vec<&'a Node>,
    pub trail: Vec<usize>,
    pub rest: &'a [Step],
}

impl<'a> Target<'a> {
    pub fn node(&self) -> &'a Node {
        self.chain[self.chain.len() - 1]
    }

    /// The collection that holds the node, and the node's index in it.
    pub fn parent(&self) -> Option<(&'a Node, usize)> {
        Some((self.chain[self.chain.len().checked_sub(2)?], *self.trail.last()?))
    }
}

pub(super) struct Planner<'a> {
    pub source: &'a str,
    pub document: &'a Document,
    pub path: &'a Path,
}

pub(super) fn unsupported<T>(node: &Node, reason: &'static str) -> Result<T, YamlError> {
    Err(YamlError::Unsupported { reason, line: node.line })
}

pub(super) fn is_template(text: &str) -> bool {
    ["{{", "${", "{%"].iter().any(|open| text.contains(open))
}

/// Refuses a key, or a value that items are told apart by, unless it is the same text for every reader.
fn one_reading(node: &Node) -> Result<(), YamlError> {
    let line = node.line;
    let scalar = match &node.kind {
        NodeKind::Scalar(scalar) => scalar,
        NodeKind::Alias(alias) => return Err(alias.refused(line)),
        NodeKind::Map(_) | NodeKind::List(_) => return Ok(()),
    };
    if is_template(&scalar.text) {
        return Err(YamlError::Templated { line });
    }
    if let Some(tag) = scalar.tag.as_ref().filter(|_| scalar.core_tag() != Some("str")) {
        return Err(YamlError::Tag { tag: tag.clone(), line });
    }
    // As a JSON key, `1.10` is "1.1" for Go and `True` is "true".
    let same = match scalar.typed() {
        Value::Text(_) => true,
        Value::Int(int) => int.to_string() == scalar.text,
        Value::Bool(bool) => bool.to_string() == scalar.text,
        Value::Null | Value::Float(_) => false,
    };
    if same && !scalar.ambiguous() {
        return Ok(());
    }
    Err(YamlError::Ambiguous { text: scalar.text.clone(), line })
}

/// A value that is not written at all: `key:`, `-`.
pub(super) fn absent(node: &Node) -> bool {
    node.span.is_empty() && node.as_scalar().is_some_and(|scalar| scalar.style == Style::Plain)
}

impl<'a> Planner<'a> {
    fn walk(&self) -> Result<Target<'a>, YamlError> {
        let mut node = &self.document.root;
        let mut target = Target { chain: vec![node], trail: Vec::new(), rest: &[] };
        self.guard(node)?;
        for (depth, step) in self.path.steps().iter().enumerate() {
            let here = || Path(self.path.0[..=depth].to_vec()).to_string();
            if let Step::Key(key) = step
                && key == "<<"
            {
                return Err(YamlError::Merged { path: here(), line: node.line });
            }
            let index = node.child_index(step, here)?;
            self.guard_way(node, step, index)?;
            let Some((index, child)) = index.and_then(|index| Some((index, node.child(index)?))) else {
                target.rest = &self.path.steps()[depth..];
                break;
            };
            self.guard(child)?;
            target.chain.push(child);
            target.trail.push(index);
            node = child;
        }
        Ok(target)
    }

    /// Refuses a step that not every reader, or not every rendering, takes to the same child, or to none.
    fn guard_way(&self, holder: &Node, step: &Step, index: Option<usize>) -> Result<(), YamlError> {
        match step {
            Step::Index(_) => Ok(()),
            Step::Key(_) => {
                let Some((index, (key, _))) = index.and_then(|at| Some((at, holder.as_map().nth(at)?)))
                else {
                    return Ok(());
                };
                // YAML 1.1 readers such as sigs.k8s.io/yaml let a later merge key win over this entry.
                if holder.as_map().skip(index).any(|(key, _)| key.is_merge_key()) {
                    return Err(YamlError::Merged { path: self.path.to_string(), line: key.line });
                }
                one_reading(key)
            }
            Step::Item { key, value: wanted } => holder.as_list().try_for_each(|item| {
                let mut named = item.as_map().filter(|(name, _)| name.text() == Some(key));
                match named.next() {
                    Some((name, value)) => match one_reading(name).and_then(|()| one_reading(value)) {
                        // Another item's `yes` may be "true", but never a name such as "app".
                        Err(YamlError::Ambiguous { text, .. })
                            if text != *wanted && !scalar::looks_typed(wanted) =>
                        {
                            Ok(())
                        }
                        verdict => verdict,
                    },
                    None if item.merges() => {
                        Err(YamlError::Merged { path: self.path.to_string(), line: item.line })
                    }
                    None => match &item.kind {
                        NodeKind::Alias(alias) => Err(alias.refused(item.line)),
                        _ => Ok(()),
                    },
                }
            }),
        }
    }

    /// Refuses a node that other places share or that readers may look up differently.
    fn guard(&self, node: &Node) -> Result<(), YamlError> {
        if let NodeKind::Alias(alias) = &node.kind {
            return Err(alias.refused(node.line));
        }
        self.unshared(node)?;
        let mut seen = HashSet::new();
        for (key, _) in node.as_map() {
            if let NodeKind::Alias(alias) = &key.kind {
                return Err(alias.refused(key.line));
            }
            if let Some(text) = key.text()
                && !seen.insert(text)
            {
                return Err(YamlError::DuplicateKey { key: text.to_owned(), line: key.line });
            }
        }
        Ok(())
    }

    fn unshared(&self, node: &Node) -> Result<(), YamlError> {
        if let Some(anchor) = &node.anchor
            && let Some(aliases) = self.document.aliases.get(&anchor.id)
        {
            let (anchor, aliases) = (anchor.name.clone(), aliases.clone());
            return Err(YamlError::Shared { anchor, line: node.line, aliases });
        }
        Ok(())
    }

    pub(super) fn unshared_within(&self, node: &Node) -> Result<(), YamlError> {
        self.unshared(node)?;
        match &node.kind {
            NodeKind::Map(entries) => entries.iter().try_for_each(|(key, value)| {
                self.unshared_within(key)?;
                self.unshared_within(value)
            }),
            NodeKind::List(items) => items.iter().try_for_each(|item| self.unshared_within(item)),
            NodeKind::Scalar(_) | NodeKind::Alias(_) => Ok(()),
        }
    }

    /// How a scalar below the last collection of the chain is written.
    fn place(&self, chain: &[&Node]) -> Place {
        let holder = chain.iter().rev().find(|node| !matches!(node.kind, NodeKind::Scalar(_)));
        let map = chain.iter().rev().find(|node| matches!(node.kind, NodeKind::Map(_)));
        let first_key = map.filter(|map| map.flow).and_then(|map| map.as_map().next());
        let json = first_key
            .and_then(|(key, _)| key.as_scalar())
            .is_some_and(|scalar| scalar.style == Style::DoubleQuoted);
        Place { flow: holder.is_some_and(|node| node.flow), json, colon: false }
    }

    pub(super) fn layout(&self, chain: &[&Node], at: usize) -> Layout {
        let step = indent_step(self.source, &self.document.root).unwrap_or(2);
        let dash = dash_step(self.source, &self.document.root).unwrap_or(step);
        let (eol, place) = (line_break(self.source, at), self.place(chain));
        Layout { step, dash, eol, place, quotes: Style::Plain }
    }

    /// Gives a null the value it has not; what is there already stays.
    fn fill(&self, target: Target<'a>, tree: &Fresh) -> Result<Plan, YamlError> {
        if !target.node().is_null() {
            return unsupported(target.node(), "there is a value already; set or remove it");
        }
        match tree {
            Fresh::Scalar(value) => self.set(target, value),
            tree => self.fill_null(&target, tree.clone()),
        }
    }

    fn set(&self, target: Target<'a>, value: &Value) -> Result<Plan, YamlError> {
        let node = target.node();
        let raw = &self.source[node.span.clone()];
        refuse_templates(node.line, &Fresh::Scalar(value.clone()))?;
        let NodeKind::Scalar(scalar) = &node.kind else {
            if node.flow && raw.starts_with("{{") {
                return Err(YamlError::Templated { line: node.line });
            }
            return Err(YamlError::Shape { expected: "a scalar", found: node.shape(), line: node.line });
        };
        if is_template(raw) {
            return Err(YamlError::Templated { line: node.line });
        }
        if scalar.ambiguous() {
            return Err(YamlError::Ambiguous { text: scalar.text.clone(), line: node.line });
        }
        refuse_lying_tag(node, scalar, value)?;
        let place = Place { colon: scalar.text.contains(':'), ..self.place(&target.chain) };
        let splices = if absent(node) {
            let at = self.absent_at(&target)?;
            vec![Splice::insert(at, format!(" {}", scalar::spell(value, Style::Plain, place)))]
        } else if scalar.block.is_some() {
            let literal = match value {
                Value::Text(text) => block::rewrite(self.source, node, text),
                _ => None,
            };
            match literal
                .or_else(|| block::inline(self.source, node, scalar::spell(value, Style::Plain, place)))
            {
                Some(splices) => splices,
                None => return unsupported(node, "this block scalar is laid out in an unusual way"),
            }
        } else {
            vec![Splice { range: node.span.clone(), text: scalar::spell(value, scalar.style, place) }]
        };
        Ok(Plan { splices, trail: target.trail, change: Change::Replace(Fresh::Scalar(value.clone())) })
    }

    /// Where the text of a missing value goes: behind its colon, dash, tag or anchor.
    fn absent_at(&self, target: &Target<'_>) -> Result<usize, YamlError> {
        let node = target.node();
        let (holder, index) = match target.parent() {
            Some(parent) => parent,
            None => return unsupported(node, "the document is empty"),
        };
        if node.anchor.is_some() || node.as_scalar().is_some_and(|scalar| scalar.tag.is_some()) {
            return Ok(node.span.start);
        }
        match &holder.kind {
            NodeKind::Map(entries) => self.after_colon(&entries[index].0),
            NodeKind::List(_) if !holder.flow => Ok(self.dash(target, target.chain.len() - 2, index)? + 1),
            _ => unsupported(node, "there is no place for a value here"),
        }
    }

    pub(super) fn after_colon(&self, key: &Node) -> Result<usize, YamlError> {
        let rest = &self.source[key.span.end..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest[blank..].starts_with(':') {
            Ok(key.span.end + blank + 1)
        } else {
            unsupported(key, "the key has no colon on its line")
        }
    }

    /// Offset of the dash of an item of the block list at this depth of the chain.
    pub(super) fn dash(&self, target: &Target<'_>, depth: usize, index: usize) -> Result<usize, YamlError> {
        let list = target.chain[depth];
        let before = match index.checked_sub(1).and_then(|index| list.child(index)) {
            Some(item) => item.span.end,
            None => match depth.checked_sub(1).map(|up| (target.chain[up], target.trail[up])) {
                Some((holder, at)) if matches!(holder.kind, NodeKind::List(_)) && !holder.flow => {
                    self.dash(target, depth - 1, at)? + 1
                }
                _ => list.lead,
            },
        };
        match find_indicator(self.source, before, b"-") {
            Some(dash) => Ok(dash),
            None => unsupported(list, "the list's dashes are laid out in an unusual way"),
        }
    }
}

pub(super) fn refuse_templates(line: usize, fresh: &Fresh) -> Result<(), YamlError> {
    // Flux and others substitute `${...}` and `{{...}}` even inside quotes, so a literal would not stay one.
    if fresh.texts().into_iter().any(is_template) { Err(YamlError::Templated { line }) } else { Ok(()) }
}

fn refuse_lying_tag(node: &Node, scalar: &Scalar, value: &Value) -> Result<(), YamlError> {
    let Some(tag) = &scalar.tag else { return Ok(()) };
    let plain = scalar.style == Style::Plain;
    let fits = match scalar.core_tag() {
        Some("str") => matches!(value, Value::Text(_)),
        Some("int") => plain && matches!(value, Value::Int(_)),
        Some("float") => plain && matches!(value, Value::Float(_)),
        Some("bool") => plain && matches!(value, Value::Bool(_)),
        _ => false,
    };
    // Under a tag that types it, an odd spelling is as ambiguous as without.
    if fits && (scalar.core_tag() == Some("str") || !scalar::ambiguous(&scalar.text)) {
        return Ok(());
    }
    Err(YamlError::Tag { tag: tag.clone(), line: node.line })
}
