//! Argo CD `ApplicationSet`s: a template and generators. A delivery comes in, the applications it generates go
//! out. The place of a field in the template belongs to all of them.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::generators::{namesakes, parameters};
use super::template::fill;
use super::{Delivery, Kind, Reached, World};
use crate::layout::objects::FieldPath;

/// The applications of the set; they are no objects of the repository, but what they bring is.
#[must_use]
pub fn generate(delivery: &Delivery, world: World<'_>) -> Reached {
    match applications(delivery, world) {
        Ok(generated) => Reached { generated, ..Reached::default() },
        Err(why) => {
            let namespace = delivery.value["spec"]["template"]["spec"]["destination"]["namespace"].as_str();
            let generators = delivery.value["spec"]["generators"].as_array().into_iter().flatten();
            let folders: Vec<String> = generators.flat_map(|it| namesakes(it, world)).collect();
            let mut reached = Reached::beyond(delivery, namespace.filter(|it| !it.contains("{{")), why)
                .with_folders(folders);
            // What it would have generated is not known: it may bring anything.
            reached.beyond.iter_mut().for_each(|it| it.names.clear());
            reached
        }
    }
}

fn applications(delivery: &Delivery, world: World<'_>) -> Result<Vec<Delivery>, String> {
    let spec = &delivery.value["spec"];
    if spec["templatePatch"].is_string() {
        return Err("uses templatePatch, which tars does not render".to_owned());
    }
    let go = spec["goTemplate"] == true;
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for generator in spec["generators"].as_array().into_iter().flatten() {
        for parameters in parameters(generator, go, world)? {
            let filled = fill(&spec["template"], &parameters, go)?;
            let name = filled["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if !names.insert(name.clone()) {
                return Err(format!("generates the application {name:?} twice"));
            }
            all.push(application(delivery, &filled, name));
        }
    }
    Ok(all)
}

fn application(set: &Delivery, filled: &Json, name: String) -> Delivery {
    let mut delivered = vec![set.layer(&FieldPath::default())];
    delivered.extend(set.delivered.iter().cloned());
    Delivery {
        kind: Kind::Application,
        name,
        namespace: set.namespace.clone(),
        value: json!({
            "apiVersion": set.value["apiVersion"],
            "kind": "Application",
            "metadata": filled["metadata"],
            "spec": filled["spec"],
        }),
        declared: set.declared.clone(),
        at: FieldPath::keys(["spec", "template"]),
        through: set.through.clone(),
        delivered,
        refusals: set.refusals.clone(),
    }
}
