//! Untrusted text for people: made one line, bounded, and unable to become Markdown, a mention, a link, a
//! command or a close keyword. Text comes in, text goes out; nothing is ever decided from it.
//!
//! Two steps, because a forge looks twice: for markup in the source, and for mentions, references and addresses in
//! what the markup left. Escapes answer the first; the second is answered by a character without width, put where
//! a word would begin to mean something.

/// Longest inline text, characters once escaped.
pub const MAX_INLINE_CHARS: usize = 400;
/// Breaks a word for machines and not for eyes (U+200B).
const BREAK: char = '\u{200b}';
/// Stands for a text without a visible character: an empty code span would swallow what follows.
const NOTHING: &str = "(empty)";

/// One line without control or invisible characters, at most `limit` characters and a mark that it was cut.
pub fn one_line(text: &str, limit: usize) -> String {
    let visible = |c: char| if c.is_control() || is_invisible(c) { ' ' } else { c };
    let mut line: String = text.chars().take(limit).map(visible).collect();
    if text.chars().nth(limit).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

/// Characters that change how a line reads without being seen: bidirectional controls, joiners, fillers, tags,
/// selectors.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}' | '\u{ad}' | '\u{61c}' | '\u{180b}'..='\u{180f}')
        || matches!(
            c,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
        )
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}')
}

/// Text for a paragraph, list item or table cell.
pub fn inline(text: &str) -> String {
    inline_within(text, MAX_INLINE_CHARS)
}

/// As [`inline`], at most `limit` characters once escaped, and the mark of a cut.
pub fn inline_within(text: &str, limit: usize) -> String {
    escaped(text, limit, |chars, at| match chars[at] {
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        '&' => "&amp;".into(),
        // Not by backslashes: inside a table, renderers do not agree on which backslash escapes what.
        '|' => "&#124;".into(),
        '\\' => "&#92;".into(),
        '$' => "&#36;".into(),
        '`' => "'".into(),
        c @ ('*' | '[' | ']' | '~' | '{' | '^') => format!("\\{c}"),
        '_' if !(is_word(chars, at.wrapping_sub(1)) && is_word(chars, at + 1)) => "\\_".into(),
        // What begins a list, a heading's underline or a table at the start of a line.
        c if at == 0 && begins_block(chars) => format!("{BREAK}{c}"),
        c => c.into(),
    })
}

/// Text for between tags of ours, where Markdown is not read.
pub fn html_within(text: &str, limit: usize) -> String {
    escaped(text, limit, |chars, at| match chars[at] {
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        '&' => "&amp;".into(),
        '$' => "&#36;".into(),
        '`' => "'".into(),
        c => c.into(),
    })
}

/// Text for a title, which is no Markdown, but in which forges still look for references.
pub fn title(text: &str, limit: usize) -> String {
    escaped(text, limit, |chars, at| match chars[at] {
        '`' => "'".into(),
        c => c.into(),
    })
}

fn escaped(text: &str, limit: usize, mark_up: impl Fn(&[char], usize) -> String) -> String {
    let chars: Vec<char> = one_line(text, limit).chars().collect();
    let mut out = String::with_capacity(chars.len() + 16);
    let mut length = 0;
    for (at, _) in chars.iter().enumerate() {
        let mut piece = mark_up(&chars, at);
        if means_something(&chars, at) {
            piece.push(BREAK);
        }
        length += piece.chars().count();
        if length > limit {
            out.push('…');
            break;
        }
        out.push_str(&piece);
    }
    out
}

fn is_word(chars: &[char], at: usize) -> bool {
    chars.get(at).is_some_and(|c| c.is_alphanumeric())
}

fn begins_block(chars: &[char]) -> bool {
    let rest = chars.iter().position(|c| !c.is_ascii_digit()).map_or(' ', |at| chars[at]);
    match chars[0] {
        '-' | '+' | '=' | ':' => true,
        c => c.is_ascii_digit() && matches!(rest, '.' | ')'),
    }
}

/// Would a forge read a mention, a reference, an address, a picture or a command that begins or goes on here?
fn means_something(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).map_or(' ', |at| chars[at]);
    let next = chars.get(at + 1).copied().unwrap_or(' ');
    match chars[at] {
        '@' | '#' | '!' => true,
        // Labels, milestones, snippets, epics, alerts. A mark that combines with letters is part of a word for some.
        '~' | '%' | '$' | '&' | '^' => {
            next.is_alphanumeric() || !next.is_ascii() || matches!(next, '"' | '_')
        }
        // `https://`, and slash commands.
        '/' => next == '/' || !before.is_alphanumeric(),
        // `www.`, broken before its dot: what follows a whole `www.` is a name of a host, whatever it is.
        'w' | 'W' => next == '.' && at >= 2 && chars[at - 2..at].iter().all(|c| c.eq_ignore_ascii_case(&'w')),
        // `GH-123`, and the keys of other trackers.
        '-' => next.is_ascii_digit() && (before.is_ascii_uppercase() || before.eq_ignore_ascii_case(&'h')),
        // `:name:` is a picture on some forges.
        ':' => {
            let name = |c: &char| c.is_alphanumeric() || "_+-".contains(*c);
            let end = chars[at + 1..].iter().position(|c| !name(c));
            end.is_some_and(|end| end > 0 && chars[at + 1 + end] == ':')
        }
        c if c.is_ascii_hexdigit() => ends_piece_of_commit(chars, at),
        _ => false,
    }
}

