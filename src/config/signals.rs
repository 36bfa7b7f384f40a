//! The settings about signals and where their samples come from, resolved. Raw settings come in, bounded values whose
//! queries can be used go out. No file is opened and nobody is asked.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ConfigError;
use super::raw::{self, RawSettings, Role, SignalSource, SyncKind};
use super::resolve::{DAY_S, Resolve};
use crate::model::ids::SignalName;
use crate::model::selector::Selector;
use crate::model::signal::{ServiceOf, SourceKind};

/// Most signals of one process.
const MAX_SIGNALS: usize = 1_000;
/// Most samples of one window: a day at one second, and a little more.
const MAX_SAMPLES: u32 = 100_000;
/// Longest user, tenant or name of a label, bytes.
const NAME_BYTES_MAX: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SignalSettings {
    pub signal: SignalName,
    pub service: ServiceOf,
    pub source: SourceKind,
    pub query: String,
    pub step_s: u32,
    pub window_s: u32,
    /// Season in samples, when it is known.
    pub period: Option<u32>,
    pub staleness_s: u32,
}

/// A server over HTTP, and what it wants to be shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServerSettings {
    pub url: String,
    /// Whose data is meant, where several share it.
    pub tenant: Option<String>,
    pub token_file: Option<PathBuf>,
    pub timeout_s: u32,
}

/// What a sender of samples must present.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum PushAuth {
    /// A bearer token.
    TokenFile(PathBuf),
    /// A user and a password.
    Basic { user: String, password_file: PathBuf },
    /// Nothing; only on a loopback address.
    InsecureLoopback,
}

/// What of the settings cannot do without Prometheus. Policies may ask it too, and are not known here.
fn who_asks_prometheus(raw: &RawSettings) -> Option<String> {
    let asks = |it: &(usize, &raw::Signal)| it.1.source == SignalSource::Prometheus;
    if let Some((index, signal)) = raw.signals.iter().enumerate().find(asks) {
        return Some(format!("signals.{index} ({})", signal.signal));
    }
    let is_probe = raw.role != Role::Detector && raw.sync.kind == Some(SyncKind::Metric);
    is_probe.then(|| "sync.kind: metric".to_owned())
}

