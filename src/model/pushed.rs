//! Samples that somebody sends: how their messages are written, and what became of each.

/// Bits of the NaN that means "stale" (prometheus.io, "Remote Write", stale markers).
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// A version of Prometheus remote write, by the message it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteVersion {
    /// 1.0, `prometheus.WriteRequest`
    One,
    /// 2.0, `io.prometheus.write.v2.Request`
    Two,
}

/// What became of the samples of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Kept for a signal. One sample may be kept for several.
    pub kept: u64,
    /// No signal means their series.
    pub unwatched: u64,
    /// Kept, though a newer one of the series was there already.
    pub out_of_order: u64,
    /// There was one of that time already; the first one stays.
    pub repeated: u64,
    /// Too old to be of use: nothing is learned of what came before a quarter of an hour ago.
    pub late: u64,
    /// Too far ahead of the clock.
    pub ahead: u64,
    /// There was no room for their series.
    pub no_room: u64,
    /// Of series with labels that no series can have.
    pub refused: u64,
    pub refused_series: u64,
    /// Native histograms, which are not read.
    pub histograms: u64,
    /// All samples of the message.
    pub samples: u64,
}

impl Tally {
    /// Samples that the sender need not worry about. What no signal asks for was received and is not wanted, which is
    /// no failure of the sender.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.samples.saturating_sub(self.refused + self.late + self.ahead + self.no_room)
    }
}

/// Why nothing of a message was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteRefusal {
    Malformed(String),
    TooLarge(String),
}
