//! What strangers wrote, against a Markdown parser: the structure of a body is that of the same record with plain
//! words, and no body is longer than its forge takes.

use comrak::nodes::NodeValue;
use comrak::{Arena, Options, parse_document};
use proptest::prelude::*;
use regex::Regex;

use super::tests::{alert, record};
use super::*;
use crate::model::action::{ActionState, RiskClass, TimelineEvent};
use crate::model::fixtures::{at, oid, proposed, target};
use crate::model::ids::PolicyName;
use crate::model::playbook::ImageChange;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::verdict::{Outcome, Verdict};

/// Every extension that a forge has and that could give a word a meaning.
fn options() -> Options<'static> {
    let mut options = Options::default();
    let it = &mut options.extension;
    it.strikethrough = true;
    it.table = true;
    it.autolink = true;
    it.tasklist = true;
    it.footnotes = true;
    it.inline_footnotes = true;
    it.alerts = true;
    it.math_dollars = true;
    it.wikilinks_title_after_pipe = true;
    options.parse.relaxed_autolinks = true;
    options.parse.relaxed_tasklist_matching = true;
    options
}

/// The tree without its words, one line a node, and the words that are neither code nor comment.
fn read(body: &str) -> (Vec<String>, String) {
    let arena = Arena::new();
    let root = parse_document(&arena, body, &options());
    let tag = Regex::new("<[^>]*>").unwrap();
    let mut tree = Vec::new();
    let mut words = String::new();
    for node in root.descendants() {
        let depth = node.ancestors().count();
        let shown = match &node.data().value {
            NodeValue::Text(text) => {
                words.push_str(text);
                continue;
            }
            NodeValue::SoftBreak => {
                words.push('\n');
                continue;
            }
            NodeValue::HtmlBlock(html) => {
                let text = tag.replace_all(&html.literal, "");
                let entities = [("&#36;", "$"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
                words.push_str(
                    &entities.iter().fold(text.into_owned(), |it, (from, to)| it.replace(from, to)),
                );
                tags(&tag, &html.literal)
            }
            NodeValue::HtmlInline(html) => tags(&tag, html),
            NodeValue::Code(_) => "code".into(),
            NodeValue::CodeBlock(block) => format!("fence {}", block.info),
            NodeValue::Heading(heading) => {
                words.push('\n');
                format!("heading {}", heading.level)
            }
            NodeValue::Table(table) => format!("table {}", table.num_columns),
            NodeValue::TaskItem(item) => format!("box {:?}", item.symbol),
            NodeValue::Link(link) => format!("link {}", link.url),
            other => {
                words.push('\n');
                format!("{other:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
            }
        };
        tree.push(format!("{depth} {shown}"));
    }
    (tree, words)
}

/// The lines that are no code.
fn outside_fences(body: &str) -> impl Iterator<Item = &str> {
    let mut fence: Option<String> = None;
    body.lines().filter(move |line| {
        let ticks: String = line.chars().take_while(|c| *c == '`').collect();
        match &fence {
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => return true,
            Some(open) if line.trim_end() == open => fence = None,
            Some(_) => {}
        }
        false
    })
}

/// The tags, without what stands in our comments: ids and trailers follow the record.
fn tags(tag: &Regex, html: &str) -> String {
    let all = tag.find_iter(html).map(|it| it.as_str());
    all.map(|it| if it.starts_with("<!-- tars") { "<!-- tars -->" } else { it }).collect()
}

/// The record with this text wherever somebody else's words can stand.
fn filled(text: &str, plan: usize, state: ActionState) -> RemediationAction {
    let mut record = record();
    let words = || text.to_owned();
    record.status.state = state;
    record.spec.risk.reason = words();
    record.spec.sentence = words();
    record.spec.cause.alerts = vec![alert(text)];
    record.spec.cause.key = words();
    record.spec.cause.anomalies[0].models[0].evidence = words();
    record.spec.rejected = vec![(PlaybookName::Rollback, Reason::new(ReasonCode::EditRefused, words())); 2];
    record.spec.budget[0].name = words();
    record.spec.plan = match plan {
        0 => record.spec.plan,
        1 => Plan::Restart { restarted_at: at(0), previous: Some(words()) },
        _ => {
            let image = ImageChange { container: words(), from: words(), to: words() };
            Plan::Images { good: oid('e'), images: vec![image] }
        }
    };
    record.status.holds = vec![Reason::new(ReasonCode::EditRefused, words())];
    record.status.timeline = vec![TimelineEvent { at: at(0), text: words() }; 3];
    record.status.verdict = Some(Verdict {
        outcome: Outcome::NotRecovered,
        before: None,
        after: None,
        samples_before: 0,
        samples_after: 0,
        judged_at: at(0),
        text: words(),
    });
    if let Some(change) = &mut record.spec.change {
        change.fields = vec![change.fields[0].clone(); 2];
        change.fields[0].field = words();
        change.fields[0].from = Some(words());
        change.fields[1].to = Some(words());
        change.diff = format!("-  a: {text}\n+  b: {text}\n");
        change.unrendered = Some(words());
    }
    record
}

/// What a forge, a parser or a reader of ours could take for more than a word.
const TOKENS: &[&str] = &[
    "|",
    "\\",
    "\\|",
    "`",
    "``",
    "```",
    "~~~",
    "<",
    ">",
    "<!--",
    "-->",
    "<img src=//x>",
    "</details>",
    "&lt;",
    "&#64;",
    "@org/all",
    "#12",
    "GH-12",
    "!12",
    "deadbeef01",
    "https://evil.example/x",
    "www.evil.example",
    "a@evil.example",
    "/tars approve",
    "- [x] y",
    "[x](y)",
    "![x](y)",
    "[^1]",
    "^[n]",
    "[[x]]",
    "**",
    "__",
    "_",
    "*",
    "~~",
    "$x$",
    "$$",
    ":tada:",
    "\n",
    "\n\n",
    "\r",
    "\u{2028}",
    "\u{202e}",
    "\u{200b}",
    "\u{e0041}",
    "# x",
    "=====",
    "---",
    "1. ",
    "> ",
    "\t",
    "    ",
    "%%{init: {}}%%",
    "closes",
    ". ",
    "ENC[",
    "{{target}}",
    "ftp://x.example",
    "xmpp:a@b.c",
    "mailto:a@b.c",
    "\0",
    "tars-data:",
    "|---|",
];

fn hostile() -> impl Strategy<Value = String> {
    let token =
        prop_oneof![prop::sample::select(TOKENS).prop_map(str::to_owned), "[a-zA-Z0-9 .]{1,6}", "\\PC{1,3}",];
    prop::collection::vec(token, 0..10).prop_map(|tokens| tokens.concat())
}

thread_local! {
    static TEMPLATES: Templates = Templates::built_in().unwrap();
}

fn render(record: &RemediationAction, caps: &ForgeCapabilities, around: Around<'_>) -> PullText {
    TEMPLATES.with(|templates| pull_text(&[record], around, templates, caps)).unwrap()
}

const PLAIN: ForgeCapabilities = ForgeCapabilities {
    body_chars_max: 1_000_000,
    checkboxes: false,
    details: false,
    mermaid: false,
    callouts: false,
    native_auto_merge: false,
};

proptest! {
    #[test]
    fn no_text_of_a_stranger_changes_the_structure(
        text in hostile(), plan in 0usize..3, is_plain in any::<bool>(), state in 0usize..ActionState::ALL.len(),
    ) {
        let caps = if is_plain { PLAIN } else { ForgeCapabilities::GITEA };
        let state = ActionState::ALL[state];
        let mut seen = Vec::new();
        // As long, because a long change takes more lines.
        for words in [text.as_str(), &"p".repeat(text.len())] {
            let record = filled(words, plan, state);
            let mut revert = record.clone();
            revert.spec.purpose = Purpose::Revert { of: record.id().clone() };
            let around = Around { undone: &[&record], pulls: &[] };
            for one in [&record, &revert] {
                let text = render(one, &caps, around);
                prop_assert!(text.title.chars().count() <= MAX_TITLE_CHARS + 1 && !text.title.contains('\n'));
                seen.push((read(&text.body), text));
            }
        }
        let mention = Regex::new(r"@\w|#\d|(?i)\bGH-\d|!\d|(?m)^/tars|://|www\.\w|:tada:|\$\w").unwrap();
        let commit = Regex::new(r"(^|[^-\w])[0-9a-f]{7,40}\b").unwrap();
        for ((tree, words), text) in &seen[..2] {
            prop_assert!(!mention.is_match(words), "{:?}\n{}", mention.find(words), text.body);
            prop_assert!(!commit.is_match(words), "{:?}\n{}", commit.find(words), text.body);
            prop_assert!(!mention.is_match(&text.title), "{}", text.title);
            prop_assert!(!tree.iter().any(|it| it.contains("link") || it.contains("Image")), "{tree:?}");
        }
        for at in 0..2 {
            prop_assert_eq!(&seen[at].0.0, &seen[at + 2].0.0, "{}", seen[at].1.body);
        }
    }

    #[test]
    fn no_body_is_longer_than_its_forge_takes_nor_broken_by_the_cut(
        text in hostile(), repeat in 1usize..200, rows in 0usize..40, limit in 2_600usize..20_000,
        caps in 0usize..3, plan in 0usize..3, state in 0usize..ActionState::ALL.len(),
    ) {
        let name = "x".repeat(63);
        let mut record = filled(&text.repeat(repeat), plan, ActionState::ALL[state]);
        record.spec.target = target(&format!("{name}/{}/{}", "K".repeat(63), "n".repeat(253)));
        record.spec.policy = PolicyName::new(&name).unwrap();
        record.spec.risk.class = RiskClass::High;
        record.spec.cause.anomalies = vec![record.spec.cause.anomalies[0].clone(); rows];
        record.spec.cause.alerts = vec![record.spec.cause.alerts[0].clone(); rows];
        record.spec.rejected = vec![record.spec.rejected[0].clone(); rows];
        record.status.timeline = vec![record.status.timeline[0].clone(); rows];
        record.spec.budget = vec![record.spec.budget[0].clone(); rows];
        if let Some(change) = &mut record.spec.change {
            change.fields = vec![change.fields[0].clone(); rows];
            change.diff = change.diff.repeat(rows);
        }
        let of = proposed("p", &target("shop/Deployment/x"), 3, at(0));
        record.spec.purpose = Purpose::Revert { of: of.id().clone() };
        record.status.undone_by = Some(of.id().clone());
        let base = [ForgeCapabilities::GITEA, ForgeCapabilities::LOCAL, PLAIN][caps];
        let caps = ForgeCapabilities { body_chars_max: limit, ..base };
        let around = Around { undone: &[&record], pulls: &[] };
        let body = render(&record, &caps, around).body;
        let chars = body.chars().count();
        prop_assert!(chars <= limit, "{chars} > {limit}:\n{body}");
        let (tree, words) = read(&body);
        prop_assert!(words.contains("Policy  ("), "the foot is inside something:\n{body}");
        let opened = tree.iter().filter(|it| it.contains("<details")).count();
        let closed = tree.iter().filter(|it| it.contains("</details>")).count();
        prop_assert_eq!(opened, closed, "{}", body);
        let headers = outside_fences(&body).filter(|it| it.starts_with("|---|") || it.starts_with("|:---|"));
        let headers = headers.count();
        prop_assert_eq!(tree.iter().filter(|it| it.contains("table ")).count(), headers, "{}", body);
    }
}
