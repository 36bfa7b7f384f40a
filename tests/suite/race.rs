//! The race: real `tars run` processes on one real bare repository over real git, hundreds of overlapping alerts,
//! random SIGKILL; and sixteen that nobody kills, who must all finish. What happened is counted by
//! `tests/checker/ledger_check.py`, which knows git and nothing of tars. `TARS_RACE` names other rounds (each
//! `<processes>x<alerts for each>x<kills>`, separated by commas), `TARS_RACE_SEED` repeats one.

mod doctored;
mod process;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::process::Process;
use self::world::{COOLDOWN_S, Dice, GLOBAL, Incident, PER_POLICY, World, clean, draw};
use super::support;
use super::support::parts;

/// Two rounds of murder, and one of many writers.
const ROUNDS: &str = "8x50x12,8x50x12,16x10x0";
/// All alerts must be delivered after this long.
const DELIVERY_MAX: Duration = Duration::from_secs(120);
/// After the last alert, everything must have come to rest after this long.
const SETTLE_MAX: Duration = Duration::from_secs(240);
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct Size {
    processes: usize,
    each: usize,
    kills: usize,
}

fn rounds() -> Vec<Size> {
    let text = std::env::var("TARS_RACE").unwrap_or_else(|_| ROUNDS.to_owned());
    let round = |round: &str| {
        let numbers: Vec<usize> = round.split('x').map(|it| it.parse().expect(ROUNDS)).collect();
        let [processes, each, kills] = numbers[..] else { panic!("TARS_RACE={ROUNDS}, not {text}") };
        Size { processes, each, kills }
    };
    text.split(',').map(round).collect()
}

fn seed() -> u64 {
    let given = std::env::var("TARS_RACE_SEED").ok().map(|it| it.parse().expect("TARS_RACE_SEED=<number>"));
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs() % 1_000_000
    })
}

/// One alert that a process said it has taken.
#[derive(Debug)]
struct Accepted {
    process: usize,
    incident: Incident,
}

#[test]
fn racing_processes_lose_no_incident_and_open_none_twice_and_keep_every_budget() {
    let test = "racing_processes_lose_no_incident_and_open_none_twice_and_keep_every_budget";
    let Some(python) = parts::find("python3", test) else { return };
    let seed = seed();
    for (round, size) in rounds().into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        race(&python, folder.path(), size, seed + round as u64);
    }
}

fn race(python: &Path, folder: &Path, size: Size, seed: u64) {
    let world = World::make(folder);
    let mut dice = Dice::new(seed);
    let hands = draw(&mut dice, size.processes, size.each);
    let processes: Vec<_> =
        (0..size.processes).map(|number| Process::start(&world, &format!("tars-{number}"))).collect();
    let started = Instant::now();
    let accepted = storm(&processes, &hands, size.kills, &mut dice);
    let delivered = started.elapsed();
    let settled = settle(&world, &processes, &accepted);
    let elapsed = started.elapsed();
    let races = processes.iter().map(lost_races).sum::<u64>();
    for process in &processes {
        process.kill();
    }
    let mut report =
        format!("{size:?}, seed {seed}: delivered after {delivered:.1?}, at rest after {elapsed:.1?}, ");
    let entries = entries(&world).len();
    let _ = writeln!(
        report,
        "{entries} entries, {:.1}/s, {races} lost races",
        entries as f64 / elapsed.as_secs_f64()
    );
    let (clean, text) = check(python, &world, &processes, &accepted);
    report.push_str(&text);
    let sound = audit(&world, &mut report);
    if settled.is_ok() && clean && sound {
        let _ = writeln!(std::io::stderr(), "{report}");
        return;
    }
    let logs =
        processes.iter().map(|it| format!("--- {}\n{}\n", it.name, it.log_tail(15))).collect::<String>();
    panic!("TARS_RACE_SEED={seed} repeats this round\n{report}\n{settled:?}\n{logs}");
}

