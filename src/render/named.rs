//! Places that people named, with `writeTo` in a policy or with a `$tars` comment in a file. A field and a policy's entries come in; one edit at the named place
//! goes out, or a refusal. The effect is proven by rendering like that of any other edit.

use serde_json::Value as Json;

use super::edits::{Planned, RenderRequest};
use super::proof::{Expected, Intent};
use super::values;
use crate::layout::{Address, Field, FieldPath, Mark, edit_refused, written};
use crate::model::change::FieldChange;
use crate::model::ids::WorkloadRef;
use crate::model::policy::{WriteField, WriteTo};
use crate::model::reason::Reason;

/// The edit that makes `field` become `wanted`, at the place a person named or in the values of a chart; `None`
/// when neither says anything about it.
pub fn by_field(
    request: &RenderRequest<'_>,
    object: &WorkloadRef,
    field: &Field,
    wanted: &Json,
) -> Option<Result<Planned, Reason>> {
    let kind = match field {
        Field::Replicas => WriteField::Replicas,
        Field::AutoscalerMin => WriteField::MinReplicas,
        Field::Image(_) => WriteField::Image,
        Field::RestartedAt => WriteField::RestartedAt,
    };
    let target = request.target;
    let of_target = |it: &&WriteTo| {
        let named = it.resource.as_ref();
        it.field == kind && named.is_none_or(|own| own.kind == target.kind && own.name == target.name)
    };
    let mut entries = request.write_to.iter().filter(of_target);
    match (entries.next(), entries.next()) {
        (None, _) => match &request.index.marked(object, &marker(field))[..] {
            [] => values::by_field(request.index, object, field, wanted),
            [mark] => {
                let Mark { file, document, path, .. } = mark.clone();
                let entry = WriteTo { field: kind, resource: None, file, document, path };
                Some(at(request, object, field, wanted, &entry))
            }
            several => {
                let places: Vec<String> =
                    several.iter().take(5).map(|mark| format!("{}:{}", mark.file, mark.line)).collect();
                let text = format!("several places are marked for {}: {}", kind.name(), places.join(", "));
                Some(Err(edit_refused(text)))
            }
        },
        (Some(_), Some(_)) => {
            Some(Err(edit_refused(format!("writeTo names {} of {target} twice", kind.name()))))
        }
        (Some(entry), None) => Some(at(request, object, field, wanted, entry)),
    }
}

/// What a comment says that marks the place of `field`: `image` goes with the container's name.
fn marker(field: &Field) -> String {
    match field {
        Field::Replicas => "replicas".to_owned(),
        Field::AutoscalerMin => "minReplicas".to_owned(),
        Field::RestartedAt => "restartedAt".to_owned(),
        Field::Image(container) => format!("image {container}"),
    }
}

fn at(
    request: &RenderRequest<'_>,
    object: &WorkloadRef,
    field: &Field,
    wanted: &Json,
    entry: &WriteTo,
) -> Result<Planned, Reason> {
    let WriteTo { file, document, path, .. } = entry;
    let index = request.index;
    let rendered = index.field_path(object, field)?;
    if Address::parse(path).is_none() {
        return Err(edit_refused(format!("writeTo names {path:?}, which is not a field path")));
    }
    if index.document(file, *document).is_none() {
        return Err(edit_refused(format!(
            "writeTo names {file}, document {document}, which is not readable"
        )));
    }
    let current = index.value_at(file, *document, path).filter(|it| !it.is_null());
    let now = rendered.find(&index.object(object)?).cloned();
    let seen = index.seen_at(file, *document, path).filter(|it| !it.is_null());
    let write = part_of(seen.as_ref(), now.as_ref(), wanted).ok_or_else(|| {
        edit_refused(format!("{path} in {file} is a part of the field that cannot make it {wanted}"))
    })?;
    let change = FieldChange {
        resource: object.clone(),
        file: file.clone(),
        field: path.clone(),
        from: current.as_ref().and_then(written),
        to: written(&write),
    };
    planned(&change, *document, &write, rendered, wanted)
}

fn planned(
    change: &FieldChange,
    document: usize,
    write: &Json,
    rendered: FieldPath,
    wanted: &Json,
) -> Result<Planned, Reason> {
    let expected = Expected::Value(wanted.clone());
    let intents = vec![Intent { object: change.resource.clone(), path: rendered, expected }];
    let edit = values::edit(change, document, write, change.from.is_some())?;
    Ok(Planned { edit, change: change.clone(), intents, unrendered: None })
}

