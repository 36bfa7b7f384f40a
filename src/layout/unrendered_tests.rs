//! Counts that people named for targets of charts from elsewhere: taken as they stand, or refused with the reason.

use super::delivery::About;
use super::*;
use crate::model::fixtures::{oid, target};
use crate::model::policy::{AllowedResource, WriteField, WriteTo};
use crate::model::tree::{EntryMode, TreeFile};

fn repository(files: &[(&str, &str)]) -> Index {
    let entry = |(path, text): &(&str, &str)| {
        let file = TreeFile::held(EntryMode::File, text.as_bytes());
        (RepoPath::new(*path).unwrap(), file)
    };
    let tree = RepoTree::held(oid('a'), files.iter().map(entry).collect());
    let about = About { urls: vec!["https://git.example.com/r".into()], branch: Some("main".into()) };
    index_in(&tree, &Surroundings { about, ..Surroundings::default() })
}

fn application(name: &str, namespace: &str, helm: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: argocd}}\nspec:\n  \
         destination: {{namespace: {namespace}}}\n  sources:\n    - repoURL: https://charts.example.com\n      chart: redis\n      \
         targetRevision: 1.2.3\n      helm:\n{helm}    - repoURL: https://git.example.com/r\n      ref: here\n"
    )
}

const INLINE: &str = "        valuesObject: {replica: {count: 3}, text: \"4\", odd: 03}\n";
const REDIS: &str = "shop/StatefulSet/redis";

fn named(resource: Option<(&str, &str)>, file: &str, path: &str) -> WriteTo {
    WriteTo {
        field: WriteField::Replicas,
        resource: resource.map(|(kind, name)| {
            let whole = target(&format!("shop/{kind}/{name}"));
            AllowedResource { kind: whole.kind, name: whole.name }
        }),
        file: RepoPath::new(file).unwrap(),
        document: 0,
        path: path.to_owned(),
    }
}

const OWN: Option<(&str, &str)> = Some(("StatefulSet", "redis"));
const COUNT: &str = "spec.sources[0].helm.valuesObject.replica.count";

#[test]
fn the_named_value_is_the_count_and_the_note_says_what_was_not_rendered() {
    let index = repository(&[("app.yaml", &application("redis", "shop", INLINE))]);
    let workload = index.workload_of(&target(REDIS), &[named(OWN, "app.yaml", COUNT)]).unwrap();
    assert_eq!((workload.replicas, workload.owner), (Some(3), ReplicaOwner::Workload));
    let note = workload.unrendered.unwrap();
    for words in ["Application redis in app.yaml", "https://charts.example.com", "place named by writeTo"] {
        assert!(note.contains(words), "{words}: {note}");
    }
    assert_eq!(
        index.versions_behind(&target(REDIS)),
        [("Application redis in app.yaml".into(), "1.2.3".into())]
    );
    let text = named(OWN, "app.yaml", "spec.sources[0].helm.valuesObject.text");
    assert_eq!(index.workload_of(&target(REDIS), &[text]).unwrap().replicas, Some(4));
}

#[test]
fn values_in_files_of_this_repository_and_in_texts_can_be_named() {
    let files = "        valueFiles: [$here/live.yaml]\n";
    let text = "        values: |\n          replica:\n            count: 5\n";
    let index = repository(&[
        ("app.yaml", &application("redis", "shop", files)),
        ("live.yaml", "replica: {count: 2}\n"),
        ("text.yaml", &application("other", "shop", text)),
    ]);
    let count = |entry| index.workload_of(&target(REDIS), &[entry]).map(|it| it.replicas);
    assert_eq!(count(named(OWN, "live.yaml", "replica.count")).unwrap(), Some(2));
    let inside = "spec.sources[0].helm.values|replica.count";
    assert_eq!(count(named(OWN, "text.yaml", inside)).unwrap(), Some(5));
}

