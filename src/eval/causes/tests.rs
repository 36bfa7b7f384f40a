//! Reading of cases, and figures against ranks counted by hand.

use super::*;
use crate::model::services::ServiceGraph;

fn case(text: &str) -> Result<Vec<Case>, crate::eval::ReadError> {
    read_cases(&format!("{{\"rca\": [{text}]}}"))
}

const CASE: &str = r#"{"id": "a/1", "dataset": "a", "system": "s", "file": "m.csv", "interval_s": 60,
    "fault": "cpu", "root_cause_service": "cart", "inject_ts": 600}"#;

#[test]
fn figures_are_shares_of_cases_for_each_data_set_system_and_fault() {
    let case = &case(CASE).unwrap()[0];
    let ranking = |place: usize| {
        let mut names: Vec<String> = (0..6).map(|it| format!("other-{it}")).collect();
        names.insert(place - 1, "cart".into());
        names
    };
    let mut placed: Vec<Placed> = [1, 2, 6].map(|place| Placed::of(case, &ranking(place))).to_vec();
    placed.push(Placed::of(case, &[]));
    let figures = cause_figures(&placed);
    assert_eq!(figures.keys().collect::<Vec<_>>(), ["a", "a/cpu", "a/s"]);
    let it = figures["a"];
    assert_eq!((it.cases, it.at_1, it.at_3, it.at_5), (4, 0.25, 0.5, 0.5));
    assert!((it.avg_5 - (0.25 + 4.0 * 0.5) / 5.0).abs() < 1e-12, "{it:?}");
    assert!((it.mrr - (1.0 + 0.5 + 1.0 / 6.0) / 4.0).abs() < 1e-12, "{it:?}");
}

#[test]
fn a_case_never_reads_outside_of_its_folder_and_errors_say_where() {
    let error = case(&CASE.replace("m.csv", "../m.csv")).unwrap_err();
    assert!(error.what.contains("outside of the folder"), "{error}");
    assert_eq!(read_wide("timestamp,web\n1,2\n").unwrap_err().fix, "call it service|metric");
    assert_eq!(read_wide("timestamp,web|cpu\n1,2\nx,3\n").unwrap_err().line, 3);
    assert_eq!(read_wide("timestamp,web|cpu,web|mem\n1,2\n").unwrap_err().line, 2);
    assert_eq!(read_calls("[[\"a\", \"b\"]]").unwrap(), [("a".to_owned(), "b".to_owned())]);
    assert!(read_calls("{}").is_err());
}

#[test]
fn a_quiet_time_of_another_file_stands_before_the_incident_by_the_names_of_the_columns() {
    let normal = read_wide("timestamp,web|cpu,web|mem\n100,1,2\n160,1,\n").unwrap();
    let wide = normal.then(&read_wide("timestamp,web|mem,cart|cpu\n9e9,3,4\n").unwrap(), 60);
    assert_eq!(wide.times_s, [0, 60, 120]);
    let metric = |service: &str, metric: &str| {
        let place = wide.columns.iter().position(|it| it.0 == service && it.1 == metric).unwrap();
        wide.values[place].clone()
    };
    assert_eq!(metric("web", "cpu"), [Some(1.0), Some(1.0), None]);
    assert_eq!(metric("web", "mem"), [Some(2.0), None, Some(3.0)]);
    assert_eq!(metric("cart", "cpu"), [None, None, Some(4.0)]);
}

/// Noise that is no constant, then eight times as much from row 40 on.
fn rows(jumps: bool) -> Vec<Option<f64>> {
    (0..46)
        .map(|row| Some(10.0 + f64::from(row * 7 % 5) + if jumps && row >= 40 { 80.0 } else { 0.0 }))
        .collect()
}

#[test]
fn all_rankers_name_the_only_one_that_changed_and_the_beginning_is_found_where_nobody_says_it() {
    let columns = [("web", "latency|Average"), ("cart", "cpu"), ("mail", "cpu")];
    let wide = Wide {
        columns: columns.map(|(service, metric)| (service.to_owned(), metric.to_owned())).to_vec(),
        times_s: (0..46).map(|row| row * 60).collect(),
        values: vec![rows(false), rows(true), rows(false)],
    };
    let tracks = wide.tracks(60);
    for ranker in RankerName::ALL {
        assert_eq!(ranker.rank(&tracks, &ServiceGraph::default(), 2_400)[0], "cart", "{ranker:?}");
    }
    let complaint = CASE.replace("\"inject_ts\": 600", r#""target": {"node": "cart", "metric": "cpu"}"#);
    let case = &case(&complaint).unwrap()[0];
    assert_eq!(beginning(case, &tracks, 35 * 60), Some(2_400));
}

#[test]
fn the_early_ranking_does_not_see_what_changes_later() {
    let mut late = rows(true);
    late[40..44].copy_from_slice(&rows(false)[40..44]);
    let wide = Wide {
        columns: [("cart", "cpu"), ("mail", "cpu")]
            .map(|(service, metric)| (service.into(), metric.into()))
            .to_vec(),
        times_s: (0..46).map(|row| row * 60).collect(),
        values: vec![late, rows(false)],
    };
    let score = |ranker: RankerName| ranker.rank(&wide.tracks(60), &ServiceGraph::default(), 2_400);
    assert_eq!(score(RankerName::Graph)[0], "cart");
    let quiet = Wide { values: vec![rows(false), rows(false)], ..wide.clone() };
    let of_quiet = RankerName::GraphSoon.rank(&quiet.tracks(60), &ServiceGraph::default(), 2_400);
    assert_eq!(score(RankerName::GraphSoon), of_quiet);
}
