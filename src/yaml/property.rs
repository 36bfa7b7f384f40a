//! Random documents with comments, anchors, merge keys, every scalar style, CRLF and several documents. The
//! generator, not the parser under test, knows where every leaf is.

use super::{Fresh, Path, Step, Value};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;

/// A document before it is text. Numbers pick from the tables of the writer, so that shrinking keeps it
/// valid.
#[derive(Debug, Clone)]
pub enum Tree {
    Leaf { style: u8, text: u8, note: u8 },
    Map { children: Vec<Tree>, flow: bool, anchor: bool, merge: bool, note: u8 },
    List { children: Vec<Tree>, flow: bool, note: u8 },
}

#[derive(Debug, Clone)]
pub struct Shape {
    pub documents: Vec<Tree>,
    pub crlf: bool,
    pub bom: bool,
    pub step: usize,
    pub zero_indent: bool,
    pub final_break: bool,
}

/// One scalar or mapping as written.
#[derive(Debug, Clone)]
pub struct Place {
    pub document: usize,
    pub path: Path,
    pub bytes: Range<usize>,
    /// Anchors on it and its ancestors.
    anchors: Vec<usize>,
    /// It is an alias, or carries a tag: never to be edited.
    closed: bool,
}

#[derive(Debug, Default)]
pub struct Written {
    pub source: String,
    pub leaves: Vec<Place>,
    pub maps: Vec<Place>,
    used: BTreeSet<usize>,
}

impl Written {
    pub fn editable(&self, place: &Place) -> bool {
        !place.closed && place.anchors.iter().all(|anchor| !self.used.contains(anchor))
    }
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.2)
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf =
        (0_u8..14, any::<u8>(), 0_u8..8).prop_map(|(style, text, note)| Tree::Leaf { style, text, note });
    leaf.prop_recursive(4, 24, 4, |inner| {
        let children = prop::collection::vec(inner, 1..5);
        prop_oneof![
            3 => (children.clone(), rarely(), rarely(), any::<bool>(), 0_u8..8)
                .prop_map(|(children, flow, anchor, merge, note)| {
                    Tree::Map { children, flow, anchor, merge, note }
                }),
            2 => (children, prop::bool::weighted(0.3), 0_u8..8)
                .prop_map(|(children, flow, note)| Tree::List { children, flow, note }),
        ]
    })
}

pub fn shape() -> impl Strategy<Value = Shape> {
    let root = (prop::collection::vec(tree(), 1..5), 0_u8..8).prop_map(|(children, note)| Tree::Map {
        children,
        flow: false,
        anchor: false,
        merge: false,
        note,
    });
    (prop::collection::vec(root, 1..4), any::<[bool; 4]>(), prop_oneof![Just(2_usize), Just(4)]).prop_map(
        |(documents, [crlf, bom, zero_indent, final_break], step)| Shape {
            documents,
            crlf,
            bom,
            step,
            zero_indent,
            final_break,
        },
    )
}

struct Writer<'s> {
    shape: &'s Shape,
    out: Written,
    document: usize,
    anchors: usize,
    open: Vec<usize>,
    /// Anchors whose node is complete: of scalars and of mappings.
    done: [Vec<usize>; 2],
}

const KEYS: [&str; 6] = ["name", "replicas", "kubectl.kubernetes.io/at", "\"q k\"", "'80'", "é"];
const WORDS: [&str; 6] = ["alpha", "two words", "nginx:1.25", "ünï 🚀", "a-b_c", "v1.2.3"];

