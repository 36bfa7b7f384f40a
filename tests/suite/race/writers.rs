//! Many writers, nobody killed: does everybody get through? Sixteen `tars run` push to one bare repository, each
//! with ten incidents that nobody else knows of; a writer is done when all of its own are in the ledger.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::process::Process;
use super::world::{Incident, TARGETS, World};
use super::{Accepted, LOOK_EVERY, audit, check, entries, lost_races, parts, rfc3339, settle};

const WRITERS: usize = 16;
const EACH: usize = 10;
/// After the alerts were delivered, everybody must be through: two cores, a debug build.
const FINISH_MAX: Duration = Duration::from_secs(180);

#[test]
fn sixteen_writers_on_one_repository_all_finish_and_lose_nothing() {
    let test = "sixteen_writers_on_one_repository_all_finish_and_lose_nothing";
    let Some(python) = parts::find("python3", test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let world = World::make(folder.path());
    let processes: Vec<_> = (0..WRITERS).map(|it| Process::start(&world, &format!("tars-{it}"))).collect();
    let incident = |process: usize, nth: usize| {
        let number = process * EACH + nth;
        Incident { policy: number / TARGETS, target: number % TARGETS, second: false }
    };
    let own =
        |process: usize| (0..EACH).map(move |nth| Accepted { process, incident: incident(process, nth) });
    let accepted: Vec<Accepted> = (0..WRITERS).flat_map(own).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let starts_at = rfc3339(now);
    std::thread::scope(|scope| {
        for (number, process) in processes.iter().enumerate() {
            let hand: Vec<Incident> = (0..EACH).map(|nth| incident(number, nth)).collect();
            let starts_at = &starts_at;
            scope.spawn(move || {
                let until = Instant::now() + FINISH_MAX;
                assert!(process.deliver(&hand, starts_at, until), "an alert was never taken");
            });
        }
    });
    let mut finished = finish(&world, &processes, &accepted);
    let settled = settle(&world, &processes, &accepted);
    let races = processes.iter().map(lost_races).sum::<u64>();
    processes.iter().for_each(Process::kill);
    finished.sort_unstable();
    let mut report = format!(
        "{} of {WRITERS} writers done, the first after {:.1?}, the last after {:.1?}; {races} lost races, {} entries\n",
        finished.len(),
        finished.first().unwrap_or(&Duration::ZERO),
        finished.last().unwrap_or(&Duration::ZERO),
        entries(&world).len(),
    );
    let (clean, text) = check(&python, &world, &processes, &accepted);
    report.push_str(&text);
    let sound = audit(&world, &mut report);
    if finished.len() == WRITERS && settled.is_ok() && clean && sound {
        let _ = writeln!(std::io::stderr(), "{report}");
        return;
    }
    let logs =
        processes.iter().map(|it| format!("--- {}\n{}\n", it.name, it.log_tail(15))).collect::<String>();
    panic!("{report}\n{settled:?}\n{logs}");
}

/// How long each writer took until all of its incidents were in the ledger; those that did not are missing.
fn finish(world: &World, processes: &[Process], accepted: &[Accepted]) -> Vec<Duration> {
    let started = Instant::now();
    let mut done = vec![None; WRITERS];
    while started.elapsed() < FINISH_MAX && done.contains(&None) {
        let opened: BTreeSet<String> = entries(world).into_iter().map(|(_, _, target)| target).collect();
        for (process, done) in done.iter_mut().enumerate().filter(|(_, done)| done.is_none()) {
            let mut own = accepted.iter().filter(|it| it.process == process);
            if own.all(|it| opened.contains(&it.incident.target_ref())) {
                *done = Some(started.elapsed());
            }
        }
        processes.iter().for_each(Process::revive);
        std::thread::sleep(LOOK_EVERY);
    }
    done.into_iter().flatten().collect()
}
