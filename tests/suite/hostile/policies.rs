//! Policies and settings whose numbers, paths and names would go beyond what anybody may allow. Each is
//! refused where it stands; the honest policy beside them is served.

use super::{World, aliases, honest, policy};

/// Name of the file, what is replaced in a good policy, with what, and what is said about it.
const POLICIES: &[(&str, &str, &str, &str)] = &[
    ("step-negative", "step: 2", "step: -1", "step"),
    ("step-zero", "step: 2", "step: 0", "step"),
    ("step-beyond-int", "step: 2", "step: 2147483648", "step"),
    ("step-endless", "step: 2", "step: 99999999999999999999", "step"),
    ("step-no-number", "step: 2", "step: .nan", "step"),
    ("step-infinite", "step: 2", "step: .inf", "step"),
    ("step-exponent", "step: 2", "step: 1e9", "step"),
    ("step-fraction", "step: 2", "step: 1.5", "step"),
    ("step-octal", "step: 2", "step: 0o2", "step"),
    ("step-text", "step: 2", "step: \"2\"", "step"),
    ("step-tagged", "step: 2", "step: !!int \"2\"", "step"),
    ("maximum", "maxReplicas: 10", "maxReplicas: 1000000", "maxReplicas"),
    ("maximum-negative", "maxReplicas: 10", "maxReplicas: -10", "maxReplicas"),
    ("factor", "step: 2", "factorPercent: 4294967296", "factorPercent"),
    ("factor-shrinks", "step: 2", "factorPercent: 50", "factorPercent"),
    ("cooldown", "  verify:", "  cooldownSeconds: -1\n  verify:", "cooldownSeconds"),
    ("cooldown-long", "  verify:", "  cooldownSeconds: 1000000000\n  verify:", "cooldownSeconds"),
    ("budget", "  verify:", "  maxExecutionsPerHour: 1000000\n  verify:", "maxExecutionsPerHour"),
    ("budget-zero", "  verify:", "  maxExecutionsPerHour: 0\n  verify:", "maxExecutionsPerHour"),
    ("threshold", "service: shop}\n  actions", "service: shop, threshold: .nan}\n  actions", "threshold"),
    ("threshold-low", "service: shop}\n  actions", "service: shop, threshold: -1}\n  actions", "threshold"),
    ("window", "window: 10m", "window: 99999999999h", "window"),
    ("window-negative", "window: 10m", "window: -10m", "window"),
    ("below", "below: 250", "below: .nan", "below"),
    ("path-climbs", "  verify:", "  allowedPaths: [../x]\n  verify:", "invalid path"),
    ("path-absolute", "  verify:", "  allowedPaths: [/etc/passwd]\n  verify:", "invalid path"),
    ("path-through", "  verify:", "  allowedPaths: [a/../../x]\n  verify:", "invalid path"),
    ("path-encoded", "  verify:", "  allowedPaths: [\"..%2f\"]\n  verify:", "invalid path"),
    ("path-double", "  verify:", "  allowedPaths: [a//b]\n  verify:", "invalid path"),
    ("path-dot", "  verify:", "  allowedPaths: [a/./b]\n  verify:", "invalid path"),
    ("path-backslash", "  verify:", "  allowedPaths: ['\\..\\x']\n  verify:", "invalid path"),
    ("path-nul", "  verify:", "  allowedPaths: [\"a\\0b\"]\n  verify:", "invalid path"),
    ("path-git", "  verify:", "  allowedPaths: [.GIT/config]\n  verify:", "invalid path"),
    ("target-climbs", "Deployment/x", "Deployment/../x", "invalid object name"),
    ("target-option", "Deployment/x", "Deployment/--x", "invalid object name"),
    ("target-all", "Deployment/x", "Deployment/*", "invalid object name"),
    ("name-climbs", "name: hostile", "name: ../../x", "invalid policy name"),
    ("name-ledger", "name: hostile", "name: ledger", "invalid policy name"),
    ("name-option", "name: hostile", "name: --upload-pack=x", "invalid policy name"),
    ("name-newline", "name: hostile", "name: \"a\\nTars-Kind: Merged\"", "invalid policy name"),
    ("twice", "  mode: Propose\n", "  mode: Propose\n  mode: AutoMerge\n", "mode"),
    ("merged", "  mode: Propose\n", "  <<: {mode: AutoMerge}\n", "<<"),
    ("aliased", "  mode: Propose\n", "  mode: &a Propose\n  dryRun: *a\n", "dryRun"),
];

