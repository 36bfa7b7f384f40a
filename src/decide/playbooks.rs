//! From a playbook's bounds and the target's desired state to an exact plan with its risk, or to the reason
//! why not. Numbers are checked: nothing overflows, nothing leaves the bounds.

use jiff::Timestamp;

use super::Facts;
use crate::model::action::{Cause, Risk, RiskClass};
use crate::model::history::{History, later};
use crate::model::playbook::{ImageChange, Plan, PlaybookSpec, RollbackScope, ScaleBy};
use crate::model::reason::{Reason, ReasonCode};
use crate::model::workload::{PastRelease, ReplicaOwner, Workload};

type Planned = Result<(Plan, Risk), Reason>;

fn refuse<T>(code: ReasonCode, text: impl Into<String>) -> Result<T, Reason> {
    Err(Reason::new(code, text))
}

fn risk(class: RiskClass, reason: impl Into<String>) -> Risk {
    Risk { class, reason: reason.into() }
}

/// The plan of `spec` for this target now.
pub fn plan(
    spec: &PlaybookSpec,
    workload: &Workload,
    facts: &Facts,
    cause: &Cause,
    history: &History,
    now: Timestamp,
) -> Planned {
    match spec {
        PlaybookSpec::ScaleOut { by, max_replicas } => scale_out(by, *max_replicas, workload, facts.load),
        PlaybookSpec::Rollback { scope, max_age_s } => {
            rollback(*scope, *max_age_s, workload, cause, history, now)
        }
        PlaybookSpec::RestartPod { max_pods } => restart(*max_pods, workload, now),
    }
}

/// Adds replicas (or raises the autoscaler's lower bound), never beyond any maximum, never down.
fn scale_out(by: &ScaleBy, max_replicas: u32, workload: &Workload, load: Option<f64>) -> Planned {
    let (current, ceiling, autoscaler) = match &workload.owner {
        ReplicaOwner::Other(owner) => {
            return refuse(ReasonCode::FieldOwnedElsewhere, format!("the replica count is owned by {owner}"));
        }
        ReplicaOwner::Autoscaler { target, min, max } => {
            if min >= max {
                let text = format!("{target} already asks for {min} of at most {max} replicas");
                return refuse(ReasonCode::HPAOwnsReplicas, text);
            }
            (*min, max_replicas.min(*max), Some(target.clone()))
        }
        ReplicaOwner::Workload => match workload.replicas {
            Some(replicas) => (replicas, max_replicas, None),
            None => {
                let text = "the manifest leaves spec.replicas out, so somebody else may set it";
                return refuse(ReasonCode::FieldOwnedElsewhere, text);
            }
        },
    };
    if current >= ceiling {
        return refuse(ReasonCode::AtMaximum, format!("{current} of at most {ceiling} replicas"));
    }
    if current == 0 {
        return refuse(ReasonCode::OutOfBounds, "it is scaled to zero on purpose");
    }
    let wanted = wanted_replicas(by, current, load)?;
    if wanted <= current {
        return refuse(
            ReasonCode::OutOfBounds,
            format!("{current} replicas are enough: {wanted} are asked for"),
        );
    }
    let to = wanted.min(ceiling);
    let reason = format!("adds {}, up to {ceiling}; one field undoes it", plural(to - current));
    let risk = match &workload.unrendered {
        Some(why) if autoscaler.is_none() => {
            risk(RiskClass::Medium, format!("{reason}; what it comes to is not rendered here: {why}"))
        }
        _ => risk(RiskClass::Low, reason),
    };
    Ok((Plan::Scale { from: current, to, autoscaler }, risk))
}

fn plural(replicas: u32) -> String {
    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") }
}

