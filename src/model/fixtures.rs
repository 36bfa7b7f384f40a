//! Values that tests of several rooms start from; compiled for tests only.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::action::*;
use super::anomaly::*;
use super::change::*;
use super::ids::*;
use super::limits::*;
use super::playbook::*;
use super::policy::*;
use super::signal::*;

/// `2026-11-23T10:00:00Z` plus `seconds`.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_428_000 + seconds).expect("in range")
}

pub fn signal(service: &str, signal: &str) -> SignalKey {
    SignalKey { signal: SignalName::new(signal).unwrap(), service: SignalName::new(service).unwrap() }
}

pub fn target(text: &str) -> WorkloadRef {
    WorkloadRef::parse(text).unwrap()
}

/// A valid object id made of one repeated digit.
pub fn oid(digit: char) -> ObjectId {
    ObjectId::new(digit.to_string().repeat(40)).unwrap()
}

pub fn verify_spec() -> VerifySpec {
    VerifySpec {
        signal: signal("backend", "latency_p95"),
        below: Some(250.0),
        window_s: 600,
        within_s: 1200,
        dependants: Vec::new(),
    }
}

/// AutoMerge, ScaleOut by 2 to at most 10 on `shop/Deployment/backend`, 2 per hour, 900 s cooldown.
pub fn policy() -> Policy {
    Policy {
        name: PolicyName::new("backend-latency").unwrap(),
        namespace: Namespace::new("shop").unwrap(),
        path: RepoPath::new("policies/backend-latency.yaml").unwrap(),
        commit: oid('a'),
        mode: Mode::AutoMerge,
        suspend: false,
        triggers: vec![Trigger::Anomaly {
            signal: signal("backend", "latency_p95"),
            threshold: Score::new(0.8).unwrap(),
            min_severity: None,
            for_s: 0,
        }],
        actions: vec![PlaybookSpec::ScaleOut { by: ScaleBy::Step(2), max_replicas: 10 }],
        allowed_resources: vec![AllowedResource {
            kind: KindName::new("Deployment").unwrap(),
            name: ObjectName::new("backend").unwrap(),
        }],
        allowed_paths: Vec::new(),
        write_to: Vec::new(),
        cooldown_s: 900,
        max_executions_per_hour: 2,
        verify: verify_spec(),
        revert_after_s: Some(3600),
        auto_revert: false,
    }
}

/// `spec.replicas` 3 -> 5 of `target` in `apps/backend.yaml`.
pub fn change(branch: &str, target: &WorkloadRef) -> ProposedChange {
    let resource = target.to_string();
    ProposedChange {
        change_id: ChangeId::of([(resource.as_str(), "spec.replicas", "5")]),
        branch: BranchName::new(branch).unwrap(),
        base: oid('b'),
        head: oid('c'),
        tree: oid('d'),
        fields: vec![FieldChange {
            resource: target.clone(),
            file: RepoPath::new("apps/backend.yaml").unwrap(),
            field: "spec.replicas".into(),
            from: Some("3".into()),
            to: Some("5".into()),
        }],
        rendered: vec![RenderedChange {
            object: target.clone(),
            field: "spec.replicas".into(),
            from: Some("3".into()),
            to: Some("5".into()),
            carrier: false,
        }],
        unrendered: None,
        recipients: Vec::new(),
        objects_compared: 1,
        fields_changed: 1,
        diff: "-  replicas: 3\n+  replicas: 5\n".into(),
    }
}

/// A proposed ScaleOut 3 -> 5 of `target` for `policy`, as entry `seq`.
pub fn proposed(policy: &str, target: &WorkloadRef, seq: u64, when: Timestamp) -> RemediationAction {
    let policy = PolicyName::new(policy).unwrap();
    let fingerprint = Fingerprint::of(&policy, target, "ScaleOut", "anomaly backend/latency_p95");
    let id = ActionId::derive(&fingerprint, seq);
    let branch = format!("tars/{policy}/{}/{id}", target.key());
    RemediationAction {
        api_version: API_VERSION.into(),
        kind: "RemediationAction".into(),
        metadata: Metadata { name: id, namespace: target.namespace.clone() },
        spec: ActionSpec {
            incident: IncidentId::derive(&fingerprint, seq),
            fingerprint,
            policy_path: RepoPath::new(format!("policies/{policy}.yaml")).unwrap(),
            policy_commit: oid('a'),
            mode: Mode::AutoMerge,
            target: target.clone(),
            playbook: PlaybookName::ScaleOut,
            purpose: Purpose::Remediate,
            plan: Plan::Scale { from: 3, to: 5, autoscaler: None },
            risk: Risk { class: RiskClass::Low, reason: "adds replicas inside the bounds".into() },
            cause: Cause {
                trigger: "anomaly".into(),
                key: "anomaly backend/latency_p95".into(),
                since: when,
                anomalies: Vec::new(),
                forecasts: Vec::new(),
                alerts: Vec::new(),
                alerts_total: 0,
                correlation: None,
            },
            limits: LimitsInForce {
                policy_per_hour: 2,
                global_per_hour: 6,
                cooldown_s: 900,
                max_open_proposals: 10,
            },
            verify: verify_spec(),
            revert_after_s: Some(3600),
            auto_revert: false,
            sentence: "Scale out from 3 to 5 replicas.".into(),
            rejected: Vec::new(),
            budget: Vec::new(),
            change: Some(change(&branch, target)),
            pull_request: None,
            policy,
        },
        status: ActionStatus {
            state: ActionState::Proposed,
            phase: Phase::Pending,
            result: None,
            merge: None,
            synced_at: None,
            verdict: None,
            holds: Vec::new(),
            expires_at: None,
            undone_by: None,
            timeline: vec![TimelineEvent { at: when, text: "proposed".into() }],
        },
    }
}

/// An anomaly of `key` with this score at this time.
pub fn anomaly(key: SignalKey, score: f64, when: Timestamp) -> Anomaly {
    let score = Score::new(score).unwrap();
    Anomaly {
        key,
        at: when,
        value: 520.0,
        expected: (150.0, 230.0),
        score,
        confidence: Score::new(0.95).unwrap(),
        severity: Severity::of(score),
        method: Method::Stream,
        warming_up: false,
        models: Vec::new(),
        period: None,
        recent: vec![180.0, 182.0, 520.0],
        episode: None,
    }
}

pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}
