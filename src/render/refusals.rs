//! What is refused, with which code and which words: one row per trap.

use super::golden::{render, tree};
use super::*;
use crate::layout::index;
use crate::model::change::FieldChange;
use crate::model::fixtures::{at, oid, target};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::playbook::{ImageChange, Plan};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::tree::{EntryMode, RepoTree, TreeFile};

const BACKEND: &str = "shop/Deployment/backend";

fn deployment(spec: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: backend, namespace: shop}}\nspec:\n{spec}\
         \x20 template: {{spec: {{containers: [{{name: app, image: 'x:1'}}]}}}}\n"
    )
}

fn scale(from: u32, to: u32) -> Plan {
    Plan::Scale { from, to, autoscaler: None }
}

fn files(list: &[(&str, &str)]) -> RepoTree {
    tree(list.iter().map(|(path, text)| (*path, text.as_bytes())))
}

#[track_caller]
fn refused(before: &RepoTree, plan: &Plan, code: ReasonCode, words: &str) {
    let reasons = match render(before, BACKEND, plan, None) {
        Ok(changes) => panic!("must be refused, but gives\n{}", changes.diff()),
        Err(reasons) => reasons,
    };
    let found = reasons.iter().any(|r| r.code == code && r.text.contains(words));
    assert!(found, "expected {code:?} with {words:?}, got {reasons:?}");
}

#[test]
fn a_count_that_readers_disagree_about_is_refused() {
    for value in [
        "010",
        "0o10",
        "0x1F",
        "1_000",
        "1e1",
        "+1",
        "yes",
        "1:30",
        "!!int \"3\"",
        "\"3\"",
        "3.0",
        "-1",
        "${REPLICAS}",
        "2147483648",
        "*r",
        "~x",
        "[3]",
    ] {
        let text = deployment(&format!("  replicas: {value}\n"));
        for from in [1, 3, 8, 10] {
            let before = files(&[("a.yaml", &text)]);
            assert!(render(&before, BACKEND, &scale(from, 5), None).is_err(), "{value} from {from}");
        }
    }
    refused(
        &files(&[("a.yaml", &deployment("  replicas: 010\n"))]),
        &scale(8, 10),
        ReasonCode::EditRefused,
        "not a plain whole number",
    );
}

#[test]
fn shared_anchors_and_merge_keys_are_refused() {
    let anchored = deployment("  replicas: &r 3\n  minReadySeconds: *r\n");
    refused(&files(&[("a.yaml", &anchored)]), &scale(3, 5), ReasonCode::EditRefused, "anchor");
    let merged = "base: &b {replicas: 3}\napiVersion: apps/v1\nkind: Deployment\n\
                  metadata: {name: backend, namespace: shop}\nspec:\n  <<: *b\n  paused: false\n";
    refused(&files(&[("a.yaml", merged)]), &scale(1, 5), ReasonCode::EditRefused, "merge key");
}

#[test]
fn a_sops_file_is_refused() {
    let sops = format!("{}sops: {{mac: x, version: 3.9.0}}\n", deployment("  replicas: 3\n"));
    refused(&files(&[("a.yaml", &sops)]), &scale(3, 5), ReasonCode::EditRefused, "SOPS");
}

#[test]
fn what_helm_makes_is_refused_with_its_release_named() {
    let template = "kind: Deployment\nmetadata: {name: backend}\nspec:\n  replicas: {{ .Values.replicas }}\n";
    let release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n\
                   metadata: {name: backend, namespace: shop}\nspec: {}\n";
    let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\n\
                       metadata: {name: shop-backend, namespace: argocd}\n\
                       spec: {destination: {namespace: shop}, source: {path: charts/backend}}\n";
    let chart = ("charts/backend/Chart.yaml", "name: backend\n");
    let made = ("charts/backend/templates/deployment.yaml", template);
    refused(
        &files(&[chart, made, ("flux/r.yaml", release)]),
        &scale(3, 5),
        ReasonCode::EditRefused,
        "HelmRelease backend in flux/r.yaml",
    );
    refused(
        &files(&[chart, made, ("argo/a.yaml", application)]),
        &scale(3, 5),
        ReasonCode::EditRefused,
        "Application shop-backend in argo/a.yaml",
    );
    refused(&files(&[chart, made]), &scale(3, 5), ReasonCode::EditRefused, "is a Helm template");
    let loose = deployment("  replicas: {{ .Values.replicas }}\n");
    refused(
        &files(&[("backend.yaml", &loose)]),
        &scale(3, 5),
        ReasonCode::EditRefused,
        "not a plain whole number",
    );
    let broken = format!("{{{{- if .x }}}}\n{loose}");
    refused(&files(&[("backend.yaml", &broken)]), &scale(3, 5), ReasonCode::EditRefused, "not YAML");
}

