//! Deliveries end to end on small repositories: what reaches the cluster, and what is said about the rest.

use crate::layout::{About, Field, Index, Surroundings, index, index_in};
use crate::model::fixtures::{oid, target};
use crate::model::ids::RepoPath;
use crate::model::tree::{EntryMode, RepoTree, TreeFile};

fn tree(files: &[(&str, &str)]) -> RepoTree {
    let entry = |(path, text): &(&str, &str)| {
        let file = TreeFile::held(EntryMode::File, text.as_bytes());
        (RepoPath::new(*path).unwrap(), file)
    };
    RepoTree::held(oid('a'), files.iter().map(entry).collect())
}

fn repository(files: &[(&str, &str)]) -> Index {
    index(&tree(files))
}

fn targets(index: &Index, kind: &str) -> Vec<String> {
    let all = index.targets().into_iter().filter(|it| it.kind.as_str() == kind);
    all.map(|it| it.to_string()).collect()
}

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 3\n  template:\n    \
         spec:\n      containers: [{{name: app, image: 'app:1'}}]\n"
    )
}

fn application(name: &str, source: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: argocd}}\n\
         spec:\n  destination: {{namespace: shop}}\n  source:\n    repoURL: https://git.example.com/shop/gitops\n{source}"
    )
}

fn kustomization(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: {name}, namespace: \
         flux-system}}\nspec:\n  sourceRef: {{kind: GitRepository, name: gitops}}\n{spec}"
    )
}

#[test]
fn a_folder_is_delivered_once_and_into_the_namespace_of_the_application() {
    let index = repository(&[
        ("argocd/backend.yaml", &application("backend", "    path: apps/backend\n")),
        ("apps/backend/d.yaml", &deployment("backend")),
        ("apps/backend/deep/e.yaml", &deployment("deep")),
        ("apps/other/d.yaml", &deployment("other")),
    ]);
    // Not recursive: what lies deeper reaches the cluster in some other way, if at all.
    let expected = ["default/Deployment/deep", "default/Deployment/other", "shop/Deployment/backend"];
    assert_eq!(targets(&index, "Deployment"), expected);
    let files: Vec<String> =
        index.files_of(&target("shop/Deployment/backend")).iter().map(ToString::to_string).collect();
    assert_eq!(files, ["apps/backend/d.yaml", "argocd/backend.yaml"]);
}

