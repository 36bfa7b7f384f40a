//! Random documents for the matrix: every scalar spelling that YAML readers argue about, comments where their
//! place is certain, lists, flow collections and block scalars. A seed comes in, YAML or JSON goes out.

/// A small generator; the same seed gives the same documents on every machine.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const SCALARS: &[&str] = &[
    "a",
    "hello world",
    "'single'",
    "\"dq \\n x\"",
    "''",
    "\"\"",
    "1",
    "-7",
    "017",
    "0x1F",
    "0o17",
    "0b11",
    "1_000",
    "1.50",
    "1e3",
    ".5",
    "true",
    "False",
    "null",
    "~",
    "2024-01-02",
    "2024-01-02T03:04:05Z",
    "2024-1-2 03:04:05.120",
    "yes",
    "y",
    "on",
    "1:30",
    "'5'",
    "1.2.3",
    "日本 é",
    "-x",
    "http://x/y:80",
    "'ENC[x]'",
    "!!str 5",
    "!!float 3",
    "!!binary aGVsbG8=",
    ".inf",
    "-.INF",
    "+12",
    "1e999",
    "08",
    "9007199254740993",
    "99999999999999999999",
    "a#b",
    "'a # b'",
    "-0",
    "<<x",
    "=",
    "1.",
    "100m",
];

const COMMENTS: &[&str] = &["", "", "", "", "", " # note", " # secret stuff", " # hot"];

/// The lines of a mapping.
fn mapping(dice: &mut Dice, depth: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for index in 0..=dice.below(4) {
        match dice.below(10) {
            0 => lines.push("# above".to_owned()),
            1 => lines.push("# secret above".to_owned()),
            2 => lines.push(String::new()),
            _ => {}
        }
        let key = dice.pick(&["a", "data", "b", "stringData", "long key", "metadata"]);
        let key = format!("{key}{index}{}", dice.pick(&["", "", "_unencrypted"]));
        match dice.below(20) {
            0 | 1 => {
                lines.push(format!("{key}: |{}{}", dice.pick(&["", "-"]), dice.pick(&["", " # secret"])));
                lines.extend(["  one", "   two # no"].map(str::to_owned));
            }
            2 => lines.extend([format!("{key}: >-"), "  folded".to_owned(), "  text".to_owned()]),
            3 => lines.push(format!(
                "{key}: {}",
                dice.pick(&["[x, 1, {k: v, n: 2}]", "{x: 1, y: [a, 2]}", "[]", "{}"])
            )),
            4..=6 => {
                lines.push(format!("{key}:{}", dice.pick(&["", " # secret"])));
                lines.extend(list(dice));
            }
            7..=9 if depth < 2 => {
                lines.push(format!("{key}:"));
                let inner = mapping(dice, depth + 1).into_iter();
                lines.extend(inner.map(|line| if line.is_empty() { line } else { format!("  {line}") }));
            }
            _ => lines.push(format!("{key}: {}{}", dice.pick(SCALARS), dice.pick(COMMENTS))),
        }
    }
    lines
}

fn list(dice: &mut Dice) -> Vec<String> {
    let margin = dice.pick(&["", "  "]);
    let mut lines = Vec::new();
    for _ in 0..=dice.below(3) {
        if dice.below(5) == 0 {
            lines.push(format!("{margin}# in the list"));
        }
        if dice.below(3) == 0 {
            lines.push(format!("{margin}- k: {}", dice.pick(SCALARS)));
            lines.push(format!("{margin}  l: {}", dice.pick(SCALARS)));
        } else {
            lines.push(format!("{margin}- {}{}", dice.pick(SCALARS), dice.pick(COMMENTS)));
        }
    }
    lines
}

/// A stream of `documents` mappings.
pub(super) fn yaml(dice: &mut Dice, documents: usize) -> String {
    let documents: Vec<String> = (0..documents).map(|_| mapping(dice, 0).join("\n") + "\n").collect();
    documents.join("---\n")
}

/// A JSON object.
pub(super) fn json(dice: &mut Dice) -> String {
    fn value(dice: &mut Dice, depth: usize) -> String {
        const LITERALS: &[&str] = &[
            "1",
            "-7",
            "1.5",
            "1e3",
            "1.0",
            "true",
            "null",
            "\"\"",
            "\"a\"",
            "\"<&> é\"",
            "\"line\\nbreak\"",
            "9007199254740993",
            "-0.5",
            "\"ENC[x]\"",
            "\"\\u0041\"",
            "[]",
            "{}",
        ];
        match dice.below(6) {
            0 if depth < 3 => {
                let items: Vec<String> = (0..dice.below(4)).map(|_| value(dice, depth + 1)).collect();
                format!("[{}]", items.join(", "))
            }
            1 | 2 if depth < 3 => object(dice, depth + 1),
            _ => dice.pick(LITERALS).to_owned(),
        }
    }
    fn object(dice: &mut Dice, depth: usize) -> String {
        let entry = |(index, dice): (usize, &mut Dice)| {
            let key = format!(
                "{}{index}{}",
                dice.pick(&["a", "data", "metadata"]),
                dice.pick(&["", "_unencrypted"])
            );
            format!("\"{key}\": {}", value(dice, depth))
        };
        let count = 1 + dice.below(4);
        let entries: Vec<String> = (0..count).map(|index| entry((index, dice))).collect();
        let margin = "\t".repeat(depth + 1);
        format!("{{\n{margin}{}\n{}}}", entries.join(&format!(",\n{margin}")), "\t".repeat(depth))
    }
    object(dice, 0) + "\n"
}
