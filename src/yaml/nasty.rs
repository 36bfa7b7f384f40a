//! Ninety strings that turn into something else when written carelessly, in five places, read back by both
//! parsers.

use super::{Edit, Path, Value, YamlError, apply, read};

pub const NASTY: [&str; 92] = [
    "",
    " ",
    "  x",
    "x ",
    "\t",
    "a\tb",
    "\n",
    "a\nb",
    "a\nb\n",
    "\na",
    "a\n\n",
    "a\r\nb",
    "\r",
    "~",
    "null",
    "Null",
    "NULL",
    "true",
    "True",
    "FALSE",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "Y",
    "n",
    "N",
    "1",
    "-1",
    "+1",
    "010",
    "0o10",
    "0x1F",
    "0b11",
    "1_000",
    "1.0",
    "1.10",
    "1e3",
    "12e03",
    ".5",
    "5.",
    "1.0e+3",
    ".inf",
    "-.INF",
    ".nan",
    "1:30",
    "190:20:30",
    "2024-01-02",
    "2024-01-02T03:04:05Z",
    "=",
    "<<",
    "-",
    "--",
    "---",
    "...",
    "- a",
    "-a",
    "?",
    "? a",
    ":",
    ":a",
    "a:",
    "a: b",
    "a:b",
    "a #b",
    "a# b",
    "#a",
    "&a",
    "*a",
    "!a",
    "!!binary",
    "|",
    ">-",
    "%a",
    "@a",
    "`a",
    "\"a\"",
    "'a'",
    "it's",
    "[a]",
    "{a: b}",
    "a, b",
    "a]b",
    "\\",
    "a\\nb",
    "\u{0}",
    "\u{7}\u{1b}[31m",
    "\u{85}\u{2028}",
    "\u{feff}a",
    "e\u{202e}f",
    "🚀 é",
];

/// Source, path: a plain, a single-quoted, a double-quoted, a flow and a literal place.
pub const PLACES: [(&str, &str); 5] = [
    ("a: 1\nv: old # c\nz: 1\n", "v"),
    ("a: 1\nv: 'old' # c\nz: 1\n", "v"),
    ("a: 1\nl:\n- v: \"old\"\n  w: 1\n", "l[0].v"),
    ("a: {x: 1, v: old, z: [1]} # c\n", "a.v"),
    ("a:\n  v: |\n    old\n    text\n  w: 1\n", "a.v"),
];

#[track_caller]
fn reads_back(source: &str, path: &str, edit: &Edit, value: &Value) {
    let bytes = apply(source.as_bytes(), std::slice::from_ref(edit))
        .unwrap_or_else(|error| panic!("{value:?} in {source:?}: {error:?}"));
    let documents = read(&bytes).unwrap();
    let node = documents[0].root.at(&Path::parse(path).unwrap()).unwrap();
    let scalar = node.as_scalar().unwrap();
    assert_eq!(scalar.typed(), *value, "{}", String::from_utf8_lossy(&bytes));
    assert!(!scalar.ambiguous(), "{}", String::from_utf8_lossy(&bytes));
    let second: yaml_serde::Value = yaml_serde::from_slice(&bytes).unwrap();
    let mut at = &second;
    for step in path.replace("[0]", ".0").split('.') {
        at = step.parse::<usize>().map_or_else(|_| &at[step], |index| &at[index]);
    }
    if let Value::Text(text) = value {
        assert_eq!(at.as_str(), Some(text.as_str()), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn nasty_strings_stay_strings_in_every_place() {
    for (source, path) in PLACES {
        for text in NASTY {
            let value = Value::Text(text.to_owned());
            let edit = Edit::Set { document: 0, path: Path::parse(path).unwrap(), value: value.clone() };
            reads_back(source, path, &edit, &value);
        }
    }
}

#[test]
fn nasty_strings_stay_strings_as_new_keys_and_values() {
    for source in ["m:\n  a: 1\nz: 1\n", "m: {a: 1}\n", "m: {\"a\": 1}\n", "m: {}\n", "m:\n"] {
        for text in NASTY {
            let value = Value::Text(text.to_owned());
            let path = Path::default().key("m").key("new");
            reads_back(source, "m.new", &Edit::Put { document: 0, path, value: value.clone() }, &value);
            let path = Path::default().key("m").key(text);
            let put = Edit::Put { document: 0, path: path.clone(), value: Value::Int(1) };
            match apply(source.as_bytes(), &[put]) {
                Ok(bytes) => assert_eq!(read(&bytes).unwrap()[0].root.at(&path).unwrap().as_u32(), Some(1)),
                // The merge key is never written as a key of one's own.
                Err(YamlError::Merged { .. }) if text == "<<" => {}
                Err(error) => panic!("{text:?} in {source:?}: {error:?}"),
            }
        }
    }
}

#[test]
fn nasty_strings_stay_strings_in_appended_items() {
    for source in ["l:\n- k: 1\nz: 1\n", "l: [{k: 1}]\n", "l: []\n", "l:\n", "z: 1\n"] {
        for text in NASTY {
            let value = Value::Text(text.to_owned());
            let entries = vec![("n".to_owned(), value.clone()), ("count".to_owned(), Value::Int(2))];
            let edit = Edit::Append { document: 0, path: Path::default().key("l"), entries };
            let bytes = apply(source.as_bytes(), &[edit]).unwrap();
            let documents = read(&bytes).unwrap();
            let item = documents[0].root.get("l").unwrap().as_list().last().unwrap();
            assert_eq!(item.get("n").unwrap().as_str(), Some(text), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn other_types_are_written_so_that_every_reader_types_them_alike() {
    let floats = [0.0, -0.0, 1.5, 1e21, 1e-7, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY];
    let values = floats
        .into_iter()
        .map(Value::Float)
        .chain([i64::MIN, -1, 0, 7, i64::MAX].map(Value::Int))
        .chain([Value::Bool(true), Value::Bool(false), Value::Null]);
    for value in values {
        for (source, path) in PLACES {
            let edit = Edit::Set { document: 0, path: Path::parse(path).unwrap(), value: value.clone() };
            reads_back(source, path, &edit, &value);
        }
    }
}

#[test]
fn a_template_placeholder_is_not_written() {
    for text in ["{{x}}", "${x}", "a ${HOME} b"] {
        for (source, path) in PLACES {
            let path = Path::parse(path).unwrap();
            let edit = Edit::Set { document: 0, path, value: Value::Text(text.to_owned()) };
            assert!(matches!(apply(source.as_bytes(), &[edit]), Err(YamlError::Templated { .. })));
        }
    }
}
