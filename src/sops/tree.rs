//! Walks documents as sops walks them: every leaf with its keys, and whether the file's rule encrypts it. The
//! text, its documents and the rule come in; leaves in file order and comments with their level go out.
//!
//! Comments decide only under the two comment rules. go-yaml attaches them by column: a comment at the column
//! of a level belongs to the next entry of that level, one behind a scalar to that scalar, one behind a key
//! to all below it. Any other place is not certain, and a comment there that decides is refused.

use std::collections::HashSet;
use std::ops::Range;

use super::comments::{self, Comment, column, line_end};
use super::error::SopsError;
use super::rule::Rule;
use super::secret::{Kind, Plaintext};
use super::store::Store;
use super::value::{self, Typed};
use crate::yaml::{Document, Node, NodeKind, Path, Step, Style};

/// A scalar of a file.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub document: usize,
    pub path: Path,
    /// The mapping keys that lead to it.
    pub keys: Vec<String>,
    pub line: usize,
    pub span: Range<usize>,
    /// The rule says that it is encrypted.
    pub sealed: bool,
    /// Inside brackets or braces.
    pub flow: bool,
    pub tagged: bool,
    /// As written: a sealed leaf of a SOPS file has its ciphertext here.
    pub typed: Typed,
}

/// A comment of a file.
#[derive(Debug, Clone)]
pub(super) struct Remark {
    pub span: Range<usize>,
    pub line: usize,
    pub keys: Vec<String>,
    pub sealed: bool,
    /// Whether its level is certain.
    pub certain: bool,
}

/// All of a file.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub leaves: Vec<Leaf>,
    pub remarks: Vec<Remark>,
}

/// Walks every document; the top-level key `sops` is left out.
pub(super) fn walk(
    store: Store,
    source: &str,
    documents: &[Document],
    rule: &Rule,
) -> Result<Tree, SopsError> {
    let comments = if store == Store::Yaml { comments::find(source, documents) } else { Vec::new() };
    let mut walker = Walker {
        store,
        source,
        rule,
        comments,
        next: 0,
        at: 0,
        document: 0,
        active: Vec::new(),
        keys: Vec::new(),
        steps: Vec::new(),
        tree: Tree::default(),
    };
    for (index, document) in documents.iter().enumerate() {
        walker.document = index;
        let end = document_end(source, documents, index);
        match &document.root.kind {
            NodeKind::Map(_) => walker.map(&document.root, end, is_flow(source, &document.root))?,
            NodeKind::Scalar(_) if document.root.is_null() => {}
            _ => {
                let reason = "sops takes only documents that are mappings";
                return Err(SopsError::Tree { line: document.root.line, reason });
            }
        }
        walker.at = end;
    }
    Ok(walker.tree)
}

/// Offset of the marker line that ends a document, or of the end of the text.
pub(super) fn document_end(source: &str, documents: &[Document], index: usize) -> usize {
    let from = documents[index].root.span.end;
    if index + 1 == documents.len() && !source[from..].contains("\n...") {
        return source.len();
    }
    let mut at = from;
    while let Some(offset) = source[at..].find('\n') {
        at += offset + 1;
        let line = source[at..].lines().next().unwrap_or("");
        let marker = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
        if marker.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r'])) {
            return at;
        }
    }
    source.len()
}

/// Whether a collection is written with brackets or braces.
pub(super) fn is_flow(source: &str, node: &Node) -> bool {
    let first = match &node.kind {
        NodeKind::Map(entries) => entries.first().map(|(key, _)| key.span.start),
        NodeKind::List(items) => items.first().map(|item| item.span.start),
        NodeKind::Scalar(_) | NodeKind::Alias(_) => return false,
    };
    // A block collection starts where its first child starts; brackets stand before theirs.
    first != Some(node.span.start) && source[node.span.start..].starts_with(['{', '['])
}

struct Walker<'a> {
    store: Store,
    source: &'a str,
    rule: &'a Rule,
    comments: Vec<Comment>,
    /// First comment not placed yet.
    next: usize,
    /// End of the last token.
    at: usize,
    document: usize,
    /// How many comments in force decide, per level.
    active: Vec<usize>,
    keys: Vec<String>,
    steps: Vec<Step>,
    tree: Tree,
}

