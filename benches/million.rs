//! A million series in one process: remote write requests of one 30 s tick of all of them, unpacked and decoded by the
//! receiver's own decoder, each series found by its labels, each value scored by the stream. Comes in: bytes made here as
//! Prometheus writes them; out: seconds of one core for a tick, peak memory of the process, bytes per series. Never: a
//! network. `TARS_BENCH_SERIES` makes it smaller.
//!
//! The series have lived for days before the first tick: their states are copies of a few that have, so that every byte
//! of them is in use. They began at different times, as series do; the last rows are about series that began together.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use crate::detect::stream::{Detector, Settings, State};
use crate::model::pushed::WriteVersion;
use crate::observe::remote_write::{Sent, read, unpack};
use crate::outside::protobuf::Writer;
use crate::stream::{STEP_S, Wave};
use crate::{cpu_s, number, peak_mib};

/// Series of one message, as Prometheus sends them.
const MESSAGE_SERIES: usize = 2_000;
/// Values that the first state has seen, more than two days; each further one a few less.
const LIVED: usize = 2 * 2_880 + 512;
const LIVES: usize = 128;
const APART: usize = 4;
const TICKS: usize = 3;
/// With the value after so many, a block of 2 h and the 1,536 values in which a period is looked for both end.
const BOTH_END: usize = 15_360 - 1;

/// All that is kept: which labels are which state, and the states.
struct Watched {
    detector: Detector,
    /// By two keyed hashes of the labels, 128 bits: nobody outside can make two series meet.
    places: HashMap<(u64, u64), u32>,
    keys: [RandomState; 2],
    states: Vec<State>,
    alerts: usize,
}

impl Watched {
    fn place(&mut self, sent: &Sent<'_>) -> u32 {
        let mut hashers = [self.keys[0].build_hasher(), self.keys[1].build_hasher()];
        for (name, value) in sent.labels {
            for hasher in &mut hashers {
                hasher.write(name.as_bytes());
                hasher.write_u8(0xff);
                hasher.write(value.as_bytes());
                hasher.write_u8(0xff);
            }
        }
        let next = self.places.len() as u32;
        *self.places.entry((hashers[0].finish(), hashers[1].finish())).or_insert(next)
    }

    /// A request as it comes from the network.
    fn take(&mut self, version: WriteVersion, body: &[u8]) {
        let message = unpack(body).unwrap();
        read(version, &message, &mut |sent| {
            let place = self.place(sent) as usize;
            for point in sent.points {
                let at_s = point.at_ms / 1_000;
                let step = self.detector.step(&mut self.states[place], at_s, Some(point.value));
                self.alerts += usize::from(step.score.is_some_and(|it| it.get() >= 0.8));
            }
        })
        .unwrap();
    }
}

/// How labels are written: as texts in every series, or by their places in a table of the message, as version 2.0 has it.
enum Texts {
    Own,
    Table(HashMap<String, u64>),
}

impl Texts {
    /// The table begins with an empty text.
    fn of(version: WriteVersion, message: &mut Writer) -> Self {
        match version {
            WriteVersion::One => Self::Own,
            WriteVersion::Two => {
                message.bytes(4, b"");
                Self::Table(HashMap::from([(String::new(), 0)]))
            }
        }
    }

    fn write(&mut self, labels: &[(&str, String)], series: &mut Writer, message: &mut Writer) {
        match self {
            Self::Own => {
                for (name, value) in labels {
                    let mut label = Writer::default();
                    label.bytes(1, name.as_bytes());
                    label.bytes(2, value.as_bytes());
                    series.bytes(1, &label.bytes);
                }
            }
            Self::Table(places) => {
                let mut refs = Vec::new();
                for text in labels.iter().flat_map(|(name, value)| [name, value.as_str()]) {
                    let next = places.len() as u64;
                    let place = *places.entry(text.to_owned()).or_insert(next);
                    if place == next {
                        message.bytes(4, text.as_bytes());
                    }
                    let mut one = Writer::default();
                    one.varint(1, place);
                    refs.extend_from_slice(&one.bytes[1..]);
                }
                series.bytes(1, &refs);
            }
        }
    }
}

