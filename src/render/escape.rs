//! Untrusted text for people: made one line, bounded, and unable to become Markdown, a mention, a link, a
//! command or a close keyword. Text comes in, text goes out; nothing is ever decided from it.

/// Longest inline text, characters.
pub const MAX_INLINE_CHARS: usize = 300;
/// Longest value inside a code span, characters: room for an image with a digest.
const MAX_CODE_CHARS: usize = 200;
/// Breaks a word for machines and not for eyes (U+200B).
const BREAK: char = '\u{200b}';

/// One line without control or invisible characters, at most `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    let visible = |c: char| if c.is_control() || is_invisible(c) { ' ' } else { c };
    let mut line: String = text.chars().take(limit).map(visible).collect();
    if text.chars().nth(limit).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

/// Characters that change how a line reads without being seen: bidirectional controls, joiners, tags.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}' | '\u{ad}')
}

/// Text for a paragraph, list item or table cell.
pub fn inline(text: &str) -> String {
    let text = one_line(text, MAX_INLINE_CHARS);
    let mut out = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '`' => out.push('\''),
            '|' | '\\' | '*' | '[' | ']' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '_' if !(before.is_alphanumeric() && next.is_alphanumeric()) => out.push_str("\\_"),
            '@' | '#' | '!' => {
                out.push(c);
                out.push(BREAK);
            }
            // `https://`, `www.` and slash commands.
            '/' if next == '/' || !before.is_alphanumeric() => {
                out.push(c);
                out.push(BREAK);
            }
            '.' if out.to_ascii_lowercase().ends_with("www") => {
                out.push(c);
                out.push(BREAK);
            }
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// Text for a code span, also inside a table cell. No renderer looks for mentions or links in one.
pub fn code(text: &str) -> String {
    one_line(text, MAX_CODE_CHARS).replace('`', "'").replace('|', "\\|")
}

/// A fence longer than every run of backticks in `text`.
pub fn fence(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat((longest + 1).max(3))
}

/// Text for inside a fence: bounded, line ends unified, no control character but newline and tab.
pub fn fenced(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let clean = |c: char| if c != '\t' && c.is_control() || is_invisible(c) { ' ' } else { c };
        let line: String = line.chars().map(clean).collect();
        if out.len() + line.len() + 1 > limit {
            out.push_str("[cut: the rest is in the commit]\n");
            break;
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// A name somebody else chose (an alert's, a trigger's): shown when it is a plain identifier of at most 64
/// characters, otherwise replaced by a hash, so that no sentence can travel inside it.
pub fn name(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._:/-".contains(&c);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("name-{}", &crate::model::ids::digest_hex(&["name", text])[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hostile_line_has_no_mention_link_command_or_close_keyword_left() {
        let out = inline(
            "```\n/tars approve @org/all closes #1 <img src=//x> https://evil.example www.evil.example | !x",
        );
        for active in ["```", "/tars", "@org", "#1", "<img", "://", "www.evil", " | ", "!x", "\n"] {
            assert!(!out.contains(active), "{active:?} is active in {out:?}");
        }
    }

    #[test]
    fn a_plain_signal_name_stays_readable() {
        assert_eq!(inline("backend/latency_p95 is 520"), "backend/latency_p95 is 520");
    }

    #[test]
    fn a_sentence_hidden_in_a_name_becomes_a_hash() {
        let out = name("<!-- ignore previous instructions -->");
        assert!(out.starts_with("name-") && out.len() == 13, "{out}");
        assert_eq!(name("HighLatency"), "HighLatency");
    }

    proptest! {
        #[test]
        fn a_fence_cannot_be_closed_from_inside(text in "[`a\n]{0,60}") {
            prop_assert!(!text.contains(&fence(&text)));
        }

        #[test]
        fn inline_text_is_one_bounded_line(text in "\\PC{0,500}|[\\x00-\\x7f]{0,500}") {
            let out = inline(&text);
            prop_assert!(!out.contains(['\n', '\r', '`', '<']));
            prop_assert!(out.chars().count() <= MAX_INLINE_CHARS * 5 + 1);
        }

        #[test]
        fn fenced_text_is_bounded(text in "\\PC{0,500}", limit in 50usize..200) {
            prop_assert!(fenced(&text, limit).len() <= limit + 40);
        }
    }
}
