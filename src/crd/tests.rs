//! Promises of the policy reader: the seed is accepted as written, and every problem points at its cause.

#![allow(clippy::disallowed_methods, reason = "the shipped policies are read from the work tree")]

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::model::anomaly::Severity;
use crate::model::fixtures::{labels, oid, signal};
use crate::model::forecast::Crossing;
use crate::model::playbook::{PlaybookSpec, RollbackScope, ScaleBy};
use crate::model::policy::{Mode, Trigger};

/// The smallest policy: everything else in these tests is this one with lines changed.
const SEED: &str = "\
apiVersion: aiops.tars/v1alpha1
kind: RemediationPolicy
metadata:
  name: backend-latency
  namespace: production
spec:
  triggers:
    - type: anomaly
      signal: latency_p95
      service: backend
      threshold: 0.8
  actions:
    - type: ScaleOut
      maxReplicas: 10
  cooldownSeconds: 900
  maxExecutionsPerHour: 2
  dryRun: false
  allowedResources:
    - kind: Deployment
      name: backend
";

fn path() -> RepoPath {
    RepoPath::new("policies/backend.yaml").unwrap()
}

fn linted(text: &str) -> Linted {
    lint(&path(), text.as_bytes(), &oid('a'))
}

fn parsed(text: &str) -> Policy {
    let linted = linted(text);
    let seen: Vec<String> = linted.problems.iter().map(|it| render_problem(it, text)).collect();
    assert_eq!(linted.policies.len(), 1, "{}\n{text}", seen.join("\n"));
    linted.policies.into_iter().next().unwrap()
}

/// The seed with `from` replaced; fails when there is nothing to replace.
fn edited(from: &str, to: &str) -> String {
    assert!(SEED.contains(from), "{from:?} is not in the seed's policy");
    SEED.replacen(from, to, 1)
}

fn with_spec(lines: &str) -> String {
    format!("{SEED}  {lines}\n")
}

fn with_actions(lines: &str) -> String {
    edited("    - type: ScaleOut\n      maxReplicas: 10\n", lines)
}

const TRIGGER: &str =
    "    - type: anomaly\n      signal: latency_p95\n      service: backend\n      threshold: 0.8\n";

fn with_trigger(lines: &str) -> String {
    edited(TRIGGER, lines) + "  verify: {signal: latency_p95, service: backend}\n"
}

#[test]
fn the_seeds_policy_is_accepted_exactly_as_written() {
    let policy = parsed(SEED);
    assert_eq!(linted(SEED).problems, []);
    assert_eq!(policy.name.as_str(), "backend-latency");
    assert_eq!(policy.namespace.as_str(), "production");
    assert_eq!((policy.path.clone(), policy.commit.clone()), (path(), oid('a')));
    assert_eq!(policy.mode, Mode::Propose);
    assert_eq!((policy.cooldown_s, policy.max_executions_per_hour), (900, 2));
    assert_eq!(policy.actions, [PlaybookSpec::ScaleOut { by: ScaleBy::Step(1), max_replicas: 10 }]);
    assert_eq!(
        policy.targets().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["production/Deployment/backend"]
    );
    assert_eq!(policy.verify.signal, signal("backend", "latency_p95"));
    assert_eq!((policy.verify.window_s, policy.verify.within_s, policy.verify.below), (600, 1200, None));
    assert_eq!((policy.suspend, policy.auto_revert, policy.revert_after_s), (false, false, None));
}

#[test]
fn left_out_numbers_have_the_seeds_defaults() {
    let text = edited("  cooldownSeconds: 900\n  maxExecutionsPerHour: 2\n  dryRun: false\n", "");
    assert_eq!(parsed(&text), parsed(SEED));
}

#[test]
fn a_field_that_is_null_counts_as_left_out() {
    assert_eq!(parsed(&with_spec("suspend:\n  verify: ~\n  mode: null")), parsed(SEED));
}