fn message(version: WriteVersion, (from, to): (usize, usize), at_s: i64, waves: &mut [Wave]) -> Vec<u8> {
    let mut message = Writer::default();
    let mut texts = Texts::of(version, &mut message);
    for n in from..to {
        let mut one = Writer::default();
        let labels = [
            ("__name__", "http_request_duration_seconds".to_owned()),
            ("app", format!("app-{n:07}")),
            ("cluster", "eu-west-1".to_owned()),
            ("instance", format!("10.{}.{}.{}:9090", n >> 16, n >> 8 & 255, n & 255)),
            ("job", "kubernetes-pods".to_owned()),
            ("namespace", "production".to_owned()),
            ("pod", format!("app-{n:07}-7d4b9c6f5-x2v8k")),
        ];
        texts.write(&labels, &mut one, &mut message);
        let mut sample = Writer::default();
        sample.double(1, waves[n % LIVES].next((at_s / i64::from(STEP_S)) as usize));
        sample.varint(2, at_s.unsigned_abs() * 1_000);
        one.bytes(2, &sample.bytes);
        message.bytes(if matches!(version, WriteVersion::One) { 1 } else { 5 }, &one.bytes);
    }
    snap::raw::Encoder::new().compress_vec(&message.bytes).unwrap()
}

/// States that have lived, and the noise with which each of them goes on.
fn lives(detector: &Detector, lived: usize, apart: usize) -> (Vec<State>, Vec<Wave>) {
    let one = |index: usize| {
        let mut wave = Wave(index as u64);
        let mut state = detector.start_in_turn(STEP_S, index as u32);
        for slot in index * apart..lived {
            detector.step(&mut state, slot as i64 * i64::from(STEP_S), Some(wave.next(slot)));
        }
        (state, wave)
    };
    (0..LIVES).map(one).unzip()
}

/// Seconds of one core for the requests of one tick, and their bytes.
fn tick(watched: &mut Watched, version: WriteVersion, at_s: i64, waves: &mut [Wave]) -> (f64, usize) {
    let (mut took_s, mut bytes) = (0.0, 0);
    let series = watched.states.len();
    for from in (0..series).step_by(MESSAGE_SERIES) {
        let body = message(version, (from, (from + MESSAGE_SERIES).min(series)), at_s, waves);
        bytes += body.len();
        let before = cpu_s();
        watched.take(version, &body);
        took_s += cpu_s() - before;
    }
    (took_s, bytes)
}

pub fn table() {
    let series = number("TARS_BENCH_SERIES", 1_000_000);
    let detector = Detector::new(&Settings::default());
    let (lived, mut waves) = lives(&detector, LIVED, APART);
    let mut states = Vec::with_capacity(series);
    states.extend((0..series).map(|n| lived[n % LIVES]));
    let mut watched = Watched {
        detector,
        places: HashMap::with_capacity(series),
        keys: [RandomState::new(), RandomState::new()],
        states,
        alerts: 0,
    };
    println!("{series} series, a value each every {STEP_S} s, one core");
    let row = |what: &str, (took_s, bytes): (f64, usize)| {
        let (each_us, packed) = (took_s * 1e6 / series as f64, bytes as f64 / 1e6);
        println!("{what:<52} {took_s:>7.2} s {each_us:>7.2} us a series {packed:>6.1} MB packed");
    };
    let at_s = |slot: usize| slot as i64 * i64::from(STEP_S);
    let (one, two) = (WriteVersion::One, WriteVersion::Two);
    row("the first tick, with all labels new", tick(&mut watched, one, at_s(LIVED), &mut waves));
    for index in 1..=TICKS {
        row("a tick by remote write 1.0", tick(&mut watched, one, at_s(LIVED + index), &mut waves));
    }
    for index in TICKS + 1..=2 * TICKS {
        row("a tick by remote write 2.0", tick(&mut watched, two, at_s(LIVED + index), &mut waves));
    }
    let (lived, mut waves) = lives(&watched.detector, BOTH_END, 0);
    watched.states.iter_mut().enumerate().for_each(|(n, state)| *state = lived[n % LIVES]);
    row("all end a block, some look for a period", tick(&mut watched, one, at_s(BOTH_END), &mut waves));
    row("the tick after it", tick(&mut watched, one, at_s(BOTH_END + 1), &mut waves));
    assert_eq!((watched.places.len(), watched.states.len()), (series, series));
    let (peak, state) = (peak_mib(), size_of::<State>());
    let each = peak * 1024.0 * 1024.0 / series as f64;
    println!("{:<52} {peak:>7.0} MiB {each:>5.0} bytes a series, {state} of them the state", "peak memory");
    println!("{:<52} {:>7}", "scores of 0.8 and more", watched.alerts);
}
