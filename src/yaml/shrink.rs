//! Taking entries and items out: their lines and nothing else. A planned target comes in, the bytes to delete
//! go out.

use super::error::YamlError;
use super::node::NodeKind;
use super::oracle::Change;
use super::plan::{Plan, Planner, Target, absent, is_template, unsupported};
use super::source::{Splice, line_start, next_line, opens_line};

impl<'a> Planner<'a> {
    pub(super) fn remove(&self, mut target: Target<'a>) -> Result<Plan, YamlError> {
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
            let line_break = if self.source[..start].ends_with("\r\n") { 2 } else { 1 };
            return start - line_break..end;
        }
        start..end
    }

    fn blank(&self, from: usize, to: usize, comma: bool) -> bool {
        self.source[from..to].chars().all(|c| c.is_ascii_whitespace() || comma && c == ',')
    }
}
