//! Literal and folded block scalars: where header and lines are, and writing new lines under an old header.

use super::node::{Block, Node, Style};
use super::scalar::is_visible;
use super::source::{self, Splice, line_break, next_line};

/// Finds the header between the token before and the first content byte.
pub fn locate(source: &str, lead: usize, content: usize, text: &str) -> Option<Block> {
    let start = source::find_indicator(source, lead, b"|>")?;
    let length =
        source[start..].bytes().take_while(|b| matches!(b, b'|' | b'>' | b'+' | b'-' | b'0'..=b'9')).count();
    let empty = text.chars().all(|c| c == '\n');
    let indent = (!empty).then(|| source::column(source, content.min(source.len())));
    Some(Block { header: start..start + length, indent })
}

/// End of the last line that belongs to the scalar, without its line break. Blank lines after the content
/// belong to it only under `+`; the next node's indentation never does.
pub fn end(source: &str, node: &Node, raw_end: usize) -> usize {
    let Some(block) = node.as_scalar().and_then(|scalar| scalar.block.as_ref()) else { return raw_end };
    let header_end = source::line_end(source, block.header.end);
    let keep = source[block.header.clone()].contains('+');
    let indent = block.indent.unwrap_or(usize::MAX);
    let mut end = header_end;
    let mut line = next_line(source, block.header.end);
    while line < raw_end {
        let line_end = source::line_end(source, line);
        let complete = line_end < raw_end || line_end == source.len();
        let content = line_end - line > indent && raw_end > line + indent;
        if content || keep && complete && line_end > line || keep && line_end < raw_end {
            end = line_end;
        }
        line = next_line(source, line);
    }
    end
}

/// Splices that give a literal scalar new text, with its header and indentation; `None` when it cannot hold
/// it.
pub fn rewrite(source: &str, node: &Node, text: &str) -> Option<Vec<Splice>> {
    let scalar = node.as_scalar().filter(|scalar| scalar.style == Style::Literal)?;
    let block = scalar.block.as_ref()?;
    let indent = block.indent?;
    let body = text.trim_end_matches('\n');
    let holds = |line: &str| line.chars().all(|c| is_visible(c) || c == '\t');
    let header = &source[block.header.clone()];
    let explicit = header.contains(|c: char| c.is_ascii_digit());
    if body.is_empty() || !body.split('\n').all(holds) || !explicit && body.starts_with([' ', '\t', '\n']) {
        return None;
    }
    // Without a line break at the end of the file, readers see no final line feed whatever the header says.
    let unterminated = node.span.end == source.len();
    let breaks = text.len() - body.len();
    let chomp = match (breaks, header.contains('-'), header.contains('+')) {
        (0, true, _) => header.to_owned(),
        (0, _, _) if unterminated => header.to_owned(),
        (_, _, _) if unterminated => return None,
        (0, _, _) => format!("{}-", header.replace('+', "")),
        (1, false, false) => header.to_owned(),
        // Under `+`, one line feed is right only if no blank line follows.
        (1, _, _) => header.replace(['-', '+'], ""),
        _ => return None,
    };
    let eol = line_break(source, block.header.end);
    let margin = " ".repeat(indent);
    let lines: Vec<String> = body
        .split('\n')
        .map(|line| if line.is_empty() { String::new() } else { format!("{margin}{line}") })
        .collect();
    let first = next_line(source, block.header.end);
    let mut splices = vec![Splice { range: first..node.span.end, text: lines.join(eol) }];
    if chomp != header {
        splices.push(Splice { range: block.header.clone(), text: chomp });
    }
    Some(splices)
}

/// Splices that put an inline scalar where a block scalar stood; a comment on its header line stays.
pub fn inline(source: &str, node: &Node, text: String) -> Option<Vec<Splice>> {
    let block = node.as_scalar()?.block.as_ref()?;
    let header_end = source::line_end(source, block.header.end).min(node.span.end);
    let mut splices = vec![Splice { range: block.header.clone(), text }];
    if header_end < node.span.end {
        splices.push(Splice::delete(header_end..node.span.end));
    }
    Some(splices)
}