pub fn write(shape: &Shape) -> Written {
    let mut writer = Writer {
        shape,
        out: Written::default(),
        document: 0,
        anchors: 0,
        open: Vec::new(),
        done: [Vec::new(), Vec::new()],
    };
    if shape.bom {
        writer.out.source.push('\u{feff}');
    }
    for (index, root) in shape.documents.iter().enumerate() {
        writer.document = index;
        writer.done = [Vec::new(), Vec::new()];
        if index > 0 {
            writer.put("---");
            writer.line(index as u8);
        }
        writer.children(root, 0, &Path::default());
    }
    let mut out = writer.out;
    if !shape.final_break {
        while out.source.ends_with(['\n', '\r', ' ']) {
            out.source.pop();
        }
    }
    out
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.out.source.push_str(text);
    }

    /// Ends a line, sometimes with a comment, trailing space, blank line or comment line.
    fn line(&mut self, note: u8) {
        self.put(match note {
            1 => " # note: \"x\"",
            2 => "  ",
            // libyaml takes no tab straight behind an indicator.
            3 if !self.out.source.ends_with([':', '-']) => "\t# tab",
            _ => "",
        });
        let eol = if self.shape.crlf { "\r\n" } else { "\n" };
        self.put(eol);
        match note {
            4 => self.put(eol),
            5 => self.put(&format!("# - line: [{eol}")),
            _ => {}
        }
    }

    fn place(&self, path: &Path, start: usize, anchor: Option<usize>, closed: bool) -> Place {
        let anchors = self.open.iter().copied().chain(anchor).collect();
        Place {
            document: self.document,
            path: path.clone(),
            bytes: start..self.out.source.len(),
            anchors,
            closed,
        }
    }

    fn alias(&mut self, kind: usize) -> bool {
        let Some(anchor) = self.done[kind].last().copied() else { return false };
        self.out.used.insert(anchor);
        self.put(&format!("*a{anchor}"));
        true
    }

    /// A scalar, from just behind its colon or dash to the end of its lines. `margin` is the parent's
    /// indentation.
    fn leaf(&mut self, (style, text, note): (u8, u8, u8), flow: bool, margin: usize, path: &Path) {
        let word = WORDS[text as usize % WORDS.len()];
        let before = self.out.source.len();
        self.put(" ");
        let mut start = self.out.source.len();
        let (mut anchor, mut closed) = (None, false);
        let eol = if self.shape.crlf { "\r\n" } else { "\n" };
        let pad = " ".repeat(margin + self.shape.step);
        match style {
            0 | 1 => self.put(&format!("{}", u16::from(text) * 7)),
            2 => self.put(&format!("'{word} it''s'")),
            3 => self.put(&format!("\"{word} \\\"q\\\" \\u00e9\"")),
            4 if !flow => {
                self.put(&format!("|{eol}{pad}{word}{eol}{eol}{pad}  # not a comment{eol}{pad}end"));
            }
            5 if !flow => self.put(&format!("|-{eol}{pad}{word}{eol}{pad}{{}}")),
            6 if !flow => self.put(&format!(">-{eol}{pad}{word}{eol}{pad}folded")),
            7 if !flow => self.put(&format!("{word}{eol}{pad}more")),
            8 if !flow => {
                self.out.source.truncate(before);
                start = before;
            }
            9 | 10 => {
                self.anchors += 1;
                anchor = Some(self.anchors);
                self.put(&format!("&a{} ", self.anchors));
                start = self.out.source.len();
                self.put(if flow { "anchored" } else { word });
            }
            11 => {
                closed = self.alias(0);
                if !closed {
                    self.put("true");
                }
            }
            12 => {
                self.put("!local ");
                start = self.out.source.len();
                self.put("'t'");
                closed = true;
            }
            13 if !flow => {
                self.put(&format!("# why{eol}{pad}"));
                start = self.out.source.len();
                self.put(word);
            }
            _ => self.put(if flow && word.contains(':') { "plain" } else { word }),
        }
        let place = self.place(path, start, anchor, closed);
        self.out.leaves.push(place);
        self.done[0].extend(anchor);
        if !flow {
            let block = matches!(style, 4..=6);
            // Behind a block scalar's last line, everything on that line is content.
            self.line(if block && note < 4 { 0 } else { note });
        }
    }

    /// The lines of a block mapping or list; the first child continues the current line when `inline` is set.
    fn block(&mut self, node: &Tree, indent: usize, path: &Path, mut inline: bool) {
        let margin = " ".repeat(indent);
        let (children, is_map) = match node {
            Tree::Map { children, .. } => (children, true),
            Tree::List { children, .. } => (children, false),
            Tree::Leaf { .. } => return,
        };
        if let Tree::Map { merge: true, .. } = node
            && !self.done[1].is_empty()
            && !inline
        {
            self.put(&format!("{margin}<<: "));
            self.alias(1);
            self.line(0);
        }
        for (at, child) in children.iter().enumerate() {
            if !inline {
                self.put(&margin);
            }
            inline = false;
            let below = if is_map { key_at(path, at) } else { index_at(path, at) };
            self.put(&if is_map { format!("{}:", key_text(at)) } else { "-".to_owned() });
            self.value(child, indent, &below, is_map);
        }
    }

    fn value(&mut self, node: &Tree, indent: usize, path: &Path, in_map: bool) {
        match node {
            Tree::Leaf { style, text, note } => self.leaf((*style, *text, *note), false, indent, path),
            Tree::Map { flow: true, note, .. } | Tree::List { flow: true, note, .. } => {
                self.put(" ");
                self.flow(node, path);
                self.line(*note);
            }
            Tree::Map { anchor, note, .. } if in_map => {
                if *anchor {
                    self.anchors += 1;
                    self.put(&format!(" &a{}", self.anchors));
                    self.open.push(self.anchors);
                }
                let mine = self.anchors;
                self.line(*note);
                self.children(node, indent + self.shape.step, path);
                if *anchor {
                    self.open.pop();
                    self.done[1].push(mine);
                }
            }
            Tree::List { note, .. } if in_map => {
                self.line(*note);
                let nested = if self.shape.zero_indent { indent } else { indent + self.shape.step };
                self.block(node, nested, path, false);
            }
            _ => {
                self.put(" ");
                let start = self.out.source.len();
                self.block(node, indent + 2, path, true);
                self.record_map(node, path, start);
            }
        }
    }

    fn children(&mut self, node: &Tree, indent: usize, path: &Path) {
        let start = self.out.source.len();
        self.block(node, indent, path, false);
        self.record_map(node, path, start);
    }

    fn record_map(&mut self, node: &Tree, path: &Path, start: usize) {
        if matches!(node, Tree::Map { .. }) {
            let place = self.place(path, start, None, false);
            self.out.maps.push(place);
        }
    }

    fn flow(&mut self, node: &Tree, path: &Path) {
        let start = self.out.source.len();
        let (children, is_map) = match node {
            Tree::Map { children, .. } => (children, true),
            Tree::List { children, .. } => (children, false),
            Tree::Leaf { style, text, note } => return self.leaf((*style, *text, *note), true, 0, path),
        };
        self.put(if is_map { "{" } else { "[" });
        for (at, child) in children.iter().enumerate() {
            self.put(if at > 0 { ", " } else { "" });
            let below = if is_map { key_at(path, at) } else { index_at(path, at) };
            if is_map {
                self.put(&format!("{}: ", key_text(at)));
            }
            self.flow(child, &below);
        }
        self.put(if is_map { "}" } else { "]" });
        self.record_map(node, path, start);
    }
}

