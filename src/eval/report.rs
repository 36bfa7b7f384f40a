//! The page that comparisons are read on: a table for each data set, and pictures of single incidents. Lines of
//! figures and clips come in, Markdown and pictures go out. Never: a judgement that the figures do not make.

use std::fmt::Write as _;

use super::clips::{Clip, ClipKind};
use super::plot::picture;

/// What the columns mean, by their heading.
const MEANINGS: [(&str, &str); 35] = [
    ("EVENTS", "labelled events in the judged part"),
    ("F1", "of events, at the one threshold that is best for the whole data set"),
    ("R@P85", "recall at a precision of 0.85, at the threshold of the whole data set that is best for it"),
    ("R@1FP", "recall at one false page per series and week, at the threshold that is best for it"),
    (
        "DF1",
        "F1 where an event counts if it was found within seven rows, at the best threshold: chosen with the labels",
    ),
    ("DF1@0.8", "the same at the threshold 0.8, which is what policies ask unless they say otherwise"),
    (
        "NAB",
        "score of the Numenta benchmark, standard profile, 0 to 100, at the best threshold: chosen with the labels",
    ),
    ("NAB@0.8", "the same at the threshold 0.8; below 0 is worse than no alert at all"),
    ("VUS-PR", "volume under the precision-recall surface"),
    ("ACT-P", "precision of what is acted on: two scores in a row at 0.8, grouped by service"),
    ("ACT-R", "recall of the same"),
    ("ACT/WK", "such incidents per series and week"),
    ("FEWER", "pages saved by that grouping against raw alerts that find as many events"),
    ("US/PT", "time for one point, microseconds, on the machine that made this page"),
    ("AUC-PR", "area under the precision-recall curve, row by row"),
    ("F1@0.8", "F1 of events at the threshold 0.8"),
    ("FP/WK", "false pages per series and week at 0.8"),
    ("DELAY-S", "median time from the start of an event to its first alert, seconds"),
    ("SERIES", "series of the data set"),
    ("AHEAD", "how far ahead is looked"),
    (
        "MASE",
        "mean error against \"as yesterday at this time\", mean over the series; below 1 is better than that",
    ),
    ("COVERAGE", "share of rows whose value lay in the interval that was promised for nine of ten"),
    (
        "SURE",
        "answers that a limit is crossed in that time with a probability of 0.9 or more, which is what policies act on",
    ),
    ("SAID", "mean probability of these answers"),
    ("CAME", "share of them after which the limit was crossed in that time"),
    ("LIKELY", "answers with a probability of 0.5 to 0.9"),
    ("L-SAID", "mean probability of these answers"),
    ("L-CAME", "share of them after which the limit was crossed in that time"),
    ("RANKER", "who ranks; `graph-2` is `graph` two slots after the beginning instead of ten"),
    ("CASES", "incidents with a known root cause"),
    ("AC@1", "share of cases whose cause is ranked first"),
    ("AC@3", "share of cases whose cause is among the first three"),
    ("AC@5", "share of cases whose cause is among the first five"),
    ("AVG@5", "mean of the shares among the first one, two, ... five"),
    ("MRR", "mean of one over the rank of the cause"),
];

/// What was compared.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    pub title: &'a str,
    pub about: &'a str,
    /// The first column is the data set.
    pub headers: &'a [&'a str],
    pub rows: &'a [Vec<String>],
}

/// A page and the pictures it refers to, by file name.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub text: String,
    pub pictures: Vec<(String, String)>,
}

impl Page {
    /// Comparisons without rows are left out; pictures are named after `stem`.
    #[must_use]
    pub fn new(stem: &str, compared: &[Comparison<'_>], clips: &[Clip]) -> Self {
        let mut text = String::from(
            "# Detection on labelled series\n\nMade by `tars eval --report`, all figures in one run. Detectors and \
             forecasts see the rows in order and no label, and have one setting for all series; a best threshold is \
             chosen with the labels, for a whole data set.\n",
        );
        let compared: Vec<_> = compared.iter().filter(|it| !it.rows.is_empty()).collect();
        for it in &compared {
            let _ = write!(text, "\n## {}\n\n{}\n", it.title, it.about);
            tables(&mut text, it);
        }
        text += "\n## Columns\n\n| column | meaning |\n| --- | --- |\n";
        let has = |name: &str| compared.iter().any(|it| it.headers.contains(&name));
        for (name, meaning) in MEANINGS.iter().filter(|(name, _)| has(name)) {
            let _ = writeln!(text, "| {name} | {meaning} |");
        }
        let mut pictures = Vec::with_capacity(clips.len());
        if !clips.is_empty() {
            text += "\n## Incidents\n\nValues in blue, the score in red, its threshold of 0.8 dashed; what is labelled \
                     is shaded.\n";
        }
        for (index, clip) in clips.iter().enumerate() {
            let title = title(clip);
            let name = format!("{stem}-{:02}.svg", index + 1);
            pictures.push((name.clone(), picture(clip, &title)));
            let _ = write!(text, "\n### {title}\n\n![{title}]({name})\n");
        }
        Self { text, pictures }
    }
}

fn tables(text: &mut String, compared: &Comparison<'_>) {
    let mut before: Option<&str> = None;
    for row in compared.rows {
        let Some((dataset, cells)) = row.split_first() else { continue };
        if before != Some(dataset) {
            let names = compared.headers.get(1..).unwrap_or_default();
            let rule = names.iter().map(|_| "---").collect::<Vec<_>>().join(" | ");
            let _ = write!(text, "\n### {dataset}\n\n| {} |\n| {rule} |\n", names.join(" | "));
        }
        before = Some(dataset);
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// One line; a name of a series cannot end it or become Markdown.
fn title(clip: &Clip) -> String {
    let series: String = clip
        .series
        .chars()
        .map(|c| if c.is_alphanumeric() || "/_-. ".contains(c) { c } else { '?' })
        .collect();
    match clip.kind {
        ClipKind::Missed => {
            format!("Missed: {series}, highest score {:.2} in {} rows", clip.peak, clip.rows)
        }
        ClipKind::Found => format!("Found: {series}, score {:.2} in {} rows", clip.peak, clip.rows),
        ClipKind::ForNothing => format!("Paged for nothing: {series}, score {:.2}", clip.peak),
    }
}
