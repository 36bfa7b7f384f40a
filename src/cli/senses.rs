//! The lines of `tars check` about what is watched and how it is scored. Settings come in, lines go out.

use super::checklist::{Line, pass};
use crate::config::{DetectionSettings, Watching};
use crate::model::anomaly::ModelName;

/// What the settings about scoring come to.
pub fn detection(watching: &Watching) -> Line {
    let DetectionSettings { weights, warm_up_samples, false_alarms_per_week } = &watching.detection;
    let share = |model: ModelName| {
        let percent = 100.0 * weights.of(model);
        (percent > 0.0).then(|| format!("{} {percent:.0} %", model.as_str()))
    };
    let shares: Vec<String> = ModelName::ALL.into_iter().filter_map(share).collect();
    pass(
        "detection",
        format!(
            "a score of 0.8 comes {} per series without faults; {}; ewma alone for the first {warm_up_samples} values",
            rate(*false_alarms_per_week),
            shares.join(", "),
        ),
    )
}

/// `about once a week`, `about 7 times a week`, `about once in 4 weeks`.
fn rate(per_week: f64) -> String {
    let number = |it: f64| {
        let text = format!("{it:.1}");
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    match per_week {
        it if number(it) == "1" => "about once a week".to_owned(),
        it if it > 1.0 => format!("about {} times a week", number(it)),
        it => format!("about once in {} weeks", number(1.0 / it)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_said_as_people_count() {
        for (per_week, said) in [
            (1.0, "about once a week"),
            (7.0, "about 7 times a week"),
            (1.5, "about 1.5 times a week"),
            (0.25, "about once in 4 weeks"),
            (0.3, "about once in 3.3 weeks"),
            (0.01, "about once in 100 weeks"),
        ] {
            assert_eq!(rate(per_week), said);
        }
    }
}
