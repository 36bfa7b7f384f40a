//! Text for people, as pieces: what it says, how it looks, where it leads. Whatever comes in is made
//! harmless when it is shown: labels and log lines are written by others, and a terminal obeys escapes.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::terminal::{Terminal, relative, rfc3339};
use crate::outside::command::is_unprintable;

/// How a piece looks where colour is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Strong,
    Dim,
}

/// The five symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    Doing,
    Done,
    Failed,
    Warning,
    Waiting,
}

#[derive(Debug, Clone)]
enum Content {
    /// One line, whatever is in it.
    Line(String),
    /// Line ends stay: a body that somebody wrote.
    Block(String),
    Symbol(Symbol),
    Time(Timestamp),
}

/// One piece of text, or one cell of a table.
#[derive(Debug, Clone)]
pub struct Piece {
    content: Content,
    style: Style,
    link: Option<String>,
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Self { content: Content::Line(text), style: Style::Plain, link: None }
    }
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Timestamp> for Piece {
    fn from(at: Timestamp) -> Self {
        Self { content: Content::Time(at), style: Style::Plain, link: None }
    }
}

impl From<Symbol> for Piece {
    fn from(symbol: Symbol) -> Self {
        let style = match symbol {
            Symbol::Doing => Style::Strong,
            Symbol::Done => Style::Good,
            Symbol::Failed => Style::Bad,
            Symbol::Warning => Style::Warn,
            Symbol::Waiting => Style::Dim,
        };
        Self { content: Content::Symbol(symbol), style, link: None }
    }
}

impl Piece {
    #[must_use]
    pub fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Where a click leads, on a terminal that knows links.
    #[must_use]
    pub fn linked(mut self, url: Option<String>) -> Self {
        self.link = url.filter(|url| url.bytes().all(|c| c.is_ascii_graphic()));
        self
    }

    /// What a reader sees, without colour and links.
    #[must_use]
    pub fn shown(&self, terminal: &Terminal) -> String {
        match &self.content {
            Content::Line(text) => harmless(text, false, terminal.unicode),
            Content::Block(text) => harmless(text, true, true),
            Content::Symbol(symbol) => symbol.shown(terminal.unicode).to_owned(),
            Content::Time(at) => terminal.now.map_or_else(|| rfc3339(*at), |now| relative(*at, now)),
        }
    }

    /// As shown, in colour and clickable where the terminal takes it.
    #[must_use]
    pub fn painted(&self, terminal: &Terminal) -> String {
        let mut text = self.shown(terminal);
        let style = self.style.ansi();
        if terminal.colour && self.style != Style::Plain && !text.is_empty() {
            text = format!("{style}{text}{style:#}");
        }
        match &self.link {
            Some(url) if terminal.links => format!("\u{1b}]8;;{url}\u{1b}\\{text}\u{1b}]8;;\u{1b}\\"),
            _ => text,
        }
    }
}

impl Style {
    fn ansi(self) -> anstyle::Style {
        use anstyle::AnsiColor as Color;
        let plain = anstyle::Style::new();
        match self {
            Self::Plain => plain,
            Self::Good => Color::Green.on_default(),
            Self::Warn => Color::Yellow.on_default(),
            Self::Bad => Color::Red.on_default(),
            Self::Strong => plain.bold(),
            Self::Dim => plain.dimmed(),
        }
    }
}

impl Symbol {
    fn shown(self, unicode: bool) -> &'static str {
        match (self, unicode) {
            (Self::Doing, true) => "►",
            (Self::Doing, false) => ">",
            (Self::Done, true) => "✔",
            (Self::Done, false) => "+",
            (Self::Failed, true) => "✗",
            (Self::Failed, false) => "x",
            (Self::Warning, _) => "!",
            (Self::Waiting, true) => "◎",
            (Self::Waiting, false) => "o",
        }
    }
}

/// Escapes what a terminal would obey and what would show another text than there is. Without `lines`, line
/// ends too: one record stays one line. Without `unicode`, the few marks of our own texts become ASCII.
#[must_use]
pub fn harmless(text: &str, lines: bool, unicode: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if lines => safe.push('\n'),
            '\n' => safe.push_str("\\n"),
            '\t' if lines => safe.push('\t'),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            c if is_unprintable(c) => safe.extend(c.escape_unicode()),
            c if !unicode && !c.is_ascii() => match ascii(c) {
                Some(plain) => safe.push_str(plain),
                None => safe.push(c),
            },
            c => safe.push(c),
        }
    }
    safe
}

