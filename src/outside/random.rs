//! Randomness from the operating system: identifiers and jitter.
//! Nothing here is seeded; what must be reproducible takes its numbers as an argument instead.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use thiserror::Error;

/// The operating system gave no random bytes.
#[derive(Debug, Error)]
#[error("cannot read random bytes from the operating system")]
pub struct RandomError(#[source] io::Error);

/// Fills `buffer` with random bytes.
///
/// # Errors
/// When the operating system has none to give.
pub fn fill(buffer: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(buffer).map_err(|error| {
        let cause = error.raw_os_error().map(io::Error::from_raw_os_error);
        RandomError(cause.unwrap_or_else(|| io::Error::other(error.to_string())))
    })
}

/// 32 random bytes, as encryption takes them; `None` when the operating system has none to give.
#[must_use]
pub fn block() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    fill(&mut bytes).ok()?;
    Some(bytes)
}

/// `bytes` random bytes as lower-case hexadecimal, twice as many characters.
///
/// # Errors
/// When the operating system has none to give.
pub fn hex(bytes: usize) -> Result<String, RandomError> {
    let mut buffer = vec![0_u8; bytes];
    fill(&mut buffer)?;
    Ok(buffer.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// `base` moved up or down by at most `share` of itself (0.2 is one fifth), so that replicas do not act in
/// step. `share` is kept within 0..=1. Without entropy the answer is `base`: jitter is a courtesy, not a
/// promise.
#[must_use]
pub fn jitter(base: Duration, share: f64) -> Duration {
    let mut buffer = [0_u8; 4];
    if fill(&mut buffer).is_err() {
        return base;
    }
    let unit = f64::from(u32::from_le_bytes(buffer)) / f64::from(u32::MAX);
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    Duration::try_from_secs_f64(base.as_secs_f64() * (1.0 + share * (2.0 * unit - 1.0))).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_as_long_as_asked_and_differs_each_time() {
        let (a, b) = (hex(16).unwrap(), hex(16).unwrap());
        assert_eq!(a.len(), 32);
        assert!(a.bytes().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()));
        assert_ne!(a, b);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        for _ in 0..1_000 {
            let d = jitter(Duration::from_secs(10), 0.2);
            assert!(d >= Duration::from_secs(8) && d <= Duration::from_secs(12), "{d:?}");
        }
        assert_eq!(jitter(Duration::from_secs(1), f64::NAN), Duration::from_secs(1));
        assert_eq!(jitter(Duration::MAX, 0.0), Duration::MAX);
    }
}