/// What to write where `current` stands when the whole field is to become `wanted`: the whole, or the part of an
/// image reference that stands there. Text stays text.
fn part_of(current: Option<&Json>, now: Option<&Json>, wanted: &Json) -> Option<Json> {
    let (Some(Json::String(current)), Some(now)) = (current, now) else { return Some(wanted.clone()) };
    let (Json::String(now), Json::String(wanted)) = (now, wanted) else {
        return Some(Json::from(wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned)));
    };
    if current.is_empty() || current == now {
        return Some(Json::from(wanted.as_str()));
    }
    let mut parts = now
        .match_indices(current.as_str())
        .filter_map(|(at, _)| wanted.strip_prefix(&now[..at])?.strip_suffix(&now[at + current.len()..]));
    parts.find(|part| !part.is_empty()).map(Json::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::index;
    use crate::model::fixtures::{at as time, target};
    use crate::model::ids::RepoPath;
    use crate::model::playbook::Plan;
    use crate::model::tree::RepoTree;
    use crate::render::golden::tree;
    use crate::render::{CheckedChanges, Fresh, edits};

    const BASE: &[u8] =
        b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend}\nspec: {replicas: 3}\n";

    fn repository() -> RepoTree {
        tree([
            ("base/d.yaml", BASE),
            ("base/kustomization.yaml", &b"resources: [d.yaml]\n"[..]),
            (
                "prod/kustomization.yaml",
                &b"namespace: shop\nresources: [../base]\npatches: [{path: p.yaml}]\n"[..],
            ),
            (
                "prod/p.yaml",
                &b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend}\nspec: {paused: false}\n"
                    [..],
            ),
            (".github/x.yaml", &b"a: 1\n"[..]),
        ])
    }

    fn scale(file: &str, path: &str) -> Result<CheckedChanges, Vec<Reason>> {
        let tree = repository();
        let write_to = [WriteTo {
            field: WriteField::Replicas,
            resource: None,
            file: RepoPath::new(file).unwrap(),
            document: 0,
            path: path.to_owned(),
        }];
        edits(&RenderRequest {
            tree: &tree,
            index: &index(&tree),
            target: &target("shop/Deployment/backend"),
            plan: &Plan::Scale { from: 3, to: 5, autoscaler: None },
            old_tree: None,
            allowed_paths: &[],
            write_to: &write_to,
            fresh: Fresh { now: time(0), random: || None },
        })
    }

    #[test]
    fn a_named_place_wins_over_what_would_be_found() {
        let done = scale("prod/p.yaml", "spec.replicas").unwrap();
        assert_eq!(done.files()[0].0.as_str(), "prod/p.yaml");
        assert!(String::from_utf8_lossy(&done.files()[0].1).contains("replicas: 5"));
    }

    #[test]
    fn a_named_place_is_proven_and_guarded_like_any_other() {
        for (file, path, words) in [
            ("prod/p.yaml", "spec.minReadySeconds", "minReadySeconds"),
            (".github/x.yaml", "a", "protected"),
            ("prod/none.yaml", "a", "not readable"),
            ("prod/p.yaml", "a..b", "not a field path"),
        ] {
            let why = scale(file, path).unwrap_err();
            assert!(why[0].text.contains(words), "{file} {path}: {why:?}");
        }
    }

    fn scale_marked(base: &str, patch: &str) -> Result<CheckedChanges, Vec<Reason>> {
        let overlay = |namespace: &str| {
            format!("namespace: {namespace}\nresources: [../base]\npatches: [{{path: p.yaml}}]\n")
        };
        let head = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: backend}\nspec:\n";
        let (base, patch) = (format!("{head}  replicas: 3{base}\n"), format!("{head}  replicas: 3{patch}\n"));
        let files = [
            ("base/d.yaml", base),
            ("base/kustomization.yaml", "resources: [d.yaml]\n".to_owned()),
            ("prod/kustomization.yaml", overlay("shop")),
            ("prod/p.yaml", patch.clone()),
            (
                "stage/kustomization.yaml",
                overlay("stage").replace("patches", "replicas: [{name: backend, count: 3}]\npatches"),
            ),
            ("stage/p.yaml", patch),
        ];
        let tree = tree(files.iter().map(|(path, text)| (*path, text.as_bytes())));
        edits(&RenderRequest {
            tree: &tree,
            index: &index(&tree),
            target: &target("stage/Deployment/backend"),
            plan: &Plan::Scale { from: 3, to: 5, autoscaler: None },
            old_tree: None,
            allowed_paths: &[],
            write_to: &[],
            fresh: Fresh { now: time(0), random: || None },
        })
    }

    #[test]
    fn a_marked_place_wins_and_is_proven() {
        const MARK: &str = "   # {\"$tars\": \"replicas\"}";
        let found = scale_marked("", "").unwrap();
        assert_eq!(found.files()[0].0.as_str(), "stage/kustomization.yaml", "what would be found");
        // The overlay's own list wins over its patch, so an edit there would change nothing.
        let why = scale_marked("", MARK).unwrap_err();
        assert!(why[0].text.contains("does not change when rendered"), "{why:?}");
        let why = scale_marked(MARK, MARK).unwrap_err();
        assert!(why[0].text.contains("several places are marked"), "{why:?}");
    }

    #[test]
    fn a_part_of_an_image_is_written_as_a_part() {
        let text = |it: &str| Some(Json::from(it));
        for (current, now, wanted, expected) in [
            (text("2.0"), text("r/a:2.0"), Json::from("r/a:1.9"), text("1.9")),
            (text("r/a:2.0"), text("r/a:2.0"), Json::from("r/a:1.9"), text("r/a:1.9")),
            (text("2.0"), text("r/a:2.0"), Json::from("r/b:1.9"), None),
            (text("4"), Some(Json::from(4)), Json::from(5), text("5")),
            (Some(Json::from(4)), Some(Json::from(4)), Json::from(5), Some(Json::from(5))),
            (None, None, Json::from(5), Some(Json::from(5))),
        ] {
            assert_eq!(part_of(current.as_ref(), now.as_ref(), &wanted), expected);
        }
    }
}