/// Posts every hand to its process while random ones are killed and started again.
fn storm(processes: &[Process], hands: &[Vec<Incident>], kills: usize, dice: &mut Dice) -> Vec<Accepted> {
    let until = Instant::now() + DELIVERY_MAX;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let starts_at = rfc3339(since);
    std::thread::scope(|scope| {
        let posts: Vec<_> = hands
            .iter()
            .enumerate()
            .map(|(number, hand)| {
                let (starts_at, mut dice) = (&starts_at, Dice::new(dice.below(1 << 30) as u64));
                scope.spawn(move || {
                    let mut left = &hand[..];
                    while !left.is_empty() {
                        let (now, later) = left.split_at(left.len().min(1 + dice.below(4)));
                        assert!(processes[number].deliver(now, starts_at, until), "an alert was never taken");
                        left = later;
                        std::thread::sleep(Duration::from_millis(dice.below(700) as u64));
                    }
                    hand.iter()
                        .map(|incident| Accepted { process: number, incident: *incident })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(300 + dice.below(2_000) as u64));
            let unlucky = &processes[dice.below(processes.len())];
            unlucky.kill();
            std::thread::sleep(Duration::from_millis(dice.below(500) as u64));
            unlucky.restart();
        }
        posts.into_iter().flat_map(|it| it.join().unwrap()).collect()
    })
}

/// Every entry: action and kind.
fn entries(world: &World) -> Vec<(String, String, String)> {
    let shown = "%(trailers:key=Tars-Id,valueonly,separator=%x2C)%x01%(trailers:key=Tars-Kind,valueonly,separator=%x2C)\
                 %x01%(trailers:key=Tars-Target,valueonly,separator=%x2C)";
    let out = clean("git", &world.folder)
        .current_dir(&world.repository)
        .args(["log", "--reverse", &format!("--format={shown}"), "refs/heads/tars/ledger", "--"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let row = |line: &str| {
        let mut parts = line.split('\u{1}').map(str::to_owned);
        Some((parts.next()?, parts.next()?, parts.next()?))
    };
    text.lines().filter_map(row).collect()
}

/// Waits until every target has its action, the budget is used up, and nothing is under way.
fn settle(world: &World, processes: &[Process], accepted: &[Accepted]) -> Result<(), String> {
    let until = Instant::now() + SETTLE_MAX;
    let targets: BTreeSet<_> = accepted.iter().map(|it| it.incident.target_ref()).collect();
    let mut each: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for it in accepted {
        each.entry(it.incident.policy).or_default().insert(it.incident.target);
    }
    let slots = each.values().map(|it| it.len().min(PER_POLICY)).sum::<usize>().min(GLOBAL);
    loop {
        let rows = entries(world);
        let opened: BTreeSet<_> = rows.iter().map(|(_, _, target)| target.clone()).collect();
        let reserved = rows.iter().filter(|(_, kind, _)| kind == "MergeReserved").count();
        let states: BTreeMap<_, _> = rows.iter().map(|(id, kind, _)| (id, kind.as_str())).collect();
        let moving = states.values().filter(|it| matches!(**it, "MergeReserved" | "Merged")).count();
        let missing = targets.iter().filter(|it| !opened.contains(*it)).count();
        if missing == 0 && reserved >= slots && moving == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!(
                "{missing} targets without an action, {reserved} of {slots} slots, {moving} moving"
            ));
        }
        processes.iter().for_each(Process::revive);
        std::thread::sleep(LOOK_EVERY);
    }
}

fn lost_races(process: &Process) -> u64 {
    let text = process.ask("GET", "/metrics", "").map(|(_, text)| text).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("tars_races_lost_total "));
    line.and_then(|it| it.trim().parse().ok()).unwrap_or(0)
}

fn check(python: &Path, world: &World, processes: &[Process], accepted: &[Accepted]) -> (bool, String) {
    let list = world.folder.join("accepted.jsonl");
    let line = |it: &Accepted| {
        let process = &processes[it.process];
        let row = serde_json::json!({
            "process": process.name, "inbox": process.inbox(), "fingerprint": it.incident.fingerprint(),
            "policy": it.incident.policy_name(), "target": it.incident.target_ref(), "cause": it.incident.cause(),
        });
        format!("{row}\n")
    };
    std::fs::write(&list, accepted.iter().map(line).collect::<String>()).unwrap();
    let out = clean(python, &world.folder)
        .arg(support::root().join("tests/checker/ledger_check.py"))
        .arg("--repo")
        .arg(&world.repository)
        .arg("--allowed-signers")
        .arg(&world.allowed_signers)
        .args(["--per-policy", &PER_POLICY.to_string(), "--global-limit", &GLOBAL.to_string()])
        .args(["--cooldown", &COOLDOWN_S.to_string(), "--accepted"])
        .arg(&list)
        .output()
        .unwrap();
    let text = [String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)].concat();
    (out.status.success(), text)
}

/// The same ledger read by tars' own audit, from the repository alone.
fn audit(world: &World, report: &mut String) -> bool {
    let out = clean(support::tars(), &world.folder)
        .args(["audit", "verify", "--repository"])
        .arg(&world.repository)
        .arg("--allowed-signers")
        .arg(&world.allowed_signers)
        .output()
        .unwrap();
    let _ = writeln!(
        report,
        "tars audit verify: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    out.status.success()
}

fn rfc3339(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap().to_string()
}
