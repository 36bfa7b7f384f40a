//! The wire format of Protocol Buffers (protobuf.dev, "Encoding"), as far as messages that are read here need it. In
//! go bytes, out come numbered fields that borrow from them. It never copies and never recurses; a length beyond the
//! end is an error before anything is touched.

use thiserror::Error;

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// What stands in a field, by wire type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Value<'a> {
    /// A message or a packed list.
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a field has another type")),
        }
    }

    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    pub fn double(self) -> Result<f64, Malformed> {
        match self {
            Self::Fixed64(bytes) => Ok(f64::from_le_bytes(bytes)),
            _ => Err(Malformed("a field has another type")),
        }
    }

    /// An `int64`: negative ones are two's complement.
    pub fn int(self) -> Result<i64, Malformed> {
        match self {
            Self::Varint(number) => Ok(number.cast_signed()),
            _ => Err(Malformed("a field has another type")),
        }
    }
}

/// The fields of one message, in the order of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|it| *it > 0);
        let number = number.ok_or(Malformed("a field has no number"))?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => {
                let (bytes, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
                self.rest = rest;
                Value::Fixed64(*bytes)
            }
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| SHORT)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => {
                self.rest = self.rest.split_at_checked(4).ok_or(SHORT)?.1;
                Value::Fixed32
            }
            _ => return Err(Malformed("a field has no known type")),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    /// Nothing follows an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

const SHORT: Malformed = Malformed("it ends in the middle of a field");

/// A list of numbers: packed, or one of them alone.
pub fn varints<'a>(
    value: &Value<'a>,
) -> Result<impl Iterator<Item = Result<u64, Malformed>> + use<'a>, Malformed> {
    let (mut alone, mut packed) = match *value {
        Value::Varint(number) => (Some(number), &[][..]),
        Value::Bytes(bytes) => (None, bytes),
        Value::Fixed64(_) | Value::Fixed32 => return Err(Malformed("a field has another type")),
    };
    Ok(std::iter::from_fn(move || {
        if let Some(number) = alone.take() {
            return Some(Ok(number));
        }
        if packed.is_empty() {
            return None;
        }
        let number = varint(&mut packed);
        if number.is_err() {
            packed = &[];
        }
        Some(number)
    }))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(SHORT)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed("a number is too long"))
}

/// Appends fields to a message.
#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    fn key(&mut self, number: u32, wire_type: u32) {
        self.raw_varint(u64::from(number << 3 | wire_type));
    }

    fn raw_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.bytes.push(number.to_le_bytes()[0]);
    }

    pub fn varint(&mut self, number: u32, value: u64) {
        self.key(number, 0);
        self.raw_varint(value);
    }

    pub fn double(&mut self, number: u32, value: f64) {
        self.key(number, 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        self.key(number, 2);
        self.raw_varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_every_size_survive() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut writer = Writer::default();
            writer.varint(7, number);
            assert_eq!(Fields::of(&writer.bytes).next(), Some(Ok((7, Value::Varint(number)))));
        }
        let mut writer = Writer::default();
        writer.varint(2, (-5_i64).cast_unsigned());
        assert_eq!(Fields::of(&writer.bytes).next().unwrap().unwrap().1.int(), Ok(-5));
    }

    #[test]
    fn what_is_no_message_is_said_to_be_so_and_ends_it() {
        for bytes in [
            &[0x08][..],
            &[0x09, 1, 2, 3],
            &[0x0a, 5, b'a'],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x0b],
            &[0x00, 0],
            &[0x0d, 0],
            &[0xff; 11],
        ] {
            let all: Vec<_> = Fields::of(bytes).collect();
            assert!(matches!(all[..], [Err(_)]), "{bytes:?}: {all:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_go_on_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Fields::of(&bytes).count() <= bytes.len());
            prop_assert!(varints(&Value::Bytes(&bytes)).unwrap().count() <= bytes.len());
        }
    }
}
