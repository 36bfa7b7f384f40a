//! Hostile files in one repository, all at once: every row has its own target and its own policy, every policy
//! fires in the same tick, and each must be refused for its own reason while the honest one is served. Every
//! row makes something that git itself carries without a word.

use std::time::{Duration, Instant};

use super::tree::Tree;
use super::{World, aliases, deployment, honest, policy};
use crate::support::program::git;

/// Most time for the whole tick, with a debug build on a busy machine.
const TICK_MAX: Duration = Duration::from_secs(90);

struct Row {
    threat: &'static str,
    /// Of target, policy and folder.
    name: &'static str,
    build: fn(&mut Tree, &str),
    /// The reason holds this.
    says: &'static str,
}

const fn row(
    threat: &'static str,
    name: &'static str,
    says: &'static str,
    build: fn(&mut Tree, &str),
) -> Row {
    Row { threat, name, build, says }
}

fn kustomization(tree: &mut Tree, name: &str, text: &str) {
    tree.file(format!("{name}/kustomization.yaml"), text);
    tree.file(format!("{name}/d.yaml"), deployment(name, "3"));
}

fn manifest(tree: &mut Tree, name: &str, text: impl AsRef<[u8]>) {
    tree.file(format!("{name}/d.yaml"), text);
}

/// A manifest with this replica count, as written.
fn count(tree: &mut Tree, name: &str, replicas: &str) {
    manifest(tree, name, deployment(name, replicas));
}

/// The manifest stands at `path`, and the policy allows exactly that path.
fn protected(tree: &mut Tree, name: &str, path: &str) {
    tree.file(path, deployment(name, "3"));
    let allowed = format!("  allowedPaths: [\"{path}\"]\n");
    tree.file(format!("policies/{name}.yaml"), policy(name, &format!("Deployment/{name}"), &allowed));
}

const PATHS: &[Row] = &[
    row("A1", "climbs", "outside the repository", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, ../../../../proc/self/environ]\n");
    }),
    row("A1", "absolute", "/etc/passwd", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, /etc/passwd]\n");
    }),
    row("A1", "patch-climbs", "../../../../proc/self/environ", |tree, name| {
        let patch = "resources: [d.yaml]\npatches:\n- path: ../../../../proc/self/environ\n";
        kustomization(tree, name, patch);
    }),
    row("A1", "encoded", "..%2f..%2fx.yaml", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, \"..%2f..%2fx.yaml\"]\n");
    }),
    row("A1", "backslash", "is not a readable file", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, '..\\..\\x.yaml']\n");
    }),
    row("A1", "nul", "is not a readable file", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, \"x\\0.yaml\"]\n");
    }),
    row("A1", "returns", "outside the repository", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, ../returns/../../apps/good.yaml]\n");
    }),
    row("A1", "component-climbs", "../../../etc", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml]\ncomponents: [../../../etc]\n");
    }),
    row("A1", "generator-climbs", "../../../../etc/passwd", |tree, name| {
        let text = "resources: [d.yaml]\nconfigMapGenerator:\n- {name: x, files: [../../../../etc/passwd]}\n";
        kustomization(tree, name, text);
    }),
    row("A1", "replacement-climbs", "../../../../etc/passwd", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml]\nreplacements:\n- path: ../../../../etc/passwd\n");
    }),
    row("A1", "remote-base", "https://forge.invalid/x", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, \"https://forge.invalid/x?ref=main\"]\n");
    }),
    row("A2", "link-file", "symlink", |tree, name| {
        tree.file("elsewhere/link-file.txt", deployment(name, "3"));
        tree.link(format!("{name}/link-file.yaml"), "../elsewhere/link-file.txt");
    }),
    row("A2", "link-etc", "symlink", |tree, name| {
        tree.link(format!("{name}/link-etc.yaml"), "/etc/shadow");
    }),
    row("A2", "link-resource", "symlink", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, e.yaml]\n");
        tree.link(format!("{name}/e.yaml"), "../../../etc/passwd");
    }),
    row("A2", "link-loop", "symlink", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, a.yaml]\n");
        tree.link(format!("{name}/a.yaml"), "b.yaml").link(format!("{name}/b.yaml"), "a.yaml");
    }),
    row("A2", "link-folder", "is not a readable file", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, ../link-folder-up/e.yaml]\n");
        tree.link("link-folder-up", "../../..");
    }),
    row("A2", "link-overlay", "link-overlay/kustomization.yaml", |tree, name| {
        kustomization(tree, "link-overlay-other", "resources: []\n");
        manifest(tree, name, deployment(name, "3"));
        tree.link(format!("{name}/kustomization.yaml"), "../link-overlay-other/kustomization.yaml");
    }),
    row("A2", "link-policy", "", |tree, name| {
        count(tree, name, "3");
        tree.file("elsewhere/link-policy.yaml", policy(name, "Deployment/link-policy", ""));
        tree.link(format!("policies/{name}.yaml"), "../elsewhere/link-policy.yaml");
    }),
    row("A3", "module-file", "submodule", |tree, name| {
        tree.module(format!("{name}/module-file.yaml"));
    }),
    row("A3", "module-folder", "is not a readable file", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, ../module-folder-other/e.yaml]\n");
        tree.module("module-folder-other");
    }),
    row("A3", "module-resource", "submodule", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, e.yaml]\n");
        tree.module(format!("{name}/e.yaml"));
    }),
];

