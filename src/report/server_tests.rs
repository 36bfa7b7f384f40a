//! Against a real API server, whose kubeconfig `TARS_TEST_KUBECONFIG` names: the definitions are taken, the server
//! judges policies as `tars policy lint` does, and the actions are shown, set back and pruned.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::actions::{ACTIONS, Actions, FINISHED_MAX};
use crate::crd::{self, ProblemSeverity};
use crate::model::action::{ActionState, MergeRecord, MergedBy, RemediationAction};
use crate::model::fixtures::{at, oid, proposed, target};
use crate::model::ids::{RepoId, RepoPath};
use crate::model::verdict::{Outcome, Verdict};
use crate::outside::kube::{Access, Kube, KubeError, Part, Patch, Place, Resource, Selection};

const POLICIES: Resource =
    Resource { group: "aiops.tars", version: "v1alpha1", plural: "remediationpolicies" };
const DEFINITIONS: Resource =
    Resource { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" };
const NAMESPACES: Resource = Resource { group: "", version: "v1", plural: "namespaces" };

/// The server with our definitions and a namespace; `None`, said aloud, where there is none.
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test reads where its server is, or says so"
)]
async fn server(namespace: &str) -> Option<Kube> {
    let Ok(path) = std::env::var("TARS_TEST_KUBECONFIG") else {
        eprintln!("SKIPPED: TARS_TEST_KUBECONFIG names no kubeconfig of a real API server");
        return None;
    };
    let access = Access::Kubeconfig { path: PathBuf::from(path), context: None };
    let kube = Kube::new(&access).await.unwrap();
    assert!(
        kube.server().contains("127.0.0.1"),
        "{} is not a server that a test may write to",
        kube.server()
    );
    let apply = Patch::Apply { manager: "tars-test" };
    for text in crd::definitions().unwrap().split("---\n").filter(|it| !it.is_empty()) {
        let object: Value = yaml_serde::from_str(text).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap();
        let place = Place { resource: DEFINITIONS, namespace: None, name };
        let _: Value = kube.patch(place, Part::Whole, apply, &object).await.unwrap();
        while !is_established(&kube, place).await {
            tokio::task::yield_now().await;
        }
    }
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let place = Place { resource: NAMESPACES, namespace: None, name: namespace };
    let _: Value = kube.patch(place, Part::Whole, apply, &object).await.unwrap();
    Some(kube)
}

async fn is_established(kube: &Kube, place: Place<'_>) -> bool {
    let now: Value = kube.get(place).await.unwrap();
    let conditions = now["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|it| it["type"] == "Established" && it["status"] == "True")
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
    let mut record = proposed(policy, &target(&format!("shop/Deployment/{name}")), seq, at(0));
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
async fn actions_are_shown_set_back_and_made_again_and_the_second_time_nothing_is_written() {
    let Some(kube) = server("shop").await else { return };
    let label = "aiops.tars/policy=shown";
    let repository = RepoId::new("git.example.com/shown").unwrap();
    let mut actions = Actions::new(kube.clone(), Vec::new(), &repository);
    let open = proposed("shown", &target("shop/Deployment/checkout"), 1, at(0));
    let done = verified("shown", "backend", 2);
    let place = |name| Place { resource: ACTIONS, namespace: Some("shop"), name };
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
    let Some(kube) = server("shop").await else { return };
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
    let Some(kube) = server("shop").await else { return };
    let repository = RepoId::new("git.example.com/nowhere").unwrap();
    let mut actions = Actions::new(kube.clone(), Vec::new(), &repository);
    let lost = proposed("nowhere", &target("not-there/Deployment/a"), 1, at(0));
    let open = proposed("nowhere", &target("shop/Deployment/nowhere"), 2, at(0));
    actions.show(&[&lost, &open], &|_| None).await;
    assert_eq!(objects(&kube, "aiops.tars/policy=nowhere").await.len(), 1);
}