#[test]
fn a_directory_source_takes_what_its_globs_take() {
    let directory = |settings: &str| {
        let source = format!("    path: apps\n    directory: {{{settings}}}\n");
        let index = repository(&[
            ("argocd/a.yaml", &application("a", &source)),
            ("apps/a.yaml", &deployment("a")),
            ("apps/b.yml", &deployment("b")),
            ("apps/deep/c.yaml", &deployment("c")),
            ("apps/skip.yaml", &format!("# +argocd:skip-file-rendering\n{}", deployment("skip"))),
        ]);
        let names = targets(&index, "Deployment").into_iter();
        names
            .filter_map(|it| it.strip_prefix("shop/Deployment/").map(str::to_owned))
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(directory(""), "a,b");
    assert_eq!(directory("recurse: true"), "a,b,c");
    assert_eq!(directory("recurse: true, include: 'deep/*'"), "c");
    assert_eq!(directory("recurse: true, exclude: '{a.yaml,deep/*}'"), "b");
}

#[test]
fn kustomize_settings_of_an_application_are_on_top_of_the_overlay() {
    let source = "    path: overlay\n    kustomize:\n      namePrefix: p-\n      images: ['app=new:2']\n      \
                  replicas: [{name: backend, count: '5'}]\n";
    let index = repository(&[
        ("argocd/a.yaml", &application("a", source)),
        ("overlay/kustomization.yaml", "resources: [d.yaml]\n"),
        ("overlay/d.yaml", &deployment("backend")),
    ]);
    let backend = index.workload(&target("shop/Deployment/p-backend")).unwrap();
    assert_eq!((backend.replicas, backend.containers[0].image.as_str()), (Some(5), "new:2"));
    assert_eq!(targets(&index, "Deployment").len(), 1);
}

#[test]
fn what_argo_cd_would_build_otherwise_is_refused() {
    let cases = [
        ("namePrefix: x-", "namePrefix: y-\n", "replaces the namePrefix"),
        ("images: ['app:2']", "images: [{name: app, newName: z}]\n", "replaces images[name=app]"),
        (
            "patches: [{target: {kind: Deployment}, patch: '[{op: replace, path: /spec/replicas, value: 2}]'}]",
            "replicas: [{name: backend, count: 4}]\n",
            "may set again",
        ),
    ];
    for (settings, inner, words) in cases {
        let source = format!("    path: overlay\n    kustomize:\n      {settings}\n");
        let index = repository(&[
            ("argocd/a.yaml", &application("a", &source)),
            ("overlay/kustomization.yaml", &format!("resources: [d.yaml]\n{inner}")),
            ("overlay/d.yaml", &deployment("backend")),
        ]);
        let found = index.targets().into_iter().find(|it| it.kind.as_str() == "Deployment").unwrap();
        let why = index.workload(&found).unwrap_err();
        assert!(why.text.contains(words), "{settings}: {why}");
    }
}

#[test]
fn another_repository_or_revision_is_said_and_not_rendered() {
    let about =
        About { urls: vec!["git@git.example.com:shop/gitops.git".into()], branch: Some("main".into()) };
    let surroundings = Surroundings { about, ..Surroundings::default() };
    let other = application("other", "    path: apps\n").replace("shop/gitops", "shop/else");
    let files = [
        ("argocd/a.yaml", application("a", "    path: apps\n    targetRevision: v1.0.0\n")),
        ("argocd/b.yaml", other),
        ("argocd/c.yaml", application("c", "    chart: redis\n    targetRevision: 1.2.3\n")),
        ("apps/d.yaml", deployment("backend")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let index = index_in(&tree(&files), &surroundings);
    let why = index.workload(&target("shop/Deployment/backend")).unwrap_err();
    assert!(why.text.contains("follows v1.0.0, not the watched branch main"), "{why}");
    let why = index.workload(&target("shop/Deployment/redis")).unwrap_err();
    assert!(why.text.contains("another repository") && why.text.contains("the chart redis"), "{why}");
}

#[test]
fn an_application_of_applications_is_followed_to_the_end() {
    let index = repository(&[
        (
            "root.yaml",
            &application("root", "    path: argocd\n").replace("namespace: shop", "namespace: argocd"),
        ),
        ("argocd/child.yaml", &application("child", "    path: apps\n")),
        ("apps/d.yaml", &deployment("backend")),
    ]);
    assert_eq!(targets(&index, "Deployment"), ["shop/Deployment/backend"]);
    assert_eq!(targets(&index, "Application"), ["argocd/Application/child", "argocd/Application/root"]);
    let chain = index.files_of(&target("shop/Deployment/backend"));
    assert_eq!(chain.len(), 3, "{chain:?}");
}

#[test]
fn deliveries_that_bring_themselves_end() {
    let index = repository(&[
        ("clusters/a/root.yaml", &kustomization("root", "  path: ./clusters/a\n")),
        ("clusters/a/d.yaml", &deployment("backend")),
        ("x/x.yaml", &application("x", "    path: y\n")),
        ("y/y.yaml", &application("y", "    path: x\n")),
    ]);
    assert_eq!(targets(&index, "Deployment"), ["default/Deployment/backend"]);
    assert_eq!(targets(&index, "Kustomization"), ["flux-system/Kustomization/root"]);
    assert_eq!(targets(&index, "Application").len(), 2);
}

#[test]
fn flux_takes_every_manifest_below_and_kustomizations_as_they_are() {
    let index = repository(&[
        ("clusters/a.yaml", &kustomization("apps", "  path: ./apps\n  targetNamespace: shop\n")),
        ("apps/d.yaml", &deployment("plain")),
        ("apps/deep/e.yaml", &deployment("deep")),
        ("apps/k/kustomization.yaml", "resources: [f.yaml]\nnamePrefix: k-\n"),
        ("apps/k/f.yaml", &deployment("chosen")),
        ("apps/k/g.yaml", &deployment("left-out")),
    ]);
    let expected = ["shop/Deployment/deep", "shop/Deployment/k-chosen", "shop/Deployment/plain"];
    assert_eq!(targets(&index, "Deployment"), expected);
}

#[test]
fn settings_of_a_flux_kustomization_win_over_the_overlay() {
    let spec = "  path: overlay\n  targetNamespace: shop\n  images: [{name: app, newTag: '2'}]\n  patches:\n    \
                - target: {kind: Deployment}\n      patch: |\n        - {op: replace, path: /spec/replicas, value: 7}\n";
    let index = repository(&[
        ("clusters/a.yaml", &kustomization("a", spec)),
        ("overlay/kustomization.yaml", "resources: [d.yaml]\nnamespace: other\n"),
        ("overlay/d.yaml", &deployment("backend")),
    ]);
    let backend = index.workload(&target("shop/Deployment/backend")).unwrap();
    assert_eq!((backend.replicas, backend.containers[0].image.as_str()), (Some(7), "app:2"));
}

#[test]
fn a_substituted_field_is_seen_and_not_edited() {
    let spec = "  path: apps\n  postBuild:\n    substitute: {N: '4'}\n    substituteFrom: [{kind: ConfigMap, name: vars}]\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vars, namespace: flux-system}\ndata: {TAG: '9', N: '1'}\n";
    let text = deployment("backend").replace("replicas: 3", "replicas: ${N}").replace("app:1", "app:${TAG}");
    let files = [
        ("clusters/a.yaml", kustomization("a", spec)),
        ("clusters/m.yaml", map.to_owned()),
        ("apps/d.yaml", text),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let index = repository(&files);
    let backend = index.workload(&target("default/Deployment/backend")).unwrap();
    assert_eq!((backend.replicas, backend.containers[0].image.as_str()), (Some(4), "app:9"));
    let refused = index.place(&target("default/Deployment/backend"), &Field::Replicas).unwrap_err();
    assert!(refused.reason.text.contains("spec.replicas is rendered as 4"), "{}", refused.reason);
    // Without the ConfigMap the value is not known.
    let without = repository(&[files[0], files[2]]);
    assert!(
        without.workload(&target("default/Deployment/backend")).unwrap_err().text.contains("ConfigMap vars")
    );
}

#[test]
fn a_flux_source_elsewhere_is_said() {
    let about =
        About { urls: vec!["https://git.example.com/shop/gitops".into()], branch: Some("main".into()) };
    let source = |spec: &str| {
        format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: gitops, namespace: \
             flux-system}}\nspec: {{{spec}}}\n"
        )
    };
    for (spec, words) in [
        ("url: 'https://git.example.com/shop/other'", "another repository"),
        ("url: 'https://git.example.com/shop/gitops', ref: {tag: v1}", "stays at v1"),
        ("url: 'https://git.example.com/shop/gitops', ref: {branch: old}", "follows old"),
    ] {
        let surroundings = Surroundings { about: about.clone(), ..Surroundings::default() };
        let files = [
            ("clusters/a.yaml", kustomization("a", "  path: apps\n  targetNamespace: shop\n")),
            ("clusters/s.yaml", source(spec)),
            ("apps/d.yaml", deployment("backend")),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let index = index_in(&tree(&files), &surroundings);
        let why = index.workload(&target("shop/Deployment/backend")).unwrap_err();
        assert!(why.text.contains(words), "{spec}: {why}");
    }
}

/// The repository when it was known under `shop/gitops`, seen by a tars that knows other addresses.
fn moved(files: &[(&str, &str)], urls: &[&str]) -> Index {
    let urls = urls.iter().map(ToString::to_string).collect();
    let about = About { urls, branch: Some("main".into()) };
    index_in(&tree(files), &Surroundings { about, ..Surroundings::default() })
}

#[test]
fn a_folder_asked_for_under_an_address_that_is_not_known_any_more_is_not_edited_as_a_plain_one() {
    let source = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: gitops, namespace: \
                  flux-system}\nspec: {url: 'https://git.example.com/shop/gitops'}\n";
    let url = "repoURL: 'https://git.example.com/shop/gitops'";
    let folders =
        format!("git: {{{url}, directories: [{{path: apps/*}}, {{path: apps/other, exclude: true}}]}}");
    let rules: [(&str, Vec<(&str, String)>); 4] = [
        ("Application backend", vec![("argocd/a.yaml", application("backend", "    path: apps/backend\n"))]),
        (
            "Kustomization backend",
            vec![
                ("clusters/a.yaml", kustomization("backend", "  path: ./apps/backend\n")),
                ("clusters/s.yaml", source.to_owned()),
            ],
        ),
        (
            "Application team-backend",
            vec![(
                "argocd/s.yaml",
                set("list: {elements: [{team: backend}]}", "{{.team}}", "apps/{{.team}}"),
            )],
        ),
        (
            "ApplicationSet teams",
            vec![("argocd/s.yaml", set(&folders, "{{.path.basename}}", "{{.path.path}}"))],
        ),
    ];
    let deployments =
        [("apps/backend/d.yaml", deployment("backend")), ("apps/other/d.yaml", deployment("other"))];
    for (label, files) in rules {
        let all = files.iter().chain(&deployments);
        let files: Vec<(&str, &str)> = all.map(|(path, text)| (*path, text.as_str())).collect();
        let known = moved(&files, &["https://git.example.com/shop/gitops"]);
        assert_eq!(targets(&known, "Deployment").len(), 2, "{label}");
        for target in known.targets().iter().filter(|it| it.kind.as_str() == "Deployment") {
            assert!(known.workload(target).is_ok(), "{label}: {target}");
        }
        let index = moved(&files, &["https://new.example.com/platform"]);
        let backend = target("default/Deployment/backend");
        for why in [
            index.workload(&backend).unwrap_err(),
            index.place(&backend, &Field::Replicas).unwrap_err().reason,
        ] {
            for words in
                ["apps/backend/d.yaml is in a folder", label, "add the address to repository.aliases"]
            {
                assert!(why.text.contains(words), "{label}: {why}");
            }
        }
        assert!(
            index.workload(&target("default/Deployment/other")).is_ok(),
            "{label}: nobody asks for that one"
        );
    }
}

#[test]
fn the_root_of_another_repository_is_meant_here_only_under_the_same_name() {
    let files = [("argocd/a.yaml", application("all", "    path: .\n")), ("d.yaml", deployment("backend"))];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let backend = target("default/Deployment/backend");
    let found = |url: &str| moved(&files, &[url]).workload(&backend);
    assert!(found("https://git.example.com/shop/other").is_ok());
    let why = found("ssh://git@elsewhere.example.com/shop/gitops.git").unwrap_err();
    assert!(
        why.text.contains("d.yaml is in a folder that Application all in argocd/a.yaml may mean"),
        "{why}"
    );
}

const SET: &str = "apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: teams, namespace: argocd}
spec:
  goTemplate: true
  generators:
    - GENERATOR
  template:
    metadata: {name: 'team-NAME'}
    spec:
      source: {repoURL: 'https://git.example.com/shop/gitops', path: 'PATH'}
      destination: {namespace: 'NAME'}
";

fn set(generator: &str, name: &str, path: &str) -> String {
    SET.replace("GENERATOR", generator).replace("NAME", name).replace("PATH", path)
}

#[test]
fn an_application_set_generates_from_lists_folders_and_files() {
    let url = "repoURL: 'https://git.example.com/shop/gitops'";
    let cases = [
        (set("list: {elements: [{team: a}, {team: b}]}", "{{.team}}", "teams/{{.team}}"), "a b"),
        (
            set(
                &format!(
                    "git: {{{url}, directories: [{{path: teams/*}}, {{path: teams/b, exclude: true}}]}}"
                ),
                "{{.path.basename}}",
                "{{.path.path}}",
            ),
            "a",
        ),
        (
            set(
                &format!("git: {{{url}, files: [{{path: config/b.yaml}}]}}"),
                "{{.team.name}}",
                "teams/{{ .team.name }}",
            ),
            "b",
        ),
        (
            set("list: {elements: [{team: b}]}", "{{team}}", "teams/{{team}}")
                .replace("goTemplate: true", "goTemplate: false"),
            "b",
        ),
    ];
    for (set, expected) in cases {
        let index = repository(&[
            ("argocd/set.yaml", &set),
            ("config/b.yaml", "team: {name: b}\n"),
            ("teams/a/d.yaml", &deployment("app")),
            ("teams/b/d.yaml", &deployment("app")),
        ]);
        let mut found = targets(&index, "Deployment");
        found.retain(|it| !it.starts_with("default/"));
        let expected: Vec<String> = expected.split(' ').map(|it| format!("{it}/Deployment/app")).collect();
        assert_eq!(found, expected, "{set}");
    }
}

#[test]
fn generators_and_templates_that_are_not_plain_are_refused_by_name() {
    let list = "list: {elements: [{team: a}]}";
    for (set, words) in [
        (set("matrix: {generators: []}", "x", "teams/a"), "the generator matrix"),
        (set("clusters: {}", "x", "teams/a"), "the generator clusters"),
        (set("pullRequest: {}", "x", "teams/a"), "the generator pullRequest"),
        (set(list, "{{.team | upper}}", "teams/a"), "{{.team | upper}}"),
        (set(list, "{{.missing}}", "teams/a"), "{{.missing}}"),
        (set("list: {elements: [{team: a}, {team: a}]}", "{{.team}}", "teams/a"), "twice"),
        (set(list, "x", "teams/a").replace("goTemplate: true", "templatePatch: 'a'"), "templatePatch"),
    ] {
        let index = repository(&[("argocd/set.yaml", &set), ("teams/a/d.yaml", &deployment("app"))]);
        let notes = index.delivery_notes().join("\n");
        assert!(notes.contains(words), "{words}: {notes}");
    }
}

#[test]
fn a_place_in_the_template_of_a_set_belongs_to_all_its_applications() {
    let set = set("list: {elements: [{team: a}, {team: b}]}", "{{.team}}", "teams/{{.team}}").replace(
        "path: 'teams/{{.team}}'}",
        "path: 'teams/{{.team}}', kustomize: {replicas: [{name: app, count: 6}]}}",
    );
    let index = repository(&[
        ("argocd/set.yaml", &set),
        ("teams/a/kustomization.yaml", "resources: [d.yaml]\n"),
        ("teams/a/d.yaml", &deployment("app")),
        ("teams/b/kustomization.yaml", "resources: [d.yaml]\n"),
        ("teams/b/d.yaml", &deployment("app")),
    ]);
    assert_eq!(index.workload(&target("a/Deployment/app")).unwrap().replicas, Some(6));
    let refused = index.place(&target("a/Deployment/app"), &Field::Replicas);
    assert!(refused.unwrap_err().reason.text.contains("b/Deployment/app"));
}

#[test]
fn a_chart_that_helm_has_not_rendered_says_what_to_do() {
    let index = repository(&[
        ("argocd/a.yaml", &application("payments", "    path: charts/payments\n")),
        ("charts/payments/Chart.yaml", "apiVersion: v2\nname: payments\nversion: 1.0.0\n"),
        ("charts/payments/values.yaml", "count: 3\n"),
        ("charts/payments/templates/d.yaml", "kind: {{ .x }}\n"),
    ]);
    let why = index.workload(&target("shop/Deployment/payments")).unwrap_err();
    for words in ["Application payments in argocd/a.yaml", "needs the program helm"] {
        assert!(why.text.contains(words), "{words}: {why}");
    }
}

#[test]
fn a_dependency_that_is_not_vendored_is_named() {
    let chart = "apiVersion: v2\nname: x\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.0.0, repository: 'https://charts.example.com'}]\n";
    let index = repository(&[
        ("argocd/a.yaml", &application("x", "    path: charts/x\n")),
        ("charts/x/Chart.yaml", chart),
    ]);
    let why = index.workload(&target("shop/Deployment/x")).unwrap_err();
    assert!(why.text.contains("depends on redis from https://charts.example.com"), "{why}");
}

#[test]
fn components_of_a_flux_kustomization_change_what_it_builds() {
    let patch = |name: &str, count: u32| {
        format!(
            "      apiVersion: apps/v1\n      kind: Deployment\n      metadata: {{name: {name}}}\n      spec:\n        replicas: {count}\n"
        )
    };
    let component = format!(
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n  - patch: |-\n{}      ---\n{}",
        patch("front", 4),
        patch("back", 5)
    );
    let all = |kustomization_more: &str, components: &str| {
        repository(&[
            ("flux/a.yaml", &kustomization("a", &format!("  path: ./app\n  components: [{components}]\n"))),
            (
                "app/kustomization.yaml",
                &format!("namespace: shop\nresources: [d.yaml]\n{kustomization_more}"),
            ),
            ("app/d.yaml", &format!("{}---\n{}", deployment("front"), deployment("back"))),
            ("comp/kustomization.yaml", &component),
        ])
    };
    let index = all("", "../comp");
    for (name, count, path) in
        [("front", 4, "patches[0].patch|0|spec.replicas"), ("back", 5, "patches[0].patch|1|spec.replicas")]
    {
        let target = target(&format!("shop/Deployment/{name}"));
        assert_eq!(index.workload(&target).unwrap().replicas, Some(count), "{name}");
        let place = index.place(&target, &Field::Replicas).unwrap();
        assert_eq!((place.file.as_str(), place.field().as_str()), ("comp/kustomization.yaml", path));
    }
    for (more, components, words) in [
        ("replicas: [{name: front, count: 9}]\n", "../comp", "come before the replicas"),
        ("", "../gone", "\"../gone\" cannot be read"),
    ] {
        let why = all(more, components).workload(&target("shop/Deployment/front")).unwrap_err();
        assert!(why.text.contains(words), "{why}");
    }
}
