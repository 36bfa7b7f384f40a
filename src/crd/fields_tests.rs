//! Every field of both kinds does something. The paths come from the schemas of the definitions, so a field that no row drives
//! is a failure: of a policy, a row is two specs that differ in that field alone and must be read as different policies;
//! of what tars writes, the field must differ between things that differ.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::*;
use crate::crd::object::{Meta, PolicyObject, RawPolicy, Standing};
use crate::crd::policy_status::Facts;
use crate::model::action::{
    ActionResult, ActionState, MergeRecord, MergedBy, Purpose, RemediationAction, ResultChange, RiskClass,
};
use crate::model::change::FieldChange;
use crate::model::fixtures::{anomaly, at, oid, proposed, signal, target};
use crate::model::ids::RepoId;
use crate::model::playbook::PlaybookName;
use crate::model::policy::Mode;
use crate::model::reason::{Reason, ReasonCode};
use crate::model::verdict::{Outcome, Verdict};

/// Paths of every field below `schema`, as in `spec.triggers[].for`.
fn paths(path: &str, schema: &Json, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.insert(path.clone());
        paths(&path, field, found);
        if field["items"].is_object() {
            paths(&format!("{path}[]"), &field["items"], found);
        }
    }
}

/// Paths below `part` of the definition of `kind`.
fn fields(kind: &str, part: &str) -> BTreeSet<String> {
    let all = definitions().unwrap();
    let read = |it: &str| yaml_serde::from_str::<Json>(it).unwrap();
    let mut definitions = all.split("---\n").filter(|it| !it.is_empty()).map(read);
    let definition = definitions.find(|it| it["spec"]["names"]["kind"] == kind).unwrap();
    let mut found = BTreeSet::new();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part];
    paths(part, schema, &mut found);
    assert!(found.len() > 5, "{found:?}");
    found
}

/// Every value at `path` of `object`; nothing where an optional field is not there.
fn values<'a>(object: &'a Json, path: &[&str], found: &mut Vec<&'a Json>) {
    let Some((first, rest)) = path.split_first() else { return found.push(object) };
    match first.strip_suffix("[]") {
        None => object.get(first).into_iter().for_each(|it| values(it, rest, found)),
        Some(name) => object[name].as_array().into_iter().flatten().for_each(|it| values(it, rest, found)),
    }
}

/// Fields that never say anything else in `objects`: nothing drives them.
fn idle(fields: &BTreeSet<String>, objects: &[Json]) -> Vec<String> {
    let is_idle = |path: &&String| {
        let parts: Vec<&str> = path.split('.').collect();
        let mut seen = BTreeSet::new();
        for object in objects {
            let mut found = Vec::new();
            values(object, &parts, &mut found);
            // That it is not there is something it says.
            seen.extend(if found.is_empty() {
                vec![String::new()]
            } else {
                found.iter().map(ToString::to_string).collect()
            });
        }
        seen.len() < 2
    };
    fields.iter().filter(is_idle).cloned().collect()
}

fn base() -> Json {
    json!({
        "triggers": [{"type": "anomaly", "signal": "latency_p95", "service": "backend"}],
        "actions": [{"type": "ScaleOut"}],
        "allowedResources": [{"kind": "Deployment", "name": "backend"}],
    })
}

