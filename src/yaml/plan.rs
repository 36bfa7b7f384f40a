//! From an edit to byte splices: finds the addressed node, refuses what may not be touched, and places the
//! new text. A document and its text come in, splices and the intended change of the tree go out.

use super::block;
use super::edit::Edit;
use super::error::YamlError;
use super::fresh::{self, Fresh, Layout};
use super::node::{Document, Node, NodeKind, Scalar, Style};
use super::oracle::Change;
use super::path::{Path, Step};
use super::scalar::{self, Place, Value};
use super::source::{
    Splice, column, find_indicator, line_break, line_end, line_start, next_line, opens_line,
};
use std::collections::HashSet;

/// What to splice, and what the tree must look like afterwards.
#[derive(Debug)]
pub struct Plan {
    pub splices: Vec<Splice>,
    /// Child indexes from the root to the changed node.
    pub trail: Vec<usize>,
    pub change: Change,
}

/// Plans one edit.
pub fn plan(source: &str, document: &Document, edit: &Edit) -> Result<Plan, YamlError> {
    let (Edit::Set { path, .. }
    | Edit::Put { path, .. }
    | Edit::Remove { path, .. }
    | Edit::Append { path, .. }) = edit;
    let planner = Planner { source, document, path };
    let target = planner.walk()?;
    match edit {
        Edit::Set { value, .. } if target.rest.is_empty() => planner.set(target, value),
        Edit::Put { value, .. } if target.rest.is_empty() => planner.set(target, value),
        Edit::Put { value, .. } => planner.insert(target, Fresh::Scalar(value.clone())),
        Edit::Remove { .. } if target.rest.is_empty() => planner.remove(target),
        Edit::Append { entries, .. } => planner.append(target, entries),
        Edit::Set { .. } | Edit::Remove { .. } => Err(target.node().missing(path.to_string())),
    }
}

/// Where a path leads: the nodes from the root to the last one found, and the steps nothing was found for.
struct Target<'a> {
    chain: Vec<&'a Node>,
    trail: Vec<usize>,
    rest: &'a [Step],
}

impl<'a> Target<'a> {
    fn node(&self) -> &'a Node {
        self.chain[self.chain.len() - 1]
    }

    /// The collection that holds the node, and the node's index in it.
    fn parent(&self) -> Option<(&'a Node, usize)> {
        Some((self.chain[self.chain.len().checked_sub(2)?], *self.trail.last()?))
    }
}

struct Planner<'a> {
    source: &'a str,
    document: &'a Document,
    path: &'a Path,
}

fn unsupported<T>(node: &Node, reason: &'static str) -> Result<T, YamlError> {
    Err(YamlError::Unsupported { reason, line: node.line })
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("${")
}

