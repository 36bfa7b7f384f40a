//! The table against the roles of the chart, and both against what a real API server says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::config::ClusterAt;
use crate::model::ids::ObjectName;

const IN_CHART: [(&str, &str, &[Right]); 2] = [
    ("watched", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/tars/rbac/watched.yaml")), WATCHED),
    ("own", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/tars/rbac/own.yaml")), OWN),
];

type Rights = BTreeSet<(String, String, String)>;

fn of_rules(rules: &[Value]) -> Rights {
    let texts = |it: &Value| -> Vec<String> {
        it.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let mut all = Rights::new();
    for rule in rules {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let verbs = texts(&rule["verbs"]).into_iter();
                all.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    all
}

fn of_table(rights: &[Right]) -> Rights {
    let each = |it: &Right| {
        let (group, resource) = (it.group.to_owned(), it.resource.to_owned());
        let verbs = it.verbs.iter().map(|verb| verb.as_str().to_owned());
        verbs.map(|verb| (group.clone(), resource.clone(), verb)).collect::<Vec<_>>()
    };
    rights.iter().flat_map(each).collect()
}

#[test]
fn the_roles_of_the_chart_are_the_table() {
    for (name, text, table) in IN_CHART {
        let rules: Vec<Value> = yaml_serde::from_str(text).unwrap();
        assert_eq!(of_rules(&rules), of_table(table), "charts/tars/rbac/{name}.yaml");
    }
}

fn settings(policies: PoliciesFrom) -> ClusterSettings {
    let lease = ObjectName::new("tars").unwrap();
    ClusterSettings { at: ClusterAt::InCluster, namespaces: Vec::new(), policies, lease }
}

fn said(rules: &Value) -> Allowed {
    serde_json::from_value(json!({ "resourceRules": rules })).unwrap()
}

/// `<verdict> <detail>` of every line.
fn lines(all: &[Line]) -> Vec<String> {
    let text = |it: &Line| {
        let it = serde_json::to_value(it).unwrap();
        format!("{} {}", it["verdict"].as_str().unwrap(), it["detail"].as_str().unwrap())
    };
    all.iter().map(text).collect()
}

#[test]
fn a_missing_right_is_named_with_what_it_is_for_and_fails_only_what_decides() {
    let allowed = said(&json!([
        { "verbs": ["list"], "apiGroups": ["aiops.tars"], "resources": ["*"] },
        { "verbs": ["*"], "apiGroups": ["", "apps", "events.k8s.io"], "resources": ["*"] },
        { "verbs": ["create", "patch", "delete"], "apiGroups": ["*"],
          "resources": ["remediationactions", "remediationactions/status", "remediationpolicies/status"] },
    ]));
    let found = |policies| lines(&missing(&allowed, "shop", WATCHED, &settings(policies)));
    let about =
        "no watch on remediationpolicies.aiops.tars in shop: policies kept in the cluster, and their status";
    for (from, verdict) in [(PoliciesFrom::Cluster, "fail"), (PoliciesFrom::Repository, "warn")] {
        let lines = found(from);
        assert_eq!((lines.len(), &lines[0]), (2, &format!("{verdict} {about}")), "{lines:#?}");
        let delivers = &lines[1];
        assert!(
            delivers.starts_with("warn no ") && delivers.ends_with(Feature::Delivery.about()),
            "{delivers}"
        );
        assert!(delivers.contains("get on rollouts.argoproj.io; "), "{delivers}");
        assert!(!delivers.contains("deployments"), "what is allowed is not lacking: {delivers}");
    }
    let named = |name: &str| {
        said(&json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": [name] }]))
    };
    assert_eq!(lines(&missing(&named("tars"), "tars", OWN, &settings(PoliciesFrom::Both))), [""; 0]);
    assert_eq!(missing(&named("other"), "tars", OWN, &settings(PoliciesFrom::Both)).len(), 1);
}

#[cfg(feature = "cluster-tests")]
mod on_a_server {
    use super::*;
    use crate::model::ids::Namespace;
    use crate::outside::kube::{Part, Patch, Place, real};

    const RBAC: &str = "rbac.authorization.k8s.io";

    async fn apply(kube: &Kube, plural: &'static str, namespace: Option<&str>, name: &str, more: &Value) {
        let kind = match plural {
            "clusterroles" => "ClusterRole",
            "clusterrolebindings" => "ClusterRoleBinding",
            "roles" => "Role",
            _ => "RoleBinding",
        };
        let mut object = more.clone();
        object["apiVersion"] = json!(format!("{RBAC}/v1"));
        object["kind"] = json!(kind);
        object["metadata"] = json!({ "name": name, "namespace": namespace });
        let place = Place { resource: Resource { group: RBAC, version: "v1", plural }, namespace, name };
        let apply = Patch::Apply { manager: "tars-test" };
        let _: Value = kube.patch(place, Part::Whole, apply, &object).await.unwrap();
    }

    /// Gives the account of `namespace` the roles of the chart: what is watched in `watched`, or everywhere.
    async fn install(kube: &Kube, namespace: &str, watched: Option<&str>) {
        let rules =
            |index: usize| json!({ "rules": yaml_serde::from_str::<Value>(IN_CHART[index].1).unwrap() });
        let subjects = json!([{ "kind": "ServiceAccount", "name": "tars", "namespace": namespace }]);
        let binding = |kind: &str, name: &str| json!({ "subjects": subjects, "roleRef": { "apiGroup": RBAC, "kind": kind, "name": name } });
        match watched {
            None => {
                apply(kube, "clusterroles", None, namespace, &rules(0)).await;
                apply(kube, "clusterrolebindings", None, namespace, &binding("ClusterRole", namespace)).await;
            }
            Some(_) => {
                apply(kube, "roles", watched, "tars", &rules(0)).await;
                apply(kube, "rolebindings", watched, "tars", &binding("Role", "tars")).await;
            }
        }
        apply(kube, "roles", Some(namespace), "tars-own", &rules(1)).await;
        apply(kube, "rolebindings", Some(namespace), "tars-own", &binding("Role", "tars-own")).await;
    }

    /// What every account may do, by the server's own roles.
    async fn everybody(kube: &Kube) -> Rights {
        of_review(kube, "default").await
    }

    async fn of_review(kube: &Kube, namespace: &str) -> Rights {
        let asked = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": { "namespace": namespace } });
        let said: Result<Value, KubeError> = kube.create(REVIEWS, None, &asked).await;
        said.map_or_else(|_| Rights::new(), |it| of_rules(it["status"]["resourceRules"].as_array().unwrap()))
    }

    async fn server(namespace: &str) -> Option<(Kube, Kube)> {
        let admin = real::server(namespace, &crate::crd::definitions().unwrap()).await?;
        let account = real::account(namespace, "tars").await?.in_namespace(namespace);
        Some((admin, account))
    }

    /// What a server allows follows a new role a moment later.
    const LOOKS_MAX: usize = 2_000;

    /// Asks again until the answer is `expected`, or for the last time; the last answer.
    async fn settled<T: PartialEq>(expected: &T, ask: impl AsyncFn() -> T) -> T {
        for _ in 0..LOOKS_MAX {
            let answer = ask().await;
            if answer == *expected {
                return answer;
            }
            tokio::task::yield_now().await;
        }
        ask().await
    }

    #[tokio::test]
    async fn the_server_allows_the_account_of_the_chart_what_the_table_says_and_no_more() {
        let Some((admin, account)) = server("rights").await else { return };
        // Every account may ask, once the server read its own roles.
        let before = settled(&false, async || everybody(&account).await.is_empty()).await;
        assert!(!before);
        let before = everybody(&account).await;
        let lines_before = lines(&check(&account, &settings(PoliciesFrom::Cluster)).await);
        assert!(lines_before.iter().any(|it| it.starts_with("fail no list, watch")), "{lines_before:#?}");
        install(&admin, "rights", None).await;
        let added = async |place: &str| -> Rights {
            of_review(&account, place).await.difference(&before).cloned().collect()
        };
        let watched = of_table(WATCHED);
        assert_eq!(settled(&watched, async || added(NOWHERE).await).await, watched);
        let all: Rights = watched.union(&of_table(OWN)).cloned().collect();
        assert_eq!(settled(&all, async || added("rights").await).await, all);
        let after = lines(&check(&account, &settings(PoliciesFrom::Cluster)).await);
        assert_eq!(after, ["pass everything that the settings need is allowed"]);
    }

    #[tokio::test]
    async fn an_install_for_one_namespace_is_enough_there_and_nowhere_else() {
        let Some((admin, account)) = server("rights-one").await else { return };
        install(&admin, "rights-one", Some("rights-one")).await;
        let named = ClusterSettings {
            namespaces: vec![Namespace::new("rights-one").unwrap()],
            ..settings(PoliciesFrom::Cluster)
        };
        let pass = vec!["pass everything that the settings need is allowed".to_owned()];
        assert_eq!(settled(&pass, async || lines(&check(&account, &named).await)).await, pass);
        let everywhere = lines(&check(&account, &settings(PoliciesFrom::Cluster)).await);
        assert!(
            everywhere.iter().any(|it| it.starts_with("fail") && it.contains("all namespaces")),
            "{everywhere:#?}"
        );
    }
}
