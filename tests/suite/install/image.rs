//! The image, as far as it can be built without a container engine: what is copied exists, what is downloaded is
//! pinned, and the folder that becomes the image starts its programs for a user without rights.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{self, parts};

const DOCKERFILE: &str = "charts/image/Dockerfile";
const USER: &str = "65532:65532";

/// Instructions with continued lines joined, without comments.
fn instructions(text: &str) -> Vec<(String, String)> {
    let kept: Vec<&str> = text.lines().filter(|it| !it.trim_start().starts_with('#')).collect();
    let joined = kept.join("\n").replace("\\\n", " ");
    let split = |it: &str| it.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()));
    joined.lines().filter_map(split).collect()
}

#[test]
fn everything_that_the_image_copies_exists_and_every_base_is_an_argument() {
    let all = instructions(&support::text(DOCKERFILE).expect(DOCKERFILE));
    let mut stages: Vec<String> = Vec::new();
    for (word, rest) in &all {
        let words: Vec<&str> = rest.split_whitespace().collect();
        match (word.as_str(), &words[..]) {
            ("FROM", [base, rest @ ..]) => {
                let given = base.strip_prefix("${").and_then(|it| it.strip_suffix('}'));
                let is_argument = given.is_some_and(|it| all.contains(&("ARG".to_owned(), it.to_owned())));
                assert!(*base == "scratch" || is_argument, "{base}: whoever builds says which, by digest");
                stages.extend(rest.last().map(|it| (*it).to_owned()));
            }
            ("COPY", [from, _, _]) if from.starts_with("--from=") => {
                let stage = from.trim_start_matches("--from=");
                assert!(stages.iter().any(|it| it == stage), "no stage before is called {stage}");
            }
            ("COPY", [sources @ .., _]) => {
                for source in sources {
                    assert!(support::root().join(source).exists(), "COPY {source}: there is no such file");
                }
            }
            ("USER", who) => assert_eq!(who, [USER]),
            (word, _) => {
                assert!(matches!(word, "ARG" | "RUN" | "WORKDIR" | "ENV" | "ENTRYPOINT" | "CMD"), "{word}");
            }
        }
    }
    let script = support::text("tests/install-parts").unwrap();
    let helm = all.iter().find_map(|(_, rest)| rest.strip_prefix("HELM_VERSION=")).unwrap();
    assert!(script.contains(&format!("HELM_VERSION={helm}\n")), "the tests use another helm than the image");
}

/// What the program takes into itself at build time has to be in the build's folder.
#[test]
fn the_image_is_built_from_every_folder_that_the_program_takes_in() {
    let copied = instructions(&support::text(DOCKERFILE).unwrap());
    let has = |folder: &str| copied.contains(&("COPY".to_owned(), format!("{folder} {folder}")));
    for path in support::files().iter().filter(|it| it.starts_with("src/") && it.ends_with(".rs")) {
        let text = support::text(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for folder in ["templates", "policies", "charts", "gitops-example"] {
            let taken = code.lines().any(|it| it.contains("include_") && it.contains(&format!("/{folder}")));
            let is_test = path.contains("test") || path.contains("golden");
            assert!(!taken || is_test || has(folder), "{path} includes a file of {folder}/");
        }
    }
}

fn inside(root: &Path, line: &[&str]) -> Output {
    let mut chroot = Command::new("chroot");
    chroot
        .arg(format!("--userspec={USER}"))
        .arg(root)
        .args(line)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin");
    chroot.output().unwrap()
}

#[test]
fn the_folder_of_the_image_starts_its_programs_for_a_user_without_rights() {
    let test = "the_folder_of_the_image_starts_its_programs_for_a_user_without_rights";
    let Some(helm) = parts::find("helm", test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let assemble = support::root().join("charts/image/assemble");
    let made = Command::new(assemble).arg(support::tars()).arg(helm).arg(&root).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let device = root.join("dev/null");
    std::fs::create_dir_all(root.join("dev")).unwrap();
    let node = Command::new("mknod").args(["-m", "666"]).arg(&device).args(["c", "1", "3"]).output().unwrap();
    if !node.status.success() || std::fs::write(&device, "x").is_err() {
        // Not eprintln!: the test harness swallows that when the test passes, and a skip must be seen.
        let _ = writeln!(std::io::stderr(), "SKIP {test}: only root can make a device and change its root");
        return;
    }
    for line in
        [&["/usr/bin/tars", "--version"][..], &["/usr/bin/helm", "version"], &["/usr/bin/git", "--version"]]
    {
        let out = inside(&root, line);
        assert!(out.status.success(), "{line:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    // Nobody listens there: the program that git speaks HTTPS with has started, and found its libraries.
    let out = inside(&root, &["/usr/bin/git", "ls-remote", "https://127.0.0.1:1/x"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("Failed to connect"), "{out:?}");
    // A Secret as kubelet mounts it: root's, readable by the group of the volume. One that all can read is refused.
    let key = root.join("key");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(root.join("key.pub")).unwrap();
    std::fs::write(root.join("allowed"), format!("tars {public}")).unwrap();
    let settings = "repository: {url: 'https://127.0.0.1:1/x', state_dir: /tmp/state}\nprometheus: {url: 'http://127.0.0.1:1'}\n\
        signing: {key_file: /key, allowed_signers_file: /allowed}\nwebhook: {enabled: false}\n";
    std::fs::write(root.join("tars.yaml"), settings).unwrap();
    assert!(Command::new("chgrp").arg("65532").arg(&key).status().unwrap().success());
    for (mode, expected) in [(0o440, "signs as"), (0o444, "others can read")] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let out = inside(&root, &["/usr/bin/tars", "check", "--config", "/tars.yaml"]);
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(text.contains(expected), "{mode:o}: {text}");
    }
}
