//! tars and the real sops on the same files, both ways: what one writes the other reads, MAC included; what
//! was tampered with neither reads; an edit changes its lines and no others; nobody prints plaintext.

mod documents;
mod matrix;
mod reconciler;
mod world;

use world::{World, differing};

/// The value that must never be seen.
const CANARY: &str = "canary-9f2e";

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata:\n    name: db\nstringData:\n    user: admin\n    \
    password: canary-9f2e\n    list:\n        - a\n        - 2\nspec:\n    replicas: 3\n    image: \"x:1\"\n";

const RULE: &str = "  - encrypted_regex: ^(data|stringData)$\n    age: {0}\n";

#[test]
fn an_edit_by_tars_is_an_edit_by_sops_with_fewer_lines() {
    let Some(world) = World::new("an_edit_by_tars_is_an_edit_by_sops_with_fewer_lines") else { return };
    let json = world.plain_json(SECRET);
    let multi = format!("{SECRET}---\nb: two\nspec:\n    replicas: 1\n");
    for (name, text, blocks) in [("a.yaml", SECRET, 1), ("m.yaml", &multi, 2), ("a.json", &json, 1)] {
        for (index, only) in ["", "    mac_only_encrypted: true\n"].into_iter().enumerate() {
            let dir =
                world.folder(&format!("{name}-{index}"), &(RULE.replace("{0}", &world.recipient(0)) + only));
            let old = world.sops_encrypt(&dir, name, text);
            for (path, keys, kind, value) in [
                ("stringData.password", r#"["stringData"]["password"]"#, "text", "\"new\""),
                ("stringData.list[1]", r#"["stringData"]["list"][1]"#, "int", "7"),
                ("stringData.user", r#"["stringData"]["user"]"#, "bool", "true"),
                ("spec.replicas", r#"["spec"]["replicas"]"#, "int", "5"),
                ("spec.image", r#"["spec"]["image"]"#, "text", "\"x:2\""),
            ] {
                let given = value.trim_matches('"');
                let new = world.tars_set(&dir, name, path, kind, given);
                let changed = differing(&old, &new);
                let metadata = |field: &str| {
                    let field = [format!("    {field}: "), format!("\t\"{field}\": ")];
                    changed.iter().filter(|line| field.iter().any(|it| line.contains(it.as_str()))).count()
                };
                // The time is to the second: it may be that of the file.
                let (times, macs) = (metadata("lastmodified"), metadata("mac"));
                let rest = changed.len() - times - macs;
                assert!(rest == 1 && macs == blocks && times <= blocks, "{name} {path}: {changed:#?}");

                std::fs::write(dir.join(format!("new.{name}")), &new).unwrap();
                std::fs::write(dir.join(format!("set.{name}")), &old).unwrap();
                world.sops(&dir, &["set", &format!("set.{name}"), keys, value]).ok();
                let by_tars = world.sops(&dir, &["-d", &format!("new.{name}")]).ok();
                let by_sops = world.sops(&dir, &["-d", &format!("set.{name}")]).ok();
                assert_eq!(by_tars, by_sops, "{name} {path}");
                // And sops goes on with what tars wrote.
                world
                    .sops(&dir, &["set", &format!("new.{name}"), r#"["stringData"]["user"]"#, "\"next\""])
                    .ok();
                let said = world.tars(&dir, &["sops", "check", &format!("new.{name}")]);
                assert!(said.code == 0 && said.out.contains("verified"), "{said:?}");
            }
        }
    }
}

#[test]
fn what_was_tampered_with_is_read_by_neither() {
    let Some(world) = World::new("what_was_tampered_with_is_read_by_neither") else { return };
    let dir = world.folder("t", &RULE.replace("{0}", &world.recipient(0)));
    let good = world.sops_encrypt(&dir, "a.yaml", SECRET);
    let user = good.lines().find(|line| line.contains("user:")).unwrap();
    for (what, bad) in [
        ("plain value", good.replace("replicas: 3", "replicas: 4")),
        ("plain value removed", good.replace("    name: db\n", "    none: null\n")),
        ("plain value added", good.replace("kind: Secret", "kind: Secret\nmore: x")),
        ("encrypted value removed", good.replace(&format!("{user}\n"), "")),
        ("encrypted value renamed", good.replace("user:", "root:")),
        (
            "encrypted value doubled",
            good.replace(user, &format!("{user}\n{}", user.replace("user", "user2"))),
        ),
        ("value in the clear", good.replace(user, "    user: admin")),
        ("ciphertext", good.replace("user: ENC[AES256_GCM,data:", "user: ENC[AES256_GCM,data:AAAA")),
        ("time", good.replace("lastmodified: \"20", "lastmodified: \"19")),
        (
            "rule",
            good.replace("^(data|stringData)$", "^(data|stringData|nothing)$").replace("image:", "nothing:"),
        ),
        ("version", good.replace("    version: 3.13.3\n", "")),
        ("recipient's envelope", good.replace("-----BEGIN AGE", "-----BEGIN AGF")),
    ] {
        assert_ne!(bad, good, "{what}");
        std::fs::write(dir.join("bad.yaml"), &bad).unwrap();
        let sops = world.sops(&dir, &["-d", "bad.yaml"]);
        let tars = world.tars(&dir, &["sops", "check", "bad.yaml"]);
        assert_ne!(sops.code, 0, "{what}");
        let verified = tars.out.lines().any(|line| line.contains("bad.yaml   verified"));
        assert!(!verified, "{what}: {tars:?}");
        let set =
            world.tars_with(&dir, &["sops", "set", "bad.yaml", "spec.replicas", "--type", "int"], "9", true);
        assert_eq!((set.code, set.out.as_str()), (5, ""), "{what}: {set:?}");
    }
}

#[test]
fn no_verb_prints_plaintext_and_without_an_identity_nothing_is_called_verified() {
    let test = "no_verb_prints_plaintext_and_without_an_identity_nothing_is_called_verified";
    let Some(world) = World::new(test) else { return };
    let dir = world.folder("t", &RULE.replace("{0}", &world.recipient(0)));
    let good = world.sops_encrypt(&dir, "a.yaml", SECRET);
    std::fs::write(dir.join("b.yaml"), good.replace("replicas: 3", "replicas: 4")).unwrap();
    std::fs::write(dir.join("clear.yaml"), SECRET).unwrap();
    let new = world.tars_set(&dir, "a.yaml", "stringData.password", "text", "canary-9f2e-2");
    std::fs::write(dir.join("c.yaml"), new).unwrap();
    let mut said = String::new();
    for identity in [true, false] {
        for args in [
            &["sops", "check", "-o", "wide"][..],
            &["sops", "check", "-o", "json"],
            &["sops", "keys", "-o", "yaml"],
            &["sops", "doctor"],
            &["sops", "doctor", "-o", "json"],
            &["sops", "diff", "a.yaml", "c.yaml"],
            &["sops", "diff", "a.yaml", "b.yaml"],
            &["sops", "diff", "clear.yaml", "b.yaml"],
            &["sops", "set", "a.yaml", "stringData.password"],
            &["sops", "set", "a.yaml", "stringData.password", "--type", "int"],
            &["sops", "set", "b.yaml", "stringData.password"],
            &["sops", "encrypt", "clear.yaml"],
        ] {
            let it = world.tars_with(&dir, args, CANARY, identity);
            said += &format!("{args:?} {it:?}\n");
        }
        let check = world.tars_with(&dir, &["sops", "check", "a.yaml"], "", identity);
        let word = if identity { "a.yaml   verified " } else { "not verified: no identity" };
        assert!(check.out.contains(word) && check.code == 0, "{check:?}");
    }
    assert!(!said.contains(CANARY), "{said}");
    assert!(said.contains("stringData.password"), "{said}");
    let diff = world.tars_with(&dir, &["sops", "diff", "a.yaml", "c.yaml", "-o", "json"], "", true);
    assert_eq!(diff.code, 1);
    assert_eq!(diff.json()["items"][0]["change"], "changed");
    assert_eq!(diff.json()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn commits_are_compared_and_checked_without_a_work_tree() {
    let Some(world) = World::new("commits_are_compared_and_checked_without_a_work_tree") else { return };
    let dir = world.folder("repo", &RULE.replace("{0}", &world.recipient(0)));
    world.sops_encrypt(&dir, "a.yaml", SECRET);
    let git = |args: &[&str]| crate::support::program::git(&dir, args);
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    let new = world.tars_set(&dir, "a.yaml", "spec.replicas", "int", "4");
    std::fs::write(dir.join("a.yaml"), new).unwrap();
    let first = git(&["rev-parse", "HEAD"]);
    git(&["rm", "-q", "--cached", "a.yaml"]);
    let said = world.tars(&dir, &["sops", "diff", &format!("{first}:a.yaml"), "a.yaml", "-o", "name"]);
    assert_eq!((said.code, said.out.as_str()), (1, "spec.replicas\n"), "{said:?}");
    let said = world.tars(&dir, &["sops", "check", "--commit", "main", "-o", "json"]);
    assert_eq!((said.code, &said.json()["items"][0]["status"]), (0, &"verified".into()), "{said:?}");
    let said = world.tars(&dir, &["sops", "keys", "--commit", "HEAD", "-o", "name"]);
    assert_eq!(said.out.trim(), world.recipient(0));
}

#[test]
fn rules_that_are_broken_are_named_with_what_to_do() {
    let Some(world) = World::new("rules_that_are_broken_are_named_with_what_to_do") else { return };
    let dir = world.folder("t", &RULE.replace("{0}", &world.recipient(0)));
    world.sops_encrypt(&dir, "a.yaml", SECRET);
    let stranger = RULE.replace("{0}", &format!("{},{}", world.recipient(1), world.recipient(0)));
    std::fs::write(dir.join(".sops.yaml"), format!("creation_rules:\n{stranger}")).unwrap();
    let said = world.tars(&dir, &["sops", "check"]);
    assert!(said.code == 1 && said.out.contains(&world.recipient(1)), "{said:?}");
    let said = world.tars(&dir, &["sops", "doctor"]);
    assert!(said.code == 1 && said.out.contains("updatekeys"), "{said:?}");
    let expect = ["sops", "set", "a.yaml", "spec.replicas", "--type", "int", "--expect", &world.recipient(1)];
    let said = world.tars_with(&dir, &expect, "4", true);
    assert!(said.code == 5 && said.err.contains(&world.recipient(0)), "{said:?}");
}
