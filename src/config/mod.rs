//! Settings from file, environment and flags, in two stages: parse without the world, then resolve.
//! Text comes in, typed settings go out. After start nothing here is called again.
//!
//! A setting's value is the flag's, else that of its `TARS_*` variable, else the file's, else the default.
//! The name of the variable follows from the place in the file: `repository.url` is `TARS_REPOSITORY_URL`.
//! Secrets are named by file and never stand in a setting.

mod cluster;
mod detection;
mod forge;
mod lines;
mod overlay;
mod raw;
mod raw_roles;
mod raw_signals;
mod repo_id;
mod resolve;
mod signals;
mod watching;

#[cfg(test)]
mod tests;

pub use {
    cluster::{ClusterAt, ClusterSettings},
    detection::{ALARMS_PER_WEEK, DetectionSettings},
    forge::{ForgeAt, ForgeCredential, ForgeKind, ForgeSettings},
    overlay::{Overrides, variables},
    raw::{LogFormat, RawSettings, Service, parse, schema},
    resolve::{InForce, Settings, SyncSettings, WebhookAuth, resolve, resolve_role},
    signals::{PushAuth, ServerSettings, SignalSettings},
    watching::{DetectorSettings, DetectorsSettings, Watching},
};

use thiserror::Error;

/// A setting is missing or wrong. One error at a time: the first one often causes the next ones.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{origin}: {field}: {message}; {fix}")]
pub struct ConfigError {
    /// `tars.yaml:12`, `TARS_LISTEN` or `flag`.
    pub origin: String,
    /// Dotted place of the setting, for example `repository.url`.
    pub field: String,
    pub message: String,
    /// What to write instead.
    pub fix: String,
}
