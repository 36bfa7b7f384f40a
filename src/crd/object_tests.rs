//! Objects beside files: the same reader, and one rule about who has a name.

use super::*;
use crate::model::fixtures::oid;

fn raw(namespace: &str, name: &str, created: &str, spec: Json) -> RawPolicy {
    let metadata = Meta {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        uid: format!("{namespace}-{name}"),
        generation: 1,
        creation_timestamp: created.to_owned(),
    };
    RawPolicy { metadata, spec, status: Json::Null }
}

fn spec(step: u32) -> Json {
    json!({
        "triggers": [{"type": "anomaly", "signal": "latency_p95", "service": "backend", "threshold": 0.85}],
        "actions": [{"type": "ScaleOut", "scaleOut": {"step": step}}],
        "allowedResources": [{"kind": "Deployment", "name": "backend"}],
    })
}

fn object(namespace: &str, name: &str, created: &str, spec: Json) -> Arc<PolicyObject> {
    Arc::new(PolicyObject::new(raw(namespace, name, created, spec), None))
}

/// The same policy as a file of the repository.
fn file(object: &PolicyObject) -> Policy {
    let path = RepoPath::new("policies/a.yaml").unwrap();
    Policy { path, commit: oid('a'), ..object.policy.clone().unwrap() }
}

fn standings(together: &Together) -> Vec<(&str, &Standing)> {
    together.objects.iter().map(|(it, standing)| (it.meta.namespace.as_str(), standing)).collect()
}

#[test]
fn an_object_is_read_as_a_file_is_and_says_where_it_is_from() {
    let object = object("shop", "checkout", "2026-11-23T10:00:00Z", spec(2));
    let policy = object.policy.as_ref().unwrap();
    assert_eq!(policy.path.as_str(), "@cluster/shop/checkout");
    assert!(policy.is_of_cluster() && !file(&object).is_of_cluster());
    let other = raw("shop", "checkout", "2026-11-23T10:00:00Z", spec(3));
    let other = PolicyObject::new(other, None).policy.unwrap();
    assert_ne!(policy.commit, other.commit, "another content is another id");
    let text = json!({
        "apiVersion": API_VERSION, "kind": "RemediationPolicy",
        "metadata": {"name": "checkout", "namespace": "shop"}, "spec": spec(2),
    });
    let linted = crate::crd::lint(&policy.path, text.to_string().as_bytes(), &policy.commit);
    assert_eq!(linted.policies, std::slice::from_ref(policy));
}

#[test]
fn a_bad_object_is_refused_with_the_code_of_the_linter_and_stops_nobody() {
    let mut wrong = spec(2);
    wrong["triggers"][0]["treshold"] = json!(1);
    wrong["cooldownSeconds"] = json!(-1);
    let objects = [
        object("a", "bad", "2026-01-01T00:00:00Z", wrong),
        object("b", "good", "2026-01-01T00:00:00Z", spec(1)),
    ];
    let all = together(PoliciesFrom::Cluster, &[], &objects);
    assert_eq!(all.policies.len(), 1);
    let Standing::Invalid(first, count) = &all.objects[0].1 else { panic!("{:?}", all.objects) };
    assert!(first.contains("TARS-P014") && *count == 2, "{first} {count}");
}

#[test]
fn a_name_belongs_to_the_repository_then_to_the_oldest_object() {
    let newer = object("a", "checkout", "2026-11-23T10:00:00Z", spec(1));
    let older = object("z", "checkout", "2025-11-23T10:00:00Z", spec(2));
    let objects = [Arc::clone(&newer), Arc::clone(&older)];
    let own = [file(&newer)];
    let all = together(PoliciesFrom::Both, &own, &objects);
    assert_eq!(all.policies, own);
    assert_eq!(standings(&all), [("z", &Standing::RepositoryWins), ("a", &Standing::SameInRepository)]);
    let all = together(PoliciesFrom::Cluster, &own, &objects);
    assert_eq!(all.policies, [older.policy.clone().unwrap()]);
    let second = Standing::SecondOfItsName("z".to_owned());
    assert_eq!(standings(&all), [("z", &Standing::Used), ("a", &second)]);
    let all = together(PoliciesFrom::Repository, &[], &objects);
    assert!(all.policies.is_empty());
    assert_eq!(standings(&all), [("z", &Standing::NotAsked), ("a", &Standing::NotAsked)]);
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let known = object("shop", "checkout", "2026-11-23T10:00:00Z", spec(2));
    // The generation says that the spec is the one that was read; the content here would say otherwise.
    let again = raw("shop", "checkout", "2026-11-23T10:00:00Z", json!({}));
    assert!(PolicyObject::new(again, Some(&known)).policy.is_ok());
    let mut changed = raw("shop", "checkout", "2026-11-23T10:00:00Z", json!({}));
    changed.metadata.generation = 2;
    assert!(PolicyObject::new(changed, Some(&known)).policy.is_err());
}