#[test]
fn a_comment_names_the_place_when_it_names_the_object_too() {
    let with = |mark: &str| format!("replica:\n  count: 2  # {{\"$tars\": \"{mark}\"}}\n");
    let files = "        valueFiles: [$here/live.yaml]\n";
    let count = |mark: &str| {
        let index =
            repository(&[("app.yaml", &application("redis", "shop", files)), ("live.yaml", &with(mark))]);
        index.workload_of(&target(REDIS), &[])
    };
    let found = count("replicas StatefulSet/redis").unwrap();
    assert_eq!(found.replicas, Some(2));
    assert!(found.unrendered.unwrap().contains("place named by a $tars comment"));
    for other in ["replicas", "replicas StatefulSet/other"] {
        assert!(count(other).is_err(), "{other}");
    }
}

#[test]
fn without_a_named_place_the_line_to_write_is_shown() {
    let index = repository(&[("app.yaml", &application("redis", "shop", INLINE))]);
    let why = index.workload_of(&target(REDIS), &[]).unwrap_err();
    let line = "`writeTo: [{field: replicas, resource: {kind: StatefulSet, name: redis}, file: app.yaml, path: \
                spec.sources[0].helm.valuesObject.some.key}]`";
    assert!(why.text.contains(line), "{why}");
}

#[test]
fn a_place_that_does_not_decide_the_target_alone_is_refused_with_the_reason() {
    let shared = "        valueFiles: [$here/live.yaml]\n";
    let index = repository(&[
        ("app.yaml", &application("redis", "shop", INLINE)),
        ("far.yaml", &application("redis-far", "far", INLINE)),
        ("a.yaml", &application("a", "shop", shared)),
        ("b.yaml", &application("b", "shop", shared)),
        ("live.yaml", "count: 2\n"),
        ("other.yaml", "count: 2\n"),
    ]);
    for (entry, words) in [
        (named(None, "app.yaml", COUNT), "add `resource: {kind: StatefulSet, name: redis}`"),
        (named(OWN, "far.yaml", COUNT), "brings nothing to shop"),
        (named(OWN, "live.yaml", "count"), "both would change"),
        (named(OWN, "other.yaml", "count"), "is no value of what may bring shop/StatefulSet/redis"),
        (named(OWN, "app.yaml", "spec.sources[0].targetRevision"), "is no value of"),
        (named(OWN, "app.yaml", &COUNT.replace("count", "none")), "write today's count there first"),
        (named(OWN, "app.yaml", &COUNT.replace(".count", "")), "not a plain whole number"),
        (named(OWN, "app.yaml", "spec.sources[0].helm.valuesObject.odd"), "not a plain whole number"),
        (named(OWN, "app.yaml", "a..b"), "not a field path"),
    ] {
        let why = index.workload_of(&target(REDIS), std::slice::from_ref(&entry)).unwrap_err();
        assert!(why.text.contains(words), "{entry:?}: {why}");
    }
}

#[test]
fn an_autoscaler_of_this_repository_owns_the_count_of_a_chart_from_elsewhere() {
    let scaler = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: redis, namespace: shop}\n\
                  spec:\n  scaleTargetRef: {kind: StatefulSet, name: redis}\n  minReplicas: 2\n  maxReplicas: 6\n";
    let index = repository(&[("app.yaml", &application("redis", "shop", INLINE)), ("hpa.yaml", scaler)]);
    let workload = index.workload_of(&target(REDIS), &[]).unwrap();
    assert!(matches!(workload.owner, ReplicaOwner::Autoscaler { min: 2, max: 6, .. }), "{workload:?}");
}

#[test]
fn a_target_that_is_rendered_is_never_taken_from_a_named_value() {
    let own = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: redis, namespace: shop}\nspec: {replicas: 7}\n";
    let index = repository(&[("app.yaml", &application("redis", "shop", INLINE)), ("own.yaml", own)]);
    let workload = index.workload_of(&target(REDIS), &[named(OWN, "app.yaml", COUNT)]).unwrap();
    assert_eq!((workload.replicas, workload.unrendered), (Some(7), None));
    assert_eq!(index.named_count(&target(REDIS), &[named(OWN, "app.yaml", COUNT)]), Ok(None));
}