impl Walker<'_> {
    fn map(&mut self, node: &Node, until: usize, flow: bool) -> Result<(), SopsError> {
        self.active.push(0);
        let level = node.as_map().next().map(|(key, _)| column(self.source, key.span.start));
        let entries: Vec<_> = node.as_map().collect();
        let mut names = HashSet::new();
        for (index, (key, value)) in entries.iter().enumerate() {
            let name = self.key(key)?;
            if !names.insert(name.clone()) {
                return Err(SopsError::Tree { line: key.line, reason: "the key is there twice" });
            }
            self.place(key.span.start, level, flow)?;
            self.at = key.span.end;
            let metadata = self.keys.is_empty() && self.steps.is_empty() && name == "sops";
            let then = entries.get(index + 1).map_or(until, |(key, _)| key.span.start);
            if metadata {
                while self.comments.get(self.next).is_some_and(|it| it.span.start < value.span.end) {
                    self.next += 1;
                }
            } else {
                self.keys.push(name.clone());
                self.steps.push(Step::Key(name));
                self.child(value, then, flow)?;
                self.steps.pop();
                self.keys.pop();
            }
            if let Some(active) = self.active.last_mut() {
                *active = 0;
            }
        }
        self.trailing(level, until, flow)?;
        self.active.pop();
        Ok(())
    }

    fn key(&self, key: &Node) -> Result<String, SopsError> {
        let refuse = |reason| Err(SopsError::Tree { line: key.line, reason });
        let NodeKind::Scalar(scalar) = &key.kind else {
            return refuse("sops takes only keys that are strings");
        };
        let merge = scalar.tag.as_deref() == Some("tag:yaml.org,2002:merge");
        if scalar.text == "<<" && scalar.style == Style::Plain && !merge {
            return refuse("merge keys are written out by sops; write this one out first");
        }
        let string = merge
            || self.store != Store::Yaml
            || matches!(value::yaml(key), Ok(Typed::Value(it)) if it.kind == Kind::Text);
        if !string {
            return refuse("sops takes only keys that are strings");
        }
        Ok(scalar.text.clone())
    }

    fn list(&mut self, node: &Node, until: usize, flow: bool) -> Result<(), SopsError> {
        self.active.push(0);
        let mut level = None;
        let items: Vec<&Node> = node.as_list().collect();
        for (index, item) in items.iter().enumerate() {
            if !flow {
                let dash = self.dash(self.at, item.span.start);
                level = Some(column(self.source, dash));
                // go-yaml hands a comment above an item that is not there to somebody else.
                self.place(dash, level.filter(|_| !item.span.is_empty()), flow)?;
                self.at = dash + 1;
            }
            let then = match items.get(index + 1) {
                Some(next) if flow => next.span.start,
                Some(next) => self.dash(item.span.end, next.span.start),
                None => until,
            };
            self.steps.push(Step::Index(index));
            self.child(item, then, flow)?;
            self.steps.pop();
            if let Some(active) = self.active.last_mut() {
                *active = 0;
            }
        }
        self.trailing(level, until, flow)?;
        self.active.pop();
        Ok(())
    }

    /// The first dash between two offsets that is not in a comment.
    fn dash(&self, from: usize, before: usize) -> usize {
        let inside = |at: usize| {
            let next = self.comments.partition_point(|it| it.span.start <= at);
            next.checked_sub(1).is_some_and(|it| self.comments[it].span.contains(&at))
        };
        let dashes = self.source[from..before].match_indices('-').map(|(offset, _)| from + offset);
        dashes.into_iter().find(|at| !inside(*at)).unwrap_or(before)
    }

    fn child(&mut self, node: &Node, until: usize, in_flow: bool) -> Result<(), SopsError> {
        let flow = in_flow || is_flow(self.source, node);
        match &node.kind {
            NodeKind::Map(_) | NodeKind::List(_) => {
                // Behind a key or dash, on its line: in force for everything below.
                let line = line_end(self.source, self.at).min(node.span.start);
                let key = matches!(self.steps.last(), Some(Step::Key(_)));
                self.take(line, true, |_| key && !flow)?;
                let end = if flow { node.span.end } else { until };
                if matches!(node.kind, NodeKind::Map(_)) {
                    self.map(node, end, flow)?;
                } else {
                    self.list(node, end, flow)?;
                }
                self.at = node.span.end;
                if flow && !in_flow {
                    self.take(line_end(self.source, node.span.end).min(until), true, |_| false)?;
                }
                Ok(())
            }
            NodeKind::Alias(_) => {
                let reason = "aliases are written out by sops; write this one out first";
                Err(SopsError::Tree { line: node.line, reason })
            }
            NodeKind::Scalar(scalar) => {
                let end = line_end(self.source, node.span.end).min(until);
                self.take(if in_flow { node.span.end } else { end }, true, |_| !in_flow)?;
                self.at = node.span.end;
                let typed = self.typed(node).map_err(|reason| SopsError::Value {
                    line: node.line,
                    path: Path(self.steps.clone()).to_string(),
                    reason,
                })?;
                let sealed = self.sealed(&self.keys, false);
                self.tree.leaves.push(Leaf {
                    document: self.document,
                    path: Path(self.steps.clone()),
                    keys: self.keys.clone(),
                    line: node.line,
                    span: node.span.clone(),
                    sealed,
                    flow,
                    tagged: scalar.tag.is_some(),
                    typed,
                });
                Ok(())
            }
        }
    }

    fn typed(&self, node: &Node) -> Result<Typed, &'static str> {
        typed(self.store, self.source, node)
    }

    /// Places the comments before an entry of this level.
    fn place(&mut self, before: usize, level: Option<usize>, flow: bool) -> Result<(), SopsError> {
        self.take(before, false, |comment| !flow && comment.alone && Some(comment.column) == level)
    }

    /// Places the comments that end a nested collection; they are in force for nothing.
    fn trailing(&mut self, level: Option<usize>, until: usize, flow: bool) -> Result<(), SopsError> {
        let root = self.steps.is_empty();
        let zero = matches!(self.steps.last(), Some(Step::Key(_)));
        while let Some(comment) = self.comments.get(self.next).cloned() {
            if comment.span.start >= until {
                break;
            }
            let column = Some(comment.column);
            // A list may stand at the column of its key: then the line that follows decides.
            let ours = flow
                || root
                || column > level
                || column == level && !(zero && self.touches(self.next, until));
            if !ours {
                break;
            }
            let certain = !flow && comment.alone && column == level;
            self.put(false, certain)?;
            if let Some(active) = self.active.last_mut() {
                *active = 0;
            }
        }
        Ok(())
    }

    /// Whether only comments and no empty line stand between this comment and an offset, and the token there
    /// is at the comment's column.
    fn touches(&self, index: usize, until: usize) -> bool {
        let last = &self.comments[self.comments[index].run_end];
        let between = self.source.get(last.span.end..until).unwrap_or("");
        between.trim() == ""
            && between.matches('\n').count() == 1
            && until < self.source.len()
            && column(self.source, until) == self.comments[index].column
    }

    /// Places comments up to an offset; `behind` says that they stand between a key or dash and its value's
    /// end, and so belong to the collection around it.
    fn take(
        &mut self,
        before: usize,
        behind: bool,
        certain: impl Fn(&Comment) -> bool,
    ) -> Result<(), SopsError> {
        while let Some(comment) = self.comments.get(self.next).filter(|it| it.span.start < before).cloned() {
            self.put(behind, certain(&comment))?;
        }
        Ok(())
    }

    /// Puts the next comment in force at the innermost level.
    fn put(&mut self, behind: bool, certain: bool) -> Result<(), SopsError> {
        let index = self.next;
        self.next += 1;
        let comment = self.comments[index].clone();
        let marks = self.rule.marks(comment.text(self.source));
        if !certain && marks {
            return Err(SopsError::Comment { line: comment.line });
        }
        if let Some(active) = self.active.last_mut() {
            *active += usize::from(marks);
        }
        let own = usize::from(behind && matches!(self.steps.last(), Some(Step::Key(_))));
        let keys = self.keys[..self.keys.len() - own].to_vec();
        let sealed = self.sealed(&keys, marks);
        self.tree.remarks.push(Remark { span: comment.span, line: comment.line, keys, sealed, certain });
        Ok(())
    }

    /// Whether the rule encrypts what stands under these keys now. A comment that switches encryption on is
    /// not encrypted by itself.
    fn sealed(&self, keys: &[String], itself_marks: bool) -> bool {
        let own = usize::from(itself_marks && self.rule.field() == "encrypted_comment_regex");
        let in_force: usize = self.active.iter().sum();
        self.rule.encrypted(keys, in_force > own)
    }
}

/// Types a scalar as its store does.
pub(super) fn typed(store: Store, source: &str, node: &Node) -> Result<Typed, &'static str> {
    match &node.kind {
        NodeKind::Scalar(scalar) if store == Store::Json => match scalar.style {
            Style::DoubleQuoted => Ok(Typed::Value(Plaintext::text(&scalar.text))),
            _ => value::json_literal(&source[node.span.clone()]),
        },
        _ => value::yaml(node),
    }
}
