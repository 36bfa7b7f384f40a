//! Changes of SOPS files as a proposal makes them: which lines differ, what is refused, what the record says.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::layout::{Surroundings, index_in};
use crate::model::fixtures::{at, oid, target};
use crate::model::playbook::Plan;
use crate::model::reason::ReasonCode;
use crate::model::tree::RepoTree;
use crate::render::golden::tree;
use crate::render::{CheckedChanges, RenderRequest, edits};
use crate::sops::fixture::{block, encrypted, identities, recipient};
use crate::sops::{Identities, Recipient};

/// Written by sops 3.13.3 for a throw-away key, with `mac_only_encrypted` and `encrypted_regex: ^env$`.
const SEALED: &str = include_str!("../../tests/fixtures/sops/deployment-mac-only.yaml");
const PLAIN: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: backend\n  namespace: shop\nspec:\n  \
    replicas: 3 # ask first\n  template:\n    spec:\n      containers:\n        - name: app\n          image: a:1\n          \
    env:\n            - name: TOKEN\n              value: canary-41\n";
const ENV: &str = "encrypted_regex: ^value$";

fn access(identities: Identities, expected: Option<&[usize]>) -> Access {
    let all = |list: &[usize]| list.iter().map(|it| Recipient::parse(&recipient(*it)).unwrap()).collect();
    Access { identities, expected: expected.map(all) }
}

fn render(file: &str, old: Option<&str>, plan: &Plan, access: Access) -> Result<CheckedChanges, Vec<Reason>> {
    let of = |text: &str| -> RepoTree { tree([("apps/backend.yaml", text.as_bytes())]) };
    let (now, old) = (of(file), old.map(of));
    let surroundings = Surroundings { sops: Arc::new(access), ..Surroundings::default() };
    edits(&RenderRequest {
        tree: &now,
        index: &index_in(&now, &surroundings),
        target: &target("shop/Deployment/backend"),
        plan,
        old_tree: old.as_ref(),
        allowed_paths: &[],
        write_to: &[],
        fresh: Fresh { now: at(0), random: block },
    })
}

fn scale(text: &str, access: Access) -> Result<CheckedChanges, Vec<Reason>> {
    render(text, None, &Plan::Scale { from: 3, to: 5, autoscaler: None }, access)
}

fn text(checked: &CheckedChanges) -> &str {
    std::str::from_utf8(&checked.files()[0].1).unwrap()
}

/// Keys of the lines that differ.
#[track_caller]
fn changed<'a>(old: &'a str, new: &'a str) -> BTreeSet<&'a str> {
    assert_eq!(old.lines().count(), new.lines().count());
    let lines = old.lines().zip(new.lines()).filter(|(old, new)| old != new);
    lines.map(|(_, new)| new.trim().split(':').next().unwrap()).collect()
}

#[track_caller]
fn verified(text: &str) {
    SopsFile::read(Store::Yaml, text.as_bytes()).unwrap().unlock(&identities(0)).unwrap();
}

#[test]
fn a_plain_value_that_no_mac_covers_changes_without_an_identity_and_nothing_else_does() {
    let checked = scale(SEALED, Access::default()).unwrap();
    assert_eq!(changed(SEALED, text(&checked)), ["replicas"].into());
    assert!(text(&checked).contains("    replicas: 5\n"));
}

#[test]
fn without_an_identity_a_mac_over_plain_values_is_never_broken() {
    let covered = encrypted(PLAIN, ENV, &[0]);
    let reasons = scale(&covered, Access::default()).unwrap_err();
    assert!(reasons[0].text.contains("mac_only_encrypted is not set"), "{reasons:?}");
    let reasons = scale(&covered, access(identities(1), None)).unwrap_err();
    assert!(reasons[0].text.contains("no identity opens this file"), "{reasons:?}");
}

#[test]
fn with_an_identity_a_covered_plain_value_changes_with_time_and_mac() {
    let covered = encrypted(PLAIN, ENV, &[0]);
    let checked = scale(&covered, access(identities(0), Some(&[0]))).unwrap();
    assert_eq!(changed(&covered, text(&checked)), ["replicas", "lastmodified", "mac"].into());
    assert!(text(&checked).contains("replicas: 5 # ask first"));
    assert_eq!(checked.fields_changed(), 1);
    assert_eq!(checked.fields()[0].after(), "5");
    verified(text(&checked));
}

