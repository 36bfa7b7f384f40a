//! An index that was moved from commit to commit answers as one built from scratch; facts read back from bytes
//! answer as well, and bytes that were touched are refused; the proof over a few entries is the proof over all.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::fixtures::oid;
use crate::model::tree::{EntryMode, TreeFile};

type Files = BTreeMap<RepoPath, TreeFile>;

/// Where things may stand: few enough that changes meet each other.
const FOLDERS: [&str; 8] = ["", "a", "a/b", "a/b/c", "d", "d/e", "d-x", "chart/templates"];
const NAMES: [&str; 10] = [
    "kustomization.yaml",
    "kustomization.yml",
    "Kustomization",
    "app.yaml",
    "hpa.yaml",
    "patch.yaml",
    "release.yml",
    "Chart.yaml",
    "broken.yaml",
    "templates/x.yaml",
];

fn path() -> impl Strategy<Value = RepoPath> {
    let join = |(dir, name): (&str, &str)| RepoPath::new(reader::inside(dir, name)).unwrap();
    (prop::sample::select(&FOLDERS[..]), prop::sample::select(&NAMES[..])).prop_map(join)
}

fn reference() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "app.yaml",
            "hpa.yaml",
            "patch.yaml",
            "../app.yaml",
            "b",
            "../b",
            "./c",
            "../d",
            "../../d/e",
            "..",
            "gone",
        ][..],
    )
}

fn kustomization() -> impl Strategy<Value = String> {
    let parts = (
        prop::collection::vec(reference(), 0..4),
        prop::option::of(reference()),
        prop::sample::select(
            &["", "namespace: shop\n", "namePrefix: p-\n", "replicas: [{name: web, count: 7}]\n"][..],
        ),
        prop::sample::select(
            &["", "kind: Component\n", "apiVersion: kustomize.toolkit.fluxcd.io/v1\n", "images: [\n"][..],
        ),
    );
    parts.prop_map(|(resources, patch, extra, head)| {
        let patch = patch.map_or_else(String::new, |it| format!("patches: [{{path: {it}}}]\n"));
        format!("{head}resources: [{}]\n{patch}{extra}", resources.join(", "))
    })
}

fn manifest() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(&["web", "api", "p-web"][..]);
    let workload = (name(), 1u32..5).prop_map(|(name, count)| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, annotations: {{n: '${{N}}'}}}}\nspec:\n  \
             replicas: {count}\n  template: {{spec: {{containers: [{{name: app, image: 'x:{count}'}}]}}}}\n"
        )
    });
    let values = (1u32..5).prop_map(|count| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: vars}}\ndata: {{N: '{count}'}}\n")
    });
    let scaler = (name(), any::<bool>()).prop_map(|(name, keda)| {
        let (kind, max) =
            if keda { ("ScaledObject", "") } else { ("HorizontalPodAutoscaler", ", maxReplicas: 9") };
        format!(
            "apiVersion: x/v1\nkind: {kind}\nmetadata: {{name: s}}\n\
             spec: {{scaleTargetRef: {{kind: Deployment, name: {name}}}{max}}}\n"
        )
    });
    let source = prop::sample::select(
        &["path: chart", "chart: y", "path: a", "path: a/b", "path: d, directory: {recurse: true}"][..],
    );
    let release = (name(), source).prop_map(|(name, source)| {
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {name}}}\n\
             spec: {{source: {{{source}}}, destination: {{namespace: shop}}}}\n"
        )
    });
    let flux = (name(), prop::sample::select(&["./a", "d", "a/b/c", "gone"][..]), any::<bool>());
    let flux = flux.prop_map(|(name, path, asks)| {
        let from = if asks { "postBuild: {substituteFrom: [{kind: ConfigMap, name: vars}]}, " } else { "" };
        format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: {name}}}\n\
             spec: {{{from}path: {path}, targetNamespace: shop, sourceRef: {{kind: GitRepository, name: x}}}}\n"
        )
    });
    let source = prop::sample::select(&["branch: main", "tag: v1"][..]).prop_map(|at| {
        format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: x}}\nspec: {{url: \
             'https://git.example.com/r', ref: {{{at}}}}}\n"
        )
    });
    let variables = (1u32..4).prop_map(|count| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: vars}}\ndata: {{count: '{count}'}}\n")
    });
    let filled = (name(), prop::sample::select(&["a", "d"][..])).prop_map(|(name, path)| {
        format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: f-{name}}}\nspec: {{path: \
             {path}, sourceRef: {{kind: GitRepository, name: x}}, postBuild: {{substituteFrom: [{{kind: ConfigMap, name: \
             vars}}]}}}}\n"
        )
    });
    let set = prop::sample::select(&["*", "a/*", "d"][..]).prop_map(|path| {
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {{name: set}}\nspec:\n  generators: [{{git: \
             {{repoURL: x, directories: [{{path: '{path}'}}]}}}}]\n  template:\n    metadata: {{name: 'x-{{{{path.basename}}}}'}}\n    \
             spec: {{source: {{path: '{{{{path}}}}'}}, destination: {{namespace: shop}}}}\n"
        )
    });
    let broken = name().prop_map(|name| format!("kind: HorizontalPodAutoscaler\nname: [{name}\n"));
    let delivers = prop_oneof![2 => release, 2 => flux, 1 => source, 1 => variables, 1 => filled, 1 => set];
    prop_oneof![8 => workload, 4 => scaler, 4 => delivers, 2 => values, 2 => broken]
}

