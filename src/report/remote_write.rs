//! Sends the anomaly scores by Prometheus remote write 1.0 (prometheus.io, "Remote Write") to whoever keeps metrics. In
//! go the scores as `/metrics` shows them, out go bounded requests. A failure is counted, logged and forgotten: the
//! next tick sends again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::time::timeout;

use crate::model::ids::InstanceId;
use crate::model::pushed::STALE_NAN;
use crate::model::signal::SignalKey;
use crate::outside::http::{Http, HttpError, HttpRequest, Method, Scheme};
use crate::outside::protobuf::Writer;
use crate::outside::secret::Secret;
use crate::telemetry::failures::{Failures, error_of};
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
    #[error("the receiver of remote write answered {sent} of {parts} messages within {} s", .within.as_secs())]
    OutOfTime { sent: usize, parts: usize, within: Duration },
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
    failures: Failures,
    /// Which part a round begins with: the first that the one before did not come to, so that a slow receiver gets each in its turn.
    first: AtomicUsize,
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
        Self {
            http,
            url,
            tenant,
            instance,
            bearer,
            failures: Failures::of("remote write"),
            first: AtomicUsize::new(0),
        }
    }

    /// Sends the scores that `metrics` holds now, as many as there is time for, and counts the outcome there. A series
    /// without a score ends: an old score must not look current.
    pub async fn push(&self, metrics: &Metrics, now: Timestamp, within: Duration) {
        let scores = metrics.scores();
        if !scores.is_empty() {
            let outcome = self.round(&scores, now, within).await;
            self.failures.note(error_of(&outcome));
            metrics.count_score_write(Push::of(&outcome));
        }
    }

    /// Ends every series: this process scores no more.
    pub async fn end(&self, metrics: &Metrics, now: Timestamp, within: Duration) {
        let ended: Vec<_> = metrics.scores().into_iter().map(|(key, _)| (key, None)).collect();
        self.failures.note(error_of(&self.round(&ended, now, within).await));
    }

    async fn round(
        &self,
        scores: &[(SignalKey, Option<f64>)],
        now: Timestamp,
        within: Duration,
    ) -> Result<(), SendError> {
        let mut parts: Vec<_> = scores.chunks(SERIES_MAX).collect();
        let first = self.first.load(Ordering::Relaxed).checked_rem(parts.len()).unwrap_or(0);
        parts.rotate_left(first);
        let (mut sent, mut outcome) = (0, Ok(()));
        let sending = async {
            for part in &parts {
                let answer = self.send(&self.message(part, now)).await;
                sent += 1;
                match answer {
                    Ok(()) => {}
                    Err(SendError::Http(error)) => {
                        outcome = Err(SendError::Http(error));
                        return;
                    }
                    // Who does not take one part may want the next.
                    Err(refused) => outcome = Err(refused),
                }
            }
        };
        let in_time = timeout(within, sending).await;
        self.first.store(first + sent, Ordering::Relaxed);
        match in_time {
            Ok(()) => outcome,
            Err(_) => Err(SendError::OutOfTime { sent, parts: parts.len(), within }),
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
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::model::fixtures::{at, signal};
    use crate::outside::http::HttpSettings;
    use crate::outside::protobuf::{Fields, Value};

    /// No test waits so long.
    const LONG: Duration = Duration::from_secs(60);

    fn receiver(url: &str) -> RemoteWrite {
        let settings = HttpSettings {
            timeout: LONG,
            connect_timeout: LONG,
            body_max: 1024,
            user_agent: "tars-test".into(),
            authorities: None,
        };
        let http = Http::new(&settings).unwrap();
        RemoteWrite::new(http, (url, None), &InstanceId::new("a").unwrap(), None)
    }

    #[test]
    fn a_tenant_is_named_where_there_is_one() {
        let mut receiver = nobody();
        assert_eq!(receiver.headers(), HEADERS);
        receiver.tenant = Some("shop".to_owned());
        assert_eq!(receiver.headers()[2..], [("x-scope-orgid", "shop")]);
    }

    fn nobody() -> RemoteWrite {
        receiver("http://127.0.0.1:9/write")
    }

    /// Series for three messages.
    fn three_parts() -> Metrics {
        Metrics::new("0.1.0", (0..=2 * SERIES_MAX).map(|it| signal(&format!("s{it}"), "p95")))
    }

    /// Answers every request with the next of `statuses`, and says how many there were; without one left it does not answer.
    async fn answers(statuses: &'static [u16]) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/write", listener.local_addr().unwrap());
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                whole_request(&mut stream).await;
                match statuses.get(count.fetch_add(1, Ordering::SeqCst)) {
                    Some(status) => {
                        let reply =
                            format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                        stream.write_all(reply.as_bytes()).await.unwrap();
                    }
                    None => held.push(stream),
                }
            }
        });
        (url, seen)
    }

    async fn whole_request(stream: &mut TcpStream) {
        let mut seen = Vec::new();
        loop {
            let end = seen.windows(4).position(|it| it == b"\r\n\r\n");
            let head = end.map(|it| String::from_utf8_lossy(&seen[..it]).to_ascii_lowercase());
            let length = head.as_deref().and_then(|it| it.split("content-length: ").nth(1)?.lines().next());
            let length: Option<usize> = length.map(|it| it.parse().unwrap());
            if end.zip(length).is_some_and(|(end, length)| seen.len() >= end + 4 + length) {
                return;
            }
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
    }

    fn counted(metrics: &Metrics, outcome: &str) {
        let line = format!("tars_score_writes_total{{outcome=\"{outcome}\"}} 1");
        let text = metrics.encode().unwrap();
        assert!(text.contains(&line), "{outcome}");
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
        let message = nobody().message(&scores, at(0));
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
        nobody().push(&metrics, at(0), LONG).await;
        counted(&metrics, "failed");
    }

    #[tokio::test]
    async fn a_part_that_is_refused_leaves_the_others_going() {
        let (url, seen) = answers(&[400, 204, 204]).await;
        let metrics = three_parts();
        receiver(&url).push(&metrics, at(0), LONG).await;
        assert_eq!(seen.load(Ordering::SeqCst), 3);
        counted(&metrics, "failed");
    }

    #[tokio::test]
    async fn a_receiver_that_does_not_answer_costs_a_round_no_more_than_its_deadline_and_gets_the_rest_next_time()
     {
        let (url, seen) = answers(&[204]).await;
        let (metrics, slow) = (three_parts(), receiver(&url));
        let within = Duration::from_millis(300);
        let pushed = timeout(LONG / 2, slow.push(&metrics, at(0), within)).await;
        assert_eq!((pushed, seen.load(Ordering::SeqCst)), (Ok(()), 2));
        counted(&metrics, "failed");
        assert_eq!(slow.first.load(Ordering::SeqCst), 1, "the next round begins where this one ended");
    }

    #[tokio::test]
    async fn at_the_end_every_series_ends() {
        let (url, seen) = answers(&[204, 204, 204]).await;
        let metrics = three_parts();
        receiver(&url).end(&metrics, at(0), LONG).await;
        assert_eq!(seen.load(Ordering::SeqCst), 3);
    }
}
