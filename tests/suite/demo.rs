//! `tars demo` as a stranger runs it. Its story is read back with plain git: commits, trailers, branches and the
//! bytes of files; what it prints is not believed, except that the commands it names must work.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support;
use crate::support::program::{commits, git, kinds, shell, tars, trailers};

const OVERLAY: &str = "apps/backend/overlays/production/kustomization.yaml";
/// The trailers of a commit that tars makes on the watched branch.
const TRAILERS: [&str; 10] = [
    "Tars-Id",
    "Tars-Incident",
    "Tars-Policy",
    "Tars-Target",
    "Tars-Action",
    "Tars-Risk",
    "Tars-Decision",
    "Tars-Budget",
    "Tars-Verify",
    "Tars-Undo",
];

/// A played scenario and the folder that it kept.
struct Played {
    _folder: TempDir,
    /// The bare repository.
    repo: PathBuf,
    home: PathBuf,
    out: String,
}

fn play(args: &[&str]) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec!["demo", "--keep", "kept"];
    all.extend(args);
    let out = tars(folder.path(), &all).ok();
    let home = folder.path().to_owned();
    Played { repo: home.join("kept/repo.git"), home, out, _folder: folder }
}

fn original(path: &str) -> String {
    support::text(&format!("gitops-example/{path}")).expect("a file of the example")
}

fn file(repo: &Path, commit: &str, path: &str) -> String {
    git(repo, &["cat-file", "-p", &format!("{commit}:{path}")]) + "\n"
}

fn changed_files(repo: &Path, from: &str, to: &str) -> Vec<String> {
    git(repo, &["diff", "--name-only", from, to]).lines().map(str::to_owned).collect()
}