#[test]
fn two_objects_of_one_name_are_ambiguous() {
    let text = deployment("  replicas: 3\n");
    let twice = files(&[("a.yaml", &text), ("b.yaml", &text)]);
    refused(&twice, &scale(3, 5), ReasonCode::AmbiguousTarget, "a.yaml, b.yaml");
    let documents = format!("{text}---\n{text}");
    refused(&files(&[("a.yaml", &documents)]), &scale(3, 5), ReasonCode::AmbiguousTarget, "more than once");
}

#[test]
fn an_unknown_kustomize_feature_is_named() {
    for feature in [
        "components: [../c]",
        "transformers: [t.yaml]",
        "replacements: [{source: {kind: X}}]",
        "helmCharts: [{name: x}]",
        "configurations: [c.yaml]",
        "generators: [g.yaml]",
        "somethingNew: {a: 1}",
    ] {
        let kustomization = format!("resources: [a.yaml]\n{feature}\n");
        let before =
            files(&[("p/a.yaml", &deployment("  replicas: 3\n")), ("p/kustomization.yaml", &kustomization)]);
        let name = feature.split(':').next().unwrap();
        refused(&before, &scale(3, 5), ReasonCode::EditRefused, name);
    }
}

#[test]
fn a_patch_that_cannot_be_edited_in_place_is_refused_and_not_worked_around() {
    let base = ("p/a.yaml", &*deployment("  replicas: 1\n"));
    for (patch, words) in [
        (
            "patch: |-\n    kind: Deployment\n    metadata: {name: backend}\n    spec: {replicas: 3}",
            "matches no object",
        ),
        (
            "target: {kind: Deployment}\n  patch: '[{op: replace, path: /spec/replicas, value: 3}]'",
            "block scalar",
        ),
        (
            "target: {kind: Deployment}\n  patch: |-\n    - {op: add, path: /spec/x, value: 3}\n    \
             - {op: copy, from: /spec/x, path: /spec/replicas}",
            "does not spell",
        ),
        (
            "target: {kind: Deployment}\n  options: {allowNameChange: true}\n  patch: '{spec: {replicas: 3}}'",
            "allowNameChange",
        ),
        ("target: {labelSelector: a b}\n  patch: '{kind: X, spec: {replicas: 3}}'", "labelSelector"),
        ("path: missing.yaml", "missing.yaml"),
    ] {
        let kustomization = format!("resources: [a.yaml]\npatches:\n- {patch}\n");
        let before = files(&[base, ("p/kustomization.yaml", &kustomization)]);
        refused(&before, &scale(3, 5), ReasonCode::EditRefused, words);
    }
}

#[test]
fn a_field_that_only_a_shared_base_could_carry_is_ambiguous() {
    let before = files(&[
        ("base/a.yaml", &deployment("  replicas: 3\n")),
        ("base/kustomization.yaml", "resources: [a.yaml]\n"),
        ("production/kustomization.yaml", "namespace: shop\nresources: [../base]\n"),
        ("staging/kustomization.yaml", "namespace: staging\nresources: [../base]\n"),
    ]);
    let restart = Plan::Restart { restarted_at: at(0), previous: None };
    refused(&before, &restart, ReasonCode::AmbiguousTarget, "staging/Deployment/backend");
    let images = vec![ImageChange { container: "app".into(), from: "x:1".into(), to: "x:0".into() }];
    refused(&before, &Plan::Images { good: oid('a'), images }, ReasonCode::AmbiguousTarget, "base/a.yaml");
}