impl Resolve<'_> {
    /// `None`: nobody here asks it.
    pub(super) fn prometheus(&self, raw: &RawSettings) -> Result<Option<ServerSettings>, ConfigError> {
        if raw.prometheus.url.as_ref().is_some_and(|it| !it.trim().is_empty()) {
            return self.server("prometheus", &raw.prometheus);
        }
        let Some(who) = who_asks_prometheus(raw) else { return Ok(None) };
        let message = format!("this setting is missing, and {who} asks Prometheus");
        let fix =
            "set it in the file, or TARS_PROMETHEUS_URL; a signal may have another source, such as push";
        Err(self.origins.error("prometheus.url", message, fix))
    }

    /// `None`: the section names no address.
    pub(super) fn server(
        &self,
        section: &str,
        raw: &raw::Server,
    ) -> Result<Option<ServerSettings>, ConfigError> {
        let at = |field: &str| format!("{section}.{field}");
        let Some(url) = self.maybe_url(&at("url"), raw.url.as_deref())? else { return Ok(None) };
        if let Some(tenant) = &raw.tenant {
            self.header_text(&at("tenant"), tenant)?;
        }
        Ok(Some(ServerSettings {
            url,
            tenant: raw.tenant.clone(),
            token_file: raw.bearer_token_file.as_ref().map(PathBuf::from),
            timeout_s: self.bounded(&at("timeout_s"), raw.timeout_s, (1, 600))?,
        }))
    }

    /// Something that stands in a header of a request.
    fn header_text(&self, path: &str, text: &str) -> Result<(), ConfigError> {
        let usable = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
        if usable {
            return Ok(());
        }
        let fix = format!("use 1 to {NAME_BYTES_MAX} printable ASCII characters without blanks");
        Err(self.origins.error(path, "this cannot stand in a header", fix))
    }

    pub(super) fn push(&self, raw: &raw::Push, listen: SocketAddr) -> Result<Option<PushAuth>, ConfigError> {
        if !raw.enabled {
            return Ok(None);
        }
        if let Some(user) = &raw.user {
            self.header_text("push.user", user)?;
            if user.contains(':') {
                return Err(self.origins.error("push.user", "a user has no colon", "use another name"));
            }
        }
        let fix = "use push.secret_file, or listen on 127.0.0.1";
        Ok(Some(match (&raw.secret_file, &raw.user, raw.insecure) {
            (Some(_), _, true) | (_, Some(_), true) => {
                let message = "a secret and `insecure` contradict each other";
                return Err(self.origins.error("push.insecure", message, "remove one of them"));
            }
            (Some(file), None, false) => PushAuth::TokenFile(file.into()),
            (Some(file), Some(user), false) => {
                PushAuth::Basic { user: user.clone(), password_file: file.into() }
            }
            (None, None, true) if listen.ip().is_loopback() => PushAuth::InsecureLoopback,
            (None, None, true) => {
                let message = format!("anybody could push samples to {listen}");
                return Err(self.origins.error("push.insecure", message, fix));
            }
            (None, _, false) => {
                let fix = "set it or TARS_PUSH_SECRET_FILE; for this machine alone: push.insecure: true";
                return Err(self.origins.error("push.secret_file", "the receiver has no secret", fix));
            }
        }))
    }

    pub(super) fn signals(&self, raw: &RawSettings) -> Result<Vec<SignalSettings>, ConfigError> {
        if raw.signals.len() > MAX_SIGNALS {
            return Err(self.origins.error("signals", "too many signals", format!("at most {MAX_SIGNALS}")));
        }
        let mut signals: Vec<SignalSettings> = Vec::new();
        for (index, it) in raw.signals.iter().enumerate() {
            let path = format!("signals.{index}");
            let signal = self.signal(&path, it)?;
            self.has_source(&path, it.source, raw)?;
            if signals.iter().any(|other| overlap(other, &signal)) {
                let message = format!("signal {} is there twice for a service", signal.signal);
                return Err(self.origins.error(&path, message, "rename one of them"));
            }
            signals.push(signal);
        }
        Ok(signals)
    }

    fn signal(&self, path: &str, raw: &raw::Signal) -> Result<SignalSettings, ConfigError> {
        let at = |field: &str| format!("{path}.{field}");
        let or = |text: &Option<String>, default: &str| text.clone().unwrap_or_else(|| default.to_owned());
        let signal = self.name(&at("signal"), SignalName::new(raw.signal.as_str()))?;
        let service = self.service(path, raw)?;
        if raw.query.trim().is_empty() {
            let fix = "write an expression in the language of the source";
            return Err(self.origins.error(&at("query"), "the query is empty", fix));
        }
        if raw.source == SignalSource::Push {
            Selector::parse(&raw.query).map_err(|error| {
                let fix = "a pushed signal is a vector selector, such as latency_p95{app=\"backend\"}; what has to be \
                           computed is computed by the sender, in a recording rule";
                self.origins.error(&at("query"), error.to_string(), fix)
            })?;
        }
        let step_s = self.duration(&at("step"), &or(&raw.step, "30s"), (1, 3600))?;
        let window_s = self.duration(&at("window"), &or(&raw.window, "24h"), (1, 30 * DAY_S))?;
        if !(10..=MAX_SAMPLES).contains(&(window_s / step_s)) {
            let message = format!("{} samples in the window", window_s / step_s);
            return Err(self.origins.error(
                &at("window"),
                message,
                format!("10 to {MAX_SAMPLES}: change step or window"),
            ));
        }
        let period = match &raw.period {
            Some(text) => Some(self.period(&at("period"), text, step_s, window_s)?),
            None => None,
        };
        let source = match raw.source {
            SignalSource::Prometheus => SourceKind::Prometheus,
            SignalSource::Push => SourceKind::Push,
            SignalSource::Loki => SourceKind::Loki,
            SignalSource::Jaeger => SourceKind::Jaeger,
        };
        let staleness_s = match &raw.staleness {
            Some(text) => self.duration(&at("staleness"), text, (step_s, DAY_S))?,
            None => step_s * 4 + source.settled_after_s(),
        };
        let query = raw.query.clone();
        Ok(SignalSettings { signal, service, source, query, step_s, window_s, period, staleness_s })
    }

    fn service(&self, path: &str, raw: &raw::Signal) -> Result<ServiceOf, ConfigError> {
        let at = |field: &str| format!("{path}.{field}");
        match (&raw.service, &raw.service_label) {
            (Some(service), None) => {
                Ok(ServiceOf::Named(self.name(&at("service"), SignalName::new(service.as_str()))?))
            }
            (None, Some(label)) => {
                let part = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
                let usable = (1..=NAME_BYTES_MAX).contains(&label.len()) && label.bytes().all(part);
                if !usable || label.as_bytes()[0].is_ascii_digit() {
                    let fix = "use letters, digits and _, such as app";
                    return Err(self.origins.error(&at("service_label"), "this is no name of a label", fix));
                }
                Ok(ServiceOf::Label(label.clone()))
            }
            (Some(_), Some(_)) => {
                let message = "a signal has a service, or a label that names it";
                Err(self.origins.error(&at("service_label"), message, "remove one of them"))
            }
            (None, None) => {
                let fix = "name the service, or the label that names it: service_label";
                Err(self.origins.error(&at("service"), "this setting is missing", fix))
            }
        }
    }

    /// A signal whose source is not set up would be stale for ever.
    fn has_source(&self, path: &str, source: SignalSource, raw: &RawSettings) -> Result<(), ConfigError> {
        let (missing, fix) = match source {
            SignalSource::Push => (!raw.push.enabled, "set push.enabled: true and a secret"),
            SignalSource::Loki => (raw.loki.url.is_none(), "set loki.url"),
            SignalSource::Jaeger => (raw.jaeger.url.is_none(), "set jaeger.url"),
            SignalSource::Prometheus => (false, ""),
        };
        if missing {
            return Err(self.origins.error(&format!("{path}.source"), "the source is not set up", fix));
        }
        Ok(())
    }

    /// A season can be told from a trend only when it is seen twice.
    fn period(&self, path: &str, text: &str, step_s: u32, window_s: u32) -> Result<u32, ConfigError> {
        let period_s = self.duration(path, text, (1, 30 * DAY_S))?;
        if period_s < step_s * 2 || period_s > window_s / 2 || !period_s.is_multiple_of(step_s) {
            let fix = "use a multiple of the step, at least two steps and at most half the window";
            return Err(self.origins.error(path, format!("{text} cannot be the season"), fix));
        }
        Ok(period_s / step_s)
    }
}

