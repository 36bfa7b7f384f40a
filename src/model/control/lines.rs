//! Which lines of a Markdown text are its author's own words: at the left edge, in no code block, in no quote.
//! Text comes in, lines go out. Where two renderers could disagree the line does not count: an order that was
//! missed is written again, one that nobody gave is not taken back.

/// Most spaces before a fence or a quote that still make it one.
const INDENT_MAX: usize = 3;

/// A line that stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnLine<'a> {
    pub text: &'a str,
    /// Nothing above it could hide it or make it code: no HTML in the text, no open code span in its paragraph.
    pub is_plain: bool,
}

/// The text with one kind of line end. Forges take a lone carriage return for one as well.
pub fn unified(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// What the lines so far have opened.
#[derive(Default)]
struct Above<'a> {
    /// Sign and least length of what closes the code block; `None` in the length: nothing does.
    fence: Option<(char, Option<usize>)>,
    /// In a quote until the next blank line, which needs no `>` (lazy continuation).
    is_quoted: bool,
    has_html: bool,
    /// Lines of this paragraph.
    paragraph: Vec<&'a str>,
}

/// The lines that count, in order; `text` is [`unified`].
pub fn own(text: &str) -> Vec<OwnLine<'_>> {
    let mut above = Above::default();
    let mut own = Vec::new();
    for line in text.split('\n') {
        if above.counts(line) {
            let is_plain = !above.has_html && !has_open_code(&above.paragraph);
            own.push(OwnLine { text: line, is_plain });
        }
        above.take(line);
    }
    own
}

impl<'a> Above<'a> {
    fn counts(&self, line: &str) -> bool {
        let at_the_edge = line.starts_with(|c: char| !c.is_whitespace());
        at_the_edge
            && self.fence.is_none()
            && !self.is_quoted
            && !line.starts_with('>')
            && fence(line).is_none()
    }

    fn take(&mut self, line: &'a str) {
        if let Some((sign, least)) = self.fence {
            if least.is_some_and(|least| closes(line, sign, least)) {
                self.fence = None;
            }
            return;
        }
        if let Some((indent, sign, length)) = fence(line) {
            // An indented one may belong to a list item, and end with it: what follows is never sure.
            self.fence = Some((sign, (indent == 0).then_some(length)));
            self.is_quoted = false;
            self.paragraph.clear();
            return;
        }
        self.has_html |= has_html(line);
        if line.trim().is_empty() {
            self.is_quoted = false;
            self.paragraph.clear();
        } else {
            self.is_quoted |= unindented(line).is_some_and(|it| it.starts_with('>'));
            self.paragraph.push(line);
        }
    }
}

/// The line without its few leading spaces; `None` when there are more, which makes it code.
fn unindented(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches(' ');
    (line.len() - rest.len() <= INDENT_MAX).then_some(rest)
}

/// Indent, sign and length of the fence that opens a code block here.
fn fence(line: &str) -> Option<(usize, char, usize)> {
    let rest = unindented(line)?;
    let sign = rest.chars().next().filter(|it| matches!(it, '`' | '~'))?;
    let after = rest.trim_start_matches(sign);
    let length = rest.len() - after.len();
    // "```a```" is a code span in a paragraph.
    let is_fence = length >= 3 && !(sign == '`' && after.contains('`'));
    is_fence.then_some((line.len() - rest.len(), sign, length))
}

fn closes(line: &str, sign: char, least: usize) -> bool {
    unindented(line).is_some_and(|rest| {
        let after = rest.trim_start_matches(sign);
        rest.len() - after.len() >= least && after.trim().is_empty()
    })
}

/// A tag, a comment or a declaration begins here. `<3` and `a < b` are words.
fn has_html(line: &str) -> bool {
    let opens = |c: char| c.is_ascii_alphabetic() || matches!(c, '!' | '?' | '/');
    line.split('<').skip(1).any(|after| after.starts_with(opens))
}

/// Is a run of backticks still waiting for one of its length?
fn has_open_code(paragraph: &[&str]) -> bool {
    let mut waiting: Option<usize> = None;
    let mut run = 0;
    for c in paragraph.iter().flat_map(|line| line.chars().chain(['\n'])) {
        if c == '`' {
            run += 1;
        } else if run > 0 {
            waiting = match waiting {
                None => Some(run),
                Some(length) if length == run => None,
                Some(length) => Some(length),
            };
            run = 0;
        }
    }
    waiting.is_some()
}
