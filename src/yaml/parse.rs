//! From the events of `granit-parser` to a tree with byte spans; the text comes in, documents go out.
//!
//! What the parser leaves open is settled here: a block scalar's span starts at its header and ends with its
//! last line, a missing value has no text, a block collection ends where its last child ends.

use super::block;
use super::error::YamlError;
use super::node::{Alias, Anchor, Block, Document, Node, NodeKind, Scalar, Style};
use super::{MAX_DOCUMENTS, MAX_NESTING, MAX_NODES};
use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// What a node costs besides its text, in bytes, in a reader that copies aliases.
const NODE_COST: usize = 64;

/// Parses every document, within the bounds of this room.
pub fn parse(source: &str) -> Result<Vec<Document>, YamlError> {
    let mut options = Options::default();
    // Comments are not part of the tree, and the parser gives up after 96 of them in a row.
    options.emit_comments = false;
    options.emit_anchor_events = true;
    // libyaml and go-yaml read a block scalar that ends the file without a line break this way.
    options.block_scalar_eof_without_line_feed = true;
    options.flow_nesting_limit = MAX_NESTING;
    options.block_nesting_limit = MAX_NESTING;
    let mut builder = Builder { source, ..Builder::default() };
    for event in Parser::new_from_str_with_options(source, options) {
        let (event, span) = event.map_err(syntax)?;
        builder.event(event, span)?;
    }
    Ok(builder.documents)
}

fn syntax(source: ScanError) -> YamlError {
    YamlError::Syntax { line: source.marker().line(), source }
}

/// A collection whose end has not come yet.
#[derive(Debug)]
struct Open {
    node: Node,
    map: bool,
    children: Vec<Node>,
    cost: usize,
}