/// Before any bound is applied; saturates instead of wrapping.
fn wanted_replicas(by: &ScaleBy, current: u32, load: Option<f64>) -> Result<u32, Reason> {
    match by {
        ScaleBy::Step(step) => Ok(current.saturating_add(*step)),
        ScaleBy::FactorPercent(percent) => {
            let scaled = u64::from(current) * u64::from(*percent);
            Ok(u32::try_from(scaled.div_ceil(100)).unwrap_or(u32::MAX))
        }
        ScaleBy::Queue { load: signal, per_replica, utilisation_percent } => {
            if *per_replica == 0 || !(1..=100).contains(utilisation_percent) {
                let text = format!("{per_replica} per replica at {utilisation_percent} % serves nothing");
                return refuse(ReasonCode::OutOfBounds, text);
            }
            let Some(load) = load.filter(|load| load.is_finite() && *load >= 0.0) else {
                return refuse(ReasonCode::SignalMissing, format!("no usable value of {signal}"));
            };
            let served = f64::from(*per_replica) * f64::from(*utilisation_percent);
            let needed = (load * 100.0 / served).ceil();
            // A float that is too large becomes the largest number; the bounds come afterwards.
            Ok(if needed >= f64::from(u32::MAX) { u32::MAX } else { needed as u32 })
        }
    }
}

fn rollback(
    scope: RollbackScope,
    max_age_s: u32,
    workload: &Workload,
    cause: &Cause,
    history: &History,
    now: Timestamp,
) -> Planned {
    let no = |text: String| refuse(ReasonCode::NoReleaseToUndo, text);
    let (Some((released, commit)), Some(previous)) = (&workload.last_release, &workload.previous) else {
        let why = workload.no_release.clone().or_else(|| workload.unrendered.clone());
        return no(why.unwrap_or_else(|| "history shows no earlier release".to_owned()));
    };
    if later(*released, i64::from(max_age_s)) < now {
        let age_s = now.duration_since(*released).as_secs();
        return no(format!("the last release is {age_s} s old, more than {max_age_s} s"));
    }
    if *released > cause.since {
        return no(format!("release {} came after the trouble began", commit.short()));
    }
    // Undoing what tars did itself is the expiry's and the revert's business; here it would bring back the
    // very release that was rolled back.
    let own = history.last_execution(&workload.target).filter(|last| last.commits.contains(commit));
    if let Some(last) = own {
        return no(format!("the last release is {}, made by tars", last.action));
    }
    let high = |what: &str| {
        risk(RiskClass::High, format!("puts {what} back to what commit {} ran", previous.commit.short()))
    };
    match scope {
        RollbackScope::PodTemplate => {
            Ok((Plan::PodTemplate { good: previous.commit.clone() }, high("the whole pod template")))
        }
        RollbackScope::Image => {
            let images = changed_images(workload, previous);
            if images.is_empty() {
                return no(format!("no image differs from {}", previous.commit.short()));
            }
            Ok((Plan::Images { good: previous.commit.clone(), images }, high("images")))
        }
    }
}

fn changed_images(workload: &Workload, previous: &PastRelease) -> Vec<ImageChange> {
    let mut images = Vec::new();
    for now in &workload.containers {
        let before = previous.containers.iter().find(|it| it.name == now.name && it.image != now.image);
        if let Some(before) = before {
            let (from, to) = (now.image.clone(), before.image.clone());
            images.push(ImageChange { container: now.name.clone(), from, to });
        }
    }
    images
}

fn restart(max_pods: u32, workload: &Workload, now: Timestamp) -> Planned {
    if let Some(why) = &workload.unrendered {
        return refuse(ReasonCode::EditRefused, format!("its pod template is not rendered here: {why}"));
    }
    let at_once = match workload.max_unavailable {
        Some(at_once) if at_once <= max_pods => at_once,
        Some(at_once) => {
            let text = format!("a rollout may take down {at_once} pods at once, allowed are {max_pods}");
            return refuse(ReasonCode::RolloutTooWide, text);
        }
        None => {
            let text = format!("a rollout takes down all pods at once, allowed are {max_pods}");
            return refuse(ReasonCode::RolloutTooWide, text);
        }
    };
    let replicas = match &workload.owner {
        ReplicaOwner::Autoscaler { min, .. } => *min,
        ReplicaOwner::Workload | ReplicaOwner::Other(_) => workload.replicas.unwrap_or(1),
    };
    // Small: one pod, or a quarter of them.
    let small = replicas >= 2 && at_once <= (replicas / 4).max(1);
    let class = if small { RiskClass::Low } else { RiskClass::Medium };
    let text = format!("restarts {replicas} pods, at most {at_once} down at once");
    // Whole seconds, as kubectl writes the annotation.
    let restarted_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Ok((Plan::Restart { restarted_at, previous: workload.restarted_at.clone() }, risk(class, text)))
}
