//! Hears that something of a resource changed, for as long as it is polled. In: a resource and whom to tell. Out: only
//! *that* something changed or that nothing can be heard: whoever is told looks at the server itself, so a lost watch
//! costs a delay and never a wrong picture, and no copy of the cluster is kept here.

use std::time::Duration;

use serde::de::IgnoredAny;

use super::super::clock::wait;
use super::super::random::jitter;
use super::{Change, Kube, KubeError, Resource, Selection};

/// Wait after the first failure; doubles up to [`PAUSE_MAX`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait before the next try.
pub const PAUSE_MAX: Duration = Duration::from_secs(120);
/// Share by which a wait is moved, so that replicas do not return in step.
const JITTER: f64 = 0.3;

/// What whoever follows is told.
#[derive(Debug)]
pub enum Heard {
    /// Something was made, changed or deleted, or may have been while nobody listened.
    Changed,
    /// The server cannot be listened to for now; said once for each failure.
    Deaf(KubeError),
}

/// Tells `hear` of every change, and listens again after every failure with growing, bounded pauses. Never ends by
/// itself; drop it to stop.
pub async fn follow(kube: &Kube, resource: Resource, namespace: Option<&str>, hear: impl Fn(Heard)) {
    let selection = Selection { namespace, metadata_only: true, ..Selection::default() };
    let mut pause = FIRST_PAUSE;
    loop {
        match listen(kube, resource, selection, &hear, &mut pause).await {
            // Old news are no failure: the list that follows is what counts.
            Err(KubeError::Expired { .. }) => {}
            Err(error) => hear(Heard::Deaf(error)),
            Ok(never) => match never {},
        }
        wait(jitter(pause, JITTER)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn listen(
    kube: &Kube,
    resource: Resource,
    selection: Selection<'_>,
    hear: &impl Fn(Heard),
    pause: &mut Duration,
) -> Result<std::convert::Infallible, KubeError> {
    // One object is enough: only the version of the list is wanted.
    let mut version = kube.list::<IgnoredAny>(resource, selection, 1).await?.version;
    hear(Heard::Changed);
    loop {
        let mut watch = kube.watch(resource, selection, &version).await?;
        while let Some(change) = watch.next::<IgnoredAny>().await? {
            *pause = FIRST_PAUSE;
            if !matches!(change, Change::Bookmark) {
                hear(Heard::Changed);
            }
        }
        watch.version().clone_into(&mut version);
        // A server that ends every watch at once must not be asked in a circle.
        wait(jitter(FIRST_PAUSE, JITTER)).await;
    }
}