#[test]
fn a_base_that_an_unreadable_overlay_may_share_is_refused() {
    let before = files(&[
        ("base/a.yaml", &deployment("  replicas: 3\n")),
        ("base/kustomization.yaml", "resources: [a.yaml]\n"),
        ("production/kustomization.yaml", "resources: [../base]\n"),
        ("staging/kustomization.yaml", "resources: [../base\n"),
    ]);
    refused(&before, &scale(3, 5), ReasonCode::EditRefused, "staging/kustomization.yaml cannot be read");
}

#[test]
fn protected_paths_and_paths_outside_the_policy_are_refused() {
    let text = deployment("  replicas: 3\n");
    for path in [".github/a.yaml", "policies/a.yaml", "tars/a.yaml", "tars.yaml"] {
        refused(&files(&[(path, &text)]), &scale(3, 5), ReasonCode::PathNotAllowed, "protected");
    }
    let before = files(&[("apps/a.yaml", &text)]);
    let allowed = [RepoPath::new("other").unwrap()];
    let request = RenderRequest {
        tree: &before,
        index: &index(&before),
        target: &WorkloadRef::parse(BACKEND).unwrap(),
        plan: &scale(3, 5),
        old_tree: None,
        allowed_paths: &allowed,
        write_to: &[],
        fresh: Fresh { now: at(0), random: || None },
    };
    assert_eq!(edits(&request).unwrap_err()[0].code, ReasonCode::PathNotAllowed);
}

#[test]
fn symlinks_and_submodules_are_never_followed() {
    for mode in [EntryMode::Symlink, EntryMode::Submodule] {
        let link = || TreeFile::held(mode, &b""[..]);
        let mut plain = files(&[]);
        plain.files.insert(RepoPath::new("apps/backend.yaml").unwrap(), link());
        refused(&plain, &scale(3, 5), ReasonCode::EditRefused, "never followed");
        let mut named = files(&[
            ("p/kustomization.yaml", "resources: [a.yaml, b.yaml]\n"),
            ("p/a.yaml", &deployment("  replicas: 3\n")),
        ]);
        named.files.insert(RepoPath::new("p/b.yaml").unwrap(), link());
        refused(&named, &scale(3, 5), ReasonCode::EditRefused, "never followed");
    }
}

const HPA: &str = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n\
                   metadata: {name: backend, namespace: shop}\n\
                   spec: {scaleTargetRef: {kind: Deployment, name: backend}, \
                   minReplicas: 3, maxReplicas: 4}\n";

#[test]
fn the_count_of_an_autoscaled_workload_is_never_written() {
    let owned = files(&[("a.yaml", &deployment("  replicas: 3\n")), ("h.yaml", HPA)]);
    refused(&owned, &scale(3, 5), ReasonCode::HPAOwnsReplicas, "shop/HorizontalPodAutoscaler/backend");
    let hpa = || Some(target("shop/HorizontalPodAutoscaler/backend"));
    refused(
        &owned,
        &Plan::Scale { from: 3, to: 5, autoscaler: hpa() },
        ReasonCode::HPAOwnsReplicas,
        "maxReplicas 4",
    );
    let other = Some(target("shop/HorizontalPodAutoscaler/other"));
    refused(&owned, &Plan::Scale { from: 3, to: 4, autoscaler: other }, ReasonCode::HPAOwnsReplicas, "owns");
    let unowned = files(&[("a.yaml", &deployment("  replicas: 3\n"))]);
    refused(
        &unowned,
        &Plan::Scale { from: 3, to: 4, autoscaler: hpa() },
        ReasonCode::EditRefused,
        "does not own",
    );
}

