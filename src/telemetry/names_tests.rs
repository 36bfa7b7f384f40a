//! The catalogue as a scraper sees it: names, labels that are bounded, and nothing that is out of date.

use super::*;
use crate::model::fixtures::{policy, signal};

fn metrics() -> Metrics {
    Metrics::new("0.1.0", [signal("backend", "latency_p95")])
}

#[test]
fn the_score_is_exported_under_its_signal_and_service() {
    let metrics = metrics();
    metrics.set_score(&signal("backend", "latency_p95"), 0.876, 0.97);
    let text = metrics.encode().unwrap();
    assert!(
        text.contains("tars_anomaly_score{signal=\"latency_p95\",service=\"backend\"} 0.876\n"),
        "{text}"
    );
    assert!(text.contains("tars_build_info{version=\"0.1.0\"} 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn a_signal_that_is_not_configured_never_becomes_a_series() {
    let metrics = metrics();
    for number in 0..1_000 {
        let key = signal("stranger", &format!("s{number}"));
        metrics.set_score(&key, 1.0, 1.0);
        metrics.set_signal_age(&key, Some(1.0));
    }
    assert!(!metrics.encode().unwrap().contains("stranger"));
    assert_eq!(metrics.scores(), [(signal("backend", "latency_p95"), None)]);
}

#[test]
fn a_cleared_score_is_gone_instead_of_looking_current() {
    let metrics = metrics();
    metrics.set_score(&signal("backend", "latency_p95"), 0.9, 0.9);
    metrics.clear_score(&signal("backend", "latency_p95"));
    assert!(!metrics.encode().unwrap().contains("tars_anomaly_score{"));
}

#[test]
fn a_removed_policy_leaves_no_budget_series() {
    let metrics = metrics();
    let policy = policy();
    let line = BudgetLine {
        policy: Some((policy.namespace, policy.name)),
        budget: Budget::PolicyPerHour,
        used: 1,
        limit: 2,
    };
    metrics.set_budgets(&[line]);
    let text = metrics.encode().unwrap();
    let expected =
        "tars_budget_used{namespace=\"shop\",policy=\"backend-latency\",budget=\"policy_per_hour\"} 1";
    assert!(text.contains(expected), "{text}");
    metrics.set_budgets(&[]);
    assert!(!metrics.encode().unwrap().contains("tars_budget_used{"));
}

/// Every family with at least one series.
fn touched() -> Metrics {
    let metrics = metrics();
    let policy = policy();
    let of = (&policy.namespace, &policy.name);
    metrics.set_score(&signal("backend", "latency_p95"), 0.9, 0.9);
    metrics.count_remediation(of, PlaybookName::ScaleOut, RiskClass::Low, Decided::AutoMerged);
    metrics.count_outcome(&policy.name, Ended::Verified);
    for milestone in [Milestone::Proposed, Milestone::Merged, Milestone::Verified] {
        metrics.observe_progress(milestone, PlaybookName::ScaleOut, 42.0);
    }
    metrics.count_hold(ReasonCode::Cooldown);
    metrics.observe_reconcile(0.2);
    metrics.count_reconcile_error(Stage::Fetch);
    metrics.count_push(Push::Rejected);
    metrics.count_gateway_push(Push::Failed);
    metrics.count_races_lost(4);
    metrics.count_alerts(Received::Repeated, 3);
    metrics.count_forge_hook(Heard::Nudged);
    metrics.count_forge_request(ForgeProduct::GitHub, ForgeAnswer::of(Some(304)));
    metrics.count_forge_request(ForgeProduct::Gitea, ForgeAnswer::of(Some(418)));
    metrics.count_forge_request(ForgeProduct::GitLab, ForgeAnswer::of(None));
    metrics.set_forge_remaining(ForgeProduct::GitHub, 4_999);
    metrics.set_budgets(&[BudgetLine { policy: None, budget: Budget::GlobalPerHour, used: 1, limit: 6 }]);
    metrics.set_open_proposals(2);
    metrics.set_suspended(true);
    metrics.set_signal_age(&signal("backend", "latency_p95"), None);
    metrics.set_unavailable("backend/latency_p95", Unavailable::Failed, Some(true));
    metrics
}

/// Words of letters, digits and underscores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|it| !it.is_empty())
}

/// A misspelt metric is an empty panel, and an alert that never comes.
#[test]
fn what_the_chart_shows_and_alerts_on_exists() {
    let text = touched().encode().unwrap();
    let series = |it: &&str| !it.starts_with('#');
    let names: BTreeSet<&str> = text.lines().filter(series).filter_map(|it| words(it).next()).collect();
    let labels: BTreeSet<&str> =
        text.split(['{', ',']).filter_map(|it| it.split_once("=\"")).map(|it| it.0).collect();
    for shown in [
        include_str!("../../charts/tars/dashboards/tars-overview.json"),
        include_str!("../../charts/tars/alerts.yaml"),
    ] {
        let named: BTreeSet<&str> = words(shown).filter(|it| it.starts_with("tars_")).collect();
        assert!(named.len() > 5, "{named:?}");
        assert_eq!(named.difference(&names).collect::<Vec<_>>(), [&""; 0]);
        for by in shown.split(" by (").skip(1).filter_map(|it| it.split(')').next()) {
            let unknown: Vec<_> = words(by).filter(|it| *it != "le" && !labels.contains(it)).collect();
            assert_eq!(unknown, [""; 0], "by ({by})");
        }
    }
}

#[test]
fn counters_and_histograms_carry_the_documented_names() {
    let metrics = touched();
    let text = metrics.encode().unwrap();
    for line in [
        "tars_remediations_total{namespace=\"shop\",policy=\"backend-latency\",action=\"ScaleOut\",\
         risk=\"low\",decision=\"auto_merged\"} 1",
        "tars_remediation_outcomes_total{policy=\"backend-latency\",outcome=\"verified\"} 1",
        "tars_time_to_merge_seconds_sum{action=\"ScaleOut\"} 42.0",
        "tars_holds_total{reason=\"Cooldown\"} 1",
        "tars_reconcile_duration_seconds_count 1",
        "tars_reconcile_errors_total{reason=\"fetch\"} 1",
        "tars_ledger_pushes_total{outcome=\"rejected\"} 1",
        "tars_races_lost_total 4",
        "tars_pushgateway_pushes_total{outcome=\"failed\"} 1",
        "tars_alerts_received_total{status=\"repeated\"} 3",
        "tars_forge_requests_total{forge=\"github\",code=\"304\"} 1",
        "tars_forge_requests_total{forge=\"gitea\",code=\"other\"} 1",
        "tars_forge_requests_total{forge=\"gitlab\",code=\"none\"} 1",
        "tars_forge_ratelimit_remaining{forge=\"github\"} 4999",
        "tars_open_proposals 2",
        "tars_suspended{scope=\"repository\"} 1",
        "tars_signal_age_seconds{signal=\"latency_p95\",service=\"backend\"} +Inf",
        "tars_signal_unavailable{signal=\"backend/latency_p95\",reason=\"failed\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing from\n{text}");
    }
}

#[test]
fn series_that_are_watched_no_more_leave_nothing_behind() {
    let metrics = metrics();
    let (old, new) = (signal("backend", "latency_p95"), signal("web", "latency_p95"));
    metrics.set_score(&old, 0.9, 0.9);
    metrics.set_signal_age(&old, Some(3.0));
    metrics.watch([&new]);
    metrics.set_score(&new, 0.5, 0.5);
    let text = metrics.encode().unwrap();
    assert!(!text.contains("backend") && text.contains("service=\"web\""), "{text}");
    assert_eq!(metrics.scores(), [(new, Some(0.5))]);
}
