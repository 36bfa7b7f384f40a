//! The last question before a merge: may this proposal merge by itself, right now, as it is? Everything is
//! looked at again, nothing is taken from the proposal's own word, and every objection is listed. Comes out:
//! the one value that lets `propose` merge, or the reasons. It is made here and nowhere else.

use jiff::Timestamp;

use super::Guards;
use super::budget::{Budgets, brakes, cooldown};
use super::choose::{evidence_holds, mode_and_risk};
use super::pulls::{self, OnForge};
use crate::model::action::{ActionSpec, Purpose, RemediationAction, RiskClass};
use crate::model::change::{ProposedChange, RenderedChange};
use crate::model::history::{History, plan_id};
use crate::model::ids::{ActionId, BranchName, ObjectId, RepoPath, WorkloadRef};
use crate::model::limits::GlobalLimits;
use crate::model::playbook::{Plan, PlaybookSpec};
use crate::model::policy::Policy;
use crate::model::reason::{Reason, ReasonCode};

/// The proposal's branch as it stands on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchSeen {
    pub head: ObjectId,
    /// Tree of `head`.
    pub tree: ObjectId,
}

/// Everything that is read again before a merge.
#[derive(Debug, Clone)]
pub struct PermitRequest<'a> {
    pub record: &'a RemediationAction,
    /// The policy as it stands on the watched branch now; `None`: it is gone.
    pub policy: Option<&'a Policy>,
    pub history: &'a History,
    pub limits: &'a GlobalLimits,
    pub guards: &'a Guards,
    /// `None`: the branch is gone.
    pub branch: Option<&'a BranchSeen>,
    /// Head of the watched branch now.
    pub main: &'a ObjectId,
    /// Did a file of the change move on the watched branch since the proposal's base?
    pub paths_moved: bool,
    /// Is the action still wanted: the signal still anomalous or the alert firing (for an expiry: still
    /// calm)? `None`: no data. Not asked for a revert.
    pub still_needed: Option<bool>,
    /// Why nobody knows that, where it is known.
    pub unknown: Option<&'a Reason>,
    /// Where the proposal stands on the forge.
    pub on_forge: OnForge<'a>,
    /// Why to give way to others who change the same field; see [`super::yields`].
    pub contested: &'a [Reason],
    pub now: Timestamp,
}

/// Leave to merge exactly this commit onto exactly this base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePermit {
    action: ActionId,
    branch: BranchName,
    head: ObjectId,
    tree: ObjectId,
    base: ObjectId,
}

impl MergePermit {
    /// For tests of what a merge does; outside them, [`permit`] alone makes one.
    #[cfg(test)]
    #[must_use]
    pub fn for_test(branch: &BranchName, head: &ObjectId, base: &ObjectId) -> Self {
        let (action, tree) = (ActionId::new("act-000000000000"), ObjectId::new("0".repeat(40)));
        let (action, tree) = (action.expect("12 digits"), tree.expect("40 digits"));
        Self { action, branch: branch.clone(), head: head.clone(), tree, base: base.clone() }
    }

    #[cfg(test)]
    #[must_use]
    pub fn action(&self) -> &ActionId {
        &self.action
    }

    #[must_use]
    pub fn branch(&self) -> &BranchName {
        &self.branch
    }

    /// The only commit that may be merged.
    #[must_use]
    pub fn head(&self) -> &ObjectId {
        &self.head
    }

    /// The tree that the watched branch must have afterwards.
    #[must_use]
    pub fn tree(&self) -> &ObjectId {
        &self.tree
    }

    /// What the watched branch must stand at (the lease of the merge).
    #[must_use]
    pub fn base(&self) -> &ObjectId {
        &self.base
    }
}

