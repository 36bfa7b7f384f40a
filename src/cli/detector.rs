//! `tars run` in the role of a detector: it watches the series of its shard, scores them and answers for them. It has no
//! repository and no key; what it knows is in the metrics store, and a restart reads it again. What was learned of longer
//! pasts may outlive it in a file of its own.

use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use super::failure::Failure;
use super::inbox;
use super::outlets::{self, Outlets};
use super::pace::{NUDGE_DISTANCE, Pace};
use super::run::stuck_after;
use super::serving::Serving;
use super::settings::{self, Feeds};
use crate::config::DetectorSettings;
use crate::detect::EnsembleSettings;
use crate::model::anomaly::Anomaly;
use crate::model::delivery::{Delivery, Heard};
use crate::model::pushed::{Tally, WriteRefusal, WriteVersion};
use crate::model::shard::{Shard, ShardReport, SignalRead};
use crate::model::signal::Series;
use crate::observe::pushed::Pushed;
use crate::observe::signals::SignalConfig;
use crate::outside::clock::{Clock, Stopwatch, SystemClock};
use crate::outside::system;
use crate::reconcile::evidence::{Evidence, Observer};
use crate::reconcile::measure::{self, Said};
use crate::serve::server::{self, Backend, Check, Readiness, Refusal, Taken};
use crate::telemetry::events::Event;
use crate::telemetry::names::Metrics;

/// What stands behind the HTTP side of a detector.
#[derive(Debug)]
struct Desk {
    /// `None` before the first look.
    newest: RwLock<Option<Look>>,
    pushed: Arc<Pushed>,
    ensemble: EnsembleSettings,
    pace: Pace,
}

/// What one look came to.
#[derive(Debug, Clone)]
struct Look {
    report: Arc<ShardReport>,
    /// When the newest sample of all series was measured.
    sample_at: Option<Timestamp>,
}

impl Look {
    fn ready(&self, now: Timestamp) -> Readiness {
        let signals = &self.report.signals;
        let (all, read) = (signals.len(), signals.iter().filter(|it| it.trouble.is_none()).count());
        let checks = vec![
            Check { name: "first-tick", ok: true, detail: "done".to_owned() },
            // One source that is away is for the remediator to hold; a process that reads nothing is of no use.
            Check { name: "signals", ok: all == 0 || read > 0, detail: format!("{read} of {all} are read") },
        ];
        let age = |at| now.duration_since(at).as_secs().max(0).unsigned_abs();
        Readiness { checks, newest_evidence_age_s: self.sample_at.map(age) }
    }
}

impl Desk {
    fn newest(&self) -> Option<Look> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Backend for Desk {
    fn score(&self, series: Series, period: Option<u32>) -> Result<Anomaly, String> {
        inbox::score(&series, EnsembleSettings { period, ..self.ensemble })
    }

    fn accept(&self, _: &[u8]) -> Result<Taken, Refusal> {
        Err(Refusal::TryLater("a detector takes no alerts".to_owned()))
    }

    fn write(&self, version: WriteVersion, body: &[u8]) -> Result<Tally, WriteRefusal> {
        inbox::take_pushed(&self.pushed, version, body)
    }

    fn hear(&self, _: &Delivery, _: &[u8]) -> Heard {
        Heard::Forged
    }

    fn alive(&self) -> Result<(), String> {
        self.pace.alive()
    }

    fn ready(&self) -> Readiness {
        self.newest().map_or_else(super::run::starting, |it| it.ready(SystemClock.now()))
    }

    fn anomalies(&self) -> Option<Arc<ShardReport>> {
        self.newest().map(|it| it.report)
    }
}

/// Watches until asked to stop, or once.
///
/// # Errors
/// When a file that the settings name cannot be used or the port is taken.
pub async fn watch(settings: &DetectorSettings, once: bool) -> Result<(), Failure> {
    system::outlive_file_size_limits();
    let watching = &settings.watching;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Feeds { sources, pushed } = settings::feeds(watching, &clock)?;
    let mut observer = settings::shard_observer(settings, sources)?;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), []));
    let (instance, outlets) = (outlets::instance(watching)?, Outlets::of(watching)?);
    Event::Started { version: env!("CARGO_PKG_VERSION"), instance: instance.as_str() }.emit();
    // It runs no git command.
    let pace = Pace::new(NUDGE_DISTANCE, stuck_after(watching.tick_s, 0));
    let ensemble = settings::ensemble(watching);
    let desk = Arc::new(Desk { newest: RwLock::default(), pushed, ensemble, pace });
    let signals = settings::signals(watching);
    let mut looking =
        Looking { shard: settings.shard, desk: Arc::clone(&desk), metrics, said: Said::default(), signals };
    if once {
        looking.look(&mut observer).await;
        observer.keep();
        return Ok(());
    }
    let doors = server::Settings {
        listen: watching.listen,
        webhook: None,
        forge_hooks: false,
        push: inbox::push_door(watching)?,
        anomalies: Some(inbox::anomalies_door(settings)?),
    };
    let serving = Serving::start(doors, Arc::clone(&desk) as Arc<dyn Backend>, &looking.metrics).await?;
    let tick = Duration::from_secs(u64::from(watching.tick_s));
    let mut stopping = pin!(system::stop_requested());
    loop {
        let watch = Stopwatch::start();
        // A look that is not finished is nothing lost: what it learned is written whole, and rarely.
        let round = async {
            looking.look(&mut observer).await;
            outlets.send(&looking.metrics).await;
            desk.pace.next(&watch, tick).await;
        };
        tokio::select! {
            () = round => {}
            _ = &mut stopping => break,
        }
    }
    observer.keep();
    outlets.end(&looking.metrics).await;
    serving.end().await
}

/// Where a look is told.
struct Looking {
    shard: Shard,
    desk: Arc<Desk>,
    metrics: Arc<Metrics>,
    said: Said,
    signals: Vec<SignalConfig>,
}

impl Looking {
    async fn look(&mut self, observer: &mut Observer) {
        let (clock, watch) = (SystemClock, Stopwatch::start());
        let evidence = observer.scan(clock.now()).await;
        measure::look(&self.metrics, &evidence, (watch.elapsed(), &mut self.said));
        measure::availability(&self.metrics, &evidence, &self.signals);
        let look = look(self.shard, &evidence, observer.reads(evidence.at));
        *self.desk.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }
}

fn look(shard: Shard, evidence: &Evidence, signals: Vec<SignalRead>) -> Look {
    let report = ShardReport::new(shard, evidence.at, signals, &evidence.anomalies, evidence.signals.len());
    let sample_at = evidence.signals.values().filter_map(|it| it.last()).map(|(at, _)| at).max();
    Look { report: Arc::new(report), sample_at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixtures::at;

    #[test]
    fn a_look_just_now_makes_old_samples_no_younger() {
        let report = ShardReport::new(Shard::new(0, 1).unwrap(), at(600), Vec::new(), &[], 1);
        let look = Look { report: Arc::new(report), sample_at: Some(at(0)) };
        assert_eq!(look.ready(at(603)).newest_evidence_age_s, Some(603));
        let empty = Look { sample_at: None, ..look };
        assert_eq!(empty.ready(at(603)).newest_evidence_age_s, None);
    }
}
