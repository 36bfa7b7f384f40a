//! Pictures made of text: bars for everywhere, a mermaid chart where the forge draws it. Measured values come in;
//! numbers and letters of ours go out, never a word that somebody else could end a line or a quote with.

use crate::model::anomaly::Anomaly;

/// Most points of a chart.
const MAX_POINTS: usize = 60;
/// Values beyond this are not drawn: their digits would fill the body.
const MAX_DRAWN: f64 = 1e12;
/// Longest title, characters.
const MAX_TITLE_CHARS: usize = 80;
/// Colours that are seen on white and on black; the first of most themes is seen on neither.
const COLOURS: &str =
    "%%{init: {\"themeVariables\": {\"xyChart\": {\"plotColorPalette\": \"#868e96, #e8590c, #868e96\"}}}}%%";

/// `▁▁▂▇█`: the newest `bars` values between their own minimum and maximum; a flat line is low.
pub fn sparkline(values: &[f64], bars: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let newest = &finite[finite.len().saturating_sub(bars)..];
    let low = newest.iter().copied().fold(f64::INFINITY, f64::min);
    let high = newest.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Half of each, because the distance of two finite numbers need not be one.
    let level = |v: f64| {
        if high > low { ((v / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) * 7.0).round() as usize } else { 0 }
    };
    newest.iter().map(|&v| BARS[level(v).min(7)]).collect()
}

/// A line chart of what was measured, between the edges of what was expected. The old spelling `xychart-beta` is
/// the one that every version of mermaid in use reads. `None`: there is no line to draw.
pub fn mermaid(anomaly: &Anomaly) -> Option<String> {
    let drawn = |v: &f64| v.abs() <= MAX_DRAWN;
    let values: Vec<f64> = anomaly.recent.iter().copied().filter(drawn).collect();
    let values = &values[values.len().saturating_sub(MAX_POINTS)..];
    let (low, high) = anomaly.expected;
    if values.len() < 2 || ![low, high].iter().all(drawn) {
        return None;
    }
    let all = || values.iter().copied().chain([low, high]);
    let bottom = all().fold(f64::INFINITY, f64::min);
    let top = all().fold(f64::NEG_INFINITY, f64::max);
    // Room above and below, so that no line lies on an axis; a flat line needs an axis with a length.
    let margin = if top > bottom { (top - bottom) / 20.0 } else { 1.0 };
    let list = |of: &[f64]| of.iter().map(|&v| point(v)).collect::<Vec<_>>().join(", ");
    Some(format!(
        "{COLOURS}\nxychart-beta\n    title \"{}\"\n    x-axis \"samples before the newest\" -{} --> 0\n    \
         y-axis \"measured\" {} --> {}\n    line [{}]\n    line [{}]\n    line [{}]\n",
        title(&anomaly.key.to_string()),
        values.len() - 1,
        point(bottom - margin),
        point(top + margin),
        list(&vec![high; values.len()]),
        list(values),
        list(&vec![low; values.len()]),
    ))
}

/// At most six decimals, never an exponent: mermaid reads none.
fn point(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Letters, digits and a few signs that mean nothing to mermaid inside quotes.
fn title(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._/- ".contains(c) { c } else { ' ' };
    text.chars().take(MAX_TITLE_CHARS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::{anomaly, at, signal};
    use proptest::prelude::*;

    #[test]
    fn a_chart_names_its_axes_and_draws_the_band_as_flat_lines() {
        let chart = mermaid(&anomaly(signal("backend", "latency_p95"), 0.9, at(0))).unwrap();
        assert_eq!(
            chart.strip_prefix(&format!("{COLOURS}\n")).unwrap(),
            "xychart-beta\n    title \"backend/latency_p95\"\n    x-axis \"samples before the newest\" -2 --> 0\n    \
             y-axis \"measured\" 131.5 --> 538.5\n    line [230, 230, 230]\n    line [180, 182, 520]\n    \
             line [150, 150, 150]\n"
        );
    }

    #[test]
    fn what_cannot_be_drawn_gives_no_chart() {
        let mut it = anomaly(signal("backend", "x"), 0.9, at(0));
        it.recent = vec![f64::NAN, 1.0];
        assert_eq!(mermaid(&it), None);
        it.recent = vec![1e300, -1e300, 1.0];
        assert_eq!(mermaid(&it), None);
        it.recent = vec![1.0, 2.0];
        it.expected = (0.0, f64::INFINITY);
        assert_eq!(mermaid(&it), None);
        assert_eq!(sparkline(&[f64::MIN, f64::MAX, f64::NAN, 0.0], 60), "▁█▅");
    }

    proptest! {
        #[test]
        fn every_chart_is_made_of_words_that_mermaid_knows(
            recent in prop::collection::vec(any::<f64>(), 0..200), low in any::<f64>(), high in any::<f64>(),
            name in "[A-Za-z0-9._:/-]{1,128}",
        ) {
            let mut it = anomaly(signal("backend", &name), 0.9, at(0));
            it.recent = recent;
            it.expected = (low, high);
            let Some(chart) = mermaid(&it) else { return Ok(()) };
            let number = r"-?\d+(\.\d+)?";
            let list = format!(r"    line \[{number}(, {number}){{1,59}}\]\n");
            let whole = format!(
                "^xychart-beta\n    title \"[A-Za-z0-9 ./_-]{{1,80}}\"\n    x-axis \"samples before the newest\" \
                 -\\d+ --> 0\n    y-axis \"measured\" {number} --> {number}\n({list}){{3}}$"
            );
            let drawn = chart.strip_prefix(&format!("{COLOURS}\n")).unwrap();
            prop_assert!(regex::Regex::new(&whole).unwrap().is_match(drawn), "{}", chart);
        }
    }
}
