//! Mean and standard deviation of a sliding window, as the windowed Gaussian of the Numenta benchmark (Lavin and
//! Ahmad, 2015). No seasons.

use std::collections::VecDeque;

use super::{Candidate, of_sigmas};

/// Values in the window: a day of 30 seconds.
const WINDOW: usize = 2_880;
/// Values before anything is scored.
const SETTLED: usize = 20;

#[derive(Debug, Clone, Default)]
pub struct Gaussian {
    window: VecDeque<f64>,
    /// Subtracted from all values, so that the squares of a far level do not swallow the spread.
    origin: f64,
    sum: f64,
    squares: f64,
    /// Steps since the sums were made anew.
    age: usize,
}

impl Gaussian {
    fn learn(&mut self, value: f64) {
        self.window.push_back(value);
        self.sum += value - self.origin;
        self.squares += (value - self.origin).powi(2);
        if self.window.len() > WINDOW
            && let Some(old) = self.window.pop_front()
        {
            self.sum -= old - self.origin;
            self.squares -= (old - self.origin).powi(2);
        }
        self.age += 1;
        // Rounding adds up in running sums; once per window they are made anew.
        if self.age >= WINDOW || self.age == SETTLED {
            self.origin += self.sum / self.window.len() as f64;
            self.sum = self.window.iter().map(|it| it - self.origin).sum();
            self.squares = self.window.iter().map(|it| (it - self.origin).powi(2)).sum();
            self.age = SETTLED;
        }
    }
}

impl Candidate for Gaussian {
    fn step(&mut self, _at_s: i64, value: Option<f64>) -> f64 {
        let Some(value) = value else { return 0.0 };
        let count = self.window.len() as f64;
        let mut score = 0.0;
        if self.window.len() >= SETTLED {
            let mean = self.sum / count;
            let sigma = (self.squares / count - mean * mean).max(0.0).sqrt();
            let distance = value - self.origin - mean;
            if distance != 0.0 {
                score = of_sigmas(distance / sigma.max(1e-9 * value.abs().max(1.0)));
            }
        }
        self.learn(value);
        score
    }
}
