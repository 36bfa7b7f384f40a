//! A tars to which everything is pushed, and no Prometheus anywhere: it starts, says where senders have to go, and what
//! came. The sender is a few bytes of remote write 1.0 made here.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::world::{TOKEN, World};
use crate::support::metric_stub::now_s;
use crate::support::program::{git, tars};

/// `load` is 0 at this second: a message of one series with one sample, stored by snappy as it is.
fn message(at_s: i64) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let mut time = vec![0x10];
    let mut left = u64::try_from(at_s * 1_000).unwrap();
    while left > 0x7f {
        time.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    time.push(u8::try_from(left).unwrap());
    let label = [field(0x0a, b"__name__"), field(0x12, b"load")].concat();
    let sample = [&[0x09], 0.0_f64.to_le_bytes().as_slice(), &time].concat();
    let whole = field(0x0a, &[field(0x0a, &label), field(0x12, &sample)].concat());
    let length = u8::try_from(whole.len()).unwrap();
    [&[length, (length - 1) << 2], whole.as_slice()].concat()
}

fn push(port: u16, body: &[u8]) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST /api/v1/write HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\nContent-Encoding: snappy\r\nContent-Type: \
         application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: backend, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: backend}}
  template:
    metadata: {labels: {app: backend}}
    spec: {containers: [{name: app, image: 'registry.example.com/app:1.0.0'}]}
";
const POLICY: &str = "\
apiVersion: aiops.tars/v1alpha1
kind: RemediationPolicy
metadata: {name: by-query, namespace: shop}
spec:
  mode: Observe
  triggers: [{type: promql, query: 'up == 0'}]
  actions: [{type: ScaleOut, scaleOut: {step: 1, maxReplicas: 10}}]
  allowedResources: [Deployment/backend]
  verify: {signal: load, service: backend, below: 250, window: 5m, within: 15m}
";

#[test]
fn everything_may_be_pushed_and_check_says_where_to_and_what_came() {
    let mut world = World::new(
        1,
        "push: {enabled: true, secret_file: secret}\nsignals:\n  \
         - {signal: load, service: backend, query: load, source: push, step: 1s, window: 1m}\n",
    );
    world.write("secret", TOKEN);
    let home = world.path("");
    let settings = std::fs::read_to_string(world.path("tars.yaml")).unwrap();
    let pushed: String =
        settings.lines().filter(|it| !it.starts_with("prometheus:")).map(|it| format!("{it}\n")).collect();
    assert_ne!(pushed, settings);
    world.write("tars.yaml", &pushed.replace(", source: push", ""));
    let refused = tars(&home, &["config", "validate", "--config", "tars.yaml"]);
    for words in ["prometheus.url", "signals.0 (load) asks Prometheus", "TARS_PROMETHEUS_URL"] {
        assert!(refused.code == 2 && refused.err.contains(words), "{words}: {refused:?}");
    }
    world.write("tars.yaml", &pushed);
    let check = || tars(&home, &["check", "--config", "tars.yaml"]);
    let says = |words: &str| {
        let said = check();
        assert!(said.code == 0 && said.out.contains(words), "{words}: {said:#?}");
    };
    says(&format!(
        "remote write 1.0 and 2.0 at /api/v1/write of 127.0.0.1:{}, with the bearer token in secret",
        world.port
    ));
    says(
        "backend/load waits for load by remote write; what came is not known: no tars answers at 127.0.0.1:",
    );
    says("no Prometheus whose clock could be compared with this one");
    world.start_tars();
    world.wait("a first look", || world.number("tars_signal_age_seconds{signal=\"load\""));
    says("! push         backend/load waits for load by remote write; nothing came so far");
    world.wait("the sample is in the window", || {
        assert!(push(world.port, &message(now_s())).contains(" 204 "));
        world.number("tars_signal_age_seconds{signal=\"load\"").filter(|it| it.is_finite())
    });
    says("backend/load waits for load by remote write; 1 series, the newest sample is ");
    let asked = tars(&home, &["source", "query", "--config", "tars.yaml"]);
    assert!(asked.code == 2 && asked.err.contains("known to the running tars alone"), "{asked:#?}");

    let work = world.path("work");
    std::fs::create_dir(work.join("policies")).unwrap();
    std::fs::write(work.join("policies/by-query.yaml"), POLICY).unwrap();
    std::fs::write(work.join("backend.yaml"), DEPLOYMENT).unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "A policy that asks Prometheus"]);
    git(&work, &["push", "-q", "origin", "HEAD:main"]);
    let said = check();
    let words = "by-query has a promql trigger, and the settings name no Prometheus";
    assert!(said.code == 1 && said.out.contains(words), "{said:#?}");
    world.wait("the running tars says so too", || {
        let log = std::fs::read_to_string(world.path("tars.log")).unwrap();
        let line = log.lines().find(|it| it.contains("trigger 1 of policy by-query"))?;
        line.contains("the settings name no prometheus to ask").then_some(())
    });
    world.write("tars.yaml", &format!("{pushed}prometheus: {{url: \"http://127.0.0.1:9\"}}\n"));
    let said = check();
    assert!(
        said.code == 1 && said.out.contains("prometheus   cannot reach"),
        "nothing but the policy asks it: {said:#?}"
    );
    let asked = tars(&home, &["source", "query", "--config", "tars.yaml"]);
    assert!(asked.code == 3 && asked.out.is_empty(), "{asked:#?}");
    assert_eq!(asked.err.matches("cannot reach").count(), 1, "{asked:#?}");
    assert!(asked.err.contains("check prometheus.url"), "{asked:#?}");
    let recorded = tars(&home, &["record", "rec", "--config", "tars.yaml"]);
    assert!(recorded.code == 3 && recorded.err == asked.err, "{recorded:#?}");
    assert_eq!(std::fs::read_dir(world.path("rec")).unwrap().count(), 0, "nothing was read");
}
