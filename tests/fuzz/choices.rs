//! What the fuzzer decides beside the text: everything behind the last byte 0xff of an input, which no UTF-8
//! text holds. A plain file is an input without choices, so the fixtures are the first seeds.

use crate::yaml::Value;

/// Reads choices; when they are used up, every further one is the first.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// The text of an input, and the choices behind it.
    pub fn split(input: &'a [u8]) -> (&'a [u8], Self) {
        match input.iter().rposition(|byte| *byte == 0xff) {
            Some(at) => (&input[..at], Self(&input[at + 1..])),
            None => (input, Self(&[])),
        }
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of `count` things; `count` is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        let wide = usize::from(self.byte()) | usize::from(self.byte()) << 8;
        wide % count
    }

    /// The rest as text, at most `bytes_max`.
    pub fn text(&mut self, bytes_max: usize) -> String {
        let taken = self.0.len().min(bytes_max);
        let (head, rest) = self.0.split_at(taken);
        self.0 = rest;
        String::from_utf8_lossy(head).into_owned()
    }

    fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    pub fn value(&mut self) -> Value {
        match self.byte() % 6 {
            0 => Value::Int(i64::from(self.byte())),
            1 => Value::Null,
            2 => Value::Bool(self.byte() & 1 == 1),
            3 => Value::Int(self.number().cast_signed()),
            4 => Value::Float(f64::from_bits(self.number())),
            _ => Value::Text(self.text(64)),
        }
    }
}
