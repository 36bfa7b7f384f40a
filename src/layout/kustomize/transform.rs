//! What kustomize's own transformers do to one object: namespace, names, labels, annotations, `replicas`,
//! `images`. Objects and the fields of a kustomization come in, changed objects that remember who changed them
//! go out.

use serde_json::{Map, Value as Json};

use super::super::objects::{FieldPath, ImageName};
use super::fields::{ANNOTATIONS, IMAGES, METADATA_LABELS, SELECTORS, Spec, visit};
use super::live::{CountHit, ImageHit, Layer, Live};
use super::{MAX_PATTERN_BYTES, items};

/// Sets the namespace, also where an object speaks of another one's.
pub fn set_namespace(object: &mut Live, fields: &Json) {
    let Some(namespace) = fields["namespace"].as_str().filter(|n| !n.is_empty()) else { return };
    object.remember();
    let text = Json::from(namespace);
    if !object.is_cluster_scoped() {
        object.namespace = Some(namespace.to_owned());
        object.value["metadata"]["namespace"] = text.clone();
    }
    match object.kind.as_str() {
        "Namespace" if object.api_version == "v1" => object.set_name(namespace),
        "RoleBinding" | "ClusterRoleBinding" => {
            for subject in object.value["subjects"].as_array_mut().into_iter().flatten() {
                if subject["name"] == "default" {
                    subject["namespace"] = text.clone();
                }
            }
        }
        "APIService" => visit(&mut object.value, "spec/service/namespace", true, &mut |v| *v = text.clone()),
        "CustomResourceDefinition" => {
            let path = "spec/conversion/webhook/clientConfig/service/namespace";
            visit(&mut object.value, path, false, &mut |v| *v = text.clone());
        }
        _ => {}
    }
}

/// Puts prefix and suffix around the name.
pub fn rename(object: &mut Live, fields: &Json) {
    if matches!(object.original().kind.as_str(), "CustomResourceDefinition" | "APIService" | "Namespace") {
        return;
    }
    let given = |key: &str| fields[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(prefix) = given("namePrefix") {
        object.remember();
        object.set_name(&format!("{prefix}{}", object.name()));
        object.prefixes.push(prefix);
    }
    if let Some(suffix) = given("nameSuffix") {
        object.remember();
        object.set_name(&format!("{}{suffix}", object.name()));
        object.suffixes.push(suffix);
    }
}

/// `labels`, `commonLabels` and `commonAnnotations`.
pub fn set_metadata(object: &mut Live, fields: &Json, layer: &Layer) {
    for entry in items(&fields["labels"]) {
        let flag = |key: &str| entry[key] == true;
        if entry.get("fields").is_some_and(|list| list.as_array().is_none_or(|l| !l.is_empty())) {
            for key in ["metadata", "spec"] {
                object.doubt(
                    layer,
                    FieldPath::keys([key]),
                    format!("{layer} sets labels at fields of its own"),
                    false,
                );
            }
        }
        if flag("includeSelectors") {
            put(object, &SELECTORS, &entry["pairs"]);
        }
        let whole = flag("includeSelectors") || flag("includeTemplates");
        put(object, if whole { &METADATA_LABELS } else { &METADATA_LABELS[..1] }, &entry["pairs"]);
    }
    put(object, &SELECTORS, &fields["commonLabels"]);
    put(object, &METADATA_LABELS, &fields["commonLabels"]);
    put(object, &ANNOTATIONS, &fields["commonAnnotations"]);
}

fn put(object: &mut Live, specs: &[Spec], pairs: &Json) {
    let Some(pairs) = pairs.as_object().filter(|map| !map.is_empty()) else { return };
    let fitting: Vec<&Spec> = specs.iter().filter(|spec| spec.fits(object)).collect();
    if specs.len() > 1 {
        object.spread.extend(pairs.keys().cloned());
    }
    for spec in fitting {
        visit(&mut object.value, spec.path, spec.create, &mut |at| {
            if at.is_null() {
                *at = Json::Object(Map::new());
            }
            if let Json::Object(map) = at {
                // Labels are texts, whatever they look like.
                let text = |v: &Json| Json::from(v.as_str().map_or_else(|| v.to_string(), str::to_owned));
                map.extend(pairs.iter().map(|(key, value)| (key.clone(), text(value))));
            }
        });
    }
}

/// Kinds that kustomize's `replicas:` changes.
pub fn has_replicas(kind: &str) -> bool {
    matches!(kind, "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController")
}

/// The `replicas:` list. An entry means every object that has or had its name.
pub fn set_counts(object: &mut Live, fields: &Json, layer: &Layer) {
    for entry in items(&fields["replicas"]) {
        let Some(name) = entry["name"].as_str() else { continue };
        if object.identities().iter().any(|i| i.name == name && has_replicas(&i.kind)) {
            let count = entry["count"].as_str().and_then(|text| text.parse::<u32>().ok()).map(Json::from);
            let count = count.unwrap_or_else(|| entry["count"].clone());
            visit(&mut object.value, "spec/replicas", true, &mut |at| *at = count.clone());
            object.counts.push(CountHit { layer: layer.clone(), name: name.to_owned() });
        }
    }
}

/// An `images:` entry in either notation: a map, or Argo CD's `name=new:tag`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageEntry {
    pub name: String,
    pub new_name: Option<String>,
    pub new_tag: Option<String>,
    pub digest: Option<String>,
    pub tag_suffix: Option<String>,
}

