//! An exponential average. Values come in, the average is a field; it starts as the plain mean of the first values.

/// Follows its values within about `span` of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Average {
    rate: f64,
    pub(super) value: f64,
    seen: f64,
}

impl Average {
    pub(super) fn over(span: f64) -> Self {
        Self { rate: 1.0 - (-1.0 / span.max(0.3)).exp(), value: 0.0, seen: 0.0 }
    }

    /// What it saw would be so much higher by now; `None`: nobody knows, and it starts anew.
    pub(super) fn carry(&mut self, moved: Option<f64>) {
        match moved {
            Some(moved) => self.value += moved,
            None => self.seen = 0.0,
        }
    }

    pub(super) fn push(&mut self, value: f64) {
        self.seen += 1.0;
        self.value += self.rate.max(1.0 / self.seen) * (value - self.value);
    }
}