/// Checks `request`, for a proposal before its reservation and for a reserved one before its merge.
///
/// # Errors
/// Every reason against it, never empty.
pub fn permit(request: &PermitRequest<'_>) -> Result<MergePermit, Vec<Reason>> {
    let mut against = ledger(request);
    against.extend(policy(request));
    let Some(change) = &request.record.spec.change else {
        against.push(Reason::new(ReasonCode::ObserveOnly, "the record proposes no change"));
        return Err(against);
    };
    against.extend(branches(request, change));
    against.extend(diff(request, change));
    against.extend(evidence(request));
    against.extend(pulls::objections(request.on_forge, change));
    against.extend(request.contested.iter().cloned());
    against.extend(brakes(request.history, request.guards, request.now));
    // Nothing that may merge by itself joins a batch: not a reason to wait for, but one to stop at.
    if against.is_empty() && shares_branch(request, change) {
        let text = format!("{} carries other actions too: a person merges it", change.branch);
        against.push(Reason::new(ReasonCode::ReviewRequired, text));
    }
    if !against.is_empty() {
        return Err(against);
    }
    Ok(MergePermit {
        action: request.record.id().clone(),
        branch: change.branch.clone(),
        head: change.head.clone(),
        tree: change.tree.clone(),
        base: change.base.clone(),
    })
}

/// What the ledger says: the record is the one that holds the target, it may merge, and there is room.
fn ledger(request: &PermitRequest<'_>) -> Vec<Reason> {
    let (record, history, now) = (request.record, request.history, request.now);
    let spec = &record.spec;
    let mut reasons = Vec::new();
    if history.open_for(&spec.target) != Some(record) {
        let text = format!("the ledger's record of {} is another", spec.target);
        reasons.push(Reason::new(ReasonCode::LedgerUntrusted, text));
    }
    if !record.state().waits() {
        let text = format!("{} is {}: there is nothing to merge", record.id(), record.state().as_str());
        reasons.push(Reason::new(ReasonCode::LedgerUntrusted, text));
    }
    reasons.extend(history.quiet_about(record, now));
    let changes = spec.change.iter().map(|it| it.change_id.clone());
    let refused = |id| history.is_refused(&spec.fingerprint, &id);
    if changes.chain([plan_id(&spec.target, &spec.plan)]).any(refused) {
        let text = "the same change was reverted for this cause";
        reasons.push(Reason::new(ReasonCode::RevertedBefore, text));
    }
    let budgets = Budgets {
        policy: &spec.policy,
        policy_per_hour: spec.limits.policy_per_hour,
        global_per_hour: spec.limits.global_per_hour.min(request.limits.max_executions_per_hour),
        asking: Some(record.id()),
    };
    reasons.extend(budgets.spent(history, now));
    if spec.purpose == Purpose::Remediate {
        reasons.extend(cooldown(history, &spec.target, spec.limits.cooldown_s, Some(record.id()), now));
    }
    reasons
}

/// What the policy says now, compared with what it said when the proposal was made.
fn policy(request: &PermitRequest<'_>) -> Vec<Reason> {
    let spec = &request.record.spec;
    let Some(policy) = request.policy.filter(|it| it.name == spec.policy) else {
        let text = format!("{} is gone", spec.policy_path);
        return vec![Reason::new(ReasonCode::PolicyChanged, text)];
    };
    let mut reasons = mode_and_risk(policy.mode, &spec.risk);
    let mut add = |code, text: String| reasons.push(Reason::new(code, text));
    if policy.suspend {
        add(ReasonCode::PolicySuspended, format!("{} says suspend", policy.path));
    }
    if policy.mode != spec.mode {
        add(ReasonCode::PolicyChanged, format!("mode was {:?}, is {:?}", spec.mode, policy.mode));
    }
    let limits = (policy.max_executions_per_hour, policy.cooldown_s);
    if limits != (spec.limits.policy_per_hour, spec.limits.cooldown_s) {
        let text = format!(
            "limits were {} per hour and {} s, are {} and {} s",
            spec.limits.policy_per_hour, spec.limits.cooldown_s, limits.0, limits.1
        );
        add(ReasonCode::PolicyChanged, text);
    }
    if !policy.allows(&spec.target) {
        add(ReasonCode::TargetNotAllowed, format!("{} is not in allowedResources", spec.target));
    }
    if spec.purpose != Purpose::Remediate {
        if !policy.auto_revert {
            add(ReasonCode::ReviewRequired, "the policy does not set autoRevert".to_owned());
        }
        return reasons;
    }
    match policy.actions.iter().find(|it| it.name() == spec.playbook) {
        None => add(ReasonCode::PolicyChanged, format!("{} was removed", spec.playbook.as_str())),
        Some(PlaybookSpec::ScaleOut { max_replicas, .. }) => {
            if let Plan::Scale { to, .. } = &spec.plan
                && to > max_replicas
            {
                add(ReasonCode::OutOfBounds, format!("{to} replicas, at most {max_replicas}"));
            }
        }
        Some(PlaybookSpec::Rollback { .. } | PlaybookSpec::RestartPod { .. }) => {}
    }
    reasons
}

