//! A number as Kubernetes writes one that is not whole: text with a suffix, `250m` or `"0.25"`. Text comes in, a number
//! goes out.

/// What such a text looks like; the same on an API server.
pub(super) const PATTERN: &str = "^[+-]?[0-9]+(\\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$";

const SUFFIXES: [(&str, f64); 7] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
];

/// The number that `text` stands for.
pub(super) fn parse(text: &str) -> Option<f64> {
    let cut = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (digits, factor) = cut.unwrap_or((text, 1.0));
    let plain = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let (whole, rest) = plain.split_once('.').unwrap_or((plain, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    if !is_digits(whole) || !is_digits(rest) {
        return None;
    }
    digits.parse::<f64>().ok().map(|number| number * factor).filter(|it| it.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_digits_and_one_known_suffix() {
        for (text, number) in
            [("250m", 0.25), ("0.01", 0.01), ("-3", -3.0), ("+1.5k", 1500.0), ("2Mi", 2_097_152.0)]
        {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "m", "1e3", ".5", "5.", "1 m", "nan", "inf", "1mm", "0x1", "1_0", "--1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
