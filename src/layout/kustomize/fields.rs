//! Field specs: where kustomize's own transformers look, by kind. A path and an object come in, every value at
//! that path is handed to a closure. The tables are those of kustomize 5 (`builtinpluginconsts`).

use serde_json::{Map, Value as Json};

use super::live::Live;

/// One place to look at.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Segments joined by `/`; lists are walked through, `\/` is a slash inside a key.
    pub path: &'static str,
    /// Kind, empty for every one.
    pub kind: &'static str,
    /// API group, empty for every one.
    pub group: &'static str,
    /// Is what is missing made?
    pub create: bool,
}

impl Spec {
    pub const fn make(kind: &'static str, group: &'static str, path: &'static str) -> Self {
        Self { path, kind, group, create: true }
    }

    pub const fn seek(kind: &'static str, group: &'static str, path: &'static str) -> Self {
        Self { path, kind, group, create: false }
    }

    pub fn fits(&self, object: &Live) -> bool {
        (self.kind.is_empty() || self.kind == object.kind)
            && (self.group.is_empty() || self.group == object.group_version().0)
    }
}

/// Where labels of the objects themselves and of what they make stand.
pub const METADATA_LABELS: [Spec; 10] = [
    Spec::make("", "", "metadata/labels"),
    Spec::make("ReplicationController", "", "spec/template/metadata/labels"),
    Spec::make("Deployment", "", "spec/template/metadata/labels"),
    Spec::make("ReplicaSet", "", "spec/template/metadata/labels"),
    Spec::make("DaemonSet", "", "spec/template/metadata/labels"),
    Spec::make("StatefulSet", "apps", "spec/template/metadata/labels"),
    Spec::make("StatefulSet", "apps", "spec/volumeClaimTemplates[]/metadata/labels"),
    Spec::make("Job", "batch", "spec/template/metadata/labels"),
    Spec::make("CronJob", "batch", "spec/jobTemplate/metadata/labels"),
    Spec::make("CronJob", "batch", "spec/jobTemplate/spec/template/metadata/labels"),
];

/// Where selectors stand.
pub const SELECTORS: [Spec; 22] = [
    Spec::make("ReplicationController", "", "spec/selector"),
    Spec::make("Deployment", "", "spec/selector/matchLabels"),
    Spec::seek("Deployment", "apps", PREFERRED),
    Spec::seek("Deployment", "apps", REQUIRED),
    Spec::seek("Deployment", "apps", ANTI_PREFERRED),
    Spec::seek("Deployment", "apps", ANTI_REQUIRED),
    Spec::seek("Deployment", "apps", SPREAD),
    Spec::make("ReplicaSet", "", "spec/selector/matchLabels"),
    Spec::make("DaemonSet", "", "spec/selector/matchLabels"),
    Spec::make("StatefulSet", "apps", "spec/selector/matchLabels"),
    Spec::seek("StatefulSet", "apps", PREFERRED),
    Spec::seek("StatefulSet", "apps", REQUIRED),
    Spec::seek("StatefulSet", "apps", ANTI_PREFERRED),
    Spec::seek("StatefulSet", "apps", ANTI_REQUIRED),
    Spec::seek("StatefulSet", "apps", SPREAD),
    Spec::seek("Job", "batch", "spec/selector/matchLabels"),
    Spec::seek("CronJob", "batch", "spec/jobTemplate/spec/selector/matchLabels"),
    Spec::seek("PodDisruptionBudget", "policy", "spec/selector/matchLabels"),
    Spec::seek("NetworkPolicy", "networking.k8s.io", "spec/podSelector/matchLabels"),
    Spec::seek("NetworkPolicy", "networking.k8s.io", "spec/ingress/from/podSelector/matchLabels"),
    Spec::seek("NetworkPolicy", "networking.k8s.io", "spec/egress/to/podSelector/matchLabels"),
    SERVICE_SELECTOR,
];

const SERVICE_SELECTOR: Spec = Spec::make("Service", "", "spec/selector");
const PREFERRED: &str = "spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/\
                         podAffinityTerm/labelSelector/matchLabels";
const REQUIRED: &str = "spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/\
                        labelSelector/matchLabels";
const ANTI_PREFERRED: &str = "spec/template/spec/affinity/podAntiAffinity/\
                              preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels";
const ANTI_REQUIRED: &str = "spec/template/spec/affinity/podAntiAffinity/\
                             requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels";
const SPREAD: &str = "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels";

/// Where annotations stand.
pub const ANNOTATIONS: [Spec; 9] = [
    Spec::make("", "", "metadata/annotations"),
    Spec::make("ReplicationController", "", "spec/template/metadata/annotations"),
    Spec::make("Deployment", "", "spec/template/metadata/annotations"),
    Spec::make("ReplicaSet", "", "spec/template/metadata/annotations"),
    Spec::make("DaemonSet", "", "spec/template/metadata/annotations"),
    Spec::make("StatefulSet", "", "spec/template/metadata/annotations"),
    Spec::make("Job", "batch", "spec/template/metadata/annotations"),
    Spec::make("CronJob", "batch", "spec/jobTemplate/metadata/annotations"),
    Spec::make("CronJob", "batch", "spec/jobTemplate/spec/template/metadata/annotations"),
];

/// Where images stand, beside every `containers` and `initContainers` list.
pub const IMAGES: [&str; 6] = [
    "spec/containers[]/image",
    "spec/initContainers[]/image",
    "spec/volumes[]/image/reference",
    "spec/template/spec/containers[]/image",
    "spec/template/spec/initContainers[]/image",
    "spec/template/spec/volumes[]/image/reference",
];

/// Hands every value at `path` to `found`. With `fresh`, missing maps on the way and a missing value (null in
/// the closure) are made, but no list.
pub fn visit(value: &mut Json, path: &str, fresh: bool, found: &mut dyn FnMut(&mut Json)) {
    let protected = path.replace("\\/", "\u{0}");
    let segments: Vec<String> = protected.split('/').map(|s| s.replace('\u{0}', "/")).collect();
    walk(value, &segments, fresh, found);
}

fn walk(value: &mut Json, path: &[String], fresh: bool, found: &mut dyn FnMut(&mut Json)) {
    let Some((segment, rest)) = path.split_first() else {
        found(value);
        return;
    };
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| walk(item, path, fresh, found)),
        Json::Object(map) => {
            let (key, is_list) = segment.strip_suffix("[]").map_or((segment.as_str(), false), |k| (k, true));
            if fresh && !is_list {
                let next = map.entry(key).or_insert(Json::Null);
                if next.is_null() && !rest.is_empty() {
                    *next = Json::Object(Map::new());
                }
            }
            if let Some(next) = map.get_mut(key) {
                walk(next, rest, fresh, found);
            }
        }
        _ => {}
    }
}