const BOMBS: &[Row] = &[
    row("B5", "aliases", "aliases", |tree, name| {
        manifest(tree, name, deployment(name, "3") + &aliases());
    }),
    row("B5", "kustomization-aliases", "kustomization", |tree, name| {
        kustomization(tree, name, &format!("resources: [d.yaml]\n{}", aliases()));
    }),
    row("B5", "brackets", "not YAML", |tree, name| {
        manifest(tree, name, format!("{}---\n{}", deployment(name, "3"), "[".repeat(200_000)));
        tree.file(format!("{name}/brackets.yaml"), "[".repeat(200_000));
    }),
    row("B5", "deep", "not YAML", |tree, name| {
        let deep: String = (0..1_200).map(|at| format!("{}a:\n", " ".repeat(at))).collect();
        tree.file(format!("{name}/deep.yaml"), format!("{}---\n{deep}", deployment(name, "3")));
    }),
    row("B5", "documents", "documents", |tree, name| {
        let many = format!("{}{}", deployment(name, "3"), "--- 1\n".repeat(150_000));
        tree.file(format!("{name}/documents.yaml"), many);
    }),
    row("B5", "scalar", "not declared", |tree, name| {
        let huge = format!("{}---\na: {}\n", deployment(name, "3"), "x".repeat(64 << 20));
        tree.file(format!("{name}/scalar.yaml"), huge);
    }),
    row("B5", "pattern", "pattern", |tree, name| {
        let target = "{kind: Deployment, name: '(a{1,1000}){1,1000}(b{1,1000}){1,1000}'}";
        let patch = format!(
            "resources: [d.yaml]\npatches:\n- target: {target}\n  patch: '{{spec: {{replicas: 3}}}}'\n"
        );
        kustomization(tree, name, &patch);
    }),
    row("B5", "itself", "includes itself", |tree, name| {
        kustomization(tree, name, "resources: [d.yaml, sub, sub]\n");
        // Forty times sixteen levels deep: more readings than anybody lives to see.
        let many = |it: &str| format!("resources: [{}]\n", vec![it; 40].join(", "));
        tree.file(format!("{name}/sub/kustomization.yaml"), many("../sub2"));
        tree.file(format!("{name}/sub2/kustomization.yaml"), many("../sub"));
    }),
];

