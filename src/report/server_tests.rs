//! Against a real API server: the definitions are taken, the server judges policies as `tars policy lint` does, the actions are
//! shown, set back and pruned, and policies get their status.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::actions::{ACTIONS, Actions, FINISHED_MAX};
use super::events::Events;
use super::lease::{LEASES, Lease};
use super::policies::Policies;
use crate::crd::object::{PolicyObject, RawPolicy, Standing};
use crate::crd::policy_status::Facts;
use crate::crd::{self, ProblemSeverity};
use crate::model::action::{ActionState, MergeRecord, MergedBy, RemediationAction};
use crate::model::fixtures::{at, oid, proposed, target};
use crate::model::ids::{ObjectName, PolicyName, RepoId, RepoPath};
use crate::model::policy::Mode;
use crate::model::verdict::{Outcome, Verdict};
use crate::outside::kube::{Kube, KubeError, Part, Patch, Place, Resource, Selection, real};

const POLICIES: Resource =
    Resource { group: "aiops.tars", version: "v1alpha1", plural: "remediationpolicies" };

/// A real server with our definitions, and a namespace of the test's own.
async fn server(namespace: &str) -> Option<Kube> {
    real::server(namespace, &crd::definitions().unwrap()).await
}

/// Codes about a file, or that a server judges by leaving out: it prunes fields it does not know. The case of P034 is
/// also of a form that a server does not take, which lint says of the first of two only.
const OF_FILES: [&str; 10] = [
    "TARS-P034",
    "TARS-P001",
    "TARS-P002",
    "TARS-P003",
    "TARS-P004",
    "TARS-P010",
    "TARS-P017",
    "TARS-P021",
    "TARS-P040",
    "TARS-P041",
];

#[tokio::test]
async fn the_server_takes_exactly_the_policies_that_lint_has_nothing_against() {
    let Some(kube) = server("production").await else { return };
    let path = RepoPath::new("policies/a.yaml").unwrap();
    let (mut taken, mut refused) = (0, 0);
    for text in crd::tests::documents() {
        let problems = crd::lint(&path, text.as_bytes(), &oid('a')).problems;
        if problems.iter().any(|it| OF_FILES.contains(&it.code)) {
            continue;
        }
        let fine =
            |it: &crd::PolicyProblem| it.severity == ProblemSeverity::Warning && it.code != "TARS-P044";
        let expected = problems.iter().all(fine);
        let object: Value = yaml_serde::from_str(&text).unwrap();
        // A server takes the namespace from the address.
        let Some(namespace) = object["metadata"]["namespace"].as_str().map(str::to_owned) else { continue };
        match kube.create::<Value>(POLICIES, Some(&namespace), &object).await {
            Ok(made) => {
                let name = made["metadata"]["name"].as_str().unwrap();
                let place = Place { resource: POLICIES, namespace: Some(&namespace), name };
                kube.delete(place, made["metadata"]["uid"].as_str().unwrap()).await.unwrap();
                assert!(expected, "the server took what lint refuses: {problems:?}\n{text}");
                taken += 1;
            }
            Err(KubeError::Invalid { says, .. }) => {
                assert!(!expected, "the server refused what lint takes: {says}\n{text}");
                refused += 1;
            }
            Err(other) => panic!("{other:?}\n{text}"),
        }
    }
    assert!(taken >= 12 && refused >= 30, "{taken} taken, {refused} refused: too few to say anything");
}

/// A record that was merged, applied and found helpful.
fn verified(policy: &str, name: &str, seq: u64) -> RemediationAction {
    // The namespace of each test has the name of its policy.
    let mut record = proposed(policy, &target(&format!("{policy}/Deployment/{name}")), seq, at(0));
    record.status.merge = Some(MergeRecord { commit: oid('c'), by: MergedBy::Tars, at: at(60) });
    record.status.synced_at = Some(at(90));
    record.status.verdict = Some(Verdict {
        outcome: Outcome::Recovered,
        before: Some(480.0),
        after: Some(190.0),
        samples_before: 10,
        samples_after: 10,
        judged_at: at(700),
        text: "latency_p95 fell from 480 to 190".to_owned(),
    });
    record.enter(ActionState::Verified, at(700), "recovered");
    record
}

async fn objects(kube: &Kube, label: &str) -> Vec<Value> {
    let selection = Selection { labels: Some(label), ..Selection::default() };
    kube.list(ACTIONS, selection, 1_000).await.unwrap().items
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let all = object["status"]["conditions"].as_array().unwrap();
    all.iter().find(|it| it["type"] == kind).unwrap()["status"].as_str().unwrap()
}

#[tokio::test]
async fn a_watch_from_before_the_server_remembers_is_expired_by_that_name() {
    let Some(kube) = server("expired").await else { return };
    let watch = kube.watch(ACTIONS, Selection::default(), "1").await;
    let refused = match watch {
        Ok(mut watch) => watch.next::<Value>().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(refused, Err(KubeError::Expired { .. })), "{refused:?}");
}

