//! Real parts (git, sops, Prometheus ...): found in `.cache/parts` first, then in `PATH`.
//!
//! A missing part is a loud skip on a laptop and a failure where `CI=true`:
//!
//! ```text
//! let Some(sops) = parts::find("sops", "sops_reads_what_tars_writes") else { return };
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};

use super::root;

/// The program called `name` (`prometheus-alertmanager`, not the part's short name), or `None` after saying so
/// on standard error.
///
/// # Panics
/// When the part is missing and `CI=true`.
pub(crate) fn find(name: &str, test: &str) -> Option<PathBuf> {
    let found = locate(name, &root().join(".cache/parts"), std::env::var_os("PATH").as_deref());
    if found.is_none() {
        report_missing(name, test, std::env::var("CI").is_ok_and(|it| it == "true"));
    }
    found
}

/// The folder with what the stand-in forges need, or `None` after saying so.
///
/// # Panics
/// When it is missing and `CI=true`.
pub(crate) fn fakes(test: &str) -> Option<PathBuf> {
    let found = super::fake::parts(root());
    if found.is_none() {
        report_missing("fakes", test, std::env::var("CI").is_ok_and(|it| it == "true"));
    }
    found
}

/// The newest folder of the part called `name`, or `None` after saying so.
///
/// # Panics
/// When the part is missing and `CI=true`.
pub(crate) fn folder(name: &str, test: &str) -> Option<PathBuf> {
    let folders = std::fs::read_dir(root().join(".cache/parts")).into_iter().flatten().filter_map(Result::ok);
    let named =
        |it: &PathBuf| it.file_name().is_some_and(|it| it.to_string_lossy().starts_with(&format!("{name}-")));
    let found = folders.map(|it| it.path()).filter(|it| named(it) && it.is_dir()).max();
    if found.is_none() {
        report_missing(name, test, std::env::var("CI").is_ok_and(|it| it == "true"));
    }
    found
}

fn report_missing(name: &str, test: &str, ci: bool) {
    let text = format!("{test}: {name} is missing; run tests/install-parts");
    assert!(!ci, "{text} (in CI a missing part is a failure, never a skip)");
    // Not eprintln!: the test harness swallows that when the test passes, and a skip must be seen.
    let _ = writeln!(std::io::stderr(), "SKIP {text}");
}

/// `<cache>/<name>-<version>/bin/<name>` or `<cache>/<name>-<version>/<name>`, newest version last in
/// lexical order; then the folders of `path` and the two that an ordinary user's `PATH` lacks.
fn locate(name: &str, cache: &Path, path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let mut cached: Vec<PathBuf> = std::fs::read_dir(cache)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|it| it.file_name().to_string_lossy().starts_with(&format!("{name}-")))
        .flat_map(|it| [it.path().join("bin").join(name), it.path().join(name)])
        .collect();
    cached.sort();
    let listed = path.map(|it| std::env::split_paths(it).collect::<Vec<_>>()).unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let folders = listed.into_iter().chain(system).map(|folder| folder.join(name));
    cached.into_iter().rev().chain(folders).find(|it| it.is_file())
}

#[test]
fn every_part_that_the_script_installs_is_found() {
    let programs = [
        "git",
        "ssh-keygen",
        "gpg",
        "python3",
        "age",
        "prometheus",
        "prometheus-alertmanager",
        "prometheus-pushgateway",
        "victoria-metrics",
        "vmagent",
        "thanos",
        "mimir",
        "sops",
        "kustomize",
        "helm",
        "gitea",
        "loki",
        "jaeger",
        "prometheus3",
        "yaml-reader",
        "redis-server",
        "kubeconform",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kubectl",
        "kwok",
        "source-controller",
        "kustomize-controller",
        "helm-controller",
        "argocd",
        "promtool",
        "amtool",
        "kube-score",
        "checkov",
    ];
    for name in programs {
        find(name, "every_part_that_the_script_installs_is_found");
    }
    folder("kube-schemas", "every_part_that_the_script_installs_is_found");
    fakes("every_part_that_the_script_installs_is_found");
}

#[test]
fn a_cached_part_wins_over_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("parts");
    for place in ["parts/sops-1.0.0/bin", "bin"] {
        std::fs::create_dir_all(folder.path().join(place)).unwrap();
        std::fs::write(folder.path().join(place).join("sops"), "").unwrap();
    }
    let bin = folder.path().join("bin");
    assert_eq!(locate("sops", &cache, Some(bin.as_os_str())), Some(cache.join("sops-1.0.0/bin/sops")));
    std::fs::remove_dir_all(&cache).unwrap();
    assert_eq!(locate("sops", &cache, Some(bin.as_os_str())), Some(bin.join("sops")));
    assert_eq!(locate("no-such-part", &cache, Some(bin.as_os_str())), None);
}

#[test]
fn a_missing_part_is_a_failure_in_ci() {
    let outcome = std::panic::catch_unwind(|| report_missing("no-such-part", "some_test", true));
    let text = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("run tests/install-parts"), "{text}");
}
