//! Order statistics that one bad value cannot move. Slices of finite numbers come in, one number goes out.
//! Nothing here divides by a spread that may be zero; an empty slice answers 0.

/// A consistent estimate of the standard deviation of Gaussian data is this times the median absolute
/// deviation (Rousseeuw and Croux, 1993).
const MAD_TO_SIGMA: f64 = 1.4826;

/// The share of a window that may lie beyond "normal" on either side, and where a Gaussian has it: 36 minutes
/// of an earlier incident within the day do not hide the next one, and a tail that a signal always had counts.
pub const TAIL: f64 = 0.025;
pub const TAIL_SIGMA: f64 = 1.96;

/// The `share` quantile (0..=1) of `sorted`, nearest rank.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
}

/// The values in ascending order.
pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The middle value; of an even number of values the lower of the two in the middle or the upper one.
pub fn median(values: &[f64]) -> f64 {
    quantile(&sorted(values.to_vec()), 0.5)
}

/// Where a set of numbers lies and how far it normally reaches to either side, both in sigma-equivalents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub centre: f64,
    pub below: f64,
    pub above: f64,
}

impl Spread {
    /// Each side is the largest of: the MAD; the distance to the 2.5 % (97.5 %) quantile as a Gaussian would
    /// have it, so that a long tail on one side widens that side; and `floor`. Up to 2.5 % of the values may
    /// be an incident without hiding the next one. When nearly all values are the same, the
    /// standard deviation steps in, so that a counter that is mostly 0 does not call every 1 an anomaly.
    pub fn of(values: Vec<f64>, floor: f64) -> Self {
        Self::with_tail(values, floor, (TAIL, TAIL_SIGMA))
    }

    /// The same with another share of the values beyond "normal" on either side, and its place in a Gaussian.
    pub fn with_tail(values: Vec<f64>, floor: f64, (tail, sigma): (f64, f64)) -> Self {
        let values = sorted(values);
        let centre = quantile(&values, 0.5);
        let distances = sorted(values.iter().map(|value| (value - centre).abs()).collect());
        let mad = MAD_TO_SIGMA * quantile(&distances, 0.5);
        let mut below = mad.max((centre - quantile(&values, tail)) / sigma);
        let mut above = mad.max((quantile(&values, 1.0 - tail) - centre) / sigma);
        if below.max(above) <= floor {
            let squares: f64 = distances.iter().map(|distance| distance * distance).sum();
            let deviation = (squares / distances.len().max(1) as f64).sqrt();
            below = deviation;
            above = deviation;
        }
        Self { centre, below: below.max(floor), above: above.max(floor) }
    }

    /// Distance of `value` from the centre in sigma-equivalents; negative below the centre.
    pub fn z(&self, value: f64) -> f64 {
        let distance = value - self.centre;
        distance / if distance < 0.0 { self.below } else { self.above }
    }
}
