//! Adding entries, items and documents in the style of their neighbours. A planned target and a fresh value
//! come in, the text to insert goes out.

use super::error::YamlError;
use super::fresh::{self, Fresh, Layout};
use super::node::{Document, Node, NodeKind, Style};
use super::oracle::Change;
use super::path::{Path, Step};
use super::plan::{Plan, Planner, Target, absent, refuse_templates, unsupported};
use super::scalar::{Place, Value};
use super::source::{Splice, column, find_indicator, line_break, line_end, line_start, opens_line};
use std::collections::HashSet;

impl<'a> Planner<'a> {
    /// Adds what the path lacks; a last step `[name=app]` adds an item to its list.
    pub(super) fn insert(&self, mut target: Target<'a>, value: Fresh) -> Result<Plan, YamlError> {
        let node = target.node();
        let missing = || node.missing(self.path.to_string());
        let mut value = value;
        if let Some((Step::Item { key, value: wanted }, before)) = target.rest.split_last() {
            let item = with_merge_key(node, key, wanted, value)?;
            target.rest = before;
            if before.is_empty() {
                return self.push(target, item);
            }
            value = Fresh::List(vec![item]);
        }
        let mut keys = Vec::with_capacity(target.rest.len());
        for step in target.rest {
            let Step::Key(key) = step else { return Err(missing()) };
            keys.push(key.clone());
        }
        if node.is_null() {
            return self.fill_null(&target, Fresh::nested(&keys, value));
        }
        if !matches!(node.kind, NodeKind::Map(_)) {
            return Err(YamlError::Shape { expected: "a mapping", found: node.shape(), line: node.line });
        }
        let (Some(key), below) = (keys.first(), keys.get(1..).unwrap_or_default()) else {
            return Err(missing());
        };
        let fresh = Fresh::nested(below, value);
        self.add_entry(target, key, fresh)
    }

    fn add_entry(&self, target: Target<'a>, key: &str, fresh: Fresh) -> Result<Plan, YamlError> {
        let node = target.node();
        refuse_fresh(node.line, &Fresh::Map(vec![(key.to_owned(), fresh.clone())]))?;
        if node.merges() && !matches!(fresh, Fresh::Scalar(_)) {
            // A new collection would hide the inherited one instead of adding to it.
            return Err(YamlError::Merged { path: self.path.to_string(), line: node.line });
        }
        if let Some(tag) = node.tag.as_ref().filter(|tag| *tag != "tag:yaml.org,2002:map") {
            return Err(YamlError::Tag { tag: tag.clone(), line: node.line });
        }
        let layout = Layout { quotes: quotes(node), ..self.layout(&target.chain, node.span.end) };
        let splices = if node.flow {
            self.extend_flow(node, &fresh::flow_entry(key, &fresh, layout))?
        } else {
            let NodeKind::Map(entries) = &node.kind else { return unsupported(node, "not a mapping") };
            let (Some((first, _)), Some((last, value))) = (entries.first(), entries.last()) else {
                return unsupported(node, "the mapping is empty");
            };
            let at_column = column(self.source, first.span.start);
            if column(self.source, last.span.start) != at_column {
                return unsupported(last, "the keys of this mapping do not line up");
            }
            let at = after_lines(self.source, value)?;
            let entry = fresh::block_entry(key, &fresh, at_column, layout);
            vec![Splice::insert(at, format!("{}{}{entry}", layout.eol, " ".repeat(at_column)))]
        };
        Ok(Plan { splices, trail: target.trail, change: Change::Insert(key.to_owned(), fresh) })
    }