/// Do others wait on the same branch? Then its newest commit is not this action's one, or does not stand on
/// the watched branch.
fn shares_branch(request: &PermitRequest<'_>, change: &ProposedChange) -> bool {
    request.history.waiting_on(&change.branch).len() > 1
}

/// What the server holds: our one commit, unchanged, on the base it was computed on.
fn branches(request: &PermitRequest<'_>, change: &ProposedChange) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |code, text: String| reasons.push(Reason::new(code, text));
    match request.branch {
        _ if shares_branch(request, change) => {}
        None => add(ReasonCode::HumanCommits, format!("branch {} is gone", change.branch)),
        Some(seen) if seen.head != change.head => {
            let text = format!(
                "{} stands at {}, not at our {}",
                change.branch,
                seen.head.short(),
                change.head.short()
            );
            add(ReasonCode::HumanCommits, text);
        }
        Some(seen) if seen.tree != change.tree => {
            add(ReasonCode::HumanCommits, format!("{} has another tree", change.branch));
        }
        Some(_) => {}
    }
    // Elsewhere-only movement is cured by a rebuild, but it is no leave to merge: the merged tree would not
    // be the computed one.
    if request.paths_moved {
        add(ReasonCode::BaseMoved, "the watched branch changed the same files".to_owned());
    } else if !shares_branch(request, change) && *request.main != change.base {
        let text =
            format!("computed on {}, the watched branch is at {}", change.base.short(), request.main.short());
        add(ReasonCode::BaseMoved, text);
    }
    reasons
}

/// The diff itself: rendered, exactly the planned field and nothing else, in allowed files, of low risk whatever
/// the record claims.
fn diff(request: &PermitRequest<'_>, change: &ProposedChange) -> Vec<Reason> {
    let spec = &request.record.spec;
    let mut reasons = Vec::new();
    let count = u32::try_from(change.rendered.len()).unwrap_or(u32::MAX);
    if change.fields.is_empty() || count != change.fields_changed {
        let text = format!("{count} rendered fields are named, {} changed", change.fields_changed);
        reasons.push(Reason::new(ReasonCode::ProofFailed, text));
    }
    if !is_planned(spec, change) {
        let text = "the fields that move are not those of the plan";
        reasons.push(Reason::new(ReasonCode::ProofFailed, text));
    }
    if let Some(why) = &change.unrendered {
        reasons.push(Reason::new(ReasonCode::RiskNeedsHuman, format!("not rendered: {why}")));
    }
    for it in moved(change).filter(|_| spec.risk.class == RiskClass::Low) {
        if field_class(it).is_none() {
            let text = format!("{} of {} is not a field of low risk", it.field, it.object);
            reasons.push(Reason::new(ReasonCode::RiskNeedsHuman, text));
        }
    }
    for it in &change.fields {
        let prefixes = request.policy.map_or(&[][..], |it| &it.allowed_paths);
        if !prefixes.is_empty() && !prefixes.iter().any(|prefix| is_below(&it.file, prefix)) {
            let text = format!("{} is outside allowedPaths", it.file);
            reasons.push(Reason::new(ReasonCode::PathNotAllowed, text));
        }
    }
    reasons
}

