//! The promises of the alert spool: durable, coalescing, bounded, replay-proof.

use tempfile::TempDir;

use super::*;
use crate::model::fixtures::{at, labels};

const DAY_S: u32 = 86_400;

fn alert(fingerprint: &str, status: AlertStatus, starts_s: i64) -> Alert {
    Alert {
        status,
        labels: labels([("alertname", "HighLatency"), ("service", "backend")]),
        starts_at: at(starts_s),
        ends_at: (status == AlertStatus::Resolved).then(|| at(starts_s + 60)),
        fingerprint: fingerprint.into(),
        owner: None,
    }
}

fn firing(fingerprint: &str, starts_s: i64) -> Alert {
    alert(fingerprint, AlertStatus::Firing, starts_s)
}

fn resolved(fingerprint: &str, starts_s: i64) -> Alert {
    alert(fingerprint, AlertStatus::Resolved, starts_s)
}

fn all(spool: &Spool) -> Vec<Alert> {
    spool.load().iter().cloned().collect()
}

fn open(dir: &TempDir) -> Spool {
    Spool::open(dir.path(), DAY_S).unwrap()
}

#[test]
fn what_was_accepted_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let sent = [firing("aa", 0), resolved("bb", 0)];
    let accepted = open(&dir).accept(&sent, at(10)).unwrap();
    assert_eq!((accepted.firing, accepted.resolved), (1, 1));
    let spool = open(&dir);
    assert_eq!(all(&spool), sent);
    assert_eq!(spool.firing(at(10)), [firing("aa", 0)]);
}

#[test]
fn a_hundred_thousand_repeats_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let message: Vec<Alert> = (0..10).map(|n| firing(&format!("{n:016x}"), 0)).collect();
    spool.accept(&message, at(0)).unwrap();
    // With the folder gone, any attempt to write is an error.
    files::remove_dir(dir.path()).unwrap();
    let mut repeated = 0;
    for _ in 0..10_000 {
        repeated += spool.accept(&message, at(1)).unwrap().repeated;
    }
    assert_eq!(repeated, 100_000);
    assert!(matches!(spool.accept(&[firing("ff", 0)], at(1)), Err(SpoolError::Store(_))));
    assert_eq!(spool.firing(at(1)).len(), 10, "what could not be stored is not remembered");
}

#[test]
fn resolved_is_final_for_its_start_time_and_a_new_start_fires_again() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    spool.accept(&[firing("aa", 0)], at(0)).unwrap();
    spool.accept(&[resolved("aa", 0)], at(60)).unwrap();
    assert_eq!(spool.accept(&[firing("aa", 0)], at(61)).unwrap().repeated, 1);
    assert!(spool.firing(at(61)).is_empty());
    assert_eq!(spool.accept(&[firing("aa", 120)], at(121)).unwrap().firing, 1);
    assert_eq!(spool.accept(&[resolved("aa", 0)], at(122)).unwrap().repeated, 1, "an older story");
    assert_eq!(spool.firing(at(122)).len(), 1);
}

#[test]
fn a_captured_message_replayed_for_two_days_fires_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let captured = [firing("aa", 0)];
    let mut taken = 0;
    for replay in 0..10_000_i64 {
        let now = at(replay * 48 * 3_600 / 10_000);
        taken += spool.accept(&captured, now).unwrap().firing;
        if replay % 100 == 0 {
            spool.expire(now).unwrap();
        }
    }
    assert_eq!(taken, 1);
    assert_eq!(spool.load().len(), 0);
    assert_eq!(files::names_in(dir.path(), 10).unwrap(), ["lock"]);
}

#[test]
fn an_alert_older_than_the_maximum_age_does_not_fire() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    spool.accept(&[firing("aa", 0)], at(0)).unwrap();
    assert_eq!(spool.firing(at(i64::from(DAY_S))).len(), 1);
    assert!(spool.firing(at(i64::from(DAY_S) + 1)).is_empty());
    assert_eq!(spool.accept(&[firing("bb", 1_000)], at(0)).unwrap().out_of_time, 1, "from the future");
}

