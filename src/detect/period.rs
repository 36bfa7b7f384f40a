//! Finds the season of a row of values, or several, or says that there is none. Finite numbers come in, numbers of
//! slots go out. Constant data, noise, trends and random walks have no season; nothing panics.

use super::robust::{Spread, quantile, sorted};

/// Full cycles that must be seen before a season is believed: two similar halves are a coincidence.
pub const CYCLES: usize = 3;

/// The shortest season, slots, and the fewest values worth a look.
const SHORTEST: usize = 3;
const VALUES: usize = 16;

/// Two seasons differ by this factor at least, or they are one: half of a season often looks like one.
const APART: u32 = 3;

/// Seasons that are looked for: hours, days and weeks.
const SEASONS: usize = 3;

/// What a season leaves of the values is rounding below this share of what they reach.
const NOTHING_LEFT: f64 = 1e-9;

/// Lags up to this are tried one by one; longer ones on averages of several slots first.
const FINE_LAGS: usize = 48;

/// Averages that stand for the window in the search for long seasons. Where they are of many slots, seasons between the fine
/// lags and those that they can tell apart are looked for on averages of so many slots each time more.
const COARSE_VALUES: usize = 480;
const FINER: usize = 4;

/// Candidates that are looked at closely.
const CANDIDATES: usize = 8;

/// The part of the variance that must repeat from one cycle to the next, and to the one after, when there
/// are very many cycles; with only three it is twice that, because a random walk often looks like two swings.
const REPEATS: f64 = 0.35;

/// A shorter season that explains this share of what the best one does is the season itself; the best one
/// is its multiple.
const NEARLY: f64 = 0.92;

/// The season of `values` in slots: the lag at which the detrended values resemble themselves best.
///
/// Candidates are the peaks of the autocorrelation. Each is judged on the values minus their moving average
/// over one candidate cycle, which removes whatever is slower, and must repeat over one and over two cycles.
#[must_use]
pub fn find_period(values: &[f64]) -> Option<u32> {
    season_within(values, SHORTEST, values.len() / CYCLES)
}

/// The same among lags from `shortest` to `longest`.
fn season_within(values: &[f64], shortest: usize, longest: usize) -> Option<u32> {
    if values.len() < VALUES || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let values = flattened(values)?;
    let candidates = candidates(&values, longest).into_iter();
    let mut judged: Vec<(usize, f64)> = candidates
        .filter_map(|it| refined(&values, it, longest))
        .filter(|(lag, _)| *lag >= shortest)
        .collect();
    judged.sort_unstable_by_key(|&(lag, _)| lag);
    let best = judged.iter().map(|&(_, strength)| strength).fold(0.0, f64::max);
    let (lag, _) = judged.into_iter().find(|&(_, strength)| strength >= NEARLY * best)?;
    u32::try_from(sharpened(&minus_moving_average(&values, lag), lag)).ok()
}

/// All seasons of `values` in slots, the shortest first, [`SEASONS`] at most. Each longer one is looked for in what the
/// shorter ones leave.
#[must_use]
pub fn find_periods(values: &[f64]) -> Vec<u32> {
    let Some(first) = find_period(values) else { return Vec::new() };
    // The season that explains most may be a long one that hides a short one.
    let shortest = season_within(values, SHORTEST, (first / APART) as usize).unwrap_or(first);
    let (mut found, mut rest) = (vec![shortest], values.to_vec());
    let (mut last, all) = (shortest, reach(values));
    while found.len() < SEASONS {
        rest = without_season(&rest, last as usize);
        if reach(&rest) < NOTHING_LEFT * all {
            break;
        }
        let Some(longer) = season_within(&rest, (last * APART) as usize, rest.len() / CYCLES) else { break };
        // A weak season is told to half a percent; seasons of what people do fit into each other.
        let whole = (longer + last / 2) / last * last;
        last = if whole.abs_diff(longer) <= longer / 200 { whole } else { longer };
        found.push(last);
    }
    found
}

