//! The grammar from outside: what is a command, what only looks like one, and whatever else people may write.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const ME: &str = "tars-bot";

fn by(by: &str, body: &str) -> Comment {
    Comment {
        id: 1,
        by: by.to_owned(),
        is_bot: false,
        at: Timestamp::UNIX_EPOCH,
        is_edited: false,
        body: body.to_owned(),
    }
}

fn prod() -> InstanceId {
    InstanceId::new("prod-eu").unwrap()
}

fn read(body: &str) -> Asked {
    asked(&by("someone", body), ME, Some(&prod()))
}

fn hold() -> Asked {
    Asked::Control(Control::Hold { reason: None })
}

#[test]
fn every_control_is_understood_as_it_is_written() {
    let because = |text: &str| Some(text.to_owned());
    for (line, expected) in [
        ("/tars hold", Control::Hold { reason: None }),
        ("/tars  HOLD  the sale is on ", Control::Hold { reason: because("the sale is on") }),
        ("/tars unhold", Control::Unhold { reason: None }),
        ("/tars refresh", Control::Refresh),
        ("/tars snooze 4h", Control::Snooze { for_s: 4 * 3600, reason: None }),
        ("/tars snooze 1h30m known issue", Control::Snooze { for_s: 5400, reason: because("known issue") }),
        ("/tars explain", Control::Explain { why_not: None }),
        ("/tars explain --why-not rollback", Control::Explain { why_not: Some(PlaybookName::Rollback) }),
        ("/tars explain --why-not=ScaleOut", Control::Explain { why_not: Some(PlaybookName::ScaleOut) }),
        ("/tars explain --why-not scale-out", Control::Explain { why_not: Some(PlaybookName::ScaleOut) }),
        ("/tars revert", Control::Revert),
        ("/tars help", Control::Help),
        ("/tars", Control::Help),
        ("/tars@prod-eu\trefresh", Control::Refresh),
        ("Not now.\n/tars snooze 5m", Control::Snooze { for_s: 300, reason: None }),
        ("`code` first\r\n/tars refresh\r\n", Control::Refresh),
        ("> as said\n\n/tars refresh", Control::Refresh),
        ("```\nlog\n```\n/tars refresh", Control::Refresh),
        ("a < b <3\n/tars refresh", Control::Refresh),
    ] {
        assert_eq!(read(line), Asked::Control(expected), "{line:?}");
    }
}

#[test]
fn what_cannot_be_used_says_why() {
    use Unusable::*;
    let text = |it: &str| it.to_owned();
    for (line, expected) in [
        ("/tars holt", Unknown { word: text("holt"), near: Some("hold") }),
        ("/tars snoze 4h", Unknown { word: text("snoze"), near: Some("snooze") }),
        ("/tars deploy", Unknown { word: text("deploy"), near: None }),
        ("/tars merge", NeverByComment("merge")),
        ("/tars Approve it", NeverByComment("approve")),
        ("/tars snooze", NoDuration),
        ("/tars snooze later", Duration { given: text("later") }),
        ("/tars snooze 2d", Duration { given: text("2d") }),
        ("/tars snooze 10s", OutOfRange { given: text("10s") }),
        ("/tars snooze 0", OutOfRange { given: text("0") }),
        ("/tars snooze 721h", OutOfRange { given: text("721h") }),
        ("/tars explain --why-not rolback", Playbook { given: text("rolback"), near: Some("rollback") }),
        ("/tars explain --why-not", Surplus { control: "explain", given: text("--why-not") }),
        ("/tars explain everything", Surplus { control: "explain", given: text("everything") }),
        ("/tars revert abc", Surplus { control: "revert", given: text("abc") }),
        ("/tars hold\n/tars unhold", Several),
        ("/tars hold\n\ntext\n/tars hold", Several),
    ] {
        assert_eq!(read(line), Asked::Unusable(expected), "{line:?}");
    }
    let long = format!("/tars hold {}", "x".repeat(COMMAND_BYTES_MAX));
    assert_eq!(read(&long), Asked::Unusable(TooLong));
    let longest = format!("/tars hold {}", "x".repeat(COMMAND_BYTES_MAX - 5));
    let Asked::Control(Control::Hold { reason: Some(reason) }) = read(&longest) else { panic!("{longest}") };
    assert_eq!(reason.len(), REASON_CHARS_MAX);
    let word = format!("/tars {}", "é".repeat(100));
    let Asked::Unusable(Unknown { word, near: None }) = read(&word) else { panic!("{word}") };
    assert_eq!(word.chars().count(), 40);
}

#[test]
fn what_only_looks_like_a_command_is_talk() {
    let before = "x".repeat(COMMENT_BYTES_MAX);
    for body in [
        "",
        "please /tars hold",
        " /tars hold",
        "\t/tars hold",
        "    /tars hold",
        "/Tars hold",
        "/tarsier hold",
        "/tars: hold",
        "/tars/hold",
        "tars hold",
        "\\/tars hold",
        "> /tars hold",
        "> quoted\n/tars hold",
        "  > quoted\nand on\n/tars hold",
        "- /tars hold",
        "`/tars hold`",
        "```\n/tars hold\n```",
        "```sh\n/tars hold",
        "~~~\n/tars hold\n~~~",
        "````\n```\n/tars hold\n````",
        "```\n~~~\n/tars hold",
        "~~~ a`b\n/tars hold\n~~~",
        "```\r/tars hold\r```",
        "see `this\n/tars hold\nthat`",
        "``a`\n/tars hold\n``",
        "- a\n  ```\n/tars hold\n  ```\n/tars hold",
        "<!--\n/tars hold\n-->",
        "hidden <!--\n/tars hold\n-->",
        "<pre>\n/tars hold\n</pre>",
        "<details>\n\n/tars hold\n\n</details>",
        "/tars@prod-us hold",
        "/tars@ hold",
        "/tars@prod-eu: hold",
        "\u{200b}/tars hold",
        "\u{202e}/tars hold",
        &format!("{before}\n/tars hold"),
    ] {
        assert_eq!(read(body), Asked::Nothing, "{body:?}");
    }
    // A fence closes, and one that is none hides nothing.
    for body in ["```\nx\n````\n/tars hold", "```a``` b\n\n/tars hold", "x\n\n``` \n```\n/tars hold"] {
        assert_eq!(read(body), hold(), "{body:?}");
    }
}

