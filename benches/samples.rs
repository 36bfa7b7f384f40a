//! What samples cost: ten thousand series in one answer of Prometheus, and the same series by remote write. Comes in:
//! bytes made here as Prometheus writes them; out: times, and ratios to reading the same answer as untyped JSON, and to
//! unpacking the same message. Never: a network.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::model::ids::SignalName;
use crate::model::pushed::WriteVersion;
use crate::model::selector::Selector;
use crate::model::signal::{ServiceOf, SourceKind};
use crate::number;
use crate::observe::metrics::{InstantResult, MetricSource, RangeResult, SourceError};
use crate::observe::prometheus_wire::decode_range;
use crate::observe::pushed::Pushed;
use crate::observe::signals::{SignalConfig, SignalWindows};
use crate::observe::sources::Sources;
use crate::outside::clock::OutsideClock;
use crate::outside::protobuf::Writer;

const STEP_S: i64 = 30;
const NOW_S: i64 = 1_795_428_000;
/// Each figure is the median of so many.
const ROUNDS: usize = 9;
/// Series of one message, as Prometheus sends them.
const MESSAGE_SERIES: usize = 2_000;

/// Answers with as many slots as were asked for, in the bytes of the API.
#[derive(Debug)]
struct Canned {
    series: usize,
    /// Time spent making bytes, which is not ours to count.
    making: Mutex<Duration>,
}

fn labels(series: usize) -> String {
    format!(
        r#"{{"__name__":"http_request_duration_seconds","app":"app-{series:05}","cluster":"eu-west-1","instance":"10.1.{}.{}:9090","job":"kubernetes-pods","namespace":"production","pod":"app-{series:05}-7d4b9c6f5-x2v8k"}}"#,
        series / 256,
        series % 256
    )
}

fn answer(series: usize, from_s: i64, to_s: i64) -> Vec<u8> {
    let mut text = String::from(r#"{"status":"success","data":{"resultType":"matrix","result":["#);
    for n in 0..series {
        if n > 0 {
            text.push(',');
        }
        let points: Vec<String> = (from_s..=to_s)
            .step_by(STEP_S as usize)
            .map(|at| format!("[{at},\"{}\"]", 0.2 + f64::from((n as u32).wrapping_mul(31) % 997) / 1_234.5))
            .collect();
        text.push_str(&format!(r#"{{"metric":{},"values":[{}]}}"#, labels(n), points.join(",")));
    }
    text.push_str("]}}");
    text.into_bytes()
}

impl MetricSource for Canned {
    fn range<'a>(
        &'a self,
        _: &'a str,
        start: Timestamp,
        end: Timestamp,
        _: u32,
    ) -> BoxFuture<'a, Result<RangeResult, SourceError>> {
        let making = Instant::now();
        let body = answer(self.series, start.as_second(), end.as_second());
        *self.making.lock().unwrap() += making.elapsed();
        Box::pin(std::future::ready(decode_range(200, &body)))
    }

    fn instant<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<InstantResult, SourceError>> {
        Box::pin(std::future::ready(Err(SourceError::OutOfTime)))
    }

    fn outside_clock(&self) -> Option<OutsideClock> {
        None
    }
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<Duration> = (0..ROUNDS).map(|_| measure()).collect();
    all.sort_unstable();
    all[ROUNDS / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    std::hint::black_box(work());
    started.elapsed()
}

/// A look at all series, windows and states included, when only the newest slots are missing.
fn look(series: usize) -> Duration {
    let source = Arc::new(Canned { series, making: Mutex::default() });
    let sources = Sources::only(Arc::clone(&source) as Arc<dyn MetricSource>);
    let config = SignalConfig {
        signal: SignalName::new("latency").unwrap(),
        service: ServiceOf::Label("app".to_owned()),
        source: SourceKind::Prometheus,
        query: "latency".to_owned(),
        step_s: STEP_S as u32,
        window_s: 3_600,
        period: None,
        staleness_s: 120,
    };
    let mut windows = SignalWindows::new(vec![config]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut now_s = NOW_S;
    let mut tick = |windows: &mut SignalWindows| {
        now_s += STEP_S;
        *source.making.lock().unwrap() = Duration::ZERO;
        let took = timed(|| runtime.block_on(windows.tick(&sources, Timestamp::from_second(now_s).unwrap())));
        took - *source.making.lock().unwrap()
    };
    tick(&mut windows);
    median(|| tick(&mut windows))
}

fn messages(series: usize) -> Vec<Vec<u8>> {
    let message = |from: usize| {
        let mut message = Writer::default();
        for n in from..(from + MESSAGE_SERIES).min(series) {
            let mut one = Writer::default();
            let values: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&labels(n)).unwrap();
            for (name, value) in &values {
                let mut label = Writer::default();
                label.bytes(1, name.as_bytes());
                label.bytes(2, value.as_bytes());
                one.bytes(1, &label.bytes);
            }
            let mut sample = Writer::default();
            sample.double(1, n as f64);
            sample.varint(2, (NOW_S as u64) * 1_000);
            one.bytes(2, &sample.bytes);
            message.bytes(1, &one.bytes);
        }
        snap::raw::Encoder::new().compress_vec(&message.bytes).unwrap()
    };
    (0..series).step_by(MESSAGE_SERIES).map(message).collect()
}

pub fn table() {
    let series = number("TARS_BENCH_SERIES", 10_000);
    let body = answer(series, NOW_S - 4 * STEP_S, NOW_S);
    println!("{series} series, one answer of {:.1} MB with the newest five slots", body.len() as f64 / 1e6);
    let untyped = median(|| timed(|| serde_json::from_slice::<serde_json::Value>(&body).unwrap()));
    let row = |what: &str, took: Duration, base: Duration| {
        println!(
            "{what:<52} {:>9.1} ms {:>7.2}",
            took.as_secs_f64() * 1e3,
            took.as_secs_f64() / base.as_secs_f64()
        );
    };
    row("the answer as untyped JSON (serde_json::Value)", untyped, untyped);
    row("the answer as samples", median(|| timed(|| decode_range(200, &body).unwrap())), untyped);
    row("a whole look: samples, windows, states", look(series), untyped);

    let all = messages(series);
    let bytes: usize = all.iter().map(Vec::len).sum();
    println!(
        "\nthe same series by remote write 1.0, {} messages, {:.1} MB packed",
        all.len(),
        bytes as f64 / 1e6
    );
    let unpack =
        || all.iter().map(|it| snap::raw::Decoder::new().decompress_vec(it).unwrap().len()).sum::<usize>();
    let unpacked = median(|| timed(unpack));
    row("unpacked", unpacked, unpacked);
    let now = Timestamp::from_second(NOW_S).unwrap();
    let take = |selector: &str| {
        let pushed = Pushed::new([(selector.to_owned(), Selector::parse(selector).unwrap())]);
        let take =
            || all.iter().map(|it| pushed.take(WriteVersion::One, it, now).unwrap().samples).sum::<u64>();
        take();
        median(|| timed(take))
    };
    row("read, and no series is meant", take("other"), unpacked);
    row("read, and all are kept", take("http_request_duration_seconds"), unpacked);
}
