//! The matrix: every rule, with and without `mac_only_encrypted`, one recipient, two, and key groups, YAML
//! with one document and with several, JSON. Each file is encrypted by both programs and read by the other.

use std::path::{Path, PathBuf};

use super::documents::{Dice, json, yaml};
use super::world::World;

const RULES: &[(&str, &str)] = &[
    ("", ""),
    ("unencrypted_suffix", "_unencrypted"),
    ("encrypted_suffix", "_unencrypted"),
    ("encrypted_regex", "^(data|stringData)"),
    ("unencrypted_regex", "^(a|meta)"),
    ("encrypted_comment_regex", "secret"),
    ("unencrypted_comment_regex", "^ (note|above)"),
];

/// Files per combination.
const FILES: usize = 2;

struct Case {
    name: String,
    plain: String,
}

/// One folder per combination, with its `.sops.yaml` and plain files.
fn combinations(world: &World) -> Vec<(PathBuf, Vec<Case>)> {
    let (a, b) = (world.recipient(0), world.recipient(1));
    let keys = [
        format!("age: {a}"),
        format!("age: [{b}, {a}]"),
        format!(
            "shamir_threshold: 2\n    key_groups:\n      - age: [{a}]\n      - age: [{b}]\n      - age: [{a}, {b}]"
        ),
    ];
    let mut folders = Vec::new();
    for (at, (field, text)) in RULES.iter().enumerate() {
        for only in ["", "    mac_only_encrypted: true\n"] {
            for (group, keys) in keys.iter().enumerate() {
                let field = if field.is_empty() { String::new() } else { format!("    {field}: {text}\n") };
                let name = format!("{at}-{}-{group}", only.len());
                let dir = world.folder(&name, &format!("  - {keys}\n{field}{only}"));
                let mut cases = Vec::new();
                for index in 0..FILES {
                    let mut dice = Dice::new((folders.len() * FILES + index) as u64 + 1);
                    for documents in [1, 3] {
                        let plain = yaml(&mut dice, documents);
                        cases.push(Case { name: format!("{index}-{documents}.yaml"), plain });
                    }
                    if !field.contains("comment") {
                        cases.push(Case { name: format!("{index}.json"), plain: json(&mut dice) });
                    }
                }
                folders.push((dir, cases));
            }
        }
    }
    folders
}

/// Encrypts with both, decrypts both with sops; says what went wrong, if anything.
fn exchange(world: &World, dir: &Path, case: &Case) -> Result<(), String> {
    let name = case.name.as_str();
    let told =
        |what: &str, err: &str| Err(format!("{} {name}: {what}: {err}\n{}", dir.display(), case.plain));
    std::fs::write(dir.join(name), &case.plain).unwrap();
    let by_sops = world.sops(dir, &["-e", name]);
    let by_tars = world.tars(dir, &["sops", "encrypt", name]);
    if by_sops.code != 0 || by_tars.code != 0 {
        return told("not encrypted", &format!("{}{}", by_sops.err, by_tars.err));
    }
    let (sops, tars) = (format!("sops-{name}"), format!("tars-{name}"));
    std::fs::write(dir.join(&sops), by_sops.out).unwrap();
    std::fs::write(dir.join(&tars), by_tars.out).unwrap();
    std::fs::remove_file(dir.join(name)).unwrap();
    let (one, other) = (world.sops(dir, &["-d", &sops]), world.sops(dir, &["-d", &tars]));
    if other.code != 0 || one.code != 0 {
        return told("sops does not read it", &format!("{}{}", one.err, other.err));
    }
    if one.out != other.out {
        return told("it decrypts to something else", &format!("{}\n---\n{}", one.out, other.out));
    }
    Ok(())
}

#[test]
fn sops_reads_what_tars_writes_and_tars_reads_what_sops_writes() {
    let Some(world) = World::new("sops_reads_what_tars_writes_and_tars_reads_what_sops_writes") else {
        return;
    };
    let folders = combinations(&world);
    let count: usize = folders.iter().map(|(_, cases)| cases.len()).sum();
    assert!(count >= 200, "only {count} files");
    let half = folders.len() / 2;
    let run = |part: &[(PathBuf, Vec<Case>)]| -> Vec<String> {
        let pairs = part.iter().flat_map(|(dir, cases)| cases.iter().map(move |case| (dir, case)));
        pairs.filter_map(|(dir, case)| exchange(&world, dir, case).err()).collect()
    };
    let wrong = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(&folders[half..]));
        let mut wrong = run(&folders[..half]);
        wrong.extend(other.join().unwrap());
        wrong
    });
    assert!(wrong.is_empty(), "{} of {count} files:\n{}", wrong.len(), wrong.join("\n=====\n"));

    // The MAC is over the plaintext, so a verified MAC means that every value was read as sops read it.
    let all = folders[0].0.parent().unwrap();
    let said = world.tars(all, &["sops", "check", ".", "-o", "json"]);
    assert_eq!(said.code, 0, "{}", said.out);
    let items = said.json()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 2 * count);
    let bad: Vec<_> = items.iter().filter(|it| it["status"] != "verified").collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
