//! The settings of every role, resolved: where samples are, what is watched, where it listens, and who does which part of
//! the work. Raw settings come in, bounded values go out. No file is opened.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ConfigError;
use super::detection::DetectionSettings;
use super::raw::{LogFormat, RawSettings, Role};
use super::resolve::{DAY_S, Resolve};
use super::signals::{PushAuth, ServerSettings, SignalSettings};
use crate::model::ids::InstanceId;
use crate::model::shard::{SHARDS_MAX, Shard};

/// What a detector saw is known for as long as this, if its tick lets it look that often,
const AGE_MAX_S: u32 = 120;
/// and that may take as long as this.
const LOOK_MAX_S: u32 = 30;

/// What a process needs to watch and to be watched, whatever its role.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Watching {
    /// `None`: no signal asks Prometheus.
    pub prometheus: Option<ServerSettings>,
    /// `None`: no signal asks Loki.
    pub loki: Option<ServerSettings>,
    /// `None`: no signal asks Jaeger.
    pub jaeger: Option<ServerSettings>,
    /// Who may push samples; `None`: nobody.
    pub push: Option<PushAuth>,
    pub detection: DetectionSettings,
    pub signals: Vec<SignalSettings>,
    pub tick_s: u32,
    pub listen: SocketAddr,
    pub pushgateway_url: Option<String>,
    /// Who receives the scores by remote write.
    pub remote_write: Option<ServerSettings>,
    /// `None`: make one up at start.
    pub instance: Option<InstanceId>,
    pub log_format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: &'static str,
    pub clock_max_skew_s: u32,
}

/// A process that watches and scores, and writes nothing.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DetectorSettings {
    pub watching: Watching,
    pub shard: Shard,
    /// Who may ask for its anomalies; `None`: whoever reaches the loopback address.
    pub secret_file: Option<PathBuf>,
    /// Where what was learned outlives the process; `None`: it does not.
    pub state_dir: Option<PathBuf>,
}

/// Whom a remediator asks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DetectorsSettings {
    /// By ordinal.
    pub urls: Vec<String>,
    pub token_file: Option<PathBuf>,
    pub timeout_s: u32,
    pub age_max_s: u32,
}