#[test]
fn an_encrypted_count_changes_and_the_record_holds_ciphertext_only() {
    let covered = encrypted(PLAIN, "encrypted_regex: ^(replicas|value)$", &[0]);
    assert!(!covered.contains("replicas: 3"));
    assert!(scale(&covered, Access::default()).is_err());
    let checked = scale(&covered, access(identities(0), None)).unwrap();
    assert_eq!(changed(&covered, text(&checked)), ["replicas", "lastmodified", "mac"].into());
    let field = &checked.fields()[0];
    assert!(field.is_sealed() && field.from != field.to, "{field:?}");
    assert_eq!(checked.recipients(), [recipient(0).to_string()]);
    assert_eq!((field.before(), field.after()), ("an encrypted value", "encrypted value changed"));
    verified(text(&checked));
    assert!(!checked.diff().contains("replicas: 5"), "{}", checked.diff());

    // And back: the ciphertext of then, byte for byte.
    let back = FieldChange { from: field.to.clone(), to: field.from.clone(), ..field.clone() };
    let plan = Plan::Undo { changes: vec![back] };
    let undone = render(text(&checked), None, &plan, access(identities(0), None)).unwrap();
    let expected: BTreeSet<&str> = ["mac"].into();
    assert!(changed(&covered, text(&undone)).is_superset(&expected));
    assert!(!changed(&covered, text(&undone)).contains("replicas"), "{}", undone.diff());
    verified(text(&undone));
}

#[test]
fn a_rollback_puts_an_earlier_encrypted_value_back_byte_for_byte() {
    let good = encrypted(PLAIN, ENV, &[0]);
    let file = SopsFile::read(Store::Yaml, good.as_bytes()).unwrap();
    let path = yaml::Path::parse("spec.template.spec.containers[0].env[0].value").unwrap();
    let value = Plaintext::text("canary-42");
    let edit = sops::Edit { document: 0, path: &path, value: &value, expected: None };
    let mut inputs = Inputs { now: at(0), random: &mut block };
    let now = sops::set(&file, edit, &identities(0), &mut inputs).unwrap();
    let now = String::from_utf8(now).unwrap();
    assert!(changed(&good, &now).contains("value"));
    let plan = Plan::PodTemplate { good: oid('a') };
    let checked = render(&now, Some(&good), &plan, access(identities(0), None)).unwrap();
    assert_eq!(changed(&now, text(&checked)), ["value", "mac"].into());
    assert!(!changed(&good, text(&checked)).contains("value"));
    verified(text(&checked));
    let shown = format!("{checked:?}");
    assert!(!shown.contains("canary"), "{shown}");

    // Another data key: the ciphertext of then says nothing today.
    let foreign = encrypted(PLAIN, ENV, &[0]);
    let reasons = render(&now, Some(&foreign), &plan, access(identities(0), None)).unwrap_err();
    assert!(reasons[0].text.contains("under the data key of today"), "{reasons:?}");
}

#[test]
fn a_patch_that_is_encrypted_changes_like_any_other_place() {
    let plain = PLAIN.replace("image: a:1", "imagePullPolicy: Always").replace("  namespace: shop\n", "");
    let patch = encrypted(&plain, ENV, &[0]);
    let forged = patch.replace("Always", "Never");
    let base = PLAIN.replace("  namespace: shop\n", "").replace("replicas: 3", "replicas: 1");
    let with = |patch: &str, sops: Access| {
        let overlay = "namespace: shop\nresources: [../base]\npatches: [{path: p.yaml}]\n";
        let now = tree([
            ("base/d.yaml", base.as_bytes()),
            ("base/kustomization.yaml", &b"resources: [d.yaml]\n"[..]),
            ("prod/kustomization.yaml", overlay.as_bytes()),
            ("prod/p.yaml", patch.as_bytes()),
        ]);
        let surroundings = Surroundings { sops: Arc::new(sops), ..Surroundings::default() };
        edits(&RenderRequest {
            tree: &now,
            index: &index_in(&now, &surroundings),
            target: &target("shop/Deployment/backend"),
            plan: &Plan::Scale { from: 3, to: 5, autoscaler: None },
            old_tree: None,
            allowed_paths: &[],
            write_to: &[],
            fresh: Fresh { now: at(0), random: block },
        })
    };
    let reasons = with(&forged, access(identities(0), None)).unwrap_err();
    assert!(reasons[0].text.contains("the MAC does not match"), "{reasons:?}");
    assert!(with(&patch, Access::default()).is_err());
    let checked = with(&patch, access(identities(0), None)).unwrap();
    assert_eq!(checked.files()[0].0.as_str(), "prod/p.yaml");
    assert_eq!(changed(&patch, text(&checked)), ["replicas", "lastmodified", "mac"].into());
    verified(text(&checked));
}

