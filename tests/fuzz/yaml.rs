//! Any bytes and any typed edit into the YAML editor. It may refuse; it may not panic, change a byte that the
//! edit does not name, or write what it cannot read back.

#![no_main]

#[allow(unused, reason = "part of the room is used here")]
#[path = "../../src/yaml/mod.rs"]
mod yaml;

#[allow(unused, reason = "each target uses some of the choices")]
mod choices;

use choices::Choices;
use libfuzzer_sys::fuzz_target;
use yaml::{Document, Edit, Fresh, Node, NodeKind, Path, Step};

/// Most places of one stream that an edit may choose from.
const PLACES_MAX: usize = 4_096;

/// A node and the way to it.
struct Place {
    document: usize,
    path: Path,
    bytes: std::ops::Range<usize>,
}

fn below(path: &Path, step: Step) -> Path {
    let mut path = path.clone();
    path.0.push(step);
    path
}

fn collect(places: &mut Vec<Place>, document: usize, node: &Node, path: &Path) {
    if places.len() == PLACES_MAX {
        return;
    }
    places.push(Place { document, path: path.clone(), bytes: node.span.clone() });
    match &node.kind {
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                if let Some(key) = key.text() {
                    collect(places, document, value, &below(path, Step::Key(key.to_owned())));
                }
            }
        }
        NodeKind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(places, document, item, &below(path, Step::Index(index)));
            }
        }
        NodeKind::Scalar(_) | NodeKind::Alias(_) => {}
    }
}

fn places(documents: &[Document]) -> Vec<Place> {
    let mut places = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        collect(&mut places, index, &document.root, &Path::default());
    }
    places
}

fn tree(choices: &mut Choices<'_>, depth: usize) -> Fresh {
    let count = usize::from(choices.byte() % 4);
    match choices.byte() % 3 {
        1 if depth > 0 => Fresh::List((0..count).map(|_| tree(choices, depth - 1)).collect()),
        2 if depth > 0 => {
            // Two equal keys would be a fault of the caller.
            let entry = |at: usize, choices: &mut Choices<'_>| {
                (format!("{at}{}", choices.text(usize::from(at as u8) * 2)), tree(choices, depth - 1))
            };
            Fresh::Map((0..count).map(|at| entry(at, choices)).collect())
        }
        _ => Fresh::Scalar(choices.value()),
    }
}

fn edit(choices: &mut Choices<'_>, place: &Place, depth: usize) -> Edit {
    let (document, path) = (place.document, place.path.clone());
    match choices.byte() % 8 {
        0 | 1 => Edit::Set { document, path, value: choices.value() },
        2 => Edit::Put { document, path: new(choices, path), value: choices.value() },
        3 => Edit::Remove { document, path },
        4 => Edit::Insert { document, path: new(choices, path), tree: tree(choices, 2) },
        5 => Edit::Append { document, path, entries: vec![("name".to_owned(), choices.value())] },
        6 => Edit::AddDocument { tree: Fresh::Map(vec![("kind".to_owned(), tree(choices, 2))]) },
        _ if depth > 0 => {
            let inner = Place { document: 0, path: new(choices, Path::default()), bytes: 0..0 };
            Edit::Inside { document, path, edit: Box::new(edit(choices, &inner, depth - 1)) }
        }
        _ => Edit::Remove { document, path },
    }
}

/// A place that is not there yet, mostly.
fn new(choices: &mut Choices<'_>, path: Path) -> Path {
    match choices.byte() % 5 {
        0 => path.key("new"),
        1 => path.key("new").key("deep"),
        2 => below(&path, Step::Item { key: "name".to_owned(), value: "new".to_owned() }),
        3 => path.key(choices.text(8)),
        _ => path,
    }
}

fn common(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

/// Whether `long` is `short` with bytes put in at one place.
fn grown(short: &[u8], long: &[u8]) -> bool {
    let head = common(short.iter().copied(), long.iter().copied());
    let tail = common(short.iter().rev().copied(), long.iter().rev().copied());
    short.len() <= long.len() && head + tail >= short.len()
}

fn check(source: &[u8], place: &Place, edit: &Edit, edited: &[u8]) {
    let after = yaml::read(edited).expect("what was written reads back");
    match edit {
        Edit::Set { value, document, path } => {
            let node = after[*document].root.at(path).expect("what was set is there");
            let now = node.as_scalar().expect("a scalar was set").typed();
            assert_eq!(format!("{now:?}"), format!("{value:?}"));
            if place.bytes.is_empty() {
                // A value that was not there takes the space behind its colon, if there is one.
                assert!(grown(source, edited), "bytes around the new value changed");
                return;
            }
            let end = place.bytes.end.min(source.len());
            let head = &source[..place.bytes.start.min(end)];
            assert!(edited.starts_with(head), "bytes before the value changed");
            assert!(edited[head.len()..].ends_with(&source[end..]), "bytes behind the value changed");
        }
        Edit::AddDocument { .. } => assert!(edited.starts_with(source), "bytes before the document changed"),
        // A null or an empty collection gives way to the new entries, so the text need not only grow.
        Edit::Put { .. } | Edit::Insert { .. } | Edit::Append { .. } => {
            let empty = place.bytes.len() <= 4;
            let end = place.bytes.end.min(source.len());
            let kept = edited.starts_with(&source[..place.bytes.start.min(end)]);
            assert!(grown(source, edited) || empty || kept, "bytes outside the place changed");
        }
        Edit::Remove { .. } | Edit::Inside { .. } => {}
    }
}

fuzz_target!(|input: &[u8]| {
    let (source, mut choices) = Choices::split(input);
    let Ok(documents) = yaml::read(source) else {
        // Bytes that are not YAML are refused by an edit too, and it must say so rather than end.
        let add = Edit::AddDocument { tree: Fresh::Map(Vec::new()) };
        assert!(yaml::apply(source, &[add]).is_err());
        return;
    };
    let _ = yaml::markers(source, 0);
    let places = places(&documents);
    let nowhere = Place { document: 0, path: Path::default(), bytes: 0..0 };
    let at = choices.below(places.len().max(1));
    let place = places.get(at).unwrap_or(&nowhere);
    let edit = edit(&mut choices, place, 2);
    let Ok(edited) = yaml::apply(source, std::slice::from_ref(&edit)) else { return };
    check(source, place, &edit, &edited);
});
