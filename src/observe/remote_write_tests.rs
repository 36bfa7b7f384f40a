//! Messages of remote write: what is read, what is refused, and that no bytes break it.

use proptest::prelude::*;

use super::*;
use crate::outside::protobuf::Writer;

type Series = (Vec<(String, String)>, Vec<(i64, f64)>);

fn series(labels: &[(&str, &str)], points: &[(i64, f64)]) -> Series {
    (labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(), points.to_vec())
}

fn sample(points: &[(i64, f64)], into: &mut Writer) {
    for (at_ms, value) in points {
        let mut sample = Writer::default();
        sample.double(1, *value);
        sample.varint(2, at_ms.cast_unsigned());
        into.bytes(2, &sample.bytes);
    }
}

fn version_one(all: &[Series]) -> Vec<u8> {
    let mut message = Writer::default();
    for (labels, points) in all {
        let mut series = Writer::default();
        for (name, value) in labels {
            let mut label = Writer::default();
            label.bytes(1, name.as_bytes());
            label.bytes(2, value.as_bytes());
            series.bytes(1, &label.bytes);
        }
        sample(points, &mut series);
        message.bytes(1, &series.bytes);
    }
    message.bytes
}

fn version_two(all: &[Series]) -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut message = Writer::default();
    for (labels, points) in all {
        let mut refs = Vec::new();
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            let place = symbols.iter().position(|it| it == text).unwrap_or_else(|| {
                symbols.push(text.clone());
                symbols.len() - 1
            });
            let mut one = Writer::default();
            one.varint(1, place as u64);
            refs.extend_from_slice(&one.bytes[1..]);
        }
        let mut series = Writer::default();
        series.bytes(1, &refs);
        sample(points, &mut series);
        message.bytes(5, &series.bytes);
    }
    // The table comes last here: the order of fields is nobody's promise.
    for symbol in &symbols {
        message.bytes(4, symbol.as_bytes());
    }
    message.bytes
}

fn all(version: Version, message: &[u8]) -> (Result<Contents, WriteError>, Vec<Series>) {
    let mut found = Vec::new();
    let contents = read(version, message, &mut |sent| {
        let points: Vec<_> = sent.points.iter().map(|it| (it.at_ms, it.value)).collect();
        found.push(series(sent.labels, &points));
    });
    (contents, found)
}

#[test]
fn both_versions_say_the_same() {
    let sent = [
        series(&[("__name__", "up"), ("job", "api")], &[(1_000, 1.0), (2_000, 0.0)]),
        series(&[("__name__", "up"), ("job", "web")], &[(-1, f64::INFINITY)]),
        series(&[("__name__", "load")], &[]),
    ];
    for (version, message) in [(Version::One, version_one(&sent)), (Version::Two, version_two(&sent))] {
        let (contents, found) = all(version, &message);
        assert_eq!(contents, Ok(Contents { series: 3, points: 3, ..Contents::default() }));
        assert_eq!(found, sent);
    }
}

#[test]
fn a_series_that_cannot_be_is_left_out_and_counted_and_the_others_stay() {
    let good = series(&[("__name__", "up"), ("a", "b")], &[(1, 1.0)]);
    let long = "x".repeat(LABEL_BYTES_MAX + 1);
    let half = &long[..SERIES_LABEL_BYTES_MAX / 2];
    let many: Vec<(String, String)> = (0..=LABELS_MAX).map(|n| (format!("{n:04}"), "v".to_owned())).collect();
    let bad = [
        series(&[("job", "api")], &[(1, 1.0)]),
        series(&[("__name__", "up"), ("a", "b"), ("a", "b")], &[(1, 1.0)]),
        series(&[("a", "b"), ("__name__", "up"), ("a", "c")], &[(1, 1.0)]),
        series(&[("__name__", "up"), ("a", "")], &[(1, 1.0)]),
        series(&[("__name__", "up"), ("", "b")], &[(1, 1.0)]),
        series(&[("__name__", "up"), ("a", &long)], &[(1, 1.0)]),
        series(&[("__name__", "up"), ("a", half), ("b", half)], &[(1, 1.0)]),
        (many, vec![(1, 1.0)]),
    ];
    for wrong in bad {
        let sent = [good.clone(), wrong, good.clone()];
        for (version, message) in [(Version::One, version_one(&sent)), (Version::Two, version_two(&sent))] {
            let (contents, found) = all(version, &message);
            let contents = contents.unwrap();
            assert_eq!((contents.series, contents.refused_series, contents.refused_points), (3, 1, 1));
            assert_eq!(found, [good.clone(), good.clone()]);
        }
    }
}

