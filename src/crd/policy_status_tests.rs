//! The status: kstatus conditions that keep their time, and numbers that follow what is known.

use super::*;
use crate::crd::object::Meta;
use crate::model::fixtures::at;

fn status(
    standing: &Standing,
    facts: Option<&Facts>,
    generation: i64,
    before: &Json,
    now: Timestamp,
) -> Json {
    said_by("git.example.com/shop/fleet", standing, facts, generation, before, now).unwrap()
}

fn said_by(
    repository: &str,
    standing: &Standing,
    facts: Option<&Facts>,
    generation: i64,
    before: &Json,
    now: Timestamp,
) -> Option<Json> {
    let meta = Meta {
        name: "checkout".to_owned(),
        namespace: "shop".to_owned(),
        uid: "1".to_owned(),
        generation,
        creation_timestamp: time(at(0)),
    };
    let object = PolicyObject { meta, status: before.clone(), policy: Err(Vec::new()) };
    super::status(&object, standing, facts, &RepoId::new(repository).unwrap(), now)
}

fn facts() -> Facts {
    Facts {
        mode: Mode::AutoMerge,
        brake: None,
        open: 1,
        used: 1,
        limit: 2,
        last_action: Some(at(60)),
        signals: 2,
        missing: Vec::new(),
    }
}

fn condition<'a>(status: &'a Json, kind: &str) -> &'a Json {
    let all = status["conditions"].as_array().unwrap();
    all.iter().find(|it| it["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {status:#}"))
}

fn said(status: &Json, kind: &str) -> (String, String) {
    let it = condition(status, kind);
    (it["status"].as_str().unwrap().to_owned(), it["reason"].as_str().unwrap().to_owned())
}

#[test]
fn the_same_knowledge_gives_the_same_status_and_a_change_moves_only_its_own_time() {
    let first = status(&Standing::Used, Some(&facts()), 1, &Json::Null, at(100));
    assert_eq!(
        status(&Standing::Used, Some(&facts()), 1, &first, at(500)),
        first,
        "time alone changes nothing"
    );
    let spent = Facts { used: 2, ..facts() };
    let second = status(&Standing::Used, Some(&spent), 1, &first, at(500));
    assert_eq!(said(&second, "BudgetAvailable"), ("False".into(), "BudgetExhausted".into()));
    assert_eq!(condition(&second, "BudgetAvailable")["lastTransitionTime"], time(at(500)));
    assert_eq!(condition(&second, "Ready"), condition(&first, "Ready"));
    assert_eq!(
        (&second["budget"], &second["signals"], &second["open"]),
        (&json!("2/2"), &json!("2/2"), &json!(1))
    );
    let third = status(&Standing::Used, Some(&spent), 2, &second, at(600));
    assert_eq!(condition(&third, "Ready")["observedGeneration"], 2);
    assert_eq!(condition(&third, "Ready")["lastTransitionTime"], time(at(100)));
}

#[test]
fn every_standing_has_its_own_reason_and_is_ready_or_stalled_and_never_both() {
    let all = [
        (Standing::Used, "InForce", "Cluster"),
        (Standing::SameInRepository, "InForce", "Repository"),
        (Standing::RepositoryWins, "RepositoryWins", "Repository"),
        (Standing::NotAsked, "NotAsked", "Nothing"),
        (Standing::Invalid("no such field".into(), 3), "Invalid", "Nothing"),
        (Standing::SecondOfItsName("shop".into()), "SecondOfItsName", "Nothing"),
    ];
    for (standing, reason, source) in all {
        let made = status(&standing, None, 1, &Json::Null, at(0));
        let ready = said(&made, "Ready");
        assert_eq!((ready.1.as_str(), &made["source"]), (reason, &json!(source)));
        assert_ne!(ready.0, said(&made, "Stalled").0, "{standing:?}");
        assert!(made.get("budget").is_none() && made.get("mode").is_none(), "{made:#}");
    }
    let made = status(&Standing::Invalid("no such field".into(), 3), None, 1, &Json::Null, at(0));
    assert_eq!(condition(&made, "Ready")["message"], "no such field (and 2 more)");
}

#[test]
fn what_keeps_it_from_merging_and_what_it_cannot_see_are_conditions() {
    let merging = |facts: &Facts| {
        said(&status(&Standing::Used, Some(facts), 1, &Json::Null, at(0)), "AutoMergePossible")
    };
    assert_eq!(merging(&facts()), ("True".into(), "AutoMerge".into()));
    assert_eq!(merging(&Facts { mode: Mode::Propose, ..facts() }), ("False".into(), "ReviewRequired".into()));
    assert_eq!(merging(&Facts { mode: Mode::Observe, ..facts() }), ("False".into(), "ObserveOnly".into()));
    let frozen = Facts { brake: Some(ReasonCode::Frozen), ..facts() };
    assert_eq!(merging(&frozen), ("False".into(), "Frozen".into()));
    let blind = Facts { missing: vec!["backend/latency_p95".into()], ..facts() };
    let made = status(&Standing::Used, Some(&blind), 1, &Json::Null, at(0));
    assert_eq!(said(&made, "SignalsHealthy"), ("False".into(), "SignalMissing".into()));
    assert_eq!(made["signals"], "1/2");
}

#[test]
fn a_last_action_is_not_forgotten_with_the_memory_of_a_process_and_one_from_the_future_is_not_believed() {
    let last = |last_action, before: &Json| {
        let facts = Facts { last_action, ..facts() };
        status(&Standing::Used, Some(&facts), 1, before, at(100))["lastActionTime"].clone()
    };
    let before = json!({"lastActionTime": time(at(60))});
    assert_eq!(last(None, &before), time(at(60)));
    assert_eq!(last(Some(at(90)), &before), time(at(90)));
    assert_eq!(last(None, &json!({"lastActionTime": time(at(101))})), Json::Null);
}

#[test]
fn an_instance_of_another_repository_does_not_speak_of_what_it_does_not_use() {
    let used = status(&Standing::Used, Some(&facts()), 1, &Json::Null, at(0));
    let other =
        |standing: &Standing, before: &Json| said_by("git.example.com/b", standing, None, 1, before, at(9));
    assert_eq!(other(&Standing::NotAsked, &used), None);
    let untold = other(&Standing::NotAsked, &Json::Null).unwrap();
    assert_eq!(untold["repository"], "git.example.com/b");
    assert!(other(&Standing::RepositoryWins, &used).is_some(), "its own repository has that name");
}
