//! What Kubernetes reads: the golden cases, the nasty strings and two thousand random edits are read again by
//! `sigs.k8s.io/yaml`, in one process of the part `yaml-reader` (`tests/install-parts`).
#![allow(clippy::disallowed_methods, reason = "tests drive a real reader, found by its place and by CI=true")]

use super::promises::{header, wrapped};
use super::property::{Shape, shape, tree_value, value, write};
use super::{Edit, Fresh, Path, Step, Value, YamlError, apply, cases, nasty, read};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The newest `yaml-reader` in the cache; without one, a loud skip, or a failure where `CI=true`.
fn reader(test: &str) -> Option<PathBuf> {
    let parts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/parts");
    let folders = std::fs::read_dir(parts).into_iter().flatten().filter_map(Result::ok);
    let programs = folders
        .filter(|it| it.file_name().to_string_lossy().starts_with("yaml-reader-"))
        .map(|it| it.path().join("bin/yaml-reader"));
    let found = programs.filter(|it| it.is_file()).max();
    if found.is_none() {
        let text = format!("{test}: yaml-reader is missing; run tests/install-parts");
        assert!(!std::env::var("CI").is_ok_and(|it| it == "true"), "{text} (in CI that is a failure)");
        let _ = writeln!(std::io::stderr(), "SKIP {text}");
    }
    found
}

/// One question: a file, a document in it and a path of keys and indexes.
struct Question {
    text: String,
    document: usize,
    path: Vec<Json>,
}

/// What the reader says to each question: a value, or why there is none.
fn ask(reader: PathBuf, questions: &[Question]) -> Vec<Result<Json, String>> {
    let mut child = Command::new(reader).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<String> = questions
        .iter()
        .map(|it| json!({ "text": it.text, "document": it.document, "path": it.path }).to_string())
        .collect();
    // Both pipes are bounded: writing everything before reading anything would wait for ever.
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(input, "{line}")));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers: Vec<Json> =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.len(), questions.len());
    let told = |answer: &Json| match answer.get("error").and_then(Json::as_str) {
        Some(error) => Err(error.to_owned()),
        None => Ok(answer["value"].clone()),
    };
    answers.iter().map(told).collect()
}

/// The path in keys and indexes, as the file stands.
fn steps(text: &str, document: usize, path: &Path) -> Vec<Json> {
    let documents = read(text.as_bytes()).unwrap();
    let mut node = &documents[document].root;
    let mut found = Vec::new();
    for step in path.steps() {
        let index = node.child_index(step, String::new).unwrap().unwrap();
        found.push(match step {
            Step::Key(key) => json!(key),
            _ => json!(index),
        });
        node = node.child(index).unwrap();
    }
    found
}

fn same(read: &Json, meant: &Fresh) -> bool {
    match (read, meant) {
        (Json::Null, Fresh::Scalar(Value::Null)) => true,
        (Json::Bool(a), Fresh::Scalar(Value::Bool(b))) => a == b,
        (Json::Number(a), Fresh::Scalar(Value::Int(b))) => a.as_i64() == Some(*b),
        (Json::Number(a), Fresh::Scalar(Value::Float(b))) => a.as_f64() == Some(*b),
        (Json::String(a), Fresh::Scalar(Value::Text(b))) => a == b,
        (Json::Array(a), Fresh::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Fresh::Map(b)) => {
            a.len() == b.len() && b.iter().all(|(key, b)| a.get(key).is_some_and(|a| same(a, b)))
        }
        _ => false,
    }
}

/// JSON has no infinity and no NaN, and neither has a Kubernetes object.
fn finite(fresh: &Fresh) -> bool {
    match fresh {
        Fresh::Scalar(Value::Float(float)) => float.is_finite(),
        Fresh::Scalar(_) => true,
        Fresh::List(items) => items.iter().all(finite),
        Fresh::Map(entries) => entries.iter().all(|(_, value)| finite(value)),
    }
}

#[test]
fn kubernetes_reads_the_value_of_every_golden_case() {
    let Some(reader) = reader("kubernetes_reads_the_value_of_every_golden_case") else { return };
    let cases = cases::edited();
    assert!(cases.len() > 60);
    let questions: Vec<Question> = cases
        .iter()
        .map(|(_, text, document, path, _)| Question {
            text: text.clone(),
            document: *document,
            path: steps(text, *document, path),
        })
        .collect();
    for ((title, text, _, _, value), read) in cases.iter().zip(ask(reader, &questions)) {
        let fine = read.as_ref().is_ok_and(|read| same(read, &Fresh::Scalar(value.clone())));
        assert!(fine, "{title}: meant {value:?}, read {read:?} in\n{text}");
    }
}

#[test]
fn kubernetes_reads_every_nasty_string_as_it_is() {
    let Some(reader) = reader("kubernetes_reads_every_nasty_string_as_it_is") else { return };
    let mut meant = Vec::new();
    let mut questions = Vec::new();
    for (source, path) in nasty::PLACES {
        let path = Path::parse(path).unwrap();
        for text in nasty::NASTY {
            let value = Value::Text(text.to_owned());
            let edit = Edit::Set { document: 0, path: path.clone(), value: value.clone() };
            let text = String::from_utf8(apply(source.as_bytes(), &[edit]).unwrap()).unwrap();
            let path = steps(&text, 0, &path);
            questions.push(Question { text, document: 0, path });
            meant.push(Fresh::Scalar(value));
        }
    }
    for ((question, meant), read) in questions.iter().zip(&meant).zip(ask(reader, &questions)) {
        let fine = read.as_ref().is_ok_and(|read| same(read, meant));
        assert!(fine, "meant {meant:?}, read {read:?} in\n{}", question.text);
    }
}