/// From the smallest to the largest.
fn reach(values: &[f64]) -> f64 {
    let (low, high) =
        values.iter().fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(*it), high.max(*it)));
    high - low
}

/// The values without the mean of each slot of the season.
fn without_season(values: &[f64], period: usize) -> Vec<f64> {
    let mean = |phase: usize| {
        let slots = values.iter().skip(phase).step_by(period);
        let count = slots.clone().count().max(1);
        slots.map(|value| value / count as f64).sum::<f64>()
    };
    let season: Vec<f64> = (0..period).map(mean).collect();
    values.iter().enumerate().map(|(index, value)| value - season[index % period]).collect()
}

/// The peak of the autocorrelation near `lag` is broad and noisy; the peaks at its multiples are as broad
/// but farther out, so each doubling halves the error. The top of each is that of the parabola through it.
fn sharpened(values: &[f64], lag: usize) -> usize {
    let mut multiple = 1;
    let mut exact = lag as f64;
    while (multiple as f64 * exact) as usize <= values.len() / 2 && multiple <= 8 {
        let centre = (exact * multiple as f64).round();
        let stride = (lag / 64).max(1);
        let top = top_of_parabola(|offset| {
            let at = centre + (offset * stride as i64) as f64;
            autocorrelation(values, at as usize)
        });
        match top {
            Some(top) => exact = (centre + top * stride as f64) / multiple as f64,
            None => break,
        }
        multiple *= 2;
    }
    if (exact - lag as f64).abs() <= 1.0 + lag as f64 / 32.0 { exact.round() as usize } else { lag }
}

/// Where the least-squares parabola through the heights at -3..=3 is highest; `None` when it has no top or
/// has it outside.
fn top_of_parabola(height: impl Fn(i64) -> f64) -> Option<f64> {
    let (mut linear, mut square) = (0.0, 0.0);
    for offset in -3_i64..=3 {
        let x = offset as f64;
        linear += x * height(offset) / 28.0;
        square += (x * x - 4.0) * height(offset) / 84.0;
    }
    let top = -linear / (2.0 * square);
    (square < 0.0 && top.abs() <= 3.0).then_some(top)
}

/// Without the straight line through the values, outliers cut, in units of the spread; `None` when that
/// leaves nothing.
fn flattened(values: &[f64]) -> Option<Vec<f64>> {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    if largest == 0.0 {
        return None;
    }
    let middle = (values.len() - 1) as f64 / 2.0;
    let (mut mean, mut slope, mut squares) = (0.0, 0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let time = index as f64 - middle;
        mean += value / largest;
        slope += time * (value / largest);
        squares += time * time;
    }
    mean /= values.len() as f64;
    slope /= squares;
    let line = |index: usize| mean + slope * (index as f64 - middle);
    let rest: Vec<f64> = values.iter().enumerate().map(|(i, value)| value / largest - line(i)).collect();
    // What rounding leaves of a straight line is not data.
    let spread = Spread::of(rest.clone(), 1e-9);
    let (low, high) = (spread.centre - 4.0 * spread.below, spread.centre + 4.0 * spread.above);
    let ends = sorted(rest.clone());
    if quantile(&ends, 1.0) - quantile(&ends, 0.0) < 1e-8 {
        return None;
    }
    let unit = spread.below.max(spread.above);
    Some(rest.iter().map(|value| (value.clamp(low, high) - spread.centre) / unit).collect())
}

/// Lags at which the autocorrelation peaks, the highest peaks only, and how far off they may be.
fn candidates(values: &[f64], longest: usize) -> Vec<(usize, usize)> {
    let width = values.len().div_ceil(COARSE_VALUES);
    if width == 1 {
        return peaks(&minus_moving_average(values, longest), 1, longest);
    }
    let mut found = peaks(&minus_moving_average(values, longest), 1, FINE_LAGS.min(longest));
    let finer = std::iter::successors(Some(FINER), |it| it.checked_mul(FINER));
    let finer = finer.take_while(|it| 2 * it <= width).map(|it| (it, FINE_LAGS * it));
    for (width, most) in finer.chain([(width, longest)]) {
        let most = most.min(longest);
        let coarse: Vec<f64> =
            values.chunks_exact(width).map(|chunk| chunk.iter().sum::<f64>() / width as f64).collect();
        found.extend(peaks(&minus_moving_average(&coarse, most / width), width, most / width));
    }
    found
}