fn key_text(at: usize) -> String {
    KEYS[at % KEYS.len()].to_owned()
}

fn key_at(path: &Path, at: usize) -> Path {
    path.clone().key(key_text(at).trim_matches(['"', '\'']))
}

fn index_at(path: &Path, at: usize) -> Path {
    let mut path = path.clone();
    path.0.push(Step::Index(at));
    path
}

pub fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => any::<i64>().prop_map(Value::Int),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<f64>().prop_map(Value::Float),
        1 => Just(Value::Null),
        4 => "\\PC{0,12}".prop_map(Value::Text),
        2 => "[ -~\\n\\t]{0,20}".prop_map(Value::Text),
        2 => "[0-9a-z:.+_-]{1,8}".prop_map(Value::Text),
    ]
    .prop_filter("templates are refused", |value| match value {
        Value::Text(text) => !["{{", "${", "{%"].iter().any(|open| text.contains(open)),
        _ => true,
    })
}

/// A map or list of a few values, some of them collections.
pub fn tree_value() -> impl Strategy<Value = Fresh> {
    let leaf = value().prop_map(Fresh::Scalar);
    let inner = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Fresh::List),
            prop::collection::btree_map("[a-z]{1,3}|\\PC{0,4}", inner, 0..4)
                .prop_map(|entries| Fresh::Map(entries.into_iter().collect())),
        ]
    });
    inner.prop_filter("merge keys and templates are refused", |fresh| {
        !fresh
            .texts()
            .iter()
            .any(|text| *text == "<<" || ["{{", "${", "{%"].iter().any(|open| text.contains(open)))
    })
}
