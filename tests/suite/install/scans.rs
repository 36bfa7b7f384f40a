//! Scanners of manifests. What they find is mended, or accepted with a reason in `accepted.txt` beside this file; an
//! accepted finding that is found no more has to go.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{rendered, run, value_sets};
use crate::support::{self, parts};

const ACCEPTED: &str = "tests/suite/install/accepted.txt";

/// Findings as `tool check kind`, without the name of the set of values.
fn findings(checkov: &Path, score: &Path, file: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let out = run(score, &["score", "--output-format", "ci", "--kubernetes-version", "v1.32", file]);
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let Some(rest) = line.strip_prefix("[CRITICAL] ").or_else(|| line.strip_prefix("[WARNING] ")) else {
            continue;
        };
        let (object, text) = rest.split_once(": ").unwrap();
        let kind = object.rsplit('/').next().unwrap();
        let check = text.split_once(") ").map_or(text, |it| it.1).replace(' ', "-").to_lowercase();
        all.insert(format!("kube-score {check} {kind}"));
    }
    let args = ["--framework", "kubernetes", "--skip-download", "--output", "json", "--file", file];
    let out = run(checkov, &args);
    let report: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|_| panic!("checkov: {}", String::from_utf8_lossy(&out.stderr)));
    assert!(report["summary"]["passed"].as_u64().unwrap() > 50, "checkov saw nothing: {report:#}");
    for failed in report["results"]["failed_checks"].as_array().unwrap() {
        let kind = failed["resource"].as_str().unwrap().split('.').next().unwrap();
        all.insert(format!("checkov {} {kind}", failed["check_id"].as_str().unwrap()));
    }
    all
}

#[test]
fn scanners_find_what_was_accepted_with_a_reason_and_nothing_else() {
    let test = "scanners_find_what_was_accepted_with_a_reason_and_nothing_else";
    let Some(helm) = parts::find("helm", test) else { return };
    let Some(score) = parts::find("kube-score", test) else { return };
    let Some(checkov) = parts::find("checkov", test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut found = BTreeSet::new();
    for (name, values) in value_sets() {
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, rendered(&helm, &values, &[])).unwrap();
        found.extend(findings(&checkov, &score, file.to_str().unwrap()));
    }
    let text = support::text(ACCEPTED).expect(ACCEPTED);
    let lines = text.lines().filter(|it| !it.is_empty() && !it.starts_with('#'));
    let accepted = lines.map(|it| it.split_once(": ").expect("`finding: reason`").0.to_owned()).collect();
    assert_eq!(found, accepted, "left: found; right: {ACCEPTED}");
}