/// Could two signals have a series of the same name and service?
fn overlap(one: &SignalSettings, other: &SignalSettings) -> bool {
    let apart =
        matches!((&one.service, &other.service), (ServiceOf::Named(a), ServiceOf::Named(b)) if a != b);
    one.signal == other.signal && !apart
}

#[cfg(test)]
mod tests {
    use super::super::{Overrides, Settings, parse, resolve};
    use super::*;

    fn resolved(lines: &str) -> Result<Settings, ConfigError> {
        let needed = "repository: {url: 'https://git.example.com/a/b'}\nprometheus: {url: 'http://p:9090'}\n\
                      signing: {key_file: /k, allowed_signers_file: /a}\nwebhook: {enabled: false}\n";
        resolve(&parse(&format!("{needed}{lines}\n"), "tars.yaml")?, &|_| None, &Overrides::default())
    }

    #[test]
    fn a_signal_may_have_many_services_and_another_source() {
        let lines = "loki: {url: 'http://loki:3100/', tenant: shop}\npush: {enabled: true, insecure: true}\n\
                     signals:\n  - {signal: a, service_label: app, query: up}\n\
                     \x20 - {signal: b, service: web, query: 'up{app=\"web\"}', source: push}\n\
                     \x20 - {signal: c, service: web, query: 'sum(rate({app=\"web\"}[1m]))', source: loki}\n";
        let it = resolved(lines).unwrap();
        let shape = |it: &SignalSettings| (it.service.clone(), it.source);
        let web = ServiceOf::Named(SignalName::new("web").unwrap());
        assert_eq!(
            it.watching.signals.iter().map(shape).collect::<Vec<_>>(),
            [
                (ServiceOf::Label("app".into()), SourceKind::Prometheus),
                (web.clone(), SourceKind::Push),
                (web, SourceKind::Loki)
            ]
        );
        let staleness: Vec<u32> = it.watching.signals.iter().map(|it| it.staleness_s).collect();
        assert_eq!(staleness, [120, 125, 125], "what comes late is not old");
        let loki = it.watching.loki.unwrap();
        assert_eq!((loki.url.as_str(), loki.tenant.as_deref()), ("http://loki:3100", Some("shop")));
    }

