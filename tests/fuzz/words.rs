//! The texts that strangers write and tars believes: commit messages with trailers, webhook bodies, and messages of
//! remote write. What is accepted is exactly what tars itself would have written, and nothing makes it panic.

#![no_main]

#[allow(unused, reason = "part of the room is used here")]
#[path = "../../src/observe/alertmanager.rs"]
mod alertmanager;
#[allow(unused, reason = "part of the room is used here")]
#[path = "../../src/ledger/mod.rs"]
mod ledger;
#[allow(unused, reason = "part of the room is used here")]
#[path = "../../src/model/mod.rs"]
mod model;

#[allow(unused, reason = "part of the room is used here")]
mod outside {
    #[path = "../../../src/outside/protobuf.rs"]
    pub mod protobuf;
}
#[allow(unused, reason = "part of the room is used here")]
#[path = "../../src/observe/remote_write.rs"]
mod remote_write;

use libfuzzer_sys::fuzz_target;
use model::trailers;

fn message(text: &str) {
    let parsed = trailers::parse(text);
    if let Ok(pairs) = &parsed {
        for (_, value) in pairs {
            assert_eq!(trailers::decode(&trailers::encode(value)).as_ref(), Some(value));
        }
    }
    if let Ok(envelope) = ledger::parse_message(text) {
        assert!(trailers::claims(text), "an entry that claims nothing");
        let written = ledger::message(&envelope, "x").expect("what was read can be written");
        let last = |text: &str| text.rsplit_once("\n\n").map(|(_, last)| last.to_owned());
        assert_eq!(last(text), last(&written), "one way to write an entry");
        assert_eq!(ledger::parse_message(&written).as_ref(), Ok(&envelope));
    }
    let _ = trailers::claims(text);
    let encoded = trailers::encode_within(text, trailers::MAX_VALUE_BYTES);
    assert!(encoded.len() <= trailers::MAX_VALUE_BYTES && encoded.bytes().all(|it| it.is_ascii_graphic()));
    assert!(trailers::decode(&encoded).is_some_and(|it| text.starts_with(&it)));
    if let Some(decoded) = trailers::decode(text) {
        assert_eq!(trailers::encode(&decoded), text, "one way to write a value");
    }
}

fn webhook(body: &[u8]) {
    let Ok(message) = alertmanager::decode(body) else { return };
    for alert in &message.alerts {
        assert!(alert.labels.len() <= alertmanager::MAX_LABELS);
        let long = |it: &String| it.len() > alertmanager::MAX_LABEL_VALUE_BYTES;
        assert!(!alert.labels.values().any(long), "a label over its bound");
    }
}

/// Packed as it comes, and as a message that somebody packed well.
fn pushed(body: &[u8]) {
    let _ = remote_write::unpack(body);
    for version in [model::pushed::WriteVersion::One, model::pushed::WriteVersion::Two] {
        let mut points = 0;
        let contents = remote_write::read(version, body, &mut |sent| {
            assert!(sent.labels.len() <= remote_write::LABELS_MAX);
            assert!(sent.labels.is_sorted_by(|a, b| a.0 < b.0), "labels that no series can have");
            points += sent.points.len();
        });
        if let Ok(contents) = contents {
            assert_eq!(points + contents.refused_points, contents.points);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    webhook(input);
    pushed(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    message(text);
    if let Ok(record) = ledger::record_from_yaml(input) {
        let _ = format!("{record:?}").len();
    }
    if let Ok(history) = ledger::from_json(text) {
        let again = ledger::to_json(&history).expect("a checkpoint that was read can be written");
        assert_eq!(again, text, "one way to write a checkpoint");
    }
});