impl ImageEntry {
    /// Reads an entry; `None` when it is neither notation.
    pub fn read(entry: &Json) -> Option<Self> {
        if let Some(text) = entry.as_str() {
            return Some(Self::of_text(text));
        }
        let text = |key: &str| match &entry[key] {
            Json::String(text) => Some(text.clone()).filter(|t| !t.is_empty()),
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        };
        Some(Self {
            name: entry["name"].as_str()?.to_owned(),
            new_name: text("newName"),
            new_tag: text("newTag"),
            digest: text("digest"),
            tag_suffix: text("tagSuffix"),
        })
    }

    /// `name=new:tag`, `name:tag`, `name@digest` (as `kustomize edit set image` takes them).
    fn of_text(text: &str) -> Self {
        let (name, image) = match text.split_once('=') {
            Some((name, image)) => (Some(name), image),
            None => (None, text),
        };
        let image = ImageName::parse(image);
        let renamed = name.is_some_and(|name| name != image.repository);
        Self {
            name: name.map_or_else(|| image.repository.clone(), str::to_owned),
            new_name: renamed.then(|| image.repository.clone()),
            new_tag: image.tag,
            digest: image.digest,
            tag_suffix: None,
        }
    }

    /// Does the entry mean this image? The name is a pattern in kustomize, unescaped.
    fn means(&self, image: &str) -> bool {
        let rest = "(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?";
        // Making a pattern takes as long as rendering a small folder, and nearly every name is one of these.
        if self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"./_-".contains(&b)) {
            return means_plainly(&self.name, image);
        }
        let pattern =
            regex::RegexBuilder::new(&format!("^{}{rest}$", self.name)).size_limit(MAX_PATTERN_BYTES).build();
        pattern.is_ok_and(|p| p.is_match(image))
    }

    /// The image after this entry: a new tag drops the digest, a digest alone drops the tag.
    pub fn applied(&self, image: &str) -> String {
        let mut image = ImageName::parse(image);
        if let Some(name) = &self.new_name {
            image.repository.clone_from(name);
        }
        if self.new_tag.is_some() || self.digest.is_some() {
            image.tag.clone_from(&self.new_tag);
            image.digest.clone_from(&self.digest);
        } else if let Some(suffix) = &self.tag_suffix {
            image.tag = Some(format!("{}{suffix}", image.tag.unwrap_or_default()));
            image.digest = None;
        }
        image.to_string()
    }
}

/// As the pattern would: in a name of letters, digits and `./_-`, a dot stands for any character.
fn means_plainly(name: &str, image: &str) -> bool {
    let mut rest = image.chars();
    let begins =
        name.chars().all(|want| rest.next().is_some_and(|is| is == want || want == '.' && is != '\n'));
    let tail = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.{}-".contains(&b));
    let rest = rest.as_str();
    let (tag, digest) = rest.split_once("@sha256:").map_or((rest, None), |(tag, digest)| (tag, Some(digest)));
    begins && (tag.is_empty() || tag.strip_prefix(':').is_some_and(tail)) && digest.is_none_or(tail)
}

/// The `images:` list.
pub fn set_images(object: &mut Live, fields: &Json, layer: &Layer) {
    for (index, entry) in items(&fields["images"]).enumerate() {
        let Some(entry) = ImageEntry::read(entry) else { continue };
        let mut hits = Vec::new();
        if object.kind != "CustomResourceDefinition" {
            in_containers(&mut object.value, &mut |container| {
                let name = container["name"].as_str().unwrap_or_default().to_owned();
                if let Some(image) = container.get_mut("image").filter(|i| i.is_string())
                    && change(image, &entry)
                {
                    hits.push(name);
                }
            });
        }
        // kustomize walks the known paths a second time; it shows only in a `tagSuffix`, which comes twice.
        for path in IMAGES {
            visit(&mut object.value, path, false, &mut |image| {
                change(image, &entry);
            });
        }
        let hit = |container| ImageHit { layer: layer.clone(), index, entry: entry.name.clone(), container };
        object.images.extend(hits.into_iter().map(hit));
    }
}

fn change(image: &mut Json, entry: &ImageEntry) -> bool {
    let Some(text) = image.as_str().filter(|text| entry.means(text)) else { return false };
    *image = Json::from(entry.applied(text));
    true
}

/// Every item of every list called `containers` or `initContainers`, wherever it is.
fn in_containers(value: &mut Json, found: &mut dyn FnMut(&mut Json)) {
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| in_containers(item, found)),
        Json::Object(map) => {
            for (key, value) in map {
                in_containers(value, found);
                if matches!(key.as_str(), "containers" | "initContainers") {
                    value.as_array_mut().into_iter().flatten().for_each(&mut *found);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_image_name_means_what_it_would_mean_as_a_pattern() {
        let images = [
            "nginx",
            "nginx:1.2",
            "nginx:",
            "nginx@sha256:ab",
            "nginx:1@sha256:ab",
            "nginx:1@sha256:",
            "nginx:1:2",
            "nginx@sha256:a@sha256:b",
            "nginx@sha1:ab",
            "nginx-x",
            "x/nginx",
            "ngin",
            "",
            "r.io/a",
            "rxio/a:1",
            "r\nio/a",
            "r\u{e9}io/a:{v}",
            "nginx:1\n",
            "nginx:\u{e9}",
        ];
        for name in ["nginx", "r.io/a", "", "x/nginx", "."] {
            let entry = ImageEntry { name: format!("(?:{name})"), ..ImageEntry::default() };
            for image in images {
                assert_eq!(means_plainly(name, image), entry.means(image), "{name:?} {image:?}");
            }
        }
    }
}
