//! Tampered ledgers and watched branches: each kind must be found, and an honest one must be clean.

use super::scripted::{Script, commit, entry, signed};
use super::*;
use crate::model::action::ActionState as S;
use crate::model::action::MergedBy;
use crate::model::entry::{Entry, EntryKind, Signer};
use crate::model::fixtures::{at, oid, proposed, target};
use crate::model::ids::*;

const TRAILERS: &str = "\n\nTars-Incident: inc-00000000\nTars-Action: ScaleOut\n";

fn main_commit(id: ObjectId, tree: ObjectId, message: &str) -> MainCommit {
    MainCommit {
        commit: id,
        parents: vec![oid('b')],
        tree,
        message: message.into(),
        signer: signed(),
        time: at(0),
    }
}

/// Three actions: merged and verified by tars, merged by a person, still open; and a checkpoint.
fn honest() -> (Vec<Entry>, Vec<MainCommit>) {
    let mut script = Script::new(at(0));
    let first = script.propose("p", &target("shop/Deployment/a"), at(1));
    script.enter(&first, &[S::MergeReserved, S::Merged], at(2));
    script.enter(&first, &[S::Synced, S::Verified], at(400));
    script.checkpoint(at(500));
    let mut record = proposed("p", &target("shop/Deployment/b"), next_seq(&script.history), at(600));
    record.spec.change.as_mut().unwrap().head = oid('7');
    script.try_record(&record, at(600)).unwrap();
    script.try_enter(record.id(), S::Merged, MergedBy::Person, at(700)).unwrap();
    script.propose("p", &target("shop/Deployment/c"), at(800));
    let merge = |id: &ActionId| script.history.record(id).unwrap().status.merge.clone().unwrap().commit;
    let subject = format!("Scale out shop/Deployment/a{TRAILERS}");
    let mut by_person =
        main_commit(merge(record.id()), oid('5'), &format!("squashed{TRAILERS}Co-authored-by: x"));
    by_person.signer = Signer::Unsigned;
    let main = vec![
        main_commit(oid('b'), oid('1'), "before\n"),
        main_commit(merge(&first), oid('d'), &subject),
        main_commit(oid('c'), oid('d'), &subject),
        by_person,
        main_commit(oid('6'), oid('4'), "a person's work\n\nSigned-off-by: x\n"),
    ];
    (script.entries, main)
}

fn rules(entries: &[Entry], main: &[MainCommit]) -> Vec<Rule> {
    audit(entries, main).findings.into_iter().map(|it| it.rule).collect()
}

#[test]
fn an_honest_ledger_is_clean_and_counted() {
    let (entries, main) = honest();
    let report = audit(&entries, &main);
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!((report.entries, report.signatures, report.checkpoints), (10, 10, 1));
    assert_eq!((report.executions, report.main_commits, report.main_claims), (2, 5, 3));
}

type Tamper = fn(&mut Vec<Entry>);

#[test]
fn every_kind_of_tampering_with_the_ledger_is_found() {
    let kinds: [(&str, Rule, Tamper); 19] = [
        ("dropped", Rule::Sequence, |it| drop(it.remove(4))),
        ("dropped with the numbers closed up", Rule::Previous, |it| {
            it.remove(4);
            it[4..].iter_mut().for_each(|entry| entry.envelope.seq -= 1);
        }),
        ("genesis dropped", Rule::Shape, |it| drop(it.remove(0))),
        ("reordered", Rule::Sequence, |it| it.swap(3, 4)),
        ("repeated", Rule::Previous, |it| {
            let again = it[4].clone();
            it.insert(5, again);
        }),
        ("edited record", Rule::Fixed, |it| {
            it[3].record.as_mut().unwrap().spec.limits.policy_per_hour = 99;
        }),
        ("record under another envelope", Rule::Envelope, |it| {
            it[3].record.as_mut().unwrap().spec.policy = PolicyName::new("q").unwrap();
        }),
        ("wrong number", Rule::Sequence, |it| it[5].envelope.seq = 50),
        ("wrong prev", Rule::Previous, |it| it[5].envelope.prev = Some(it[3].envelope.id.clone())),
        ("unsigned", Rule::Signature, |it| it[5].signer = Signer::Unsigned),
        ("foreign key", Rule::Signature, |it| it[5].signer = Signer::Rejected("SHA256:other".into())),
        ("other repository", Rule::Repository, |it| it[5].envelope.repo = RepoId::new("x").unwrap()),
        ("back-dated", Rule::Time, |it| it[5].envelope.time = at(-172_800)),
        ("illegal transition", Rule::Transition, |it| {
            it[5].envelope.kind = EntryKind::Transition(S::Reverted);
            it[5].record.as_mut().unwrap().enter(S::Reverted, at(400), "reverted");
        }),
        ("merge commit", Rule::Linear, |it| it[5].parents.push(oid('9'))),
        ("second root", Rule::Linear, |it| it[5].parents.clear()),
        ("lying checkpoint", Rule::Checkpoint, |it| {
            let text = it[6].checkpoint.take().unwrap();
            it[6].checkpoint = Some(text.replace("\"executions\":[{", "\"executions\":[],\"x\":[{"));
        }),
        ("checkpoint that forgets an execution", Rule::Checkpoint, |it| {
            let mut history = from_json(it[6].checkpoint.as_deref().unwrap()).unwrap();
            history.executions.clear();
            it[6].checkpoint = Some(to_json(&history).unwrap());
        }),
        ("rewritten story", Rule::Fixed, |it| {
            it[5].record.as_mut().unwrap().status.timeline[0].text = "nothing happened".into();
        }),
    ];
    for (name, rule, tamper) in kinds {
        let (mut entries, main) = honest();
        tamper(&mut entries);
        let found = rules(&entries, &main);
        assert!(found.contains(&rule), "{name}: {found:?}");
    }
}