#[test]
fn crlf_and_quotes_do_not_change_the_policy() {
    assert_eq!(parsed(&SEED.replace('\n', "\r\n")), parsed(SEED));
    assert_eq!(parsed(&SEED.replace("name: backend\n", "name: 'backend'\n")), parsed(SEED));
}

#[test]
fn dry_run_means_observe() {
    assert_eq!(parsed(&edited("dryRun: false", "dryRun: true")).mode, Mode::Observe);
    assert_eq!(parsed(&(edited("dryRun: false", "dryRun: true") + "  mode: Observe\n")).mode, Mode::Observe);
}

/// Changing a documented field changes the policy: (text, what must be true of it).
type FieldCase = (String, fn(&Policy) -> bool);

#[test]
fn every_field_of_the_spec_changes_the_policy() {
    let cases: Vec<FieldCase> = vec![
        (edited("name: backend-latency", "name: other"), |p| p.name.as_str() == "other"),
        (edited("namespace: production", "namespace: staging"), |p| p.namespace.as_str() == "staging"),
        (with_spec("mode: Observe"), |p| p.mode == Mode::Observe),
        (with_spec("mode: AutoMerge"), |p| p.mode == Mode::AutoMerge),
        (with_spec("suspend: true"), |p| p.suspend),
        (edited("Seconds: 900", "Seconds: 60"), |p| p.cooldown_s == 60),
        (edited("PerHour: 2", "PerHour: 5"), |p| p.max_executions_per_hour == 5),
        (with_spec("revertAfter: 1h30m"), |p| p.revert_after_s == Some(5400)),
        (with_spec("autoRevert: true"), |p| p.auto_revert),
        (with_spec("allowedPaths: [apps/backend/, a.yaml]"), |p| {
            p.allowed_paths.iter().map(RepoPath::as_str).eq(["apps/backend", "a.yaml"])
        }),
        (with_spec("verify: {below: 250}"), |p| p.verify.below == Some(250.0)),
        (with_spec("verify: {window: 5m}"), |p| p.verify.window_s == 300),
        (with_spec("verify: {within: 15m}"), |p| p.verify.within_s == 900),
        (with_spec("verify: {signal: errors, service: web}"), |p| p.verify.signal == signal("web", "errors")),
        (with_spec("verify: {dependants: [{signal: errors, service: web}]}"), |p| {
            p.verify.dependants == [signal("web", "errors")]
        }),
        (edited("    - kind: Deployment\n      name: backend\n", "    - StatefulSet/db.main\n"), |p| {
            p.targets()[0].to_string() == "production/StatefulSet/db.main"
        }),
    ];
    for (text, holds) in cases {
        let policy = parsed(&text);
        assert!(holds(&policy), "{text}\n{policy:#?}");
        assert_ne!(policy, parsed(SEED), "{text}");
    }
}

