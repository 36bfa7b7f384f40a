//! What attackers, people in a hurry and a forge that is away do to pull requests, on the whole order: real git, virtual
//! time, a forge in memory. `tests/README.md` says which threat is tried where.
#![allow(clippy::disallowed_methods, reason = "a test that reads how much memory this process has")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Reconciler;
use super::desk::scripted::Scripted;
use super::desk::{Desk, DeskSettings};
use super::desk_tests::{Place, is_open_as};
use super::harness::*;
use crate::model::action::ActionState as S;
use crate::model::alert::{Alert, AlertStatus};
use crate::model::forge::{CheckState, PullState};
use crate::model::ids::{BranchName, InstanceId};
use crate::observe::sync_probe::SyncProbe;
use crate::outside::clock::Clock as _;

/// Two hours of ticks.
const TWO_HOURS: usize = 240;
/// Most requests in a tick that starts with a forge that does not answer.
const REQUESTS_MAX: usize = 12;
/// Alerts of each of the five incidents.
const ALERTS: usize = 2_000;

#[tokio::test]
async fn a_pull_request_that_is_turned_to_another_branch_in_the_last_moment_holds_nobody_up() {
    let place = Arc::new(Place::new("AutoMerge"));
    place.world.commit_on("refs/heads/release", &[("notes.txt", Some("a\n"))]);
    place.world.force("refs/heads/release", Some(&place.world.main()));
    let there = Arc::clone(&place);
    place.forge.before_next_merge(move || there.forge.edit(1, |pull| pull.base = "release".to_owned()));
    let mut tars = place.tars("a");
    let main = place.world.main();
    place.world.run(&mut tars, 4).await;
    assert_eq!(place.world.main(), main);
    let states = place.world.states();
    assert!(!states.contains(&S::Merged) && states.last() == Some(&S::Closed), "{states:?}");
    let report = place.world.audit();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[tokio::test]
async fn only_the_success_of_a_required_check_lets_a_merge_through() {
    for (state, merges) in [
        (CheckState::Other, false),
        (CheckState::Pending, false),
        (CheckState::Failure, false),
        (CheckState::Success, true),
    ] {
        let place = Place::new("AutoMerge");
        place.forge.protect(0, &["build"]);
        let mut tars = place.tars("a");
        place.world.run(&mut tars, 2).await;
        place.forge.post_check(&place.head(), "build", state, "ci");
        place.world.run(&mut tars, 3).await;
        assert_eq!(place.world.states().contains(&S::Merged), merges, "{state:?}");
    }
}

#[tokio::test]
async fn a_pull_request_from_a_fork_is_not_ours_whatever_its_branch_and_author_say() {
    let place = Place::new("AutoMerge");
    place.world.commit(&[("policies/SUSPENDED", Some("wait"))]);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    let evil = place.world.commit_on("refs/heads/evil", &[(APP, Some("evil: true\n"))]);
    // In the fork, not here.
    place.world.force("refs/heads/evil", None);
    let forged = place.forge.open_from_fork(&place.forge.only_pull(), evil);
    place.forge.forget_writes();
    place.world.commit(&[("policies/SUSPENDED", None)]);
    place.world.until(&mut tars, 6, is_open_as(S::Merged)).await;
    let touched: Vec<_> =
        place.forge.writes().into_iter().filter(|it| it.ends_with(&format!("#{forged}"))).collect();
    assert_eq!(touched, Vec::<String>::new());
    assert!(!place.world.file(APP).contains("evil"));
}

#[tokio::test]
async fn a_branch_and_pull_request_that_come_back_after_a_no_are_dead() {
    let place = Place::new("AutoMerge");
    place.world.commit(&[("policies/SUSPENDED", Some("wait"))]);
    let mut tars = place.tars("a");
    place.world.run(&mut tars, 2).await;
    let (branch, head) = (format!("refs/heads/{}", place.forge.only_pull().branch), place.head());
    place.world.force(&branch, None);
    place.world.run(&mut tars, 2).await;
    place.world.force(&branch, Some(&head));
    place.forge.edit(1, |pull| pull.state = PullState::Open);
    place.world.commit(&[("policies/SUSPENDED", None)]);
    place.world.run(&mut tars, 6).await;
    assert!(!place.world.states().contains(&S::MergeReserved), "{:?}", place.world.states());
    assert!(place.world.file(APP).contains("replicas: 3"));
}

/// Five incidents of two thousand alerts each: the first two may merge by themselves, and a person has to merge the others.
struct Away {
    world: World,
    forge: Scripted,
    tars: Option<Reconciler>,
}

/// Every pod of one workload says the same.
fn storm(number: usize, status: AlertStatus, at: Timestamp) -> Vec<Alert> {
    let one = |pod: usize| {
        let mut it = alert(&format!("Slow{number}"), status, at);
        it.fingerprint = format!("{number:x}{pod:08x}");
        it.labels.insert("deployment".into(), format!("t{number}"));
        it.labels.insert("pod".into(), format!("t{number}-{pod}"));
        it
    };
    (0..ALERTS).map(one).collect()
}

impl Away {
    fn new() -> Self {
        let mut files = Vec::new();
        for number in 0..5 {
            let name = format!("t{number}");
            let mode = if number < 2 { "AutoMerge" } else { "Propose" };
            files.push((format!("apps/{name}.yaml"), deployment(&name)));
            let policy = scale_policy(&name, &name, "x", mode)
                .replace("type: promql, query: x", &format!("type: webhook, alertname: Slow{number}"));
            files.push((format!("policies/{name}.yaml"), policy));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
        let world = World::with(&files);
        let forge = Scripted::new(world.hub.clone());
        let mut away = Self { world, forge, tars: None };
        away.restart();
        away
    }

    /// Ends the process and starts it again: what it knew is on disk and in git.
    fn restart(&mut self) {
        self.tars = None;
        let forge = Arc::new(self.forge.clone());
        self.tars = Some(self.world.reconciler_with("a", |parts| {
            let (main, me) = (BranchName::new("main").unwrap(), InstanceId::new("a").unwrap());
            parts.desk = Some(Desk::new(forge, main, me, DeskSettings::default()));
            // What is merged stays merged, whatever comes of it.
            parts.probe = SyncProbe::FixedWait { wait_s: u32::MAX };
            parts.rules.sync_timeout_s = u32::MAX;
        }));
    }

    fn take(&self, alerts: &[Alert]) {
        let taken = self.tars.as_ref().unwrap().spool().accept(alerts, self.world.clock.now()).unwrap();
        assert_eq!(taken.firing + taken.resolved, ALERTS as u64);
    }

    /// A tick; the requests that it made.
    async fn tick(&mut self) -> usize {
        self.forge.requests();
        self.world.tick(self.tars.as_mut().unwrap()).await;
        self.forge.requests()
    }

    /// Two hours without an answer, in which the last incident passes.
    async fn outage(&mut self) {
        self.forge.set_down(true);
        let (mut requests, start) = (0, self.world.clock.now());
        for tick in 0..TWO_HOURS {
            match tick {
                0..5 => self.take(&storm(tick, AlertStatus::Firing, start)),
                100 => {
                    self.take(&storm(4, AlertStatus::Resolved, start));
                    self.world.metrics.level(200.0);
                }
                _ => {}
            }
            let made = self.tick().await;
            assert!(made <= REQUESTS_MAX, "{made} in tick {tick}");
            requests += made;
        }
        assert!(requests <= TWO_HOURS + 5 * REQUESTS_MAX, "{requests} requests");
        self.forge.set_down(false);
    }

    /// Two hours in which the forge says, every twenty minutes, to come back in twenty minutes.
    async fn limits(&mut self) {
        const QUIET_TICKS: usize = 40;
        for tick in 0..TWO_HOURS {
            if tick % QUIET_TICKS == 0 {
                let until: Timestamp =
                    self.world.clock.now().checked_add(SignedDuration::from_mins(20)).unwrap();
                self.forge.limit(Some(until));
            }
            let made = self.tick().await;
            let most = if tick % QUIET_TICKS == 0 { REQUESTS_MAX } else { 0 };
            assert!(made <= most, "{made} in tick {tick}");
        }
        self.forge.limit(None);
    }

    /// Two hours in which it answers in one tick of four, and goes in the middle of that.
    async fn flaps(&mut self) {
        for tick in 0..TWO_HOURS {
            self.forge.set_down(tick % 4 != 0);
            if tick % 4 == 0 {
                self.forge.lasts(tick / 4 % 19);
            }
            self.tick().await;
        }
        self.forge.set_down(false);
    }
}

fn resident_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|it| it.starts_with("VmRSS")).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn six_hours_without_a_forge_end_with_one_pull_request_for_each_incident_that_still_needs_one() {
    let mut away = Away::new();
    let (main, before) = (away.world.main(), resident_kib());
    away.outage().await;
    // The intent whose cause is over ended without the forge; the others wait, and nothing of them is in memory alone.
    let last = |name: &str| away.world.story().into_iter().rfind(|it| it.0 == name).unwrap().1;
    assert_eq!(["t0", "t3", "t4"].map(last), [S::Proposed, S::Proposed, S::Closed]);
    away.restart();
    assert_eq!(away.tars.as_ref().unwrap().spool().load().len(), 5 * ALERTS);
    away.limits().await;
    assert_eq!(away.world.main(), main, "nothing is merged around the forge");
    assert_eq!(away.forge.pulls(), Vec::new());
    away.flaps().await;
    // Slots of the budget that were given back are free again after an hour.
    for _ in 0..TWO_HOURS / 2 + 10 {
        away.tick().await;
    }
    let _ = writeln!(std::io::stderr(), "without a forge: before {before}, after {}", resident_kib());
    let pulls = away.forge.pulls();
    let branches: BTreeSet<_> = pulls.iter().map(|it| it.branch.clone()).collect();
    assert_eq!(branches.len(), pulls.len(), "one from each branch");
    for (name, wanted) in [("t0", 1), ("t1", 1), ("t2", 1), ("t3", 1), ("t4", 0)] {
        let count = pulls.iter().filter(|it| it.branch.contains(&format!(".{name}/"))).count();
        assert_eq!(count, wanted, "{name}: {pulls:#?}");
    }
    let merges = away.forge.writes().iter().filter(|it| it.starts_with("merge")).count();
    let merged = away.world.states().iter().filter(|it| **it == S::Merged).count();
    assert_eq!((merged, merges), (2, 2), "{:?}", away.world.story());
    let report = away.world.audit();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
