//! A row of block characters for a row of values. Numbers come in, text goes out; a gap (NaN) is a space.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One character per value, lowest to highest; a value that is not finite is a space, a flat row is all low.
#[must_use]
pub fn sparkline(values: &[f64]) -> String {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    // Halved, because the distance between two finite numbers may not be finite.
    let range = high / 2.0 - low / 2.0;
    values
        .iter()
        .map(|value| match value.is_finite() {
            false => ' ',
            true if range <= 0.0 => BLOCKS[0],
            true => BLOCKS[((value / 2.0 - low / 2.0) / range * 7.0).round() as usize % BLOCKS.len()],
        })
        .collect()
}