const READINGS: &[Row] = &[
    row("B6", "octal", "not a plain whole number", |tree, name| count(tree, name, "010")),
    row("B6", "octal-new", "replicas", |tree, name| count(tree, name, "0o10")),
    row("B6", "hex", "replicas", |tree, name| count(tree, name, "0x1F")),
    row("B6", "grouped", "replicas", |tree, name| count(tree, name, "1_000")),
    row("B6", "power", "replicas", |tree, name| count(tree, name, "1e1")),
    row("B6", "plus", "replicas", |tree, name| count(tree, name, "+1")),
    row("B6", "boolean", "replicas", |tree, name| count(tree, name, "yes")),
    row("B6", "sexagesimal", "replicas", |tree, name| count(tree, name, "1:30")),
    row("B6", "tagged", "replicas", |tree, name| count(tree, name, "!!int \"7\"")),
    row("B6", "quoted", "replicas", |tree, name| count(tree, name, "\"3\"")),
    row("B6", "templated", "replicas", |tree, name| count(tree, name, "${REPLICAS}")),
    row("B6", "not-utf8", "UTF-8", |tree, name| {
        let text = deployment(name, "3");
        tree.file(format!("{name}/not-utf8.yaml"), [text.as_bytes(), b"# caf\xe9\n"].concat());
    }),
    row("B6", "nul-byte", "not YAML", |tree, name| {
        tree.file(format!("{name}/nul-byte.yaml"), deployment(name, "3") + "# \0\n");
    }),
    row("B6", "utf16", "not YAML", |tree, name| {
        let wide: Vec<u8> = deployment(name, "3").encode_utf16().flat_map(u16::to_le_bytes).collect();
        tree.file(format!("{name}/utf16.yaml"), [b"\xff\xfe", &wide[..]].concat());
    }),
    row("B7", "anchored", "anchor", |tree, name| {
        count(tree, name, "&r 3\n  minReadySeconds: *r");
    }),
    row("B7", "aliased", "not YAML", |tree, name| count(tree, name, "*r\n  minReadySeconds: &r 3")),
    row("B7", "merged", "merge key", |tree, name| {
        let text = deployment(name, "3").replace("  replicas: 3\n", "  <<: *b\n");
        manifest(tree, name, format!("base: &b {{replicas: 3}}\n{text}"));
    }),
    row("B7", "twice", "replicas", |tree, name| count(tree, name, "1\n  replicas: 3")),
    row("B7", "twice-quoted", "replicas", |tree, name| count(tree, name, "1\n  \"replicas\": 3")),
    row("B7", "spec-twice", "\"spec\" twice", |tree, name| {
        manifest(tree, name, deployment(name, "3") + "spec: {replicas: 3}\n");
    }),
    row("B7", "kind-twice", "\"kind\" twice", |tree, name| {
        manifest(tree, name, format!("kind: ConfigMap\n{}", deployment(name, "3")));
    }),
    row("B7", "name-twice", "\"name\" twice", |tree, name| {
        let text = deployment(name, "3")
            .replace("  namespace: shop", "  name: other\n  name: name-twice\n  namespace: shop");
        manifest(tree, name, text);
    }),
    row("B7", "two-documents", "more than once", |tree, name| {
        manifest(tree, name, [deployment(name, "3"), deployment(name, "4")].join("---\n"));
    }),
    row("B7", "two-files", "more than once", |tree, name| {
        count(tree, name, "3");
        tree.file(format!("{name}/e.yaml"), deployment(name, "3"));
    }),
    row("B9", "negative", "replicas", |tree, name| count(tree, name, "-1")),
    row("B9", "zero", "zero", |tree, name| count(tree, name, "0")),
    row("B9", "beyond-int", "replicas", |tree, name| count(tree, name, "2147483648")),
    row("B9", "endless", "replicas", |tree, name| count(tree, name, "99999999999999999999")),
    row("B9", "no-number", "replicas", |tree, name| count(tree, name, ".nan")),
    row("B9", "infinite", "replicas", |tree, name| count(tree, name, ".inf")),
    row("B9", "exponent", "replicas", |tree, name| count(tree, name, "1e9")),
    row("B9", "above-maximum", "10 replicas", |tree, name| count(tree, name, "1000000")),
];

const PROTECTED: &[Row] = &[
    row("B8", "workflow", "protected path", |tree, name| protected(tree, name, ".github/d.yaml")),
    row("B8", "workflow-case", "protected path", |tree, name| {
        protected(tree, name, ".GitHub/workflows/d.yml");
    }),
    row("B8", "gitlab", "protected path", |tree, name| protected(tree, name, ".gitlab-ci.yml")),
    row("B8", "gitlab-deep", "protected path", |tree, name| protected(tree, name, "x/.gitlab-ci.yml")),
    row("B8", "gitea", "protected path", |tree, name| protected(tree, name, ".gitea/workflows/d.yaml")),
    row("B8", "circle", "protected path", |tree, name| protected(tree, name, ".circleci/config.yml")),
    row("B8", "azure", "protected path", |tree, name| protected(tree, name, "azure-pipelines.yml")),
    row("B8", "woodpecker", "protected path", |tree, name| protected(tree, name, ".woodpecker/d.yaml")),
    row("B8", "tekton", "protected path", |tree, name| protected(tree, name, ".tekton/d.yaml")),
    row("B8", "sops-rules", "protected path", |tree, name| protected(tree, name, "x/.sops.yaml")),
    row("B8", "owners", "protected path", |tree, name| protected(tree, name, "x/OWNERS.yaml")),
    row("B8", "policies", "protected path", |tree, name| protected(tree, name, "policies/manifest.yaml")),
    row("B8", "settings", "protected path", |tree, name| protected(tree, name, "tars.yaml")),
    row("B8", "own-branch", "protected path", |tree, name| protected(tree, name, "tars/open/d.yaml")),
    row("B8", "role", "rbac.authorization.k8s.io", |tree, name| {
        let text = deployment(name, "3").replace("apps/v1", "rbac.authorization.k8s.io/v1");
        manifest(tree, name, text);
    }),
    row("B8", "role-list", "List", |tree, name| {
        let item = |text: &str| {
            text.lines().map(|it| format!("  {it}\n")).collect::<String>().replacen("  a", "- a", 1)
        };
        let role =
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: all}\n";
        let text =
            format!("apiVersion: v1\nkind: List\nitems:\n{}{}", item(&deployment(name, "3")), item(role));
        manifest(tree, name, text);
    }),
    row("B8", "sops-file", "SOPS", |tree, name| {
        manifest(tree, name, deployment(name, "3") + "sops: {mac: x, version: 3.9.0}\n");
    }),
];