/// The ASCII form of the marks that our sentences and sparklines use.
fn ascii(c: char) -> Option<&'static str> {
    Some(match c {
        '→' => "->",
        '×' => "x",
        '·' => "-",
        '…' => "...",
        '–' | '—' => "-",
        '≥' => ">=",
        '≤' => "<=",
        '▁' => "_",
        '▂' => ".",
        '▃' => "-",
        '▄' => "~",
        '▅' => "=",
        '▆' => "+",
        '▇' => "*",
        '█' => "#",
        _ => return None,
    })
}

/// A text of many pieces.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pieces: Vec<Piece>,
}

impl Page {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece: a text of one line, a time, a symbol, or anything styled.
    pub fn put(&mut self, piece: impl Into<Piece>) -> &mut Self {
        self.pieces.push(piece.into());
        self
    }

    /// Ends the line.
    pub fn line(&mut self) -> &mut Self {
        self.block("\n")
    }

    /// Adds a text whose line ends stay.
    pub fn block(&mut self, text: impl Into<String>) -> &mut Self {
        self.pieces.push(Piece { content: Content::Block(text.into()), style: Style::Plain, link: None });
        self
    }

    /// Adds a piece and fills up with blanks to `width` characters as far as `terminal`-independent texts go.
    pub fn padded(&mut self, text: &str, width: usize, style: Style) -> &mut Self {
        let blanks = width.saturating_sub(harmless(text, false, true).chars().count());
        self.put(Piece::from(text).styled(style)).put(" ".repeat(blanks))
    }

    #[must_use]
    pub fn painted(&self, terminal: &Terminal) -> String {
        self.pieces.iter().fold(String::new(), |mut text, piece| {
            let _ = write!(text, "{}", piece.painted(terminal));
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::terminal::PIPE;

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal_or_make_a_line() {
        let evil =
            "a\u{1b}]52;c;cm0=\u{7}b\n{\"level\":\"error\"}\r\u{9b}2J\u{202e}gnp\u{200b}\u{e0041}\u{61c}";
        let shown = Piece::from(evil).shown(&PIPE);
        assert_eq!(
            shown,
            "a\\u{1b}]52;c;cm0=\\u{7}b\\n{\"level\":\"error\"}\\r\\u{9b}2J\\u{202e}gnp\\u{200b}\\u{e0041}\\u{61c}"
        );
        let mut page = Page::new();
        page.block(evil);
        let painted = page.painted(&Terminal { colour: true, links: true, interactive: true, ..PIPE });
        assert!(!painted.chars().any(|c| c != '\n' && is_unprintable(c)), "{painted:?}");
    }

    #[test]
    fn colour_adds_escapes_around_the_same_text() {
        let terminal = Terminal { colour: true, ..PIPE };
        let piece = Piece::from("failed").styled(Style::Bad);
        assert_eq!(piece.painted(&terminal), "\u{1b}[31mfailed\u{1b}[0m");
        assert_eq!(piece.painted(&PIPE), "failed");
        assert_eq!(Piece::from("").styled(Style::Bad).painted(&terminal), "");
    }

    #[test]
    fn a_link_is_written_only_where_links_are_known_and_only_to_a_plain_url() {
        let terminal = Terminal { colour: true, links: true, ..PIPE };
        let to = |url: &str| Piece::from("abc").linked(Some(url.to_owned()));
        assert_eq!(
            to("https://a.example/c/1").painted(&terminal),
            "\u{1b}]8;;https://a.example/c/1\u{1b}\\abc\u{1b}]8;;\u{1b}\\"
        );
        assert_eq!(to("https://a.example/c/1").painted(&PIPE), "abc");
        assert_eq!(to("https://a\u{1b}\\evil").painted(&terminal), "abc");
    }

    #[test]
    fn without_utf8_every_mark_of_ours_has_an_ascii_form() {
        let ascii = Terminal { unicode: false, ..PIPE };
        for symbol in [Symbol::Doing, Symbol::Done, Symbol::Failed, Symbol::Warning, Symbol::Waiting] {
            assert_eq!(Piece::from(symbol).shown(&ascii).len(), 1, "{symbol:?}");
            assert_eq!(Piece::from(symbol).shown(&PIPE).chars().count(), 1, "{symbol:?}");
        }
        assert_eq!(Piece::from("3→5 ▁▂▃▄▅▆▇█").shown(&ascii), "3->5 _.-~=+*#");
    }

    #[test]
    fn a_time_is_relative_only_for_a_person() {
        let at = Timestamp::from_second(1_795_427_400).unwrap();
        let now = Timestamp::from_second(1_795_427_400 + 300).unwrap();
        assert_eq!(Piece::from(at).shown(&PIPE), "2026-11-23T09:50:00Z");
        assert_eq!(Piece::from(at).shown(&Terminal { now: Some(now), ..PIPE }), "5m ago");
    }
}
