//! States as bytes and back. Every part of a state names its fields once; writing and reading both go along that
//! list, so they cannot disagree. Never: a read past the end, or a version that is guessed.

use thiserror::Error;

/// First byte of an encoded state. A change of any list of fields changes it.
pub const VERSION: u8 = 5;

/// Bytes are not a state that this version wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidState {
    #[error("the state is of version {0}, this program reads version {VERSION}: learn the series anew")]
    Version(u8),
    #[error("the state has {0} bytes, which is not the length of a state: learn the series anew")]
    Length(usize),
    #[error("a number of the state is not finite or out of range: learn the series anew")]
    Number,
}

/// Goes over the fields of a state in their order.
pub trait Pack {
    fn bytes(&mut self, bytes: &mut [u8]);
    fn u16(&mut self, value: &mut u16);
    fn u32(&mut self, value: &mut u32);
    fn i64(&mut self, value: &mut i64);
    fn f32(&mut self, value: &mut f32);
    fn f64(&mut self, value: &mut f64);

    fn u16s(&mut self, values: &mut [u16]) {
        values.iter_mut().for_each(|value| self.u16(value));
    }

    fn f32s(&mut self, values: &mut [f32]) {
        values.iter_mut().for_each(|value| self.f32(value));
    }
}

/// Collects the bytes.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Pack for Writer {
    fn bytes(&mut self, bytes: &mut [u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn u16(&mut self, value: &mut u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u32(&mut self, value: &mut u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn i64(&mut self, value: &mut i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn f32(&mut self, value: &mut f32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn f64(&mut self, value: &mut f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

/// Hands out the bytes. What is missing leaves the field as it is and is remembered.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    fault: Option<InvalidState>,
    length: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, fault: None, length: bytes.len() }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.rest.split_first_chunk::<N>();
        match taken {
            Some((bytes, rest)) => {
                self.rest = rest;
                Some(*bytes)
            }
            None => {
                self.fault.get_or_insert(InvalidState::Length(self.length));
                None
            }
        }
    }

    /// # Errors
    /// [`InvalidState`] when bytes were missing or are left, or a number was none.
    pub fn finish(self) -> Result<(), InvalidState> {
        match self.fault {
            Some(fault) => Err(fault),
            None if !self.rest.is_empty() => Err(InvalidState::Length(self.length)),
            None => Ok(()),
        }
    }
}

impl Pack for Reader<'_> {
    fn bytes(&mut self, bytes: &mut [u8]) {
        match self.rest.split_at_checked(bytes.len()) {
            Some((taken, rest)) => {
                bytes.copy_from_slice(taken);
                self.rest = rest;
            }
            None => {
                self.fault.get_or_insert(InvalidState::Length(self.length));
            }
        }
    }
    fn u16(&mut self, value: &mut u16) {
        *value = self.take().map_or(*value, u16::from_le_bytes);
    }
    fn u32(&mut self, value: &mut u32) {
        *value = self.take().map_or(*value, u32::from_le_bytes);
    }
    fn i64(&mut self, value: &mut i64) {
        *value = self.take().map_or(*value, i64::from_le_bytes);
    }
    fn f32(&mut self, value: &mut f32) {
        *value = self.take().map_or(*value, f32::from_le_bytes);
        if !value.is_finite() {
            self.fault.get_or_insert(InvalidState::Number);
        }
    }
    fn f64(&mut self, value: &mut f64) {
        *value = self.take().map_or(*value, f64::from_le_bytes);
        if !value.is_finite() {
            self.fault.get_or_insert(InvalidState::Number);
        }
    }
}

/// The upper half of an `f32`, rounded: two bytes, three digits, the whole range. For tables of seasons.
pub fn short(value: f32) -> u16 {
    let bits = value.clamp(-1e30, 1e30).to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

pub fn long(short: u16) -> f32 {
    f32::from_bits(u32::from(short) << 16)
}

/// No value: what a bin holds before it was ever filled.
pub const EMPTY: u16 = 0x7fc0;
