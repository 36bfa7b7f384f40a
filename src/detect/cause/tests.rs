//! The ranking and the groups on a small shop, and what holds for any values.

use proptest::prelude::*;

use super::*;

const STEP_S: u32 = 60;
const SINCE_S: i64 = 60 * 60;
const NOW_S: i64 = 65 * 60;

/// An hour of a little noise, then six slots at `level` times as much.
fn values(seed: u64, level: f64) -> Vec<Option<f64>> {
    let noise = |slot: u64| ((slot.wrapping_mul(7919).wrapping_add(seed * 104_729)) % 97) as f64 / 97.0;
    let at = |slot: u64| 100.0 + 5.0 * noise(slot) + if slot < 60 { 0.0 } else { 100.0 * (level - 1.0) };
    (0..66).map(|slot| Some(at(slot))).collect()
}

type Owned = (&'static str, &'static str, Vec<Option<f64>>);

fn tracks(owned: &[Owned]) -> Vec<Track<'_>> {
    owned
        .iter()
        .map(|(service, metric, values)| Track { service, metric, start_s: 0, step_s: STEP_S, values })
        .collect()
}

fn shop() -> ServiceGraph {
    ServiceGraph::of([
        ("web", "cart"),
        ("web", "checkout"),
        ("checkout", "payment"),
        ("checkout", "cart"),
        ("checkout", "mail"),
    ])
}

/// Payment is out of processor; checkout and web are slow because of it, and web the most.
fn payment_fails() -> Vec<Owned> {
    vec![
        ("web", "latency", values(1, 5.0)),
        ("checkout", "latency", values(2, 3.0)),
        ("payment", "latency", values(3, 2.8)),
        ("payment", "cpu", values(4, 2.0)),
        ("cart", "latency", values(5, 1.0)),
        ("cart", "cpu", values(6, 1.0)),
        ("mail", "latency", values(7, 1.0)),
    ]
}

fn ranking(owned: &[Owned], graph: &ServiceGraph) -> Vec<Suspect> {
    rank(&tracks(owned), graph, SINCE_S, NOW_S)
}

#[test]
fn the_graph_finds_the_cause_behind_a_victim_that_shows_more() {
    let owned = payment_fails();
    assert_eq!(ranking(&owned, &ServiceGraph::default())[0].service, "web");
    let first = &ranking(&owned, &shop())[0];
    assert_eq!((first.service.as_str(), &first.victims), ("payment", &vec!["web".into(), "checkout".into()]));
    assert_eq!(first.onset_s(), Some(SINCE_S));
    assert_eq!(first.signs.iter().map(|it| it.metric.as_str()).collect::<Vec<_>>(), ["latency", "cpu"]);
}

#[test]
fn a_slow_way_that_nothing_called_explains_is_the_fault_of_who_is_called_by_all_the_slow_ones() {
    let owned = vec![
        ("web", "latency", values(1, 3.0)),
        ("web", "client_latency", values(2, 3.0)),
        ("checkout", "latency", values(3, 3.0)),
        ("checkout", "client_latency", values(4, 3.0)),
        ("payment", "latency", values(5, 1.0)),
        ("mail", "latency", values(6, 1.0)),
        ("cart", "latency", values(7, 1.0)),
    ];
    let ranked =
        ranking(&owned, &ServiceGraph::of([("web", "cart"), ("checkout", "cart"), ("checkout", "mail")]));
    assert_eq!(ranked[0].service, "cart");
    assert_eq!(ranked[0].blamed_by, ["checkout", "web"]);
}

#[test]
fn a_quiet_fleet_has_no_suspect_worth_a_name_and_gaps_are_no_evidence() {
    let quiet: Vec<Owned> = payment_fails().into_iter().map(|it| (it.0, it.1, values(9, 1.0))).collect();
    assert!(ranking(&quiet, &shop()).iter().all(|it| it.score < NOISE), "{:?}", ranking(&quiet, &shop()));
    let gone: Vec<Owned> = payment_fails().into_iter().map(|it| (it.0, it.1, vec![None; 66])).collect();
    assert!(ranking(&gone, &shop()).iter().all(|it| it.score == 0.0 && it.signs.is_empty()));
}