#[derive(Debug, Default)]
struct Builder<'s> {
    source: &'s str,
    documents: Vec<Document>,
    open: Vec<Open>,
    root: Option<Node>,
    root_cost: usize,
    /// End of the last token in source order.
    last_end: usize,
    nodes: usize,
    /// Names and lines of the anchors.
    names: HashMap<usize, (String, usize)>,
    costs: HashMap<usize, usize>,
    aliases: HashMap<usize, Vec<usize>>,
    recursive: bool,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let range = span.byte_range().unwrap_or(0..0);
        let line = span.start.line();
        match event {
            Event::DocumentStart(explicit, _) => {
                // An implicit start has no token, and may be reported behind the first one.
                self.last_end = if explicit { range.end.max(self.last_end) } else { self.last_end };
                self.bound(self.documents.len(), MAX_DOCUMENTS, "documents", line)?;
            }
            Event::DocumentEnd => {
                self.last_end = range.end.max(self.last_end);
                self.end_document();
            }
            Event::Anchor(id, name) => self.name_anchor(id, &name, line),
            Event::Alias(id) => {
                let cost = self.costs.get(&id).copied();
                self.recursive |= cost.is_none();
                self.aliases.entry(id).or_default().push(line);
                let (name, anchor_line) = self.names.get(&id).cloned().unwrap_or_default();
                let node = self.node(NodeKind::Alias(Alias { name, anchor_line, id }), range, line, 0);
                self.add(node, cost.unwrap_or(NODE_COST))?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = self.scalar(&text, style, tag, &range);
                let end = scalar.block.as_ref().map(|block| block.header.start);
                let cost = NODE_COST + text.len();
                let mut node = self.node(NodeKind::Scalar(scalar), range.clone(), line, anchor);
                if let Some(start) = end {
                    node.line = line_of(self.source, start, range.start, line);
                    node.span = start..block::end(self.source, &node, range.end);
                }
                self.last_end = range.end;
                self.add(node, cost)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                let mut node = self.node(NodeKind::List(Vec::new()), range, line, anchor);
                node.flow = style == StructureStyle::Flow;
                node.tag = tag_text(tag);
                self.start(node, false, line)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                let mut node = self.node(NodeKind::Map(Vec::new()), range, line, anchor);
                node.flow = style == StructureStyle::Flow;
                node.tag = tag_text(tag);
                self.start(node, true, line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(range)?,
            _ => {}
        }
        Ok(())
    }

    fn bound(&self, count: usize, limit: usize, what: &'static str, line: usize) -> Result<(), YamlError> {
        if count < limit { Ok(()) } else { Err(YamlError::Bound { what, limit, line }) }
    }

    fn node(&self, kind: NodeKind, span: std::ops::Range<usize>, line: usize, anchor: usize) -> Node {
        let anchor = (anchor != 0).then(|| Anchor { id: anchor, name: String::new() });
        Node { kind, line, span, lead: self.last_end, anchor, tag: None, flow: false }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<Cow<'_, Tag>>,
        range: &std::ops::Range<usize>,
    ) -> Scalar {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        // A missing value is reported as `~` with an empty span.
        let absent = style == Style::Plain && range.is_empty();
        let block: Option<Block> = matches!(style, Style::Literal | Style::Folded)
            .then(|| block::locate(self.source, self.last_end, range.start, text))
            .flatten();
        Scalar {
            text: if absent { String::new() } else { text.to_owned() },
            style,
            tag: tag_text(tag),
            block,
        }
    }

    /// The anchor event follows its node: the last child added, the collection just opened, or the root.
    fn name_anchor(&mut self, id: usize, name: &str, line: usize) {
        self.names.insert(id, (name.to_owned(), line));
        let node = match self.open.last_mut() {
            Some(open) => match open.children.last_mut() {
                Some(child) => Some(child),
                None => Some(&mut open.node),
            },
            None => self.root.as_mut(),
        };
        if let Some(anchor) = node.and_then(|node| node.anchor.as_mut()).filter(|anchor| anchor.id == id) {
            anchor.name = name.to_owned();
        }
    }

    fn start(&mut self, node: Node, map: bool, line: usize) -> Result<(), YamlError> {
        // Flow and block nesting have their own limits in the parser; this one counts both together.
        self.bound(self.open.len(), MAX_NESTING, "nested collections", line)?;
        if node.flow {
            self.last_end = node.span.end;
        }
        self.open.push(Open { node, map, children: Vec::new(), cost: NODE_COST });
        Ok(())
    }

    fn end(&mut self, range: std::ops::Range<usize>) -> Result<(), YamlError> {
        let Some(Open { mut node, map, children, cost }) = self.open.pop() else { return Ok(()) };
        if node.flow {
            node.span.end = range.end;
            self.last_end = range.end;
        } else {
            node.span.start = children.first().map_or(node.span.start, |child| child.span.start);
            node.span.end =
                children.last().map_or(node.span.start, |child| child.span.end.max(child.span.start));
        }
        node.kind = if map {
            let mut entries = Vec::with_capacity(children.len() / 2);
            let mut children = children.into_iter();
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                entries.push((key, value));
            }
            NodeKind::Map(entries)
        } else {
            NodeKind::List(children)
        };
        self.add(node, cost)
    }

    fn add(&mut self, node: Node, cost: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        self.bound(self.nodes, MAX_NODES + 1, "nodes", node.line)?;
        if matches!(node.kind, NodeKind::Alias(_)) {
            self.last_end = node.span.end;
        }
        if let Some(anchor) = &node.anchor {
            self.costs.insert(anchor.id, cost);
        }
        match self.open.last_mut() {
            Some(open) => {
                open.cost = open.cost.saturating_add(cost);
                open.children.push(node);
            }
            None => {
                self.root_cost = cost;
                self.root = Some(node);
            }
        }
        Ok(())
    }

    fn end_document(&mut self) {
        let at = self.last_end;
        let Some(root) = self.root.take().or_else(|| {
            let scalar = Scalar { text: String::new(), style: Style::Plain, tag: None, block: None };
            Some(self.node(NodeKind::Scalar(scalar), at..at, 1, 0))
        }) else {
            return;
        };
        self.documents.push(Document {
            root,
            aliases: std::mem::take(&mut self.aliases),
            expanded: (!self.recursive).then_some(self.root_cost),
        });
        self.recursive = false;
        self.costs.clear();
        self.names.clear();
    }
}

