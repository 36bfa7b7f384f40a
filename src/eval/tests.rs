//! Small cases whose figures are known by hand or from the reference evaluation.

use super::clips::ClipKind;
use super::*;

fn entry(rows: usize) -> SeriesEntry {
    let times: Vec<i64> = (0..rows as i64).map(|row| row * 60).collect();
    let series = Labelled { times_s: times, values: vec![Some(1.0); rows], labels: vec![false; rows] };
    SeriesEntry { score_from: 0, vus_window: 4, ..SeriesEntry::of_file("d", "a.csv", &series) }
}

fn judged(labels: &str, scores: &[f64]) -> Figures {
    let rows = scores.len();
    let series = Labelled {
        times_s: (0..rows as i64).map(|row| row * 60).collect(),
        values: vec![Some(1.0); rows],
        labels: labels.bytes().map(|it| it == b'1').collect(),
    };
    figures(&[judge(&entry(rows), &series, Scored { scores: scores.to_vec(), took_us: 1.0 }, true)])
}

#[test]
fn a_perfect_detector_is_perfect_and_a_silent_one_finds_nothing() {
    let labels = "000000000011100000000000000000";
    let perfect: Vec<f64> = labels.bytes().map(|it| if it == b'1' { 1.0 } else { 0.0 }).collect();
    let good = judged(labels, &perfect);
    assert_eq!((good.event.f1, good.sweep.best_f1, good.delayed.best_f1), (1.0, 1.0, 1.0));
    assert_eq!((good.incident_precision, good.incident_recall), (Some(1.0), 1.0));
    let silent = judged(labels, &[0.0; 30]);
    assert_eq!((silent.event.f1, silent.sweep.best_f1, silent.incident_precision), (0.0, 0.0, None));
}

#[test]
fn an_alert_outside_of_an_event_is_one_false_page_and_its_neighbours_are_the_same_page() {
    let mut scores = vec![0.0; 60];
    (scores[30], scores[35], scores[59]) = (0.9, 0.9, 0.9);
    let figures = judged(&format!("{}11{}", "0".repeat(5), "0".repeat(53)), &scores);
    assert_eq!((figures.event.found, figures.event.false_pages), (0, 2));
    assert_eq!(figures.incidents, 0, "one alert alone is not acted on");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    for (text, line, words) in [
        ("", 1, "empty"),
        ("timestamp,value\n1,2\n", 1, "no column label"),
        ("timestamp,value,label\n", 1, "no rows"),
        ("timestamp,value,label\n2,1,0\n1,1,0\n", 3, "before the one above"),
        ("timestamp,value,label\n1,NaN,0\n", 2, "no finite number"),
        ("timestamp,value,label\n1,1\n", 2, "2 cells"),
        ("timestamp,value,label\n1,1,yes\n", 2, "neither 0 nor 1"),
    ] {
        let error = read_series(text).unwrap_err();
        assert!(error.line == line && error.what.contains(words), "{text:?}: {error}");
    }
    let series = read_series("label,timestamp,value\n1,5,\n0,5,2.5\n").unwrap();
    assert_eq!((series.values, series.labels), (vec![None, Some(2.5)], vec![true, false]));
    let manifest = |file: &str| {
        read_manifest(&format!(
            "{{\"series\": [{{\"id\": \"a\", \"dataset\": \"d\", \"file\": \"{file}\", \"interval_s\": 1, \"score_from\": 0}}]}}"
        ))
    };
    assert!(manifest("../a").unwrap_err().what.contains("outside"));
    assert_eq!(manifest("a.csv").unwrap()["d"][0].vus_window, 100, "what the help names is enough");
    assert!(read_manifest("{\"series\": [{}]}").unwrap_err().fix.contains("id, dataset, file"));
}

