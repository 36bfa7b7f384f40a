//! Several actions on one branch, on the whole order: real git, virtual time. Each test is one sentence about what
//! becomes of the branch, of its actions and of the ledger; the audit has the last word in all of them.

use super::harness::*;
use super::{Parts, Reconciler};
use crate::model::action::{ActionState as S, MergedBy, RemediationAction};
use crate::model::batch;
use crate::model::history::History;
use crate::model::ids::{BranchName, ObjectId};
use crate::model::limits::BatchLimits;
use crate::model::reason::ReasonCode;

const NAMES: [&str; 3] = ["backend", "frontend", "worker"];

fn query(name: &str) -> String {
    format!("slow_{name}")
}

fn app(name: &str) -> String {
    format!("apps/{name}.yaml")
}

/// Three deployments, each in a file and under a policy of its own, and all of them slow.
fn world() -> World {
    let mut files = Vec::new();
    for name in NAMES {
        files.push((app(name), deployment(name)));
        files.push((format!("policies/{name}.yaml"), scale_policy(name, name, &query(name), "Propose")));
    }
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let world = World::with(&files);
    // Judged by a signal that is calm: whether an action is needed is up to its query.
    world.metrics.calm_past(200.0);
    NAMES.iter().for_each(|name| world.metrics.fire(&query(name)));
    world
}

fn with_limits(max_actions: u32) -> impl FnOnce(&mut Parts) {
    move |parts| parts.rules.batch = Some(BatchLimits { window_s: 300, max_actions })
}

fn batching(world: &World, instance: &str) -> Reconciler {
    world.reconciler_with(instance, with_limits(10))
}

/// The branches of proposals, without `refs/heads/`.
fn branches(world: &World) -> Vec<BranchName> {
    let name = |it: String| BranchName::new(it.strip_prefix("refs/heads/").unwrap()).unwrap();
    world.proposals().into_keys().map(name).collect()
}

