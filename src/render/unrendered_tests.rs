//! Undo of a count that a person named for a chart from elsewhere: the bytes before come back, or the reason why not.

use crate::layout::{About, Surroundings, index_in};
use crate::model::change::FieldChange;
use crate::model::fixtures::{at, target};
use crate::model::ids::{RepoPath, WorkloadRef};
use crate::model::playbook::Plan;
use crate::model::policy::{AllowedResource, WriteField, WriteTo};
use crate::model::reason::Reason;
use crate::model::tree::RepoTree;
use crate::render::golden::tree;
use crate::render::{CheckedChanges, Fresh, RenderRequest, edits};

const REDIS: &str = "shop/StatefulSet/redis";
const INLINE: &str = "spec.source.helm.valuesObject.replica.count";
const INSIDE: &str = "spec.source.helm.values|replica.count";

fn application(name: &str, helm: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: argocd}}\nspec:\n  \
         destination: {{namespace: shop}}\n  source:\n    repoURL: https://charts.example.com\n    chart: redis\n    \
         targetRevision: 1.2.3\n    helm:\n{helm}"
    )
}

fn inline(name: &str, count: &str) -> String {
    application(name, &format!("      valuesObject: {{replica: {{count: {count}}}}} # by hand\n"))
}

fn repository(text: &str) -> RepoTree {
    tree([("app.yaml", text.as_bytes())])
}

fn rendered(now: &RepoTree, plan: &Plan, write_to: &[WriteTo]) -> Result<CheckedChanges, Vec<Reason>> {
    let about = About { urls: vec!["https://git.example.com/r".into()], branch: Some("main".into()) };
    edits(&RenderRequest {
        tree: now,
        index: &index_in(now, &Surroundings { about, ..Surroundings::default() }),
        target: &target(REDIS),
        plan,
        old_tree: None,
        allowed_paths: &[],
        write_to,
        fresh: Fresh { now: at(0), random: || None },
    })
}

/// What scaling at the named place recorded, as its undo, and the file that it left.
fn scaled(before: &str, path: &str, document: usize) -> (Plan, String) {
    let WorkloadRef { kind, name, .. } = target(REDIS);
    let place = WriteTo {
        field: WriteField::Replicas,
        resource: Some(AllowedResource { kind, name }),
        file: RepoPath::new("app.yaml").unwrap(),
        document,
        path: path.to_owned(),
    };
    let plan = Plan::Scale { from: 3, to: 5, autoscaler: None };
    let done = rendered(&repository(before), &plan, &[place]).unwrap();
    let back = |it: &FieldChange| FieldChange { from: it.to.clone(), to: it.from.clone(), ..it.clone() };
    (Plan::Undo { changes: done.fields().iter().map(back).collect() }, text_of(&done))
}

fn text_of(done: &CheckedChanges) -> String {
    let [(_, bytes)] = done.files() else { panic!("{:?}", done.files()) };
    String::from_utf8(bytes.clone()).unwrap()
}

/// The words with which the undo is refused once the file is `now`.
fn refused(now: &str, undo: &Plan) -> String {
    rendered(&repository(now), undo, &[]).unwrap_err().iter().map(|it| format!("{it}; ")).collect()
}

#[test]
fn an_undo_gives_back_the_bytes_before_wherever_the_place_was_and_without_a_policy() {
    let text = |count: &str| format!("      values: |\n        replica:\n          count: {count} # why\n");
    let cases = [
        (inline("redis", "3"), INLINE, 0),
        (inline("redis", "\"3\""), INLINE, 0),
        (application("redis", &text("3")), INSIDE, 0),
        (format!("{}---\n{}", inline("cache", "4"), inline("redis", "3")), INLINE, 1),
    ];
    for (before, path, document) in cases {
        let (undo, after) = scaled(&before, path, document);
        assert_ne!(after, before);
        let done =
            rendered(&repository(&after), &undo, &[]).unwrap_or_else(|why| panic!("{why:?} in\n{after}"));
        assert_eq!(text_of(&done), before);
        let note = done.unrendered().expect("it is said that nothing was rendered");
        assert!(note.contains("charts.example.com"), "{note}");
    }
}

#[test]
fn an_undo_never_takes_the_neighbour_with_the_same_path() {
    let both =
        |cache: &str, redis: &str| format!("{}---\n{}", inline("cache", cache), inline("redis", redis));
    let (undo, after) = scaled(&both("4", "3"), INLINE, 1);
    assert_eq!(after, both("4", "5"));
    // Somebody gave the neighbour the same number since: which of them is meant is not on record.
    assert!(refused(&both("5", "5"), &undo).contains("is set to the same value twice in app.yaml"));
    assert!(refused(&both("4", "6"), &undo).contains("somebody changed it since"));
}

#[test]
fn an_undo_is_refused_once_the_place_is_gone_or_rendered() {
    let (undo, after) = scaled(&inline("redis", "3"), INLINE, 0);
    assert!(refused(&after.replace("count: 5", "other: 5"), &undo).contains("is not there"));
    assert!(
        refused(&after.replace("namespace: shop}", "namespace: far}"), &undo)
            .contains("shop/StatefulSet/redis")
    );
    let own = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: redis, namespace: shop}\nspec: {replicas: 7}\n";
    assert!(refused(&format!("{after}---\n{own}"), &undo).contains("app.yaml holds nothing and not 5"));
    let mut odd = undo.clone();
    if let Plan::Undo { changes } = &mut odd {
        changes[0].to = None;
    }
    assert!(refused(&after, &odd).contains("a count never goes"));
}
