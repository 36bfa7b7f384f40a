//! Keeps a forecaster fed from the windows of its signal. Windows come in, forecasts come out; what was fed once is not
//! fed again. A window that does not reach back to what was fed last, or that reaches back further than what was fed
//! first, makes the forecaster anew.

use jiff::Timestamp;

use super::Forecaster;
use crate::model::anomaly::Score;
use crate::model::forecast::{Crossing, Forecast};
use crate::model::signal::Series;

const DAY_S: u32 = 86_400;

/// One signal, one look-ahead time.
#[derive(Debug, Clone)]
pub struct Watch {
    within_s: u32,
    step_s: u32,
    forecaster: Forecaster,
    /// Where the first window that it was fed began.
    since: Timestamp,
    fed_until: Option<Timestamp>,
}

impl Watch {
    /// `None` when the grid of `series` is too coarse to look `within_s` ahead.
    #[must_use]
    pub fn new(within_s: u32, series: &Series) -> Option<Self> {
        let step_s = series.step_s.max(1);
        let horizon = within_s / step_s;
        let forecaster = Forecaster::new(horizon as usize, (DAY_S / step_s) as usize);
        (horizon > 0).then_some(Self { within_s, step_s, forecaster, since: series.start, fed_until: None })
    }

    /// Takes what is new in `series`, up to its newest value.
    pub fn feed(&mut self, series: &Series) {
        let is_apart = self.fed_until.is_some_and(|until| until < series.start);
        if series.step_s != self.step_s || is_apart || series.start < self.since {
            let Some(anew) = Self::new(self.within_s, series) else { return };
            *self = anew;
        }
        for (index, value) in series.values.iter().enumerate() {
            let at = series.at(index);
            if let Some(value) = value.filter(|_| self.fed_until.is_none_or(|until| at > until)) {
                let slot = at.as_second().div_euclid(i64::from(self.step_s));
                self.forecaster.push(u64::try_from(slot).unwrap_or(0), value);
                self.fed_until = Some(at);
            }
        }
    }

    /// What is to be said about a limit; `None` without enough history.
    #[must_use]
    pub fn forecast(&self, series: &Series, crossing: Crossing) -> Option<Forecast> {
        let (at, value) = series.last()?;
        let ahead = self.forecaster.ahead()?;
        let forecast = Forecast {
            key: series.key.clone(),
            at,
            value,
            crossing,
            within_s: self.within_s,
            probability: Score::clamped(self.forecaster.probability(crossing)?),
            expected: ahead.expected,
            interval: ahead.interval,
        };
        forecast.is_finite().then_some(forecast)
    }
}
