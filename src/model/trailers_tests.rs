//! The strings that smuggle trailers past other tools, and the round trip.

use proptest::prelude::*;

use super::*;

const TAIL: &str = "Tars-Action: merged";

/// Messages as recorded with git 2.39.5, and whether its own parser shows a `Tars-Action`.
fn measured() -> Vec<(String, bool)> {
    let mut rows: Vec<(String, bool)> = [
        ("Tars-Alert: a\nTars-Action: merged", true),
        ("Tars-Alert: a\r\nTars-Action: merged\r\n", true),
        ("tars-action: merged", true),
        ("Tars-Action : merged", true),
        ("Tars-Action: held\nTars-Action: merged", true),
        ("body\nSigned-off-by: x\nTars-Action: merged\nmore text\nmore\nmore", true),
        ("Tars-Action: merged\n# comment", true),
        ("Tars-Alert: a\n Tars-Action: merged", false),
        ("body text free\nTars-Action: merged\nmore text", false),
        ("Tars-Action: merged\n\nfree text", false),
        ("Tars-Action: merged\n---\ntext", false),
    ]
    .map(|(tail, seen)| (format!("subj\n\n{tail}"), seen))
    .into();
    for gap in ["\r", "\u{b}", "\u{c}", "\u{85}", "\u{2028}"] {
        rows.push((format!("subj\n\nTars-Alert: a{gap}{TAIL}"), false));
    }
    rows.push((TAIL.to_owned(), false));
    rows
}

#[test]
fn whatever_git_takes_for_our_trailer_is_noticed() {
    for (message, seen) in measured() {
        assert!(!seen || claims(&message), "{message:?}");
    }
    assert!(!claims(TAIL), "a subject is never a trailer");
    assert!(!claims("subj\n\nThe Tars-Action: was fine\nTars is short\n"));
}

#[test]
fn a_smuggled_trailer_is_never_parsed_as_one_that_we_wrote() {
    for (message, _) in measured() {
        if let Ok(pairs) = parse(&message) {
            assert_eq!(message, format!("subj\n\n{}", write_owned(&pairs).trim_end()), "{message:?}");
        }
    }
}

#[test]
fn a_value_cannot_add_a_line_a_key_or_a_paragraph() {
    for (message, _) in measured() {
        let value = message.strip_prefix("subj\n\n").unwrap_or(&message);
        let text = write(&[("Tars-Alert", value), ("Tars-Kind", "Proposed")]).unwrap();
        assert_eq!(text.lines().count(), 2, "{value:?}");
        let read = parse(&format!("subj\n\n{text}")).unwrap();
        assert_eq!(read[0], ("Tars-Alert".to_owned(), value.to_owned()));
    }
}

#[test]
fn a_value_that_we_would_have_written_differently_is_refused() {
    for value in ["%2f", "%41", "%", "%4", "%zz", "a b", "é", "", "%FF", "%+1", "a%0a"] {
        let message = format!("subj\n\nTars-Alert: {value}\n");
        assert!(parse(&message).is_err(), "{value:?}");
    }
}

#[test]
fn a_key_stands_once_whatever_its_case() {
    assert!(matches!(write(&[("Tars-A", "x"), ("tars-a", "y")]), Err(TrailerError::Duplicate { .. })));
    assert!(matches!(parse("s\n\nTars-A: x\ntars-a: y"), Err(TrailerError::Duplicate { .. })));
}

#[test]
fn a_value_is_at_most_256_bytes_once_encoded() {
    assert!(write(&[("Tars-A", &"x".repeat(256))]).is_ok());
    assert!(write(&[("Tars-A", &"x".repeat(257))]).is_err());
    assert!(write(&[("Tars-A", &"\n".repeat(86))]).is_err());
}

#[test]
fn only_the_last_paragraph_counts() {
    let message = "subj\n\nTars-A: forged\n\nTars-B: real\n";
    assert_eq!(parse(message).unwrap(), [("Tars-B".to_owned(), "real".to_owned())]);
    assert_eq!(parse("Tars-A: subject"), Err(TrailerError::Missing));
    assert!(parse("subj\n\nTars-A: x\n\n").is_err());
}

fn write_owned(pairs: &[(String, String)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    write(&pairs).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_is_written_is_what_is_read(
        values in prop::collection::vec(
            prop_oneof![
                "[ -~\n\r\t%:#-]{1,40}",
                "\\PC{1,20}",
                "(Tars-Action: merged|\n|\r\n|---|# x|Signed-off-by: x|\u{85}|\u{2028}){1,6}",
            ],
            1..6,
        ),
    ) {
        let pairs: Vec<(String, String)> = values.into_iter().enumerate()
            .map(|(index, value)| (format!("Tars-K{index}"), value)).collect();
        let borrowed: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        match write(&borrowed) {
            Ok(text) => prop_assert_eq!(parse(&format!("subj\n\nbody\n\n{text}")).unwrap(), pairs),
            Err(error) => {
                let too_long = matches!(error, TrailerError::Length { .. });
                prop_assert!(too_long, "{}", error);
            }
        }
    }
}