/// An edit of a random document that was made.
struct Made {
    before: String,
    after: String,
    document: usize,
    path: Path,
    meant: Fresh,
}

/// The same edit as one of the text in a block scalar; what is meant is the whole text, edited.
fn made_inside(shape: &Shape, edit: Edit) -> Option<Made> {
    let written = write(&Shape { bom: false, ..shape.clone() });
    let (header, eol) = (header(&written.source), if shape.crlf { "\r\n" } else { "\n" });
    let before = wrapped(&written.source, header, 3, eol);
    let text =
        String::from_utf8(apply(written.source.as_bytes(), std::slice::from_ref(&edit)).ok()?).unwrap();
    let meant = Fresh::Scalar(Value::Text(text.replace("\r\n", "\n")));
    let path = Path::default().key("text");
    let inside = Edit::Inside { document: 0, path: path.clone(), edit: Box::new(edit) };
    let after = String::from_utf8(apply(before.as_bytes(), &[inside]).ok()?).unwrap();
    Some(Made { before, after, document: 0, path, meant })
}

fn made(runner: &mut TestRunner) -> Option<Made> {
    let mut drawn = |count: usize| prop::num::usize::ANY.new_tree(runner).unwrap().current() % count;
    let (pick, verb) = (drawn(usize::MAX), drawn(4));
    let shape = shape().new_tree(runner).unwrap().current();
    let written = write(&shape);
    let leaf = &written.leaves[pick % written.leaves.len()];
    let map = &written.maps[pick % written.maps.len()];
    let (document, path, meant, edit) = if verb == 0 {
        let tree = tree_value().new_tree(runner).unwrap().current();
        let (document, path) = (map.document, map.path.clone().key("new"));
        (document, path.clone(), tree.clone(), Edit::Insert { document, path, tree })
    } else {
        let value = value().new_tree(runner).unwrap().current();
        let (document, path) = (leaf.document, leaf.path.clone());
        (document, path.clone(), Fresh::Scalar(value.clone()), Edit::Set { document, path, value })
    };
    if verb == 1 {
        return made_inside(&shape, edit);
    }
    let after = apply(written.source.as_bytes(), &[edit]).ok().filter(|_| finite(&meant))?;
    Some(Made { before: written.source, after: String::from_utf8(after).unwrap(), document, path, meant })
}

/// Takes the value at a path out of what was read.
fn take(root: &mut Json, path: &[Json]) -> Option<Json> {
    let (last, above) = path.split_last()?;
    let mut holder = root;
    for step in above {
        holder = match step.as_u64() {
            Some(index) => holder.get_mut(usize::try_from(index).ok()?)?,
            None => holder.get_mut(step.as_str()?)?,
        };
    }
    match last.as_u64() {
        Some(index) => holder.get_mut(usize::try_from(index).ok()?).map(Json::take),
        None => holder.as_object_mut()?.remove(last.as_str()?),
    }
}

#[test]
fn kubernetes_reads_two_thousand_random_edits_as_they_were_meant() {
    let Some(reader) = reader("kubernetes_reads_two_thousand_random_edits_as_they_were_meant") else {
        return;
    };
    let mut runner = TestRunner::deterministic();
    let mut edits = Vec::new();
    while edits.len() < 2_000 {
        edits.extend(made(&mut runner));
    }
    let whole = |text: &str, document| Question { text: text.to_owned(), document, path: Vec::new() };
    let questions: Vec<Question> =
        edits.iter().flat_map(|it| [whole(&it.before, it.document), whole(&it.after, it.document)]).collect();
    let answers = ask(reader, &questions);
    for (edit, read) in edits.iter().zip(answers.chunks(2)) {
        let (Ok(mut before), Ok(mut after)) = (read[0].clone(), read[1].clone()) else {
            panic!("{read:?}\n{}\n{}", edit.before, edit.after);
        };
        let path = steps(&edit.after, edit.document, &edit.path);
        take(&mut before, &path);
        let now = take(&mut after, &path);
        assert!(
            now.as_ref().is_some_and(|now| same(now, &edit.meant)),
            "{now:?} {:?}\n{}",
            edit.meant,
            edit.after
        );
        assert_eq!(before, after, "something else changed:\n{}\n{}", edit.before, edit.after);
    }
}

#[test]
fn what_is_refused_as_a_threat_is_one_for_kubernetes() {
    let Some(reader) = reader("what_is_refused_as_a_threat_is_one_for_kubernetes") else { return };
    let told = [
        // A merge key wins over an entry before it and loses to one behind it.
        ("r: &r {a: 1}\nb:\n  a: 2\n  <<: *r\n", json!({ "r": { "a": 1 }, "b": { "a": 1 } })),
        ("r: &r {a: 1}\nb:\n  <<: *r\n  a: 2\n", json!({ "r": { "a": 1 }, "b": { "a": 2 } })),
        ("on: 1\n1.10: 2\n", json!({ "true": 1, "1.1": 2 })),
        ("a: 010\nb: 1_000\nc: yes\n", json!({ "a": 8, "b": 1000, "c": true })),
    ];
    let questions: Vec<Question> = told
        .iter()
        .map(|(text, _)| Question { text: (*text).to_owned(), document: 0, path: Vec::new() })
        .collect();
    for ((text, told), read) in told.iter().zip(ask(reader, &questions)) {
        assert_eq!(read.as_ref(), Ok(told), "{text}");
    }
    let set = |path: &str| Edit::Set { document: 0, path: Path::parse(path).unwrap(), value: Value::Int(5) };
    assert!(matches!(apply(told[0].0.as_bytes(), &[set("b.a")]), Err(YamlError::Merged { .. })));
    assert!(apply(told[1].0.as_bytes(), &[set("b.a")]).is_ok());
}
