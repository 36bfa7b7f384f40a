//! Finds the comments of a YAML text. The parsed documents come in; every comment with its place goes out, in
//! file order. What counts as a comment is what stands between tokens, never what stands in a value.

use std::ops::Range;

use crate::yaml::{Document, Node, NodeKind, Style};

/// One comment.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    /// From the `#` to the end of its line.
    pub span: Range<usize>,
    /// Columns before the `#`, in characters.
    pub column: usize,
    /// Nothing else stands on its line.
    pub alone: bool,
    /// It follows the header of a block scalar.
    pub header: bool,
    /// 1-based.
    pub line: usize,
    /// Index of the last comment of the unbroken run of comment lines that starts here.
    pub run_end: usize,
}

impl Comment {
    /// What stands behind the `#`.
    pub(super) fn text<'s>(&self, source: &'s str) -> &'s str {
        &source[self.span.start + 1..self.span.end]
    }
}

/// Every comment of the text.
pub(super) fn find(source: &str, documents: &[Document]) -> Vec<Comment> {
    let mut tokens = Vec::new();
    let mut headers = Vec::new();
    for document in documents {
        collect(source, &document.root, &mut tokens, &mut headers);
    }
    tokens.sort_by_key(|span| span.start);
    let mut comments = Vec::new();
    let mut at = 0;
    for span in tokens.iter().chain(std::iter::once(&(source.len()..source.len()))) {
        if span.start >= at {
            gap(source, at..span.start, &mut comments);
        }
        at = at.max(span.end);
    }
    comments.extend(headers);
    comments.sort_by_key(|comment: &Comment| comment.span.start);
    let (mut line, mut from) = (1, 0);
    for comment in &mut comments {
        line += source[from..comment.span.start].matches('\n').count();
        (comment.line, from) = (line, comment.span.start);
    }
    for index in (0..comments.len()).rev() {
        let follows =
            comments.get(index + 1).is_some_and(|next| next.alone && next.line == comments[index].line + 1);
        comments[index].run_end = if follows { comments[index + 1].run_end } else { index };
    }
    comments
}

fn collect(source: &str, node: &Node, tokens: &mut Vec<Range<usize>>, headers: &mut Vec<Comment>) {
    match &node.kind {
        NodeKind::Scalar(scalar) => {
            tokens.push(node.span.clone());
            if matches!(scalar.style, Style::Literal | Style::Folded) {
                let end = line_end(source, node.span.start);
                let before = headers.len();
                gap(source, node.span.start..end, headers);
                headers[before..].iter_mut().for_each(|comment| comment.header = true);
            }
        }
        NodeKind::Alias(_) => tokens.push(node.span.clone()),
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                collect(source, key, tokens, headers);
                collect(source, value, tokens, headers);
            }
        }
        NodeKind::List(items) => items.iter().for_each(|item| collect(source, item, tokens, headers)),
    }
}

fn gap(source: &str, range: Range<usize>, comments: &mut Vec<Comment>) {
    let mut at = range.start;
    while let Some(offset) = source[at..range.end].find('#') {
        let hash = at + offset;
        let before = source[..hash].chars().next_back();
        if before.is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{feff}')) {
            let end = line_end(source, hash);
            let start = line_start(source, hash);
            comments.push(Comment {
                span: hash..end,
                column: source[start..hash].chars().count(),
                alone: source[start..hash].bytes().all(|b| b == b' ' || b == b'\t'),
                header: false,
                line: 0,
                run_end: 0,
            });
            at = end.min(range.end);
        } else {
            at = hash + 1;
        }
    }
}

/// Offset of the first byte of the line; a byte order mark belongs to no line.
pub(super) fn line_start(source: &str, at: usize) -> usize {
    source[..at].rfind('\n').map_or_else(|| if source.starts_with('\u{feff}') { 3 } else { 0 }, |it| it + 1)
}

/// Offset of the line break that ends the line, or of the end of the text.
pub(super) fn line_end(source: &str, at: usize) -> usize {
    let end = source[at..].find('\n').map_or(source.len(), |it| at + it);
    if end > at && source[..end].ends_with('\r') { end - 1 } else { end }
}

/// Characters before this byte on its line.
pub(super) fn column(source: &str, at: usize) -> usize {
    source[line_start(source, at)..at].chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn comments_are_found_between_tokens_and_nowhere_else() {
        let source = "# top\na: 'x # no' # one\r\nb: |2 # two\n  text # no\n  # no\n # three\nc: [1, # four\n  2]\nd: a#no\n#\n";
        let documents = yaml::read(source.as_bytes()).unwrap();
        let found: Vec<_> = find(source, &documents)
            .iter()
            .map(|it| (it.text(source).to_owned(), it.alone, it.line))
            .collect();
        let expected = [
            (" top", true, 1),
            (" one", false, 2),
            (" two", false, 3),
            (" three", true, 6),
            (" four", false, 7),
            ("", true, 10),
        ];
        assert_eq!(found, expected.map(|(text, alone, line)| (text.to_owned(), alone, line)));
    }
}