/// What a change does to a path: a file of this text, a symlink, or nothing any more.
fn change() -> impl Strategy<Value = Vec<Change>> {
    let plain = |text: String| TreeFile::held(EntryMode::File, text.into_bytes());
    let one = path().prop_flat_map(move |path| {
        let is_kustomization = kustomize::is_kustomization_file(&path);
        let text = if is_kustomization { kustomization().boxed() } else { manifest().boxed() };
        let file = prop_oneof![
            8 => text.prop_map(move |text| Some(plain(text))),
            1 => Just(Some(TreeFile::held(EntryMode::Symlink, &b""[..]))),
            4 => Just(None),
        ];
        (Just(path), file)
    });
    prop::collection::vec(one, 1..6)
}

fn applied(mut files: Files, changes: &[Change]) -> Files {
    for (path, file) in changes {
        match file {
            Some(file) => files.insert(path.clone(), file.clone()),
            None => files.remove(path),
        };
    }
    files
}

fn fresh(files: &Files) -> Index {
    index(&RepoTree::held(oid('a'), files.clone()))
}

/// Everything that can be asked, as text.
fn answers(index: &Index) -> Vec<String> {
    let mut all = vec![format!("{:?}", index.skipped()), format!("{:#?}", index.rendered())];
    let fields = [Field::Replicas, Field::RestartedAt, Field::AutoscalerMin, Field::Image("app".into())];
    let mut targets = index.targets();
    targets
        .extend(["shop/Deployment/web", "default/Deployment/gone"].map(|it| WorkloadRef::parse(it).unwrap()));
    for target in targets {
        all.push(format!("{target} {:?}", index.workload(&target)));
        all.push(format!("{:?} {:?}", index.object(&target), index.pod_template(&target)));
        all.push(format!("{:?} {:?}", index.files_of(&target), index.documents_of(&target)));
        all.extend(fields.iter().map(|field| format!("{field:?} {:?}", index.place(&target, field))));
    }
    for path in index.tree().files.keys() {
        all.push(format!("{path} {:?} {:?}", index.writable(path), index.document(path, 0)));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_index_that_was_moved_answers_as_one_built_from_scratch(
        steps in prop::collection::vec(change(), 1..8),
    ) {
        let mut files = Files::new();
        let mut moved = fresh(&files);
        for changes in steps {
            files = applied(files, &changes);
            moved.advance(oid('a'), changes);
            let built = fresh(&files);
            prop_assert_eq!(answers(&moved), answers(&built));
            // What is kept follows too: nothing is left of what went away.
            prop_assert_eq!(moved.entries.keys().collect::<Vec<_>>(), built.entries.keys().collect::<Vec<_>>());
            prop_assert_eq!(&moved.readers, &built.readers);
            prop_assert_eq!(&moved.by_reference, &built.by_reference);
            prop_assert_eq!(&moved.autoscalers, &built.autoscalers);
            prop_assert_eq!(&moved.files, &built.files);
            prop_assert_eq!(&moved.watched, &built.watched);
            prop_assert_eq!(&moved.delivered.covered, &built.delivered.covered);
            prop_assert_eq!(moved.delivery_notes(), built.delivery_notes());
        }
    }

    #[test]
    fn facts_read_back_give_the_same_index_of_any_later_tree(first in change(), more in change(), then in change()) {
        let old = applied(applied(Files::new(), &first), &more);
        let new = applied(old.clone(), &then);
        let bytes = fresh(&old).saved("x").unwrap();
        let saved = Saved::read(&bytes, "x").unwrap();
        let tree = Arc::new(RepoTree::held(oid('a'), new.clone()));
        prop_assert_eq!(answers(&index_with(tree, &saved, &Surroundings::default())), answers(&fresh(&new)));
    }

    #[test]
    fn bytes_that_were_touched_are_no_facts(first in change(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = fresh(&applied(Files::new(), &first)).saved("x").unwrap();
        prop_assert!(Saved::read(&bytes, "y").is_none(), "facts of another program");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Saved::read(&bytes, "x").is_none());
    }

    #[test]
    fn the_entries_that_read_an_edited_file_hold_every_difference(
        first in change(), more in change(), at in any::<prop::sample::Index>(), from in 1u32..5, to in 1u32..5,
    ) {
        let files = applied(applied(Files::new(), &first), &more);
        let index = fresh(&files);
        let plain: Vec<&RepoPath> = files.keys().collect();
        prop_assume!(!plain.is_empty());
        let path = at.get(&plain);
        let Ok(bytes) = index.tree().bytes(path, MAX_FILE_BYTES) else { return Ok(()) };
        let text = String::from_utf8_lossy(&bytes).replace(&format!("replicas: {from}"), &format!("replicas: {to}"));
        let text = text.replace("namespace: shop", "namespace: mall").replace("count: 7", "count: 8");
        let edits = BTreeMap::from([((*path).clone(), text.clone().into_bytes())]);
        let edited = TreeFile::held(EntryMode::File, text.into_bytes());
        let after = fresh(&applied(files.clone(), &[((*path).clone(), Some(edited))])).rendered();
        let before = index.rendered();
        let Ok(effect) = index.effect(&edits) else { return Ok(()) };
        for (key, value) in &before {
            match effect.before.get(key) {
                Some(seen) => prop_assert_eq!(seen, value),
                None => prop_assert_eq!(after.get(key), Some(value), "{:?} changed unseen", key),
            }
        }
        for (key, value) in &after {
            match effect.after.get(key) {
                Some(seen) => prop_assert_eq!(seen, value),
                None => prop_assert_eq!(before.get(key), Some(value), "{:?} came unseen", key),
            }
        }
        prop_assert_eq!(effect.after.len() + before.len(), effect.before.len() + after.len());
    }
}

fn small() -> Files {
    let file = |text: &str| TreeFile::held(EntryMode::File, text.as_bytes());
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1}\n";
    [("base/app.yaml", web), ("base/kustomization.yaml", "resources: [app.yaml]\n"), ("plain.yaml", web)]
        .into_iter()
        .chain([
            ("prod/kustomization.yaml", "namespace: shop\nresources: [../base]\n"),
            ("bad.yaml", "a: [\n"),
        ])
        .map(|(path, text)| (RepoPath::new(path).unwrap(), file(text)))
        .collect()
}

