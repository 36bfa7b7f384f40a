//! The grammar of an entry: one way to write it, everything else refused.

use proptest::prelude::*;

use super::scripted::{Script, entry};
use super::*;
use crate::model::entry::{EntryKind, Envelope};
use crate::model::fixtures::{at, target};
use crate::model::trailers;

fn envelopes() -> Vec<Envelope> {
    let mut script = Script::new(at(0));
    script.propose("backend-latency", &target("shop/Deployment/backend"), at(1));
    script.checkpoint(at(2));
    script.entries.into_iter().map(|it| it.envelope).collect()
}

#[test]
fn every_kind_of_entry_reads_back_as_written() {
    for envelope in envelopes() {
        let text = message(&envelope, "Scale out 3 -> 5").unwrap();
        assert_eq!(parse_message(&text).unwrap(), envelope, "{text}");
    }
}

#[test]
fn the_message_is_in_its_fixed_form() {
    let text = message(&envelopes()[1], "Scale out shop/Deployment/backend from 3 to 5").unwrap();
    assert!(text.starts_with("tars: Scale out shop/Deployment/backend from 3 to 5 (#1)\n\nEntry 1 of"));
    assert!(text.contains("\n\nTars-Seq: 1\nTars-Prev: 00000000000000000000000000000000\nTars-Entry: "));
    assert!(text.contains("\nTars-Target: shop/Deployment/backend\nTars-Tree: dddd"));
    assert!(text.ends_with("Tars-Time: 2026-11-23T10:00:01Z\nTars-Instance: replica-1\n"));
}

#[test]
fn one_changed_line_is_refused() {
    let text = message(&envelopes()[1], "x").unwrap();
    let edits = [
        ("Tars-Seq: 1\n", "Tars-Seq: 01\n"),
        ("Tars-Seq: 1\n", "Tars-Seq: +1\n"),
        ("Tars-Seq: 1\n", ""),
        ("Tars-Seq: 1\n", "Tars-Seq: 1\nTars-Seq: 1\n"),
        ("Tars-Seq: 1\n", "Tars-Seq: 1\nTars-Budget: reset\n"),
        ("Tars-Seq: 1\n", "Tars-Seq: 1\nSigned-off-by: x\n"),
        ("Tars-Seq: 1\n", "tars-seq: 1\n"),
        ("Tars-Seq: 1\n", "Tars-Seq : 1\n"),
        ("Tars-Kind: Proposed", "Tars-Kind: proposed"),
        ("Tars-Kind: Proposed", "Tars-Kind: %50roposed"),
        ("10:00:01Z", "10:00:01+00:00"),
        ("10:00:01Z", "10:00:01.000Z"),
        ("Tars-Target: shop/", "Tars-Target: Shop/"),
        ("Tars-Instance: replica-1\n", "Tars-Instance: replica-1\n\nfree text\n"),
        ("Tars-Instance: replica-1\n", "Tars-Instance: replica-1\n---\n"),
        ("Tars-Instance: replica-1\n", "Tars-Instance: replica-1"),
        ("Tars-Instance: replica-1\n", "Tars-Instance: replica-1\r\n"),
        ("tars: x (#1)", "tars: x (#2)"),
        ("tars: x (#1)", "x (#1)"),
    ];
    for (from, to) in edits {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from:?}");
        assert!(parse_message(&edited).is_err(), "{from:?} -> {to:?}");
    }
}

#[test]
fn trailers_in_another_order_are_refused() {
    let text = message(&envelopes()[0], "x").unwrap();
    let swapped = text.replace("Tars-Seq: 0\n", "").replace("Tars-Kind", "Tars-Seq: 0\nTars-Kind");
    assert_eq!(parse_message(&swapped), Err(GrammarError::NotCanonical));
}

#[test]
fn a_headline_cannot_break_out_of_the_subject() {
    for headline in ["a\n\nTars-Seq: 9\n", "\u{202e}x", "@org/all closes #1 <img>", "", "x\r\ny", "---"] {
        let text = message(&envelopes()[1], headline).unwrap();
        assert_eq!(parse_message(&text).unwrap().seq, 1, "{text}");
        let subject = text.lines().next().unwrap();
        assert!(!subject.contains(['@', '<', '\u{202e}']) && subject.len() < 100, "{subject}");
    }
}

#[test]
fn a_transition_without_its_subject_is_not_written_as_a_genesis() {
    let script = Script::new(at(0));
    let mut odd = entry(&script.history, EntryKind::Checkpoint, None, at(0)).envelope;
    odd.kind = EntryKind::Genesis;
    assert_eq!(parse_message(&message(&odd, "x").unwrap()).unwrap(), odd);
    assert!(trailers::claims(&message(&odd, "x").unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_headline_and_repository_read_back(
        headline in "(\\PC|\n|\r|Tars-Seq: 9){0,200}",
        repo in "[!-~]{1,60}",
        seq in any::<u64>(),
        second in -377_000_000_000_i64..253_000_000_000,
    ) {
        let mut envelope = envelopes()[1].clone();
        envelope.seq = seq;
        envelope.repo = crate::model::ids::RepoId::new(repo).unwrap();
        envelope.time = jiff::Timestamp::from_second(second).unwrap();
        let text = message(&envelope, &headline).unwrap();
        prop_assert_eq!(parse_message(&text).unwrap(), envelope);
    }

    #[test]
    fn noise_is_never_an_entry(noise in "(Tars-[A-Z][a-z]{2,8}: [!-~]{0,12}\n|\\PC{0,20}\n|\n){0,20}") {
        prop_assert!(parse_message(&noise).is_err());
    }
}
