//! New maps, lists, items and documents: where they go, what they look like, and what is refused.

use super::*;

fn text(text: &str) -> Fresh {
    Fresh::Scalar(Value::Text(text.to_owned()))
}

fn int(int: i64) -> Fresh {
    Fresh::Scalar(Value::Int(int))
}

fn map<const N: usize>(entries: [(&str, Fresh); N]) -> Fresh {
    Fresh::Map(entries.map(|(key, value)| (key.to_owned(), value)).to_vec())
}

fn insert(path: &str, tree: Fresh) -> Edit {
    Edit::Insert { document: 0, path: Path::parse(path).unwrap(), tree }
}

#[track_caller]
fn gives(source: &str, edit: Edit, expected: &str) {
    let bytes = apply(source.as_bytes(), &[edit]).unwrap_or_else(|error| panic!("{source:?}: {error:?}"));
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[track_caller]
fn refused(source: &str, edit: Edit, name: &str) {
    let error = apply(source.as_bytes(), &[edit]).expect_err(source);
    assert!(format!("{error:?}").starts_with(name), "{source:?}: {error:?}");
}

fn resources() -> Fresh {
    let amounts = || map([("cpu", text("100m")), ("memory", text("1Gi"))]);
    map([("requests", amounts()), ("limits", amounts())])
}

#[test]
fn a_tree_is_written_with_the_indentation_of_the_file() {
    gives(
        "spec:\n    containers:\n    -   name: app # c\n        image: x\n",
        insert("spec.containers[name=app].resources", map([("limits", map([("cpu", int(2))]))])),
        "spec:\n    containers:\n    -   name: app # c\n        image: x\n        resources:\n            \
         limits:\n                cpu: 2\n",
    );
    gives(
        "a:\r\n  b: 1\r\nz: 1\r\n",
        insert("a.r", resources()),
        "a:\r\n  b: 1\r\n  r:\r\n    requests:\r\n      cpu: 100m\r\n      memory: 1Gi\r\n    limits:\r\n      \
         cpu: 100m\r\n      memory: 1Gi\r\nz: 1\r\n",
    );
    gives("a: {b: 1}\n", insert("a.r", map([("c", map([]))])), "a: {b: 1, r: {c: {}}}\n");
    gives("{\"a\": 1}", insert("b", Fresh::List(vec![int(1), text("x")])), "{\"a\": 1, \"b\": [1, \"x\"]}");
    gives("a: 1\n", insert("b.c", map([])), "a: 1\nb:\n  c: {}\n");
}

#[test]
fn lists_are_indented_as_the_lists_around() {
    let list =
        || Fresh::List(vec![text("a"), map([("k", int(1)), ("l", int(2))]), Fresh::List(vec![int(1)])]);
    gives("x:\n- 1\n", insert("w", list()), "x:\n- 1\nw:\n- a\n- k: 1\n  l: 2\n- [1]\n");
    gives("x:\n  - 1\n", insert("w", list()), "x:\n  - 1\nw:\n  - a\n  - k: 1\n    l: 2\n  - [1]\n");
    gives("x:\n    - 1\nw: # c\n", insert("w", Fresh::List(vec![int(2)])), "x:\n    - 1\nw: # c\n    - 2\n");
    gives(
        "x:\n- a: {b: 1}\nw:\n",
        insert("w.z", Fresh::List(vec![int(2)])),
        "x:\n- a: {b: 1}\nw:\n  z:\n  - 2\n",
    );
}

#[test]
fn a_null_is_filled_and_a_value_is_not_replaced() {
    gives("a: # c\nb: 1\n", insert("a", map([("x", int(1))])), "a: # c\n  x: 1\nb: 1\n");
    gives("a: ~ # c\nb: 1\n", insert("a", map([])), "a: {} # c\nb: 1\n");
    gives("a:\nb: 1\n", insert("a", Fresh::List(vec![])), "a: []\nb: 1\n");
    gives("a: # c\n", insert("a", int(1)), "a: 1 # c\n");
    refused("a: 1\n", insert("a", int(2)), "Unsupported");
    refused("a: {b: 1}\n", insert("a", map([("c", int(2))])), "Unsupported");
}

#[test]
fn strings_take_the_quotes_their_neighbours_all_have() {
    gives(
        "a:\n  b: \"x\"\n  c: \"y\"\n",
        insert("a.d", text("z")),
        "a:\n  b: \"x\"\n  c: \"y\"\n  d: \"z\"\n",
    );
    gives("a:\n  b: 'x'\n  n: 1\n", insert("a.d", text("z")), "a:\n  b: 'x'\n  n: 1\n  d: 'z'\n");
    gives("a:\n  b: 'x'\n  c: y\n", insert("a.d", text("z")), "a:\n  b: 'x'\n  c: y\n  d: z\n");
    gives(
        "l:\n- name: \"a\"\n",
        insert("l[name=b]", map([("v", int(1))])),
        "l:\n- name: \"a\"\n- name: \"b\"\n  v: 1\n",
    );
}

#[test]
fn an_item_is_added_by_its_merge_key() {
    gives(
        "c:\n- name: app # main\n  env: []\n\n# next\nd: 1\n",
        insert("c[name=proxy]", map([("image", text("envoy:1")), ("resources", resources())])),
        "c:\n- name: app # main\n  env: []\n- name: proxy\n  image: envoy:1\n  resources:\n    requests:\n      \
         cpu: 100m\n      memory: 1Gi\n    limits:\n      cpu: 100m\n      memory: 1Gi\n\n# next\nd: 1\n",
    );
    gives("c: []\n", insert("c[name=x]", map([])), "c: [{name: x}]\n");
    gives("c:\n", insert("c[name=x]", map([("v", int(1))])), "c:\n  - name: x\n    v: 1\n");
    gives(
        "z: 1\n",
        insert("a.c[name=x]", map([("v", int(1))])),
        "z: 1\na:\n  c:\n    - name: x\n      v: 1\n",
    );
    gives(
        "p:\n  - containerPort: 80\n",
        insert("p[containerPort=8080]", map([("containerPort", int(8080))])),
        "p:\n  - containerPort: 80\n  - containerPort: 8080\n",
    );
    // Given in another order, the entries stay in it.
    gives(
        "c:\n- name: a\n",
        insert("c[name=b]", map([("image", text("x")), ("name", text("b"))])),
        "c:\n- name: a\n- image: x\n  name: b\n",
    );
    refused("c:\n- name: a\n", insert("c[name=a]", map([])), "Unsupported");
    refused("c:\n- name: a\n", insert("c[name=b]", map([("name", text("c"))])), "Unsupported");
    refused("c:\n- name: a\n", insert("c[name=b]", int(1)), "Unsupported");
    refused("c: {name: a}\n", insert("c[name=b]", map([])), "Shape");
    refused("c:\n- name: a\n", insert("c[name=b].d[name=c]", map([])), "NotFound");
    refused("x: &x {name: b}\nc:\n- *x\n", insert("c[name=b]", map([])), "Alias");
    refused("x: &x {name: b}\nc:\n- <<: *x\n", insert("c[name=b]", map([])), "Merged");
    refused("c:\n- name: ${X}\n", insert("c[name=b]", map([])), "Templated");
    refused("c: &l\n- name: a\nd: *l\n", insert("c[name=b]", map([])), "Shared");
}

#[test]
fn an_item_that_was_added_is_removed_without_a_trace() {
    for source in ["c:\n  - name: a # c\n    v: 1\n\n# tail\nd: 1\n", "c: [{name: a}]\n", "c:\r\n- name: a"] {
        let path = Path::parse("c[name=b]").unwrap();
        let edits = [insert("c[name=b]", resources()), Edit::Remove { document: 0, path }];
        assert_eq!(String::from_utf8(apply(source.as_bytes(), &edits).unwrap()).unwrap(), source);
    }
}

#[test]
fn a_document_is_added_in_the_style_of_the_stream() {
    let add =
        || Edit::AddDocument { tree: map([("kind", text("List")), ("items", Fresh::List(vec![int(1)]))]) };
    gives("a: 1\n", add(), "a: 1\n---\nkind: List\nitems:\n  - 1\n");
    gives("a:\n- 1", add(), "a:\n- 1\n---\nkind: List\nitems:\n- 1");
    gives("a: 1\r\n# end\r\n", add(), "a: 1\r\n# end\r\n---\r\nkind: List\r\nitems:\r\n  - 1\r\n");
    gives("---\na: 1\n...\n", add(), "---\na: 1\n...\n---\nkind: List\nitems:\n  - 1\n");
    gives("a: 1\n\n---\nb: 1\n", add(), "a: 1\n\n---\nb: 1\n\n---\nkind: List\nitems:\n  - 1\n");
    gives("a: 1\n\n---\nb: 1\n\n", add(), "a: 1\n\n---\nb: 1\n\n---\nkind: List\nitems:\n  - 1\n");
    gives("a: |+\n  x\n\n", add(), "a: |+\n  x\n\n---\nkind: List\nitems:\n  - 1\n");
    gives("", add(), "kind: List\nitems:\n  - 1\n");
    gives("\u{feff}", add(), "\u{feff}kind: List\nitems:\n  - 1\n");
    gives("# only", add(), "# only\nkind: List\nitems:\n  - 1");
    gives("a: 1\n---\n", add(), "a: 1\n---\n---\nkind: List\nitems:\n  - 1\n");
    refused("{\"a\": 1}\n", add(), "Unsupported");
    refused("a: |\n  x", add(), "Unsupported");
    refused("a: 1\n", Edit::AddDocument { tree: int(1) }, "Unsupported");
}

#[test]
fn placeholders_merge_keys_and_keys_twice_are_not_written() {
    let deep = |tree| map([("a", Fresh::List(vec![tree]))]);
    for (tree, name) in [
        (deep(text("${x}")), "Templated"),
        (deep(map([("{{x}}", int(1))])), "Templated"),
        (deep(map([("<<", int(1))])), "Merged"),
        (Fresh::Map(vec![("k".to_owned(), int(1)), ("k".to_owned(), int(2))]), "DuplicateKey"),
    ] {
        refused("z: 1\n", insert("w", tree.clone()), name);
        refused("z: 1\n", insert("l[name=x]", tree.clone()), name);
        refused("z:\n", insert("z", tree.clone()), name);
        refused("z: 1\n", Edit::AddDocument { tree }, name);
    }
}

#[test]
fn a_tree_is_not_put_over_an_inherited_one() {
    refused("a: &r {x: 1}\nb:\n  <<: *r\n", insert("b.c", map([("k", int(1))])), "Merged");
}
