//! What a scalar in the clear is to sops: its type and canonical bytes. A scalar as parsed comes in; the
//! typing is that of go-yaml v3 (`resolve.go`), not of this program's editor, because the MAC covers it.

use base64ct::{Base64, Encoding as _};

use super::secret::{Kind, Plaintext, float_text};
use super::time;
use crate::yaml::{Node, NodeKind, Style};

/// A scalar, typed.
#[derive(Debug, Clone)]
pub(super) enum Typed {
    Null,
    Value(Plaintext),
}

const CORE: &str = "tag:yaml.org,2002:";

/// Types a YAML scalar; the error says why sops could not.
pub(super) fn yaml(node: &Node) -> Result<Typed, &'static str> {
    let NodeKind::Scalar(scalar) = &node.kind else { return Err("not a scalar") };
    let text = scalar.text.as_str();
    let plain = scalar.style == Style::Plain;
    let Some(tag) = scalar.tag.as_deref() else {
        return if plain { resolve(text, true) } else { Ok(value(Kind::Text, text)) };
    };
    match tag.strip_prefix(CORE) {
        Some("str") => Ok(value(Kind::Text, text)),
        Some("binary") => binary(text),
        Some(wanted @ ("int" | "float" | "bool" | "null" | "timestamp")) => {
            let typed = resolve(text, wanted == "timestamp")?;
            let found = match &typed {
                Typed::Null => "null",
                Typed::Value(value) => match value.kind {
                    Kind::Int => "int",
                    Kind::Float => "float",
                    Kind::Bool => "bool",
                    Kind::Time => "timestamp",
                    _ => "str",
                },
            };
            match (wanted, found, &typed) {
                ("float", "int", Typed::Value(whole)) => as_float(whole),
                _ if wanted == found => Ok(typed),
                _ => Err("the tag says another type than the value has"),
            }
        }
        _ => Err("sops drops tags of this kind"),
    }
}

fn as_float(whole: &Plaintext) -> Result<Typed, &'static str> {
    let float = std::str::from_utf8(&whole.bytes).ok().and_then(|text| text.parse::<f64>().ok());
    float.map(|float| value(Kind::Float, &float_text(float))).ok_or("not a number")
}

fn binary(text: &str) -> Result<Typed, &'static str> {
    let packed: String = text.split_ascii_whitespace().collect();
    let bytes = Base64::decode_vec(&packed).map_err(|_| "the binary value is not base64")?;
    Ok(Typed::Value(Plaintext::new(Kind::Text, &bytes)))
}

/// Types a JSON scalar by its spelling; strings are told apart by the caller.
pub(super) fn json_literal(text: &str) -> Result<Typed, &'static str> {
    match text {
        "null" => return Ok(Typed::Null),
        "true" => return Ok(value(Kind::Bool, "True")),
        "false" => return Ok(value(Kind::Bool, "False")),
        _ => {}
    }
    if let Ok(int) = text.parse::<i64>() {
        return Ok(value(Kind::Int, &int.to_string()));
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok(value(Kind::Float, &float_text(float))),
        _ => Err("the number does not fit any type of sops"),
    }
}

fn value(kind: Kind, text: &str) -> Typed {
    Typed::Value(Plaintext::new(kind, text.as_bytes()))
}

/// `resolve` of go-yaml v3 for a scalar whose type its text decides.
fn resolve(text: &str, times: bool) -> Result<Typed, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Typed::Null),
        "true" | "True" | "TRUE" => return Ok(value(Kind::Bool, "True")),
        "false" | "False" | "FALSE" => return Ok(value(Kind::Bool, "False")),
        ".nan" | ".NaN" | ".NAN" => return Ok(value(Kind::Float, "NaN")),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Ok(value(Kind::Float, "+Inf")),
        "-.inf" | "-.Inf" | "-.INF" => return Ok(value(Kind::Float, "-Inf")),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => Ok(float(text).unwrap_or_else(|| value(Kind::Text, text))),
        b'0'..=b'9' | b'+' | b'-' => number(text, times),
        _ => Ok(value(Kind::Text, text)),
    }
}

