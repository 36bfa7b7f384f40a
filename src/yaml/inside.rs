//! YAML inside YAML: a literal block scalar that holds a document (a Kustomize `patch: |-`, Helm values in an
//! Argo CD `Application`, a key of a ConfigMap). Its text comes out without the margin, splices of that text
//! go back as splices of the file.
//!
//! Nothing is written anew: a line that no splice touches keeps every byte, its margin included.

use super::error::YamlError;
use super::node::{Node, Style};
use super::source::{Splice, next_line};

/// Deepest YAML inside YAML that is edited; no tool of the field goes below the second.
pub const MAX_INSIDE: usize = 2;

/// The document in a literal block scalar.
#[derive(Debug)]
pub struct Embedded {
    /// Its bytes without the margin; line endings are the file's.
    pub text: String,
    lines: Vec<Line>,
    margin: String,
}

/// Where a line of the embedded text starts, in it and in the file, and how much of the margin it has there
/// (a blank line may have less).
#[derive(Debug)]
struct Line {
    inner: usize,
    outer: usize,
    margin: usize,
}

/// What a block scalar with this one's header makes of a text: `-` drops the line breaks at its end, `+` keeps
/// them, else one is left.
pub fn chomped(source: &str, node: &Node, text: &str) -> String {
    let text = unbroken(text);
    let header =
        node.as_scalar().and_then(|scalar| scalar.block.as_ref()).map_or(0..0, |it| it.header.clone());
    let body = text.trim_end_matches('\n');
    match (source[header.clone()].contains('+'), source[header].contains('-')) {
        (false, true) => body.to_owned(),
        (false, false) if text.len() > body.len() + 1 => format!("{body}\n"),
        _ => text,
    }
}

/// Takes the margin off a literal block scalar.
///
/// # Errors
/// [`YamlError::Shape`] for a collection, [`YamlError::Unsupported`] for every other notation, an anchor or a
/// tag.
pub fn open(source: &str, node: &Node) -> Result<Embedded, YamlError> {
    let refuse = |reason| Err(YamlError::Unsupported { reason, line: node.line });
    let Some(scalar) = node.as_scalar() else {
        return Err(YamlError::Shape { expected: "a block scalar", found: node.shape(), line: node.line });
    };
    if node.anchor.is_some() || scalar.tag.is_some() {
        return refuse("a text with an anchor or a tag is not edited inside");
    }
    let (Style::Literal, Some(block)) = (scalar.style, &scalar.block) else {
        return refuse(
            "only a literal block scalar (`|`) is edited inside; folding and quotes move its lines",
        );
    };
    let Some(margin) = block.indent else { return refuse("the block scalar is empty") };
    let strip = source[block.header.clone()].contains('-');
    let stop = if strip { node.span.end } else { next_line(source, node.span.end) };
    let mut embedded = Embedded { text: String::new(), lines: Vec::new(), margin: " ".repeat(margin) };
    let mut at = next_line(source, block.header.end);
    while at < stop {
        let end = next_line(source, at).min(stop);
        let line = &source[at..end];
        let spaces = line.len() - line.trim_start_matches(' ').len();
        let own = spaces.min(margin);
        embedded.lines.push(Line { inner: embedded.text.len(), outer: at, margin: own });
        embedded.text.push_str(&line[own..]);
        at = end;
    }
    if embedded.text.ends_with('\n') {
        embedded.lines.push(Line { inner: embedded.text.len(), outer: stop, margin: 0 });
    }
    if embedded.lines.is_empty() || unbroken(&embedded.text) != scalar.text {
        return refuse("this block scalar is laid out in an unusual way");
    }
    Ok(embedded)
}

/// A text as a reader of the block scalar sees it: every line break is a line feed.
fn unbroken(text: &str) -> String {
    text.replace("\r\n", "\n")
}

impl Embedded {
    /// Splices of the embedded text as splices of the file; new lines get the margin, blank ones none.
    pub fn outward(&self, splices: &[Splice]) -> Vec<Splice> {
        splices.iter().map(|splice| self.place(splice)).collect()
    }

    fn place(&self, splice: &Splice) -> Splice {
        let (start, end) = (splice.range.start, splice.range.end);
        let (first, last) = (self.line(start), self.line(end));
        let opens = start == first.inner;
        // The bytes behind the splice are whole lines that keep the margin they have.
        let closes = end == last.inner && (splice.text.ends_with('\n') || splice.text.is_empty() && opens);
        let from = if opens { first.outer } else { first.outer + first.margin + start - first.inner };
        let to = if closes { last.outer } else { last.outer + last.margin + end - last.inner };
        let mut text = String::with_capacity(splice.text.len());
        let mut at_margin = opens;
        for line in splice.text.split_inclusive('\n') {
            if at_margin && !line.trim_end_matches(['\r', '\n']).is_empty() {
                text.push_str(&self.margin);
            }
            text.push_str(line);
            at_margin = line.ends_with('\n');
        }
        let behind = &self.text[end..];
        if at_margin && !closes && !behind.is_empty() && !behind.starts_with(['\r', '\n']) {
            text.push_str(&self.margin);
        }
        Splice { range: from..to, text }
    }

    fn line(&self, at: usize) -> &Line {
        let after = self.lines.partition_point(|line| line.inner <= at);
        &self.lines[after.saturating_sub(1)]
    }
}