#[test]
fn what_differed_before_the_incident_did_not_begin_with_it() {
    let mut owned = payment_fails();
    let mut shifted = values(8, 4.0);
    for value in &mut shifted[50..60] {
        *value = value.map(|it| it + 300.0);
    }
    owned.push(("mail", "cpu", shifted));
    assert_eq!(ranking(&owned, &shop())[0].service, "payment");
}

#[test]
fn more_availability_is_no_harm_and_less_of_it_is() {
    let track = |level| vec![("web", "availability", values(1, level))];
    assert!(ranking(&track(1.5), &shop())[0].signs.is_empty());
    assert_eq!(ranking(&track(0.5), &shop())[0].signs.len(), 1);
}

#[test]
fn troubles_that_hurt_each_other_are_one_group_and_strangers_are_not() {
    let trouble = |service, start_s, end_s| Trouble { service, start_s, end_s };
    let all = [
        trouble("web", 100, 200),
        trouble("stranger", 110, 200),
        trouble("payment", 150, 400),
        // Two callers of a cart that has no signal of its own.
        trouble("checkout", 390, 500),
        trouble("web", 5_000, 5_100),
    ];
    assert_eq!(groups(&all, &shop(), 600), [vec![0, 2, 3], vec![1], vec![4]]);
    assert_eq!(groups(&all, &ServiceGraph::default(), 600).len(), 5);
    assert_eq!(groups(&all, &ServiceGraph::of([("web", "cart"), ("checkout", "cart")]), 600)[0], [0, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_tracks_makes_no_difference(order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle()) {
        let owned = payment_fails();
        let shuffled: Vec<Owned> = order.iter().map(|&index| owned[index].clone()).collect();
        prop_assert_eq!(ranking(&shuffled, &shop()), ranking(&owned, &shop()));
    }

    #[test]
    fn the_unit_of_a_metric_makes_no_difference(exponent in -20_i32..20) {
        // A power of two scales without rounding.
        let factor = 2_f64.powi(exponent);
        let owned = payment_fails();
        let scale = |it: &Owned| (it.0, it.1, it.2.iter().map(|value| value.map(|it| it * factor)).collect());
        let scaled: Vec<Owned> = owned.iter().map(scale).collect();
        prop_assert_eq!(ranking(&scaled, &shop()), ranking(&owned, &shop()));
    }

    #[test]
    fn what_comes_after_now_is_not_looked_at(tail in prop::collection::vec(-1e6_f64..1e6, 20)) {
        let owned = payment_fails();
        let mut later = owned.clone();
        for track in &mut later {
            track.2.extend(tail.iter().copied().map(Some));
        }
        let services = |all: Vec<Suspect>| all.into_iter().map(|it| (it.service, it.signs)).collect::<Vec<_>>();
        prop_assert_eq!(services(ranking(&later, &shop())), services(ranking(&owned, &shop())));
    }

    #[test]
    fn any_values_give_finite_scores(garbage in prop::collection::vec(prop::option::of(prop::num::f64::ANY), 66)) {
        let owned = vec![("web", "latency", garbage.clone()), ("cart", "cpu", garbage)];
        prop_assert!(ranking(&owned, &shop()).iter().all(|it| it.score.is_finite() && it.score >= 0.0));
    }

    #[test]
    fn every_trouble_is_in_exactly_one_group(
        troubles in prop::collection::vec((0_usize..5, 0_i64..5_000, 0_i64..900), 0..25),
    ) {
        const NAMES: [&str; 5] = ["web", "checkout", "payment", "cart", "mail"];
        let of = |&(name, start_s, length): &(usize, i64, i64)| Trouble {
            service: NAMES[name], start_s, end_s: start_s + length,
        };
        let all: Vec<Trouble<'_>> = troubles.iter().map(of).collect();
        let mut found: Vec<usize> = groups(&all, &shop(), 300).into_iter().flatten().collect();
        found.sort_unstable();
        prop_assert_eq!(found, (0..all.len()).collect::<Vec<_>>());
    }
}