#[test]
fn what_a_killed_process_left_behind_is_cleaned_up() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir).accept(&[firing("aa", 0)], at(0)).unwrap();
    files::write_new(&dir.path().join(".tmpAbC123"), b"{\"status\":\"fir", 0o600).unwrap();
    files::write_new(&dir.path().join("bb.json"), b"{\"status\":\"fir", 0o600).unwrap();
    files::write_new(&dir.path().join("notes.txt"), b"a person's", 0o600).unwrap();
    let spool = open(&dir);
    assert_eq!(all(&spool), [firing("aa", 0)]);
    assert_eq!(spool.unreadable(), ["bb.json"]);
    let names = files::names_in(dir.path(), 10).unwrap();
    assert_eq!(names, ["aa.json", "bb.json", "lock", "notes.txt"]);
    spool.accept(&[firing("bb", 0)], at(1)).unwrap();
    drop(spool);
    assert_eq!(open(&dir).load().len(), 2);
}

#[test]
fn a_full_spool_drops_resolved_alerts_first_and_then_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let of = |n| if n == 7 { resolved("7", 0) } else { firing(&format!("{n:x}"), 0) };
    let storm: Vec<Alert> = (0..MAX_ENTRIES).map(of).collect();
    assert_eq!(spool.accept(&storm, at(1)).unwrap().firing, MAX_ENTRIES as u64 - 1);
    // What came before the one too many is on disk, and that one is not.
    let more = [resolved("9", 0), firing("aaaaaaaaaaaaaaaa", 1), firing("bbbbbbbbbbbbbbbb", 1)];
    spool.accept(&more[..2], at(1)).unwrap();
    assert!(spool.load().find("7").is_none());
    assert!(matches!(spool.accept(&more[1..], at(1)), Ok(it) if it.firing == 1), "9 made room");
    assert!(matches!(
        spool
            .accept(&[resolved("8", 0), firing("cccccccccccccccc", 1), firing("dddddddddddddddd", 1)], at(1)),
        Err(SpoolError::Full)
    ));
    drop(spool);
    let spool = open(&dir);
    let kept = spool.load();
    assert_eq!(kept.len(), MAX_ENTRIES);
    assert_eq!(kept.find("8").unwrap().status, AlertStatus::Resolved);
    assert!(kept.find("dddddddddddddddd").is_none());
    spool.accept(&[firing("cccccccccccccccc", 1)], at(1)).unwrap();
    let error = spool.accept(&[firing("dddddddddddddddd", 1)], at(1)).unwrap_err();
    assert!(matches!(error, SpoolError::Full), "{error}");
}

#[test]
fn alerts_of_the_largest_kind_are_refused_before_they_take_more_memory_than_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(&dir);
    let large = |n: usize| {
        let label = |it: usize| (format!("label{it}"), "x".repeat(1_024));
        let labels = (0..64).map(label).collect();
        Alert { labels, ..firing(&format!("{n:x}"), 0) }
    };
    let mut taken = 0;
    while let Ok(accepted) = spool.accept(&[large(2 * taken), large(2 * taken + 1)], at(1)) {
        assert_eq!(accepted.firing, 2);
        taken += 1;
        assert!(2 * taken < MAX_ENTRIES);
    }
    let bytes: usize = spool.load().iter().map(bytes_of).sum();
    assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES / 10 * 9, "{bytes}");
}

#[test]
fn two_processes_cannot_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(&dir);
    let error = Spool::open(dir.path(), DAY_S).unwrap_err();
    assert!(matches!(error, SpoolError::Open { cause: FileError::Locked { .. }, .. }));
}

#[test]
fn a_fingerprint_never_becomes_a_path() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["../x", "", "a/b", "AA", "a.b"] {
        assert!(matches!(open(&dir).accept(&[firing(bad, 0)], at(0)), Err(SpoolError::Fingerprint)));
    }
}
