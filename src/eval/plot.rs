//! One clip as a picture (SVG 1.1): the values above, labelled stretches shaded, and the score below with its
//! threshold. A clip comes in, text goes out. Names of series are data and are escaped.

use super::clips::Clip;
use super::incidents::ACT_AT;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 850.0;
/// Top and bottom of the values, and of the scores.
const VALUES: (f64, f64) = (30.0, 190.0);
const SCORES: (f64, f64) = (210.0, 270.0);
const HEIGHT: f64 = 295.0;
/// Points of a line; more of them than pixels only make the file larger.
const POINTS_MAX: usize = 780;

/// The picture of `clip` below `title`.
#[must_use]
pub fn picture(clip: &Clip, title: &str) -> String {
    let values: Vec<f64> = clip.values.iter().flatten().copied().collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low < high { (low, high) } else { (low - 1.0, low + 1.0) };
    let count = clip.values.len();
    let scores: Vec<Option<f64>> = clip.scores.iter().copied().map(Some).collect();
    let threshold = height(ACT_AT, (0.0, 1.0), SCORES);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    svg += &format!("<text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n", escaped(title));
    for (first, last) in stretches(&clip.labels) {
        let (from, to) = (across(first, count), across(last + 1, count));
        svg += &format!(
            "<rect x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"#f6c7b6\"/>\n",
            VALUES.0,
            (to - from).max(1.0),
            SCORES.1 - VALUES.0
        );
    }
    svg += &line(&clip.values, (low, high), VALUES, "#1f4e79");
    svg += &format!(
        "<line x1=\"{LEFT}\" y1=\"{threshold:.1}\" x2=\"{RIGHT}\" y2=\"{threshold:.1}\" stroke=\"#999999\" \
         stroke-dasharray=\"4 3\"/>\n"
    );
    svg += &line(&scores, (0.0, 1.0), SCORES, "#b3261e");
    let end = LEFT - 6.0;
    for (y, text) in [
        (VALUES.0 + 10.0, number(high)),
        (VALUES.1, number(low)),
        (SCORES.0 + 8.0, "score 1".to_owned()),
        (SCORES.1, "0".to_owned()),
    ] {
        svg += &format!("<text x=\"{end}\" y=\"{y}\" text-anchor=\"end\" fill=\"#444444\">{text}</text>\n");
    }
    let (first, last) = (clip.times_s.first(), clip.times_s.last());
    let place = HEIGHT - 8.0;
    for (x, anchor, time) in [(LEFT, "start", first), (RIGHT, "end", last)] {
        let text = time.map(|it| moment(*it)).unwrap_or_default();
        svg += &format!(
            "<text x=\"{x}\" y=\"{place}\" text-anchor=\"{anchor}\" fill=\"#444444\">{text}</text>\n"
        );
    }
    svg + "</svg>\n"
}

fn moment(at_s: i64) -> String {
    let time = jiff::Timestamp::from_second(at_s).ok();
    time.map(|it| it.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default()
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e5 || (size > 0.0 && size < 1e-2) => format!("{value:.2e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

fn across(row: usize, count: usize) -> f64 {
    LEFT + (RIGHT - LEFT) * row as f64 / count.max(1) as f64
}

fn height(value: f64, (low, high): (f64, f64), (top, bottom): (f64, f64)) -> f64 {
    bottom - (bottom - top) * ((value - low) / (high - low)).clamp(0.0, 1.0)
}

fn stretches(labels: &[bool]) -> Vec<(usize, usize)> {
    super::unit::runs(labels).into_iter().map(|it| (it.first, it.last)).collect()
}

/// A line with a break at every gap. Many rows share a point: then their lowest and their highest are drawn, so that
/// no spike is lost.
fn line(rows: &[Option<f64>], range: (f64, f64), band: (f64, f64), colour: &str) -> String {
    let bucket = rows.len().div_ceil(POINTS_MAX / 2).max(1);
    let mut path = String::new();
    let mut pen_down = false;
    for (index, chunk) in rows.chunks(bucket).enumerate() {
        let present = chunk.iter().flatten().copied();
        let (low, high) =
            present.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
        if low > high {
            pen_down = false;
            continue;
        }
        let x = across(index * bucket, rows.len());
        let ends = if bucket == 1 { vec![low] } else { vec![low, high] };
        for value in ends {
            let step = if pen_down { 'L' } else { 'M' };
            path += &format!("{step}{x:.1} {:.1}", height(value, range, band));
            pen_down = true;
        }
    }
    format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\"/>\n")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|it| !it.is_control()) {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            other => out.push(other),
        }
    }
    out
}