impl Resolve<'_> {
    pub(super) fn watching(&self, raw: &RawSettings) -> Result<Watching, ConfigError> {
        let listen = self.listen(&raw.listen.0)?;
        Ok(Watching {
            prometheus: self.prometheus(raw)?,
            loki: self.server("loki", &raw.loki)?,
            jaeger: self.server("jaeger", &raw.jaeger.clone().into())?,
            push: self.push(&raw.push, listen)?,
            detection: self.detection(raw)?,
            signals: self.signals(raw)?,
            tick_s: self.duration("tick", &raw.tick.0, (1, 3600))?,
            listen,
            pushgateway_url: self.maybe_url("pushgateway.url", raw.pushgateway.url.as_deref())?,
            remote_write: self.server("remote_write", &raw.remote_write)?,
            instance: match &raw.instance {
                Some(name) => Some(self.name("instance", InstanceId::new(name.as_str()))?),
                None => None,
            },
            log_format: raw.log.format,
            log_level: raw.log.level.as_str(),
            clock_max_skew_s: self.bounded("clock.max_skew_s", raw.clock.max_skew_s, (1, 300))?,
        })
    }

    fn listen(&self, text: &str) -> Result<SocketAddr, ConfigError> {
        text.parse().map_err(|_| {
            let message = "this is not an address with a port";
            self.origins.error("listen", message, "for example 127.0.0.1:8080 or [::1]:8080")
        })
    }

    /// `hostname`: the name of the pod.
    pub(super) fn detector(
        &self,
        raw: &RawSettings,
        hostname: Option<&str>,
    ) -> Result<DetectorSettings, ConfigError> {
        let watching = self.watching(raw)?;
        let shard = self.shard(raw, hostname)?;
        let secret_file = match (&raw.shard.secret_file, raw.shard.insecure) {
            (Some(_), true) => {
                let message = "a secret and `insecure` contradict each other";
                return Err(self.origins.error("shard.insecure", message, "remove one of them"));
            }
            (Some(file), false) => Some(file.into()),
            (None, true) if watching.listen.ip().is_loopback() => None,
            (None, true) => {
                let message = format!("anybody could read the anomalies at {}", watching.listen);
                let fix = "use shard.secret_file, or listen on 127.0.0.1";
                return Err(self.origins.error("shard.insecure", message, fix));
            }
            (None, false) => {
                let fix = "set it or TARS_SHARD_SECRET_FILE; for this machine alone: shard.insecure: true";
                return Err(self.origins.error("shard.secret_file", "the anomalies have no secret", fix));
            }
        };
        let state_dir =
            raw.shard.state_dir.as_deref().map(|it| self.absolute("shard.state_dir", it)).transpose()?;
        Ok(DetectorSettings { watching, shard, secret_file, state_dir })
    }

    fn shard(&self, raw: &RawSettings, hostname: Option<&str>) -> Result<Shard, ConfigError> {
        let total = self.bounded("shard.total", raw.shard.total, (1, SHARDS_MAX))?;
        let of_pod = || hostname?.rsplit_once('-')?.1.parse().ok();
        let ordinal: Option<u32> = match (raw.shard.ordinal, total) {
            (Some(ordinal), _) => Some(ordinal),
            (None, 1) => Some(0),
            (None, _) => of_pod(),
        };
        let Some(ordinal) = ordinal else {
            let message = "the HOSTNAME does not end with -0, -1, ... as that of a StatefulSet's pod does";
            return Err(self.origins.error("shard.ordinal", message, "set it, or TARS_SHARD_ORDINAL"));
        };
        Shard::new(ordinal, total).map_err(|error| {
            self.origins.error("shard.ordinal", error.to_string(), format!("use 0 to {}", total - 1))
        })
    }

    /// Whom a remediator asks; `None` for a process that scores itself.
    pub(super) fn detectors(&self, raw: &RawSettings) -> Result<Option<DetectorsSettings>, ConfigError> {
        let (urls, is_remediator) = (&raw.detectors.urls, raw.role == Role::Remediator);
        if !is_remediator {
            if urls.is_empty() || raw.role == Role::Detector {
                return Ok(None);
            }
            let fix = "set role: remediator, or remove it";
            return Err(self.origins.error("detectors.urls", "nobody asks them: the role is all", fix));
        }
        self.at_most("detectors.urls", urls, SHARDS_MAX as usize)?;
        if urls.is_empty() {
            let fix = "list the address of every detector, or set role: all";
            return Err(self.origins.error("detectors.urls", "a remediator scores nothing itself", fix));
        }
        let mut checked: Vec<String> = Vec::with_capacity(urls.len());
        for (index, url) in urls.iter().enumerate() {
            let path = format!("detectors.urls.{index}");
            let url = self.http_url(&path, url)?;
            if checked.contains(&url) {
                return Err(self.origins.error(&path, "this detector is there twice", "remove one of them"));
            }
            checked.push(url);
        }
        Ok(Some(DetectorsSettings {
            urls: checked,
            token_file: raw.detectors.secret_file.as_ref().map(PathBuf::from),
            timeout_s: self.bounded("detectors.timeout_s", raw.detectors.timeout_s, (1, 60))?,
            age_max_s: self.age_max(raw)?,
        }))
    }

    /// A look is as old as a tick just before the next one ends, and a tick may wait for its sources.
    fn age_max(&self, raw: &RawSettings) -> Result<u32, ConfigError> {
        let least_s = 2 * self.duration("tick", &raw.tick.0, (1, 3600))? + LOOK_MAX_S;
        let Some(given) = &raw.detectors.age_max else { return Ok(least_s.max(AGE_MAX_S)) };
        let given_s = self.duration("detectors.age_max", given, (1, DAY_S))?;
        if given_s >= least_s {
            return Ok(given_s);
        }
        let message = format!("{given} is over before a detector has looked again");
        let fix = format!("use {least_s}s or more (twice the tick and {LOOK_MAX_S}s), or remove it");
        Err(self.origins.error("detectors.age_max", message, fix))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{InForce, Overrides, Settings, parse, resolve, resolve_role};
    use super::*;

    fn in_force(lines: &str, pod: &str) -> Result<InForce, ConfigError> {
        let text = format!("prometheus: {{url: 'http://p:9090'}}\nrole: detector\n{lines}\n");
        let env = |name: &str| (name == "HOSTNAME").then(|| pod.to_owned());
        resolve_role(&parse(&text, "tars.yaml")?, &env, &Overrides::default())
    }

    fn detector(lines: &str, pod: &str) -> Result<DetectorSettings, ConfigError> {
        match in_force(lines, pod)? {
            InForce::Detector(settings) => Ok(*settings),
            InForce::Whole(_) => panic!("the role is detector"),
        }
    }

    fn whole(lines: &str) -> Result<Settings, ConfigError> {
        let needed = "repository: {url: 'https://git.example.com/a/b'}\nprometheus: {url: 'http://p:9090'}\n\
                      signing: {key_file: /k, allowed_signers_file: /a}\nwebhook: {enabled: false}\n";
        resolve(&parse(&format!("{needed}{lines}\n"), "tars.yaml")?, &|_| None, &Overrides::default())
    }

    #[test]
    fn a_detector_needs_no_repository_and_no_key_and_learns_its_place_from_the_name_of_its_pod() {
        let it = detector("shard: {total: 3, secret_file: /s}", "tars-detector-2").unwrap();
        assert_eq!((it.shard, it.secret_file), (Shard::new(2, 3).unwrap(), Some("/s".into())));
        let it = detector("shard: {total: 3, ordinal: 1, insecure: true}", "tars-detector-2").unwrap();
        assert_eq!((it.shard, it.secret_file), (Shard::new(1, 3).unwrap(), None));
        let it = detector("shard: {insecure: true}", "laptop").unwrap();
        assert_eq!(it.shard, Shard::new(0, 1).unwrap());
    }

    /// Variables of the settings about roles, each with a value that is not in the file below.
    pub const OF_ROLES: [(&str, &str); 9] = [
        ("TARS_ROLE", "all"),
        ("TARS_SHARD_TOTAL", "4"),
        ("TARS_SHARD_ORDINAL", "0"),
        ("TARS_SHARD_SECRET_FILE", "/other"),
        ("TARS_SHARD_INSECURE", "true"),
        ("TARS_SHARD_STATE_DIR", "/other"),
        ("TARS_DETECTORS_SECRET_FILE", "/other"),
        ("TARS_DETECTORS_TIMEOUT_S", "7"),
        ("TARS_DETECTORS_AGE_MAX", "7m"),
    ];

    #[test]
    fn every_variable_about_roles_changes_the_settings() {
        let whole = "repository: {url: 'https://git.example.com/a/b'}\nsigning: {key_file: /k, allowed_signers_file: /a}\n\
                     webhook: {enabled: false}\nprometheus: {url: 'http://p:9090'}\n";
        for (name, value) in OF_ROLES {
            let role = match name.starts_with("TARS_DETECTORS") {
                true => "role: remediator\ndetectors: {urls: ['http://d:80'], secret_file: /s}\n",
                false => "role: detector\nshard: {total: 3, ordinal: 1, secret_file: /s}\n",
            };
            let raw = parse(&format!("{whole}{role}"), "tars.yaml").unwrap();
            let with = |env: &dyn Fn(&str) -> Option<String>| {
                format!("{:?}", resolve_role(&raw, env, &Overrides::default()))
            };
            assert_ne!(with(&|it| (it == name).then(|| value.to_owned())), with(&|_| None), "{name}");
        }
    }

    #[test]
    fn a_place_that_there_is_not_and_an_open_door_are_refused_where_they_stand() {
        for (lines, pod, field) in [
            ("shard: {total: 2, insecure: true}", "laptop", "shard.ordinal"),
            ("shard: {total: 2, insecure: true}", "tars-2", "shard.ordinal"),
            ("shard: {total: 2, ordinal: 2, insecure: true}", "tars-0", "shard.ordinal"),
            ("shard: {total: 65, insecure: true}", "tars-0", "shard.total"),
            ("shard: {total: 0, insecure: true}", "tars-0", "shard.total"),
            ("shard: {}", "tars-0", "shard.secret_file"),
            ("shard: {insecure: true, state_dir: here}", "tars-0", "shard.state_dir"),
            ("shard: {insecure: true, secret_file: /s}", "tars-0", "shard.insecure"),
            ("shard: {insecure: true}\nlisten: 0.0.0.0:80", "tars-0", "shard.insecure"),
        ] {
            assert_eq!(detector(lines, pod).unwrap_err().field, field, "{lines}");
        }
    }

    #[test]
    fn a_remediator_names_its_detectors_and_nobody_else_does() {
        assert_eq!(whole("").unwrap().detectors, None);
        let two = "detectors: {urls: ['http://d-0:8080/', 'http://d-1:8080'], secret_file: /s}";
        let it = whole(&format!("role: remediator\n{two}")).unwrap().detectors.unwrap();
        assert_eq!(it.urls, ["http://d-0:8080", "http://d-1:8080"]);
        assert_eq!((it.token_file, it.timeout_s, it.age_max_s), (Some("/s".into()), 5, 120));
        let slow = whole(&format!("role: remediator\ntick: 5m\n{two}")).unwrap().detectors.unwrap();
        assert_eq!(slow.age_max_s, 630, "a detector that looks every five minutes is heard");
        for (lines, field) in [
            ("role: remediator".to_owned(), "detectors.urls"),
            (two.to_owned(), "detectors.urls"),
            ("role: remediator\ndetectors: {urls: ['d-0']}".to_owned(), "detectors.urls.0"),
            ("role: remediator\ndetectors: {urls: ['http://d', 'http://d/']}".to_owned(), "detectors.urls.1"),
            (
                format!("role: remediator\n{}", two.replace("secret_file: /s", "age_max: 0s")),
                "detectors.age_max",
            ),
            (
                format!("role: remediator\ntick: 5m\n{}", two.replace("secret_file: /s", "age_max: 10m")),
                "detectors.age_max",
            ),
        ] {
            assert_eq!(whole(&lines).unwrap_err().field, field, "{lines}");
        }
    }
}
