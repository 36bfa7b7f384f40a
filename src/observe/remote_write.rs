//! A message of Prometheus remote write, versions 1.0 and 2.0 (prometheus.io, "Remote Write"). In goes a compressed
//! body, out come its series one after another, borrowed from it. Nothing is kept: what is allocated is bounded by
//! the body, and a number in the message never decides how much.

use thiserror::Error;

use crate::model::pushed::WriteVersion as Version;
use crate::outside::protobuf::{Fields, Malformed, Value, varints};

/// Largest message after decompression, bytes.
pub const UNPACKED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most series of one message.
pub const SERIES_MAX: usize = 100_000;
/// Most labels of one series.
pub const LABELS_MAX: usize = 128;
/// Longest name or value of a label, bytes.
pub const LABEL_BYTES_MAX: usize = 8 * 1024;
/// Most label bytes of one series, names and values. Each alone may be long; of many long ones nobody makes a signal.
pub const SERIES_LABEL_BYTES_MAX: usize = 16 * 1024;
/// Most texts of the table of a 2.0 message.
const SYMBOLS_MAX: usize = 1_000_000;

/// Why nothing of a message can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriteError {
    #[error("the body is not compressed with snappy (block format)")]
    NotSnappy,
    #[error("more than {UNPACKED_BYTES_MAX} bytes after decompression")]
    TooLarge,
    #[error("more than {SERIES_MAX} series")]
    TooManySeries,
    #[error("the body is not the message that its content type names")]
    Malformed(#[from] Malformed),
}

/// One sample as it was sent. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub at_ms: i64,
    pub value: f64,
}

/// One series of a message.
#[derive(Debug)]
pub struct Sent<'a> {
    /// By name, strictly ascending.
    pub labels: &'a [(&'a str, &'a str)],
    pub points: &'a [Point],
}

/// What a message held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    pub series: usize,
    pub points: usize,
    /// Series with labels that no series can have; their samples were not given out.
    pub refused_series: usize,
    pub refused_points: usize,
    /// Native histograms, which are not read.
    pub histograms: usize,
}

/// The message in a compressed body.
///
/// # Errors
/// When it is not snappy, or larger than [`UNPACKED_BYTES_MAX`]; nothing is allocated before that is known.
pub fn unpack(body: &[u8]) -> Result<Vec<u8>, WriteError> {
    let length = snap::raw::decompress_len(body).map_err(|_| WriteError::NotSnappy)?;
    if length > UNPACKED_BYTES_MAX {
        return Err(WriteError::TooLarge);
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|_| WriteError::NotSnappy)
}

/// Gives every usable series of `message` to `take`.
///
/// # Errors
/// When the message ends in the middle or holds something else; series before that were given out.
pub fn read<'m>(
    version: Version,
    message: &'m [u8],
    take: &mut dyn FnMut(&Sent<'_>),
) -> Result<Contents, WriteError> {
    let mut reader: Reader<'m, '_> = Reader { symbols: Vec::new(), contents: Contents::default(), take };
    let (field, symbol_field) = match version {
        Version::One => (1, None),
        Version::Two => (5, Some(4)),
    };
    if let Some(symbol_field) = symbol_field {
        reader.collect_symbols(message, symbol_field)?;
    }
    let mut labels = Vec::new();
    let mut points = Vec::new();
    for next in Fields::of(message) {
        let (number, value) = next?;
        if number != field {
            continue;
        }
        if reader.contents.series == SERIES_MAX {
            return Err(WriteError::TooManySeries);
        }
        reader.series(version, value.bytes()?, (&mut labels, &mut points))?;
    }
    Ok(reader.contents)
}

struct Reader<'m, 't> {
    symbols: Vec<&'m str>,
    contents: Contents,
    take: &'t mut dyn FnMut(&Sent<'_>),
}

type Scratch<'s, 'm> = (&'s mut Vec<(&'m str, &'m str)>, &'s mut Vec<Point>);