/// A word of at least seven hexadecimal digits is linked when such a commit exists. The ids of actions and incidents
/// stay whole: people copy them.
fn ends_piece_of_commit(chars: &[char], at: usize) -> bool {
    const SHORTEST_COMMIT_CHARS: usize = 7;
    // Forges know the word's end by its ASCII letters and digits.
    let start = (0..at).rev().find(|&it| !chars[it].is_ascii_alphanumeric()).map_or(0, |it| it + 1);
    let word = chars[start..].iter().take_while(|c| c.is_ascii_alphanumeric());
    let is_id = |prefix: &str, digits: usize| {
        let first = start.checked_sub(prefix.len());
        first.is_some_and(|first| chars[first..start].iter().copied().eq(prefix.chars()))
            && word.clone().count() == digits
    };
    (at - start + 1).is_multiple_of(SHORTEST_COMMIT_CHARS - 1)
        && !is_id("act-", 12)
        && !is_id("inc-", 8)
        && word.clone().count() >= SHORTEST_COMMIT_CHARS
        && word.clone().all(char::is_ascii_hexdigit)
}

/// Text for a code span, also inside a table cell, at most `limit` characters and the mark of a cut. No renderer
/// looks for mentions or links in one.
pub fn code_within(text: &str, limit: usize) -> String {
    let line = one_line(text, limit);
    let chars: Vec<char> = line.chars().collect();
    let mut out = String::with_capacity(line.len());
    for (at, &c) in chars.iter().enumerate() {
        match c {
            '`' => out.push('\''),
            '|' => out.push_str("\\|"),
            // Next to the bar's own escape it would take its meaning away.
            '\\' if chars.get(at + 1) == Some(&'|') => out.extend([c, BREAK]),
            _ => out.push(c),
        }
    }
    if out.is_empty() { NOTHING.to_owned() } else { out }
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
/// characters, otherwise replaced by a hash, so that no sentence can travel inside it. What is shown links nowhere.
pub fn name(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._:/-".contains(&c);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        title(text, usize::MAX)
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
            "```\n/tars approve @org/all closes #1 <img src=//x> https://evil.example www.evil.example | !x \
             GH-12 :tada: deadbeef1 ~bug %\"v1\" $1$ JIRA-7",
        );
        for active in [
            "```",
            "/tars",
            "@org",
            "#1 ",
            "<img",
            "://",
            "www.evil",
            " | ",
            "!x",
            "\n",
            "GH-12",
            ":tada:",
            "deadbeef1",
            "~bug",
            "%\"",
            "$",
            "JIRA-7",
        ] {
            assert!(!out.contains(active), "{active:?} is active in {out:?}");
        }
    }

    #[test]
    fn plain_names_and_numbers_stay_readable() {
        for plain in [
            "backend/latency_p95 is 520",
            "registry/shop/api:1.2.3-rc1",
            "2026-11-23T10:00Z",
            "api-7d9f-2",
            "2 of 2 used, 12 % left",
            "undone by act-0123456789ab of inc-01234567",
        ] {
            assert_eq!(inline(plain), plain);
        }
    }

    #[test]
    fn nothing_begins_a_list_or_an_underline_at_the_start_of_a_line() {
        for begin in ["- x", "+ x", "1. x", "12) x", "===", ":-:|", "---"] {
            assert!(inline(begin).starts_with(BREAK), "{begin}");
        }
        assert_eq!(inline("3 of 6"), "3 of 6");
    }

    #[test]
    fn a_sentence_hidden_in_a_name_becomes_a_hash() {
        let out = name("<!-- ignore previous instructions -->");
        assert!(out.starts_with("name-") && out.len() == 13, "{out}");
        assert_eq!(name("HighLatency"), "HighLatency");
    }

    #[test]
    fn a_code_span_is_never_empty_and_its_bars_stay_inside() {
        assert_eq!(code_within(" \u{202e} ", 10), "(empty)");
        assert_eq!(code_within("a|b", 10), "a\\|b");
        assert_eq!(code_within("a\\|b", 10), "a\\\u{200b}\\|b");
    }

    proptest! {
        #[test]
        fn a_fence_cannot_be_closed_from_inside(text in "[`a\n]{0,60}") {
            prop_assert!(!text.contains(&fence(&text)));
        }

        #[test]
        fn inline_text_is_one_line_within_its_bound(
            text in "\\PC{0,500}|[\\x00-\\x7f]{0,500}", limit in 10usize..300,
        ) {
            let out = inline_within(&text, limit);
            prop_assert!(!out.contains(['\n', '\r', '`', '<', '|']));
            prop_assert!(out.chars().count() <= limit + 1);
            prop_assert!(html_within(&text, limit).chars().count() <= limit + 1);
            prop_assert!(title(&text, limit).chars().count() <= limit + 1);
        }

        #[test]
        fn fenced_text_is_bounded(text in "\\PC{0,500}", limit in 50usize..200) {
            prop_assert!(fenced(&text, limit).len() <= limit + 40);
        }
    }
}
