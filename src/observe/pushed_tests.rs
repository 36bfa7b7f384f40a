//! What is kept of pushed samples, and which slot each of them fills.

use proptest::prelude::*;

use super::*;
use crate::model::fixtures::at;
use crate::model::pushed::STALE_NAN;

const QUERY: &str = "latency{app=\"backend\"}";

fn pushed(queries: &[&str]) -> Pushed {
    Pushed::new(queries.iter().map(|it| ((*it).to_owned(), Selector::parse(it).unwrap())))
}

fn point(offset_s: i64, value: f64) -> Point {
    Point { at_ms: at(offset_s).as_millisecond(), value }
}

fn send(pushed: &Pushed, now_s: i64, labels: &[(&str, &str)], points: &[Point]) -> Tally {
    let mut tally = Tally::default();
    let latest_ms = at(now_s).as_millisecond() + AHEAD_MS;
    pushed.store().keep(&Sent { labels, points }, latest_ms, &mut tally);
    tally
}

const BACKEND: &[(&str, &str)] = &[("__name__", "latency"), ("app", "backend"), ("pod", "a")];

async fn slots(pushed: &Pushed, query: &str, from_s: i64, to_s: i64, step_s: u32) -> Vec<(i64, f64)> {
    let samples = pushed.range(query, at(from_s), at(to_s), step_s).await.unwrap().only().unwrap();
    samples.iter().map(|it| (it.at.as_second() - at(0).as_second(), it.value)).collect()
}

#[tokio::test]
async fn only_series_that_a_signal_means_are_kept() {
    let pushed = pushed(&[QUERY]);
    assert_eq!(send(&pushed, 0, BACKEND, &[point(0, 1.0)]).kept, 1);
    let others: [&[(&str, &str)]; 3] = [
        &[("__name__", "up"), ("app", "backend")],
        &[("__name__", "latency"), ("app", "web")],
        &[("__name__", "latency")],
    ];
    for labels in others {
        for _ in 0..2 {
            let kept = send(&pushed, 0, labels, &[point(0, 1.0)]);
            assert_eq!(kept, Tally { unwatched: 1, ..Tally::default() }, "{labels:?}");
        }
    }
    let series = pushed.range(QUERY, at(0), at(0), 30).await.unwrap().series;
    assert_eq!((series.len(), series[0].labels.get("pod")), (1, "a"));
    assert!(pushed.range("latency", at(0), at(0), 30).await.is_err(), "nobody's query");
}

#[tokio::test]
async fn a_slot_has_the_newest_sample_of_its_step_and_a_missing_scrape_is_a_gap() {
    let pushed = pushed(&[QUERY]);
    let points = [7, 22, 37, 52, 112].map(|s| point(s, s as f64));
    assert_eq!(send(&pushed, 112, BACKEND, &points).kept, 5);
    assert_eq!(slots(&pushed, QUERY, 0, 120, 30).await, [(30, 22.0), (60, 52.0), (120, 112.0)]);
    // Asking does not use anything up.
    assert_eq!(slots(&pushed, QUERY, 30, 30, 30).await, [(30, 22.0)]);
}

#[tokio::test]
async fn a_stale_marker_ends_the_series_at_once() {
    let pushed = pushed(&[QUERY]);
    let stale = Point { value: f64::from_bits(STALE_NAN), ..point(25, 0.0) };
    send(&pushed, 60, BACKEND, &[point(20, 1.0), stale]);
    assert_eq!(slots(&pushed, QUERY, 0, 60, 30).await, []);
    send(&pushed, 60, BACKEND, &[point(55, 2.0)]);
    assert_eq!(slots(&pushed, QUERY, 0, 60, 30).await, [(60, 2.0)]);
}

#[tokio::test]
async fn samples_out_of_order_find_their_slot_and_are_counted() {
    let pushed = pushed(&[QUERY]);
    send(&pushed, 100, BACKEND, &[point(90, 3.0)]);
    let kept = send(&pushed, 100, BACKEND, &[point(30, 1.0), point(60, 2.0), point(90, 9.0)]);
    assert_eq!(kept, Tally { kept: 2, out_of_order: 2, repeated: 1, ..Tally::default() });
    assert_eq!(slots(&pushed, QUERY, 30, 90, 30).await, [(30, 1.0), (60, 2.0), (90, 3.0)]);
    let late = send(&pushed, 100, BACKEND, &[point(90 - KEPT_MS / 1_000 - 1, 1.0)]);
    assert_eq!(late, Tally { late: 1, ..Tally::default() });
    let ahead = send(&pushed, 100, BACKEND, &[point(100 + AHEAD_MS / 1_000 + 1, 1.0)]);
    assert_eq!(ahead, Tally { ahead: 1, ..Tally::default() });
    assert_eq!(slots(&pushed, QUERY, 30, 90, 30).await.len(), 3, "neither moved anything");
    // A sender that comes back after an hour sends all of it, oldest first.
    let hour: Vec<Point> = (0..=120).map(|it| point(3_600 - 30 * (120 - it), 1.0)).collect();
    let many = send(&pushed, 3_600, BACKEND, &hour);
    assert_eq!(many, Tally { kept: 31, late: 90, ..Tally::default() });
}

