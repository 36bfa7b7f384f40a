//! First stage, the sections about who does which part of the work. As `raw.rs`, of which this is a part.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which part of the work this process does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything: it watches every series, decides and writes.
    #[default]
    All,
    /// It watches and scores the series of its `shard`. It needs no repository, no key, no forge and no cluster.
    Detector,
    /// It decides and writes, by what `detectors` say.
    Remediator,
}

/// The series that a detector watches: those whose hash falls on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shard {
    /// How many detectors share the work; the same for all of them.
    #[schemars(range(min = 1, max = 64))]
    pub total: u32,
    /// Which of them this is, from 0. Default: the number at the end of the HOSTNAME, as a StatefulSet names its pods.
    #[schemars(range(max = 63))]
    pub ordinal: Option<u32>,
    /// File with the bearer token that remediators must present at `/api/v1/anomalies`.
    pub secret_file: Option<String>,
    /// Answer anybody; only on a loopback address.
    pub insecure: bool,
    /// Folder in which what was learned of the series outlives the process. Default: none; a restart learns from the windows.
    pub state_dir: Option<String>,
}

impl Default for Shard {
    fn default() -> Self {
        Self { total: 1, ordinal: None, secret_file: None, insecure: false, state_dir: None }
    }
}

/// Whom a remediator asks for anomalies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Detectors {
    /// Base address of every detector, in the order of their ordinals.
    pub urls: Vec<String>,
    /// File with the bearer token for them, as `shard.secret_file` has it there.
    pub secret_file: Option<String>,
    /// Most time one answer may take, seconds.
    #[schemars(range(min = 1, max = 60))]
    pub timeout_s: u32,
    /// What a detector saw longer ago than this is not known any more (duration). Default: 2m, or twice the tick and half a
    /// minute where that is longer.
    pub age_max: Option<String>,
}

impl Default for Detectors {
    fn default() -> Self {
        Self { urls: Vec::new(), secret_file: None, timeout_s: 5, age_max: None }
    }
}
