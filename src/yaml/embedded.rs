//! Edits of YAML inside a literal block scalar: what they give, and what they leave alone.

use super::*;

fn inside(path: &str, edit: Edit) -> Edit {
    Edit::Inside { document: 0, path: Path::parse(path).unwrap(), edit: Box::new(edit) }
}

fn set(path: &str, value: i64) -> Edit {
    Edit::Set { document: 0, path: Path::parse(path).unwrap(), value: Value::Int(value) }
}

fn put(path: &str, value: i64) -> Edit {
    Edit::Put { document: 0, path: Path::parse(path).unwrap(), value: Value::Int(value) }
}

fn remove(path: &str) -> Edit {
    Edit::Remove { document: 0, path: Path::parse(path).unwrap() }
}

#[track_caller]
fn gives(source: &str, edit: Edit, expected: &str) {
    let bytes = apply(source.as_bytes(), &[edit]).unwrap_or_else(|error| panic!("{source:?}: {error:?}"));
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[track_caller]
fn refused(source: &str, edit: Edit, name: &str, line: usize) {
    let error = apply(source.as_bytes(), &[edit]).expect_err(source);
    assert!(format!("{error:?}").starts_with(name), "{source:?}: {error:?}");
    assert_eq!(error.line(), Some(line), "{source:?}: {error}");
}

const KUSTOMIZATION: &str = "\
patches:
- target:
    kind: Deployment
  patch: |-  # strategic
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: api
    spec:
      replicas: 3   # three

      template: {}
- path: other.yaml
";

#[test]
fn a_field_of_an_inline_patch_is_set_where_it_stands() {
    gives(
        KUSTOMIZATION,
        inside("patches[0].patch", set("spec.replicas", 5)),
        &KUSTOMIZATION.replace("replicas: 3 ", "replicas: 5 "),
    );
}

#[test]
fn entries_are_added_and_removed_with_the_margin_of_the_text() {
    gives("a: |-\n   x: 1\nb: 1\n", inside("a", put("w.z", 2)), "a: |-\n   x: 1\n   w:\n     z: 2\nb: 1\n");
    gives("a: |\n  x: 1\n  w: 2\nb: 1\n", inside("a", remove("w")), "a: |\n  x: 1\nb: 1\n");
    gives("a: |\n  x: 1\n  w: 2\nb: 1\n", inside("a", remove("x")), "a: |\n  w: 2\nb: 1\n");
    gives("a: |-\n  x: 1\n  w: 2\nb: 1\n", inside("a", remove("w")), "a: |-\n  x: 1\nb: 1\n");
    gives("a: |-\n  x: 1\n  w: 2\nb: 1\n", inside("a", remove("x")), "a: |-\n  w: 2\nb: 1\n");
    gives("a: |-\n  x: 1", inside("a", put("w", 2)), "a: |-\n  x: 1\n  w: 2");
    gives("a: |\n  x: 1", inside("a", put("w", 2)), "a: |\n  x: 1\n  w: 2");
    gives("a: |+\n  x: 1\n\n\nb: 1\n", inside("a", put("w", 2)), "a: |+\n  x: 1\n  w: 2\n\n\nb: 1\n");
    gives("a: |\n  x: {}\nb: 1\n", inside("a", put("x.w", 2)), "a: |\n  x: {w: 2}\nb: 1\n");
    gives("a: |\n  x: # c\nb: 1\n", inside("a", put("x.w", 2)), "a: |\n  x: # c\n    w: 2\nb: 1\n");
}

#[test]
fn line_endings_blank_lines_and_trailing_spaces_stay() {
    gives(
        "a: |\r\n    x: 1  \r\n\r\n  \r\n    w: 2\r\nb: 1\r\n",
        inside("a", set("w", 3)),
        "a: |\r\n    x: 1  \r\n\r\n  \r\n    w: 3\r\nb: 1\r\n",
    );
    gives(
        "a: |\r\n    x: 1  \r\n \r\n    w:\r\n      z: 1\r\nb: 1",
        inside("a", put("x2", 3)),
        "a: |\r\n    x: 1  \r\n \r\n    w:\r\n      z: 1\r\n    x2: 3\r\nb: 1",
    );
    // The blank line behind the removed one has less than the margin and keeps exactly that.
    gives(
        "a: |\n    x: 1\n    w: 2\n  \n    z: 3\n",
        inside("a", remove("w")),
        "a: |\n    x: 1\n  \n    z: 3\n",
    );
    gives("a: |\n\n  \n    x: 1\n", inside("a", set("x", 2)), "a: |\n\n  \n    x: 2\n");
}

#[test]
fn every_header_of_a_literal_is_kept() {
    for header in ["|", "|-", "|+", "|2", "|2-", "|+2", "|-2"] {
        let source = format!("a: {header} # h\n  x: 1\n  w: 2\nb: 1\n");
        gives(&source, inside("a", set("x", 9)), &source.replace("x: 1", "x: 9"));
        gives(&source, inside("a", put("z", 9)), &source.replace("w: 2\n", "w: 2\n  z: 9\n"));
    }
    // With an indicator, more than the margin is content.
    gives("a: |1\n   x: 1\n   w: 2\n", inside("a", set("w", 3)), "a: |1\n   x: 1\n   w: 3\n");
}

#[test]
fn a_later_document_and_a_list_of_operations_are_reached() {
    let second = Edit::Set { document: 1, path: Path::parse("x").unwrap(), value: Value::Int(3) };
    gives("a: |\n  x: 1\n  ---\n  x: 2\n", inside("a", second), "a: |\n  x: 1\n  ---\n  x: 3\n");
    gives(
        "patch: |-\n  - op: replace\n    path: /spec/replicas\n    value: 3\n",
        inside("patch", set("[path=/spec/replicas].value", 4)),
        "patch: |-\n  - op: replace\n    path: /spec/replicas\n    value: 4\n",
    );
    gives(
        "patch: |-\n  [{\"op\": \"replace\", \"path\": \"/spec/replicas\", \"value\": 3}]\n",
        inside("patch", set("[0].value", 4)),
        "patch: |-\n  [{\"op\": \"replace\", \"path\": \"/spec/replicas\", \"value\": 4}]\n",
    );
}

#[test]
fn two_texts_deep_is_edited_and_three_is_refused() {
    let two = "a: |\n  b: |\n    x: 1\n    w: 2 # c\n";
    gives(two, inside("a", inside("b", set("w", 3))), &two.replace("w: 2", "w: 3"));
    gives(two, inside("a", inside("b", put("z", 3))), &format!("{two}    z: 3\n"));
    gives(two, inside("a", inside("b", remove("x"))), &two.replace("    x: 1\n", ""));
    let three = "a: |\n  b: |\n    c: |\n      x: 1\n";
    refused(three, inside("a", inside("b", inside("c", set("x", 3)))), "Unsupported", 3);
}

#[test]
fn every_other_notation_is_refused_with_its_line() {
    let edit = || inside("a", set("x", 2));
    for source in [
        "a: >\n  x: 1\n",
        "a: 'x: 1'\n",
        "a: \"x: 1\"\n",
        "a: &t |\n  x: 1\n",
        "a: !!str |\n  x: 1\n",
        "a: !vault |\n  x: 1\n",
        "a: x\n  y\n",
        "a: |\nb: 1\n",
        "a:\n",
    ] {
        refused(&format!("z: 1\n{source}"), edit(), "Unsupported", 2);
    }
    refused("a: {x: 1}\n", edit(), "Shape", 1);
    refused("a: &t |\n  x: 1\nb: *t\n", edit(), "Shared", 1);
    refused("b: &t |\n  x: 1\na: *t\n", edit(), "Alias", 3);
    refused("b: 1\n", edit(), "NotFound", 1);
    assert!(apply(b"a: |\n  x: 1\n", &[inside("a", set("x", 2)), inside("b", set("x", 2))]).is_err());
}

#[test]
fn refusals_inside_name_the_line_of_the_file() {
    refused("z: 1\na: |-\n  w: 1\n  x: 010\n", inside("a", set("x", 1)), "Ambiguous", 4);
    refused("a: |\n\n  w: &r 1\n  x: *r\n", inside("a", set("w", 1)), "Shared", 3);
    refused("a: |\n  b: |\n    x: ${X}\n", inside("a", inside("b", set("x", 1))), "Templated", 3);
    refused("a: |\n  {{- if .Values.x }}\n  x: 1\n  {{- end }}\n", inside("a", set("x", 1)), "Embedded", 1);
    refused("a: |\n  x: 1\n   w: 2\n", inside("a", set("x", 1)), "Embedded", 1);
    let shared = apply(b"a: |\n  w: &r 1\n  x: *r\n", &[inside("a", set("w", 1))]).unwrap_err();
    assert!(matches!(shared, YamlError::Shared { aliases, .. } if aliases == [3]));
}

#[test]
fn a_document_is_added_inside_a_text() {
    let tree = || Fresh::Map(vec![("w".to_owned(), Fresh::Scalar(Value::Int(2)))]);
    let edit = || inside("a", Edit::AddDocument { tree: tree() });
    gives("a: |\n  x: 1\nb: 1\n", edit(), "a: |\n  x: 1\n  ---\n  w: 2\nb: 1\n");
    gives("a: |-\n  x: 1\nb: 1\n", edit(), "a: |-\n  x: 1\n  ---\n  w: 2\nb: 1\n");
    gives("a: |+\n  x: 1\n\nb: 1\n", edit(), "a: |+\n  x: 1\n\n  ---\n  w: 2\nb: 1\n");
}

#[test]
fn blank_lines_that_end_up_behind_the_text_stay_unless_they_mean_something() {
    gives("a: |\n  x: 1\n\n  w: 2\nb: 1\n", inside("a", remove("w")), "a: |\n  x: 1\n\nb: 1\n");
    gives("a: |-\n  x: 1\n\n  w: 2\nb: 1\n", inside("a", remove("w")), "a: |-\n  x: 1\n\nb: 1\n");
    gives("a: |+\n  x: 1\n\n  w: 2\nb: 1\n", inside("a", remove("w")), "a: |+\n  x: 1\n\nb: 1\n");
    // The blank line is the end of x's own text.
    let kept = "a: |\n  x: |+\n    t\n\n  w: 2\nb: 1\n";
    refused(kept, inside("a", remove("w")), "Unsupported", 1);
}
