//! The inputs of attackers and of honest authors that one reader takes for something else than another:
//! `apply` itself refuses each, at the path and above it, for every kind of edit, also inside a block scalar.

use super::*;

/// A file, the path to edit, the refusal, and the line it names.
type Threat = (&'static str, &'static str, &'static str, usize);

const NUMBERS: [&str; 22] = [
    "010",
    "0o10",
    "0x1F",
    "0b11",
    "1_000",
    "1,000",
    "1e1",
    "1e+1",
    "+1",
    "-0",
    ".5",
    "5.",
    "1:30",
    "190:20:30",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "2024-01-02",
    "99999999999999999999",
    "+.inf",
];

const VALUES: [Threat; 16] = [
    ("z: 1\na: !!int \"7\"\n", "a", "Tag", 2),
    ("a: !!str 7\n", "a", "Tag", 1),
    ("a: ! 7\n", "a", "Tag", 1),
    ("a: !env REPLICAS\n", "a", "Tag", 1),
    ("a: ${REPLICAS}\n", "a", "Templated", 1),
    ("a: \"${REPLICAS:=3}\"\n", "a", "Templated", 1),
    ("a: '{{ .Values.replicas }}'\n", "a", "Templated", 1),
    ("a: {{ .Values.replicas }}\n", "a", "Templated", 1),
    ("a: x-{{ .Values.replicas }}\n", "a", "Templated", 1),
    ("a: \"{% if x %}3{% endif %}\"\n", "a", "Templated", 1),
    ("a: |\n  ${X}\n", "a", "Templated", 1),
    ("a: &r 3\nb: *r\n", "a", "Shared", 1),
    ("b: &r 3\na: *r\n", "a", "Alias", 2),
    ("a: 1\nb: 1\na: 2\n", "a", "DuplicateKey", 3),
    ("b: &b {a: 1}\nc:\n  <<: *b\n", "c.a", "Merged", 3),
    ("b: &b {a: 1}\nc:\n  a: 2\n  <<: *b\n", "c.a", "Merged", 3),
];

/// The scalar itself is fine; an ancestor or its key is not.
const ANCESTORS: [Threat; 21] = [
    ("s: &s\n  a: 3\nt: *s\n", "s.a", "Shared", 2),
    ("s: &s\n  - m: x\n    a: 3\nt: *s\n", "s[m=x].a", "Shared", 2),
    ("t: &s\n  a: 3\ns: *s\n", "s.a", "Alias", 3),
    ("s:\n  a: 1\n  t: 2\n  t: 3\n", "s.a", "DuplicateKey", 4),
    ("s:\n  a: 1\ns:\n  a: 2\n", "s.a", "DuplicateKey", 3),
    ("s: {a: 1, \"a\": 2}\n", "s.a", "DuplicateKey", 1),
    ("s:\n  ? a\n  : 1\n  'a': 2\n", "s.a", "DuplicateKey", 4),
    ("b: &b {s: {a: 1}}\nc:\n  s: {a: 2}\n  <<: *b\n", "c.s.a", "Merged", 3),
    ("${ENV}:\n  a: 1\n", "\"${ENV}\".a", "Templated", 1),
    ("\"{{env}}\":\n  a: 1\n", "\"{{env}}\".a", "Templated", 1),
    ("s:\n- m: ${APP}\n  a: 1\n", "s[m=\"${APP}\"].a", "Templated", 2),
    ("s:\n- m: ${APP}\n  a: 1\n- m: x\n  a: 1\n", "s[m=x].a", "Templated", 2),
    ("s:\n- m: &x x\n  a: 1\n- m: *x\n  a: 1\n", "s[m=x].a", "Alias", 4),
    ("s:\n- &x {m: y}\n- m: x\n  a: 1\n- *x\n", "s[m=x].a", "Alias", 5),
    ("d: &d {m: x}\ns:\n- <<: *d\n- m: x\n  a: 1\n", "s[m=x].a", "Merged", 3),
    ("s:\n- m: 010\n  a: 1\n", "s[m=010].a", "Ambiguous", 2),
    ("s:\n- m: 0x1F90\n- m: 8080\n  a: 1\n", "s[m=8080].a", "Ambiguous", 2),
    ("on:\n  a: 1\n", "on.a", "Ambiguous", 1),
    ("s:\n  1.10: {a: 1}\n", "s.\"1.10\".a", "Ambiguous", 2),
    ("s:\n  True: {a: 1}\n", "s.True.a", "Ambiguous", 2),
    ("s:\n  !!int 7: {a: 1}\n", "s.7.a", "Tag", 2),
];

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn set(at: &str) -> Edit {
    Edit::Set { document: 0, path: path(at), value: Value::Int(5) }
}

#[track_caller]
fn refused(source: &str, edit: Edit, name: &str, line: usize) {
    let error = apply(source.as_bytes(), &[edit]).expect_err(source);
    assert!(format!("{error:?}").starts_with(name), "{source:?}: {error:?}");
    assert_eq!(error.line(), Some(line), "{source:?}: {error}");
}

/// The same file as the text of a block scalar, three lines down.
fn embedded(source: &str) -> String {
    let text: String = source.lines().map(|line| format!("  {line}\n")).collect();
    format!("kind: X\nz: 1\npatch: |\n{text}")
}

#[test]
fn a_scalar_with_two_readings_is_neither_set_nor_put() {
    for text in NUMBERS {
        let source = format!("z: 1\na: {text}\n");
        refused(&source, set("a"), "Ambiguous", 2);
        refused(&source, Edit::Put { document: 0, path: path("a"), value: Value::Int(5) }, "Ambiguous", 2);
    }
    for (source, at, name, line) in VALUES {
        refused(source, set(at), name, line);
    }
}

#[test]
fn an_ancestor_with_two_readings_stops_every_edit_below_it() {
    let tree = || Fresh::Map(vec![("k".to_owned(), Fresh::Scalar(Value::Null))]);
    for (source, at, name, line) in ANCESTORS {
        let beside = path(at.strip_suffix(".a").unwrap()).key("new");
        for edit in [
            set(at),
            Edit::Remove { document: 0, path: path(at) },
            Edit::Insert { document: 0, path: path(at).key("x"), tree: tree() },
            Edit::Append { document: 0, path: path(at), entries: vec![("k".to_owned(), Value::Null)] },
            Edit::Inside { document: 0, path: path(at), edit: Box::new(set("x")) },
        ] {
            refused(source, edit, name, line);
        }
        // Beside it, a key that comes after a merge key wins everywhere; all else is the ancestor's fault.
        if name != "Merged" {
            refused(source, Edit::Put { document: 0, path: beside, value: Value::Null }, name, line);
        }
    }
}

#[test]
fn the_same_is_refused_inside_a_block_scalar_with_the_line_of_the_file() {
    for (source, at, name, line) in VALUES.into_iter().chain(ANCESTORS) {
        let inside = Edit::Inside { document: 0, path: path("patch"), edit: Box::new(set(at)) };
        refused(&embedded(source), inside, name, line + 3);
    }
}

#[test]
fn an_alias_is_refused_with_the_line_of_its_anchor() {
    let source = "z: 1\nbase: &r 3\nreplicas: *r\n";
    let error = apply(source.as_bytes(), &[set("replicas")]).unwrap_err();
    let YamlError::Alias { alias, line, anchor_line } = &error else { panic!("{error:?}") };
    assert_eq!((alias.as_str(), *line, *anchor_line), ("r", 3, 2));
    assert!(error.to_string().ends_with("its anchor is at line 2"), "{error}");
    let inside = Edit::Inside { document: 0, path: path("patch"), edit: Box::new(set("replicas")) };
    let error = apply(embedded(source).as_bytes(), &[inside]).unwrap_err();
    assert!(matches!(error, YamlError::Alias { line: 6, anchor_line: 5, .. }), "{error:?}");
}

#[test]
fn honest_neighbours_of_a_threat_stay_editable() {
    for (source, at) in [
        ("a: 1\nb: 010\nc: ${X}\nd: !!int 7\n", "a"),
        ("a: 1\nb: &r 1\nc: *r\n", "a"),
        ("s:\n- m: x\n  a: 1\n- m: y\n  v: ${APP}\n", "s[m=x].a"),
        ("on: 1\ns:\n  a: 1\n", "s.a"),
        ("s:\n  8080: 1\n  true: 2\n", "s.8080"),
        ("s:\n  8080: 1\n  true: 2\n", "s.true"),
        ("\u{feff}a: 1\n", "a"),
    ] {
        apply(source.as_bytes(), &[set(at)]).unwrap_or_else(|error| panic!("{source:?}: {error:?}"));
    }
}

#[test]
fn bytes_that_hide_from_a_reviewer_do_not_make_a_number() {
    for hidden in ["\u{feff}", "\u{a0}", "\u{200b}", "\u{2028}", "\u{85}", "\u{3000}", "\u{0}", "\u{7f}"] {
        for source in [format!("a: {hidden}3\nb: 1\n"), format!("a: 3{hidden}\nb: 1\n")] {
            if let Ok(documents) = read(source.as_bytes()) {
                let number = documents.first().and_then(|it| it.root.get("a")).and_then(Node::as_u32);
                assert_eq!(number, None, "{source:?}");
            }
            // Either refused, or the whole scalar is replaced and both readers read what was asked for.
            if let Ok(bytes) = apply(source.as_bytes(), &[set("a")]) {
                assert_eq!(read(&bytes).unwrap()[0].root.get("a").unwrap().as_u32(), Some(5), "{source:?}");
            }
        }
    }
}