#[tokio::test]
async fn actions_are_shown_set_back_and_made_again_and_the_second_time_nothing_is_written() {
    let Some(kube) = server("shown").await else { return };
    let label = "aiops.tars/policy=shown";
    let repository = RepoId::new("git.example.com/shown").unwrap();
    let mut actions = Actions::new(kube.clone(), Vec::new(), &repository);
    let open = proposed("shown", &target("shown/Deployment/checkout"), 1, at(0));
    let done = verified("shown", "backend", 2);
    let place = |name| Place { resource: ACTIONS, namespace: Some("shown"), name };
    actions.show(&[&open, &done], &|_| Some(812)).await;
    let first = objects(&kube, label).await;
    assert_eq!(first.len(), 2, "{first:#?}");
    let of = |all: &[Value], record: &RemediationAction| {
        all.iter().find(|it| it["metadata"]["name"] == record.id().as_str()).unwrap().clone()
    };
    assert_eq!(condition(&of(&first, &open), "Verified"), "Unknown");
    assert_eq!(condition(&of(&first, &done), "Verified"), "True");
    assert_eq!(of(&first, &open)["status"]["pullRequest"], "#812");
    actions.show(&[&open, &done], &|_| Some(812)).await;
    assert_eq!(objects(&kube, label).await, first, "the second time nothing is written");

    let id = open.id().as_str();
    let edit = json!({"spec": {"risk": "High", "undoes": "act-000000000000"}});
    let _: Value = kube.patch(place(id), Part::Whole, Patch::Merge, &edit).await.unwrap();
    let edit = json!({"status": {"phase": "Succeeded", "mergedBy": "nobody"}});
    let _: Value = kube.patch(place(id), Part::Status, Patch::Merge, &edit).await.unwrap();
    actions.show(&[&open, &done], &|_| Some(812)).await;
    let back = of(&objects(&kube, label).await, &open);
    assert_eq!(back["spec"], of(&first, &open)["spec"], "an edit is set back");
    assert_eq!((&back["status"]["phase"], back["status"].get("mergedBy")), (&json!("Pending"), None));

    let uid = back["metadata"]["uid"].as_str().unwrap();
    kube.delete(place(id), uid).await.unwrap();
    actions.show(&[&open, &done], &|_| Some(812)).await;
    assert_eq!(objects(&kube, label).await.len(), 2, "what is open is made again");
    actions.show(&[&done], &|_| None).await;
    assert_eq!(objects(&kube, label).await.len(), 1, "what the ledger does not know as open goes");
}

#[tokio::test]
async fn only_the_newest_finished_actions_stay() {
    let Some(kube) = server("many").await else { return };
    let repository = RepoId::new("git.example.com/many").unwrap();
    let mut actions = Actions::new(kube.clone(), Vec::new(), &repository);
    let many: Vec<_> = (0..60).map(|it| verified("many", &format!("w{it}"), it)).collect();
    let (older, newer) = many.split_at(30);
    actions.show(&older.iter().collect::<Vec<_>>(), &|_| None).await;
    actions.show(&newer.iter().collect::<Vec<_>>(), &|_| None).await;
    actions.show(&newer.iter().collect::<Vec<_>>(), &|_| None).await;
    assert_eq!(objects(&kube, "aiops.tars/policy=many").await.len(), FINISHED_MAX);
}

#[tokio::test]
async fn an_action_in_a_namespace_that_is_not_there_hides_no_other() {
    let Some(kube) = server("nowhere").await else { return };
    let repository = RepoId::new("git.example.com/nowhere").unwrap();
    let mut actions = Actions::new(kube.clone(), Vec::new(), &repository);
    let lost = proposed("nowhere", &target("not-there/Deployment/a"), 1, at(0));
    let open = proposed("nowhere", &target("nowhere/Deployment/nowhere"), 2, at(0));
    actions.show(&[&lost, &open], &|_| None).await;
    assert_eq!(objects(&kube, "aiops.tars/policy=nowhere").await.len(), 1);
}

fn facts(used: u32) -> Facts {
    Facts {
        mode: Mode::AutoMerge,
        brake: None,
        open: 1,
        used,
        limit: 2,
        last_action: Some(at(60)),
        signals: 1,
        missing: Vec::new(),
    }
}

async fn policies(kube: &Kube, namespace: &str) -> Vec<PolicyObject> {
    let selection = Selection { namespace: Some(namespace), ..Selection::default() };
    let listed = kube.list::<RawPolicy>(POLICIES, selection, 100).await.unwrap();
    listed.items.into_iter().map(|it| PolicyObject::new(it, None)).collect()
}

