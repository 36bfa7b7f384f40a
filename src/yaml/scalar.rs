//! What a scalar means to the different readers of YAML, and how to write one so that all of them agree.
//!
//! Text comes in, a typed value or its spelling goes out. Readers considered: YAML 1.2 core schema, the YAML
//! 1.1 type repository, go-yaml v2/v3 (`sigs.k8s.io/yaml`), PyYAML, Psych and `yaml_serde`. Nothing here sees
//! a file.

use super::node::Style;

/// A typed scalar value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

/// Where a scalar is written; it decides what a plain scalar may contain.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// Inside `[...]` or `{...}`.
    pub flow: bool,
    /// The surroundings are JSON (double-quoted keys): strings must be double-quoted.
    pub json: bool,
    /// The scalar that stood here held a colon, so if it was plain the readers of this file accept one.
    pub colon: bool,
}

/// The value of an untagged plain scalar by the YAML 1.2 core schema (YAML 1.2.2, section 10.3.2).
/// An integer beyond `i64` becomes a float, as in most readers; [`ambiguous`] says so.
pub fn core(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let (negative, body) = signed(text);
    if matches!(body, ".inf" | ".Inf" | ".INF") {
        return Value::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    let radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        (!digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)))
            .then(|| i64::from_str_radix(digits, radix).ok())?
    };
    if let Some(int) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Value::Int(int);
    }
    if is_digits(body) {
        return match text.parse::<i64>() {
            Ok(int) => Value::Int(int),
            Err(_) => Value::Float(text.parse().unwrap_or(f64::NAN)),
        };
    }
    if is_float(body) {
        return Value::Float(text.parse().unwrap_or(f64::NAN));
    }
    Value::Text(text.to_owned())
}

/// Whether readers may disagree about an untagged plain scalar: anything that some reader types, except the
/// few spellings every reader types alike (`null`, `true`, `12`, `-3`, `0.5`, `1.0e+3`, `.inf` and their
/// cases).
pub fn ambiguous(text: &str) -> bool {
    looks_typed(text) && !universal(text)
}

fn universal(text: &str) -> bool {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL" | ".nan" | ".NaN" | ".NAN")
        || matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
    {
        return true;
    }
    let body = text.strip_prefix('-').unwrap_or(text);
    if matches!(body, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let canonical = is_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    match (fraction, exponent) {
        (None, None) => canonical && text != "-0" && text.parse::<i64>().is_ok(),
        (None, Some(_)) => false,
        (Some(fraction), None) => canonical && is_digits(fraction),
        (Some(fraction), Some(exponent)) => {
            canonical && is_digits(fraction) && exponent.strip_prefix(['+', '-']).is_some_and(is_digits)
        }
    }
}

/// Whether any reader could take an untagged plain scalar for something else than a string.
pub fn looks_typed(text: &str) -> bool {
    const WORDS: [&str; 15] =
        ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<", ".inf", ".nan"];
    let lower = text.to_ascii_lowercase();
    let (_, body) = signed(&lower);
    if WORDS.contains(&lower.as_str()) || WORDS.contains(&body) && body.starts_with('.') {
        return true;
    }
    // Digit groups: `1_000` (YAML 1.1, Go) and `1,000` (Psych).
    let bare: String = body.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    let body = bare.as_str();
    let radix = |prefix: &str, radix: u32| {
        body.strip_prefix(prefix).is_some_and(|digits| digits.chars().all(|c| c.is_digit(radix)))
    };
    radix("0x", 16)
        || radix("0o", 8)
        || radix("0b", 2)
        || is_digits(body)
        || body == "."
        || is_float(body)
        || is_sexagesimal(body)
        || is_timestamp(text)
}

fn signed(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let number = match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && (fraction.is_empty() || is_digits(fraction)),
        None => is_digits(mantissa),
    };
    number && exponent.is_none_or(|e| is_digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

/// YAML 1.1 base 60: `1:30`, `190:20:30.15`.
fn is_sexagesimal(text: &str) -> bool {
    text.contains(':')
        && text.split(':').enumerate().all(|(at, part)| {
            is_digits(part)
                || at > 0
                    && part
                        .split_once('.')
                        .is_some_and(|(w, f)| is_digits(w) && (f.is_empty() || is_digits(f)))
        })
}

/// YAML 1.1 and go-yaml dates and times: four digits, month, day, then only time characters.
fn is_timestamp(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let day_end = rest.bytes().take_while(u8::is_ascii_digit).count();
    year.len() == 4
        && is_digits(year)
        && matches!(month.len(), 1 | 2)
        && is_digits(month)
        && matches!(day_end, 1 | 2)
        && rest[day_end..].bytes().all(|b| b.is_ascii_digit() || b"Tt:. \tZz+-".contains(&b))
}

/// Spells a value, keeping the wanted style where the value allows it; block styles count as plain here.
pub fn spell(value: &Value, style: Style, place: Place) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Float(float) => spell_float(*float),
        Value::Text(text) if place.json => double_quoted(text),
        Value::Text(text) => match style {
            Style::SingleQuoted if text.chars().all(is_visible) => format!("'{}'", text.replace('\'', "''")),
            Style::SingleQuoted | Style::DoubleQuoted => double_quoted(text),
            _ if plain_is_safe(text, place) => text.clone(),
            _ => double_quoted(text),
        },
    }
}