#[test]
fn no_candidate_scores_a_gap_or_a_flat_line_or_answers_with_anything_but_a_share() {
    for name in CandidateName::ALL {
        let mut flat = name.start(Meta { interval_s: 300, every: 1, false_alarms_per_week: 1.0 });
        let mut wild = name.start(Meta { interval_s: 300, every: 1, false_alarms_per_week: 1.0 });
        for row in 0..700_i64 {
            let value = (row % 50 != 7).then_some(42.0);
            assert!(flat.step(row * 300, value) < 0.5, "{name:?} at {row}");
            let value = [1e300, -1e-300, 0.0, 1e18][row as usize % 4];
            let score = wild.step(row * 300, Some(value));
            assert!((0.0..=1.0).contains(&score), "{name:?}: {score}");
        }
        assert_eq!(flat.step(700 * 300, None), 0.0);
    }
}

fn clip_of(labels: &str, scores: &[f64]) -> Vec<Clip> {
    let rows = scores.len();
    let series = Labelled {
        times_s: (0..rows as i64).map(|row| row * 60).collect(),
        values: scores.iter().map(|it| Some(*it * 100.0)).collect(),
        labels: labels.bytes().map(|it| it == b'1').collect(),
    };
    clips(&entry(rows), &series, scores)
}

#[test]
fn a_report_shows_the_worst_miss_the_clearest_find_and_the_loudest_page_for_nothing() {
    let mut scores = vec![0.0; 400];
    (scores[50], scores[100], scores[200], scores[300], scores[350]) = (0.9, 0.5, 0.3, 0.85, 0.95);
    let labelled = [50, 100, 200];
    let labels: String = (0..400).map(|row| if labelled.contains(&row) { '1' } else { '0' }).collect();
    let mut found = clip_of(&labels, &scores);
    found.sort_by_key(|it| it.kind);
    let peaks: Vec<f64> = found.iter().map(|it| it.peak).collect();
    assert_eq!(peaks, [0.3, 0.9, 0.95], "the miss at 0.5 was nearer to being found");
    let rows = [vec!["d".into(), "0.5".into()]];
    let compared = |title, rows| Comparison { title, about: "What.", headers: &["DATASET", "F1"], rows };
    let page = Page::new("report", &[compared("Some", &rows), compared("None", &[])], &found);
    assert_eq!(page.pictures.len(), 3);
    for (name, picture) in &page.pictures {
        assert!(page.text.contains(&format!("({name})")), "{}", page.text);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"), "{picture}");
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }
    let table = "## Some\n\nWhat.\n\n### d\n\n| F1 |\n| --- |\n| 0.5 |\n";
    assert!(page.text.contains(table) && !page.text.contains("None"), "{}", page.text);
}

#[test]
fn a_report_has_misses_first_and_shows_every_data_set_before_one_twice() {
    let of = |dataset: &str, kind, peak| {
        let mut clip = clip_of("0100", &[0.0, 0.9, 0.0, 0.0]).remove(0);
        (clip.dataset, clip.kind, clip.peak) = (dataset.to_owned(), kind, peak);
        clip
    };
    let missed = |dataset, peak| of(dataset, ClipKind::Missed, peak);
    let all = vec![
        missed("a", 0.1),
        missed("a", 0.2),
        missed("b", 0.7),
        of("a", ClipKind::Found, 0.9),
        of("a", ClipKind::ForNothing, 0.8),
    ];
    let chosen = choose(&all, 4);
    let told: Vec<_> = chosen.iter().map(|it| (it.kind, it.dataset.as_str(), it.peak)).collect();
    assert_eq!(
        told,
        [
            (ClipKind::Missed, "a", 0.1),
            (ClipKind::Missed, "b", 0.7),
            (ClipKind::Found, "a", 0.9),
            (ClipKind::ForNothing, "a", 0.8),
        ]
    );
    assert_eq!(choose(&all, 10).len(), 5, "there are no more");
}

#[test]
fn the_name_of_a_series_stays_text_in_a_picture_and_on_the_page() {
    let mut clip = clip_of("0100", &[0.0, 0.9, 0.0, 0.0]).remove(0);
    clip.series = "<script>](x)\n# head".into();
    let page = Page::new("r", &[], &[clip]);
    let (_, picture) = &page.pictures[0];
    assert!(!picture.contains("<script") && !page.text.contains("<script"), "{picture}");
    assert!(!page.text.contains("\n# head") && !page.text.contains("](x)"), "{}", page.text);
}
