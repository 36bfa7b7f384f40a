//! Who goes first when several replicas could take the same step, and how long the one that lost stays away. The
//! age of an action and who wrote of it last come in, "leave it to them" or the one proposal whose turn it is
//! goes out. Only courtesy: which push lands is the ledger's to say, and nobody waits for a replica that is silent.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::action::RemediationAction;
use crate::model::decision::Incident;
use crate::model::history::History;
use crate::model::ids::{BranchName, InstanceId, digest_hex};
use crate::outside::git::Mirror;
use crate::outside::{clock, random};

/// Whoever wrote the newest entry of an action goes on with it; others leave it alone for this long.
pub const COURTESY_S: i64 = 5;

/// Least mean wait before the ledger is looked at after a lost race.
const RACE_WAIT: Duration = Duration::from_millis(50);
/// Most mean wait.
const RACE_WAIT_MAX: Duration = Duration::from_secs(2);
/// Most doublings of a wait.
const RACE_DOUBLINGS_MAX: u32 = 2;
/// Most looks at a ledger that keeps moving before another attempt.
const LOOKS_MAX: u32 = 8;

/// Is the next step of an action left to the replica that wrote of it last?
#[must_use]
pub fn is_left(is_anothers: bool, quiet_s: i64) -> bool {
    is_anothers && quiet_s < COURTESY_S
}

/// A proposal that only the head of the watched branch keeps from its merge.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    pub record: &'a RemediationAction,
    /// Another replica wrote of it last.
    pub is_anothers: bool,
    /// Since its newest entry, and since tars last moved the watched branch.
    pub quiet_s: i64,
}

/// The one of `waiting` that is computed again on today's head: merges go one after the other and each moves the
/// base of all others, so whatever else were computed now would be computed in vain. The oldest, and one that
/// another replica is at only once that one is silent.
#[must_use]
pub fn first_in_turn<'a>(waiting: &[Waiting<'a>]) -> Option<&'a RemediationAction> {
    let mine = waiting.iter().filter(|it| !is_left(it.is_anothers, it.quiet_s));
    mine.map(|it| it.record).min_by_key(|it| (opened_at(it), it.id()))
}

fn opened_at(record: &RemediationAction) -> Timestamp {
    record.status.timeline.first().map_or(record.spec.cause.since, |event| event.at)
}

/// When a slot of the budgets was last taken or resolved, which is when tars last moved the watched branch.
#[must_use]
pub fn last_moved(history: &History) -> Option<Timestamp> {
    history.executions.iter().map(|it| it.at).max()
}

/// How long to wait, on average, between two looks after a lost race: as long as the attempt took, so that the
/// winner's next step would be seen, and longer with each race lost in a row.
pub fn race_wait(attempt: Duration, lost_in_a_row: u32) -> Duration {
    let doubled = attempt.max(RACE_WAIT).saturating_mul(1 << lost_in_a_row.min(RACE_DOUBLINGS_MAX));
    doubled.min(RACE_WAIT_MAX)
}

/// Stays away after a lost race until the ledger stands still. Whoever wins goes on until it has nothing to write:
/// an attempt meanwhile would be lost as well and slow the winner down, while a look costs a tenth of one.
pub async fn give_way(mirror: Option<&Mirror>, ledger: &BranchName, wait: Duration) {
    let name = format!("refs/heads/{ledger}");
    let mut stood = None;
    for _ in 0..LOOKS_MAX {
        clock::wait(random::jitter(wait, 0.5)).await;
        // What cannot be asked now is told by the attempt.
        let Some(stands) = head_of(mirror, &name).await.filter(|it| stood.as_ref() != Some(it)) else {
            return;
        };
        stood = Some(stands);
    }
}

async fn head_of(mirror: Option<&Mirror>, name: &str) -> Option<String> {
    mirror?.head_of(name).await.ok().flatten()
}