#[test]
fn every_truncation_of_facts_is_refused_and_the_whole_is_read() {
    let bytes = fresh(&small()).saved("x").unwrap();
    assert!(Saved::read(&bytes, "x").is_some());
    for length in 0..bytes.len() {
        assert!(Saved::read(&bytes[..length], "x").is_none(), "{length} of {} bytes", bytes.len());
    }
    assert!(Saved::read(&[&bytes[..], b"x"].concat(), "x").is_none(), "a byte too many");
}

/// Counts reads, so that a test can see what was not read.
#[derive(Debug, Default)]
struct Counted {
    files: BTreeMap<crate::model::tree::BlobId, Arc<[u8]>>,
    reads: std::sync::atomic::AtomicUsize,
    broken: std::sync::atomic::AtomicBool,
}

impl crate::model::tree::Blobs for Counted {
    fn read(&self, blob: &crate::model::tree::BlobId, _: usize) -> Result<Arc<[u8]>, Unread> {
        use std::sync::atomic::Ordering::Relaxed;
        self.reads.fetch_add(1, Relaxed);
        let found = self.files.get(blob).filter(|_| !self.broken.load(Relaxed)).cloned();
        found.ok_or_else(|| Unread::Failed("the disk is gone".into()))
    }
}

fn counted() -> (Arc<RepoTree>, Arc<Counted>) {
    let held = RepoTree::held(oid('a'), small());
    let bytes = |(path, file): (&RepoPath, &TreeFile)| (file.blob, held.bytes(path, 1 << 20).unwrap());
    let blobs = Arc::new(Counted { files: held.files.iter().map(bytes).collect(), ..Counted::default() });
    let stored =
        held.files.iter().map(|(path, it)| (path.clone(), TreeFile::stored(it.mode, it.blob))).collect();
    let source: Arc<Counted> = Arc::clone(&blobs);
    (Arc::new(RepoTree::new(oid('a'), stored, source)), blobs)
}