fn branches(repo: &Path) -> Vec<String> {
    let listed = git(repo, &["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
    listed.lines().map(str::to_owned).collect()
}

/// Every trailer once, values without blanks or line ends; gives the values in order.
fn values(repo: &Path, commit: &str) -> Vec<String> {
    let found = trailers(repo, commit);
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, TRAILERS);
    assert!(found.iter().all(|(_, value)| value.bytes().all(|byte| byte.is_ascii_graphic())), "{found:?}");
    found.into_iter().map(|(_, value)| value).collect()
}

/// Real git and real ssh-keygen accept every signature tars made.
fn signatures_are_good(played: &Played, on_main: &[&str]) {
    for commit in
        commits(&played.repo, "tars/ledger").iter().map(String::as_str).chain(on_main.iter().copied())
    {
        git(&played.repo, &["verify-commit", commit]);
    }
}

#[test]
fn latency_scaleout_merges_one_field_verifies_it_and_proposes_the_way_back() {
    let played = play(&[]);
    let repo = &played.repo;
    let main = commits(repo, "main");
    assert_eq!(main.len(), 2, "the import and the one merge");
    assert_eq!(changed_files(repo, &main[0], &main[1]), [OVERLAY]);
    assert_eq!(file(repo, &main[0], OVERLAY), original(OVERLAY));
    assert_eq!(file(repo, &main[1], OVERLAY), original(OVERLAY).replace("count: 3 ", "count: 5 "));
    let values = values(repo, &main[1]);
    assert_eq!(values[3..7], ["production/Deployment/backend", "ScaleOut", "Low", "AutoMerge"]);
    assert_eq!(values[7], "backend-latency=1/2;all%20policies=1/6");
    assert_eq!(values[9], "replicas[name=backend].count=3");
    let expected = ["Genesis", "Proposed", "MergeReserved", "Merged", "Synced", "Verified", "Proposed"]
        .map(str::to_owned);
    assert_eq!(kinds(repo), expected);
    signatures_are_good(&played, &[&main[1]]);
    let waiting: Vec<String> =
        branches(repo).into_iter().filter(|it| it != "main" && it != "tars/ledger").collect();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let head = git(repo, &["rev-parse", &waiting[0]]);
    assert_eq!(git(repo, &["rev-parse", &format!("{head}^")]), main[1], "one commit on top of main");
    assert_eq!(file(repo, &head, OVERLAY), original(OVERLAY), "the way back restores every byte");
    assert!(trailers(repo, &head).contains(&("Tars-Decision".to_owned(), "Review".to_owned())));
    git(repo, &["verify-commit", &head]);
}

#[test]
fn what_the_demo_explains_names_the_models_the_band_and_the_cause_with_its_victim() {
    let played = play(&[]);
    let id = values(&played.repo, "main")[0].clone();
    let explained = tars(&played.home, &["explain", &id, "-C", "kept/repo.git"]).ok();
    for told in [&played.out, &explained] {
        for words in [
            "stl 0.",
            "isolation-forest 0.",
            "ewma 0.",
            "expected 176",
            "backend, where latency_p95 left its past by ",
            "frontend is in trouble too and calls it",
        ] {
            let plain: String = told.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(plain.contains(words), "{words:?} is missing: {told}");
        }
    }
}

#[test]
fn latency_scaleout_with_approval_ends_where_it_began() {
    let played = play(&["--approve"]);
    let repo = &played.repo;
    let main = commits(repo, "main");
    assert_eq!(main.len(), 3);
    assert_eq!(file(repo, "main", OVERLAY), original(OVERLAY));
    assert_eq!(
        git(repo, &["rev-parse", "main^{tree}"]),
        git(repo, &["rev-parse", &format!("{}^{{tree}}", main[0])])
    );
    let kinds = kinds(repo);
    assert!(kinds.ends_with(&["Proposed", "Merged", "Expired"].map(str::to_owned)), "{kinds:?}");
    signatures_are_good(&played, &[&main[1], &main[2]]);
}

#[test]
fn a_bad_release_waits_for_a_person() {
    let played = play(&["bad-release-rollback"]);
    let repo = &played.repo;
    assert_eq!(commits(repo, "main").len(), 2, "the import and the release, no merge");
    assert_eq!(kinds(repo), ["Genesis", "Proposed"]);
    let branch = branches(repo).into_iter().find(|it| it.starts_with("tars/backend-errors/")).unwrap();
    assert_eq!(file(repo, &branch, OVERLAY), original(OVERLAY));
    since_when_it_is_wrong_stands_where_a_person_looks(&played, branch.rsplit('/').next().unwrap());
}

/// In the pull request, and in what the command line says about it.
fn since_when_it_is_wrong_stands_where_a_person_looks(played: &Played, id: &str) {
    for line in [&["status"][..], &["explain", id], &["get", "proposal", id]] {
        let said = tars(&played.home, &[line, &["-C", "kept/repo.git"]].concat()).ok();
        let told = said.lines().find(|it| it.contains("anomalous since 2026-11-23T")).unwrap_or(&said);
        assert!(told.contains("Z, worst 0."), "{line:?} does not say since when: {told}");
    }
}

#[test]
fn an_approved_rollback_changes_the_image_and_keeps_the_rest_of_the_release() {
    let played = play(&["bad-release-rollback", "--approve"]);
    let repo = &played.repo;
    let main = commits(repo, "main");
    assert_eq!(main.len(), 3);
    let released = file(repo, &main[1], OVERLAY);
    assert!(released.contains("newTag: \"2.13.4-rc1\""), "{released}");
    assert_eq!(file(repo, "main", OVERLAY), released.replace("2.13.4-rc1", "2.13.4"));
    let release_files = changed_files(repo, &main[0], &main[1]);
    assert!(release_files.len() > 1, "the release changes more than the image: {release_files:?}");
    assert_eq!(changed_files(repo, &main[1], &main[2]), [OVERLAY], "only the image goes back");
    let values = values(repo, "main");
    assert_eq!(values[4..7], ["Rollback", "High", "Review"]);
    assert_eq!(kinds(repo), ["Genesis", "Proposed", "Merged", "Synced", "Verified"]);
    signatures_are_good(&played, &[&main[2]]);
}

#[test]
fn a_storm_makes_one_proposal_one_reservation_and_one_merge() {
    let played = play(&["storm"]);
    let repo = &played.repo;
    let kinds = kinds(repo);
    for once in ["Proposed", "MergeReserved", "Merged", "Synced", "Verified"] {
        assert_eq!(kinds.iter().filter(|it| *it == once).count(), 1, "{once} in {kinds:?}");
    }
    assert_eq!(commits(repo, "main").len(), 2);
    let instances: std::collections::BTreeSet<String> = commits(repo, "tars/ledger")
        .iter()
        .flat_map(|commit| trailers(repo, commit))
        .filter_map(|(key, value)| (key == "Tars-Instance").then_some(value))
        .collect();
    assert!(!instances.is_empty() && instances.iter().all(|it| it.starts_with("replica-")), "{instances:?}");
}

#[test]
fn the_same_seed_gives_the_same_change_and_other_seeds_reach_the_end_too() {
    let facts = |seed: u64| {
        let played = play(&["--seed", &seed.to_string()]);
        let message = git(&played.repo, &["log", "-1", "--format=%s%n%b%n%T %cI", "main"]);
        // The policy's commit is signed with a key made for this run.
        let stable =
            message.lines().filter(|line| !line.starts_with("Tars-Policy")).collect::<Vec<_>>().join("\n");
        (stable, kinds(&played.repo))
    };
    let first = facts(1);
    assert_eq!(first, facts(1));
    for seed in 2..=3 {
        assert_eq!(facts(seed).1, first.1, "seed {seed}");
    }
}

#[test]
fn json_output_is_one_list_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for scenario in ["latency-scaleout", "bad-release-rollback", "storm"] {
        let keep = format!("kept-{scenario}");
        let said = tars(folder.path(), &["demo", scenario, "-o", "json", "--keep", &keep]);
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        let list = said.json();
        assert_eq!(list["kind"], "List");
        assert_eq!(list["items"][0]["kind"], "RemediationAction", "{scenario}");
    }
}

#[test]
fn a_folder_that_exists_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    let said = tars(folder.path(), &["demo", "--keep", "mine"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("exists already"), "{said:?}");
    assert_eq!(std::fs::read_dir(folder.path().join("mine")).unwrap().count(), 0);
}

#[test]
fn every_command_the_demo_ends_with_works() {
    for scenario in ["latency-scaleout", "storm"] {
        let played = play(&[scenario]);
        let (_, end) = played.out.split_once("Look around:\n").expect("it ends by naming commands");
        let lines: Vec<&str> = end.lines().filter(|line| line.starts_with("  ")).collect();
        assert!(lines.len() >= 4, "{end}");
        for line in lines {
            let said = shell(&played.home, line);
            assert_eq!(said.code, 0, "{line}: {said:?}");
            assert!(!said.out.is_empty(), "{line}");
        }
    }
}

#[test]
fn the_list_names_every_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let out = tars(folder.path(), &["demo", "--list", "--no-headers"]).ok();
    let names: Vec<&str> = out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["latency-scaleout", "bad-release-rollback", "storm"]);
}