impl<'m> Reader<'m, '_> {
    /// The table stands before the series by habit only: the wire format promises no order.
    fn collect_symbols(&mut self, message: &'m [u8], field: u32) -> Result<(), Malformed> {
        for next in Fields::of(message) {
            let (number, value) = next?;
            if number == field {
                if self.symbols.len() == SYMBOLS_MAX {
                    return Err(Malformed("the table of symbols is too long"));
                }
                self.symbols.push(value.text()?);
            }
        }
        Ok(())
    }

    fn series(
        &mut self,
        version: Version,
        bytes: &'m [u8],
        (labels, points): Scratch<'_, 'm>,
    ) -> Result<(), Malformed> {
        labels.clear();
        points.clear();
        let histograms = if version == Version::One { 4 } else { 3 };
        let mut usable = true;
        for next in Fields::of(bytes) {
            match next? {
                (1, value) if version == Version::One => {
                    let label = label(value.bytes()?)?;
                    usable &= push(labels, label);
                }
                (1, value) => usable &= self.refs(&value, labels)?,
                (2, value) => points.push(point(value.bytes()?)?),
                (number, _) if number == histograms => self.contents.histograms += 1,
                // Exemplars, metadata, and what later versions add.
                _ => {}
            }
        }
        self.contents.series += 1;
        self.contents.points += points.len();
        // Both versions ask for the order, which makes equal series equal bytes; vmagent does not keep it unless told.
        let ascends = |labels: &[(&str, &str)]| labels.is_sorted_by(|a, b| a.0 < b.0);
        if !ascends(labels) {
            labels.sort_unstable();
        }
        let named = labels.iter().any(|(name, _)| *name == "__name__");
        let label_bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        if !usable || !named || !ascends(labels) || label_bytes > SERIES_LABEL_BYTES_MAX {
            self.contents.refused_series += 1;
            self.contents.refused_points += points.len();
            return Ok(());
        }
        (self.take)(&Sent { labels, points });
        Ok(())
    }

    /// Labels of a 2.0 series: places in the table, name and value in turn. They may come in one piece or several.
    fn refs(&self, value: &Value<'m>, labels: &mut Vec<(&'m str, &'m str)>) -> Result<bool, Malformed> {
        let mut refs = varints(value)?;
        let mut usable = true;
        while let Some(name) = refs.next() {
            let name = self.symbol(name?)?;
            let value = refs.next().ok_or(Malformed("a label has a name and no value"))?;
            usable &= push(labels, (name, self.symbol(value?)?));
        }
        Ok(usable)
    }

    fn symbol(&self, place: u64) -> Result<&'m str, Malformed> {
        let symbol = usize::try_from(place).ok().and_then(|place| self.symbols.get(place));
        symbol.copied().ok_or(Malformed("a label is not in the table of symbols"))
    }
}

/// Notes a label, if a series can have it.
fn push<'m>(labels: &mut Vec<(&'m str, &'m str)>, (name, value): (&'m str, &'m str)) -> bool {
    let bounded = |text: &str| (1..=LABEL_BYTES_MAX).contains(&text.len());
    let usable = labels.len() < LABELS_MAX && bounded(name) && bounded(value);
    if usable {
        labels.push((name, value));
    }
    usable
}

fn label(bytes: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    for next in Fields::of(bytes) {
        match next? {
            (1, it) => name = it.text()?,
            (2, it) => value = it.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn point(bytes: &[u8]) -> Result<Point, Malformed> {
    let mut point = Point { at_ms: 0, value: 0.0 };
    for next in Fields::of(bytes) {
        match next? {
            (1, it) => point.value = it.double()?,
            (2, it) => point.at_ms = it.int()?,
            _ => {}
        }
    }
    Ok(point)
}

#[cfg(test)]
#[path = "remote_write_tests.rs"]
mod tests;