/// A budget overrun written by somebody with an allowed key: pushed without the fold's consent.
#[test]
fn a_budget_overrun_is_counted_twice_by_different_code() {
    let mut script = Script::new(at(0));
    let force = |script: &mut Script, name: &str, when: i64| {
        let id = script.propose("p", &target(name), at(when));
        let record = script.moved(&id, S::MergeReserved, MergedBy::Tars, at(when));
        let next = entry(&script.history, EntryKind::Transition(S::MergeReserved), Some(&record), at(when));
        fold::apply(&mut script.history, &next);
        script.entries.push(next);
        id
    };
    force(&mut script, "shop/Deployment/a", 0);
    force(&mut script, "shop/Deployment/b", 0);
    force(&mut script, "shop/Deployment/c", 3599);
    let budget: Vec<_> = rules(&script.entries, &[]).into_iter().filter(|it| *it == Rule::Budget).collect();
    assert_eq!(budget.len(), 2, "the fold says it once, the recount once");
    let report = audit(&script.entries, &[]);
    let recount = report.findings.iter().any(|it| it.detail.starts_with("recount: p used 2 of 2"));
    assert!(recount, "{:#?}", report.findings);
}

#[test]
fn a_broken_cooldown_and_a_second_open_action_are_found_by_the_recount() {
    let mut script = Script::new(at(0));
    let backend = target("shop/Deployment/backend");
    let first = script.propose("p", &backend, at(0));
    script.enter(&first, &[S::MergeReserved, S::Merged, S::Synced, S::Verified], at(0));
    let mut second = proposed("q", &backend, next_seq(&script.history), at(1));
    script.try_record(&second, at(1)).unwrap();
    second = script.moved(&second.metadata.name.clone(), S::MergeReserved, MergedBy::Tars, at(899));
    let next = entry(&script.history, EntryKind::Transition(S::MergeReserved), Some(&second), at(899));
    fold::apply(&mut script.history, &next);
    script.entries.push(next);
    let third = proposed("r", &backend, next_seq(&script.history), at(900));
    let next = entry(&script.history, EntryKind::Transition(S::Proposed), Some(&third), at(900));
    script.entries.push(next);
    let found = rules(&script.entries, &[]);
    assert_eq!(found.iter().filter(|it| **it == Rule::Cooldown).count(), 2, "{found:?}");
    assert_eq!(found.iter().filter(|it| **it == Rule::OneOpenPerTarget).count(), 2, "{found:?}");
}

#[test]
fn every_kind_of_tampering_with_the_watched_branch_is_found() {
    type Tamper = fn(&mut Vec<MainCommit>);
    let kinds: [(&str, Rule, Tamper); 9] = [
        ("forged commit", Rule::MainCommit, |it| {
            it.push(main_commit(oid('9'), oid('8'), &format!("Scale out{TRAILERS}")));
        }),
        ("forged in lower case behind a divider", Rule::MainCommit, |it| {
            it.push(main_commit(oid('9'), oid('8'), "x\n\ntars-action : merged\n---\ntext"));
        }),
        ("forged on top of a person's merge", Rule::MainCommit, |it| {
            let mut forged = main_commit(oid('9'), oid('8'), &format!("Scale out{TRAILERS}"));
            forged.parents = vec![oid('7')];
            it.push(forged);
        }),
        ("the tree is another", Rule::MergeOnMain, |it| it[1].tree = oid('8')),
        ("the merge is neither ours nor made of ours", Rule::MergeOnMain, |it| {
            (it[1].signer, it[1].parents) = (Signer::Unsigned, vec![oid('7')]);
        }),
        ("our own commit is not signed", Rule::MainCommit, |it| it[2].signer = Signer::Unsigned),
        ("the merge is gone", Rule::MergeOnMain, |it| drop(it.remove(1))),
        ("a person's merge is gone", Rule::MergeOnMain, |it| drop(it.remove(3))),
        ("an open proposal was merged in silence", Rule::MainCommit, |it| {
            it.push(main_commit(oid('2'), oid('d'), &format!("Scale out{TRAILERS}")));
        }),
    ];
    for (name, rule, tamper) in kinds {
        let (mut entries, mut main) = honest();
        // The open proposal of `c` gets a head of its own.
        let last = entries.last_mut().unwrap();
        last.record.as_mut().unwrap().spec.change.as_mut().unwrap().head = oid('2');
        assert!(audit(&entries, &main).is_clean());
        tamper(&mut main);
        let found = rules(&entries, &main);
        assert!(found.contains(&rule), "{name}: {found:?}");
    }
}

#[test]
fn a_merge_that_is_reserved_and_not_recorded_yet_is_no_forgery() {
    let mut script = Script::new(at(0));
    let id = script.propose("p", &target("shop/Deployment/a"), at(1));
    script.enter(&id, &[S::MergeReserved], at(2));
    let main = [main_commit(oid('c'), oid('d'), &format!("Scale out{TRAILERS}"))];
    assert!(audit(&script.entries, &main).is_clean());
    assert_ne!(commit(1), commit(2));
}

#[test]
fn one_forged_entry_does_not_hide_the_next() {
    let (mut entries, main) = honest();
    entries[1].signer = Signer::Unsigned;
    entries[9].signer = Signer::Unsigned;
    let places: Vec<_> = audit(&entries, &main).findings.into_iter().map(|it| it.place).collect();
    assert_eq!(places, ["entry 1", "entry 9"]);
}