/// YAML 1.1 wants a dot and a signed exponent; YAML 1.2, Go and Rust accept them.
fn spell_float(float: f64) -> String {
    if float.is_nan() {
        return ".nan".to_owned();
    }
    if float.is_infinite() {
        return if float < 0.0 { "-.inf" } else { ".inf" }.to_owned();
    }
    let short = format!("{float:?}");
    match short.split_once('e') {
        None => short,
        Some((mantissa, exponent)) => {
            let dot = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with('-') { "" } else { "+" };
            format!("{mantissa}{dot}e{sign}{exponent}")
        }
    }
}

fn plain_is_safe(text: &str, place: Place) -> bool {
    let mut chars = text.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else { return false };
    let opens_well = match first {
        '-' => second.is_some_and(|c| c == '-' || c.is_ascii_alphanumeric()) && !text.starts_with("---"),
        '.' => !text.starts_with("..."),
        _ => !"?:,[]{}#&*!|>'\"%@`= ".contains(first),
    };
    let flow_safe =
        !place.flow || !text.contains([',', '[', ']', '{', '}', '?']) && (place.colon || !text.contains(':'));
    opens_well
        && flow_safe
        && !looks_typed(text)
        && text.chars().all(is_visible)
        && !text.contains('\t')
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
}

/// Printable as it is and seen as it is: no control, no line separator, no byte order mark, no bidirectional
/// or zero-width character a reviewer would overlook (CVE-2021-42574).
pub fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        && !matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{ad}' | '\u{61c}')
}

/// A double-quoted scalar on one line. Only escapes that JSON has too, so it serves in JSON files.
fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_visible(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_schema_types_follow_yaml_1_2() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("True", Value::Bool(true)),
            ("yes", Value::Text("yes".into())),
            ("010", Value::Int(10)),
            ("0o10", Value::Int(8)),
            ("0x1F", Value::Int(31)),
            ("+1", Value::Int(1)),
            ("1e1", Value::Float(10.0)),
            (".5", Value::Float(0.5)),
            ("-.INF", Value::Float(f64::NEG_INFINITY)),
            ("1_000", Value::Text("1_000".into())),
            ("1.2.3", Value::Text("1.2.3".into())),
            ("0x", Value::Text("0x".into())),
        ] {
            assert_eq!(core(text), value, "{text:?}");
        }
    }

    #[test]
    fn a_spelling_that_readers_type_differently_is_ambiguous() {
        for text in [
            "010",
            "0o10",
            "0x1F",
            "0b11",
            "1_000",
            "1,000",
            "1e1",
            "1.0e1",
            "+1",
            "-0",
            "yes",
            "No",
            "on",
            "OFF",
            "y",
            "n",
            "1:30",
            "190:20:30.5",
            "2024-01-02",
            "2024-1-2T03:04:05Z",
            "=",
            "<<",
            ".",
            "12e03",
            "1.",
            ".5",
            "00.5",
            "+.inf",
            "99999999999999999999",
            "tRUE",
            "nuLL",
        ] {
            assert!(ambiguous(text), "{text:?}");
        }
        for text in [
            "0",
            "3",
            "-3",
            "10",
            "0.5",
            "1.10",
            "1.0e+21",
            "true",
            "False",
            "null",
            "~",
            "",
            ".inf",
            ".NaN",
            "app",
            "1.2.3",
            "v1.2",
            "nginx:1.25",
            "10.0.0.1",
            "3scale",
            "100m",
            "1Gi",
            "30s",
            "yess",
            "a-b",
            "2024-release",
            "sha256:12ab",
        ] {
            assert!(!ambiguous(text), "{text:?}");
        }
    }

    #[test]
    fn floats_are_spelled_so_that_yaml_1_1_reads_a_float() {
        for (float, text) in
            [(1.0, "1.0"), (0.25, "0.25"), (1e21, "1.0e+21"), (1.5e-9, "1.5e-9"), (-0.0, "-0.0")]
        {
            assert_eq!(spell(&Value::Float(float), Style::Plain, Place::default()), text);
            assert!(!ambiguous(text), "{text}");
            assert_eq!(core(text), Value::Float(float));
        }
    }
}