#[test]
fn keda_and_an_autoscaler_in_an_unreadable_file_own_the_count() {
    let text = deployment("  replicas: 3\n");
    let keda = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: s, namespace: shop}\n\
                spec: {scaleTargetRef: {name: backend}}\n";
    let with = |file: &str| files(&[("a.yaml", &text), ("o.yaml", file)]);
    refused(&with(keda), &scale(3, 5), ReasonCode::HPAOwnsReplicas, "shop/ScaledObject/s owns the replicas");
    let paused = keda.replace("name: s,", "name: s, annotations: {autoscaling.keda.sh/paused: 'true'},");
    refused(
        &with(&paused),
        &scale(3, 5),
        ReasonCode::FieldOwnedElsewhere,
        "ScaledObject s in o.yaml is paused",
    );
    let both = format!("{keda}---\n{HPA}");
    refused(&with(&both), &scale(3, 5), ReasonCode::FieldOwnedElsewhere, "several autoscalers");
    let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: r, namespace: shop}\n\
                   spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: backend}}\n";
    refused(
        &with(rollout),
        &scale(3, 5),
        ReasonCode::FieldOwnedElsewhere,
        "name shop/Rollout/r as the target",
    );
    let broken = format!("{HPA}{{{{- end }}}}\n");
    refused(&with(&broken), &scale(3, 5), ReasonCode::FieldOwnedElsewhere, "o.yaml cannot be read");
    let second =
        format!("{HPA}---\n{}", HPA.replace("{name: backend, namespace", "{name: second, namespace"));
    refused(&with(&second), &scale(3, 5), ReasonCode::FieldOwnedElsewhere, "several autoscalers");
}

#[test]
fn an_autoscaler_inside_a_list_or_behind_a_name_prefix_is_seen() {
    let text = deployment("  replicas: 3\n");
    let item = HPA.lines().map(|l| format!("  {l}\n")).collect::<String>().replacen("  a", "- a", 1);
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{item}");
    let before = files(&[("a.yaml", &text), ("l.yaml", &list)]);
    refused(&before, &scale(3, 5), ReasonCode::HPAOwnsReplicas, "owns");
    let prefixed = files(&[
        ("p/a.yaml", &text),
        ("p/h.yaml", HPA),
        ("p/kustomization.yaml", "resources: [a.yaml, h.yaml]\nnamePrefix: p-\n"),
    ]);
    let reasons = render(&prefixed, "shop/Deployment/p-backend", &scale(3, 5), None).unwrap_err();
    assert_eq!(reasons[0].code, ReasonCode::HPAOwnsReplicas);
    let loose = HPA.replace(", namespace: shop", "");
    let beside = files(&[("x/a.yaml", &text), ("x/h.yaml", &loose)]);
    refused(&beside, &scale(3, 5), ReasonCode::HPAOwnsReplicas, "owns");
}

#[test]
fn a_plan_that_changes_nothing_or_starts_from_another_state_is_refused() {
    let before = files(&[("a.yaml", &deployment("  replicas: 3\n"))]);
    refused(&before, &scale(3, 3), ReasonCode::EditRefused, "changes nothing");
    refused(&before, &scale(4, 5), ReasonCode::EditRefused, "the repository has 3");
    refused(&before, &scale(3, 0), ReasonCode::OutOfBounds, "0 replicas");
    refused(&before, &scale(3, 2_147_483_648), ReasonCode::OutOfBounds, "2147483648");
    refused(&before, &Plan::Undo { changes: Vec::new() }, ReasonCode::EditRefused, "changes nothing");
    let images = |from: &str, to: &str| Plan::Images {
        good: oid('a'),
        images: vec![ImageChange { container: "app".into(), from: from.into(), to: to.into() }],
    };
    refused(&before, &images("x:1", "x:1"), ReasonCode::EditRefused, "changes nothing");
    refused(&before, &images("x:2", "x:0"), ReasonCode::EditRefused, "the repository has x:1");
    let later = Plan::Restart { restarted_at: at(9), previous: Some("2026-01-01T00:00:00Z".into()) };
    refused(&before, &later, ReasonCode::EditRefused, "the repository has absent");
}

#[test]
fn an_image_that_did_not_run_at_the_good_commit_is_refused() {
    let before = files(&[("a.yaml", &deployment("  replicas: 3\n"))]);
    let images = vec![ImageChange { container: "app".into(), from: "x:1".into(), to: "evil:1".into() }];
    let plan = Plan::Images { good: oid('a'), images };
    let reasons = render(&before, BACKEND, &plan, Some(&before)).unwrap_err();
    assert!(reasons[0].text.contains("did not run evil:1"), "{reasons:?}");
}