#[test]
fn a_policy_beyond_its_bounds_is_refused_with_the_field_named_and_the_honest_one_is_served() {
    let mut tree = honest();
    for (name, from, to, _) in POLICIES {
        let good = policy("hostile", "Deployment/x", "");
        assert!(good.contains(from), "{name}: {from:?} in {good}");
        tree.file(format!("policies/{name}.yaml"), good.replacen(from, to, 1));
    }
    tree.link("policies/link.yaml", "../apps/good.yaml").module("policies/module.yaml");
    tree.file("policies/brackets.yaml", "[".repeat(200_000));
    tree.file("policies/deep.yaml", (0..100).map(|at| format!("{}a:\n", " ".repeat(at))).collect::<String>());
    tree.file("policies/long.yaml", format!("# {}\n", "x".repeat(300 * 1024)));
    tree.file("policies/bytes.yaml", b"\xff\xfe\0");
    tree.file("policies/aliases.yaml", policy("hostile", "Deployment/x", "") + &aliases());
    let world = World::new(&tree);
    let said = world.check();
    assert_eq!(said.code, 1, "{said:?}");
    let lines = said.json();
    let lines: Vec<&str> = lines["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["check"] == "policies")
        .filter_map(|it| it["detail"].as_str())
        .collect();
    let more = [
        ("brackets", ""),
        ("deep", "nested"),
        ("long", "bytes"),
        ("bytes", "UTF-8"),
        ("aliases", ""),
        ("link", "never followed"),
        ("module", "never followed"),
    ];
    let wanted = POLICIES.iter().map(|(name, _, _, says)| (*name, *says)).chain(more);
    let missing: Vec<_> = wanted
        .filter(|(name, says)| {
            let file = format!("policies/{name}.yaml");
            !lines.iter().any(|it| it.contains(&file) && it.contains(says))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}\n{lines:#?}");
    let tick = world.run();
    let told: Vec<_> = tick.lines.iter().filter(|it| it["message"] == "policy refused").collect();
    assert!(told.len() >= POLICIES.len(), "{told:#?}");
    world.serves_the_honest_target();
}

#[test]
fn settings_beyond_their_bounds_are_refused_with_the_field_named() {
    let world = World::new(&honest());
    let repo = world.repo().display().to_string();
    for (setting, field) in [
        ("  timeout_s: -1\n", "timeout_s"),
        ("  timeout_s: 0\n", "timeout_s"),
        ("  timeout_s: 4294967296\n", "timeout_s"),
        ("  timeout_s: .nan\n", "timeout_s"),
        ("  timeout_s: 1e9\n", "timeout_s"),
        ("  clone_max_mib: 0\n", "clone_max_mib"),
        ("  policies_path: ../policies\n", "policies_path"),
        ("  policies_path: /etc\n", "policies_path"),
        ("  policies_path: a/../../x\n", "policies_path"),
        ("  policies_path: .git/hooks\n", "policies_path"),
        ("  policies_path: \"a\\0b\"\n", "policies_path"),
        ("  ledger_branch: main\n", "ledger_branch"),
    ] {
        world.settings(&repo, setting);
        let tick = world.run();
        assert_eq!(tick.said.code, 2, "{setting}: {:#?}", tick.said);
        assert!(tick.said.err.contains(field), "{setting}: {:#?}", tick.said);
    }
}