/// Incidents in an order of this instance's own, so that replicas who know the same ones begin at different
/// ends. Those of one target stay in their order: which of them is answered must not depend on who answers.
pub fn spread(incidents: &mut [Incident], instance: &InstanceId) {
    incidents.sort_by_cached_key(|it| digest_hex(&["turn", instance.as_str(), &it.target.to_string()]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::fixtures::{at, proposed, target};

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Stage {
        Waits,
        Reserved,
        Merged,
    }

    struct Proposal {
        record: RemediationAction,
        writer: usize,
        stage: Stage,
        /// Number of moves of the watched branch it was computed on.
        base: usize,
        last_s: i64,
        rebuilt: usize,
    }

    /// Replicas whose every step is one push that lands, in whatever order they get to it.
    struct World {
        now_s: i64,
        moves: usize,
        moved_s: i64,
        proposals: Vec<Proposal>,
    }

    impl World {
        fn new(writers: &[usize]) -> Self {
            let proposal = |(index, writer): (usize, &usize)| Proposal {
                record: proposed("p", &target(&format!("shop/Deployment/app-{index}")), 0, at(index as i64)),
                writer: *writer,
                stage: Stage::Waits,
                base: 0,
                last_s: 0,
                rebuilt: 0,
            };
            let proposals = writers.iter().enumerate().map(proposal).collect();
            // A person has moved the watched branch since.
            Self { now_s: 1, moves: 1, moved_s: 0, proposals }
        }

        fn merged(&self) -> usize {
            self.proposals.iter().filter(|it| it.stage == Stage::Merged).count()
        }

        /// The step that `replica` takes now, by the rules of `follow`.
        fn step(&mut self, replica: usize) {
            let under_way = self.proposals.iter().any(|it| it.stage == Stage::Reserved);
            let (mut waiting, mut soon) = (Vec::new(), false);
            for (index, it) in self.proposals.iter().enumerate() {
                let is_anothers = it.writer != replica;
                let left = is_left(is_anothers, self.now_s - it.last_s);
                match it.stage {
                    Stage::Reserved if !left => return self.enter(index, replica, Stage::Merged),
                    Stage::Waits if under_way => {}
                    Stage::Waits if it.base == self.moves && left => soon = true,
                    Stage::Waits if it.base == self.moves => {
                        return self.enter(index, replica, Stage::Reserved);
                    }
                    Stage::Waits => {
                        let quiet_s = self.now_s - it.last_s.max(self.moved_s);
                        waiting.push(Waiting { record: &it.record, is_anothers, quiet_s });
                    }
                    Stage::Reserved | Stage::Merged => {}
                }
            }
            let first = first_in_turn(&waiting).filter(|_| !soon).map(|it| it.id().clone());
            let Some(id) = first else { return };
            let index = self.proposals.iter().position(|it| *it.record.id() == id).unwrap();
            self.proposals[index].rebuilt += 1;
            self.enter(index, replica, Stage::Waits);
        }

        fn enter(&mut self, index: usize, replica: usize, stage: Stage) {
            let it = &mut self.proposals[index];
            (it.writer, it.stage, it.base, it.last_s) = (replica, stage, self.moves, self.now_s);
            if stage == Stage::Merged {
                (self.moves, self.moved_s) = (self.moves + 1, self.now_s);
            }
        }
    }

    proptest! {
        #[test]
        fn no_proposal_starves_and_none_is_rebuilt_in_vain_although_some_replicas_are_dead(
            writers in prop::collection::vec(0_usize..5, 1..12),
            alive in prop::collection::vec(any::<bool>(), 5),
            order in prop::collection::vec((0_usize..5, 1_usize..4), 400),
        ) {
            prop_assume!(alive.contains(&true));
            let mut world = World::new(&writers);
            let mut order = order.iter().cycle();
            // The silence before each takeover, and one second for each of its three steps.
            for _ in 0..writers.len() as i64 * (COURTESY_S + 3) {
                let (first, steps) = order.next().unwrap();
                for replica in (0..5).map(|it| (it + first) % 5).filter(|it| alive[*it]) {
                    (0..*steps).for_each(|_| world.step(replica));
                }
                world.now_s += 1;
            }
            prop_assert_eq!(world.merged(), writers.len());
            prop_assert!(world.proposals.iter().all(|it| it.rebuilt == 1), "each exactly once");
        }
    }

    #[test]
    fn the_oldest_goes_first_and_those_of_a_busy_replica_are_left_alone() {
        let record =
            |name: &str, when| proposed("p", &target(&format!("shop/Deployment/{name}")), 0, at(when));
        let (old, middle, new) = (record("old", 0), record("middle", 1), record("new", 2));
        let waiting = |record, is_anothers, quiet_s| Waiting { record, is_anothers, quiet_s };
        let first = |old_quiet_s| {
            let all = [waiting(&new, false, 0), waiting(&old, true, old_quiet_s), waiting(&middle, false, 0)];
            first_in_turn(&all).map(|it| it.id().clone())
        };
        assert_eq!(first(COURTESY_S - 1).as_ref(), Some(middle.id()));
        assert_eq!(first(COURTESY_S).as_ref(), Some(old.id()));
        assert_eq!(first_in_turn(&[waiting(&old, true, 0)]), None);
    }
}
