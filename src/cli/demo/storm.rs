//! The storm: 10,000 alerts of one cause reach three replicas at once. One proposal, budget held, and the
//! proof read back from git.

use std::path::Path;

use jiff::Timestamp;

use super::source::Simulated;
use super::story::Story;
use super::workload::Workload;
use super::world::{Cluster, World};
use super::{after, known, queries, reconciler};
use crate::cli::args::{Allowed, Demo};
use crate::cli::failure::{Failure, Kind};
use crate::cli::history::Ledger;
use crate::cli::output::Symbol;
use crate::model::action::{ActionState, RemediationAction};
use crate::model::alert::{Alert, AlertStatus};
use crate::model::entry::EntryKind;
use crate::model::ids::WorkloadRef;
use crate::outside::clock::{Clock as _, VirtualClock};
use crate::reconcile::Reconciler;

const ALERTS: usize = 10_000;
const REPLICAS: usize = 3;
/// Pods the alerts claim to come from.
const PODS: usize = 200;
const ROUNDS_MAX: usize = 60;

/// Plays the storm.
///
/// # Errors
/// When more than one proposal was opened, a budget was exceeded, or the end was not reached.
pub async fn play(
    args: &Demo,
    clock: &VirtualClock,
    world: &World,
    mut story: Story<'_>,
) -> Result<(), Failure> {
    story.title("storm: 10,000 alerts of one cause, three competing replicas; real git")?;
    let start = clock.now();
    let surge = Some((after(start, -20), after(start, 120)));
    let model = Workload { seed: args.seed, surge, running: Vec::new() };
    let source = Simulated::new(clock.clone(), model, queries());
    let mut cluster = Cluster::new(known(WorkloadRef::parse("production/Deployment/backend"))?)?;
    cluster.sync(world, &source, true)?;
    let mut replicas = (0..REPLICAS)
        .map(|index| reconciler(world, &source, clock, &format!("replica-{index}")))
        .collect::<Result<Vec<_>, _>>()?;
    let alerts = alerts(start);
    for replica in &replicas {
        known(replica.spool().accept(&alerts, start))?;
    }
    story.line(
        start,
        Symbol::Done,
        &format!("10,000 alerts of one cause reach each of {REPLICAS} replicas"),
    )?;
    let mut races_lost = 0;
    for _ in 0..ROUNDS_MAX {
        if story.records().values().any(|it| it.state() == ActionState::Verified) {
            break;
        }
        cluster.sync(world, &source, false)?;
        races_lost += round(&mut replicas, &mut story).await?;
        clock.advance(super::TICK);
    }
    prove(&story, world, races_lost, clock.now())?;
    story.end(&world.repository)
}

/// All replicas at once, each with its own clone and its own idea of who is first.
async fn round(replicas: &mut [Reconciler], story: &mut Story<'_>) -> Result<u32, Failure> {
    let turns = replicas.iter_mut().map(Reconciler::tick);
    let outcomes = futures_util::future::join_all(turns).await;
    let mut races_lost = 0;
    for ((evidence, report), replica) in outcomes.into_iter().zip(replicas.iter()) {
        races_lost += report.races_lost;
        story.tell(&evidence, report, replica.memory().history())?;
    }
    Ok(races_lost)
}

/// What a noisy rule sends: one cause, many pods.
fn alerts(start: Timestamp) -> Vec<Alert> {
    let alert = |index: usize| Alert {
        status: AlertStatus::Firing,
        labels: [
            ("alertname", "BackendSlow".to_owned()),
            ("namespace", "production".to_owned()),
            ("deployment", "backend".to_owned()),
            ("pod", format!("backend-{}", index % PODS)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect(),
        starts_at: start,
        ends_at: None,
        fingerprint: format!("{:016x}", index % PODS),
        owner: None,
    };
    (0..ALERTS).map(alert).collect()
}

/// Counts again from git alone.
fn prove(story: &Story<'_>, world: &World, races_lost: u32, now: Timestamp) -> Result<(), Failure> {
    let allowed = Allowed { allowed_signers: Some(world.allowed_signers.clone()), allowed_keys: None };
    let ledger = Ledger::read(Path::new(&world.repository), "main", &allowed)?;
    let count = |state: ActionState| {
        ledger.entries.iter().filter(|it| it.envelope.kind == EntryKind::Transition(state)).count()
    };
    let opened = ledger.actions.values().filter(|it| is_remedy(it)).count();
    let (reserved, merged) = (count(ActionState::MergeReserved), count(ActionState::Merged));
    let text = format!(
        "proof from git: {opened} proposal, {reserved} reservation, {merged} merge; {races_lost} lost races, each decided again"
    );
    story.line(now, Symbol::Done, &text)?;
    if (opened, reserved, merged) == (1, 1, 1) {
        Ok(())
    } else {
        Err(Failure::new(Kind::No, "the storm was not held to one proposal"))
    }
}

fn is_remedy(record: &RemediationAction) -> bool {
    record.spec.change.is_some()
}
