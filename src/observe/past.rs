//! The windows that nobody can ask for again, for the process after this one: what was pushed. A window comes in, bytes go
//! out, and back. Never: a window of a signal that means something else now, or of another step.

use super::signals::Meaning;
use super::window::Window;
use crate::model::signal::SignalKey;

/// Bytes before the values.
const HEAD_BYTES: usize = 12;

/// One series as it was when a process ended.
#[derive(Debug, Clone)]
pub struct Past {
    pub key: SignalKey,
    pub meaning: Meaning,
    pub window: Window,
}

/// Step, time of the newest slot, the slots from the first value on; all little-endian, a gap as NaN. `None` of a window
/// without a value.
#[must_use]
pub fn encode(window: &Window) -> Option<Vec<u8>> {
    let end_s = window.end_s()?;
    let first = window.values().position(|it| !it.is_nan())?;
    let mut bytes = Vec::with_capacity(HEAD_BYTES + 8 * (window.slots() - first));
    bytes.extend_from_slice(&window.step_s().to_le_bytes());
    bytes.extend_from_slice(&end_s.to_le_bytes());
    for value in window.values().skip(first) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    Some(bytes)
}

/// `None` of bytes that no window gives.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Window> {
    let (step_s, rest) = bytes.split_first_chunk()?;
    let (end_s, rest) = rest.split_first_chunk()?;
    let (values, []) = rest.as_chunks() else { return None };
    let (step_s, end_s) = (u32::from_le_bytes(*step_s), i64::from_le_bytes(*end_s));
    Window::restored(step_s, end_s, values.iter().map(|it| f64::from_le_bytes(*it)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::fixtures::{at, signal};
    use crate::model::signal::Series;

    proptest! {
        #[test]
        fn a_window_comes_back_as_it_was_and_any_bytes_are_one_or_none(
            values in prop::collection::vec(prop::option::of(-1e9..1e9_f64), 1..50),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let series = Series { key: signal("web", "latency"), start: at(0), step_s: 30, values };
            let window = Window::of(&series);
            match (encode(&window), series.values.iter().position(Option::is_some)) {
                (Some(bytes), Some(first)) => {
                    let restored = decode(&bytes).unwrap().series(series.key.clone());
                    prop_assert_eq!(restored.start, series.at(first));
                    prop_assert_eq!(&restored.values, &series.values[first..]);
                }
                (bytes, first) => prop_assert_eq!((bytes, first), (None, None)),
            }
            if let Some(window) = decode(&bytes) {
                prop_assert!(window.series(signal("web", "latency")).values.iter().flatten().all(|it| it.is_finite()));
            }
        }
    }
}
