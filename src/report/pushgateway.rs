//! Pushes the anomaly scores to a Prometheus Pushgateway (github.com/prometheus/pushgateway, "API"). In go
//! the scores as `/metrics` shows them, out goes one bounded request. A failure is counted, logged and
//! forgotten: the next tick pushes again.

use thiserror::Error;

use crate::model::ids::InstanceId;
use crate::model::signal::SignalKey;
use crate::outside::http::{Http, HttpError, HttpRequest, Method, Scheme};
use crate::outside::secret::Secret;
use crate::telemetry::failures::{Failures, error_of};
use crate::telemetry::names::{Metrics, Push};

/// Text exposition format, version 0.0.4: the one every Pushgateway reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why a push failed; for the log only.
#[derive(Debug, Error)]
enum PushError {
    #[error("cannot reach the Pushgateway")]
    Http(#[source] HttpError),
    #[error("the Pushgateway answered HTTP {0}")]
    Status(u16),
}

/// A Pushgateway and the group of this process in it.
#[derive(Debug)]
pub struct Pushgateway {
    http: Http,
    url: String,
    bearer: Option<Secret>,
    failures: Failures,
}

impl Pushgateway {
    /// Pushes go to `base_url` under job `tars` and this instance.
    #[must_use]
    pub fn new(http: Http, base_url: &str, instance: &InstanceId, bearer: Option<Secret>) -> Self {
        // An instance id has only characters that need no escape in a path, but "." and ".." are path
        // segments of their own, so it never stands alone.
        let url = format!("{}/metrics/job/tars/instance/tars-{instance}", base_url.trim_end_matches('/'));
        Self { http, url, bearer, failures: Failures::of("pushgateway") }
    }

    /// Pushes the scores that `metrics` holds now, and counts the outcome there. A Pushgateway keeps what it has, and an
    /// old score must not look current: a signal without a score is pushed as NaN, and what is not pushed any more goes.
    pub async fn push(&self, metrics: &Metrics) {
        let text = text(&metrics.scores());
        let outcome = self.send(Method::Put, Some((TEXT_FORMAT, text.as_bytes()))).await;
        self.failures.note(error_of(&outcome));
        metrics.count_gateway_push(Push::of(&outcome));
    }

    /// Takes the group away: this process scores no more.
    pub async fn end(&self) {
        self.failures.note(error_of(&self.send(Method::Delete, None).await));
    }

    async fn send(&self, method: Method, body: Option<(&str, &[u8])>) -> Result<(), PushError> {
        let credential = self.bearer.as_ref().map(|it| (Scheme::Bearer, it));
        let request = HttpRequest { method, query: &[], headers: &[], body, credential };
        match self.http.send(&self.url, request).await.map_err(PushError::Http)?.status {
            200..300 => Ok(()),
            status => Err(PushError::Status(status)),
        }
    }
}

/// The scores in the text format. Signal and service names have no character that needs an escape.
fn text(scores: &[(SignalKey, Option<f64>)]) -> String {
    let mut text = String::from("# TYPE tars_anomaly_score gauge\n");
    for (SignalKey { signal, service }, score) in scores {
        let score = score.unwrap_or(f64::NAN);
        text.push_str(&format!("tars_anomaly_score{{signal=\"{signal}\",service=\"{service}\"}} {score}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::model::fixtures::signal;
    use crate::outside::http::HttpSettings;

    fn gateway(base_url: &str) -> Pushgateway {
        let settings = HttpSettings {
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            body_max: 1024,
            user_agent: "tars-test".into(),
            authorities: None,
        };
        let http = Http::new(&settings).unwrap();
        Pushgateway::new(http, base_url, &InstanceId::new("a.1").unwrap(), None)
    }

    fn metrics() -> Metrics {
        let metrics = Metrics::new("0.1.0", [signal("backend", "latency_p95"), signal("cart", "errors")]);
        metrics.set_score(&signal("backend", "latency_p95"), 0.876, 0.9);
        metrics
    }

    /// Answers one request with `status` and returns it; it is whole when it ends so.
    async fn answer_once(status: u16, ends: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = String::new();
            while !seen.ends_with(ends) {
                let mut chunk = [0; 4_096];
                let count = stream.read(&mut chunk).await.unwrap();
                assert!(count > 0);
                seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
            let reply = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
            seen
        });
        (address, serving)
    }

    #[tokio::test]
    async fn the_known_scores_are_pushed_under_job_and_instance() {
        let (address, serving) = answer_once(200, "0.876\n").await;
        let metrics = metrics();
        gateway(&format!("{address}/")).push(&metrics).await;
        let seen = serving.await.unwrap();
        assert!(seen.starts_with("PUT /metrics/job/tars/instance/tars-a.1 HTTP/1.1\r\n"), "{seen}");
        let body = seen.split_once("\r\n\r\n").unwrap().1;
        let expected = "# TYPE tars_anomaly_score gauge\n\
                        tars_anomaly_score{signal=\"errors\",service=\"cart\"} NaN\n\
                        tars_anomaly_score{signal=\"latency_p95\",service=\"backend\"} 0.876\n";
        assert_eq!(body, expected);
        let text = metrics.encode().unwrap();
        assert!(text.contains("tars_pushgateway_pushes_total{outcome=\"accepted\"} 1"), "{text}");
    }

    #[tokio::test]
    async fn a_failed_push_is_counted_and_harms_nothing() {
        let (address, serving) = answer_once(500, "0.876\n").await;
        let metrics = metrics();
        let gateway = gateway(&address);
        gateway.push(&metrics).await;
        serving.await.unwrap();
        gateway.push(&metrics).await;
        let text = metrics.encode().unwrap();
        assert!(text.contains("tars_pushgateway_pushes_total{outcome=\"failed\"} 2"), "{text}");
    }

    #[tokio::test]
    async fn without_a_signal_nothing_is_left_of_what_was_pushed_before() {
        let (address, serving) = answer_once(200, "\r\n\r\n# TYPE tars_anomaly_score gauge\n").await;
        let metrics = Metrics::new("0.1.0", []);
        gateway(&address).push(&metrics).await;
        assert!(
            serving.await.unwrap().starts_with("PUT "),
            "a POST without a sample would leave the old ones"
        );
        let text = metrics.encode().unwrap();
        assert!(text.contains("tars_pushgateway_pushes_total{outcome=\"accepted\"} 1"), "{text}");
    }

    #[tokio::test]
    async fn the_group_goes_with_the_process() {
        let (address, serving) = answer_once(202, "\r\n\r\n").await;
        gateway(&address).end().await;
        let seen = serving.await.unwrap();
        assert!(seen.starts_with("DELETE /metrics/job/tars/instance/tars-a.1 HTTP/1.1\r\n"), "{seen}");
    }
}
