//! What a kustomization says about other files. Parsed fields come in, paths as written go out; which folders
//! are entries is decided by [`super::super::entries`].

use serde_json::Value as Json;

use super::super::objects::file_name;
use super::super::reader::KUSTOMIZATION_FILES;
use super::{items, strings};
use crate::model::ids::RepoPath;

/// Is this file name one that kustomize looks for?
pub fn is_kustomization_file(path: &RepoPath) -> bool {
    KUSTOMIZATION_FILES.contains(&file_name(path.as_str()))
}

/// Every path a kustomization names, as written.
pub fn references(layer: &Json) -> Vec<String> {
    let lists = [
        "resources",
        "bases",
        "components",
        "generators",
        "transformers",
        "validators",
        "configurations",
        "patchesStrategicMerge",
        "crds",
    ];
    let direct = lists.iter().flat_map(|key| strings(&layer[*key]));
    let patches = items(&layer["patches"]).chain(items(&layer["patchesJson6902"]));
    let paths = patches.filter_map(|entry| entry["path"].as_str());
    direct.chain(paths).filter(|name| !name.contains('\n')).map(str::to_owned).collect()
}