#[test]
fn an_index_with_facts_reads_no_file() {
    let (tree, blobs) = counted();
    let bytes =
        index_with(Arc::clone(&tree), &Saved::default(), &Surroundings::default()).saved("x").unwrap();
    let reads = blobs.reads.load(std::sync::atomic::Ordering::Relaxed);
    let index = index_with(tree, &Saved::read(&bytes, "x").unwrap(), &Surroundings::default());
    assert_eq!(blobs.reads.load(std::sync::atomic::Ordering::Relaxed), reads);
    assert_eq!(index.targets().len(), 2);
    assert_eq!(index.skipped().len(), 1);
}

#[test]
fn what_several_readers_learned_beforehand_is_what_the_index_would_have_found() {
    let mut files = small();
    let chart = [("chart/Chart.yaml", "name: x\n"), ("chart/templates/a.yaml", "{{ x }}\n")];
    let file = |text: &str| TreeFile::held(EntryMode::File, text.as_bytes());
    files.extend(chart.map(|(path, text)| (RepoPath::new(path).unwrap(), file(text))));
    files.insert(RepoPath::new("link.yaml").unwrap(), TreeFile::held(EntryMode::Symlink, &b"x"[..]));
    let tree = Arc::new(RepoTree::held(oid('a'), files.clone()));
    let mut saved = Saved::default();
    let unknown = Unknown::of(&tree, &saved, &Surroundings::default());
    assert_eq!(unknown.count(), files.len() - 1, "a link is not followed");
    (0..3).for_each(|share| saved.add(unknown.look(share, 3)));
    assert_eq!(Unknown::of(&tree, &saved, &Surroundings::default()).count(), 0);
    let mut index = index_with(tree, &saved, &Surroundings::default());
    assert_eq!(answers(&index), answers(&fresh(&files)));
    // They are as new as what the index found out by itself: the link, and three folders.
    let alone = fresh(&files).take_fresh();
    assert!(index.take_fresh() >= alone, "{alone}");
}

#[test]
fn readers_learn_nothing_from_an_object_store_that_fails() {
    let (tree, blobs) = counted();
    blobs.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut saved = Saved::default();
    let unknown = Unknown::of(&tree, &saved, &Surroundings::default());
    saved.add(unknown.look(0, 1));
    assert_eq!(Unknown::of(&tree, &saved, &Surroundings::default()).count(), unknown.count());
}

