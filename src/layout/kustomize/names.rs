//! Name references: after all renaming, whoever spoke of an object by an old name gets the new one. All objects of
//! one entry point come in and are changed in place.

use serde_json::Value as Json;

use super::fields::visit;
use super::live::{Identity, Live};

/// Which fields hold the name of an object of one kind: the fields below a pod spec, and those of other kinds as
/// (kind, path). The table is kustomize's `nameReference`.
struct Rule {
    kind: &'static str,
    group: &'static str,
    pod: &'static [&'static str],
    other: &'static [(&'static str, &'static str)],
}

const SCALED: &[(&str, &str)] = &[("HorizontalPodAutoscaler", "spec/scaleTargetRef/name")];

const fn workload(kind: &'static str) -> Rule {
    Rule { kind, group: "", pod: &[], other: SCALED }
}

const RULES: [Rule; 16] = [
    workload("Deployment"),
    workload("ReplicationController"),
    workload("ReplicaSet"),
    workload("StatefulSet"),
    Rule {
        kind: "ConfigMap",
        group: "",
        pod: &[
            "volumes/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
            "volumes/projected/sources/configMap/name",
        ],
        other: &[
            ("Node", "spec/configSource/configMap"),
            ("Role", "rules/resourceNames"),
            ("ClusterRole", "rules/resourceNames"),
            ("Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap"),
        ],
    },
    Rule {
        kind: "Secret",
        group: "",
        pod: &[
            "volumes/secret/secretName",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
            "volumes/projected/sources/secret/name",
        ],
        other: &[
            ("Ingress", "spec/tls/secretName"),
            ("Ingress", "metadata/annotations/ingress.kubernetes.io\\/auth-secret"),
            ("Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret"),
            ("Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret"),
            ("ServiceAccount", "imagePullSecrets/name"),
            ("StorageClass", "parameters/secretName"),
            ("StorageClass", "parameters/adminSecretName"),
            ("StorageClass", "parameters/userSecretName"),
            ("StorageClass", "parameters/secretRef"),
            ("Role", "rules/resourceNames"),
            ("ClusterRole", "rules/resourceNames"),
            ("PersistentVolume", "spec/azureFile/secretName"),
        ],
    },
    Rule {
        kind: "Service",
        group: "",
        pod: &[],
        other: &[
            ("StatefulSet", "spec/serviceName"),
            ("Ingress", "spec/rules/http/paths/backend/serviceName"),
            ("Ingress", "spec/backend/serviceName"),
            ("Ingress", "spec/rules/http/paths/backend/service/name"),
            ("Ingress", "spec/defaultBackend/service/name"),
            ("APIService", "spec/service/name"),
            ("ValidatingWebhookConfiguration", "webhooks/clientConfig/service"),
            ("MutatingWebhookConfiguration", "webhooks/clientConfig/service"),
        ],
    },
    Rule {
        kind: "Role",
        group: "rbac.authorization.k8s.io",
        pod: &[],
        other: &[("RoleBinding", "roleRef/name")],
    },
    Rule {
        kind: "ClusterRole",
        group: "rbac.authorization.k8s.io",
        pod: &[],
        other: &[("RoleBinding", "roleRef/name"), ("ClusterRoleBinding", "roleRef/name")],
    },
    Rule {
        kind: "ServiceAccount",
        group: "",
        pod: &["serviceAccountName"],
        other: &[("RoleBinding", "subjects"), ("ClusterRoleBinding", "subjects")],
    },
    Rule {
        kind: "PersistentVolumeClaim",
        group: "",
        pod: &["volumes/persistentVolumeClaim/claimName"],
        other: &[],
    },
    Rule {
        kind: "PersistentVolume",
        group: "",
        pod: &[],
        other: &[("PersistentVolumeClaim", "spec/volumeName"), ("ClusterRole", "rules/resourceNames")],
    },
    Rule {
        kind: "StorageClass",
        group: "storage.k8s.io",
        pod: &[],
        other: &[
            ("PersistentVolume", "spec/storageClassName"),
            ("PersistentVolumeClaim", "spec/storageClassName"),
            ("StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName"),
        ],
    },
    Rule { kind: "PriorityClass", group: "scheduling.k8s.io", pod: &["priorityClassName"], other: &[] },
    Rule {
        kind: "IngressClass",
        group: "networking.k8s.io",
        pod: &[],
        other: &[("Ingress", "spec/ingressClassName")],
    },
    Rule {
        kind: "ValidatingAdmissionPolicy",
        group: "admissionregistration.k8s.io",
        pod: &[],
        other: &[("ValidatingAdmissionPolicyBinding", "spec/policyName")],
    },
];

/// Kinds with a pod spec, and the path to it. ConfigMaps and Secrets are looked for in all of them; what lives
/// in a namespace but is no configuration, in all but `ReplicaSet`, and configuration not in
/// `ReplicationController`.
fn pod_spec(referrer: &str, referred: &str) -> Option<&'static str> {
    let configuration = matches!(referred, "ConfigMap" | "Secret");
    match referrer {
        "Pod" => Some("spec/"),
        "PodTemplate" if configuration => Some("template/spec/"),
        "ReplicaSet" if configuration => Some("spec/template/spec/"),
        "ReplicationController" if !configuration => Some("spec/template/spec/"),
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => Some("spec/template/spec/"),
        "CronJob" => Some("spec/jobTemplate/spec/template/spec/"),
        _ => None,
    }
}