#[test]
fn labels_in_any_order_are_the_same_series() {
    let sent = [series(&[("job", "api"), ("__name__", "up"), ("a", "b")], &[(1, 1.0)])];
    let sorted = [series(&[("__name__", "up"), ("a", "b"), ("job", "api")], &[(1, 1.0)])];
    for (version, message) in [(Version::One, version_one(&sent)), (Version::Two, version_two(&sent))] {
        let (contents, found) = all(version, &message);
        assert_eq!(contents.unwrap().refused_series, 0);
        assert_eq!(found, sorted);
    }
}

#[test]
fn places_that_are_not_in_the_table_are_refused() {
    let message = |refs: &[u8]| {
        let (mut message, mut series) = (Writer::default(), Writer::default());
        message.bytes(4, b"");
        series.bytes(1, refs);
        message.bytes(5, &series.bytes);
        message.bytes
    };
    for (refs, word) in [(&[0, 7][..], "table"), (&[0][..], "no value"), (&[0xff][..], "middle")] {
        let (contents, found) = all(Version::Two, &message(refs));
        let Err(WriteError::Malformed(Malformed(what))) = contents else { panic!("{refs:?}: {contents:?}") };
        assert!(what.contains(word), "{refs:?}: {what}");
        assert!(found.is_empty());
    }
}

#[test]
fn histograms_are_counted_and_not_read() {
    let mut one = Writer::default();
    one.bytes(4, b"x");
    let mut message = Writer::default();
    message.bytes(1, &one.bytes);
    assert_eq!(all(Version::One, &message.bytes).0.unwrap().histograms, 1);
    let mut two = Writer::default();
    two.bytes(3, b"x");
    let mut message = Writer::default();
    message.bytes(5, &two.bytes);
    assert_eq!(all(Version::Two, &message.bytes).0.unwrap().histograms, 1);
}

#[test]
fn a_bomb_is_refused_by_what_it_announces() {
    let zeros = vec![0; UNPACKED_BYTES_MAX + 1];
    let packed = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    assert!(packed.len() < UNPACKED_BYTES_MAX / 16);
    assert_eq!(unpack(&packed), Err(WriteError::TooLarge));
    // It announces four gigabytes and has five bytes.
    assert_eq!(unpack(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(WriteError::TooLarge));
    assert_eq!(unpack(b"\x10abc"), Err(WriteError::NotSnappy));
    assert_eq!(unpack(b""), Err(WriteError::NotSnappy));
    assert_eq!(unpack(&snap::raw::Encoder::new().compress_vec(b"ab").unwrap()), Ok(b"ab".to_vec()));
    let message = [0x0a, 0].repeat(SERIES_MAX + 1);
    assert_eq!(all(Version::One, &message).0, Err(WriteError::TooManySeries));
}

proptest! {
    #[test]
    fn what_is_written_is_read_whichever_version(
        sent in prop::collection::vec(
            (
                prop::collection::btree_map("[a-z]{1,3}", "[a-z0-9]{1,4}", 0..4),
                prop::collection::vec((any::<i64>(), -1e9_f64..1e9), 0..4),
            ),
            0..6,
        ),
    ) {
        let named = |(mut labels, points): (std::collections::BTreeMap<String, String>, Vec<(i64, f64)>)| {
            labels.insert("__name__".to_owned(), "m".to_owned());
            (labels.into_iter().collect(), points)
        };
        let sent: Vec<Series> = sent.into_iter().map(named).collect();
        prop_assert_eq!(all(Version::One, &version_one(&sent)).1, sent.clone());
        prop_assert_eq!(all(Version::Two, &version_two(&sent)).1, sent);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = unpack(&bytes);
        let _ = all(Version::One, &bytes);
        let _ = all(Version::Two, &bytes);
    }

    /// A message with one byte changed is read or refused, and never gives out more than it holds.
    #[test]
    fn a_changed_byte_is_survived(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let sent = [series(&[("__name__", "up"), ("job", "api")], &[(1_000, 1.0), (2_000, 0.0)])];
        for (version, mut message) in [(Version::One, version_one(&sent)), (Version::Two, version_two(&sent))] {
            let at = place.index(message.len());
            message[at] = byte;
            let (_, found) = all(version, &message);
            prop_assert!(found.iter().map(|it| it.1.len()).sum::<usize>() <= message.len() / 2);
        }
    }
}
