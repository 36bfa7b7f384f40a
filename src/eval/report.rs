//! The page that a comparison is read on: a table for each data set, and pictures of single incidents. Lines of
//! figures and clips come in, Markdown and pictures go out. Never: a judgement that the figures do not make.

use std::fmt::Write as _;

use super::clips::{Clip, ClipKind};
use super::plot::picture;

/// What the columns mean, by their heading.
const MEANINGS: [(&str, &str); 17] = [
    ("EVENTS", "labelled events in the judged part"),
    ("F1", "of events, at the one threshold that is best for the whole data set"),
    ("R@P85", "recall at a precision of 0.85"),
    ("R@1FP", "recall at one false page per series and week"),
    ("DF1", "F1 where an event counts if it was found within seven rows"),
    ("NAB", "score of the Numenta benchmark, standard profile, 0 to 100"),
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
];

/// A page and the pictures it refers to, by file name.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub text: String,
    pub pictures: Vec<(String, String)>,
}

impl Page {
    /// `rows` have the columns `headers`, the first of which is the data set; pictures are named after `stem`.
    #[must_use]
    pub fn new(stem: &str, headers: &[&str], rows: &[Vec<String>], clips: &[Clip]) -> Self {
        let mut text = String::from(
            "# Detectors on labelled series\n\nMade by `tars eval`. Every detector is causal, has one setting for all \
             series and never reads a label; all of them ran on the same rows.\n",
        );
        let mut before: Option<&str> = None;
        for row in rows {
            let Some((dataset, cells)) = row.split_first() else { continue };
            if before != Some(dataset) {
                let names = headers.get(1..).unwrap_or_default();
                let rule = names.iter().map(|_| "---").collect::<Vec<_>>().join(" | ");
                let _ = write!(text, "\n## {dataset}\n\n| {} |\n| {rule} |\n", names.join(" | "));
            }
            before = Some(dataset);
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text += "\n## Columns\n\n| column | meaning |\n| --- | --- |\n";
        for (name, meaning) in MEANINGS.iter().filter(|(name, _)| headers.contains(name)) {
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
