//! The newest errors of a forecaster, and what they say about the next one. Errors come in, quantiles and shares come
//! out; a bounded number is kept.

/// Errors that are kept: about 60 look-ahead times.
const KEPT: usize = 512;
/// Errors are kept within this many units, so that one spike cannot leave the range of `f32`.
const MAX_UNITS: f64 = 1e6;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Errors {
    /// In no order: a ring.
    ring: Vec<f32>,
    /// The same, in order.
    sorted: Vec<f32>,
    next: usize,
}

impl Errors {
    pub(super) fn new() -> Self {
        Self { ring: Vec::new(), sorted: Vec::new(), next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn push(&mut self, error: f64) {
        if error.is_nan() {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "seven digits of an error are enough")]
        let error = error.clamp(-MAX_UNITS, MAX_UNITS) as f32;
        if let Some(oldest) = self.ring.get_mut(self.next).filter(|_| self.sorted.len() == KEPT) {
            let place = self.sorted.partition_point(|it| it < oldest);
            self.sorted.remove(place);
            *oldest = error;
        } else {
            self.ring.push(error);
        }
        let place = self.sorted.partition_point(|it| *it < error);
        self.sorted.insert(place, error);
        self.next = (self.next + 1) % KEPT;
    }

    /// The ends between which all but `outside` of the errors lie, half of those beyond either end.
    pub(super) fn between(&self, outside: f64) -> Option<(f64, f64)> {
        let at = |share: f64| {
            let rank = (share * (self.sorted.len() as f64 + 1.0)).ceil() - 1.0;
            let last = self.sorted.len().checked_sub(1)?;
            Some(f64::from(self.sorted[(rank.max(0.0) as usize).min(last)]))
        };
        Some((at(outside / 2.0)?, at(1.0 - outside / 2.0)?))
    }

    /// The share of errors of which `is_so` holds, as if one more were half so.
    pub(super) fn share(&self, is_so: impl Fn(f64) -> bool) -> f64 {
        let so = self.sorted.iter().filter(|it| is_so(f64::from(**it))).count();
        (so as f64 + 0.5) / (self.sorted.len() as f64 + 1.0)
    }
}