    /// Puts a collection where a null stands.
    pub(super) fn fill_null(&self, target: &Target<'a>, fresh: Fresh) -> Result<Plan, YamlError> {
        let node = target.node();
        refuse_fresh(node.line, &fresh)?;
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
        let at_column = column(self.source, key.span.start);
        let lines = match &fresh {
            _ if holder.flow => None,
            Fresh::Map(entries) if !entries.is_empty() => {
                Some(fresh::block_entries(entries, at_column + layout.step, layout))
            }
            Fresh::List(items) if !items.is_empty() => {
                Some(fresh::block_items(items, at_column + layout.dash, layout))
            }
            _ => None,
        };
        let splices = match lines {
            None => vec![Splice { range: colon..written.end, text: format!(" {}", fresh.flow(layout)) }],
            Some(lines) => {
                let at = line_end(self.source, written.end);
                vec![Splice::delete(colon..written.end), Splice::insert(at, format!("{}{lines}", layout.eol))]
            }
        };
        Ok(Plan { splices, trail: target.trail.clone(), change: Change::Replace(fresh) })
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

    /// Adds a mapping of scalars at the end of a list.
    pub(super) fn append(&self, target: Target<'a>, entries: &[(String, Value)]) -> Result<Plan, YamlError> {
        if entries.is_empty() {
            return unsupported(target.node(), "an item needs at least one entry");
        }
        let scalar = |(key, value): &(String, Value)| (key.clone(), Fresh::Scalar(value.clone()));
        let item = Fresh::Map(entries.iter().map(scalar).collect());
        if target.rest.is_empty() {
            self.push(target, item)
        } else {
            self.insert(target, Fresh::List(vec![item]))
        }
    }

    fn push(&self, target: Target<'a>, item: Fresh) -> Result<Plan, YamlError> {
        let node = target.node();
        refuse_fresh(node.line, &item)?;
        if node.is_null() {
            return self.fill_null(&target, Fresh::List(vec![item]));
        }
        let NodeKind::List(items) = &node.kind else {
            return Err(YamlError::Shape { expected: "a list", found: node.shape(), line: node.line });
        };
        let layout = self.layout(&target.chain, node.span.end);
        let layout = Layout { quotes: items.last().map_or(Style::Plain, quotes), ..layout };
        let splices = match items.last() {
            Some(last) if !node.flow => {
                let dash = column(self.source, self.dash(&target, target.chain.len() - 1, items.len() - 1)?);
                let offset = match last.as_map().next() {
                    Some((key, _)) if !last.flow => column(self.source, key.span.start).saturating_sub(dash),
                    _ => 2,
                };
                let at = after_lines(self.source, last)?;
                let lines = fresh::block_item(&item, dash, offset.max(2), layout);
                vec![Splice::insert(at, format!("{}{lines}", layout.eol))]
            }
            _ => self.extend_flow(node, &item.flow(layout))?,
        };
        Ok(Plan { splices, trail: target.trail, change: Change::Push(item) })
    }
}

/// Adds a document at the end of a stream; a stream without documents (comments at most) gets its first.
pub fn add_document(source: &str, documents: &[Document], fresh: &Fresh) -> Result<Plan, YamlError> {
    let eol = line_break(source, source.len());
    let terminated = source.ends_with('\n') || source.trim_start_matches('\u{feff}').is_empty();
    let last = documents.last().map(|document| &document.root);
    let line = last.map_or(1, |root| root.line);
    refuse_fresh(line, fresh)?;
    let Fresh::Map(entries) = fresh else {
        return Err(YamlError::Unsupported { reason: "a new document is a mapping", line });
    };
    let mut separator = String::new();
    if let Some(root) = last {
        if root.flow {
            return unsupported(root, "a file in flow notation (JSON) holds one document");
        }
        if !terminated {
            after_lines(source, root)?;
        }
        let block = last_leaf(root).as_scalar().is_some_and(|scalar| scalar.block.is_some());
        if !block && opened_by_blank_line(source, root) && !source.ends_with(&eol.repeat(2)) {
            separator.push_str(eol);
        }
        separator.push_str(&format!("---{eol}"));
    }
    let style = documents.iter().rev().map(|document| &document.root);
    let step = style.clone().find_map(|root| indent_step(source, root)).unwrap_or(2);
    let dash = style.clone().find_map(|root| dash_step(source, root)).unwrap_or(step);
    let layout = Layout { step, dash, eol, place: Place::default(), quotes: Style::Plain };
    let lines =
        if entries.is_empty() { fresh.flow(layout) } else { fresh::block_entries(entries, 0, layout) };
    let (before, after) = if terminated { ("", eol) } else { (eol, "") };
    let text = format!("{before}{separator}{lines}{after}");
    let splices = vec![Splice::insert(source.len(), text)];
    Ok(Plan { splices, trail: Vec::new(), change: Change::AddDocument(fresh.clone()) })
}

/// Whether the `---` that opens this document stands behind a blank line.
fn opened_by_blank_line(source: &str, root: &Node) -> bool {
    let before = source[..root.lead].strip_suffix("---").unwrap_or_default();
    before.ends_with("\n\n") || before.ends_with("\n\r\n")
}

/// End of the last line of a node, where following lines can be added.
fn after_lines(source: &str, node: &Node) -> Result<usize, YamlError> {
    let at = line_end(source, node.span.end);
    let leaf = last_leaf(node);
    if at == source.len() && leaf.as_scalar().is_some_and(|scalar| scalar.block.is_some()) {
        // A following line would give the block scalar the final line feed it does not have now.
        return unsupported(leaf, "a block scalar ends the file without a line break; add one first");
    }
    Ok(at)
}

/// The item with its merge key, which it must not contradict.
fn with_merge_key(node: &Node, key: &str, value: &str, item: Fresh) -> Result<Fresh, YamlError> {
    let Fresh::Map(mut entries) = item else {
        return unsupported(node, "an item with a merge key is a mapping");
    };
    match entries.iter().find(|(name, _)| name == key) {
        None => entries.insert(0, (key.to_owned(), Fresh::Scalar(Value::Text(value.to_owned())))),
        Some((_, Fresh::Scalar(Value::Text(text)))) if text == value => {}
        Some((_, Fresh::Scalar(Value::Int(int)))) if int.to_string() == value => {}
        Some(_) => return unsupported(node, "the new item says another value for its merge key"),
    }
    Ok(Fresh::Map(entries))
}

/// Refuses a fresh value with a placeholder, a key twice in one mapping, or a merge key.
fn refuse_fresh(line: usize, fresh: &Fresh) -> Result<(), YamlError> {
    refuse_templates(line, fresh)?;
    match fresh {
        Fresh::Scalar(_) => Ok(()),
        Fresh::List(items) => items.iter().try_for_each(|item| refuse_fresh(line, item)),
        Fresh::Map(entries) => {
            let mut seen = HashSet::new();
            for (key, value) in entries {
                if !seen.insert(key) {
                    return Err(YamlError::DuplicateKey { key: key.clone(), line });
                }
                if key == "<<" {
                    return Err(YamlError::Merged { path: Path::default().key("<<").to_string(), line });
                }
                refuse_fresh(line, value)?;
            }
            Ok(())
        }
    }
}

/// The quotes that every string of a mapping has; plain when they differ or there is none.
fn quotes(node: &Node) -> Style {
    let mut styles = node
        .as_map()
        .filter_map(|(_, value)| value.as_scalar())
        .filter(|scalar| scalar.block.is_none() && matches!(scalar.typed(), Value::Text(_)))
        .map(|scalar| scalar.style);
    let first = styles.next().unwrap_or(Style::Plain);
    if styles.all(|style| style == first) { first } else { Style::Plain }
}

fn last_leaf(node: &Node) -> &Node {
    match &node.kind {
        NodeKind::Map(entries) if !node.flow => entries.last().map_or(node, |(_, value)| last_leaf(value)),
        NodeKind::List(items) if !node.flow => items.last().map_or(node, last_leaf),
        _ => node,
    }
}

/// Columns the file indents nested block mappings by, from its first one.
pub(super) fn indent_step(source: &str, node: &Node) -> Option<usize> {
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

/// Columns between a key and the dashes of the block list under it, from the file's first one.
pub(super) fn dash_step(source: &str, node: &Node) -> Option<usize> {
    match &node.kind {
        NodeKind::Map(entries) if !node.flow => entries.iter().find_map(|(key, value)| {
            let list = matches!(&value.kind, NodeKind::List(_)) && !value.flow;
            let dash = list.then(|| find_indicator(source, value.lead, b"-")).flatten();
            let step = dash.and_then(|dash| column(source, dash).checked_sub(column(source, key.span.start)));
            step.or_else(|| dash_step(source, value))
        }),
        NodeKind::List(items) if !node.flow => items.iter().find_map(|item| dash_step(source, item)),
        _ => None,
    }
}
