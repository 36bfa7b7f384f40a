//! A Prometheus for tests: answers `query_range` and `query` of the HTTP API on a loopback port from a small
//! model, with the real clock. A quiet series swings a little around its level; a surge lifts it.
//! Never: a port that somebody chose, or an answer for the future.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// Queries that surge, and since when (seconds since 1970).
type Surges = Arc<Mutex<BTreeMap<String, i64>>>;

/// The stub; its thread ends with the process.
pub(crate) struct MetricStub {
    pub url: String,
    surges: Surges,
}

pub(crate) fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

impl MetricStub {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let surges = Surges::default();
        let shared = Arc::clone(&surges);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let surges = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &surges));
            }
        });
        Self { url, surges }
    }

    /// `query` has been three times as high as usual for five minutes; asked for this moment, it answers.
    pub(crate) fn surge(&self, query: &str) {
        self.surges.lock().unwrap().insert(query.to_owned(), now_s() - 300);
    }

    /// Everything is, and was, as always.
    pub(crate) fn calm(&self) {
        self.surges.lock().unwrap().clear();
    }
}

/// Answers requests of one connection until it is closed.
fn serve(stream: TcpStream, surges: &Surges) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some((path, form)) = request(&mut reader) {
        let body = answer(&path, &form, surges);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
}

/// Path and form fields of one POST; `None` at the end.
fn request(reader: &mut impl BufRead) -> Option<(String, BTreeMap<String, String>)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|count| *count > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let fields = body.split('&').filter_map(|pair| pair.split_once('='));
    let form = fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Some((first.split_whitespace().nth(1)?.to_owned(), form))
}

fn answer(path: &str, form: &BTreeMap<String, String>, surges: &Surges) -> String {
    let query = form.get("query").cloned().unwrap_or_default();
    let number = |key: &str| form.get(key).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
    let surges_since = surges.lock().unwrap().get(&query).copied();
    if path.ends_with("/query") {
        let row = surges_since.map(|_| format!(r#"{{"metric":{{}},"value":[{},"1"]}}"#, now_s()));
        let rows = row.unwrap_or_default();
        return format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{rows}]}}}}"#);
    }
    let since = surges_since.unwrap_or(i64::MAX);
    let (mut at, step) = (number("start").round() as i64, number("step").max(1.0) as i64);
    let end = (number("end") as i64).min(now_s());
    let mut points = Vec::new();
    while at <= end {
        points.push(format!("[{at},\"{}\"]", value(at, since)));
        at += step;
    }
    let values = points.join(",");
    format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":[{values}]}}]}}}}"#
    )
}

/// Around 180, an hourly swing and a little noise; 540 in a surge.
fn value(at: i64, surge_since: i64) -> f64 {
    let swing = (std::f64::consts::TAU * (at % 3600) as f64 / 3600.0).sin();
    let noise = ((at.wrapping_mul(2_654_435_761) >> 7) % 100) as f64 / 100.0 - 0.5;
    let usual = 180.0 + 4.0 * swing + 2.0 * noise;
    if at >= surge_since { usual * 3.0 } else { usual }
}