/// A value that is not written at all: `key:`, `-`.
fn absent(node: &Node) -> bool {
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

    /// Refuses a node that other places share or that readers may look up differently.
    fn guard(&self, node: &Node) -> Result<(), YamlError> {
        if let NodeKind::Alias(alias) = &node.kind {
            return Err(YamlError::Alias { alias: alias.name.clone(), line: node.line });
        }
        self.unshared(node)?;
        let mut seen = HashSet::new();
        for (key, _) in node.as_map() {
            if let NodeKind::Alias(alias) = &key.kind {
                return Err(YamlError::Alias { alias: alias.name.clone(), line: key.line });
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

    fn unshared_within(&self, node: &Node) -> Result<(), YamlError> {
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

    fn layout(&self, chain: &[&Node], at: usize) -> Layout {
        let step = indent_step(self.source, &self.document.root).unwrap_or(2);
        Layout { step, eol: line_break(self.source, at), place: self.place(chain) }
    }

    fn set(&self, target: Target<'a>, value: &Value) -> Result<Plan, YamlError> {
        let node = target.node();
        let raw = &self.source[node.span.clone()];
        refuse_templates(node, &Fresh::Scalar(value.clone()))?;
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

    fn after_colon(&self, key: &Node) -> Result<usize, YamlError> {
        let rest = &self.source[key.span.end..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest[blank..].starts_with(':') {
            Ok(key.span.end + blank + 1)
        } else {
            unsupported(key, "the key has no colon on its line")
        }
    }

    fn insert(&self, target: Target<'a>, value: Fresh) -> Result<Plan, YamlError> {
        let node = target.node();
        let mut keys = Vec::with_capacity(target.rest.len());
        for step in target.rest {
            let Step::Key(key) = step else { return Err(node.missing(self.path.to_string())) };
            keys.push(key.clone());
        }
        if node.is_null() {
            let fresh = Fresh::nested(&keys, value);
            refuse_templates(node, &fresh)?;
            return self.fill_null(target, fresh);
        }
        if !matches!(node.kind, NodeKind::Map(_)) {
            return Err(YamlError::Shape { expected: "a mapping", found: node.shape(), line: node.line });
        }
        let fresh = Fresh::nested(&keys[1..], value);
        let key = keys.swap_remove(0);
        refuse_templates(node, &Fresh::Map(vec![(key.clone(), fresh.clone())]))?;
        if node.merges() && !matches!(fresh, Fresh::Scalar(_)) {
            // A new collection would hide the inherited one instead of adding to it.
            return Err(YamlError::Merged { path: self.path.to_string(), line: node.line });
        }
        if let Some(tag) = node.tag.as_ref().filter(|tag| *tag != "tag:yaml.org,2002:map") {
            return Err(YamlError::Tag { tag: tag.clone(), line: node.line });
        }
        let layout = self.layout(&target.chain, node.span.end);
        let splices = if node.flow {
            self.extend_flow(node, &fresh::flow_entry(&key, &fresh, layout))?
        } else {
            let NodeKind::Map(entries) = &node.kind else { return unsupported(node, "not a mapping") };
            let (Some((first, _)), Some((last, value))) = (entries.first(), entries.last()) else {
                return unsupported(node, "the mapping is empty");
            };
            let at_column = column(self.source, first.span.start);
            if column(self.source, last.span.start) != at_column {
                return unsupported(last, "the keys of this mapping do not line up");
            }
            let at = self.after_lines(value)?;
            let entry = fresh::block_entry(&key, &fresh, at_column, layout);
            vec![Splice::insert(at, format!("{}{}{entry}", layout.eol, " ".repeat(at_column)))]
        };
        Ok(Plan { splices, trail: target.trail, change: Change::Insert(key, fresh) })
    }

    /// End of the last line of a node, where following lines can be added.
    fn after_lines(&self, node: &Node) -> Result<usize, YamlError> {
        let at = line_end(self.source, node.span.end);
        let leaf = last_leaf(node);
        if at == self.source.len() && leaf.as_scalar().is_some_and(|scalar| scalar.block.is_some()) {
            // A following line would give the block scalar the final line feed it does not have now.
            return unsupported(leaf, "a block scalar ends the file without a line break; add one first");
        }
        Ok(at)
    }

    fn fill_null(&self, target: Target<'a>, fresh: Fresh) -> Result<Plan, YamlError> {
        let node = target.node();
        let Some((holder, index)) = target.parent() else {
            return unsupported(node, "the document is empty");
        };
        let NodeKind::Map(entries) = &holder.kind else {
            return unsupported(node, "an empty list item cannot be filled");
        };
        let marked = node.anchor.is_some() || node.as_scalar().is_some_and(|scalar| scalar.tag.is_some());
        let key = &entries[index].0;
        let colon = self.after_colon(key)?;
        let written = if absent(node) { colon..colon } else { node.span.clone() };
        if marked || self.source[colon..written.end].contains('\n') {
            return unsupported(node, "this null carries an anchor, a tag or a line of its own");
        }
        let layout = self.layout(&target.chain[..target.chain.len() - 1], key.span.start);
        let splices = if holder.flow {
            vec![Splice { range: colon..written.end, text: format!(" {}", fresh.flow(layout)) }]
        } else {
            let nested = column(self.source, key.span.start) + layout.step;
            let lines = match &fresh {
                Fresh::Map(entries) => fresh::block_entries(entries, nested, layout),
                Fresh::List(items) => fresh::block_items(items, nested, layout),
                Fresh::Scalar(_) => return unsupported(node, "a scalar is set, not filled"),
            };
            let at = line_end(self.source, written.end);
            vec![Splice::delete(colon..written.end), Splice::insert(at, format!("{}{lines}", layout.eol))]
        };
        Ok(Plan { splices, trail: target.trail, change: Change::Replace(fresh) })
    }

    /// Adds an entry or item at the end of a flow collection.
    fn extend_flow(&self, node: &Node, entry: &str) -> Result<Vec<Splice>, YamlError> {
        let (first, last) = match &node.kind {
            NodeKind::Map(entries) => match entries.last() {
                Some((key, value)) => (key, value),
                None => return Ok(vec![Splice::insert(node.span.start + 1, entry)]),
            },
            NodeKind::List(items) => match items.last() {
                Some(item) => (item, item),
                None => return Ok(vec![Splice::insert(node.span.start + 1, entry)]),
            },
            NodeKind::Scalar(_) | NodeKind::Alias(_) => return unsupported(node, "not a collection"),
        };
        if absent(last) {
            return unsupported(last, "the last entry has no value");
        }
        let end = last.span.end;
        let tail = &self.source[end..node.span.end];
        let comma = tail.trim_start().starts_with(',');
        if !tail.contains('\n') || !opens_line(self.source, first.span.start) {
            return Ok(vec![Splice::insert(end, format!(", {entry}"))]);
        }
        let margin = &self.source[line_start(self.source, first.span.start)..first.span.start];
        let at = line_end(self.source, end);
        let eol = line_break(self.source, end);
        let mut splices = Vec::new();
        if !comma {
            splices.push(Splice::insert(end, ","));
        }
        splices.push(Splice::insert(at, format!("{eol}{margin}{entry}{}", if comma { "," } else { "" })));
        Ok(splices)
    }

    fn append(&self, target: Target<'a>, entries: &[(String, Value)]) -> Result<Plan, YamlError> {
        let node = target.node();
        let mut seen = HashSet::new();
        if let Some((key, _)) = entries.iter().find(|(key, _)| !seen.insert(key)) {
            return Err(YamlError::DuplicateKey { key: key.clone(), line: node.line });
        }
        if entries.is_empty() {
            return unsupported(node, "an item needs at least one entry");
        }
        let item = Fresh::Map(
            entries.iter().map(|(key, value)| (key.clone(), Fresh::Scalar(value.clone()))).collect(),
        );
        refuse_templates(node, &item)?;
        if !target.rest.is_empty() {
            return self.insert(target, Fresh::List(vec![item]));
        }
        if node.is_null() {
            return self.fill_null(target, Fresh::List(vec![item]));
        }
        let NodeKind::List(items) = &node.kind else {
            return Err(YamlError::Shape { expected: "a list", found: node.shape(), line: node.line });
        };
        let layout = self.layout(&target.chain, node.span.end);
        let splices = match items.last() {
            Some(last) if !node.flow => {
                let dash = column(self.source, self.dash(&target, target.chain.len() - 1, items.len() - 1)?);
                let offset = match last.as_map().next() {
                    Some((key, _)) if !last.flow => column(self.source, key.span.start).saturating_sub(dash),
                    _ => 2,
                };
                let at = self.after_lines(last)?;
                let lines = fresh::block_item(&item, dash, offset.max(2), layout);
                vec![Splice::insert(at, format!("{}{lines}", layout.eol))]
            }
            _ => self.extend_flow(node, &item.flow(layout))?,
        };
        Ok(Plan { splices, trail: target.trail, change: Change::Push(item) })
    }

    /// Offset of the dash of an item of the block list at this depth of the chain.
    fn dash(&self, target: &Target<'_>, depth: usize, index: usize) -> Result<usize, YamlError> {
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

    fn remove(&self, mut target: Target<'a>) -> Result<Plan, YamlError> {
        let node = target.node();
        let Some((holder, index)) = target.parent() else {
            return unsupported(node, "a document's root cannot be removed");
        };
        self.unshared_within(node)?;
        if is_template(&self.source[node.span.clone()]) {
            return Err(YamlError::Templated { line: node.line });
        }
        // Start and end of each child, from its key or dash to its value's last byte.
        let count = holder.as_map().count() + holder.as_list().count();
        if count == 1 && !holder.flow {
            return unsupported(node, "the only entry or item of its parent; remove the parent instead");
        }
        let start = |index: usize| match &holder.kind {
            NodeKind::Map(entries) => Ok(entries[index].0.span.start),
            _ if holder.flow => Ok(holder.child(index).map_or(0, |item| item.span.start)),
            _ => self.dash(&target, target.chain.len() - 2, index),
        };
        let end = |index: usize| match &holder.kind {
            NodeKind::Map(entries) if absent(&entries[index].1) => self.after_colon(&entries[index].0),
            _ => Ok(holder.child(index).map_or(0, |child| child.span.end)),
        };
        let (from, to) = (start(index)?, end(index)?);
        let last = index + 1 == count;
        let range = if !holder.flow && opens_line(self.source, from) {
            self.lines(from, to)
        } else if !last && self.blank(to, start(index + 1)?, holder.flow) {
            from..start(index + 1)?
        } else if holder.flow && last && index > 0 && self.blank(end(index - 1)?, from, true) {
            end(index - 1)?..to
        } else if holder.flow && count == 1 {
            from..to
        } else {
            return unsupported(node, "a comment, anchor or tag stands between this and its neighbour");
        };
        target.trail.pop();
        Ok(Plan { splices: vec![Splice::delete(range)], trail: target.trail, change: Change::Remove(index) })
    }

    /// Whole lines; at the end of a file without a final line break, the break before them goes instead.
    fn lines(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        let start = line_start(self.source, from);
        let end = next_line(self.source, to);
        if end == self.source.len() && !self.source.ends_with('\n') && start > 0 {
            let before = &self.source[..start];
            return before.trim_end_matches('\n').trim_end_matches('\r').len().max(start.saturating_sub(2))
                ..end;
        }
        start..end
    }

    fn blank(&self, from: usize, to: usize, comma: bool) -> bool {
        self.source[from..to].chars().all(|c| c.is_ascii_whitespace() || comma && c == ',')
    }
}

fn refuse_templates(node: &Node, fresh: &Fresh) -> Result<(), YamlError> {
    // Flux and others substitute `${...}` and `{{...}}` even inside quotes, so a literal would not stay one.
    if fresh.texts().into_iter().any(is_template) {
        Err(YamlError::Templated { line: node.line })
    } else {
        Ok(())
    }
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

fn last_leaf(node: &Node) -> &Node {
    match &node.kind {
        NodeKind::Map(entries) if !node.flow => entries.last().map_or(node, |(_, value)| last_leaf(value)),
        NodeKind::List(items) if !node.flow => items.last().map_or(node, last_leaf),
        _ => node,
    }
}

/// Columns the file indents nested block mappings by, from its first one.
fn indent_step(source: &str, node: &Node) -> Option<usize> {
    match &node.kind {
        NodeKind::Map(entries) if !node.flow => entries.iter().find_map(|(key, value)| {
            let nested = value.as_map().next().filter(|_| !value.flow);
            let step = nested.map(|(child, _)| {
                column(source, child.span.start).saturating_sub(column(source, key.span.start))
            });
            step.filter(|step| *step > 0).or_else(|| indent_step(source, value))
        }),
        NodeKind::List(items) if !node.flow => items.iter().find_map(|item| indent_step(source, item)),
        _ => None,
    }
}
