//! What every test of the suite leans on: where the tree is, which files it holds, which real parts exist.

pub(crate) mod fake;
pub(crate) mod git_http;
pub(crate) mod gitea;
pub(crate) mod metric_stub;
pub(crate) mod parts;
pub(crate) mod ports;
pub(crate) mod program;
pub(crate) mod workload_http;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Root of the checked-out tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the tree that git tracks or would track, relative to the root, `/`-separated, sorted.
pub(crate) fn files() -> Vec<String> {
    let out = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git must be installed: tars itself needs it");
    assert!(out.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&out.stderr));
    let mut files: Vec<String> = String::from_utf8_lossy(&out.stdout)
        .split('\0')
        .filter(|name| !name.is_empty() && root().join(name).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    files
}

/// The text of a file of the tree; `None` when it is not UTF-8 or not there.
pub(crate) fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

/// The built program.
pub(crate) fn tars() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tars"))
}
