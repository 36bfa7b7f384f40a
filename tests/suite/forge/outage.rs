//! A forge that is away as long as tars runs, and a storm of alerts meanwhile, with the real `tars run`: what is kept, how
//! often the forge is asked, and how much memory it takes. `src/reconcile/desk_threats_tests.rs` plays the six hours and
//! what comes after them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::hooks::{Running, prepared};
use crate::support::git_http::GitHttp;
use crate::support::ports::free_port;
use crate::support::program::{git, git_with};

const INCIDENTS: usize = 5;
const ALERTS: usize = 10_000;
/// Alerts of one message.
const MESSAGE: usize = 500;
const RSS_KIB_MAX: u64 = 128 * 1024;
const SECRET: &str = "outage-webhook-token-0123456789abcdef";

/// A deployment and its policy for each incident.
fn files(work: &Path) {
    for part in ["apps", "policies"] {
        fs::create_dir_all(work.join(part)).unwrap();
    }
    for number in 0..INCIDENTS {
        let app = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: t{number}, namespace: shop}}\nspec:\n  replicas: 3\n  \
             template:\n    spec:\n      containers: [{{name: app, image: 'r.example/app:1'}}]\n"
        );
        let policy = format!(
            "apiVersion: aiops.tars/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: t{number}, namespace: shop}}\n\
             spec:\n  mode: AutoMerge\n  triggers: [{{type: webhook, alertname: Slow{number}}}]\n  \
             actions: [{{type: ScaleOut, scaleOut: {{step: 1, maxReplicas: 10}}}}]\n  \
             allowedResources: [Deployment/t{number}]\n  \
             verify: {{signal: latency_p95, service: backend, below: 250, window: 10m, within: 1h}}\n"
        );
        fs::write(work.join(format!("apps/t{number}.yaml")), app).unwrap();
        fs::write(work.join(format!("policies/t{number}.yaml")), policy).unwrap();
    }
    git(work, &["add", "-A"]);
    // What a person has just done, tars would yield to.
    let an_hour_ago = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)).to_string();
    let dates = [("GIT_AUTHOR_DATE", an_hour_ago.as_str()), ("GIT_COMMITTER_DATE", an_hour_ago.as_str())];
    git_with(work, &["commit", "-q", "-m", "apps and policies"], &dates, b"");
    git(work, &["push", "-q", "origin", "HEAD:main"]);
}

/// Message number `number` of the storm, as Alertmanager sends it, with labels as a cluster's alerts have.
fn message(number: usize, starts_at: &str) -> String {
    let alert = |at: usize| {
        let app = format!("t{}", at % INCIDENTS);
        json!({
            "status": "firing", "annotations": { "summary": "p95 above target for five minutes" },
            "labels": { "alertname": format!("Slow{}", at % INCIDENTS), "namespace": "shop", "deployment": app,
                "pod": format!("{app}-7d9c5b6f4-{at:05}"), "container": "app", "job": "kubernetes-pods", "severity": "page",
                "instance": format!("10.0.{}.{}:9090", at / 256, at % 256), "cluster": "eu-1", "prometheus": "monitoring/k8s" },
            "startsAt": starts_at, "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": format!("{at:016x}"),
        })
    };
    let alerts: Vec<_> = (number * MESSAGE..(number + 1) * MESSAGE).map(alert).collect();
    json!({ "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "receiver": "tars",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": alerts })
    .to_string()
}

fn post(running: &Running, body: &str) {
    let head = format!(
        "POST /webhook/alertmanager HTTP/1.0\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = running.ask(&(head + body));
    assert!(answer.split(' ').nth(1).is_some_and(|it| it.starts_with('2')), "{answer}");
}

/// The most memory that the process ever had, KiB.
fn most_resident_kib(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_storm_while_the_forge_is_down_is_kept_on_disk_and_takes_bounded_memory_and_few_requests() {
    let forge = GitHttp::start(|_, stream| drop(stream.flush()));
    let port = free_port();
    let home = prepared(&forge.origin, "gitops", port, false);
    let dir = home.path().to_owned();
    files(&dir.join("work"));
    fs::write(dir.join("alerts"), SECRET).unwrap();
    fs::set_permissions(dir.join("alerts"), fs::Permissions::from_mode(0o600)).unwrap();
    let settings = fs::read_to_string(dir.join("tars.yaml")).unwrap();
    let settings = settings.replace("webhook: {enabled: false}", "webhook: {secret_file: alerts}");
    fs::write(dir.join("tars.yaml"), settings.replace("tick: 10m", "tick: 2s")).unwrap();
    let main = || git(&dir, &["--git-dir", "repo.git", "rev-parse", "main"]);
    let before = main();
    let starts_at = jiff::Timestamp::now().to_string();
    // No burst: one request a second, and the one that finds out.
    let few = |asked_before: usize, started: Instant| {
        let (asked, seconds) = (forge.asked().len() - asked_before, started.elapsed().as_secs());
        assert!(asked >= 1 && asked as u64 <= seconds + 2, "{asked} requests in {seconds} s");
    };

    let started = Instant::now();
    let running = Running::of(home, port);
    let idle = most_resident_kib(&running);
    for number in 0..ALERTS / MESSAGE {
        post(&running, &message(number, &starts_at));
    }
    let stored = started.elapsed();
    assert_eq!(running.metric("tars_alerts_received_total{status=\"firing\"}"), ALERTS as u64);
    running.wait_until("a proposal for each incident", |it| {
        it.metric("tars_open_proposals") == INCIDENTS as u64
    });
    let ticks = running.ticks();
    running.wait_until("some ticks without a forge", |it| it.ticks() >= ticks + 3);
    let storm = most_resident_kib(&running);
    few(0, started);

    // A restart finds all of it again.
    let asked = forge.asked().len();
    let (home, started) = (running.end(), Instant::now());
    let running = Running::of(home, port);
    running.wait_until("what was open", |it| it.metric("tars_open_proposals") == INCIDENTS as u64);
    post(&running, &message(0, &starts_at));
    assert_eq!(running.metric("tars_alerts_received_total{status=\"repeated\"}"), MESSAGE as u64);
    let again = most_resident_kib(&running);
    few(asked, started);
    let seen = format!("VmHWM KiB: idle {idle}, storm {storm}, restarted {again}; stored in {stored:?}");
    let _ = writeln!(std::io::stderr(), "{seen}");
    assert!(storm.max(again) <= RSS_KIB_MAX, "{seen}");
    let inbox = fs::read_dir(dir.join("state/inbox")).unwrap().flatten();
    assert_eq!(inbox.filter(|it| it.path().extension().is_some_and(|it| it == "json")).count(), ALERTS);
    assert_eq!(main(), before, "nothing goes around the forge");
}
