//! Plaintext and keys: wiped when dropped, never printed. Typed values come in, canonical bytes go to the
//! cipher and the MAC.

use std::fmt;

use zeroize::Zeroizing;

use super::time;
use crate::yaml::Value;

/// The type of a value, as its ciphertext names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Float,
    Bool,
    Time,
    Bytes,
    Comment,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "str",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Comment => "comment",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Text, Self::Int, Self::Float, Self::Bool, Self::Time, Self::Bytes, Self::Comment]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A value in the clear: its type and the bytes that sops encrypts and feeds to the MAC for it.
///
/// There is no way to print, compare from outside or serialise it; [`Plaintext::expose`] is the one way out.
#[derive(Clone)]
pub struct Plaintext {
    pub(super) kind: Kind,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Plaintext {
    /// A string.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(Kind::Text, text.as_bytes())
    }

    /// A whole number.
    #[must_use]
    pub fn int(int: i64) -> Self {
        Self::new(Kind::Int, int.to_string().as_bytes())
    }

    /// A finite number; `None` for infinities, not-a-number and minus zero, which sops does not read back.
    #[must_use]
    pub fn float(float: f64) -> Option<Self> {
        let plain = float.is_finite() && !(float == 0.0 && float.is_sign_negative());
        plain.then(|| Self::new(Kind::Float, float_text(float).as_bytes()))
    }

    /// A truth value.
    #[must_use]
    pub fn bool(bool: bool) -> Self {
        Self::new(Kind::Bool, if bool { b"True" } else { b"False" })
    }

    pub(super) fn new(kind: Kind, bytes: &[u8]) -> Self {
        Self { kind, bytes: Zeroizing::new(bytes.to_vec()) }
    }

    /// What was decrypted, brought into the form sops writes; `None` when it is not of its type.
    pub(super) fn decrypted(kind: Kind, bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let text = || std::str::from_utf8(&bytes).ok();
        let canonical = match kind {
            Kind::Text | Kind::Bytes | Kind::Comment => return Some(Self { kind, bytes }),
            Kind::Int => Zeroizing::new(text()?.parse::<i64>().ok()?.to_string()),
            Kind::Float => Zeroizing::new(float_text(go_float(text()?)?)),
            Kind::Bool => match text()? {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Zeroizing::new("True".to_owned()),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Zeroizing::new("False".to_owned()),
                _ => return None,
            },
            Kind::Time => Zeroizing::new(time::rfc3339(text()?)?),
        };
        Some(Self::new(kind, canonical.as_bytes()))
    }

    /// The bytes themselves, for whoever must use the secret.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.bytes == other.bytes
    }

    /// The value in the clear as the YAML editor writes it.
    pub(super) fn to_yaml(&self) -> Option<Value> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        Some(match self.kind {
            Kind::Text => Value::Text(text.to_owned()),
            Kind::Int => Value::Int(text.parse().ok()?),
            Kind::Float => Value::Float(text.parse().ok()?),
            Kind::Bool => Value::Bool(text == "True"),
            Kind::Time | Kind::Bytes | Kind::Comment => return None,
        })
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(..)")
    }
}

/// The key all values of one file are encrypted with.
#[derive(Clone)]
pub(super) struct DataKey(pub(super) Zeroizing<[u8; 32]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Shortest digits without an exponent, as Go's `strconv.FormatFloat(f, 'f', -1, 64)`.
pub(super) fn float_text(float: f64) -> String {
    if float.is_nan() {
        "NaN".to_owned()
    } else if float.is_infinite() {
        if float > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{float}")
    }
}

/// What Go's `strconv.ParseFloat` takes, of the spellings that sops writes.
fn go_float(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ => text.parse().ok().filter(|float: &f64| float.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_spelled_as_sops_spells_them() {
        for (float, text) in [
            (1.5, "1.5"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (-0.0, "-0"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float_text(float), text);
        }
    }

    #[test]
    fn a_decrypted_value_that_is_not_of_its_type_is_refused() {
        let decrypted =
            |kind, text: &str| Plaintext::decrypted(kind, Zeroizing::new(text.as_bytes().to_vec()));
        assert!(decrypted(Kind::Int, "1.5").is_none());
        assert!(decrypted(Kind::Bool, "yes").is_none());
        assert!(decrypted(Kind::Time, "yesterday").is_none());
        assert_eq!(decrypted(Kind::Int, "007").unwrap().expose(), b"7");
        assert_eq!(decrypted(Kind::Bool, "true").unwrap().expose(), b"True");
    }
}