fn number(text: &str, times: bool) -> Result<Typed, &'static str> {
    if times && let Some(time) = time::timestamp(text) {
        return Ok(value(Kind::Time, &time));
    }
    let bare = text.replace('_', "");
    if let Some(int) = int(&bare) {
        if let Ok(int) = i64::try_from(int) {
            return Ok(value(Kind::Int, &int.to_string()));
        }
        if bare.as_bytes()[0].is_ascii_digit() && u64::try_from(int).is_ok() {
            return Err("the number is larger than sops can walk (2^63 - 1)");
        }
    }
    Ok(float(&bare).unwrap_or_else(|| value(Kind::Text, text)))
}

/// Go's `strconv.ParseInt(text, 0, ...)`: a leading `0x`, `0o`, `0b` or `0` is a base.
fn int(text: &str) -> Option<i128> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let bytes = body.as_bytes();
    let (radix, digits) = match (bytes.first()?, bytes.get(1)) {
        (b'0', Some(b'x' | b'X')) => (16, &body[2..]),
        (b'0', Some(b'o' | b'O')) => (8, &body[2..]),
        (b'0', Some(b'b' | b'B')) => (2, &body[2..]),
        (b'0', Some(_)) => (8, &body[1..]),
        _ => (10, body),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`; too large a number is a string.
fn float(text: &str) -> Option<Typed> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = body.split_once(['e', 'E']).map_or((body, None), |(m, e)| (m, Some(e)));
    let fits = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    } && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    let float: f64 = fits.then(|| text.parse().ok())??;
    float.is_finite().then(|| value(Kind::Float, &float_text(float)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> String {
        match resolve(text, true) {
            Ok(Typed::Null) => "null".to_owned(),
            Ok(Typed::Value(it)) => format!("{} {}", it.kind.name(), String::from_utf8_lossy(it.expose())),
            Err(reason) => format!("error {reason}"),
        }
    }

    #[test]
    fn scalars_are_typed_as_go_yaml_types_them() {
        for (text, expected) in [
            ("", "null"),
            ("~", "null"),
            ("yes", "str yes"),
            ("y", "str y"),
            ("True", "bool True"),
            ("017", "int 15"),
            ("0o17", "int 15"),
            ("0x1F", "int 31"),
            ("0b101", "int 5"),
            ("-0x10", "int -16"),
            ("+1", "int 1"),
            ("-0", "int 0"),
            ("1_000", "int 1000"),
            ("08", "float 8"),
            ("1.10", "float 1.1"),
            ("1e3", "float 1000"),
            ("1.", "float 1"),
            (".5", "float 0.5"),
            (".5e", "str .5e"),
            ("-0.0", "float -0"),
            (".inf", "float +Inf"),
            ("-.INF", "float -Inf"),
            (".nan", "float NaN"),
            ("1e999", "str 1e999"),
            ("1:30", "str 1:30"),
            ("2024-01-02", "time 2024-01-02T00:00:00Z"),
            ("2024-01", "str 2024-01"),
            ("1.2.3", "str 1.2.3"),
            ("-", "str -"),
            ("<<", "str <<"),
            ("9223372036854775807", "int 9223372036854775807"),
            ("99999999999999999999", "float 100000000000000000000"),
            ("-9223372036854775809", "float -9223372036854776000"),
        ] {
            assert_eq!(typed(text), expected, "{text:?}");
        }
        assert!(typed("9223372036854775808").starts_with("error"));
    }

    #[test]
    fn json_numbers_are_whole_or_floats() {
        let typed = |text| match json_literal(text) {
            Ok(Typed::Value(it)) => format!("{} {}", it.kind.name(), String::from_utf8_lossy(it.expose())),
            Ok(Typed::Null) => "null".to_owned(),
            Err(_) => "error".to_owned(),
        };
        assert_eq!(typed("9007199254740993"), "int 9007199254740993");
        assert_eq!(typed("9223372036854775808"), "float 9223372036854776000");
        assert_eq!(
            (typed("1e2"), typed("1.0"), typed("-0")),
            ("float 100".into(), "float 1".into(), "int 0".into())
        );
        assert_eq!(typed("1e999"), "error");
    }
}
