//! What is refused, what removal and appending give, and what hostile sizes cost.

use super::*;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn set(at: &str, value: i64) -> Edit {
    Edit::Set { document: 0, path: path(at), value: Value::Int(value) }
}

fn remove(at: &str) -> Edit {
    Edit::Remove { document: 0, path: path(at) }
}

fn append(at: &str) -> Edit {
    let entries = vec![("name".to_owned(), Value::Text("b".to_owned())), ("count".to_owned(), Value::Int(2))];
    Edit::Append { document: 0, path: path(at), entries }
}

#[track_caller]
fn refused(source: &str, edit: Edit, name: &str) {
    let error = apply(source.as_bytes(), &[edit]).expect_err(source);
    assert!(format!("{error:?}").starts_with(name), "{source:?}: {error:?}");
}

#[track_caller]
fn gives(source: &str, edit: Edit, expected: &str) {
    let bytes = apply(source.as_bytes(), &[edit]).unwrap_or_else(|error| panic!("{source:?}: {error:?}"));
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn a_scalar_that_parsers_read_differently_is_not_replaced() {
    for text in ["010", "0o10", "0x1F", "1_000", "1e1", "+1", "yes", "on", "y", "1:30", "2024-01-02"] {
        refused(&format!("a: {text}\n"), set("a", 1), "Ambiguous");
    }
    refused("a: !!int \"7\"\n", set("a", 1), "Tag");
    refused("a: !!int 010\n", set("a", 1), "SecondParser");
    refused("a: !!str 7\n", set("a", 1), "Tag");
    refused("a: !vault x\n", set("a", 1), "Tag");
}

#[test]
fn paths_must_lead_to_exactly_one_scalar() {
    refused("a: 1\n", set("b", 1), "NotFound");
    refused("a: 1\n", set("a.b", 1), "NotFound");
    refused("a: [1]\n", set("a[1]", 1), "NotFound");
    refused("a: [{m: x, v: 1}, {m: x, v: 2}]\n", set("a[m=x].v", 1), "ManyMatches");
    refused("a: {b: 1}\n", set("a", 1), "Shape");
    refused("a: 1\n", Edit::Put { document: 0, path: path("a.b"), value: Value::Null }, "Shape");
    refused("a: [1]\n", Edit::Put { document: 0, path: path("a[m=x].v"), value: Value::Null }, "NotFound");
    refused("a: 1\n", Edit::Set { document: 1, path: path("a"), value: Value::Null }, "NoDocument");
    refused("a:\n  b: 1\n  b: 2\n  c: 3\n", set("a.c", 1), "DuplicateKey");
    refused("a:\n  b: 1\n  \"b\": 2\n", remove("a.b"), "DuplicateKey");
}

#[test]
fn duplicate_keys_elsewhere_do_not_stop_an_edit() {
    gives("a:\n  b: 1\n  b: 2\nc: 3\n", set("c", 4), "a:\n  b: 1\n  b: 2\nc: 4\n");
}

#[test]
fn shared_and_inherited_values_are_refused_with_the_places_they_are_used_at() {
    let error = apply(b"a: &r 1\nb: *r\nc: [*r]\n", &[set("a", 2)]).unwrap_err();
    let YamlError::Shared { anchor, line, aliases } = error else { panic!("{error:?}") };
    assert_eq!((anchor.as_str(), line, aliases), ("r", 1, vec![2, 3]));
    refused("a: &r {x: {y: 1}}\nb:\n  <<: *r\n", set("b.x.y", 2), "Merged");
    let put = Edit::Put { document: 0, path: path("b.x.y"), value: Value::Int(1) };
    refused("a: &r {x: {z: 1}}\nb:\n  <<: *r\n", put, "Merged");
    refused("a: &r {x: 1}\nb:\n  <<: *r\n", set("b.\"<<\".x", 2), "Merged");
    refused("a: {x: &r 1}\nb: *r\nc: 1\n", remove("a"), "Shared");
    refused("a: &r\n  - x: 1\nb: *r\n", append("a"), "Shared");
    gives("a: &r {x: 1}\nb: {x: 1}\nc: *r\n", set("b.x", 2), "a: &r {x: 1}\nb: {x: 2}\nc: *r\n");
}

#[test]
fn what_is_not_yaml_for_both_parsers_is_refused() {
    refused("a: 1\n  b: 2\n", set("a", 1), "Syntax");
    refused("a: *nobody\nb: 1\n", set("b", 1), "Syntax");
    refused("a: ${REPLICAS}\n", set("a", 1), "Templated");
    refused("a: \"{{ x }}\"\n", set("a", 1), "Templated");
    assert!(matches!(apply(b"a: 1\nb: \xff\n", &[]), Err(YamlError::NotUtf8 { line: 2 })));
    gives("{{ .Values.name }}: 1\na: 1\n", set("a", 2), "{{ .Values.name }}: 1\na: 2\n");
}

#[test]
fn removal_takes_the_lines_of_an_entry_and_nothing_else() {
    gives("a: 1\n# of b\nb: 2 # c\nc: 3\n", remove("b"), "a: 1\n# of b\nc: 3\n");
    gives("a: 1\r\nb:\r\n  c: 1\r\n  d: 2\r\n", remove("b"), "a: 1\r\n");
    gives("a: 1\nb: 2", remove("b"), "a: 1");
    gives("a: 1\r\nb: 2", remove("b"), "a: 1");
    gives("a: 1\n\nb: 2", remove("b"), "a: 1\n");
    gives("a: 1\r\n\r\nb: 2", remove("b"), "a: 1\r\n");
    gives("l:\n- m: a\n  v: 1\n- m: b\n", remove("l[m=a].m"), "l:\n- v: 1\n- m: b\n");
    gives("l:\n- m: a\n  v: 1\n- m: b\n", remove("l[m=a]"), "l:\n- m: b\n");
    gives("l:\n  - 1 # x\n  # y\n  - 2\n", remove("l[1]"), "l:\n  - 1 # x\n  # y\n");
    gives("l:\n- - 1\n  - 2\n- 3\n", remove("l[0][0]"), "l:\n- - 2\n- 3\n");
    gives("l:\n- - 1\n  - 2\n- 3\n", remove("l[0][1]"), "l:\n- - 1\n- 3\n");
    gives("a: {x: 1, w: 2, z: 3}\n", remove("a.w"), "a: {x: 1, z: 3}\n");
    gives("a: {x: 1, w: 2}\n", remove("a.w"), "a: {x: 1}\n");
    gives("a: {x: 1}\n", remove("a.x"), "a: {}\n");
    gives("a: [1, 2, 3] # c\n", remove("a[0]"), "a: [2, 3] # c\n");
    gives("a: |\n  x\n\nb: 1\n", remove("a"), "\nb: 1\n");
    refused("a:\n  b: 1\nc: 2\n", remove("a.b"), "Unsupported");
    refused("a: 1\n", remove(""), "Unsupported");
    refused("l:\n- m: a\n  # note\n  v: 1\n", remove("l[0].m"), "Unsupported");
    refused("a: 1\n", remove("b"), "NotFound");
}

#[test]
fn what_put_adds_remove_takes_back() {
    for source in
        ["a:\n  b: 1 # c\n\nd: 1\n", "a: {b: 1}\n", "a:\r\n    b: |+\r\n      x\r\n\r\nd: 1", "a: {b: 1}"]
    {
        let added = path("a.\"kubectl.kubernetes.io/restartedAt\"");
        let value = Value::Text("2026-01-02T03:04:05Z".to_owned());
        let put = Edit::Put { document: 0, path: added.clone(), value };
        let there = apply(source.as_bytes(), std::slice::from_ref(&put)).unwrap();
        assert_ne!(there, source.as_bytes());
        let back = apply(source.as_bytes(), &[put, Edit::Remove { document: 0, path: added }]).unwrap();
        assert_eq!(String::from_utf8(back).unwrap(), source);
    }
}

#[test]
fn an_item_is_appended_with_the_layout_of_the_list() {
    gives(
        "l:\n- name: a\n  count: 1 # c\nz: 1\n",
        append("l"),
        "l:\n- name: a\n  count: 1 # c\n- name: b\n  count: 2\nz: 1\n",
    );
    gives("l:\n  -   name: a\n", append("l"), "l:\n  -   name: a\n  -   name: b\n      count: 2\n");
    gives("l:\r\n- x", append("l"), "l:\r\n- x\r\n- name: b\r\n  count: 2");
    gives("l: []\n", append("l"), "l: [{name: b, count: 2}]\n");
    gives("l: [{name: a}]\n", append("l"), "l: [{name: a}, {name: b, count: 2}]\n");
    gives("l: # c\nz: 1\n", append("l"), "l: # c\n  - name: b\n    count: 2\nz: 1\n");
    gives("z: 1\n", append("l"), "z: 1\nl:\n  - name: b\n    count: 2\n");
    gives("l:\n- - 1\n", append("l[0]"), "l:\n- - 1\n  - name: b\n    count: 2\n");
    refused("l: {}\n", append("l"), "Shape");
    let twice = vec![("a".to_owned(), Value::Null), ("a".to_owned(), Value::Null)];
    refused("l: []\n", Edit::Append { document: 0, path: path("l"), entries: twice }, "DuplicateKey");
}

#[test]
fn nothing_is_added_behind_a_block_scalar_that_ends_without_a_line_break() {
    let put = |at: &str| Edit::Put { document: 0, path: path(at), value: Value::Int(1) };
    refused("a: |\n  x", put("b"), "Unsupported");
    refused("d:\n  a: >\n    x", put("d.b"), "Unsupported");
    let set = Edit::Set { document: 0, path: path("a"), value: Value::Text("y".to_owned()) };
    gives("a: |\n  x", set, "a: |\n  y");
}

#[test]
fn a_literal_keeps_its_header_and_changes_only_the_chomping_it_must() {
    let set = |text: &str| Edit::Set { document: 0, path: path("a"), value: Value::Text(text.to_owned()) };
    gives("a: |-\n   x\nb: 1\n", set("y\n z"), "a: |-\n   y\n    z\nb: 1\n");
    gives("a: |\n   x\nb: 1\n", set("y"), "a: |-\n   y\nb: 1\n");
    gives("a: |- # c\n   x\nb: 1\n", set("y\n"), "a: | # c\n   y\nb: 1\n");
    gives("a: |2\n    x\nb: 1\n", set("  y\n"), "a: |2\n    y\nb: 1\n");
    gives("a: |\n  x\nb: 1\n", set(" y\n"), "a: \" y\\n\"\nb: 1\n");
    gives("a: |\r\n  x\r\nb: 1\r\n", set("y\nz\n"), "a: |\r\n  y\r\n  z\r\nb: 1\r\n");
    gives(
        "l:\n- |\n  x\n- y\n",
        Edit::Set { document: 0, path: path("l[0]"), value: Value::Text("z\n".into()) },
        "l:\n- |\n  z\n- y\n",
    );
}

#[test]
fn a_root_scalar_is_addressed_by_the_empty_path() {
    gives(">\n a\n b\n", set("", 7), "7\n");
    gives("# c\n--- |\n a\n", set("", 7), "# c\n--- 7\n");
    gives("# c\nold # d\n", set("", 7), "# c\n7 # d\n");
    refused("---\n", set("", 7), "Unsupported");
    let marker = Edit::Set { document: 0, path: path(""), value: Value::Text("--- x".to_owned()) };
    gives("old\n", marker, "\"--- x\"\n");
}

#[test]
fn an_edit_that_would_land_elsewhere_is_stopped_by_the_oracle() {
    let put = Edit::Put { document: 0, path: path("z"), value: Value::Int(1) };
    refused("? a\n: k: v\n", put, "Oracle");
}

#[test]
fn long_comments_are_no_obstacle() {
    let source = format!("a:\n{}  b: 1\n", "# c\n".repeat(500));
    gives(&source, set("a.b", 2), &source.replace("b: 1", "b: 2"));
}

#[test]
fn several_edits_are_made_in_order_or_not_at_all() {
    let source = "a: 1\n---\nb:\n- name: x\n";
    let put = Edit::Put { document: 0, path: path("c"), value: Value::Bool(true) };
    let item = Edit::Put { document: 1, path: path("b[name=x].count"), value: Value::Int(4) };
    let bytes = apply(source.as_bytes(), &[set("a", 2), put.clone(), item]).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), "a: 2\nc: true\n---\nb:\n- name: x\n  count: 4\n");
    assert!(apply(source.as_bytes(), &[put, set("nope", 1)]).is_err());
}

