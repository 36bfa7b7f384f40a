//! The demo's workload: a queue with `replicas x concurrency` servers, so that latency really falls because
//! replicas rose in the merged commit. Load and what runs come in, a latency or an error ratio goes out; the
//! same seed and the same history always give the same numbers, and nothing here reads a clock.

use std::f64::consts::TAU;

use jiff::Timestamp;

/// Requests one replica works on at once.
const CONCURRENCY: u32 = 4;
/// Mean time a request keeps a server busy, seconds.
const SERVICE_S: f64 = 0.05;
/// P95 of the time in service alone, milliseconds.
const SERVICE_P95_MS: f64 = 165.0;
/// Requests that may wait; beyond that the service sheds load (an M/M/c/K queue).
const QUEUE_MAX: u32 = 85;
/// Requests per second in a quiet hour, before the seasons.
const BASE_RATE: f64 = 163.0;
/// Requests per second at the height of the surge.
const SURGE_RATE: f64 = 346.0;
/// How long the surge takes to build up and to ebb away.
const RAMP_S: f64 = 150.0;
/// Share of requests that fail without any bad release.
const ERROR_BASE: f64 = 0.002;
const ERROR_BAD: f64 = 0.083;
/// P95 of what the front end adds to the backend it waits for, milliseconds.
const FRONTEND_P95_MS: f64 = 38.0;

/// What ran from a moment on.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    pub from: Timestamp,
    pub replicas: u32,
    pub bad_release: bool,
}

/// The workload of one scenario.
#[derive(Debug, Clone)]
pub struct Workload {
    pub seed: u64,
    pub surge: Option<(Timestamp, Timestamp)>,
    /// Oldest first; never empty.
    pub running: Vec<Running>,
}

/// 95th percentile of the number of waiting requests in an M/M/c/K queue, interpolated.
/// Source: Kleinrock, Queueing Systems I (1975), section 3.6, for the state probabilities.
fn waiting_p95(rate: f64, servers: u32) -> f64 {
    let mut log_probability = vec![0.0_f64];
    for n in 1..=servers + QUEUE_MAX {
        let departures = f64::from(n.min(servers)) / SERVICE_S;
        let before = log_probability[n as usize - 1];
        log_probability.push(before + (rate / departures).ln());
    }
    let peak = log_probability.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = log_probability.iter().map(|it| (it - peak).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut reached: f64 = weights[..servers as usize].iter().sum::<f64>() / total;
    if reached >= 0.95 {
        return 0.0;
    }
    for waiting in 0..=QUEUE_MAX {
        let share = weights[(servers + waiting) as usize] / total;
        if reached + share >= 0.95 {
            return f64::from(waiting) + (0.95 - reached) / share;
        }
        reached += share;
    }
    f64::from(QUEUE_MAX)
}

/// A reproducible number in -1..1 for this seed, moment and stream (SplitMix64).
fn noise(seed: u64, second: i64, stream: u64) -> f64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(second.unsigned_abs().wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(stream.wrapping_mul(0x94d0_49bb_1331_11eb));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
}

impl Workload {
    fn running_at(&self, at: Timestamp) -> &Running {
        let later = self.running.partition_point(|it| it.from <= at);
        &self.running[later.saturating_sub(1)]
    }

    /// Requests per second: a daily swing, an hourly batch, noise, and the surge.
    #[must_use]
    pub fn rate(&self, at: Timestamp) -> f64 {
        let second = at.as_second();
        let day = (second % 86_400) as f64 / 86_400.0;
        let hour = (second % 3_600) as f64 / 3_600.0;
        let quiet = BASE_RATE
            * (1.0
                + 0.04 * (TAU * (day - 0.3)).sin()
                + 0.05 * (TAU * hour).sin()
                + 0.012 * noise(self.seed, second, 1));
        let Some((from, to)) = self.surge else { return quiet };
        let since_start = (second - from.as_second()) as f64 / RAMP_S;
        let until_end = (to.as_second() - second) as f64 / RAMP_S + 1.0;
        let height = since_start.min(until_end).clamp(0.0, 1.0);
        quiet + (SURGE_RATE - BASE_RATE) * height
    }

    /// 95th percentile of the latency, milliseconds.
    #[must_use]
    pub fn latency_p95_ms(&self, at: Timestamp) -> f64 {
        let servers = self.running_at(at).replicas.max(1) * CONCURRENCY;
        let drain = f64::from(servers) / SERVICE_S;
        let waiting_ms = waiting_p95(self.rate(at), servers) / drain * 1000.0;
        (SERVICE_P95_MS + waiting_ms) * (1.0 + 0.012 * noise(self.seed, at.as_second(), 2))
    }

    /// The same of the front end, which answers when the backend did.
    #[must_use]
    pub fn frontend_latency_p95_ms(&self, at: Timestamp) -> f64 {
        self.latency_p95_ms(at) + FRONTEND_P95_MS * (1.0 + 0.05 * noise(self.seed, at.as_second(), 4))
    }

    /// Share of requests that fail, 0..=1.
    #[must_use]
    pub fn error_ratio(&self, at: Timestamp) -> f64 {
        let running = self.running_at(at);
        let level = if running.bad_release { ERROR_BAD } else { ERROR_BASE };
        // A release is rolled out over a minute: the bad share grows with it.
        let rollout = ((at.as_second() - running.from.as_second()) as f64 / 60.0).clamp(0.0, 1.0);
        let level = if running.bad_release { ERROR_BASE + (level - ERROR_BASE) * rollout } else { level };
        level * (1.0 + 0.15 * noise(self.seed, at.as_second(), 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(replicas: u32, surging: bool) -> (Workload, Timestamp) {
        let noon = Timestamp::from_second(1_795_435_200).unwrap();
        let far = Timestamp::from_second(noon.as_second() + 7_200).unwrap();
        let running = vec![Running { from: Timestamp::MIN, replicas, bad_release: false }];
        let surge = surging.then_some((noon, far));
        (Workload { seed: 7, surge, running }, Timestamp::from_second(noon.as_second() + 1_800).unwrap())
    }

    #[test]
    fn the_story_of_the_default_scenario_follows_from_the_queue() {
        let quiet = workload(3, false);
        let surge = workload(3, true);
        let scaled = workload(5, true);
        let latency = |(workload, at): (Workload, Timestamp)| workload.latency_p95_ms(at);
        assert!((165.0..200.0).contains(&latency(quiet)));
        assert!((490.0..550.0).contains(&latency(surge)));
        assert!((190.0..245.0).contains(&latency(scaled)));
    }

    #[test]
    fn latency_never_rises_with_replicas() {
        let at_replicas = |replicas| {
            let (workload, at) = workload(replicas, true);
            workload.latency_p95_ms(at)
        };
        let latencies: Vec<f64> = (1..12).map(at_replicas).collect();
        assert!(latencies.windows(2).all(|pair| pair[1] <= pair[0] + 1e-9), "{latencies:?}");
    }
}
