//! Who may do what: the rights in the cluster against the table of SECURITY.md, the pods against the restricted
//! profile, the network against "nobody is everybody".

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{SINGLE, objects, of_kind, rendered, value_sets};
use crate::support::{self, parts};

/// `(group/resource, verb)` of a file of rules.
fn rights(path: &str) -> BTreeSet<(String, String)> {
    let rules: Vec<Value> = yaml_serde::from_str(&support::text(path).expect(path)).unwrap();
    let texts = |it: &Value| -> Vec<String> {
        it.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let mut all = BTreeSet::new();
    for rule in rules {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let what = if group.is_empty() { resource } else { format!("{resource}.{group}") };
                all.extend(texts(&rule["verbs"]).into_iter().map(|verb| (what.clone(), verb)));
            }
        }
    }
    all
}

/// The rows of the table of rights: `| resources | verbs | why |`.
fn documented() -> BTreeSet<(String, String)> {
    let text = support::text("SECURITY.md").unwrap();
    let table = text.split("\n## Rights in the cluster\n").nth(1).expect("the section of rights");
    let table = table.split("\n## ").next().unwrap();
    let mut all = BTreeSet::new();
    for row in table.lines().filter(|it| it.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        for resource in cells[0].split(", ") {
            for verb in cells[1].split(", ") {
                all.insert((resource.trim_matches('`').to_owned(), verb.to_owned()));
            }
        }
    }
    all
}

#[test]
fn the_rights_in_the_cluster_are_those_of_the_table_and_no_other() {
    let all: BTreeSet<_> = rights("charts/tars/rbac/watched.yaml")
        .into_iter()
        .chain(rights("charts/tars/rbac/own.yaml"))
        .collect();
    assert_eq!(all, documented());
    let mut writes = BTreeSet::new();
    for (what, verb) in &all {
        assert!(!what.contains('*') && verb != "*" && !what.contains("secret"), "{what} {verb}");
        if !matches!(verb.as_str(), "get" | "list" | "watch") {
            writes.insert(what.split_once('.').map_or("", |it| it.1));
        }
    }
    assert_eq!(writes, BTreeSet::from(["aiops.tars", "coordination.k8s.io", "events.k8s.io"]));
}

/// Not in the table: off unless the settings ask for it.
#[test]
fn asking_argo_cd_and_flux_to_look_needs_the_patch_that_the_settings_bring() {
    let test = "asking_argo_cd_and_flux_to_look_needs_the_patch_that_the_settings_bring";
    let patch = |what: &str| (what.to_owned(), "patch".to_owned());
    let expected = ["applications.argoproj.io", "gitrepositories.source.toolkit.fluxcd.io"].map(patch);
    let count = expected.len();
    assert_eq!(rights("charts/tars/rbac/refresh.yaml"), expected.into());
    let Some(helm) = parts::find("helm", test) else { return };
    let server = "networkPolicy.egress.cluster.to[0].ipBlock.cidr=192.0.2.20/32";
    let more = ["--skip-schema-validation", "--set", "settings.cluster.access=inCluster", "--set", server];
    let rules = |more: &[&str]| {
        let all = objects(&rendered(&helm, "charts/tars/ci/minimal-values.yaml", more));
        of_kind(&all, "ClusterRole")[0]["rules"].as_array().unwrap().clone()
    };
    let without = rules(&more);
    let with = rules(&[&more[..], &["--set", "settings.sync.refresh=true"]].concat());
    assert_eq!(with.len(), without.len() + count);
    assert!(with.starts_with(&without) && with[without.len()]["verbs"] == json!(["patch"]));
}

#[test]
fn pods_without_access_to_the_cluster_have_no_token_and_no_rights() {
    let test = "pods_without_access_to_the_cluster_have_no_token_and_no_rights";
    let Some(helm) = parts::find("helm", test) else { return };
    for (name, values) in value_sets().into_iter().filter(|it| it.0 != "cluster") {
        let text = rendered(&helm, &values, &[]);
        assert!(!text.contains("serviceAccountToken:") && !text.contains("rbac.authorization"), "{name}");
    }
}

/// The restricted profile of the pod security standards, and what goes beyond it.
#[test]
fn every_pod_is_restricted_has_bounds_and_writes_to_its_own_folders_only() {
    let test = "every_pod_is_restricted_has_bounds_and_writes_to_its_own_folders_only";
    let Some(helm) = parts::find("helm", test) else { return };
    for (name, values) in value_sets() {
        let all = objects(&rendered(&helm, &values, &[]));
        let sets = of_kind(&all, "StatefulSet");
        assert_eq!(sets.len(), usize::from(!SINGLE.contains(&name.as_str())), "{name}");
        let pods = of_kind(&all, "Deployment").into_iter().chain(sets);
        let pods = pods.map(|it| &it["spec"]["template"]["spec"]);
        for pod in pods.chain(of_kind(&all, "Pod").into_iter().map(|it| &it["spec"])) {
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            for own in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
                assert!(pod[own].is_null(), "{name}: {own}");
            }
            let container = &pod["containers"][0];
            let security = &container["securityContext"];
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{name}");
            assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}), "{name}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            for bound in ["cpu", "memory", "ephemeral-storage"] {
                assert!(container["resources"]["limits"][bound].is_string(), "{name}: {bound}");
            }
            assert!(container["env"].is_null(), "{name}: secrets are files");
            for mount in container["volumeMounts"].as_array().unwrap() {
                let path = mount["mountPath"].as_str().unwrap();
                assert_eq!(
                    mount["readOnly"] != true,
                    ["/tmp", "/var/lib/tars"].contains(&path),
                    "{name}: {path}"
                );
            }
        }
    }
}