fn the_branch(world: &World) -> BranchName {
    let all = branches(world);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

fn full(branch: &BranchName) -> String {
    format!("refs/heads/{branch}")
}

fn head_of(record: &RemediationAction) -> ObjectId {
    record.spec.change.as_ref().unwrap().head.clone()
}

fn name_of(record: &RemediationAction) -> String {
    record.spec.target.name.to_string()
}

/// The line of the only branch, the lowest commit first.
fn line(world: &World, tars: &Reconciler) -> Vec<RemediationAction> {
    tars.memory().history().waiting_on(&the_branch(world)).into_iter().cloned().collect()
}

/// Three proposals on one branch.
async fn three() -> (World, Reconciler, Vec<RemediationAction>) {
    let world = world();
    let mut tars = batching(&world, "a");
    world.run(&mut tars, 2).await;
    let line = line(&world, &tars);
    assert_eq!(line.len(), 3, "{:?}", world.story());
    (world, tars, line)
}

fn states(history: &History) -> Vec<(String, S)> {
    history.open.values().map(|it| (name_of(it), it.state())).collect()
}

fn is_clean(world: &World) {
    let report = world.audit();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

/// Every action of a batch that stands: its commit on the one before, with its own file and no other.
fn stands(world: &World, tars: &Reconciler, branch: &BranchName) {
    let line = tars.memory().history().waiting_on(branch);
    let objects = world.objects();
    let tip = world.head(&full(branch)).unwrap();
    assert_eq!(tip, head_of(line.last().unwrap()));
    let commits = objects.walk(tip.as_str(), None, line.len()).unwrap();
    for (record, commit) in line.iter().rev().zip(&commits) {
        assert_eq!(head_of(record).as_str(), commit);
        let base = record.spec.change.as_ref().unwrap().base.clone();
        let changed = objects.changed_paths(Some(base.as_str()), commit).unwrap();
        assert_eq!(changed.iter().map(|it| it.0.clone()).collect::<Vec<_>>(), [app(&name_of(record))]);
    }
    is_clean(world);
}

#[tokio::test]
async fn three_incidents_in_one_window_are_one_branch_with_one_commit_each() {
    let (world, tars, line) = three().await;
    let branch = the_branch(&world);
    assert_eq!(branch, batch::branch(line[0].id()).unwrap());
    assert_eq!(world.states(), [S::Proposed; 3]);
    assert_eq!(line[0].spec.change.as_ref().unwrap().base, world.main());
    stands(&world, &tars, &branch);
    for record in &line {
        let text = world.objects().commit(head_of(record).as_str()).unwrap().message;
        assert_eq!(text.matches("Tars-Id: ").count(), 1);
        assert!(text.contains(&format!("Tars-Id: {}", record.id())), "{text}");
    }
}

#[tokio::test]
async fn without_the_setting_every_proposal_has_a_branch_of_its_own() {
    let world = world();
    let mut tars = world.reconciler("a");
    world.run(&mut tars, 2).await;
    assert_eq!(branches(&world).len(), 3);
    assert!(branches(&world).iter().all(|it| !it.as_str().starts_with("tars/batch-")));
}

#[tokio::test]
async fn an_incident_after_the_window_begins_another_branch() {
    let world = world();
    world.metrics.quench(&query("worker"));
    let mut tars = batching(&world, "a");
    world.run(&mut tars, 11).await;
    assert_eq!(line(&world, &tars).len(), 2);
    world.metrics.fire(&query("worker"));
    world.run(&mut tars, 1).await;
    assert_eq!(branches(&world).len(), 2, "five minutes have passed since its first commit");
    is_clean(&world);
}

#[tokio::test]
async fn a_branch_that_is_full_is_followed_by_another() {
    let world = world();
    let mut tars = world.reconciler_with("a", with_limits(2));
    world.run(&mut tars, 2).await;
    let mut lengths: Vec<_> =
        branches(&world).iter().map(|it| tars.memory().history().waiting_on(it).len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1, 2]);
    is_clean(&world);
}

#[tokio::test]
async fn two_actions_on_one_file_do_not_share_a_branch() {
    let both = format!("{}---\n{}", deployment("backend"), deployment("frontend"));
    let policy = |name: &str| scale_policy(name, name, SLOW, "Propose");
    let world = World::with(&[
        ("apps/both.yaml", &both),
        ("policies/backend.yaml", &policy("backend")),
        ("policies/frontend.yaml", &policy("frontend")),
    ]);
    let mut tars = batching(&world, "a");
    world.run(&mut tars, 2).await;
    assert_eq!(branches(&world).len(), 2);
    is_clean(&world);
}

#[tokio::test]
async fn what_may_merge_by_itself_never_joins() {
    let world = world();
    world.commit(&[
        ("policies/SUSPENDED", Some("wait")),
        ("policies/worker.yaml", Some(&scale_policy("worker", "worker", &query("worker"), "AutoMerge"))),
    ]);
    let mut tars = batching(&world, "a");
    world.run(&mut tars, 2).await;
    let own: Vec<_> = branches(&world).into_iter().filter(|it| it.as_str().contains("worker")).collect();
    assert_eq!((own.len(), branches(&world).len()), (1, 2), "{own:?}");
    world.commit(&[("policies/SUSPENDED", None)]);
    world.run(&mut tars, 1).await;
    assert!(world.story().contains(&("worker".to_owned(), S::Merged)), "{:?}", world.story());
    assert_eq!(line(&world, &tars).len(), 2, "the others still wait");
    is_clean(&world);
}

/// The action at `place` of the line recovers by itself: it leaves, the others go on together.
async fn one_recovers(place: usize) {
    let (world, mut tars, line) = three().await;
    let old = the_branch(&world);
    world.run(&mut tars, 10).await;
    let before = world.entries().len();
    world.metrics.quench(&query(&name_of(&line[place])));
    let report = world.until(&mut tars, 3, |history| history.open.len() == 2).await;
    let closed = |it: &&crate::model::entry::Entry| {
        it.record.as_ref().is_some_and(|it| it.id() == line[place].id() && it.state() == S::Closed)
    };
    let entries = world.entries();
    let at = entries.iter().position(|it| closed(&it)).expect("the one that recovered is closed");
    assert!(at >= before);
    let with_it: Vec<_> =
        entries[at..].iter().filter_map(|it| it.record.as_ref()).map(|it| it.state()).collect();
    assert_eq!(with_it, [S::Closed, S::Proposed, S::Proposed]);
    assert_eq!(report.pushes.len(), 1, "all of it is one push: {report:#?}");
    let now = the_branch(&world);
    assert_eq!(now == old, place != 0, "a branch is named after its first action");
    assert_eq!(tars.memory().history().waiting_on(&now).len(), 2);
    stands(&world, &tars, &now);
    let objects = world.objects();
    let gone = app(&name_of(&line[place]));
    let tip = world.head(&full(&now)).unwrap();
    assert_eq!(
        objects.entry(tip.as_str(), &gone).unwrap(),
        objects.entry(world.main().as_str(), &gone).unwrap(),
        "nothing of it is left on the branch"
    );
}

#[tokio::test]
async fn the_first_action_recovers_and_the_others_go_on_under_another_name() {
    one_recovers(0).await;
}

#[tokio::test]
async fn the_middle_action_recovers_and_the_others_close_ranks() {
    one_recovers(1).await;
}

#[tokio::test]
async fn the_last_action_recovers_and_the_others_stay() {
    one_recovers(2).await;
}

#[tokio::test]
async fn a_file_that_moves_on_the_watched_branch_makes_the_whole_branch_anew_on_top() {
    let (world, mut tars, line) = three().await;
    let branch = the_branch(&world);
    let path = app(&name_of(&line[1]));
    let text = world.file(&path).replace("# three", "# three, for now");
    world.commit(&[(&path, Some(&text))]);
    let report = world.run(&mut tars, 1).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(the_branch(&world), branch);
    let rebuilt = self::line(&world, &tars);
    assert_eq!(rebuilt.len(), 3);
    assert_eq!(rebuilt[0].spec.change.as_ref().unwrap().base, world.main());
    stands(&world, &tars, &branch);
}

#[tokio::test]
async fn an_action_whose_files_now_meet_another_ones_leaves_for_a_branch_of_its_own() {
    let (world, mut tars, line) = three().await;
    let (one, other) = (name_of(&line[0]), name_of(&line[1]));
    let both = format!("{}---\n{}", deployment(&one), deployment(&other));
    world.commit(&[(&app(&one), Some(&both)), (&app(&other), None)]);
    let report = world.run(&mut tars, 2).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let waiting: usize = branches(&world).iter().map(|it| tars.memory().history().waiting_on(it).len()).sum();
    assert_eq!(waiting, 3, "{:?}", world.story());
    for branch in branches(&world) {
        for record in tars.memory().history().waiting_on(&branch) {
            let change = record.spec.change.as_ref().unwrap();
            let objects = world.objects();
            let text = |commit: &ObjectId| {
                let entry = objects.entry(commit.as_str(), change.fields[0].file.as_str()).unwrap().unwrap();
                String::from_utf8(objects.blob(&entry.oid, 100_000).unwrap()).unwrap()
            };
            let fives = |commit| text(commit).matches("replicas: 5").count();
            assert_eq!((fives(&change.base), fives(&change.head)), (0, 1), "{}", record.id());
        }
    }
    is_clean(&world);
}

/// A person brings all of it in with `how`: every action is merged by a person, in one push.
async fn all_merged(how: impl FnOnce(&World, &[ObjectId])) {
    let (world, mut tars, line) = three().await;
    world.commit(&[("NOTES.md", Some("unrelated\n"))]);
    let heads: Vec<_> = line.iter().map(head_of).collect();
    how(&world, &heads);
    let report = world.run(&mut tars, 1).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(world.states()[3..], [S::Merged; 3], "{:?}", world.story());
    assert_eq!(report.pushes.len(), 1);
    let by: Vec<_> =
        tars.memory().history().open.values().map(|it| it.status.merge.as_ref().unwrap().by).collect();
    assert_eq!(by, [MergedBy::Person; 3]);
    assert!(branches(&world).is_empty(), "{:?}", branches(&world));
    for name in NAMES {
        assert!(world.file(&app(name)).contains("replicas: 5 # three"));
    }
    is_clean(&world);
}

#[tokio::test]
async fn a_fast_forward_to_the_last_commit_merges_all() {
    let (world, mut tars, line) = three().await;
    world.force(MAIN, Some(&head_of(&line[2])));
    world.run(&mut tars, 1).await;
    assert_eq!(world.states()[3..], [S::Merged; 3]);
    for record in tars.memory().history().open.values() {
        assert_eq!(record.status.merge.as_ref().unwrap().commit, head_of(record), "each by its own commit");
    }
    assert!(branches(&world).is_empty());
    is_clean(&world);
}

#[tokio::test]
async fn a_merge_commit_merges_all() {
    all_merged(|world, heads| world.merge(&heads[2], false)).await;
}

#[tokio::test]
async fn a_squash_merges_all() {
    all_merged(|world, heads| world.merge(&heads[2], true)).await;
}

#[tokio::test]
async fn a_rebase_merges_all() {
    all_merged(|world, heads| world.cherry_pick(heads)).await;
}

#[tokio::test]
async fn a_squash_while_no_process_ran_is_found_without_the_branch() {
    let (world, tars, line) = three().await;
    drop(tars);
    world.merge(&head_of(&line[2]), true);
    world.force(&full(&the_branch(&world)), None);
    let mut tars = batching(&world, "b");
    world.run(&mut tars, 1).await;
    assert_eq!(world.states()[3..], [S::Merged; 3], "{:?}", world.story());
    is_clean(&world);
}

#[tokio::test]
async fn merging_the_first_commit_is_yes_to_that_one_only() {
    for squash in [false, true] {
        let (world, mut tars, line) = three().await;
        let (branch, tip) = (the_branch(&world), head_of(&line[2]));
        world.merge(&head_of(&line[0]), squash);
        world.run(&mut tars, 1).await;
        assert_eq!(world.states()[3..], [S::Merged], "{:?}", world.story());
        assert_eq!(world.head(&full(&branch)), Some(tip), "the others wait as before");
        assert_eq!(self::line(&world, &tars).len(), 2);
        is_clean(&world);
        world.merge(&head_of(&line[2]), squash);
        world.run(&mut tars, 1).await;
        let merged = world.states().iter().filter(|it| **it == S::Merged).count();
        assert_eq!(merged, 3, "{:?}", world.story());
        assert!(branches(&world).is_empty());
        is_clean(&world);
    }
}

#[tokio::test]
async fn picking_a_commit_from_the_middle_makes_the_others_anew_without_it() {
    let (world, mut tars, line) = three().await;
    world.cherry_pick(&[head_of(&line[1])]);
    let report = world.run(&mut tars, 1).await;
    assert_eq!(world.states()[3..], [S::Merged, S::Proposed, S::Proposed], "{:?}", world.story());
    assert_eq!(report.pushes.len(), 1);
    let branch = the_branch(&world);
    assert_eq!(self::line(&world, &tars).len(), 2);
    stands(&world, &tars, &branch);
}

#[tokio::test]
async fn a_deleted_branch_is_no_to_all() {
    let (world, mut tars, _) = three().await;
    world.force(&full(&the_branch(&world)), None);
    world.run(&mut tars, 20).await;
    assert_eq!(world.states()[3..], [S::Closed; 3], "and nobody asks again: {:?}", world.story());
    is_clean(&world);
}

#[tokio::test]
async fn a_commit_of_somebody_else_keeps_tars_away_from_the_branch() {
    let (world, mut tars, line) = three().await;
    let branch = full(&the_branch(&world));
    let theirs = world.commit_on(&branch, &[("NOTES.md", Some("wait\n"))]);
    world.metrics.quench(&query(&name_of(&line[0])));
    world.run(&mut tars, 20).await;
    assert_eq!(world.head(&branch), Some(theirs));
    for record in tars.memory().history().open.values() {
        let codes: Vec<_> = record.status.holds.iter().map(|it| it.code).collect();
        assert_eq!((record.state(), codes), (S::Proposed, vec![ReasonCode::HumanCommits]));
    }
    assert_eq!(tars.memory().history().open.len(), 3);
    is_clean(&world);
}

#[tokio::test]
async fn two_replicas_that_extend_at_once_both_find_their_place() {
    let world = world();
    NAMES[1..].iter().for_each(|name| world.metrics.quench(&query(name)));
    let (mut a, mut b) = (batching(&world, "a"), batching(&world, "b"));
    world.run(&mut a, 2).await;
    world.run(&mut b, 1).await;
    NAMES.iter().for_each(|name| world.metrics.fire(&query(name)));
    let ((_, one), (_, other)) = tokio::join!(a.tick(), b.tick());
    assert!(one.errors.is_empty() && other.errors.is_empty(), "{:?} {:?}", one.errors, other.errors);
    assert!(one.races_lost + other.races_lost > 0, "both extended the same branch");
    assert_eq!(world.states(), [S::Proposed; 3]);
    world.run(&mut a, 1).await;
    let branch = the_branch(&world);
    assert_eq!(a.memory().history().waiting_on(&branch).len(), 3);
    stands(&world, &a, &branch);
}

#[tokio::test]
async fn one_action_is_reverted_alone_and_tars_notices() {
    let (world, mut tars, line) = three().await;
    world.force(MAIN, Some(&head_of(&line[2])));
    NAMES.iter().for_each(|name| world.metrics.quench(&query(name)));
    world.until(&mut tars, 60, |history| history.effects.len() == 3).await;
    let (reverted, name) = (line[1].id().clone(), name_of(&line[1]));
    world.revert(&head_of(&line[1]));
    assert!(world.file(&app(&name)).contains("replicas: 3 # three"));
    assert!(world.file(&app(&name_of(&line[0]))).contains("replicas: 5 # three"));
    world.until(&mut tars, 120, |history| !history.effects.contains_key(&reverted)).await;
    let last = world.entries().into_iter().filter_map(|it| it.record).rfind(|it| *it.id() == reverted);
    assert_eq!(last.unwrap().state(), S::Expired);
    world.run(&mut tars, 2).await;
    let undoing = line_of_undos(&world, &tars);
    assert_eq!(
        undoing.len(),
        2,
        "the undo of the others waits, on one branch: {:?}",
        states(tars.memory().history())
    );
    is_clean(&world);
}

fn line_of_undos(world: &World, tars: &Reconciler) -> Vec<RemediationAction> {
    line(world, tars).into_iter().filter(|it| it.undoes().is_some()).collect()
}