#[test]
fn a_file_that_somebody_changed_without_its_key_is_not_signed_over() {
    let forged = encrypted(PLAIN, ENV, &[0]).replace("image: a:1", "image: a:2");
    let reasons = scale(&forged, access(identities(0), None)).unwrap_err();
    assert_eq!(reasons[0].code, ReasonCode::EditRefused);
    assert!(reasons[0].text.contains("the MAC does not match"), "{reasons:?}");
}

#[test]
fn a_file_that_others_than_expected_can_read_is_left_alone() {
    for (owners, expected, who) in
        [(&[0, 1][..], &[0][..], recipient(1)), (&[0], &[0, 1], recipient(1)), (&[0], &[1], recipient(0))]
    {
        for rule in [ENV, "mac_only_encrypted: true\n    encrypted_regex: ^value$"] {
            let text = encrypted(PLAIN, rule, owners);
            for keys in [identities(0), Identities::default()] {
                let reasons = scale(&text, access(keys, Some(expected))).unwrap_err();
                assert_eq!(reasons[0].code, ReasonCode::UnexpectedRecipients, "{reasons:?}");
                assert!(reasons[0].text.contains(&who), "{reasons:?}");
            }
        }
    }
    let good = encrypted(PLAIN, ENV, &[0]);
    for (bad, words) in [("age1yubikey1qqqq", "age1yubikey1qqqq"), ("age1../../x1qq", "not an age recipient")]
    {
        let text = good.replace(&recipient(0), bad);
        let reasons = scale(&text, access(identities(0), Some(&[0]))).unwrap_err();
        assert!(reasons[0].text.contains(words), "{reasons:?}");
    }
}

#[test]
fn no_text_is_encrypted_that_is_no_earlier_ciphertext() {
    let text = encrypted(PLAIN, "encrypted_regex: ^(image|value)$", &[0]);
    let file = RepoPath::new("a.yaml").unwrap();
    let path = yaml::Path::parse("spec.template.spec.containers[0].image").unwrap();
    let edit = yaml::Edit::Set { document: 0, path, value: yaml::Value::Text("b:1".to_owned()) };
    let fresh = Fresh { now: at(0), random: block };
    let reason = apply(&file, text.as_bytes(), &[edit], &access(identities(0), None), fresh).unwrap_err();
    assert!(reason.text.contains("only an earlier ciphertext"), "{reason}");
}

#[test]
fn a_restart_adds_its_annotation_in_the_clear_or_encrypted_as_the_rule_says_and_can_be_undone() {
    let restart = Plan::Restart { restarted_at: at(60), previous: None };
    for (rule, hidden) in [(ENV, false), ("encrypted_regex: ^(annotations|value)$", true)] {
        let before = encrypted(PLAIN, rule, &[0]);
        let reasons = render(&before, None, &restart, Access::default()).unwrap_err();
        assert!(reasons[0].text.contains("mac_only_encrypted is not set"), "{reasons:?}");

        let done = render(&before, None, &restart, access(identities(0), Some(&[0]))).unwrap();
        verified(text(&done));
        let line = text(&done).lines().find(|it| it.contains("restartedAt")).unwrap();
        assert_eq!(line.contains("ENC["), hidden, "{line}");
        assert_eq!(done.fields()[0].is_sealed(), hidden, "{:?}", done.fields());
        assert_eq!(done.fields_changed(), 1);

        let field = &done.fields()[0];
        let back = FieldChange { from: field.to.clone(), to: field.from.clone(), ..field.clone() };
        let undo = Plan::Undo { changes: vec![back] };
        let undone = render(text(&done), None, &undo, access(identities(0), None)).unwrap();
        assert_eq!(changed(&before, text(&undone)), ["lastmodified", "mac"].into());
        verified(text(&undone));
    }
}