#[test]
fn the_network_is_closed_both_ways_and_every_rule_names_peers_and_ports() {
    let test = "the_network_is_closed_both_ways_and_every_rule_names_peers_and_ports";
    let Some(helm) = parts::find("helm", test) else { return };
    let mut seen = 0;
    for (name, values) in value_sets() {
        let all = objects(&rendered(&helm, &values, &[]));
        for policy in of_kind(&all, "NetworkPolicy") {
            seen += 1;
            assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
            for (way, peers) in [("ingress", "from"), ("egress", "to")] {
                for rule in policy["spec"][way].as_array().unwrap() {
                    assert!(!rule["ports"].as_array().unwrap().is_empty(), "{name}: {rule}");
                    let peers = rule[peers].as_array().unwrap();
                    assert!(!peers.is_empty() && peers.iter().all(|it| *it != json!({})), "{name}: {rule}");
                }
            }
        }
        if name == "everything" {
            let policies = of_kind(&all, "NetworkPolicy");
            let ways = |it: &Value, way: &str| it["spec"][way].as_array().unwrap().clone();
            assert_eq!(ways(policies[0], "ingress").len(), 2, "alertmanager, prometheus");
            assert_eq!(ways(policies[0], "egress").len(), 4, "dns, git, prometheus, detectors");
            assert_eq!(ways(policies[1], "ingress").len(), 2, "prometheus, remediators");
            assert_eq!(ways(policies[1], "egress").len(), 2, "dns, prometheus");
            // Whom a remediator may reach is whom the other policy is about, and nobody but its kind may come in there.
            let detectors = &policies[1]["spec"]["podSelector"];
            assert_eq!(ways(policies[0], "egress")[3]["to"], json!([{"podSelector": detectors}]));
            let others = &policies[0]["spec"]["podSelector"];
            assert_eq!(ways(policies[1], "ingress")[1]["from"], json!([{"podSelector": others}]));
        }
    }
    assert!(seen >= 2);
}

/// The whole cluster, or a list of namespaces and nothing beside them.
#[test]
fn access_to_the_cluster_brings_the_rights_and_a_token_of_an_hour() {
    let test = "access_to_the_cluster_brings_the_rights_and_a_token_of_an_hour";
    let Some(helm) = parts::find("helm", test) else { return };
    let server = "networkPolicy.egress.cluster.to[0].ipBlock.cidr=192.0.2.20/32";
    // The schema follows the settings of the program; these are of the part that speaks to a cluster.
    let more = ["--skip-schema-validation", "--set", "settings.cluster.access=inCluster", "--set", server];
    let minimal = "charts/tars/ci/minimal-values.yaml";
    let all = objects(&rendered(&helm, minimal, &more));
    assert_eq!(of_kind(&all, "ClusterRole").len(), 1);
    let role = &of_kind(&all, "ClusterRole")[0]["metadata"]["name"];
    assert_eq!(role, "tars-tars", "a release of this name in another namespace has another");
    assert_eq!(of_kind(&all, "Role").len(), 1);
    assert_eq!(of_kind(&all, "Role")[0]["rules"][1]["resourceNames"], json!(["tars"]));
    let settings =
        |all: &[Value]| of_kind(all, "ConfigMap")[0]["data"]["tars.yaml"].as_str().unwrap().to_owned();
    assert!(settings(&all).contains("lease: tars\n"), "{}", settings(&all));
    let named = [&more[..], &["--set", "settings.cluster.lease=shop"]].concat();
    let all_named = objects(&rendered(&helm, minimal, &named));
    assert_eq!(of_kind(&all_named, "Role")[0]["rules"][1]["resourceNames"], json!(["shop"]));
    assert!(settings(&all_named).contains("lease: shop\n"), "{}", settings(&all_named));
    let nobody = [&more[..], &["--set-string", "settings.cluster.lease="]].concat();
    let all_nobody = objects(&rendered(&helm, minimal, &nobody));
    assert_eq!(
        of_kind(&all_nobody, "Role")[0]["rules"][1]["resourceNames"],
        json!(["tars"]),
        "no name is not every name"
    );
    let volumes = of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains("\"expirationSeconds\":3600"), "{volumes}");
    let set = of_kind(&all, "StatefulSet")[0].to_string();
    assert!(!set.contains("serviceAccountToken\""), "a detector has no token: {set}");
    assert_eq!(of_kind(&all, "NetworkPolicy")[0]["spec"]["egress"].as_array().unwrap().len(), 5);
    let namespaces = "rbac.scope=namespace,settings.cluster.namespaces={shop,payments}";
    let all = objects(&rendered(&helm, minimal, &[&more[..], &["--set", namespaces]].concat()));
    assert_eq!(of_kind(&all, "ClusterRole").len() + of_kind(&all, "ClusterRoleBinding").len(), 0);
    let places: BTreeSet<_> = of_kind(&all, "Role")
        .iter()
        .map(|it| it["metadata"]["namespace"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(places, ["payments", "shop", "tars"].map(str::to_owned).into());
}