#[tokio::test]
async fn a_policy_gets_a_status_that_is_written_when_it_changed_and_set_back_when_somebody_edits_it() {
    let Some(kube) = server("status").await else { return };
    let place = Place { resource: POLICIES, namespace: Some("status"), name: "checkout" };
    let object = json!({
        "apiVersion": "aiops.tars/v1alpha1", "kind": "RemediationPolicy",
        "metadata": { "name": "checkout", "namespace": "status" },
        "spec": {
            "mode": "AutoMerge",
            "triggers": [{ "type": "anomaly", "signal": "latency_p95", "service": "checkout" }],
            "actions": [{ "type": "ScaleOut" }],
            "allowedResources": [{ "kind": "Deployment", "name": "checkout" }],
        },
    });
    let _: Value = kube.create(POLICIES, Some("status"), &object).await.unwrap();
    let mut shown = Policies::new(kube.clone(), POLICIES, RepoId::new("git.example.com/a").unwrap());
    let mut show = async |used: u32, second: i64| {
        let all = policies(&kube, "status").await;
        let facts = BTreeMap::from([(PolicyName::new("checkout").unwrap(), facts(used))]);
        shown.show(all.iter().map(|it| (it, &Standing::Used)), &facts, at(second)).await;
        kube.get::<Value>(place).await.unwrap()
    };
    let first = show(1, 100).await;
    assert_eq!(
        (&first["status"]["budget"], condition(&first, "Ready")),
        (&json!("1/2"), "True"),
        "{first:#}"
    );
    assert_eq!(show(1, 200).await, first, "the second time nothing is written");
    let spent = show(2, 300).await;
    assert_eq!(condition(&spent, "BudgetAvailable"), "False");
    let edit = json!({"status": {"open": 7, "lastActionTime": "2026-11-23T10:00:00Z", "conditions": []}});
    let _: Value = kube.patch(place, Part::Status, Patch::Merge, &edit).await.unwrap();
    let back = show(2, 400).await;
    assert_eq!((&back["status"]["open"], condition(&back, "Ready")), (&json!(1), "True"), "{back:#}");
    let edit = json!({"spec": {"cooldownSeconds": 60}});
    let _: Value = kube.patch(place, Part::Whole, Patch::Merge, &edit).await.unwrap();
    assert_eq!(show(2, 500).await["status"]["observedGeneration"], 2);
}

#[tokio::test]
async fn one_replica_holds_the_lease_until_it_gives_it_back_or_is_gone() {
    let Some(kube) = server("lease").await else { return };
    let kube = kube.in_namespace("lease");
    let named = |name: &str, us: &str, lasts: u64| {
        Lease::new(kube.clone(), &ObjectName::new(name).unwrap(), us, Duration::from_secs(lasts))
    };
    let lease = |us: &str, lasts: u64| named("tars", us, lasts);
    let (mut one, mut two) = (lease("tars-0", 600), lease("tars-1", 600));
    assert!(one.is_ours(at(0)).await);
    assert!(!two.is_ours(at(1)).await);
    assert!(one.is_ours(at(30)).await, "it is renewed");
    let place = Place { resource: LEASES, namespace: Some("lease"), name: "tars" };
    let now: Value = kube.get(place).await.unwrap();
    assert_eq!(now["spec"]["holderIdentity"], "tars-0");
    assert_eq!(now["spec"]["acquireTime"], "2026-11-23T10:00:00.000000Z");
    assert_eq!(now["spec"]["renewTime"], "2026-11-23T10:00:30.000000Z");
    one.release().await;
    assert!(two.is_ours(at(40)).await && !one.is_ours(at(41)).await);
    // For whom it is over as soon as nobody renewed it while they looked.
    let mut three = lease("tars-2", 0);
    assert!(three.is_ours(at(50)).await && !two.is_ours(at(51)).await);
    let now: Value = kube.get(place).await.unwrap();
    assert_eq!(
        (&now["spec"]["holderIdentity"], &now["spec"]["leaseTransitions"]),
        (&json!("tars-2"), &json!(2))
    );
    assert!(named("other", "tars-1", 600).is_ours(at(52)).await, "another installation has another");
    let name = ObjectName::new("tars").unwrap();
    let mut nowhere = Lease::new(kube.in_namespace("not-there"), &name, "tars-0", Duration::from_secs(600));
    assert!(nowhere.is_ours(at(0)).await, "where there can be no Lease everybody speaks");
}

#[tokio::test]
async fn describe_shows_what_happened_beside_the_workload_and_the_policy() {
    let Some(kube) = server("events").await else { return };
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout", "namespace": "events"},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
        },
    });
    let deployments = Resource { group: "apps", version: "v1", plural: "deployments" };
    let made: Value = kube.create(deployments, Some("events"), &deployment).await.unwrap();
    let record = verified("events", "checkout", 1);
    let mut one = Events::new(kube.clone(), Vec::new(), "tars-0");
    let mut two = Events::new(kube.clone(), Vec::new(), "tars-1");
    one.tell(&[&record], &[], at(710)).await;
    two.tell(&[&record], &[], at(720)).await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    // As kubectl describe asks.
    let events = Resource { group: "", version: "v1", plural: "events" };
    let fields =
        format!("involvedObject.uid={uid},involvedObject.kind=Deployment,involvedObject.name=checkout");
    let selection = Selection { namespace: Some("events"), fields: Some(&fields), ..Selection::default() };
    let found = kube.list::<Value>(events, selection, 100).await.unwrap().items;
    let mut told: Vec<_> = found.iter().map(|it| it["reason"].as_str().unwrap().to_owned()).collect();
    told.sort();
    assert_eq!(told, ["Merged", "Proposed", "Synced", "Verified"], "{found:#?}");
}
