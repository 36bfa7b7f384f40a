//! What stands behind the HTTP side of `tars run`: alerts go into the inbox, deliveries of the forge are judged, both
//! may hurry the loop. It decides nothing about them.

use std::sync::{Arc, PoisonError, RwLock};

use super::failure::Failure;
use super::pace::Pace;
use super::settings;
use crate::config::{DetectorSettings, PushAuth, Settings, Watching, WebhookAuth};
use crate::detect::{self, EnsembleSettings};
use crate::model::anomaly::Anomaly;
use crate::model::causes::causes;
use crate::model::delivery::{Delivery, Heard};
use crate::model::pushed::{Tally, WriteRefusal, WriteVersion};
use crate::model::shard::ShardReport;
use crate::model::signal::Series;
use crate::observe::alertmanager;
use crate::observe::forge_hooks::ForgeHooks;
use crate::observe::pushed::Pushed;
use crate::observe::remote_write::WriteError;
use crate::observe::spool::Spool;
use crate::outside::clock::{Clock as _, SystemClock};
use crate::outside::secret::Secret;
use crate::serve::door::{Door, TokenCheck};
use crate::serve::server::{Backend, Readiness, Refusal, Taken};
use crate::telemetry::events::Event;

/// What the HTTP side works on.
#[derive(Debug)]
pub struct Inbox {
    pub spool: Arc<Spool>,
    /// `None`: the forge has no secret, and its route does not exist.
    pub hooks: Option<ForgeHooks>,
    pub pace: Arc<Pace>,
    pub ready: Arc<RwLock<Readiness>>,
    pub pushed: Arc<Pushed>,
    pub ensemble: EnsembleSettings,
}

impl Backend for Inbox {
    fn score(&self, series: Series, period: Option<u32>) -> Result<Anomaly, String> {
        score(&series, EnsembleSettings { period, ..self.ensemble })
    }

    fn accept(&self, body: &[u8]) -> Result<Taken, Refusal> {
        let message = alertmanager::decode(body).map_err(|error| match error {
            alertmanager::MessageError::NotJson(error) => Refusal::NotJson(error.to_string()),
            alertmanager::MessageError::Field(error) => {
                Refusal::Field { field: error.field.clone(), rule: error.rule.to_string() }
            }
        })?;
        if message.truncated > 0 {
            Event::AlertsTruncated { count: message.truncated }.emit();
        }
        let accepted = self
            .spool
            .accept(&message.alerts, SystemClock.now())
            .map_err(|error| Refusal::TryLater(error.to_string()))?;
        let taken = Taken {
            firing: accepted.firing,
            resolved: accepted.resolved,
            repeated: accepted.repeated,
            refused: accepted.out_of_time + message.refused.len() as u64,
        };
        self.pace.wake();
        Ok(taken)
    }

    fn write(&self, version: WriteVersion, body: &[u8]) -> Result<Tally, WriteRefusal> {
        take_pushed(&self.pushed, version, body)
    }

    fn hear(&self, delivery: &Delivery, body: &[u8]) -> Heard {
        let Some(hooks) = &self.hooks else { return Heard::Forged };
        let heard = hooks.hear(delivery, body, SystemClock.now());
        if heard == Heard::Nudged {
            self.pace.nudge();
        }
        heard
    }

    fn alive(&self) -> Result<(), String> {
        self.pace.alive()
    }

    /// Who decides says it in the ledger.
    fn anomalies(&self) -> Option<Arc<ShardReport>> {
        None
    }

    fn ready(&self) -> Readiness {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Scores a series that somebody posted.
///
/// # Errors
/// When its newest point has no value, or none to compare it with.
pub fn score(series: &Series, settings: EnsembleSettings) -> Result<Anomaly, String> {
    let refusal = match series.values.last() {
        Some(Some(_)) => "one value has nothing to be compared with: send those before it too",
        _ => "the newest point is a gap, and a gap is not scored",
    };
    detect::judge(series, &settings).ok_or_else(|| refusal.to_owned())
}

/// Takes in what is wanted of a message of remote write.
///
/// # Errors
/// When it cannot be read.
pub fn take_pushed(pushed: &Pushed, version: WriteVersion, body: &[u8]) -> Result<Tally, WriteRefusal> {
    pushed.take(version, body, SystemClock.now()).map_err(|error| match error {
        WriteError::TooLarge | WriteError::TooManySeries => WriteRefusal::TooLarge(error.to_string()),
        WriteError::NotSnappy | WriteError::Malformed(_) => WriteRefusal::Malformed(causes(&error)),
    })
}

fn check(secret: Secret) -> TokenCheck {
    Arc::new(move |candidate: &[u8]| secret.matches(candidate))
}

/// Who may push samples; `None` when nobody may.
///
/// # Errors
/// When the file of the secret cannot be read.
pub fn push_door(watching: &Watching) -> Result<Option<Door>, Failure> {
    Ok(match &watching.push {
        None => None,
        Some(PushAuth::TokenFile(file)) => Some(Door::Bearer(check(settings::secret(file)?))),
        Some(PushAuth::Basic { user, password_file }) => {
            let password = settings::secret(password_file)?;
            Some(Door::Basic(check(password.as_basic(user))))
        }
        Some(PushAuth::InsecureLoopback) => Some(Door::Open),
    })
}

/// Who may ask a detector for its anomalies.
///
/// # Errors
/// When the file of the secret cannot be read.
pub fn anomalies_door(settings: &DetectorSettings) -> Result<Door, Failure> {
    Ok(match &settings.secret_file {
        Some(file) => Door::Bearer(check(settings::secret(file)?)),
        None => Door::Open,
    })
}

/// Who may send alerts; `None` when nobody may.
///
/// # Errors
/// When the file of the token cannot be read.
pub fn webhook_door(settings: &Settings) -> Result<Option<Door>, Failure> {
    Ok(match &settings.webhook {
        WebhookAuth::Off => None,
        WebhookAuth::SecretFile(file) => Some(Door::Bearer(check(settings::secret(file)?))),
        WebhookAuth::InsecureLoopback => Some(Door::Open),
    })
}
