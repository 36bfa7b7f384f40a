//! Where a recovered signal is: below a limit, or inside the band from before the incident.
//! Numbers come in, distances and yes or no go out.

use std::fmt;

use super::{INSIDE_PERCENT, number};

/// Where a signal has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    Below(f64),
    Within(f64, f64),
}

impl Target {
    /// The limit of the policy wins over the band; `None` when there is neither (or it is no number).
    pub fn of(below: Option<f64>, expected: Option<(f64, f64)>) -> Option<Self> {
        match (below, expected) {
            (Some(limit), _) => limit.is_finite().then_some(Self::Below(limit)),
            (None, Some((lower, upper))) => (lower <= upper).then_some(Self::Within(lower, upper)),
            (None, None) => None,
        }
    }

    /// How far outside a value is; 0 inside.
    pub fn off(self, value: f64) -> f64 {
        match self {
            // At the limit is not below it, by however little.
            Self::Below(limit) if value >= limit => (value - limit).max(f64::MIN_POSITIVE),
            Self::Below(_) => 0.0,
            Self::Within(lower, upper) => (lower - value).max(value - upper).max(0.0),
        }
    }

    /// What a change of `before` is measured against.
    pub fn scale(self, before: f64) -> f64 {
        match self {
            Self::Below(_) => before.abs(),
            Self::Within(lower, upper) => before.abs().max(upper - lower),
        }
    }

    pub fn inside(self, values: &[f64]) -> usize {
        values.iter().filter(|&&value| self.off(value) == 0.0).count()
    }

    /// Nearly all values are inside; no values are no proof.
    pub fn holds(self, values: &[f64]) -> bool {
        !values.is_empty() && self.inside(values) * 100 >= INSIDE_PERCENT * values.len()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(limit) => write!(f, "below {}", number(*limit)),
            Self::Within(lower, upper) => write!(f, "within {} to {}", number(*lower), number(*upper)),
        }
    }
}
