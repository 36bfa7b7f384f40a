//! The judgement against documents of the real controllers (`tests/fixtures/landing/`: Flux source-controller 1.9 and
//! kustomize-controller 1.9, Argo CD 3.1, Kubernetes 1.37), and against small ones for what those did not show.

#![allow(clippy::disallowed_methods, reason = "fixtures are read from disk, in tests only")]

use std::path::Path;

use serde_json::json;

use super::origin::bringers;
use super::*;
use crate::layout::index;
use crate::model::fixtures::{at, oid, proposed, target};
use crate::model::ids::RepoPath;
use crate::model::tree::{EntryMode, RepoTree, TreeFile};

/// The commits of the documents, in this order.
const FIRST: &str = "91167fefec591cb6025bffd4eea566ada347c4d4";
const SECOND: &str = "8e3fd4c0ed53b20330765478731e68523f72c852";

fn document(name: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/landing/{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn read(name: &str) -> Delivery {
    read_json(&document(name), &Json::Null)
}

fn read_json(object: &Json, brought: &Json) -> Delivery {
    let kind = match object["kind"].as_str().unwrap() {
        "Application" => BringerKind::Application,
        "HelmRelease" => BringerKind::HelmRelease,
        _ => BringerKind::Kustomization,
    };
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    let bringer = Bringer { kind, namespace: Some(text("namespace")), name: text("name"), is_guess: false };
    delivery::read(&bringer, object, brought)
}

fn commits(delivery: &Delivery) -> Vec<&str> {
    delivery.applied.iter().map(ObjectId::as_str).collect()
}

/// History: [`FIRST`], then [`SECOND`], which is the merge that is asked about.
fn history(commit: &ObjectId) -> Option<bool> {
    match commit.as_str() {
        FIRST => Some(false),
        SECOND => Some(true),
        _ => None,
    }
}

fn landed(chain: Vec<Delivery>) -> Landed {
    Seen { chain, ..Seen::default() }.landed(&history)
}

#[track_caller]
fn waits(landed: &Landed, words: &str) {
    let Landed::NotYet(why) = landed else { panic!("it is live") };
    assert!(why.contains(words), "{why}");
}

#[test]
fn what_flux_says_is_applied_is_read_with_why_it_goes_no_further() {
    for (name, applied, problem) in [
        ("kustomization-applied", vec![FIRST], ""),
        ("kustomization-suspended", vec![FIRST], "is suspended"),
        ("kustomization-bad-path", vec![], "is not ready: kustomization path not found: stat "),
        ("kustomization-without-artifact", vec![], "is not ready: Source artifact not found"),
        ("kustomization-refused-by-server", vec![], "`selector` does not match template `labels`"),
    ] {
        let it = read(name);
        assert_eq!(commits(&it), applied, "{name}");
        let said = it.problem.as_deref().unwrap_or_default();
        assert!(said.contains(problem) && said.is_empty() == problem.is_empty(), "{name}: {said}");
        assert_eq!(it.is_healthy, problem.is_empty(), "{name}");
    }
    let problem = |name: &str| delivery::flux_problem(&document(name)).unwrap_or_default();
    assert_eq!(problem("git-repository-ready"), "");
    assert_eq!(problem("git-repository-suspended"), "is suspended");
    assert!(problem("git-repository-unreachable").contains("authentication required"));
}

#[test]
fn what_argo_cd_says_is_applied_is_read_with_why_it_goes_no_further() {
    for (name, applied, problem) in [
        ("application-synced", vec![SECOND], ""),
        ("application-several-sources", vec![FIRST], ""),
        ("application-bad-path", vec![], "reports ComparisonError: Failed to load target state"),
        ("application-bad-revision", vec![], "unable to resolve 'nope' to a commit SHA"),
        ("application-path-gone", vec![], "apps/gone: app path does not exist"),
        ("application-manual-behind", vec![], "is out of sync, and somebody has to sync it by hand"),
        ("application-refused-by-server", vec![], "is syncing: one or more objects failed to apply"),
        // Its last operation was about a part of the objects: what that brought is not known.
        ("application-fought-over", vec![], "is out of sync"),
    ] {
        let it = read(name);
        assert_eq!(commits(&it), applied, "{name}");
        let said = it.problem.as_deref().unwrap_or_default();
        assert!(said.contains(problem) && said.is_empty() == problem.is_empty(), "{name}: {said}");
    }
    assert!(!read("application-synced").is_healthy, "its health is Progressing");
    assert!(!read("application-synced").is_far);
}

#[test]
fn an_object_that_is_in_sync_counts_whatever_the_rest_of_its_application_does() {
    let mut application = document("application-manual-behind");
    let deployment = document("deployment-of-both");
    assert_eq!(commits(&read_json(&application, &deployment)), Vec::<&str>::new());
    application["status"]["resources"][0]["status"] = "Synced".into();
    assert_eq!(commits(&read_json(&application, &deployment)), [SECOND]);
    assert_eq!(commits(&read_json(&application, &document("kustomization-applied"))), Vec::<&str>::new());
}

#[test]
fn a_synced_application_that_names_something_else_now_is_not_done() {
    let mut application = document("application-synced");
    application["spec"]["source"]["helm"] = json!({ "parameters": [{ "name": "replicas", "value": "7" }] });
    let said = read_json(&application, &Json::Null).problem.unwrap();
    assert!(said.contains("was not compared with what it names"), "{said}");
    for destination in [json!({ "server": "https://edge.example.com" }), json!({ "name": "edge" })] {
        application["spec"]["destination"] = destination;
        assert!(read_json(&application, &Json::Null).is_far);
    }
}

#[test]
fn a_release_is_known_by_the_chart_it_has_tried() {
    let mut release = json!({
        "kind": "HelmRelease", "metadata": { "name": "shop", "namespace": "shop", "generation": 2 },
        "spec": {}, "status": {
            "observedGeneration": 2, "lastAttemptedRevision": "1.2.0+8e3fd4c0ed53", "helmChart": "flux-system/shop-shop",
            "conditions": [{ "type": "Ready", "status": "True", "message": "Helm upgrade succeeded" }],
        },
    });
    let chart = json!({ "status": {
        "artifact": { "revision": "1.2.0+8e3fd4c0ed53" },
        "observedSourceArtifactRevision": format!("main@sha1:{SECOND}"),
    } });
    assert_eq!(delivery::chart_commit(&release, &chart).unwrap().as_str(), SECOND);
    release["status"]["lastAttemptedRevision"] = "1.2.0+91167fefec59".into();
    assert_eq!(delivery::chart_commit(&release, &chart), None);
    assert_eq!(read_json(&release, &Json::Null).problem, None);
    release["metadata"]["generation"] = 3.into();
    assert!(read_json(&release, &Json::Null).problem.unwrap().contains("was not looked at"));
}

#[test]
fn a_commit_has_landed_when_what_brings_the_object_contains_it_and_the_object_shows_it() {
    assert_eq!(landed(vec![read("application-synced")]), Landed::Yes);
    waits(&landed(vec![read("kustomization-applied")]), "Kustomization flux-system/ok is at 91167fe");
    waits(&landed(vec![read("kustomization-suspended")]), "Kustomization flux-system/ok is suspended");
    waits(&landed(vec![read("kustomization-bad-path")]), "path not found");
    waits(&landed(vec![]), "nothing says which Argo CD or Flux object brings it");
    let chain = vec![read("application-synced")];
    let waits_for = Some("shop/Deployment/backend: 3 of 7 pods are updated".to_owned());
    let seen = Seen { chain, waits: waits_for, is_elsewhere: false };
    waits(&seen.landed(&history), "3 of 7 pods are updated");
}

#[test]
fn an_unknown_commit_is_no_answer_and_what_is_around_it_may_give_one() {
    let chart = |problem: Option<&str>, applied: &[ObjectId]| Delivery {
        label: "HelmRelease shop/shop".to_owned(),
        applied: applied.to_vec(),
        problem: problem.map(str::to_owned),
        is_far: false,
        is_healthy: true,
        looks: None,
    };
    let around = || read("application-synced");
    waits(&landed(vec![chart(None, &[oid('e')])]), "names no commit of this repository");
    assert_eq!(landed(vec![chart(None, &[]), around()]), Landed::Yes);
    assert_eq!(landed(vec![chart(None, &[oid('e')]), around()]), Landed::Yes);
    waits(&landed(vec![chart(Some("is suspended"), &[]), around()]), "HelmRelease shop/shop is suspended");
    // The chart stays at an old commit on purpose; the objects show whether the values arrived.
    let old = || chart(None, &[ObjectId::new(FIRST).unwrap()]);
    assert_eq!(landed(vec![old(), around()]), Landed::Yes);
    let seen = Seen { chain: vec![old(), around()], waits: Some("it waits".to_owned()), is_elsewhere: false };
    waits(&seen.landed(&history), "is at 91167fe still; it waits");
}

#[test]
fn objects_of_another_cluster_are_judged_by_the_health_that_is_reported() {
    let mut far = Delivery { is_far: true, ..read("application-synced") };
    let waits_for = || Some("shop/Deployment/backend is not in the cluster".to_owned());
    let seen = |far: &Delivery, is_elsewhere| {
        Seen { chain: vec![far.clone()], waits: waits_for(), is_elsewhere }.landed(&history)
    };
    waits(&seen(&far, true), "is not healthy in its other cluster");
    far.is_healthy = true;
    assert_eq!(seen(&far, true), Landed::Yes);
    far.is_far = false;
    waits(&seen(&far, true), "is not in the cluster");
}

#[test]
fn an_object_says_who_brings_it_and_a_copied_annotation_does_not() {
    let names = |object: &Json| bringers(object).iter().map(ToString::to_string).collect::<Vec<_>>();
    let deployment = document("deployment-of-both");
    assert_eq!(names(&deployment), ["Kustomization flux-system/ok", "Application multi"]);
    let mut copied = deployment.clone();
    copied["metadata"]["name"] = "frontend".into();
    assert_eq!(names(&copied), ["Kustomization flux-system/ok"]);
    let of = |labels: Json, annotations: Json| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "a", "namespace": "n", "labels": labels, "annotations": annotations },
        })
    };
    let tracked = json!({ "argocd.argoproj.io/tracking-id": "team_shop:apps/Deployment:n/a" });
    assert_eq!(names(&of(json!({}), tracked)), ["Application team/shop"]);
    let helm = json!({ "helm.toolkit.fluxcd.io/name": "r", "helm.toolkit.fluxcd.io/namespace": "n" });
    assert_eq!(names(&of(helm, Json::Null)), ["HelmRelease n/r"]);
    let guess = bringers(&of(json!({ "app.kubernetes.io/instance": "shop" }), Json::Null));
    assert!(guess.len() == 1 && guess[0].is_guess);
    assert_eq!(names(&of(Json::Null, Json::Null)), Vec::<String>::new());
}

