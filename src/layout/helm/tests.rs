//! Jobs and outputs as data: what makes two jobs equal, and how Helm's output is read.

use super::*;

fn job() -> HelmJob {
    HelmJob {
        files: BTreeMap::from([("Chart.yaml".to_owned(), Arc::from(&b"name: x\n"[..]))]),
        values: vec![Arc::from(&b"a: 1\n"[..])],
        sets: vec![SetValue::Typed("a=1".into())],
        release: "x".into(),
        namespace: "shop".into(),
        kube_version: None,
        api_versions: Vec::new(),
        skip_schema: false,
    }
}

#[test]
fn jobs_that_differ_in_anything_have_different_digests() {
    let changes: [fn(&mut HelmJob); 8] = [
        |it| {
            let _ = it.files.insert("values.yaml".into(), Arc::from(&b""[..]));
        },
        |it| it.values.push(Arc::from(&b""[..])),
        |it| it.sets[0] = SetValue::Text("a=1".into()),
        |it| it.release.push('y'),
        |it| it.namespace.push('y'),
        |it| it.kube_version = Some("1.30".into()),
        |it| it.api_versions.push("v1".into()),
        |it| it.skip_schema = true,
    ];
    let mut seen = std::collections::BTreeSet::from([job().digest()]);
    for change in changes {
        let mut other = job();
        change(&mut other);
        assert!(seen.insert(other.digest()));
    }
    assert_eq!(job().digest(), job().digest());
}

#[test]
fn what_is_not_known_is_wanted_once() {
    let renders = HelmRenders::default();
    assert!(renders.get(&job()).is_none());
    assert!(renders.get(&job()).is_none());
    assert_eq!(renders.take_wanted(), [job()]);
    assert!(renders.take_wanted().is_empty());
    renders.insert(&job(), Ok(b"---\n# Source: x/templates/a.yaml\nkind: A\n"));
    let outcome = renders.get(&job()).unwrap();
    assert_eq!(outcome.as_ref().as_ref().unwrap()[0].template, "x/templates/a.yaml");
    assert!(renders.take_wanted().is_empty());
    renders.insert(&job(), Err("no".into()));
    assert_eq!(*renders.get(&job()).unwrap(), Err("no".to_owned()));
}

#[test]
fn output_is_split_at_separators_and_empty_documents_are_left_out() {
    let output = b"---\n# Source: x/templates/a.yaml\nkind: A\ndata:\n  text: |\n    ---\n    x\n---\n# Source: x/templates/b.yaml\n\n---\n\
                   # Source: x/charts/y/templates/c.yaml\nkind: C\n---\nkind: D\n";
    let objects = read_output(output).unwrap();
    let found: Vec<(&str, &str)> =
        objects.iter().map(|o| (o.template.as_str(), o.value["kind"].as_str().unwrap())).collect();
    let expected = [
        ("x/templates/a.yaml", "A"),
        ("x/charts/y/templates/c.yaml", "C"),
        ("x/charts/y/templates/c.yaml", "D"),
    ];
    assert_eq!(found, expected);
    assert!(read_output(b"---\n# Source: x\na: [\n").unwrap_err().contains("plain YAML"));
}