#[test]
fn an_alias_bomb_is_read_as_aliases_and_refused_for_edits() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    bomb.push_str("replicas: 1\n");
    assert_eq!(read(bomb.as_bytes()).unwrap()[0].root.get("replicas").unwrap().as_u32(), Some(1));
    refused(&bomb, set("replicas", 2), "Bound");
    refused("a: &a [*a]\nb: 1\n", set("b", 2), "Bound");
}

#[test]
fn nesting_documents_nodes_and_size_are_bounded() {
    for bomb in ["[".repeat(200_000), "{a: ".repeat(100_000), "- ".repeat(200_000)] {
        assert!(read(bomb.as_bytes()).is_err());
    }
    let deep = |levels: usize| (0..levels).map(|at| format!("{}a:\n", " ".repeat(at))).collect::<String>();
    assert!(read(deep(MAX_NESTING).as_bytes()).is_ok());
    assert!(read(deep(MAX_NESTING + 1).as_bytes()).is_err());
    assert!(read("--- 1\n".repeat(MAX_DOCUMENTS).as_bytes()).is_ok());
    let error = read("--- 1\n".repeat(MAX_DOCUMENTS + 1).as_bytes()).unwrap_err();
    assert!(matches!(error, YamlError::Bound { what: "documents", .. }), "{error:?}");
    let error = read("- 1\n".repeat(MAX_NODES + 1).as_bytes()).unwrap_err();
    assert!(matches!(error, YamlError::Bound { what: "nodes", .. }), "{error:?}");
    let error = read(&vec![b' '; MAX_SOURCE_BYTES + 1]).unwrap_err();
    assert!(matches!(error, YamlError::Bound { what: "bytes", .. }), "{error:?}");
    let grown = Edit::Set { document: 0, path: path("a"), value: Value::Text("x".repeat(MAX_SOURCE_BYTES)) };
    refused("a: x\n", grown, "Bound");
}

#[test]
fn a_file_near_the_bound_is_edited_whole() {
    let mut source: String = (0..60_000).map(|at| format!("key{at:06}: v\n")).collect();
    source.push_str("replicas: 3\n");
    let bytes = apply(source.as_bytes(), &[set("replicas", 4)]).unwrap();
    assert_eq!(bytes, source.replace("replicas: 3", "replicas: 4").as_bytes());
}

#[test]
fn the_error_line_is_the_line_of_the_reason() {
    let error = apply(b"a: 1\nb:\n  c: 010\n", &[set("b.c", 1)]).unwrap_err();
    assert_eq!(error.line(), Some(3));
    assert!(error.to_string().starts_with("line 3: "));
}
