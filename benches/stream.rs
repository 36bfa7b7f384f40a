//! What one value of one series costs the streaming detector, against what refits all models for every score: the batch
//! ensemble, and the usual Python libraries, in the same run. Generated days come in; a table of times, ratios and bytes
//! goes out. Python is asked when it has the libraries (`PYTHONPATH` may name a folder with statsmodels, scikit-learn
//! and pandas). All times are of one core.

use std::process::Command;
use std::time::Instant;

use crate::detect::stream::{Detector, Settings, State};
use crate::detect::{EnsembleSettings, score};
use crate::model::ids::SignalName;
use crate::model::signal::{Series, SignalKey};

pub const STEP_S: u32 = 30;
/// Values of a day, which is what a refit looks back on.
const DAY: usize = 2_880;
/// Values of one run of the stream, a hundred and four days; the fastest of some runs is told.
const MEASURED: usize = 300_000;
const RUNS: usize = 5;
const REFITS: usize = 20;
const PYTHON_SCORES: &str = "10";

/// An hourly season with noise that repeats for the same seed.
#[derive(Debug, Clone, Copy)]
pub struct Wave(pub u64);

impl Wave {
    pub fn next(&mut self, slot: usize) -> f64 {
        let mut noise = -2.0;
        for _ in 0..4 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise += (self.0 >> 40) as f64 / (1_u64 << 24) as f64;
        }
        180.0 + 20.0 * (std::f64::consts::TAU * slot as f64 / 120.0).sin() + 10.0 * noise
    }
}

/// Microseconds of one score of the batch ensemble.
fn refit_us(values: &[f64]) -> f64 {
    let name = SignalName::new("series").unwrap();
    let series = |start: usize| Series {
        key: SignalKey { signal: name.clone(), service: name.clone() },
        start: jiff::Timestamp::UNIX_EPOCH,
        step_s: STEP_S,
        values: values[start..start + DAY].iter().copied().map(Some).collect(),
    };
    let started = Instant::now();
    for start in 0..REFITS {
        std::hint::black_box(score(&series(start), &EnsembleSettings::default()));
    }
    started.elapsed().as_secs_f64() * 1e6 / REFITS as f64
}

/// Microseconds of one value of a series whose state is at hand.
fn step_us(detector: &Detector, values: &[f64]) -> f64 {
    let run = || {
        let mut state = detector.start(STEP_S);
        let started = Instant::now();
        for (slot, value) in values.iter().enumerate() {
            let at_s = slot as i64 * i64::from(STEP_S);
            std::hint::black_box(detector.step(&mut state, at_s, Some(*value)));
        }
        started.elapsed().as_secs_f64() * 1e6 / values.len() as f64
    };
    (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// Microseconds of one score of the Python libraries; `None` where they are not at hand.
fn python_us() -> Option<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/seed_stack.py");
    // One thread: the question is about one core.
    let out = Command::new("python3").args([script, PYTHON_SCORES]).env("OMP_NUM_THREADS", "1").output();
    let out = out.ok().filter(|it| it.status.success())?;
    Some(String::from_utf8(out.stdout).ok()?.trim().parse::<f64>().ok()? * 1e3)
}

pub fn table() {
    let mut wave = Wave(1);
    let values: Vec<f64> = (0..MEASURED).map(|slot| wave.next(slot)).collect();
    let detector = Detector::new(&Settings::default());
    let step = step_us(&detector, &values);
    let row = |what: &str, us: f64| println!("{what:<52} {us:>12.3} us {:>12.0}", us / step);
    println!("{:<52} {:>15} {:>12}", "one value of one series, all three models", "one core", "ratio");
    row("the stream", step);
    row("the batch ensemble, refitted on a day", refit_us(&values));
    match python_us() {
        Some(us) => row("Python's libraries, refitted on a day", us),
        None => println!("Python's libraries: python3 has no statsmodels, scikit-learn and pandas"),
    }
    let state = detector.start(STEP_S);
    println!("\none state: {} bytes in memory, {} in the file", size_of::<State>(), state.encode().len());
}