    #[test]
    fn prometheus_is_needed_by_who_asks_it_and_the_error_names_that() {
        let without = |lines: &str| {
            let needed = "repository: {url: 'https://git.example.com/a/b'}\nsigning: {key_file: /k, allowed_signers_file: /a}\n\
                          webhook: {enabled: false}\npush: {enabled: true, secret_file: /s}\nloki: {url: 'http://l'}\n";
            resolve(&parse(&format!("{needed}{lines}\n"), "tars.yaml")?, &|_| None, &Overrides::default())
        };
        let pushed = "{signal: a, service: b, query: up, source: push}";
        let logs = "{signal: c, service: d, query: x, source: loki}";
        let it = without(&format!("signals: [{pushed}, {logs}]")).unwrap();
        assert_eq!((it.watching.prometheus, it.watching.signals.len()), (None, 2));
        for (lines, who) in [
            (format!("signals: [{pushed}, {{signal: e, service: f, query: up}}]"), "signals.1 (e)"),
            (
                format!("signals: [{pushed}]\nsync: {{kind: metric, query: 'up{{c=\"$commit\"}}'}}"),
                "sync.kind: metric",
            ),
            (
                "prometheus: {url: ''}\nsignals: [{signal: e, service: f, query: up}]".to_owned(),
                "signals.0 (e)",
            ),
        ] {
            let error = without(&lines).unwrap_err();
            assert_eq!(error.field, "prometheus.url", "{lines}");
            assert!(error.message.contains(who) && error.fix.contains("TARS_PROMETHEUS_URL"), "{error}");
        }
        let it =
            without("prometheus: {url: 'http://p/', timeout_s: 3}").unwrap().watching.prometheus.unwrap();
        assert_eq!(
            (it.url.as_str(), it.timeout_s),
            ("http://p", 3),
            "policies may ask it, so it may be named"
        );
    }

    #[test]
    fn who_may_push_is_said_or_nobody_may() {
        let push = |lines: &str| resolved(&format!("push: {lines}")).map(|it| it.watching.push);
        assert_eq!(push("{}").unwrap(), None);
        assert_eq!(push("{enabled: true, secret_file: /s}").unwrap(), Some(PushAuth::TokenFile("/s".into())));
        let basic = PushAuth::Basic { user: "prom".into(), password_file: "/s".into() };
        assert_eq!(push("{enabled: true, secret_file: /s, user: prom}").unwrap(), Some(basic));
        assert_eq!(push("{enabled: true, insecure: true}").unwrap(), Some(PushAuth::InsecureLoopback));
        let open = "push: {enabled: true, insecure: true}\nlisten: 0.0.0.0:80";
        assert_eq!(resolved(open).unwrap_err().field, "push.insecure");
    }

    #[test]
    fn what_cannot_be_a_signal_is_refused_where_it_stands() {
        for (lines, field) in [
            ("signals: [{signal: a, query: up}]", "signals.0.service"),
            ("signals: [{signal: a, service: b, service_label: c, query: up}]", "signals.0.service_label"),
            ("signals: [{signal: a, service_label: 'a-b', query: up}]", "signals.0.service_label"),
            ("signals: [{signal: a, service: b, query: up, source: push}]", "signals.0.source"),
            ("signals: [{signal: a, service: b, query: up, source: loki}]", "signals.0.source"),
            ("signals: [{signal: a, service: b, query: up, source: jaeger}]", "signals.0.source"),
            (
                "signals: [{signal: a, service: b, query: sum(up), source: push}]\npush: {enabled: true, insecure: true}",
                "signals.0.query",
            ),
            (
                "signals: [{signal: a, service: b, query: up}, {signal: a, service_label: c, query: up}]",
                "signals.1",
            ),
            ("push: {enabled: true}", "push.secret_file"),
            ("push: {enabled: true, user: u}", "push.secret_file"),
            ("push: {enabled: true, user: 'u:v', secret_file: /s}", "push.user"),
            ("push: {enabled: true, secret_file: /s, insecure: true}", "push.insecure"),
            ("loki: {url: 'http://l', tenant: 'a b'}", "loki.tenant"),
            ("loki: {url: 'loki'}", "loki.url"),
        ] {
            assert_eq!(resolved(lines).unwrap_err().field, field, "{lines}");
        }
    }
}