/// Lags (times `width`) of local maxima of the autocorrelation among 1..=longest, highest first, with their `width`.
fn peaks(values: &[f64], width: usize, longest: usize) -> Vec<(usize, usize)> {
    let at: Vec<f64> = (0..=longest + 1).map(|lag| autocorrelation(values, lag)).collect();
    let mut peaks: Vec<usize> =
        (2..=longest).filter(|&lag| at[lag] > at[lag - 1] && at[lag] >= at[lag + 1]).collect();
    let highest = peaks.iter().map(|&lag| at[lag]).fold(0.0, f64::max);
    // The multiples of a short season are all about as high: the first of them must not fall off the list.
    let first = peaks.iter().copied().find(|&lag| at[lag] >= NEARLY * highest);
    peaks.sort_by(|&a, &b| at[b].total_cmp(&at[a]));
    peaks.truncate(CANDIDATES);
    peaks.extend(first);
    peaks.into_iter().filter(|&lag| at[lag] > 0.0).map(|lag| (lag * width, width)).collect()
}

/// The best lag within `reach` of `lag` and the part of the variance that repeats; `None` when too little does.
fn refined(values: &[f64], (lag, reach): (usize, usize), longest: usize) -> Option<(usize, f64)> {
    let detrended = minus_moving_average(values, lag);
    let near = lag.saturating_sub(reach).max(SHORTEST)..=(lag + reach).min(longest);
    let (lag, once) =
        near.map(|lag| (lag, autocorrelation(&detrended, lag))).max_by(|a, b| a.1.total_cmp(&b.1))?;
    let twice = autocorrelation(&detrended, 2 * lag);
    // Chance alone reaches a few times this.
    let chance = 4.0 / (detrended.len() as f64).sqrt();
    let cycles = (values.len() / lag).max(CYCLES) as f64;
    let needed = REPEATS + REPEATS / (cycles - 2.0);
    let strength = once.min(twice);
    (strength >= needed.max(chance)).then_some((lag, once.midpoint(twice)))
}

/// The values minus the centred average over `length` slots (half weight at both ends when even), without
/// the ends where there is none.
fn minus_moving_average(values: &[f64], length: usize) -> Vec<f64> {
    let half = length / 2;
    if half == 0 || values.len() <= 2 * half {
        return values.to_vec();
    }
    let even = length.is_multiple_of(2);
    let ends = if even { 0.5 } else { 1.0 };
    let weight = if even { length as f64 } else { (2 * half + 1) as f64 };
    let mut sums = Vec::with_capacity(values.len() + 1);
    let mut sum = 0.0;
    sums.push(0.0);
    for value in values {
        sum += value;
        sums.push(sum);
    }
    let mut rest = Vec::with_capacity(values.len() - 2 * half);
    for at in half..values.len() - half {
        let inner = sums[at + half] - sums[at - half + 1];
        rest.push(values[at] - (inner + ends * (values[at - half] + values[at + half])) / weight);
    }
    rest
}

/// Correlation of the values with themselves `lag` slots later, -1..=1; 0 when nothing varies.
fn autocorrelation(values: &[f64], lag: usize) -> f64 {
    if lag >= values.len() {
        return 0.0;
    }
    let (mut product, mut early, mut late) = (0.0, 0.0, 0.0);
    for index in 0..values.len() - lag {
        let (a, b) = (values[index], values[index + lag]);
        product += a * b;
        early += a * a;
        late += b * b;
    }
    if early > 0.0 && late > 0.0 { product / (early * late).sqrt() } else { 0.0 }
}