#[test]
fn machines_ourselves_the_gone_and_the_edited_give_no_orders() {
    let command = by("someone", "/tars hold");
    assert_eq!(asked(&command, ME, None), hold());
    for void in [
        Comment { by: ME.to_owned(), ..command.clone() },
        Comment { by: "Tars-Bot".to_owned(), ..command.clone() },
        Comment { by: "renovate[bot]".to_owned(), ..command.clone() },
        Comment { by: String::new(), ..command.clone() },
        Comment { is_bot: true, ..command.clone() },
        Comment { is_edited: true, ..command },
    ] {
        assert_eq!(asked(&void, ME, None), Asked::Nothing, "{void:?}");
    }
}

#[test]
fn one_of_several_instances_can_be_called_by_its_name() {
    let comment = by("someone", "/tars@prod-eu hold");
    assert_eq!(asked(&comment, ME, Some(&prod())), hold());
    assert_eq!(asked(&comment, ME, Some(&InstanceId::new("prod-us").unwrap())), Asked::Nothing);
    assert_eq!(asked(&comment, ME, None), Asked::Nothing);
}

#[test]
fn who_may_is_the_table_and_nothing_needs_more_than_write() {
    for (control, least) in [
        (Control::Hold { reason: None }, Access::Triage),
        (Control::Unhold { reason: None }, Access::Triage),
        (Control::Refresh, Access::Write),
        (Control::Snooze { for_s: 300, reason: None }, Access::Write),
        (Control::Explain { why_not: None }, Access::Read),
        (Control::Revert, Access::Write),
        (Control::Help, Access::Read),
    ] {
        assert_eq!(control.needs(), least, "{control:?}");
        assert!(control.needs() > Access::None && control.needs() <= Access::Write);
    }
}

#[test]
fn a_ticked_box_counts_where_we_put_one() {
    let snooze = |for_s| Control::Snooze { for_s, reason: None };
    let body = "text\n\n- [x] <!-- tars:refresh -->Score again\n- [ ] <!-- tars:snooze=24h -->Close";
    assert_eq!(ticked(body), [Control::Refresh]);
    let both = "- [X] <!-- tars:snooze=24h -->Close\r\n- [x] <!-- tars:refresh -->Score\r\n";
    assert_eq!(ticked(both), [snooze(86_400), Control::Refresh]);
    let twice = "- [x] <!-- tars:snooze=24h -->a\n- [x] <!-- tars:snooze=1h -->b";
    assert_eq!(ticked(twice), [snooze(86_400)]);
    for none in [
        "- [ ] <!-- tars:refresh -->",
        "- [x] tars:refresh",
        "- [x] <!-- tars:merge -->",
        "- [x] <!-- tars:approve -->",
        "- [x] <!-- tars:refresh=1 -->",
        "- [x] <!-- tars:snooze -->",
        "- [x] <!-- tars:snooze=1s -->",
        "- [x] <!-- tars:snooze=9999h -->",
        "- [x] <!--tars:refresh-->",
        "> - [x] <!-- tars:refresh -->",
        "```\n- [x] <!-- tars:refresh -->\n```",
        "    - [x] <!-- tars:refresh -->",
        "a - [x] <!-- tars:refresh -->",
    ] {
        assert_eq!(ticked(none), [], "{none:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_fault(text in any::<String>(), pieces in prop::collection::vec(piece(), 0..12)) {
        let _ = (read(&text), ticked(&text));
        let made = pieces.concat();
        let _ = (read(&made), ticked(&made));
    }

    #[test]
    fn a_text_without_a_line_that_calls_tars_is_never_a_command(
        pieces in prop::collection::vec(piece(), 0..12),
        text in any::<String>(),
    ) {
        for text in [pieces.concat(), text] {
            let calls = text.split(['\n', '\r']).any(|line| line.starts_with("/tars"));
            prop_assert!(calls || read(&text) == Asked::Nothing, "{text:?}");
        }
    }

    #[test]
    fn whatever_stands_in_a_closed_code_block_is_never_a_command(
        inside in prop::collection::vec("[^`\r\n]{0,20}", 0..6),
        text in "[a-z ]{0,20}",
    ) {
        let body = format!("{text}\n\n```\n/tars hold\n{}\n/tars revert\n```", inside.join("\n"));
        prop_assert_eq!(read(&body), Asked::Nothing);
    }
}

/// What matters to the grammar, and some of what does not.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "/tars",
        "/tars hold",
        "@prod-eu",
        " ",
        "\n",
        "\r\n",
        "\r",
        "`",
        "```",
        "~~~",
        "> ",
        "- [x] ",
        "<!-- tars:",
        "refresh",
        "snooze=24h",
        " -->",
        "snooze 4h",
        "merge",
        "<b>",
        "    ",
        "\t",
        "é",
    ];
    prop::sample::select(pieces.to_vec()).prop_map(str::to_owned)
}
