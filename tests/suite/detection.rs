//! `tars eval` as its users run it: figures that agree with the reference evaluation of the labelled data, the page it
//! writes, and scores that other programs can judge. Never: data sets in this tree; labelled series are made here.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::support;

const STEP_S: i64 = 60;
const ROWS: i64 = 3_000;
const SCORE_FROM: i64 = 600;

/// Noise that is the same everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(u32::MAX >> 1) - 0.5
    }
}

/// A folder as the labelled data has it: two data sets of two series, one of them with benchmark windows.
fn labelled(folder: &Path) {
    let mut listed = Vec::new();
    for (dataset, number) in [("kpi", 0), ("kpi", 1), ("nab", 2), ("nab", 3)] {
        let mut noise = Noise(number + 1);
        let mut lines = "timestamp,value,label\n".to_owned();
        let mut windows: Vec<(i64, i64)> = Vec::new();
        for row in 0..ROWS {
            let wave = (row as f64 / 240.0 * std::f64::consts::TAU).sin();
            // Half of the events are too small to be found by anything; a part of the spikes carries no label.
            let place = row % 700;
            let event = (500..512).contains(&place);
            let spike = if event && (row / 700) % 2 == 0 { 9.0 } else { 0.0 };
            let unlabelled = if place == 300 { 8.0 } else { 0.0 };
            if place == 500 {
                windows.push((row - 5, row + 20));
            }
            let value = 10.0 + wave + noise.next() + spike + unlabelled;
            lines += &format!("{},{value:.6},{}\n", 1_700_000_000 + row * STEP_S, u8::from(event));
        }
        let file = format!("{dataset}-{number}.csv");
        fs::write(folder.join(&file), lines).unwrap();
        let mut entry = json!({
            "id": format!("{dataset}/{number}"), "dataset": dataset, "group": dataset, "file": file, "rows": ROWS,
            "interval_s": STEP_S, "score_from": SCORE_FROM, "vus_window": 20,
        });
        if dataset == "nab" {
            entry["nab_windows"] = json!(windows);
        }
        listed.push(entry);
    }
    let manifest = json!({ "format": 1, "series": listed, "multi": [], "fleets": [], "rca": [] });
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

fn run(folder: &Path, model: &str, args: &[&str]) -> Output {
    Command::new(support::tars())
        .args(["eval", ".", "--models", model, "-o", "json"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn eval(folder: &Path, args: &[&str]) -> Vec<Value> {
    eval_of(folder, "ewma", args)
}

fn eval_of(folder: &Path, model: &str, args: &[&str]) -> Vec<Value> {
    let out = run(folder, model, args);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    answer.get("items").unwrap_or(&answer).as_array().unwrap().clone()
}

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
#[test]
fn the_figures_are_those_of_the_reference_evaluation() {
    let reference = support::root().join("../shared/data/eval.py");
    let has_numpy = || {
        let said = Command::new("python3").args(["-c", "import numpy"]).output();
        said.is_ok_and(|it| it.status.success())
    };
    if !reference.is_file() || !has_numpy() {
        eprintln!("SKIPPED: the reference evaluation needs {} and Python with numpy", reference.display());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    labelled(home.path());
    let lines = eval(home.path(), &["--scores", "scores.csv"]);
    let out = Command::new("python3")
        .arg(&reference)
        .args(["--split", ".", "--scores", "scores.csv", "--json", "figures.json"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let theirs: Value =
        serde_json::from_str(&fs::read_to_string(home.path().join("figures.json")).unwrap()).unwrap();
    for line in lines {
        let dataset = line["dataset"].as_str().unwrap();
        let figures = &theirs[dataset];
        let mut pairs = vec![
            ("bestF1", &figures["sweep"]["best_f1"]),
            ("recallAtPrecision85", &figures["sweep"]["recall_at_P85"]),
            ("recallAtOneFalsePage", &figures["sweep"]["recall_at_1fp_week"]),
            ("vusPr", &figures["vus_pr"]),
            ("aucPr", &figures["auc_pr"]),
            ("f1AtThreshold", &figures["event"]["f1"]),
            ("falsePagesPerSeriesWeek", &figures["event"]["fp_per_week"]),
            ("delayMedianS", &figures["event"]["delay_median_s"]),
        ];
        match dataset {
            "nab" => pairs.push(("nab", &figures["nab_score"]["std"]["best"])),
            _ => pairs.push(("delayedF1", &figures["delay_f1"]["best_f1"])),
        }
        for (name, reference) in pairs {
            let (ours, reference) = (line[name].as_f64().unwrap(), reference.as_f64().unwrap());
            let apart = (ours - reference).abs() / reference.abs().max(1.0);
            assert!(apart < 1e-9, "{dataset} {name}: {ours}, and {reference} of the reference");
        }
        let f1 = line["bestF1"].as_f64().unwrap();
        assert!(0.0 < f1 && f1 < 1.0, "{dataset}: a comparison of trivial figures shows nothing: {f1}");
    }
}

#[test]
fn a_report_is_one_page_with_its_pictures_beside_it() {
    let home = tempfile::tempdir().unwrap();
    labelled(home.path());
    eval(home.path(), &["--no-vus", "--report", "detection.md"]);
    let page = fs::read_to_string(home.path().join("detection.md")).unwrap();
    let pictures: Vec<&str> = page.split("](").skip(1).map(|it| it.split(')').next().unwrap()).collect();
    assert!(pictures.len() >= 4, "{page}");
    for picture in pictures {
        let text = fs::read_to_string(home.path().join(picture)).unwrap();
        assert!(text.starts_with("<svg"), "{picture}: {text}");
    }
    assert!(
        page.contains("## Forecasts")
            && page.contains("## kpi")
            && page.contains("## nab")
            && page.contains("### Missed: "),
        "{page}"
    );
}

#[test]
fn the_false_alarms_that_are_allowed_move_the_threshold_and_not_the_order_of_the_scores() {
    let home = tempfile::tempdir().unwrap();
    labelled(home.path());
    let of = |rate: &str| {
        let lines = eval_of(home.path(), "stream", &["--no-vus", "--false-alarms-per-week", rate]);
        let sum = |name: &str| lines.iter().map(|it| it[name].as_f64().unwrap()).sum::<f64>();
        (sum("falsePagesPerSeriesWeek"), sum("bestF1"))
    };
    let (often, rarely) = (of("100"), of("0.01"));
    assert!(often.0 > rarely.0, "{often:?} {rarely:?}");
    assert!((often.1 - rarely.1).abs() < 0.1, "{often:?} {rarely:?}");
    for rate in ["0", "101", "NaN", "often"] {
        let out = run(home.path(), "stream", &["--false-alarms-per-week", rate]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && said.contains("use 0.01 to 100"), "{rate}: {said}");
    }
    let out = run(home.path(), "stream", &["--services", "services.yaml"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.code() == Some(2) && said.contains("<--causes|--report <FILE>>"),
        "of no use alone: {said}"
    );
}
