//! Promises over random documents: what is encrypted opens to the same values, nothing that the rule leaves
//! in the clear moves by a byte, and an edit keeps every other ciphertext.

use jiff::Timestamp;
use proptest::prelude::*;

use super::fixture::{identities, random, recipient};
use super::rule::Rule;
use super::*;
use crate::yaml::Path;

const SCALARS: [&str; 30] = [
    "a",
    "hello world",
    "'single'",
    "\"double \\n\"",
    "''",
    "\"\"",
    "1",
    "-7",
    "017",
    "0x1F",
    "1_000",
    "1.50",
    "1e3",
    ".5",
    "true",
    "False",
    "null",
    "~",
    "",
    "2024-01-02",
    "2024-01-02T03:04:05Z",
    "yes",
    "y",
    "1:30",
    "'5'",
    "1.2.3",
    "日本",
    "-x",
    "http://x/y",
    "'ENC[AES256_GCM,no]'",
];

/// A block mapping as text; `depth` levels of nesting at most.
fn mapping(depth: u32) -> BoxedStrategy<Vec<String>> {
    let key = prop::sample::select(vec!["a", "data", "b_unencrypted", "stringData", "long key", "'q'"]);
    let scalar = prop::sample::select(SCALARS.to_vec());
    let comment = prop::sample::select(vec!["", "", "", " # note", " # secret"]);
    let plain = (scalar, comment).prop_map(|(scalar, comment)| vec![format!(" {scalar}{comment}")]);
    let literal = Just(vec![" |".to_owned(), "  one".to_owned(), "   two".to_owned()]);
    let flow = Just(vec![" [x, 1, {k: v, m: 2}]".to_owned()]);
    let list = prop::collection::vec(prop::sample::select(SCALARS[..20].to_vec()), 1..3).prop_map(|items| {
        let items = items.into_iter().map(|item| format!("  - {item}"));
        std::iter::once(String::new()).chain(items).collect::<Vec<_>>()
    });
    let value = if depth == 0 {
        prop_oneof![4 => plain, 1 => literal, 1 => flow, 1 => list].boxed()
    } else {
        let nested = mapping(depth - 1).prop_map(|lines| {
            let lines = lines.into_iter().map(|line| format!("  {line}"));
            std::iter::once(String::new()).chain(lines).collect::<Vec<_>>()
        });
        prop_oneof![4 => plain, 1 => literal, 1 => flow, 1 => list, 2 => nested].boxed()
    };
    let before = prop::sample::select(vec![None, None, None, Some("# above"), Some("")]);
    prop::collection::vec((before, key, value), 1..5)
        .prop_map(|entries| {
            let mut lines = Vec::new();
            for (index, (before, key, value)) in entries.into_iter().enumerate() {
                lines.extend(before.map(str::to_owned));
                let key = if key.starts_with('\'') { format!("'q{index}'") } else { format!("{key}{index}") };
                let key = key.replacen("b_unencrypted", "b", 1)
                    + if key.contains("_un") { "_unencrypted" } else { "" };
                lines.push(format!("{key}:{}", value[0]));
                lines.extend(value[1..].iter().cloned());
            }
            lines
        })
        .boxed()
}

fn document() -> impl Strategy<Value = String> {
    (prop::collection::vec(mapping(2), 1..3), any::<bool>()).prop_map(|(documents, crlf)| {
        let documents: Vec<String> = documents.into_iter().map(|lines| lines.join("\n") + "\n").collect();
        let text = documents.join("---\n");
        if crlf { text.replace('\n', "\r\n") } else { text }
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    prop::sample::select(vec![
        ("unencrypted_suffix", "_unencrypted"),
        ("encrypted_regex", "^(data|stringData)"),
        ("unencrypted_regex", "^a"),
        ("encrypted_suffix", "_unencrypted"),
        ("encrypted_comment_regex", "secret"),
        ("unencrypted_comment_regex", "^ note"),
    ])
    .prop_map(|(field, text)| Rule::new(field, text).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn encrypted_documents_open_and_edits_keep_every_other_byte(
        source in document(),
        rule in rule(),
        mac_only_encrypted in any::<bool>(),
        seed in any::<u64>(),
        pick in any::<prop::sample::Index>(),
    ) {
        let recipe = Recipe { groups: vec![vec![recipient(0)]], threshold: None, rule, mac_only_encrypted };
        let mut blocks = random(seed);
        let mut inputs = Inputs { now: Timestamp::UNIX_EPOCH, random: &mut blocks };
        // Encrypting proves by itself that every value opens to what it was.
        let sealed = match encrypt(Store::Yaml, source.as_bytes(), &recipe, &mut inputs) {
            Ok(sealed) => sealed,
            Err(error) => {
                prop_assert!(matches!(error, SopsError::Comment { .. } | SopsError::Tree { .. }), "{error}\n{source}");
                return Ok(());
            }
        };
        let file = SopsFile::read(Store::Yaml, &sealed).unwrap();
        file.unlock(&identities(0)).unwrap();

        let paths: Vec<(usize, Path, bool)> =
            file.paths().map(|(document, path, sealed)| (document, path.clone(), sealed)).collect();
        let (document, path, encrypted) = pick.get(&paths);
        let value = Plaintext::text("another value");
        let edit = Edit { document: *document, path, value: &value, expected: None };
        match set(&file, edit, &identities(0), &mut inputs) {
            Ok(edited) => {
                let (old, new) = (String::from_utf8(sealed).unwrap(), String::from_utf8(edited).unwrap());
                let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
                if old.len() == new.len() {
                    let changed = old.iter().zip(&new).filter(|(old, new)| old != new).count();
                    let documents = old.iter().filter(|line| line.trim_end() == "sops:").count();
                    prop_assert!(changed <= 1 + 2 * documents, "{changed} lines");
                }
                let after = SopsFile::read(Store::Yaml, new.join("\n").as_bytes()).unwrap();
                let opened = after.unlock(&identities(0)).unwrap();
                prop_assert_eq!(opened.get(&after, *document, path).unwrap().expose(), b"another value");
            }
            // The editor does not guess about scalars in the clear that parsers read differently.
            Err(error) => prop_assert!(matches!(error, SopsError::Yaml(_)) && !encrypted || path.to_string().is_empty(), "{error} {path} in\n{source}"),
        }
    }
}