#[tokio::test]
async fn series_of_one_query_are_bounded_and_those_that_ended_make_room() {
    let pushed = pushed(&["latency"]);
    for n in 0..=MAX_SERIES {
        let pod = n.to_string();
        let kept = send(&pushed, 0, &[("__name__", "latency"), ("pod", &pod)], &[point(0, 1.0)]);
        assert_eq!((kept.kept, kept.no_room), if n < MAX_SERIES { (1, 0) } else { (0, 1) });
    }
    assert_eq!(pushed.range("latency", at(0), at(0), 30).await.unwrap().series.len(), MAX_SERIES);
    let later = KEPT_MS / 1_000 + 60;
    assert!(pushed.range("latency", at(later), at(later), 30).await.unwrap().series.is_empty());
    let kept = send(&pushed, later, &[("__name__", "latency"), ("pod", "new")], &[point(later, 1.0)]);
    assert_eq!(kept.kept, 1);
}

#[tokio::test]
async fn series_of_all_queries_are_bounded_together() {
    let pushed = pushed(&["latency", "up"]);
    pushed.store().room.series = 1;
    let sent = |at_s: i64, name: &str| send(&pushed, at_s, &[("__name__", name)], &[point(at_s, 1.0)]);
    assert_eq!([sent(0, "latency").kept, sent(0, "up").no_room, sent(0, "latency").repeated], [1, 1, 1]);
    let later = KEPT_MS / 1_000 + 60;
    pushed.range("latency", at(later), at(later), 30).await.unwrap();
    assert_eq!(sent(later, "up").kept, 1, "what ended made room");
}

#[tokio::test]
async fn labels_of_all_series_are_bounded_together() {
    let pushed = pushed(&["latency"]);
    pushed.store().room.label_bytes = 100;
    let long = "x".repeat(60);
    let sent = |at_s: i64, pod: &str| {
        send(&pushed, at_s, &[("__name__", "latency"), ("pod", pod)], &[point(at_s, 1.0)])
    };
    assert_eq!([sent(0, "a").kept, sent(0, &long).no_room], [1, 1]);
    assert_eq!(pushed.store().room.label_bytes, 100 - (4 * 4 + "__name__latencypoda".len()));
    let later = KEPT_MS / 1_000 + 60;
    pushed.range("latency", at(later), at(later), 30).await.unwrap();
    assert_eq!(pushed.store().room.label_bytes, 100);
    assert_eq!(sent(later, "b").kept, 1);
}

#[test]
fn nothing_is_kept_of_series_that_no_signal_means() {
    let pushed = pushed(&[QUERY, "latency{app=\"web\"}"]);
    for pod in 0..1_000 {
        let labels = [("__name__", "latency"), ("app", "other"), ("pod", &pod.to_string())];
        assert_eq!(send(&pushed, 0, &labels, &[point(0, 1.0)]).unwatched, 1);
    }
    assert!(pushed.store().questions.iter().all(|it| it.series.is_empty()));
}

#[test]
fn of_a_message_that_breaks_off_nothing_is_taken() {
    // One series, as in the suite of the sources, and after it the begin of another.
    let field = |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let label = |name: &str, value: &str| {
        field(0x0a, &[field(0x0a, name.as_bytes()), field(0x12, value.as_bytes())].concat())
    };
    let sample = field(0x12, &[&[0x09][..], &1.0_f64.to_le_bytes()].concat());
    let whole = field(0x0a, &[label("__name__", "latency"), label("app", "backend"), sample].concat());
    let pushed = pushed(&[QUERY]);
    let send = |message: &[u8]| {
        let body = snap::raw::Encoder::new().compress_vec(message).unwrap();
        pushed.take(WriteVersion::One, &body, Timestamp::UNIX_EPOCH)
    };
    let broken = send(&[&whole[..], &[0x0a, 9]].concat());
    assert!(matches!(broken, Err(WriteError::Malformed(_))), "{broken:?}");
    assert!(pushed.store().questions[0].series.is_empty());
    assert_eq!(send(&whole).unwrap().kept, 1);
}

#[test]
fn two_queries_may_mean_the_same_series() {
    let pushed = pushed(&[QUERY, "{app=~\"back.*\"}"]);
    assert_eq!(send(&pushed, 0, BACKEND, &[point(0, 1.0)]).kept, 2);
    assert_eq!(send(&pushed, 0, &[("__name__", "up"), ("app", "back")], &[point(0, 1.0)]).kept, 1);
}

proptest! {
    /// However samples are cut into messages and mixed, a slot has the newest one of its step, or nothing.
    #[test]
    fn order_and_repetition_do_not_matter(
        sent in prop::collection::vec((0_i64..600, 0_u8..3), 1..80),
        step_s in 1_u32..60,
    ) {
        let pushed = pushed(&[QUERY]);
        for (at_s, again) in &sent {
            for _ in 0..=*again {
                send(&pushed, 600, BACKEND, &[point(*at_s, *at_s as f64)]);
            }
        }
        let step_ms = i64::from(step_s) * 1_000;
        let range = pushed.range(QUERY, at(0), at(600), step_s);
        let found = futures_util::FutureExt::now_or_never(range).unwrap().unwrap().only().unwrap();
        for slot_s in (0..=600).step_by(step_s as usize) {
            let oldest_ms = slot_s * 1_000 - step_ms - step_ms / 10;
            let times = sent.iter().map(|it| it.0);
            let newest = times.filter(|it| *it <= slot_s && it * 1_000 > oldest_ms).max();
            let slot = found.iter().find(|it| it.at == at(slot_s));
            prop_assert_eq!(slot.map(|it| it.value), newest.map(|it| it as f64), "slot {}", slot_s);
        }
    }
}