#[test]
fn values_are_read_only_where_a_delivery_asks_for_them() {
    let file = |text: &str| TreeFile::held(EntryMode::File, text.as_bytes());
    let application = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: shop}\n\
                       spec: {source: {path: apps}, destination: {namespace: shop}}\n";
    let flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: shop}\nspec: {path: \
                ./web, postBuild: {substituteFrom: [{kind: ConfigMap, name: vars}]}, sourceRef: {kind: GitRepository, name: \
                x}}\n";
    let vars = |count: u32| {
        format!("kind: ConfigMap\napiVersion: v1\nmetadata: {{name: vars}}\ndata: {{N: '{count}'}}\n")
    };
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {n: '${N}'}}\n";
    let path = |text: &str| RepoPath::new(text).unwrap();
    let mut files: Files = [("argo.yaml", application), ("web/web.yaml", web), ("vars.yaml", &vars(1))]
        .map(|(path, text)| (RepoPath::new(path).unwrap(), file(text)))
        .into();
    let mut index = fresh(&files);
    let vars_entry = EntryKey::File(path("vars.yaml"));
    assert!(!index.delivered.from.contains_key(&vars_entry));
    // A delivery that brings another one which asks, and then other values.
    let (target, mut seen) = (WorkloadRef::parse("default/Deployment/web").unwrap(), BTreeSet::new());
    for (at, text) in [("apps/flux.yaml", flux.to_owned()), ("vars.yaml", vars(2)), ("vars.yaml", vars(3))] {
        let change = vec![(path(at), Some(file(&text)))];
        files = applied(files, &change);
        index.advance(oid('b'), change);
        assert!(index.delivered.from.contains_key(&vars_entry));
        assert_eq!(answers(&index), answers(&fresh(&files)));
        seen.insert(index.object(&target).unwrap()["metadata"].to_string());
    }
    assert_eq!(seen.len(), 3, "every value shows");
}

#[test]
fn an_object_store_that_fails_gives_no_answer_and_no_facts() {
    let (tree, blobs) = counted();
    let good = index_with(Arc::clone(&tree), &Saved::default(), &Surroundings::default()).saved("x").unwrap();
    blobs.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    let blind = index_with(Arc::clone(&tree), &Saved::default(), &Surroundings::default());
    assert!(blind.failure().is_some_and(|why| why.contains("the disk is gone")));
    assert_eq!(blind.saved("x"), None);
    // It fails only when the object is rendered: the facts are there.
    let late = index_with(tree, &Saved::read(&good, "x").unwrap(), &Surroundings::default());
    assert_eq!(late.failure(), None);
    let target = WorkloadRef::parse("shop/Deployment/web").unwrap();
    let refused = late.workload(&target).unwrap_err();
    assert!(refused.text.contains("the disk is gone"), "{refused}");
    assert!(late.place(&target, &Field::Replicas).is_err());
}

#[test]
fn only_the_delivery_that_reads_a_changed_path_is_rendered_again() {
    let file = |text: String| TreeFile::held(EntryMode::File, text.into_bytes());
    let web = |name: &str, count: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{replicas: {count}}}\n"
        )
    };
    let app = |name: &str| {
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {name}}}\n\
             spec: {{source: {{path: {name}}}, destination: {{namespace: shop}}}}\n"
        )
    };
    let mut files: Files = ["a", "b"]
        .into_iter()
        .flat_map(|name| {
            let at = |path: String| RepoPath::new(path).unwrap();
            let own = (at(format!("{name}/d.yaml")), file(web(name, 1)));
            [own, (at(format!("apps/{name}.yaml")), file(app(name)))]
        })
        .collect();
    let mut index = fresh(&files);
    let old = Arc::clone(&index.delivered);
    let changed = (RepoPath::new("a/d.yaml").unwrap(), Some(file(web("a", 2))));
    files = applied(files, std::slice::from_ref(&changed));
    index.advance(oid('b'), vec![changed]);
    assert_eq!((old.lives.len(), index.delivered.lives.len()), (2, 2));
    let same = |at: usize| Arc::ptr_eq(&old.lives[at], &index.delivered.lives[at]);
    assert_eq!((same(0), same(1)), (false, true));
    assert_eq!(answers(&index), answers(&fresh(&files)));
}

#[test]
fn only_what_saw_a_changed_path_is_rendered_again() {
    let mut files = small();
    let mut index = fresh(&files);
    let old = index.entries.clone();
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
    let added = (RepoPath::new("new.yaml").unwrap(), Some(TreeFile::held(EntryMode::File, text.as_bytes())));
    files = applied(files, std::slice::from_ref(&added));
    index.advance(oid('b'), vec![added]);
    let same = |key: &EntryKey| match (old.get(key), index.entries.get(key)) {
        (Some(Entry::Folder(old)), Some(Entry::Folder(new))) => Arc::ptr_eq(old, new),
        (old, new) => old.is_some() == new.is_some(),
    };
    assert!(old.keys().all(same));
    assert_eq!(index.entries.len(), old.len() + 1);
    assert_eq!(answers(&index), answers(&fresh(&files)));
}