/// What an object is called now, and all that tells it apart.
struct Target {
    name: String,
    namespace: String,
    kind: String,
    group: String,
    previous: Vec<Identity>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

/// Puts the new names everywhere.
pub fn fix_references(objects: &mut [Live]) {
    let targets: Vec<Target> = objects
        .iter()
        .filter(|o| !o.previous.is_empty())
        .map(|o| Target {
            name: o.name().to_owned(),
            namespace: o.identity().namespace,
            kind: o.kind.clone(),
            group: o.group_version().0.to_owned(),
            previous: o.previous.clone(),
            prefixes: o.prefixes.clone(),
            suffixes: o.suffixes.clone(),
        })
        .collect();
    for object in objects {
        for rule in &RULES {
            for path in paths(rule, &object.kind) {
                let referrer = Referrer::of(object);
                visit(&mut object.value, &path, false, &mut |at| {
                    set(at, rule, &path, &referrer, &targets);
                });
            }
        }
    }
}

fn paths(rule: &Rule, kind: &str) -> Vec<String> {
    let pod = pod_spec(kind, rule.kind)
        .into_iter()
        .flat_map(|spec| rule.pod.iter().map(move |p| format!("{spec}{p}")));
    let other = rule.other.iter().filter(|(of, _)| *of == kind).map(|(_, path)| (*path).to_owned());
    pod.chain(other).collect()
}

struct Referrer {
    namespace: String,
    role: Option<(String, String)>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

impl Referrer {
    fn of(object: &Live) -> Self {
        let role = &object.value["roleRef"];
        let text = |key: &str| role[key].as_str().map(str::to_owned);
        Self {
            namespace: object.identity().namespace,
            role: text("kind").zip(text("apiGroup")),
            prefixes: object.prefixes.clone(),
            suffixes: object.suffixes.clone(),
        }
    }
}

/// `at` is a name, a list of names, or a map with a name in it (and its namespace).
fn set(at: &mut Json, rule: &Rule, path: &str, referrer: &Referrer, targets: &[Target]) {
    match at {
        Json::String(name) => {
            if let Some(target) = referred(name, None, rule, path, referrer, targets) {
                name.clone_from(&target.name);
            }
        }
        Json::Array(list) => list.iter_mut().for_each(|item| set(item, rule, path, referrer, targets)),
        Json::Object(map) => {
            let Some(name) = map.get("name").and_then(Json::as_str) else { return };
            let namespace = map.get("namespace").and_then(Json::as_str);
            if let Some(target) = referred(name, namespace, rule, path, referrer, targets) {
                map.insert("name".into(), Json::from(target.name.as_str()));
                if !target.namespace.is_empty() && target.namespace != "default" {
                    map.insert("namespace".into(), Json::from(target.namespace.as_str()));
                }
            }
        }
        _ => {}
    }
}

fn referred<'t>(
    name: &str,
    namespace: Option<&str>,
    rule: &Rule,
    path: &str,
    referrer: &Referrer,
    targets: &'t [Target],
) -> Option<&'t Target> {
    let reachable = |t: &Target| {
        t.namespace.is_empty()
            || referrer.namespace.is_empty()
            || rule.kind == "ServiceAccount"
            || t.namespace == referrer.namespace
    };
    let in_namespace = |t: &Target| {
        namespace.is_none_or(|n| t.namespace == n || t.previous.first().is_some_and(|p| p.namespace == n))
    };
    let role_fits = |t: &Target| match &referrer.role {
        Some((kind, group)) if path.ends_with("roleRef/name") => t.kind == *kind && t.group == *group,
        _ => true,
    };
    let found: Vec<&Target> = targets
        .iter()
        .filter(|t| t.previous.iter().any(|p| p.name == name && p.kind == rule.kind))
        .filter(|t| rule.group.is_empty() || t.group == rule.group)
        .filter(|t| reachable(t) && in_namespace(t) && role_fits(t))
        .collect();
    if let [only] = found[..] {
        return Some(only);
    }
    let ends = |a: &[String], b: &[String]| a.ends_with(b) || b.ends_with(a);
    let alike = |t: &&Target, empty: bool| {
        let fits = |a: &[String], b: &[String]| {
            if a.is_empty() || b.is_empty() { empty || a.len() == b.len() } else { ends(a, b) }
        };
        fits(&t.prefixes, &referrer.prefixes) && fits(&t.suffixes, &referrer.suffixes)
    };
    let mut close: Vec<&Target> = found.into_iter().filter(|t| alike(t, true)).collect();
    if close.len() > 1 {
        close.retain(|t| alike(t, false));
    }
    let first = close.first().copied()?;
    close
        .iter()
        .all(|t| t.name == first.name && (namespace.is_none() || t.namespace == first.namespace))
        .then_some(first)
}