#[test]
fn every_field_of_a_trigger_changes_the_policy() {
    let anomaly = |threshold: f64, min_severity: Option<Severity>, for_s: u32| Trigger::Anomaly {
        signal: signal("backend", "latency_p95"),
        threshold: crate::model::anomaly::Score::new(threshold).unwrap(),
        min_severity,
        for_s,
    };
    let base = "    - {type: anomaly, signal: latency_p95, service: backend";
    let webhook = |pairs| Trigger::Webhook { alertname: "Slow".into(), labels: pairs };
    let cases = [
        (format!("{base}}}\n"), anomaly(0.8, None, 0)),
        (format!("{base}, threshold: 0.9}}\n"), anomaly(0.9, None, 0)),
        (format!("{base}, threshold: 1}}\n"), anomaly(1.0, None, 0)),
        (format!("{base}, minSeverity: critical}}\n"), anomaly(0.8, Some(Severity::Critical), 0)),
        (format!("{base}, for: 2m}}\n"), anomaly(0.8, None, 120)),
        (
            "    - {type: promql, query: up == 0}\n".into(),
            Trigger::Promql { query: "up == 0".into(), for_s: 0 },
        ),
        (
            "    - {type: promql, query: up == 0, for: 90s}\n".into(),
            Trigger::Promql { query: "up == 0".into(), for_s: 90 },
        ),
        ("    - {type: webhook, alertname: Slow}\n".into(), webhook(labels([]))),
        (
            "    - {type: webhook, alertname: Slow, labels: {team: shop}}\n".into(),
            webhook(labels([("team", "shop")])),
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(parsed(&with_trigger(&lines)).triggers, [expected], "{lines}");
    }
    assert_eq!(parsed(&with_trigger(&format!("{base}, threshold: 0.9}}\n{TRIGGER}"))).triggers.len(), 2);
}

#[test]
fn every_parameter_of_an_action_is_read_in_both_forms() {
    let out = |by, max_replicas| PlaybookSpec::ScaleOut { by, max_replicas };
    let back = |scope, max_age_s| PlaybookSpec::Rollback { scope, max_age_s };
    let queue = |utilisation_percent| ScaleBy::Queue {
        load: signal("s", "busy"),
        per_replica: 4,
        utilisation_percent,
    };
    let cases = [
        ("ScaleOut", "scaleOut", "step: 2", out(ScaleBy::Step(2), 10)),
        ("ScaleOut", "scaleOut", "maxReplicas: 20", out(ScaleBy::Step(1), 20)),
        ("ScaleOut", "scaleOut", "factorPercent: 150", out(ScaleBy::FactorPercent(150), 10)),
        ("ScaleOut", "scaleOut", "queue: {signal: busy, service: s, perReplica: 4}", out(queue(80), 10)),
        (
            "ScaleOut",
            "scaleOut",
            "queue: {signal: busy, service: s, perReplica: 4, utilisationPercent: 70}",
            out(queue(70), 10),
        ),
        ("Rollback", "rollback", "scope: PodTemplate", back(RollbackScope::PodTemplate, 3600)),
        ("Rollback", "rollback", "maxAge: 6h", back(RollbackScope::Image, 21_600)),
        ("RestartPod", "restartPod", "maxPods: 3", PlaybookSpec::RestartPod { max_pods: 3 }),
    ];
    for (kind, block, parameter, expected) in cases {
        let nested = parsed(&with_actions(&format!("    - {{type: {kind}, {block}: {{{parameter}}}}}\n")));
        let inline = parsed(&with_actions(&format!("    - {{type: {kind}, {parameter}}}\n")));
        assert_eq!(nested.actions, [expected], "{parameter}");
        assert_eq!(inline, nested, "{parameter}");
    }
    let bare = parsed(&with_actions("    - type: RestartPod\n    - type: Rollback\n"));
    assert_eq!(bare.actions, [PlaybookSpec::RestartPod { max_pods: 1 }, back(RollbackScope::Image, 3600)]);
}

/// Code, line and column of the only problem of `text`.
fn only_problem(text: &str) -> (&'static str, u32, u32, String) {
    let problems = linted(text).problems;
    let seen: Vec<String> = problems.iter().map(|it| render_problem(it, text)).collect();
    assert_eq!(problems.len(), 1, "{}\n{text}", seen.join("\n"));
    let it = &problems[0];
    let start = it.column as usize - 1;
    let line: Vec<char> = text.lines().nth(it.line as usize - 1).unwrap_or_default().chars().collect();
    let underlined =
        line[start.min(line.len())..(start + it.length as usize).min(line.len())].iter().collect();
    (it.code, it.line, it.column, underlined)
}

/// (text, code, line, column, what is underlined)
type ProblemCase = (String, &'static str, u32, u32, &'static str);

fn shape_cases() -> Vec<ProblemCase> {
    vec![
        (edited("kind: RemediationPolicy", "kind: [x"), "TARS-P001", 3, 9, ":"),
        (edited("    - kind: Deployment\n", "    - ? [a]\n      : Deployment\n"), "TARS-P001", 19, 9, "["),
        (with_spec("suspend: true\n  suspend: false"), "TARS-P003", 22, 3, "suspend"),
        (edited("name: backend\n", "name: &b backend\n") + "  mode: *b\n", "TARS-P004", 21, 9, "*b"),
        (edited("service: backend", "service: !!str backend"), "TARS-P004", 10, 22, "backend"),
        (edited("v1alpha1", "v1"), "TARS-P010", 1, 13, "aiops.tars/v1"),
        (edited("kind: RemediationPolicy", "kind: RemediatonPolicy"), "TARS-P010", 2, 7, "RemediatonPolicy"),
        (edited("  namespace: production\n", ""), "TARS-P011", 3, 1, "metadata"),
        (edited("      service: backend\n", "") + "  verify: {service: a}\n", "TARS-P011", 8, 13, "anomaly"),
        (edited("Seconds: 900", "Seconds: \"900\""), "TARS-P012", 15, 20, "\"900\""),
        (edited("Seconds: 900", "Seconds: 900.5"), "TARS-P012", 15, 20, "900.5"),
        (edited("dryRun: false", "dryRun: no"), "TARS-P012", 17, 11, "no"),
        (edited("name: backend\n", "name: 7\n"), "TARS-P012", 20, 13, "7"),
        (with_spec("revertAfter: 3600"), "TARS-P012", 21, 16, "3600"),
        (with_spec("mode: Automerge"), "TARS-P013", 21, 9, "Automerge"),
        (edited("type: ScaleOut", "type: ScaleUp"), "TARS-P013", 13, 13, "ScaleUp"),
        (edited("threshold: 0.8", "threshold: 1.2"), "TARS-P014", 11, 18, "1.2"),
        (edited("Seconds: 900", "Seconds: 86401"), "TARS-P014", 15, 20, "86401"),
        (edited("PerHour: 2", "PerHour: 0"), "TARS-P014", 16, 25, "0"),
        (edited("PerHour: 2", "PerHour: 61"), "TARS-P014", 16, 25, "61"),
        (edited("maxReplicas: 10", "maxReplicas: 1001"), "TARS-P014", 14, 20, "1001"),
        (edited("maxReplicas: 10", "maxReplicas: -1"), "TARS-P014", 14, 20, "-1"),
        (
            edited("    - kind: Deployment\n      name: backend\n", "    []\n"),
            "TARS-P014",
            18,
            3,
            "allowedResources",
        ),
    ]
}

/// The policy with a forecast trigger of `limits`.
fn forecast(limits: &str) -> String {
    let rest = if limits.is_empty() { String::new() } else { format!(", {limits}") };
    edited(TRIGGER, &format!("    - {{type: forecast, signal: a, service: b{rest}}}\n"))
}

fn forecast_cases() -> Vec<ProblemCase> {
    vec![
        (forecast(""), "TARS-P025", 8, 14, "forecast"),
        (forecast("above: 9, below: 1"), "TARS-P025", 8, 14, "forecast"),
        (forecast("above: 9, probability: '0.5'"), "TARS-P026", 8, 70, "'0.5'"),
        (forecast("above: 9, probability: '0.99'"), "TARS-P026", 8, 70, "'0.99'"),
        (forecast("above: 9, within: 31m"), "TARS-P016", 8, 65, "31m"),
    ]
}

#[test]
fn a_forecast_trigger_looks_20_minutes_ahead_and_is_judged_by_its_own_signal() {
    let policy = parsed(&forecast("below: 9"));
    let Trigger::Forecast { crossing, within_s, probability, for_s, .. } = &policy.triggers[0] else {
        panic!("{:?}", policy.triggers)
    };
    assert_eq!((*crossing, *within_s, probability.get(), *for_s), (Crossing::Below(9.0), 1_200, 0.9, 0));
    assert_eq!(policy.verify.signal, signal("b", "a"));
}

fn rule_cases() -> Vec<ProblemCase> {
    let verify = |text: &str| with_spec(&format!("verify: {text}"));
    vec![
        (edited("name: backend-latency", "name: ledger"), "TARS-P015", 4, 9, "ledger"),
        (edited("signal: latency_p95", "signal: 'a b'"), "TARS-P015", 9, 15, "'a b'"),
        (
            edited("    - kind: Deployment\n      name: backend\n", "    - backend\n"),
            "TARS-P015",
            19,
            7,
            "backend",
        ),
        (with_spec("revertAfter: 1d"), "TARS-P016", 21, 16, "1d"),
        (verify("{window: 0s}"), "TARS-P016", 21, 20, "0s"),
        (format!("{SEED}---\n{SEED}"), "TARS-P017", 25, 9, "backend-latency"),
        (edited("maxReplicas", "maxReplica"), "TARS-P021", 14, 7, "maxReplica"),
        (with_spec("<<: {}"), "TARS-P021", 21, 3, "<<"),
        (edited("threshold: 0.8", "query: up"), "TARS-P022", 11, 7, "query"),
        (edited("maxReplicas: 10", "maxPods: 1"), "TARS-P022", 14, 7, "maxPods"),
        (with_actions("    - {type: ScaleOut, scaleOut: {}, step: 2}\n"), "TARS-P023", 13, 38, "step"),
        (
            with_actions("    - {type: ScaleOut, step: 2, factorPercent: 150}\n"),
            "TARS-P023",
            13,
            33,
            "factorPercent",
        ),
        (with_actions("    - {type: ScaleOut, step: 5, maxReplicas: 4}\n"), "TARS-P024", 13, 46, "4"),
        (edited("dryRun: false", "dryRun: true") + "  mode: AutoMerge\n", "TARS-P030", 17, 11, "true"),
        (with_actions("    - type: Rollback\n") + "  mode: AutoMerge\n", "TARS-P031", 13, 13, "Rollback"),
        (edited(TRIGGER, "    - {type: promql, query: up}\n"), "TARS-P032", 6, 1, "spec"),
        (verify("{window: 30m}"), "TARS-P033", 21, 20, "30m"),
        (verify("{window: 5m, within: 60s}"), "TARS-P033", 21, 32, "60s"),
        (format!("{SEED}    - Deployment/backend\n"), "TARS-P034", 21, 7, "Deployment/backend"),
        (with_spec("allowedPaths: [../etc]"), "TARS-P035", 21, 18, "../etc"),
        (with_spec("writeTo: [{field: replicas, file: ../x, path: a}]"), "TARS-P036", 21, 37, "../x"),
        (
            with_spec("allowedPaths: [apps]\n  writeTo: [{field: image, file: x.yaml, path: a}]"),
            "TARS-P037",
            22,
            34,
            "x.yaml",
        ),
        (with_spec("writeTo: [{field: image, file: x, path: ''}]"), "TARS-P038", 21, 43, "''"),
        (verify("{below: much}"), "TARS-P039", 21, 19, "much"),
        (verify("{below: 0.25}"), "TARS-P044", 21, 19, "0.25"),
        (format!("{SEED}---\nkind: ConfigMap\n"), "TARS-P040", 22, 7, "ConfigMap"),
    ]
}

/// Every policy of these tests that is one document, for a real API server to judge.
#[cfg(feature = "cluster-tests")]
pub fn documents() -> Vec<String> {
    let whole = |it: ProblemCase| it.0;
    let cases = shape_cases().into_iter().chain(rule_cases()).map(whole);
    let more = [
        "mode: AutoMerge",
        "suspend: true",
        "revertAfter: 1h30m",
        "revertAfter: 720h",
        "revertAfter: 721h",
        "revertAfter: 0",
        "revertAfter: 30m1h",
        "allowedPaths: [apps/backend/, a.yaml, .github, ..a]",
        "allowedPaths: [a/.git/b]",
        "allowedPaths: [a/./b]",
        "allowedPaths: [/a]",
        "verify: {below: 250}",
        "verify: {below: 250m}",
        "verify: {below: '0.25'}",
        "verify: {below: 0.25}",
        "verify: {below: much}",
        "verify: {window: 5m, within: 15m, dependants: [{signal: errors, service: web}]}",
        "verify: {window: 25h, within: 26h}",
        "writeTo: [{field: image, file: x, path: image.tag, resource: {kind: Deployment, name: a..b}}]",
        "allowedPaths: [apps/]\n  writeTo: [{field: image, file: apps/x.yaml, path: a}]",
        "allowedPaths: [apps]\n  writeTo: [{field: image, file: appsx/x.yaml, path: a}]",
    ];
    cases.chain([SEED.to_owned()]).chain(more.map(with_spec)).collect()
}

#[test]
fn every_problem_has_its_code_and_points_at_its_cause() {
    let cases = [shape_cases(), forecast_cases(), rule_cases()].concat();
    let mut wrong = Vec::new();
    for (text, code, line, column, underlined) in &cases {
        let got = only_problem(text);
        if (got.0, got.1, got.2, got.3.as_str()) != (*code, *line, *column, *underlined) {
            wrong.push(format!("{code} {line}:{column} {underlined:?} but got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (code, _) in CODES.iter().filter(|(code, _)| {
        !matches!(*code, "TARS-P002" | "TARS-P041" | "TARS-P042" | "TARS-P043" | "TARS-P050")
    }) {
        assert!(cases.iter().any(|it| it.1 == *code), "{code} has no case");
    }
}

#[test]
fn a_file_that_is_too_large_or_not_utf8_is_not_read() {
    let large = lint(&path(), &vec![b'#'; MAX_FILE_BYTES + 1], &oid('a'));
    let binary = lint(&path(), b"kind: \xff", &oid('a'));
    assert_eq!((large.problems[0].code, binary.problems[0].code), ("TARS-P002", "TARS-P002"));
}

#[test]
fn a_warning_does_not_keep_a_policy_from_being_used_and_an_error_does() {
    let warned = with_actions("    - type: Rollback\n") + "  mode: AutoMerge\n";
    assert_eq!(policies(&path(), warned.as_bytes(), &oid('a')).unwrap().len(), 1);
    let half_wrong = format!("{SEED}---\n{}", edited("Seconds: 900", "Seconds: -1"));
    assert_eq!(policies(&path(), half_wrong.as_bytes(), &oid('a')).unwrap_err()[0].code, "TARS-P014");
    assert_eq!(linted(&half_wrong).policies.len(), 1);
}

#[test]
fn an_error_is_not_lost_behind_many_warnings() {
    let text = "kind: ConfigMap\n---\n".repeat(2 * MAX_PROBLEMS) + &edited("Seconds: 900", "Seconds: -1");
    let problems = policies(&path(), text.as_bytes(), &oid('a')).unwrap_err();
    assert_eq!((problems.len(), problems.last().map(|it| it.code)), (MAX_PROBLEMS, Some("TARS-P014")));
}

#[test]
fn a_file_full_of_unknown_fields_gives_a_bounded_report() {
    let text = (0..10_000).fold(SEED.to_owned(), |text, n| text + "  x" + &n.to_string() + ": 1\n");
    assert_eq!(linted(&text).problems.len(), MAX_PROBLEMS);
}

#[test]
fn documents_of_other_kinds_and_empty_ones_are_ignored() {
    let text = format!(
        "---\n---\napiVersion: v1\nkind: ConfigMap\ndata: {{a: &x b, c: *x}}\n---\n{SEED}---\n# end\n"
    );
    let linted = linted(&text);
    assert_eq!(linted.policies.len(), 1);
    assert_eq!(linted.problems.iter().map(|it| it.code).collect::<Vec<_>>(), ["TARS-P040"]);
}

#[test]
fn a_problem_looks_like_a_compilers() {
    let text = edited("maxReplicas", "maxReplica");
    let problem = linted(&text).problems.remove(0);
    assert_eq!(
        render_problem(&problem, &text),
        "\
error[TARS-P021]: unknown field `maxReplica`
   --> policies/backend.yaml:14:7
   |
14 |       maxReplica: 10
   |       ^^^^^^^^^^ did you mean `maxReplicas`?
   |
   = help: tars explain TARS-P021
"
    );
}

#[test]
fn a_policy_cannot_drive_the_terminal_it_is_shown_on() {
    for evil in ["\"\\e[31m\\u202Ex\": 1", "x\u{202e}y: 1", "kind2: \u{9b}31m"] {
        let text = with_spec(evil);
        let problems = linted(&text).problems;
        assert!(!problems.is_empty(), "{evil}");
        for problem in problems {
            let shown = render_problem(&problem, &text);
            assert!(!shown.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{shown:?}");
        }
    }
}

#[test]
fn every_schema_keyword_is_understood() {
    fn keywords<'j>(schema: &'j serde_json::Value, found: &mut Vec<&'j str>) {
        let Some(object) = schema.as_object() else { return };
        for (keyword, value) in object {
            found.push(keyword);
            match keyword.as_str() {
                "properties" | "$defs" => {
                    value.as_object().unwrap().values().for_each(|it| keywords(it, found));
                }
                "anyOf" | "oneOf" => value.as_array().unwrap().iter().for_each(|it| keywords(it, found)),
                "items" | "additionalProperties" => keywords(value, found),
                _ => {}
            }
        }
    }
    let schema = wire::schema();
    let mut found = Vec::new();
    keywords(&schema, &mut found);
    assert!(found.len() > 100, "the walk saw only {} keywords", found.len());
    found.retain(|it| !shape::KEYWORDS.contains(it));
    assert!(found.is_empty(), "shape::check does not know {found:?}");
    assert!(super::schema().contains("\"maxExecutionsPerHour\""));
}

#[test]
fn codes_are_unique_sorted_and_explained() {
    assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert!(CODES.iter().all(|(code, text)| code.starts_with("TARS-P0") && text.ends_with('.')));
}

#[test]
fn every_shipped_policy_is_without_problems() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["policies", "gitops-example/policies"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let file = entry.unwrap().path();
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.ends_with(".yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let path = RepoPath::new(format!("{folder}/{name}")).unwrap();
            let linted = lint(&path, text.as_bytes(), &oid('a'));
            let seen: Vec<String> = linted.problems.iter().map(|it| render_problem(it, &text)).collect();
            assert!(seen.is_empty(), "{}", seen.join("\n"));
            assert_eq!(linted.policies.len(), 1, "{path}");
            assert_eq!(format!("{}.yaml", linted.policies[0].name), name, "file and policy have one name");
            let readme = std::fs::read_to_string(root.join(folder).join("README.md")).unwrap();
            assert!(readme.contains(&name), "{folder}/README.md does not mention {name}");
            count += 1;
        }
    }
    assert_eq!(count, 6);
}

#[test]
fn the_examples_latency_policy_is_the_seeds_story() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("gitops-example/policies/backend-latency.yaml");
    let policy = parsed(&std::fs::read_to_string(file).unwrap());
    assert_eq!(policy.mode, Mode::AutoMerge);
    assert_eq!(policy.actions, [PlaybookSpec::ScaleOut { by: ScaleBy::Step(2), max_replicas: 10 }]);
    assert_eq!((policy.verify.below, policy.verify.within_s), (Some(250.0), 1200));
    assert_eq!(policy.revert_after_s, Some(3600));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_and_every_problem_can_be_shown(
        at in 0..SEED.len(),
        noise in "\\PC{0,12}|[-:{}\\[\\]*&!|>\n\t ]{0,8}",
    ) {
        let text = format!("{}{noise}{}", &SEED[..at], &SEED[at..]);
        for problem in linted(&text).problems {
            prop_assert!(CODES.iter().any(|(code, _)| *code == problem.code));
            let shown = render_problem(&problem, &text);
            prop_assert_eq!(shown.lines().count(), 7, "{}", shown);
        }
    }
}

#[test]
fn a_second_policy_of_the_same_name_is_a_problem_that_names_the_first() {
    let first = RepoPath::new("policies/a.yaml").unwrap();
    let problem = duplicate_policy(&path(), "backend-latency", &first);
    assert_eq!((problem.code, problem.severity), ("TARS-P041", ProblemSeverity::Error));
    assert!(problem.message.contains("policies/a.yaml"), "{}", problem.message);
}