/// The rendered fields that move; an object that only holds the edited text does not count.
fn moved(change: &ProposedChange) -> impl Iterator<Item = &RenderedChange> {
    change.rendered.iter().filter(|it| !it.carrier)
}

fn is_below(file: &RepoPath, prefix: &RepoPath) -> bool {
    let rest = file.as_str().strip_prefix(prefix.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The known fields of low risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldClass {
    Replicas,
    MinReplicas,
    RestartedAt,
}

/// Which known field of low risk this is, with a value that such a field can have. The rendered field counts: a
/// value of a chart, or of a JSON 6902 operation, does not say by its name what it decides.
fn field_class(change: &RenderedChange) -> Option<FieldClass> {
    let is_count = |value: &Option<String>| {
        value.as_ref().is_some_and(|text| {
            text.parse::<u32>().is_ok_and(|count| count > 0 && count.to_string() == *text)
        })
    };
    let counts = is_count(&change.from) && is_count(&change.to);
    match change.field.as_str() {
        "spec.replicas" if counts => Some(FieldClass::Replicas),
        "spec.minReplicas" | "spec.minReplicaCount" if counts => Some(FieldClass::MinReplicas),
        field => {
            let key = field.strip_prefix("spec.template.metadata.annotations")?;
            let key = key.trim_matches(['.', '[', ']', '"', '\'']);
            let time = change.to.as_ref().is_none_or(|to| to.parse::<Timestamp>().is_ok());
            (key == "kubectl.kubernetes.io/restartedAt" && time).then_some(FieldClass::RestartedAt)
        }
    }
}

/// Is what moves the plan and nothing else? Only plans that may be of low risk are compared; the others never
/// get this far without a person.
fn is_planned(spec: &ActionSpec, change: &ProposedChange) -> bool {
    let mut rendered = moved(change);
    let only = match (rendered.next(), rendered.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    };
    let one_field = |resource: &WorkloadRef, class, from: Option<String>, to: String| {
        let in_one_file = matches!(&change.fields[..], [field] if field.resource == *resource);
        only.is_some_and(|only| {
            in_one_file
                && only.object == *resource
                && field_class(only) == Some(class)
                && only.from == from
                && only.to == Some(to)
        })
    };
    match &spec.plan {
        Plan::Scale { from, to, autoscaler } => {
            let class = if autoscaler.is_some() { FieldClass::MinReplicas } else { FieldClass::Replicas };
            let resource = autoscaler.as_ref().unwrap_or(&spec.target);
            to > from && one_field(resource, class, Some(from.to_string()), to.to_string())
        }
        Plan::Restart { restarted_at, previous } => {
            one_field(&spec.target, FieldClass::RestartedAt, previous.clone(), restarted_at.to_string())
        }
        Plan::Undo { changes } => {
            let of_one = |only: &RenderedChange| changes.iter().all(|it| it.resource == only.object);
            *changes == change.fields && (spec.risk.class != RiskClass::Low || only.is_some_and(of_one))
        }
        Plan::Images { .. } | Plan::PodTemplate { .. } => true,
    }
}

/// Whether the reason for the action still stands, on evidence good enough to act on.
fn evidence(request: &PermitRequest<'_>) -> Vec<Reason> {
    let spec = &request.record.spec;
    if matches!(spec.purpose, Purpose::Revert { .. }) {
        return Vec::new();
    }
    // The age of the recorded evidence is that of the proposal; what counts now is `still_needed`.
    let mut reasons = evidence_holds(&spec.cause, request.guards, request.now);
    reasons.retain(|it| it.code == ReasonCode::LowConfidence);
    match request.still_needed {
        Some(true) => {}
        Some(false) => {
            let text = format!("{} no longer asks for it", spec.cause.key);
            reasons.push(Reason::new(ReasonCode::SignalRecovered, text));
        }
        None => reasons.push(request.unknown.cloned().unwrap_or_else(|| {
            let text = format!("no fresh word on {}", spec.cause.key);
            Reason::new(ReasonCode::EvidenceStale, text)
        })),
    }
    reasons
}