#[test]
fn an_undo_is_refused_once_somebody_changed_the_field() {
    let undo = Plan::Undo {
        changes: vec![FieldChange {
            resource: target(BACKEND),
            file: RepoPath::new("a.yaml").unwrap(),
            field: "spec.replicas".into(),
            from: Some("5".into()),
            to: Some("3".into()),
        }],
    };
    let now = |n: u32| files(&[("a.yaml", &deployment(&format!("  replicas: {n}\n")))]);
    refused(&now(7), &undo, ReasonCode::EditRefused, "holds 7 and not 5: somebody changed it since");
    assert!(render(&now(5), BACKEND, &undo, None).is_ok());
    let moved = files(&[("b.yaml", &deployment("  replicas: 5\n"))]);
    refused(&moved, &undo, ReasonCode::EditRefused, "no longer has a hand");
    let owned = files(&[("a.yaml", &deployment("  replicas: 5\n")), ("h.yaml", HPA)]);
    refused(&owned, &undo, ReasonCode::HPAOwnsReplicas, "owns");
}

#[test]
fn an_edit_that_would_change_a_second_object_fails_its_proof() {
    // One `images:` entry serves two workloads: the entry is the only place, and it is shared.
    let second = deployment("  replicas: 1\n").replace("name: backend", "name: worker");
    let before = files(&[
        ("p/a.yaml", &deployment("  replicas: 3\n")),
        ("p/b.yaml", &second),
        ("p/kustomization.yaml", "resources: [a.yaml, b.yaml]\nimages: [{name: x, newTag: '2'}]\n"),
    ]);
    let images = vec![ImageChange { container: "app".into(), from: "x:2".into(), to: "x:1".into() }];
    refused(&before, &Plan::Images { good: oid('a'), images }, ReasonCode::AmbiguousTarget, "worker");
}

#[test]
fn a_target_that_is_not_declared_is_not_found() {
    let before =
        files(&[("a.yaml", &deployment("  replicas: 3\n").replace("namespace: shop", "namespace: dev"))]);
    refused(&before, &scale(3, 5), ReasonCode::TargetNotFound, "found dev/Deployment/backend");
    let _: Vec<Reason> = render(&files(&[]), BACKEND, &scale(3, 5), None).unwrap_err();
}

#[test]
fn a_value_never_becomes_structure() {
    for hostile in ["x:1\n  replicas: 999", "a: b # c", "*x", "!!binary", "{{x}}", "${x}", "- y", "\"", "'"] {
        let before = files(&[("a.yaml", &deployment("  replicas: 3\n"))]);
        let images = vec![ImageChange { container: "app".into(), from: "x:1".into(), to: hostile.into() }];
        if let Ok(changes) = render(&before, BACKEND, &Plan::Images { good: oid('a'), images }, None) {
            assert_eq!(changes.fields_changed(), 1, "{hostile:?}");
            let text = String::from_utf8_lossy(&changes.files()[0].1).into_owned();
            let after = files(&[("a.yaml", &text)]);
            let workload = index(&after).workload(&target(BACKEND)).unwrap();
            assert_eq!((workload.containers[0].image.as_str(), workload.replicas), (hostile, Some(3)));
        }
    }
}

#[test]
fn a_refusal_says_what_each_candidate_would_change_elsewhere() {
    let before = files(&[
        ("base/a.yaml", &deployment("  replicas: 3\n")),
        ("base/kustomization.yaml", "resources: [a.yaml]\n"),
        ("production/kustomization.yaml", "namespace: shop\nresources: [../base]\n"),
        ("staging/kustomization.yaml", "namespace: staging\nresources: [../base]\n"),
    ]);
    let restart = Plan::Restart { restarted_at: at(0), previous: None };
    let words = "candidates: base/a.yaml spec.template.metadata.annotations.\"kubectl.kubernetes.io/restartedAt\" \
                 (also changes staging/Deployment/backend through staging/kustomization.yaml: \
                 spec.template.metadata.annotations.\"kubectl.kubernetes.io/restartedAt\" absent -> ";
    refused(&before, &restart, ReasonCode::AmbiguousTarget, words);
}
