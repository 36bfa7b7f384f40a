//! Seventy small files that editors of YAML get wrong, each with the bytes the edit must give or its refusal.

use super::{Edit, Path, Value, apply};
use std::sync::LazyLock;

enum Verb {
    Set,
    Put,
}
use Verb::{Put, Set};

struct Case {
    title: &'static str,
    source: &'static str,
    verb: Verb,
    document: usize,
    path: &'static str,
    value: Value,
    /// The bytes, or the name of the error.
    expected: Result<&'static str, &'static str>,
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn int(int: i64) -> Value {
    Value::Int(int)
}

fn case(
    title: &'static str,
    (verb, document, path, value): (Verb, usize, &'static str, Value),
    source: &'static str,
    expected: Result<&'static str, &'static str>,
) -> Case {
    Case { title, source, verb, document, path, value, expected }
}

static SCALARS: LazyLock<Vec<Case>> = LazyLock::new(|| {
    vec![
        case(
            "01 set int, trailing comment",
            (Set, 0, "spec.replicas", int(5)),
            "spec:\n  replicas: 3  # keep me\n  x: 1\n",
            Ok("spec:\n  replicas: 5  # keep me\n  x: 1\n"),
        ),
        case(
            "02 list-by-name, double-quoted with colon",
            (Set, 0, "cs[name=app].image", text("a:1.26")),
            "cs:\n  - name: \"s\"\n    image: \"b\"\n  - name: app\n    image: \"a:1.25\" # i\n",
            Ok("cs:\n  - name: \"s\"\n    image: \"b\"\n  - name: app\n    image: \"a:1.26\" # i\n"),
        ),
        case(
            "03 list-by-name, single-quoted",
            (Set, 0, "c[name=app].image", text("it's:2")),
            "c:\n- name: 'app'\n  image: 'nginx:1.25'\n",
            Ok("c:\n- name: 'app'\n  image: 'it''s:2'\n"),
        ),
        case(
            "04 value in flow map",
            (Set, 0, "labels.tier", text("edge")),
            "labels: {app: api, tier: \"web\"} # c\n",
            Ok("labels: {app: api, tier: \"edge\"} # c\n"),
        ),
        case(
            "05 plain value in flow map",
            (Set, 0, "labels.app", text("edge")),
            "labels: { app: api , tier: \"web\" }\n",
            Ok("labels: { app: edge , tier: \"web\" }\n"),
        ),
        case(
            "06 flow seq item",
            (Set, 0, "args[1]", text("--v=3")),
            "args: [\"--a\", '--v=2',  x]\n",
            Ok("args: [\"--a\", '--v=3',  x]\n"),
        ),
        case(
            "07 flow map inside block seq by name",
            (Set, 0, "c[name=app].image", text("nginx:1.26")),
            "c:\n  - {name: app, image: nginx:1.25}\n  - {name: b, image: x}\n",
            Ok("c:\n  - {name: app, image: nginx:1.26}\n  - {name: b, image: x}\n"),
        ),
        case(
            "08 plain with trailing comment to string",
            (Set, 0, "a", text("two words")),
            "a: one # c\nb: 1\n",
            Ok("a: two words # c\nb: 1\n"),
        ),
        case(
            "09 CRLF set",
            (Set, 0, "a.b", int(2)),
            "a:\r\n  b: 1\r\nc: 3\r\n",
            Ok("a:\r\n  b: 2\r\nc: 3\r\n"),
        ),
        case(
            "10 CRLF add key",
            (Put, 0, "a.c", int(2)),
            "a:\r\n  b: 1 # x\r\nd: 3\r\n",
            Ok("a:\r\n  b: 1 # x\r\n  c: 2\r\nd: 3\r\n"),
        ),
        case(
            "11 CRLF set quoted in list",
            (Set, 0, "l[m=a].v", text("y")),
            "l:\r\n- m: a\r\n  v: \"x\"\r\n",
            Ok("l:\r\n- m: a\r\n  v: \"y\"\r\n"),
        ),
        case(
            "12 multi-doc second document",
            (Set, 1, "a", int(3)),
            "a: 1\n---\na: 2\n",
            Ok("a: 1\n---\na: 3\n"),
        ),
        case(
            "13 multi-doc last document add",
            (Put, 1, "b", int(3)),
            "a: 1\n---\na: 2\n",
            Ok("a: 1\n---\na: 2\nb: 3\n"),
        ),
        case(
            "14 multi-doc add in first",
            (Put, 0, "b", int(3)),
            "a: 1\n---\na: 2\n",
            Ok("a: 1\nb: 3\n---\na: 2\n"),
        ),
        case(
            "15 empty first document",
            (Set, 1, "a", int(2)),
            "---\n# nothing\n---\na: 1\n",
            Ok("---\n# nothing\n---\na: 2\n"),
        ),
        case("16 no newline at end", (Set, 0, "b", int(2)), "a: 1\nb: 1", Ok("a: 1\nb: 2")),
        case("17 add, no newline at end", (Put, 0, "c", int(2)), "a: 1\nb: 1", Ok("a: 1\nb: 1\nc: 2")),
        case("18 byte order mark", (Set, 0, "a", int(2)), "\u{feff}a: 1\nb: 1\n", Ok("\u{feff}a: 2\nb: 1\n")),
        case("18b byte order mark, add", (Put, 0, "c", int(2)), "\u{feff}a: 1\n", Ok("\u{feff}a: 1\nc: 2\n")),
        case(
            "19 directive and document end",
            (Set, 0, "a", int(2)),
            "%YAML 1.2\n---\na: 1\n...\n# end\n",
            Ok("%YAML 1.2\n---\na: 2\n...\n# end\n"),
        ),
        case(
            "26 set null value with comment",
            (Set, 0, "a", int(1)),
            "a:   # why\nb: 2\n",
            Ok("a: 1   # why\nb: 2\n"),
        ),
        case("27 anchored value shared", (Set, 0, "a", int(2)), "a: &r 1\nb: *r\n", Err("Shared")),
        case("28 value is an alias", (Set, 0, "b", int(2)), "a: &r 1\nb: *r\n", Err("Alias")),
        case("29 child of anchored map", (Set, 0, "a.x", int(2)), "a: &r\n  x: 1\nb: *r\n", Err("Shared")),
        case("30 through an alias", (Set, 0, "b.x", int(2)), "a: &r\n  x: 1\nb: *r\n", Err("Alias")),
        case(
            "31 merge key, local override edited",
            (Set, 0, "b.x", int(3)),
            "a: &r {x: 1}\nb:\n  <<: *r\n  x: 2\n",
            Ok("a: &r {x: 1}\nb:\n  <<: *r\n  x: 3\n"),
        ),
        case(
            "32 merge key, inherited key gets a local one",
            (Put, 0, "b.x", int(3)),
            "a: &r {x: 1}\nb:\n  <<: *r\n  y: 2\n",
            Ok("a: &r {x: 1}\nb:\n  <<: *r\n  y: 2\n  x: 3\n"),
        ),
        case(
            "32b merge key, inherited key is not set",
            (Set, 0, "b.x", int(3)),
            "a: &r {x: 1}\nb:\n  <<: *r\n  y: 2\n",
            Err("Merged"),
        ),
        case(
            "33 anchor without aliases kept",
            (Set, 0, "a", int(2)),
            "a: &r 1 # c\nb: 2\n",
            Ok("a: &r 2 # c\nb: 2\n"),
        ),
        case(
            "34 literal block keep",
            (Set, 0, "a", text("new\n  deep\n\nend\n")),
            "a: |\n  old\n    x\nb: 1\n",
            Ok("a: |\n  new\n    deep\n\n  end\nb: 1\n"),
        ),
        case(
            "35 literal strip with four more columns",
            (Set, 0, "a.b", text("p\nq")),
            "a:\n  b: |- # h\n      old\n\n  c: 1\n",
            Ok("a:\n  b: |- # h\n      p\n      q\n\n  c: 1\n"),
        ),
        case(
            "36 folded to short string",
            (Set, 0, "a", text("short")),
            "a: >- # c\n  one\n  two\nb: 1\n",
            Ok("a: short # c\nb: 1\n"),
        ),
        case(
            "37 multi-line plain to short",
            (Set, 0, "a", text("short")),
            "a: one\n  two\n  three\nb: 1\n",
            Ok("a: short\nb: 1\n"),
        ),
        case(
            "38 value on next line after comment",
            (Set, 0, "a", text("new")),
            "a:\n  # why\n  old\nb: 1\n",
            Ok("a:\n  # why\n  new\nb: 1\n"),
        ),
        case(
            "39 quoted key with dots",
            (Set, 0, "m.\"a.b/c\"", int(2)),
            "m:\n  \"a.b/c\": 1\n",
            Ok("m:\n  \"a.b/c\": 2\n"),
        ),
        case(
            "40 plain key with dots and slash",
            (Set, 0, "m.\"kubectl.kubernetes.io/restartedAt\"", text("2026-01-02T03:04:05Z")),
            "m:\n  kubectl.kubernetes.io/restartedAt: \"2025-01-02T03:04:05Z\"\n",
            Ok("m:\n  kubectl.kubernetes.io/restartedAt: \"2026-01-02T03:04:05Z\"\n"),
        ),
        case(
            "41 hash inside quotes",
            (Set, 0, "a", text("x # z")),
            "a: \"x # y\" # c\n",
            Ok("a: \"x # z\" # c\n"),
        ),
        case("42 duplicate keys", (Set, 0, "a", int(3)), "a: 1\nb: 0\na: 2\n", Err("DuplicateKey")),
        case("43 tab before comment", (Set, 0, "a", int(2)), "a: 1\t# c\nb: 2\n", Ok("a: 2\t# c\nb: 2\n")),
        case(
            "44 emoji before edit",
            (Set, 0, "b", int(2)),
            "a: \"🚀 é\" # ü\nb: 1\n",
            Ok("a: \"🚀 é\" # ü\nb: 2\n"),
        ),
        case(
            "45 Helm template",
            (Set, 0, "a", int(2)),
            "a: 1\n{{- if .Values.x }}\nb: 2\n{{- end }}\n",
            Err("Syntax"),
        ),
        case("45b Helm value", (Set, 0, "a", int(2)), "a: {{ .Values.x }}\n", Err("Templated")),
    ]
});

static STRUCTURES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    vec![
        case(
            "20 add key mid-file, next sibling has a comment",
            (Put, 0, "a.c", int(2)),
            "a:\n  b: 1\n\n# about d\nd: 3\n",
            Ok("a:\n  b: 1\n  c: 2\n\n# about d\nd: 3\n"),
        ),
        case(
            "21 add key, four columns",
            (Put, 0, "a.c", int(2)),
            "a:\n    b: 1\nd: 3\n",
            Ok("a:\n    b: 1\n    c: 2\nd: 3\n"),
        ),
        case(
            "22 add nested missing parents",
            (Put, 0, "a.m.p.o", int(2)),
            "a:\n    b: 1\nd: 3\n",
            Ok("a:\n    b: 1\n    m:\n        p:\n            o: 2\nd: 3\n"),
        ),
        case(
            "23 add into empty flow map",
            (Put, 0, "a.b", int(2)),
            "a: {} # c\nd: 3\n",
            Ok("a: {b: 2} # c\nd: 3\n"),
        ),
        case(
            "24 add into flow map",
            (Put, 0, "a.b", text("x")),
            "a: {a: 1}\nd: 3\n",
            Ok("a: {a: 1, b: x}\nd: 3\n"),
        ),
        case(
            "25 add under null value",
            (Put, 0, "a.b", int(2)),
            "a: # c\nd: 3\n",
            Ok("a: # c\n  b: 2\nd: 3\n"),
        ),
        case(
            "25b add under written null",
            (Put, 0, "a.b", int(2)),
            "a: null # c\nd: 3\n",
            Ok("a: # c\n  b: 2\nd: 3\n"),
        ),
        case(
            "46 comment after dash",
            (Set, 0, "l[0].b", int(2)),
            "l:\n  - # one\n    b: 1\n",
            Ok("l:\n  - # one\n    b: 2\n"),
        ),
        case(
            "47 compact nested seq",
            (Set, 0, "l[0][1]", int(9)),
            "l:\n- - 1\n  - 2\n- 3\n",
            Ok("l:\n- - 1\n  - 9\n- 3\n"),
        ),
        case(
            "48 kustomize newTag that must be quoted",
            (Set, 0, "images[name=app].newTag", text("1.10")),
            "images:\n- name: app\n  newTag: v1.9 # t\n",
            Ok("images:\n- name: app\n  newTag: \"1.10\" # t\n"),
        ),
        case(
            "49 kustomize zero-indent list, key before name",
            (Set, 0, "images[name=b].newTag", text("v2")),
            "images:\n- newTag: v1\n  name: a\n- newTag: v1\n  name: b\nx: 1\n",
            Ok("images:\n- newTag: v1\n  name: a\n- newTag: v2\n  name: b\nx: 1\n"),
        ),
        case(
            "50 kustomize replicas count",
            (Set, 0, "replicas[name=api].count", int(5)),
            "replicas:\n- name: api\n  count: 3\n",
            Ok("replicas:\n- name: api\n  count: 5\n"),
        ),
        case(
            "51 add key in zero-indent list item",
            (Put, 0, "images[name=a].digest", text("sha256:ab")),
            "images:\n- name: a\n  newTag: v1 # t\n- name: b\n",
            Ok("images:\n- name: a\n  newTag: v1 # t\n  digest: sha256:ab\n- name: b\n"),
        ),
        case(
            "52 argo targetRevision",
            (Set, 0, "spec.source.targetRevision", text("v1.2.4")),
            "spec:\n  source:\n    targetRevision: v1.2.3\n    path: .\n",
            Ok("spec:\n  source:\n    targetRevision: v1.2.4\n    path: .\n"),
        ),
        case(
            "53 argo helm parameter",
            (Set, 0, "p[name=image.tag].value", text("7")),
            "p:\n  - name: image.tag\n    value: \"6\"\n",
            Ok("p:\n  - name: image.tag\n    value: \"7\"\n"),
        ),
        case(
            "54 key after literal block",
            (Set, 0, "b", int(2)),
            "a: |\n  x: 1\n  b: 9\nb: 1\n",
            Ok("a: |\n  x: 1\n  b: 9\nb: 2\n"),
        ),
        case(
            "55 add after literal block",
            (Put, 0, "b", int(2)),
            "a: |\n  x\n  y\n",
            Ok("a: |\n  x\n  y\nb: 2\n"),
        ),
        case(
            "56 add after literal block, blank lines",
            (Put, 0, "d.b", int(2)),
            "d:\n  a: |\n    x\n\n\nc: 1\n",
            Ok("d:\n  a: |\n    x\n  b: 2\n\n\nc: 1\n"),
        ),
        case(
            "56b add after kept blank lines",
            (Put, 0, "d.b", int(2)),
            "d:\n  a: |+\n    x\n\nc: 1\n",
            Ok("d:\n  a: |+\n    x\n\n  b: 2\nc: 1\n"),
        ),
        case(
            "57 JSON multi-line set",
            (Set, 0, "a.b", text("x")),
            "{\n  \"a\": {\n    \"b\": 1,\n    \"c\": [1, 2]\n  }\n}\n",
            Ok("{\n  \"a\": {\n    \"b\": \"x\",\n    \"c\": [1, 2]\n  }\n}\n"),
        ),
        case(
            "57b JSON multi-line add",
            (Put, 0, "a.d", text("x")),
            "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n",
            Ok("{\n  \"a\": {\n    \"b\": 1,\n    \"d\": \"x\"\n  }\n}\n"),
        ),
        case(
            "58 multi-line flow add",
            (Put, 0, "a.z", int(3)),
            "a: {\n  x: 1,\n  y: 2 # c\n}\nb: 1\n",
            Ok("a: {\n  x: 1,\n  y: 2, # c\n  z: 3\n}\nb: 1\n"),
        ),
        case(
            "58b multi-line flow add, trailing comma",
            (Put, 0, "a.z", int(3)),
            "a: {\n  y: 2, # c\n}\n",
            Ok("a: {\n  y: 2, # c\n  z: 3,\n}\n"),
        ),
        case("59 explicit key", (Set, 0, "k", int(2)), "? k # c\n: 1\nb: 1\n", Ok("? k # c\n: 2\nb: 1\n")),
        case("60 tag int", (Set, 0, "a", int(2)), "a: !!int 1\n", Ok("a: !!int 2\n")),
        case(
            "61 custom tag elsewhere kept",
            (Set, 0, "b", int(2)),
            "a: !vault x\nc: !!binary aGk=\nb: 1\n",
            Ok("a: !vault x\nc: !!binary aGk=\nb: 2\n"),
        ),
        case("62 comment-only file, add key", (Put, 0, "a", int(1)), "# only\n", Err("NoDocument")),
        case(
            "63 extra spaces after colon",
            (Set, 0, "a", int(22)),
            "a:    1\nbbb:  2\n",
            Ok("a:    22\nbbb:  2\n"),
        ),
        case(
            "64 int-like key",
            (Set, 0, "a.8080", text("b")),
            "a:\n  8080: a\n  x: 1\n",
            Ok("a:\n  8080: b\n  x: 1\n"),
        ),
        case(
            "65 bool replaces string",
            (Set, 0, "a", Value::Bool(true)),
            "a: \"no\" # c\n",
            Ok("a: true # c\n"),
        ),
        case("66 trailing spaces kept", (Set, 0, "a", int(2)), "a: 1  \nb: 2 \n", Ok("a: 2  \nb: 2 \n")),
        case(
            "67 set in item whose sibling has a colon comment",
            (Set, 0, "l[m=b].v", int(2)),
            "l:\n  - m: a # v: 9\n    v: 1\n  - m: b # v: 9\n    v: 1\n",
            Ok("l:\n  - m: a # v: 9\n    v: 1\n  - m: b # v: 9\n    v: 2\n"),
        ),
        case(
            "68 scalar list item with colon",
            (Set, 0, "l[0]", text("https://b/y:2")),
            "l:\n  - https://a/x:1\n  - z\n",
            Ok("l:\n  - https://b/y:2\n  - z\n"),
        ),
        case(
            "69 key containing colon, quoted",
            (Set, 0, "\"a:b\"", int(2)),
            "\"a:b\": 1\nc: 1\n",
            Ok("\"a:b\": 2\nc: 1\n"),
        ),
        case(
            "70 deep nesting",
            (Set, 0, "a.b.c.d[0].e.f[1].g", int(2)),
            "a:\n b:\n  c:\n   d:\n    - e:\n        f:\n          - 1\n          - g: 1\n",
            Ok("a:\n b:\n  c:\n   d:\n    - e:\n        f:\n          - 1\n          - g: 2\n"),
        ),
    ]
});