#[test]
fn a_rollout_is_finished_when_every_pod_is_new_and_works() {
    let deployment = |status: Json| json!({ "kind": "Deployment", "metadata": { "generation": 4 }, "spec": { "replicas": 7 }, "status": status });
    let status = |seen: i64, all: i64, updated: i64, available: i64| {
        json!({
            "observedGeneration": seen, "replicas": all, "updatedReplicas": updated, "availableReplicas": available,
        })
    };
    let stateful = |status: Json, partition: i64| {
        let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": partition } });
        json!({
            "kind": "StatefulSet", "metadata": { "generation": 4 },
            "spec": { "replicas": 3, "updateStrategy": strategy }, "status": status,
        })
    };
    let sets = |updated: i64, ready: i64| {
        json!({
            "observedGeneration": 4, "replicas": 3, "readyReplicas": ready, "updatedReplicas": updated,
            "currentRevision": "a-1", "updateRevision": "a-2",
        })
    };
    let mut paused = deployment(status(4, 7, 7, 7));
    paused["spec"]["paused"] = true.into();
    let mut late = deployment(status(4, 7, 2, 2));
    late["status"]["conditions"] =
        json!([{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }]);
    let daemons = json!({
        "kind": "DaemonSet", "metadata": { "generation": 1 }, "spec": {},
        "status": { "observedGeneration": 1, "desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "numberAvailable": 4 },
    });
    let argo = |seen: &str, phase: &str| {
        json!({
            "kind": "Rollout", "metadata": { "generation": 9 },
            "status": { "observedGeneration": seen, "phase": phase },
        })
    };
    for (object, missing) in [
        (document("deployment-of-both"), ""),
        (deployment(status(4, 7, 7, 7)), ""),
        (deployment(status(3, 7, 7, 7)), "has not seen the newest change"),
        (deployment(status(4, 3, 3, 3)), "3 of 7 pods are updated"),
        (deployment(status(4, 9, 7, 7)), "2 old pods are not gone yet"),
        (deployment(status(4, 7, 7, 5)), "5 of 7 pods are available"),
        (paused, "paused"),
        (late, "its progress deadline is exceeded"),
        (stateful(sets(3, 3), 0), ""),
        (stateful(sets(1, 3), 0), "1 of 3 pods are updated"),
        (stateful(sets(1, 3), 2), ""),
        (stateful(sets(3, 2), 0), "2 of 3 pods are ready"),
        (daemons, "4 of 5 pods are available"),
        (argo("9", "Healthy"), ""),
        (argo("8", "Healthy"), "has not seen the newest change"),
        (argo("9", "Degraded"), "its phase is Degraded"),
        (json!({ "kind": "ConfigMap" }), ""),
    ] {
        let said = rollout::unfinished(&object).unwrap_or_default();
        assert!(said.contains(missing) && said.is_empty() == missing.is_empty(), "{missing}: {said}");
    }
}

#[test]
fn the_live_object_has_to_carry_what_the_commit_came_to() {
    let live = json!({
        "spec": { "replicas": 3, "template": {
            "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "2026-11-23T10:00:00Z" } },
            "spec": { "containers": [{ "name": "backend", "image": "a:1", "resources": { "limits": { "cpu": "1" } } }] },
        } },
    });
    let image = "spec.template.spec.containers[name=backend].image";
    let restarted = "spec.template.metadata.annotations.\"kubectl.kubernetes.io/restartedAt\"";
    for (field, to, missing) in [
        ("spec.replicas", Some("3"), ""),
        ("spec.replicas", Some("7"), "spec.replicas is 3, not 7"),
        ("spec.minReplicas", Some("7"), "spec.minReplicas is absent, not 7"),
        (image, Some("a:1"), ""),
        (image, Some("a:2"), "image is a:1, not a:2"),
        (restarted, Some("2026-11-23T10:00:00Z"), ""),
        (restarted, Some("2026-11-24T10:00:00Z"), "not 2026-11-24"),
        // The API server puts a default where nothing is written, and writes quantities its own way.
        ("spec.replicas", None, ""),
        ("spec.template.spec.containers[name=backend].resources.limits.cpu", Some("1000m"), ""),
        ("spec.replicas", Some("ENC[AES256_GCM,data:Nw==,type:int]"), ""),
    ] {
        let change = RenderedChange {
            object: target("shop/Deployment/backend"),
            field: field.to_owned(),
            from: None,
            to: to.map(str::to_owned),
            carrier: false,
        };
        let said = rollout::differs(&live, &change).unwrap_or_default();
        assert!(said.contains(missing) && said.is_empty() == missing.is_empty(), "{field} {to:?}: {said}");
    }
    let scaler = json!({ "spec": { "minReplicas": 5 } });
    assert!(rollout::not_followed(&scaler, &live).unwrap().contains("at least 5 replicas, and there are 3"));
    assert_eq!(rollout::not_followed(&json!({ "spec": { "minReplicas": 3 } }), &live), None);
    assert_eq!(rollout::not_followed(&live, &live), None, "it is no autoscaler");
}

#[test]
fn what_is_not_rendered_is_known_by_its_plan() {
    let mut record = proposed("backend-latency", &target("shop/Deployment/backend"), 1, at(0));
    assert_eq!(changes_of(&record).len(), 1);
    record.spec.change.as_mut().unwrap().rendered.clear();
    let change = &changes_of(&record)[0];
    assert_eq!((change.field.as_str(), change.to.as_deref()), ("spec.replicas", Some("5")));
}

#[test]
fn the_repository_says_who_brings_an_object_where_it_declares_that() {
    let kustomization = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n\
                         metadata: {name: apps, namespace: flux-system}\n\
                         spec: {path: ./apps, sourceRef: {kind: GitRepository, name: here}}\n";
    let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: team}\n\
                       spec:\n  source: {repoURL: 'https://git.example.com/a/b', path: team}\n  \
                       destination: {namespace: shop}\n";
    let deployment = |name: &str| {
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\n")
    };
    let files = [
        ("clusters/flux.yaml", kustomization.to_owned()),
        ("clusters/argocd.yaml", application.to_owned()),
        ("apps/backend.yaml", deployment("backend")),
        ("team/frontend.yaml", deployment("frontend")),
        ("plain/worker.yaml", deployment("worker")),
    ];
    let file = |text: String| TreeFile::held(EntryMode::File, text.into_bytes());
    let files = files.map(|(path, text)| (RepoPath::new(path).unwrap(), file(text)));
    let index = index(&RepoTree::held(oid('a'), files.into()));
    let by =
        |name: &str| declared(&target(&format!("shop/Deployment/{name}")), &index).map(|it| it.to_string());
    assert_eq!(by("backend").as_deref(), Some("Kustomization flux-system/apps"));
    assert_eq!(by("frontend").as_deref(), Some("Application team"), "in the namespace of its Argo CD");
    assert_eq!(by("worker"), None);
}