fn tag_text(tag: Option<Cow<'_, Tag>>) -> Option<String> {
    tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()))
}

/// The line of `at`, known that `from` is on `line` and not before `at`.
fn line_of(source: &str, at: usize, from: usize, line: usize) -> usize {
    line - source[at..from.max(at)].matches('\n').count().min(line - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Path, Value};

    fn one(source: &str) -> Document {
        parse(source).unwrap().remove(0)
    }

    #[track_caller]
    fn slice<'s>(source: &'s str, path: &str) -> &'s str {
        let document = one(source);
        let node = document.root.at(&Path::parse(path).unwrap()).unwrap();
        &source[node.span.clone()]
    }

    #[test]
    fn block_scalars_span_header_to_last_content_line() {
        for (source, span) in [
            ("a: |-\n    x\n     y\n\n\nb: 1\n", "|-\n    x\n     y"),
            ("a: &x |2+ # c\n    x\n\nb: 1\n", "|2+ # c\n    x\n"),
            ("a: !t >\n  f\n  g", ">\n  f\n  g"),
            ("a:\n  # why\n  |\n  x\nb: 1\n", "|\n  x"),
            ("a: |\n\nb: 1\n", "|"),
            ("a: |\n\n\n   x  \nb: 1\n", "|\n\n\n   x  "),
            ("a: |\r\n  x\r\n  y\r\nb: 1\r\n", "|\r\n  x\r\n  y"),
            ("a: |\n  x\n  # in\n # out\nb: 1\n", "|\n  x\n  # in"),
            ("a: |\n  x\n    \n", "|\n  x\n    "),
            ("? k\n: - |\n   x\n", ""),
        ] {
            if !span.is_empty() {
                assert_eq!(slice(source, "a"), span, "{source:?}");
            }
        }
    }

    #[test]
    fn a_missing_value_is_null_and_has_no_text() {
        let document = one("a:\nb: ~\nc: null # x\nd: ''\n");
        let values: Vec<_> =
            document.root.as_map().map(|(_, v)| (v.text().unwrap().to_owned(), v.is_null())).collect();
        assert_eq!(
            values,
            [(String::new(), true), ("~".into(), true), ("null".into(), true), (String::new(), false)]
        );
    }

    #[test]
    fn lines_count_from_one_and_block_scalars_start_at_their_header() {
        let document = one("a: 1\nb:\n  - c: |\n\n      x\n  - d\n");
        let at = |path: &str| document.root.at(&Path::parse(path).unwrap()).unwrap().line;
        assert_eq!((at("a"), at("b[0].c"), at("b[1]")), (1, 3, 6));
    }

    #[test]
    fn tags_decide_the_type() {
        let document = one("a: !!str 1\nb: !!int \"7\"\nc: !x 1\nd: '1'\n");
        let at = |key: &str| document.root.get(key).unwrap().as_scalar().unwrap().typed();
        assert_eq!(at("a"), Value::Text("1".into()));
        assert_eq!(at("b"), Value::Int(7));
        assert_eq!(at("c"), Value::Text("1".into()));
        assert_eq!(at("d"), Value::Text("1".into()));
    }

    #[test]
    fn aliases_keep_their_name_and_lead_to_their_target() {
        let document = one("a: &x {k: v}\nb: *x\n");
        let NodeKind::Alias(alias) = &document.root.get("b").unwrap().kind else { panic!("an alias") };
        assert_eq!((alias.name.as_str(), alias.anchor_line), ("x", 1));
        assert_eq!(document.target(alias).unwrap().get("k").unwrap().as_str(), Some("v"));
        assert!(document.root.get("a").unwrap().anchor.is_some());
    }

    #[test]
    fn an_empty_stream_has_no_document_and_an_empty_document_is_null() {
        assert!(parse("").unwrap().is_empty());
        assert!(parse("# only\n").unwrap().is_empty());
        let documents = parse("---\n# c\n---\na: 1\n...\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert!(documents[0].root.is_null());
    }
}