/// Title, result, document, path and value of every case that is edited, for another reader's opinion.
pub fn edited() -> Vec<(&'static str, String, usize, Path, Value)> {
    let all = SCALARS.iter().chain(STRUCTURES.iter());
    let edited = all.filter_map(|case| Some((case, case.expected.ok()?)));
    edited
        .map(|(case, text)| {
            (case.title, text.to_owned(), case.document, Path::parse(case.path).unwrap(), case.value.clone())
        })
        .collect()
}

#[test]
fn every_case_gives_exactly_the_expected_bytes_or_refusal() {
    let mut wrong = Vec::new();
    let mut numbers = std::collections::BTreeSet::new();
    for case in SCALARS.iter().chain(STRUCTURES.iter()) {
        numbers.insert(&case.title[..2]);
        let path = Path::parse(case.path).unwrap();
        let (document, value) = (case.document, case.value.clone());
        let edit = match case.verb {
            Set => Edit::Set { document, path, value },
            Put => Edit::Put { document, path, value },
        };
        let fine = match (apply(case.source.as_bytes(), &[edit]), case.expected) {
            (Ok(bytes), Ok(expected)) if bytes == expected.as_bytes() => continue,
            (Ok(bytes), _) => String::from_utf8(bytes).unwrap(),
            (Err(error), Err(name)) if format!("{error:?}").starts_with(name) => continue,
            (Err(error), _) => format!("{error:?}"),
        };
        wrong.push(format!("{}: expected {:?}, found {fine:?}", case.title, case.expected));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(numbers.len(), 70);
}
