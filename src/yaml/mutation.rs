//! Broken files: bytes of the official suite and of the golden cases, mutated by a seeded generator, are read and
//! edited in a child process with a ceiling on memory. A panic, an abort, a slow input or a wrong byte is a failure.
//! This stands in for a coverage-guided fuzzer, which needs a nightly compiler.
#![allow(clippy::disallowed_methods, reason = "the tests start themselves with a limit and take the time")]

use super::corpus::{files, only_there, scalars};
use super::promises::documents;
use super::{Edit, Fresh, MAX_SOURCE_BYTES, Path, Style, Value, apply, cases, read};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest time for one input, unoptimised, on a machine that does much else; a hang is far longer.
const SLOW: Duration = Duration::from_secs(20);
/// Address space of the child, in KiB. Its own code, threads and seeds take under a fifth.
const CEILING_KIB: usize = 1 << 20;
/// Largest mutated input, in bytes.
const MAX_INPUT: usize = 64 << 10;
/// Bytes that mean something in YAML, or that hide.
const TELLING: &[u8] = b"-:?,[]{}#&*!|>'\"%@` \t\r\n0~<=\\.+y\x00\x7f\xef\xbb\xbf\xc2\x85\xe2\x80\xa8\xff";

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seeded, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count.max(1)).unwrap()).unwrap()
    }

    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        start..(start + self.below(24)).min(bytes.len())
    }
}

fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(5) {
        let at = random.range(&bytes);
        match random.below(7) {
            0 => drop(bytes.splice(at, [])),
            1 => bytes.insert(at.start, TELLING[random.below(TELLING.len())]),
            2 if !at.is_empty() => bytes[at.start] = TELLING[random.below(TELLING.len())],
            3 if !at.is_empty() => bytes[at.start] ^= 1 << random.below(8),
            4 => {
                let copy = bytes[at.clone()].to_vec();
                bytes.splice(at.start..at.start, copy);
            }
            5 => {
                let times = 1 << random.below(12);
                let copy = bytes[at.clone()].repeat(times);
                bytes.splice(at.start..at.start, copy);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let part = other[random.range(other)].to_vec();
                bytes.splice(at, part);
            }
        }
        bytes.truncate(MAX_INPUT);
    }
    bytes
}

/// Reads and edits one input; the edits that were made.
fn exercise(random: &mut Random, source: &[u8]) -> usize {
    let Ok(documents) = read(source) else {
        assert!(apply(source, &[]).is_err());
        return 0;
    };
    let mut made = 0;
    for (document, tree) in documents.iter().enumerate().take(3) {
        let mut found = Vec::new();
        scalars(&tree.root, &Path::default(), &mut found);
        if found.is_empty() {
            continue;
        }
        let (path, node) = &found[random.below(found.len())];
        let set = |value| Edit::Set { document, path: path.clone(), value };
        if let Ok(edited) = apply(source, &[set(Value::Int(5))]) {
            assert!(only_there(source, &edited, node));
            made += 1;
        }
        let inside = node.as_scalar().is_some_and(|scalar| scalar.style == Style::Literal);
        let tree = Fresh::Map(vec![("k".to_owned(), Fresh::List(vec![Fresh::Scalar(Value::Null)]))]);
        let edit = match random.below(if inside { 1 } else { 5 }) {
            0 => Edit::Inside { document, path: path.clone(), edit: Box::new(Edit::AddDocument { tree }) },
            1 => Edit::Remove { document, path: path.clone() },
            2 => Edit::Insert { document, path: path.clone().key("k"), tree },
            3 => Edit::AddDocument { tree },
            _ => set(Value::Text("two\nlines".to_owned())),
        };
        if let Ok(edited) = apply(source, &[edit]) {
            assert!(read(&edited).is_ok());
            made += 1;
        }
    }
    made
}

fn run(inputs: u64) {
    let mut seeds: Vec<Vec<u8>> = files().into_iter().map(|(_, bytes)| bytes).collect();
    seeds.extend(cases::edited().into_iter().map(|(_, text, ..)| text.into_bytes()));
    let mut made = 0;
    for seed in 0..inputs {
        let mut random = Random(seed);
        let source = mutated(&mut random, &seeds);
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(move || {
            let source = source;
            let made = exercise(&mut random, &source);
            (made, source)
        });
        let Ok((edits, source)) = outcome else { panic!("seed {seed}") };
        assert!(start.elapsed() < SLOW, "seed {seed}: {:?} for {} bytes", start.elapsed(), source.len());
        made += edits;
    }
    assert!(made > usize::try_from(inputs / 10).unwrap(), "only {made} edits were made");
}

/// Files that cost a careless reader everything (B5): small, deep, wide, long.
fn bombs() -> Vec<Vec<u8>> {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        aliases.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let texts = [
        aliases,
        "[".repeat(200_000),
        "{".repeat(200_000),
        "- ".repeat(200_000),
        "? ".repeat(200_000),
        "a: ".repeat(200_000),
        "[a: ".repeat(100_000),
        "!".repeat(500_000),
        format!("a: \"{}", "\\\n".repeat(400_000)),
        format!("a: {}", "&a ".repeat(300_000)),
        format!("a: |\n{}", " \n".repeat(400_000)),
        format!("a: >\n{}", "  x\n\n".repeat(150_000)),
        format!("a: {}", "x\n  ".repeat(200_000)),
        "---\n".repeat(250_000),
        "#\n".repeat(500_000),
        "%YAML 1.2\n".repeat(90_000),
        (0..90_000).map(|at| format!("k{at}: 1\n")).collect(),
        (0..40_000).map(|at| format!("- &a{at} {at}\n- *a{at}\n")).collect(),
        format!("a: {}\n", "x".repeat(MAX_SOURCE_BYTES - 4)),
    ];
    let mut bombs: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    bombs.push(vec![b'x'; 64 << 20]);
    bombs
}

fn explode() {
    for (at, bomb) in bombs().iter().enumerate() {
        let start = Instant::now();
        let _ = read(bomb);
        let edit = Edit::Put { document: 0, path: Path::default().key("new"), value: Value::Int(1) };
        let _ = apply(bomb, &[edit]);
        assert!(start.elapsed() < SLOW, "bomb {at}: {:?}", start.elapsed());
    }
}

/// Runs one test of this module in a child with the ceiling; `true` in the child itself.
fn in_child(test: &str) -> bool {
    const INNER: &str = "TARS_YAML_CHILD";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    let script = format!("ulimit -v {CEILING_KIB} && exec timeout 3600 \"$0\" \"$@\"");
    let outcome = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture", "--test-threads", "1"])
        .env(INNER, "1")
        .output()
        .unwrap();
    let told = [outcome.stdout, outcome.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
    assert!(outcome.status.success() && told.contains("1 passed"), "{told}");
    false
}

#[test]
fn mutated_files_are_read_and_edited_within_bounds() {
    if in_child("mutated_files_are_read_and_edited_within_bounds") {
        run(u64::from(documents()) * 2);
    }
}

#[test]
fn bombs_are_refused_or_edited_within_bounds() {
    if in_child("bombs_are_refused_or_edited_within_bounds") {
        explode();
    }
}