fn with(more: &Json) -> Json {
    let mut spec = base();
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

/// The base with this trigger, and something to verify by.
fn when(trigger: &Json) -> Json {
    with(&json!({"triggers": [trigger], "verify": {"signal": "latency_p95", "service": "backend"}}))
}

fn act(action: &Json) -> Json {
    with(&json!({ "actions": [action] }))
}

fn read(spec: &Json) -> Policy {
    let metadata = Meta {
        name: "backend".to_owned(),
        namespace: "shop".to_owned(),
        uid: "1".to_owned(),
        generation: 1,
        creation_timestamp: String::new(),
    };
    let raw = RawPolicy { metadata, spec: spec.clone(), status: Json::Null };
    let policy = PolicyObject::new(raw, None).policy.unwrap_or_else(|it| panic!("{it:?}\n{spec:#}"));
    // What it was read as differs by construction.
    Policy { commit: oid('a'), ..policy }
}

/// `path`, the spec without the change, and with it.
type Row = (&'static str, Json, Json);

fn of_spec() -> Vec<Row> {
    let row = |path, more: Json| (path, base(), with(&more));
    let place = |field: &str, value: Json| {
        let mut place = json!({"field": "replicas", "file": "apps/a.yaml", "path": "spec.replicas"});
        place[field] = value;
        with(&json!({ "writeTo": [place] }))
    };
    let other = |path: &'static str, value: Json| {
        let field = path.rsplit('.').next().unwrap_or_default();
        (path, place("document", json!(0)), place(field, value))
    };
    let resource = |kind: &str, name: &str| json!({"kind": kind, "name": name});
    let allowed = |kind: &str, name: &str| with(&json!({"allowedResources": [resource(kind, name)]}));
    let only = |kind: &str, name: &str| place("resource", resource(kind, name));
    let verify = |it: Json| with(&json!({ "verify": it }));
    let dependant =
        |signal: &str, service: &str| verify(json!({"dependants": [{"signal": signal, "service": service}]}));
    vec![
        row("spec.mode", json!({"mode": "AutoMerge"})),
        row("spec.suspend", json!({"suspend": true})),
        row("spec.dryRun", json!({"dryRun": true})),
        ("spec.triggers", base(), when(&json!({"type": "promql", "query": "up == 0"}))),
        ("spec.actions", base(), act(&json!({"type": "RestartPod"}))),
        ("spec.allowedResources", base(), allowed("Deployment", "web")),
        ("spec.allowedResources[].kind", base(), allowed("StatefulSet", "backend")),
        ("spec.allowedResources[].name", base(), allowed("Deployment", "web")),
        row("spec.allowedPaths", json!({"allowedPaths": ["apps"]})),
        ("spec.writeTo", base(), place("document", json!(0))),
        other("spec.writeTo[].field", json!("image")),
        other("spec.writeTo[].file", json!("apps/b.yaml")),
        other("spec.writeTo[].document", json!(1)),
        other("spec.writeTo[].path", json!("image.tag")),
        other("spec.writeTo[].resource", resource("Deployment", "backend")),
        ("spec.writeTo[].resource.kind", only("Deployment", "a"), only("StatefulSet", "a")),
        ("spec.writeTo[].resource.name", only("Deployment", "a"), only("Deployment", "b")),
        row("spec.cooldownSeconds", json!({"cooldownSeconds": 60})),
        row("spec.maxExecutionsPerHour", json!({"maxExecutionsPerHour": 5})),
        row("spec.verify", json!({"verify": {"below": 250}})),
        ("spec.verify.signal", base(), verify(json!({"signal": "errors"}))),
        ("spec.verify.service", base(), verify(json!({"service": "web"}))),
        ("spec.verify.below", base(), verify(json!({"below": "0.25"}))),
        ("spec.verify.window", base(), verify(json!({"window": "5m"}))),
        ("spec.verify.within", base(), verify(json!({"within": "30m"}))),
        ("spec.verify.dependants", base(), dependant("errors", "web")),
        ("spec.verify.dependants[].signal", dependant("errors", "web"), dependant("latency", "web")),
        ("spec.verify.dependants[].service", dependant("errors", "web"), dependant("errors", "db")),
        row("spec.revertAfter", json!({"revertAfter": "1h"})),
        row("spec.autoRevert", json!({"autoRevert": true})),
    ]
}

fn of_triggers() -> Vec<Row> {
    let anomaly = json!({"type": "anomaly", "signal": "latency_p95", "service": "backend"});
    let forecast = json!({"type": "forecast", "signal": "latency_p95", "service": "backend", "above": 250});
    let webhook = json!({"type": "webhook", "alertname": "Slow"});
    let promql = json!({"type": "promql", "query": "up == 0"});
    let changed = |path, before: &Json, field: &str, value: Json| {
        let mut after = before.clone();
        after[field] = value;
        (path, when(before), when(&after))
    };
    let mut below = forecast.clone();
    below.as_object_mut().unwrap().remove("above");
    below["below"] = json!(100);
    vec![
        ("spec.triggers[].type", when(&anomaly), when(&forecast)),
        changed("spec.triggers[].signal", &anomaly, "signal", json!("errors")),
        changed("spec.triggers[].service", &anomaly, "service", json!("web")),
        changed("spec.triggers[].threshold", &anomaly, "threshold", json!(0.9)),
        changed("spec.triggers[].minSeverity", &anomaly, "minSeverity", json!("critical")),
        changed("spec.triggers[].for", &anomaly, "for", json!("2m")),
        changed("spec.triggers[].above", &forecast, "above", json!("0.5")),
        ("spec.triggers[].below", when(&forecast), when(&below)),
        changed("spec.triggers[].within", &forecast, "within", json!("5m")),
        changed("spec.triggers[].probability", &forecast, "probability", json!("0.95")),
        changed("spec.triggers[].query", &promql, "query", json!("up == 1")),
        changed("spec.triggers[].alertname", &webhook, "alertname", json!("Down")),
        changed("spec.triggers[].labels", &webhook, "labels", json!({"team": "shop"})),
    ]
}

fn of_actions() -> Vec<Row> {
    let mut rows = Vec::new();
    let queue = |field: &str, value: Json| {
        let mut queue = json!({"signal": "busy", "service": "backend", "perReplica": 4});
        queue[field] = value;
        queue
    };
    let asis = || queue("perReplica", json!(4));
    let fields: [(&str, &str, Json, Json); 11] = [
        ("ScaleOut", "step", Json::Null, json!(2)),
        ("ScaleOut", "factorPercent", Json::Null, json!(150)),
        ("ScaleOut", "maxReplicas", Json::Null, json!(20)),
        ("ScaleOut", "queue", Json::Null, asis()),
        ("ScaleOut", "queue.signal", asis(), queue("signal", json!("open"))),
        ("ScaleOut", "queue.service", asis(), queue("service", json!("web"))),
        ("ScaleOut", "queue.perReplica", asis(), queue("perReplica", json!(8))),
        ("ScaleOut", "queue.utilisationPercent", asis(), queue("utilisationPercent", json!(50))),
        ("Rollback", "scope", Json::Null, json!("PodTemplate")),
        ("Rollback", "maxAge", Json::Null, json!("6h")),
        ("RestartPod", "maxPods", Json::Null, json!(3)),
    ];
    for (kind, path, before, after) in fields {
        let block = format!("{}{}", kind[..1].to_lowercase(), &kind[1..]);
        let field = path.split('.').next().unwrap();
        for (name, is_nested) in
            [(format!("spec.actions[].{path}"), false), (format!("spec.actions[].{block}.{path}"), true)]
        {
            let make = |value: &Json| {
                let mut parameters = json!({});
                if !value.is_null() {
                    parameters[field] = value.clone();
                }
                let mut action = if is_nested { json!({ block.as_str(): parameters }) } else { parameters };
                action["type"] = json!(kind);
                act(&action)
            };
            rows.push((&*name.leak(), make(&before), make(&after)));
        }
    }
    rows.push(("spec.actions[].type", act(&json!({"type": "ScaleOut"})), act(&json!({"type": "Rollback"}))));
    for (path, kind, block, parameter) in [
        ("spec.actions[].scaleOut", "ScaleOut", "scaleOut", json!({"step": 3})),
        ("spec.actions[].rollback", "Rollback", "rollback", json!({"maxAge": "2h"})),
        ("spec.actions[].restartPod", "RestartPod", "restartPod", json!({"maxPods": 2})),
    ] {
        rows.push((path, act(&json!({ "type": kind })), act(&json!({ "type": kind, block: parameter }))));
    }
    rows
}

#[test]
fn every_field_of_a_policy_changes_what_is_done() {
    let rows = [of_spec(), of_triggers(), of_actions()].concat();
    let driven: BTreeSet<String> = rows.iter().map(|it| it.0.to_owned()).collect();
    assert_eq!(
        fields("RemediationPolicy", "spec").difference(&driven).collect::<Vec<_>>(),
        [""; 0],
        "no row drives these"
    );
    assert_eq!(
        driven.difference(&fields("RemediationPolicy", "spec")).collect::<Vec<_>>(),
        [""; 0],
        "there are none"
    );
    for (path, before, after) in rows {
        assert_ne!(read(&before), read(&after), "{path} changes nothing");
    }
}

/// Records that differ in all that a record can say.
fn records() -> Vec<RemediationAction> {
    let first = proposed("latency", &target("shop/Deployment/backend"), 1, at(0));
    let mut judged = proposed("errors", &target("shop/StatefulSet/db"), 2, at(30));
    let spec = &mut judged.spec;
    spec.playbook = PlaybookName::Rollback;
    spec.purpose = Purpose::Revert { of: first.id().clone() };
    spec.risk.class = RiskClass::High;
    spec.mode = Mode::Propose;
    spec.sentence = "Undo it.".to_owned();
    spec.cause.key = "anomaly backend/errors".to_owned();
    spec.cause.anomalies = vec![anomaly(signal("backend", "errors"), 0.9, at(0))];
    let change = spec.change.as_mut().unwrap();
    change.head = oid('e');
    change.fields[0] = FieldChange {
        file: RepoPath::new("apps/db.yaml").unwrap(),
        field: "spec.template".to_owned(),
        from: Some("1".to_owned()),
        to: Some("2".to_owned()),
        ..change.fields[0].clone()
    };
    let result = |success: bool, word: &str| ActionResult {
        success,
        changes: vec![ResultChange {
            resource: word.to_owned(),
            action: word.to_owned(),
            before: word.to_owned(),
            after: word.to_owned(),
        }],
        revert_hint: word.to_owned(),
    };
    judged.status.result = Some(result(false, "a"));
    judged.status.merge = Some(MergeRecord { commit: oid('c'), by: MergedBy::Person, at: at(60) });
    judged.status.synced_at = Some(at(90));
    judged.status.holds = vec![Reason::new(ReasonCode::TrailersDropped, "dropped")];
    judged.status.verdict = Some(Verdict {
        outcome: Outcome::Worse,
        before: None,
        after: None,
        samples_before: 0,
        samples_after: 0,
        judged_at: at(700),
        text: "worse".to_owned(),
    });
    judged.enter(ActionState::Worse, at(700), "worse");
    let mut good = first.clone();
    good.status.result = Some(result(true, "b"));
    good.status.merge = Some(MergeRecord { commit: oid('d'), by: MergedBy::Tars, at: at(60) });
    vec![first, judged, good]
}

#[test]
fn every_field_of_an_action_says_something_about_its_record() {
    let labels = json!({});
    let objects: Vec<Json> = records()
        .iter()
        .zip([(1, None), (2, Some(812)), (3, Some(7))])
        .map(|(it, (generation, pull))| {
            let mut object = action::object(it, &labels);
            object["status"] = action::status(it, pull, generation);
            object
        })
        .collect();
    assert_eq!(idle(&fields("RemediationAction", "spec"), &objects), [""; 0]);
    assert_eq!(idle(&fields("RemediationAction", "status"), &objects), [""; 0]);
}

#[test]
fn every_field_of_a_policys_status_says_something_about_it() {
    let facts = Facts {
        mode: Mode::AutoMerge,
        brake: None,
        open: 1,
        used: 1,
        limit: 2,
        last_action: Some(at(60)),
        signals: 2,
        missing: Vec::new(),
    };
    let said = |generation, standing: &Standing, facts: Option<&Facts>, repository: &str, now| {
        let meta = Meta {
            name: "a".to_owned(),
            namespace: "shop".to_owned(),
            uid: "1".to_owned(),
            generation,
            creation_timestamp: String::new(),
        };
        let object = PolicyObject { meta, status: Json::Null, policy: Err(Vec::new()) };
        let repository = RepoId::new(repository).unwrap();
        json!({ "status": policy_status::status(&object, standing, facts, &repository, now) })
    };
    let objects = [
        said(1, &Standing::Used, Some(&facts), "git.example.com/a", at(100)),
        said(2, &Standing::RepositoryWins, None, "git.example.com/b", at(200)),
    ];
    assert_eq!(idle(&fields("RemediationPolicy", "status"), &objects), [""; 0]);
}

#[test]
fn a_field_that_nothing_drives_is_found() {
    let fields = BTreeSet::from(["spec.a".to_owned(), "spec.list[].b".to_owned(), "spec.never".to_owned()]);
    let one = json!({"spec": {"a": 1, "list": [{"b": 1}]}});
    let two = json!({"spec": {"a": 1, "list": [{"b": 2}]}});
    assert_eq!(idle(&fields, &[one, two]), ["spec.a", "spec.never"]);
}
