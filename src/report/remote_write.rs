//! Sends the anomaly scores by Prometheus remote write 1.0 (prometheus.io, "Remote Write") to whoever keeps metrics. In
//! go the scores as `/metrics` shows them, out go bounded requests. A failure is counted, logged and forgotten: the
//! next tick sends again.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use thiserror::Error;

use crate::model::ids::InstanceId;
use crate::model::pushed::STALE_NAN;
use crate::model::signal::SignalKey;
use crate::outside::http::{Http, HttpError, HttpRequest, Method, Scheme};
use crate::outside::protobuf::Writer;
use crate::outside::secret::Secret;
use crate::telemetry::events::Event;
use crate::telemetry::names::{Metrics, Push};

/// Most series of one request, as Prometheus itself sends.
const SERIES_MAX: usize = 2_000;
const HEADERS: [(&str, &str); 2] =
    [("content-encoding", "snappy"), ("x-prometheus-remote-write-version", "0.1.0")];
const TENANT_HEADER: &str = "x-scope-orgid";

/// Why the scores were not sent; for the log only.
#[derive(Debug, Error)]
enum SendError {
    #[error("cannot reach the receiver of remote write")]
    Http(#[source] HttpError),
    #[error("the receiver of remote write answered HTTP {0}")]
    Status(u16),
    #[error("the message cannot be compressed")]
    Snappy(#[source] snap::Error),
}

/// A receiver of remote write.
#[derive(Debug)]
pub struct RemoteWrite {
    http: Http,
    url: String,
    /// Whose scores these are, where several share a receiver.
    tenant: Option<String>,
    instance: InstanceId,
    bearer: Option<Secret>,
    /// Rounds that failed since the last that did not: an outage is logged when it begins and when it ends.
    failed: AtomicU64,
}

impl RemoteWrite {
    /// Scores go to exactly this address, as job `tars` and this instance.
    #[must_use]
    pub fn new(
        http: Http,
        (url, tenant): (&str, Option<String>),
        instance: &InstanceId,
        bearer: Option<Secret>,
    ) -> Self {
        let (url, instance) = (url.to_owned(), instance.clone());
        Self { http, url, tenant, instance, bearer, failed: AtomicU64::new(0) }
    }

    /// Sends the scores that `metrics` holds now, and counts the outcome there. A series without a score ends: an old
    /// score must not look current.
    pub async fn push(&self, metrics: &Metrics, now: Timestamp) {
        let scores = metrics.scores();
        if scores.is_empty() {
            return;
        }
        let mut outcome = Ok(());
        for part in scores.chunks(SERIES_MAX) {
            outcome = self.send(&self.message(part, now)).await;
            if outcome.is_err() {
                break;
            }
        }
        match outcome {
            Ok(()) => {
                metrics.count_score_write(Push::Accepted);
                let failed = self.failed.swap(0, Ordering::Relaxed);
                if failed > 0 {
                    Event::Recovered { stage: "remote write", failed }.emit();
                }
            }
            Err(error) => {
                metrics.count_score_write(Push::Failed);
                if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    Event::Failed { stage: "remote write", error: &error }.emit();
                }
            }
        }
    }

    async fn send(&self, message: &[u8]) -> Result<(), SendError> {
        let body = snap::raw::Encoder::new().compress_vec(message).map_err(SendError::Snappy)?;
        let request = HttpRequest {
            method: Method::Post,
            query: &[],
            headers: &self.headers(),
            body: Some(("application/x-protobuf", &body)),
            credential: self.bearer.as_ref().map(|it| (Scheme::Bearer, it)),
        };
        match self.http.send(&self.url, request).await.map_err(SendError::Http)?.status {
            200..300 => Ok(()),
            status => Err(SendError::Status(status)),
        }
    }

    fn headers(&self) -> Vec<(&'static str, &str)> {
        HEADERS.into_iter().chain(self.tenant.as_deref().map(|it| (TENANT_HEADER, it))).collect()
    }

    /// `prometheus.WriteRequest`; labels stand in the order of their names.
    fn message(&self, scores: &[(SignalKey, Option<f64>)], now: Timestamp) -> Vec<u8> {
        let mut message = Writer::default();
        let instance = format!("tars-{}", self.instance);
        for (SignalKey { signal, service }, score) in scores {
            let mut series = Writer::default();
            for (name, value) in [
                ("__name__", "tars_anomaly_score"),
                ("instance", &instance),
                ("job", "tars"),
                ("service", service.as_str()),
                ("signal", signal.as_str()),
            ] {
                let mut label = Writer::default();
                label.bytes(1, name.as_bytes());
                label.bytes(2, value.as_bytes());
                series.bytes(1, &label.bytes);
            }
            let mut sample = Writer::default();
            sample.double(1, score.unwrap_or(f64::from_bits(STALE_NAN)));
            sample.varint(2, now.as_millisecond().cast_unsigned());
            series.bytes(2, &sample.bytes);
            message.bytes(1, &series.bytes);
        }
        message.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::fixtures::{at, signal};
    use crate::outside::http::HttpSettings;
    use crate::outside::protobuf::{Fields, Value};

    fn receiver() -> RemoteWrite {
        let settings = HttpSettings {
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            body_max: 1024,
            user_agent: "tars-test".into(),
            authorities: None,
        };
        let http = Http::new(&settings).unwrap();
        RemoteWrite::new(http, ("http://127.0.0.1:9/write", None), &InstanceId::new("a").unwrap(), None)
    }

    #[test]
    fn a_tenant_is_named_where_there_is_one() {
        let mut receiver = receiver();
        assert_eq!(receiver.headers(), HEADERS);
        receiver.tenant = Some("shop".to_owned());
        assert_eq!(receiver.headers()[2..], [("x-scope-orgid", "shop")]);
    }

    /// Texts and numbers of a message, wherever they stand.
    fn leaves(bytes: &[u8], depth: usize) -> Vec<String> {
        let one = |(_, value)| match value {
            Value::Bytes(inner) if depth > 0 => leaves(inner, depth - 1),
            Value::Bytes(text) => vec![String::from_utf8_lossy(text).into_owned()],
            Value::Varint(number) => vec![number.to_string()],
            Value::Fixed64(bits) => vec![f64::from_le_bytes(bits).to_string()],
            Value::Fixed32 => Vec::new(),
        };
        Fields::of(bytes).map(Result::unwrap).flat_map(one).collect()
    }

    #[test]
    fn a_score_is_a_sample_and_no_score_is_the_end_of_the_series() {
        let scores = [(signal("web", "p95"), Some(0.5)), (signal("db", "p95"), None)];
        let message = receiver().message(&scores, at(0));
        let now = at(0).as_millisecond().to_string();
        let expected = |service: &str, value: &str| {
            let labels = ["__name__", "tars_anomaly_score", "instance", "tars-a", "job", "tars", "service"];
            let rest = [service, "signal", "p95", value, &now];
            labels.iter().chain(&rest).map(|it| (*it).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(leaves(&message, 2), [expected("web", "0.5"), expected("db", "NaN")].concat());
        let bits = f64::from_bits(STALE_NAN).to_le_bytes();
        assert!(message.windows(8).any(|it| it == bits), "a NaN of the right bits");
    }

    #[tokio::test]
    async fn an_outage_is_counted_and_harms_nothing() {
        let metrics = Metrics::new("0.1.0", [signal("web", "p95")]);
        receiver().push(&metrics, at(0)).await;
        let text = metrics.encode().unwrap();
        assert!(text.contains("tars_score_writes_total{outcome=\"failed\"} 1"), "{text}");
    }
}