/// Kinds that decide who may do what, as targets of a restart: they have no replica count, so scaling them
/// would be refused for that reason alone.
const KINDS: [(&str, &str, &str); 8] = [
    ("kind-role", "Role", "rbac.authorization.k8s.io/v1"),
    ("kind-binding", "ClusterRoleBinding", "rbac.authorization.k8s.io/v1"),
    ("kind-network", "NetworkPolicy", "networking.k8s.io/v1"),
    ("kind-admission", "ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1"),
    ("kind-webhook", "MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1"),
    ("kind-kyverno", "ClusterPolicy", "kyverno.io/v1"),
    ("kind-secret", "Secret", "v1"),
    ("kind-tars", "RemediationPolicy", "aiops.tars/v1alpha1"),
];

fn kinds(tree: &mut Tree) {
    for (name, kind, version) in KINDS {
        let text = deployment(name, "3").replace("apps/v1", version).replace("Deployment", kind);
        tree.file(format!("{name}/d.yaml"), text);
        let restart = policy(name, &format!("{kind}/{name}"), "")
            .replace("type: ScaleOut", "type: RestartPod")
            .replace("scaleOut: {step: 2, maxReplicas: 10}", "restartPod: {maxPods: 100}");
        tree.file(format!("policies/{name}.yaml"), restart);
    }
}

#[test]
fn every_hostile_file_is_refused_for_its_own_reason_and_the_honest_one_is_served() {
    let mut tree = honest();
    let rows = || [PATHS, BOMBS, READINGS, PROTECTED].into_iter().flatten();
    for row in rows() {
        let name = row.name;
        tree.file(format!("policies/{name}.yaml"), policy(name, &format!("Deployment/{name}"), ""));
        (row.build)(&mut tree, name);
    }
    kinds(&mut tree);
    let world = World::new(&tree);
    let main = git(&world.repo(), &["rev-parse", "main"]);

    let started = Instant::now();
    let tick = world.run();
    let took = started.elapsed();
    assert_eq!(tick.said.code, 0, "{:#?}", tick.said);
    let mut wrong = Vec::new();
    let expected = rows().map(|row| (row.threat, row.name, row.says));
    for (threat, name, says) in expected.chain(KINDS.map(|(name, kind, _)| ("B8", name, kind))) {
        let held = tick.held(name);
        // A policy that is no file is no policy: nothing to say.
        let refused = held.iter().any(|it| it.contains(says)) || says.is_empty() && held.is_empty();
        if !refused {
            wrong.push(format!("{threat} {name}: expected {says:?}, got {held:#?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}\n{:#?}",
        wrong.len(),
        wrong.join("\n"),
        tick.lines.iter().take(12).collect::<Vec<_>>()
    );
    assert!(took < TICK_MAX, "{took:?}");

    let proposals = world.proposals();
    assert_eq!(proposals.len(), 1, "{proposals:?}");
    assert!(proposals[0].starts_with("tars/good/"), "{proposals:?}");
    assert_eq!(git(&world.repo(), &["rev-parse", "main"]), main);
    // One file, its mode kept; links, submodules and everything else are the very same objects.
    let changed = git(&world.repo(), &["diff", "--raw", "--no-renames", "main", &proposals[0]]);
    assert_eq!(changed.lines().count(), 1, "{changed}");
    assert!(changed.starts_with(":100644 100644 ") && changed.ends_with("M\tapps/good.yaml"), "{changed}");
    let ledger = git(&world.repo(), &["ls-tree", "-r", "--name-only", "tars/ledger"]);
    assert_eq!(ledger, "README.md\nopen/shop.deployment.good.yaml", "no entry for anything hostile");
}
