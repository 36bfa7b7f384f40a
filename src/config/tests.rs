//! Promises of the settings: documented defaults, one variable per setting, errors that say what to do.

#![allow(clippy::disallowed_methods, reason = "the example's settings are read from the work tree")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::raw::LogLevel;
use super::*;
use crate::model::fixtures::signal;
use crate::model::ids::SignalName;
use crate::model::policy::Mode;
use crate::model::signal::{ServiceOf, SourceKind};

#[path = "forge_tests.rs"]
mod forge;

const MINIMAL: &str = "\
repository:
  url: https://git.example.com/shop/gitops.git
signing:
  key_file: /keys/tars
  allowed_signers_file: /keys/allowed
prometheus:
  url: http://prometheus:9090
webhook:
  secret_file: /keys/webhook
";

fn no_env(_: &str) -> Option<String> {
    None
}

fn resolved(text: &str) -> Result<Settings, ConfigError> {
    resolve(&parse(text, "tars.yaml")?, &no_env, &Overrides::default())
}

/// The minimal file with `from` replaced; fails when there is nothing to replace.
fn edited(from: &str, to: &str) -> String {
    assert!(MINIMAL.contains(from), "{from:?} is not in the minimal file");
    MINIMAL.replacen(from, to, 1)
}

fn with(lines: &str) -> String {
    format!("{MINIMAL}{lines}\n")
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let it = resolved(MINIMAL).unwrap();
    assert_eq!((it.branch.as_str(), it.ledger_branch.as_str()), ("main", "tars/ledger"));
    assert_eq!(it.policies_path.as_str(), "policies");
    assert_eq!(it.repo_id.as_str(), "git.example.com/shop/gitops");
    assert_eq!(
        (it.mode, it.watching.tick_s, it.watching.listen.to_string().as_str()),
        (Mode::AutoMerge, 30, "127.0.0.1:8080")
    );
    assert_eq!((it.limits.max_executions_per_hour, it.limits.max_open_proposals, it.batch), (6, 10, None));
    assert_eq!((it.watching.clock_max_skew_s, it.evidence_age_max_s, it.sync_timeout_s), (30, 300, 900));
    assert_eq!(it.sync, SyncSettings::FixedWait { wait_s: 60 });
    assert_eq!(it.webhook, WebhookAuth::SecretFile("/keys/webhook".into()));
    assert_eq!(
        (it.git_timeout_s, it.clone_max_mib, it.watching.prometheus.unwrap().timeout_s, it.state_dir),
        (30, 2_048, 10, PathBuf::from("/var/lib/tars"))
    );
    assert_eq!(
        (it.watching.signals.len(), it.watching.instance, it.watching.pushgateway_url, it.watching.log_level),
        (0, None, None, "info")
    );
}

#[test]
fn a_file_without_settings_is_all_defaults() {
    for text in ["", "# nothing yet\n", "---\n"] {
        let raw = parse(text, "tars.yaml").unwrap();
        assert_eq!(
            (raw.mode, raw.tick, raw.log.level),
            (raw::Mode::AutoMerge, raw::Tick::default(), LogLevel::Info)
        );
    }
}

#[test]
fn a_signal_has_defaults_and_every_field_of_it_is_read() {
    let plain = resolved(&with("signals: [{signal: p95, service: web, query: up}]")).unwrap();
    let expected = SignalSettings {
        signal: signal("web", "p95").signal,
        service: ServiceOf::Named(signal("web", "p95").service),
        source: SourceKind::Prometheus,
        query: "up".into(),
        step_s: 30,
        window_s: 86_400,
        period: None,
        staleness_s: 120,
    };
    assert_eq!(plain.watching.signals.as_slice(), std::slice::from_ref(&expected));
    let all =
        "signals: [{signal: p95, service: web, query: up, step: 1m, window: 6h, period: 2h, staleness: 5m}]";
    let expected =
        SignalSettings { step_s: 60, window_s: 21_600, period: Some(120), staleness_s: 300, ..expected };
    assert_eq!(resolved(&with(all)).unwrap().watching.signals, [expected]);
}

#[test]
fn a_forge_is_local_or_a_place_that_can_be_asked() {
    assert_eq!(resolved(MINIMAL).unwrap().forge, ForgeSettings::Local);
    let lines =
        "forge: {kind: gitea, url: 'https://git.example.com/', repository: shop/gitops, token_file: /t}";
    let at = ForgeAt {
        kind: ForgeKind::Gitea,
        url: "https://git.example.com".into(),
        owner: "shop".into(),
        name: "gitops".into(),
        credential: ForgeCredential::TokenFile("/t".into()),
        ca_file: None,
        required_checks: Vec::new(),
        reviewers: Vec::new(),
        webhook_secret_file: None,
    };
    assert_eq!(resolved(&with(lines)).unwrap().forge, ForgeSettings::At(Box::new(at.clone())));
    let app = "forge: {kind: github, repository: shop/gitops, app: {id: 7, installation_id: 8, private_key_file: /k}}";
    let credential = ForgeCredential::App { id: 7, installation_id: 8, private_key_file: "/k".into() };
    let at = ForgeAt { kind: ForgeKind::GitHub, url: "https://github.com".into(), credential, ..at };
    assert_eq!(resolved(&with(app)).unwrap().forge, ForgeSettings::At(Box::new(at.clone())));
    let deep = "forge: {kind: gitlab, url: 'https://git.example.com', repository: shop/infra/gitops, token_file: /t}";
    let credential = ForgeCredential::TokenFile("/t".into());
    let url = "https://git.example.com".into();
    let at = ForgeAt { kind: ForgeKind::GitLab, url, owner: "shop/infra".into(), credential, ..at };
    assert_eq!(resolved(&with(deep)).unwrap().forge, ForgeSettings::At(Box::new(at)));
}

#[test]
fn each_kind_of_sync_and_webhook_is_read() {
    let sync = |lines: &str| resolved(&with(&format!("sync: {lines}"))).unwrap().sync;
    assert_eq!(sync("{kind: fixedWait, wait: 5s}"), SyncSettings::FixedWait { wait_s: 5 });
    assert_eq!(sync("{kind: http, url: 'http://a/rev'}"), SyncSettings::Http { url: "http://a/rev".into() });
    let query = "count(up{rev=\"$commit\"})";
    assert_eq!(
        sync(&format!("{{kind: metric, query: '{query}'}}")),
        SyncSettings::Metric { query: query.into() }
    );
    // Whoever lets tars see the cluster wants it to look there.
    let seeing = |lines: &str| {
        resolved(&with(&format!("cluster: {{access: inCluster}}\nsync: {lines}"))).map(|it| it.sync)
    };
    assert_eq!(seeing("{timeout: 5m}").unwrap(), SyncSettings::Cluster { refresh: false });
    assert_eq!(seeing("{kind: cluster, refresh: true}").unwrap(), SyncSettings::Cluster { refresh: true });
    assert_eq!(seeing("{kind: fixedWait}").unwrap(), SyncSettings::FixedWait { wait_s: 60 });
    assert_eq!(seeing("{wait: 5s}").unwrap_err().field, "sync.wait");
    let webhook = |lines: &str| resolved(&edited("secret_file: /keys/webhook", lines)).unwrap().webhook;
    assert_eq!(webhook("insecure: true"), WebhookAuth::InsecureLoopback);
    assert_eq!(webhook("enabled: false"), WebhookAuth::Off);
}

/// A variable, a value that is not its default, and what else must be set for that to be legal.
type ChangedCase = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// A forge, all of it.
const FORGE: &[(&str, &str)] = &[
    ("TARS_FORGE_KIND", "gitea"),
    ("TARS_FORGE_URL", "https://git.example.com"),
    ("TARS_FORGE_REPOSITORY", "shop/gitops"),
    ("TARS_FORGE_TOKEN_FILE", "/t"),
];

/// A forge that tars is an app on, all of it.
const APP: &[(&str, &str)] = &[
    ("TARS_FORGE_KIND", "github"),
    ("TARS_FORGE_REPOSITORY", "shop/gitops"),
    ("TARS_FORGE_APP_ID", "7"),
    ("TARS_FORGE_APP_INSTALLATION_ID", "8"),
    ("TARS_FORGE_APP_PRIVATE_KEY_FILE", "/k"),
];

const LOKI: &[(&str, &str)] = &[("TARS_LOKI_URL", "http://loki:3100")];
const JAEGER: &[(&str, &str)] = &[("TARS_JAEGER_URL", "http://jaeger:16686")];
const MIMIR: &[(&str, &str)] = &[("TARS_REMOTE_WRITE_URL", "http://mimir/push")];
const PUSH: &[(&str, &str)] = &[("TARS_PUSH_ENABLED", "true"), ("TARS_PUSH_SECRET_FILE", "/s")];

const CHANGED: &[ChangedCase] = &[
    ("TARS_BATCH_MAX_ACTIONS", "3", &[("TARS_BATCH_WINDOW", "5m")]),
    ("TARS_BATCH_WINDOW", "5m", &[]),
    ("TARS_CLOCK_MAX_SKEW_S", "5", &[]),
    ("TARS_CLUSTER_ACCESS", "inCluster", &[]),
    (
        "TARS_CLUSTER_CONTEXT",
        "c",
        &[("TARS_CLUSTER_ACCESS", "kubeconfig"), ("TARS_CLUSTER_KUBECONFIG", "/k")],
    ),
    ("TARS_CLUSTER_KUBECONFIG", "/k", &[("TARS_CLUSTER_ACCESS", "kubeconfig")]),
    ("TARS_CLUSTER_LEASE", "shop", &[("TARS_CLUSTER_ACCESS", "inCluster")]),
    ("TARS_CLUSTER_POLICIES", "both", &[("TARS_CLUSTER_ACCESS", "inCluster")]),
    ("TARS_DETECTION_FALSE_ALARMS_PER_WEEK", "2.5", &[]),
    ("TARS_DETECTION_WARM_UP_SAMPLES", "200", &[]),
    ("TARS_DETECTION_WEIGHTS_EWMA", "0", &[]),
    ("TARS_DETECTION_WEIGHTS_ISOLATION_FOREST", "0", &[]),
    ("TARS_DETECTION_WEIGHTS_STL", "0", &[]),
    ("TARS_EVIDENCE_AGE_MAX", "2m", &[]),
    ("TARS_FORGE_APP_ID", "7", APP),
    ("TARS_FORGE_APP_INSTALLATION_ID", "8", APP),
    ("TARS_FORGE_APP_PRIVATE_KEY_FILE", "/k", APP),
    ("TARS_FORGE_CA_FILE", "/ca", FORGE),
    ("TARS_FORGE_KIND", "gitea", FORGE),
    ("TARS_FORGE_REPOSITORY", "shop/gitops", FORGE),
    ("TARS_FORGE_TOKEN_FILE", "/t", FORGE),
    ("TARS_FORGE_URL", "https://git.example.com", FORGE),
    ("TARS_FORGE_WEBHOOK_SECRET_FILE", "/w", FORGE),
    ("TARS_INSTANCE", "tars-0", &[]),
    ("TARS_JAEGER_BEARER_TOKEN_FILE", "/t", JAEGER),
    ("TARS_JAEGER_TIMEOUT_S", "7", JAEGER),
    ("TARS_JAEGER_URL", "http://other:16686", &[]),
    ("TARS_LIMITS_MAX_EXECUTIONS_PER_HOUR", "3", &[]),
    ("TARS_LIMITS_MAX_OPEN_PROPOSALS", "4", &[]),
    ("TARS_LOKI_BEARER_TOKEN_FILE", "/t", LOKI),
    ("TARS_LOKI_TENANT", "shop", LOKI),
    ("TARS_LOKI_TIMEOUT_S", "7", LOKI),
    ("TARS_LOKI_URL", "http://other:3100", &[]),
    ("TARS_LISTEN", "[::1]:9000", &[]),
    ("TARS_LOG_FORMAT", "json", &[]),
    ("TARS_LOG_LEVEL", "debug", &[]),
    ("TARS_MODE", "Observe", &[]),
    ("TARS_PROMETHEUS_BEARER_TOKEN_FILE", "/t", &[]),
    ("TARS_PROMETHEUS_TENANT", "shop", &[]),
    ("TARS_PROMETHEUS_TIMEOUT_S", "3", &[]),
    ("TARS_PROMETHEUS_URL", "https://p/prefix/", &[]),
    ("TARS_PUSH_ENABLED", "true", PUSH),
    ("TARS_PUSH_INSECURE", "true", &[("TARS_PUSH_ENABLED", "true")]),
    ("TARS_PUSH_SECRET_FILE", "/s", PUSH),
    ("TARS_PUSH_USER", "prom", PUSH),
    ("TARS_PUSHGATEWAY_URL", "http://push:9091", &[]),
    ("TARS_REMOTE_WRITE_BEARER_TOKEN_FILE", "/t", MIMIR),
    ("TARS_REMOTE_WRITE_TENANT", "shop", MIMIR),
    ("TARS_REMOTE_WRITE_TIMEOUT_S", "7", MIMIR),
    ("TARS_REMOTE_WRITE_URL", "http://mimir/push", &[]),
    ("TARS_REPOSITORY_BRANCH", "live", &[]),
    ("TARS_REPOSITORY_LEDGER_BRANCH", "ops/ledger", &[]),
    ("TARS_REPOSITORY_POLICIES_PATH", "ops/policies", &[]),
    ("TARS_REPOSITORY_REPO_ID", "forge:42", &[]),
    ("TARS_REPOSITORY_STATE_DIR", "/tmp/state", &[]),
    ("TARS_REPOSITORY_TIMEOUT_S", "60", &[]),
    ("TARS_REPOSITORY_CLONE_MAX_MIB", "64", &[]),
    (
        "TARS_REPOSITORY_TOKEN_FILE",
        "/t",
        &[("TARS_REPOSITORY_URL", "https://git.example.com/shop/gitops.git")],
    ),
    ("TARS_REPOSITORY_URL", "/srv/git/other.git", &[]),
    ("TARS_SIGNING_ALLOWED_KEYS_FILE", "/k", &[]),
    ("TARS_SIGNING_ALLOWED_SIGNERS_FILE", "/a", &[]),
    ("TARS_SIGNING_EMAIL", "ops@example.com", &[]),
    ("TARS_SIGNING_KEY_FILE", "/k", &[]),
    ("TARS_SIGNING_NAME", "robot", &[]),
    ("TARS_SYNC_KIND", "http", &[("TARS_SYNC_URL", "http://a/rev")]),
    ("TARS_SYNC_QUERY", "up{rev=\"$commit\"}", &[("TARS_SYNC_KIND", "metric")]),
    ("TARS_SYNC_REFRESH", "true", &[("TARS_CLUSTER_ACCESS", "inCluster")]),
    ("TARS_SYNC_TIMEOUT", "20m", &[]),
    ("TARS_SYNC_URL", "http://a/rev", &[("TARS_SYNC_KIND", "http")]),
    ("TARS_SYNC_WAIT", "7s", &[]),
    ("TARS_TICK", "1s", &[]),
    ("TARS_WEBHOOK_ENABLED", "false", &[]),
    ("TARS_WEBHOOK_INSECURE", "true", &[("TARS_WEBHOOK_SECRET_FILE", "")]),
    ("TARS_WEBHOOK_SECRET_FILE", "/s", &[]),
];

#[test]
fn every_setting_has_a_variable_and_every_variable_changes_the_settings() {
    let known: BTreeSet<String> = variables().into_iter().map(|(name, _)| name).collect();
    let of_roles = watching::tests::OF_ROLES.iter().map(|it| it.0);
    let tested: BTreeSet<String> = CHANGED.iter().map(|it| it.0).chain(of_roles).map(str::to_owned).collect();
    assert_eq!(known, tested);
    assert_eq!(known.len(), variables().len(), "two settings share a variable");
    let base = resolved(MINIMAL).unwrap();
    for (name, value, also) in CHANGED {
        // `insecure` is legal only where the file names no secret.
        let insecure = *name == "TARS_WEBHOOK_INSECURE";
        let text =
            if insecure { edited("secret_file: /keys/webhook", "enabled: true") } else { MINIMAL.to_owned() };
        let env = |asked: &str| {
            let pair = also.iter().find(|it| it.0 == asked).map(|it| it.1.to_owned());
            if asked == *name { Some((*value).to_owned()) } else { pair }
        };
        let changed = resolve(&parse(&text, "tars.yaml").unwrap(), &env, &Overrides::default());
        assert_ne!(changed.unwrap_or_else(|error| panic!("{name}: {error}")), base, "{name} changes nothing");
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let raw = parse(&with("listen: 127.0.0.1:1"), "tars.yaml").unwrap();
    let env = |name: &str| (name == "TARS_LISTEN").then(|| "127.0.0.1:2".to_owned());
    let empty = |name: &str| (name == "TARS_LISTEN").then(String::new);
    let flags = Overrides::default().with("listen", Some("127.0.0.1:3".into())).with("tick", None);
    let port = |env: &dyn Fn(&str) -> Option<String>, flags| {
        resolve(&raw, env, &flags).unwrap().watching.listen.port()
    };
    assert_eq!(port(&no_env, Overrides::default()), 1);
    assert_eq!(port(&empty, Overrides::default()), 1);
    assert_eq!(port(&env, Overrides::default()), 2);
    assert_eq!(port(&env, flags), 3);
}

#[test]
fn an_error_names_where_the_value_came_from() {
    assert_eq!(parse(&with("tock: 5"), "tars.yaml").unwrap_err().origin, "tars.yaml:10");
    let raw = parse(&with("tick: 1d"), "tars.yaml").unwrap();
    let env = |name: &str| (name == "TARS_TICK").then(|| "soon".to_owned());
    let origin = |env, flags: Overrides| resolve(&raw, env, &flags).unwrap_err().origin;
    assert_eq!(origin(&no_env, Overrides::default()), "tars.yaml:10");
    assert_eq!(origin(&env, Overrides::default()), "TARS_TICK");
    assert_eq!(origin(&env, Overrides::default().with("tick", Some("x".into()))), "flag for tick");
    let unknown = resolve(&raw, &no_env, &Overrides::default().with("tock", Some("x".into())));
    assert_eq!(unknown.unwrap_err().field, "tock");
}

/// (text, origin, field, part of the fix)
type ErrorCase = (String, &'static str, &'static str, &'static str);

fn errors_in_the_file_and_repository() -> Vec<ErrorCase> {
    let url = "https://git.example.com/shop/gitops.git";
    vec![
        ("repository: []".into(), "tars.yaml:1", "repository", "tars config schema"),
        ("tick: {".into(), "tars.yaml:1", "tick", "tars config schema"),
        (edited("  url: https", "  ulr: https"), "tars.yaml:2", "repository.ulr", "did you mean `url`?"),
        (with("lisen: x"), "tars.yaml:10", "lisen", "did you mean `listen`?"),
        (edited("secret_file", "secret"), "tars.yaml:9", "webhook.secret", "into a file"),
        (with("log: {level: loud}"), "tars.yaml:10", "log.level", "tars config schema"),
        (
            edited(&format!("  url: {url}\n"), "  branch: main\n"),
            "tars.yaml:1",
            "repository.url",
            "TARS_REPOSITORY_URL",
        ),
        (edited(url, "https://me:pw@git.example.com/x"), "tars.yaml:2", "repository.url", "for example"),
        (edited(url, "repo.git"), "tars.yaml:2", "repository.url", "for example"),
        (edited(url, &format!("{url}\n  branch: a b")), "tars.yaml:3", "repository.branch", "use parts"),
        (
            edited(url, &format!("{url}\n  ledger_branch: main")),
            "tars.yaml:3",
            "repository.ledger_branch",
            "tars/ledger",
        ),
        (
            edited(url, &format!("{url}\n  policies_path: ../x")),
            "tars.yaml:3",
            "repository.policies_path",
            "no '.'",
        ),
        (
            edited(url, &format!("{url}\n  state_dir: x")),
            "tars.yaml:3",
            "repository.state_dir",
            "begin it with /",
        ),
        (edited(url, &format!("{url}\n  timeout_s: 0")), "tars.yaml:3", "repository.timeout_s", "1 to 3600"),
        (edited("  key_file: /keys/tars\n", ""), "tars.yaml:3", "signing.key_file", "TARS_SIGNING_KEY_FILE"),
        (edited("signing:\n", "signing:\n  email: a<b\n"), "tars.yaml:4", "signing.email", "without <"),
    ]
}

fn errors_of_the_forge() -> Vec<ErrorCase> {
    vec![
        (with("forge: {kind: bitbucket}"), "tars.yaml:10", "forge.kind", "use gitea"),
        (
            with("forge: {kind: gitlab, url: 'https://h', repository: a/b//c}"),
            "tars.yaml:10",
            "forge.repository",
            "group/subgroup/name",
        ),
        (with("forge: {app: {id: 7}}"), "tars.yaml:10", "forge.app", "kind: gitea"),
        (with("forge: {kind: github}"), "tars.yaml:10", "forge.repository", "TARS_FORGE_REPOSITORY"),
        (
            with("forge: {kind: github, repository: a/b}"),
            "tars.yaml:10",
            "forge.token_file",
            "TARS_FORGE_TOKEN_FILE",
        ),
        (
            with("forge: {kind: github, repository: a/b, app: {id: 7, private_key_file: /k}}"),
            "tars.yaml:10",
            "forge.app.installation_id",
            "TARS_FORGE_APP_INSTALLATION_ID",
        ),
        (
            with("forge: {kind: github, repository: a/b, token_file: /t, app: {id: 7}}"),
            "tars.yaml:10",
            "forge.token_file",
            "remove",
        ),
        (
            with("forge: {kind: gitea, url: 'https://h', repository: a/b, app: {id: 7}}"),
            "tars.yaml:10",
            "forge.app",
            "token_file",
        ),
        (with("forge: {kind: forgejo}"), "tars.yaml:10", "forge.kind", "write gitea"),
        (with("forge: {kind: sourceforge}"), "tars.yaml:10", "forge.kind", "use gitea"),
        (with("forge: {url: 'https://h'}"), "tars.yaml:10", "forge.url", "kind: gitea"),
        (with("forge: {kind: gitea}"), "tars.yaml:10", "forge.url", "TARS_FORGE_URL"),
        (with("forge: {kind: gitea, url: 'https://u:p@h'}"), "tars.yaml:10", "forge.url", "token"),
        (with("forge: {kind: gitea, url: 'https://h?x=1'}"), "tars.yaml:10", "forge.url", "git.example.com"),
        (
            with("forge: {kind: gitea, url: 'https://h', repository: a/b/c}"),
            "tars.yaml:10",
            "forge.repository",
            "owner/name",
        ),
        (
            with("forge: {kind: gitea, url: 'https://h', repository: a/..}"),
            "tars.yaml:10",
            "forge.repository",
            "owner/name",
        ),
        (
            with("forge: {kind: gitea, url: 'https://h', repository: a/b}"),
            "tars.yaml:10",
            "forge.token_file",
            "TARS_FORGE_TOKEN_FILE",
        ),
    ]
}

fn errors_elsewhere() -> Vec<ErrorCase> {
    let signal =
        |rest: &str| with(&format!("signals:\n  - signal: a\n    service: b\n    query: up\n    {rest}"));
    let insecure = "webhook:\n  secret_file: /keys/webhook\n";
    vec![
        (edited("http://prometheus:9090", "prometheus:9090"), "tars.yaml:7", "prometheus.url", "http://"),
        (edited("http://prom", "http://u:pw@prom"), "tars.yaml:7", "prometheus.url", "bearer token"),
        (
            edited("https://git.example.com/shop/gitops.git", "/srv/x.git\n  token_file: /keys/git"),
            "tars.yaml:3",
            "repository.token_file",
            "https address",
        ),
        (with("tick: 0s"), "tars.yaml:10", "tick", "1s to 1h"),
        (with("batch: {window: 25h}"), "tars.yaml:10", "batch.window", "1s to 24h"),
        (with("batch: {max_actions: 1}"), "tars.yaml:10", "batch.max_actions", "2 to 50"),
        (with("listen: localhost"), "tars.yaml:10", "listen", "127.0.0.1:8080"),
        (
            with("limits: {max_executions_per_hour: 0}"),
            "tars.yaml:10",
            "limits.max_executions_per_hour",
            "1 to 600",
        ),
        (with("clock:\n  max_skew_s: 3000"), "tars.yaml:11", "clock.max_skew_s", "1 to 300"),
        (with("instance: 'a b'"), "tars.yaml:10", "instance", "1 to 64"),
        (with("sync: {kind: http}"), "tars.yaml:10", "sync.url", "TARS_SYNC_URL"),
        (with("sync: {kind: metric, query: up}"), "tars.yaml:10", "sync.query", "$commit"),
        (with("sync: {kind: http, wait: 1m}"), "tars.yaml:10", "sync.wait", "`url`"),
        (with("sync: {refresh: true}"), "tars.yaml:10", "sync.refresh", "cluster"),
        (with("sync: {kind: cluster}"), "tars.yaml:10", "sync.kind", "cluster.access"),
        (edited(insecure, ""), "tars.yaml", "webhook.secret_file", "TARS_WEBHOOK_SECRET_FILE"),
        (
            edited(insecure, "webhook:\n  insecure: true\nlisten: 0.0.0.0:80\n"),
            "tars.yaml:9",
            "webhook.insecure",
            "127.0.0.1",
        ),
        (with("  insecure: true"), "tars.yaml:10", "webhook.insecure", "one of them"),
        (signal("step: 1s\n    window: 5s"), "tars.yaml:15", "signals.0.window", "10 to"),
        (signal("period: 13h"), "tars.yaml:14", "signals.0.period", "half the window"),
        (signal("period: 45s"), "tars.yaml:14", "signals.0.period", "multiple of the step"),
        (signal("staleness: 1s"), "tars.yaml:14", "signals.0.staleness", "30s to"),
        (signal("") + "  - {signal: a, service: b, query: down}\n", "tars.yaml:15", "signals.1", "rename"),
    ]
}

#[test]
fn one_list_of_allowed_keys_is_enough_and_both_may_be_named() {
    let (signers, keys) = ("allowed_signers_file: /keys/allowed", "allowed_keys_file: /keys/openpgp");
    let lists = |text: String| {
        let it = resolved(&text).unwrap().signing;
        (it.allowed_signers_file, it.allowed_keys_file)
    };
    assert_eq!(lists(edited(signers, keys)), (None, Some("/keys/openpgp".into())));
    let both = edited(signers, &format!("{signers}\n  {keys}"));
    assert_eq!(lists(both), (Some("/keys/allowed".into()), Some("/keys/openpgp".into())));
    let none = resolved(&edited(&format!("  {signers}\n"), "")).unwrap_err();
    assert_eq!(none.field, "signing.allowed_signers_file");
}

#[test]
fn every_error_names_file_line_field_and_fix() {
    let cases = [errors_in_the_file_and_repository(), errors_of_the_forge(), errors_elsewhere()].concat();
    let mut wrong = Vec::new();
    for (text, origin, field, fix) in cases {
        let error = resolved(&text).expect_err(&text);
        if (error.origin.as_str(), error.field.as_str()) != (origin, field) || !error.fix.contains(fix) {
            wrong.push(format!("{origin}: {field}: {fix}\n  but got {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_error_never_shows_a_password() {
    let cases = [
        edited("https://git", "https://me:hunter2@git"),
        edited("http://prom", "http://me:hunter2@prom"),
        edited("webhook:\n  secret_file: /keys/webhook\n", "webhook: hunter2\n"),
        edited("secret_file: /keys/webhook", "secret: hunter2"),
        with("log: {level: [hunter2]}"),
    ];
    for text in cases {
        let error = resolved(&text).expect_err(&text);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn the_examples_settings_work_and_watch_what_its_policies_name() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("gitops-example/tars.yaml");
    let settings = resolved(&std::fs::read_to_string(file).unwrap()).unwrap();
    let watched: Vec<String> =
        settings.watching.signals.iter().map(|it| format!("{:?} {}", it.service, it.signal)).collect();
    let named = [
        ("backend", "latency_p95"),
        ("frontend", "latency_p95"),
        ("backend", "error_ratio"),
        ("worker", "memory_ratio"),
    ];
    let named = named.map(|(service, name)| {
        let key = signal(service, name);
        format!("{:?} {}", ServiceOf::Named(key.service), key.signal)
    });
    assert_eq!(watched, named);
    let name = |it: &str| SignalName::new(it).unwrap();
    assert_eq!(settings.calls, BTreeMap::from([(name("frontend"), BTreeSet::from([name("backend")]))]));
}

#[test]
fn who_calls_whom_is_checked_and_errors_name_the_entry() {
    let of = |calls: &str| resolved(&with(&format!("services: [{{name: web, calls: [{calls}]}}]")));
    let calls = |text: &str| of(text).unwrap().calls.into_values().map(|it| it.len()).collect::<Vec<_>>();
    assert_eq!(calls("cart, checkout"), [2]);
    assert_eq!(calls(""), [0], "that somebody calls nobody is said too");
    assert_eq!(of("cart, web").unwrap_err().field, "services.0.calls.1");
    assert_eq!(of("'two words'").unwrap_err().field, "services.0.calls.0");
    let many: Vec<String> = (0..201).map(|it| format!("s{it}")).collect();
    assert_eq!(of(&many.join(",")).unwrap_err().field, "services.0");
}

#[test]
fn the_schema_describes_every_section() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    assert_eq!(schema["properties"].as_object().unwrap().len(), 28);
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn keys_and_recipients_of_sops_are_bounded_and_errors_name_the_entry() {
    let it = resolved(&with("sops: {age_key_files: [/keys/age], recipients: [age1qq, 'pgp:00']}")).unwrap();
    assert_eq!(it.sops.age_key_files, [PathBuf::from("/keys/age")]);
    assert_eq!(it.sops.recipients, ["age1qq", "pgp:00"]);
    let many = |count: usize| (0..count).map(|at| format!("k{at}")).collect::<Vec<_>>().join(", ");
    for (lines, field) in [
        (format!("sops: {{age_key_files: [{}]}}", many(17)), "sops.age_key_files"),
        (format!("sops: {{recipients: [{}]}}", many(257)), "sops.recipients"),
        ("sops: {recipients: [a, a]}".to_owned(), "sops.recipients.1"),
        ("sops: {recipients: [\"a\\nb\"]}".to_owned(), "sops.recipients.0"),
        ("sops: {recipients: ['']}".to_owned(), "sops.recipients.0"),
        (format!("sops: {{recipients: [{}]}}", "a".repeat(4097)), "sops.recipients.0"),
    ] {
        assert_eq!(resolved(&with(&lines)).unwrap_err().field, field, "{lines}");
    }
}

#[test]
fn aliases_are_addresses_without_a_password() {
    let aliases =
        |list: &str| resolved(&edited("repository:\n", &format!("repository:\n  aliases: [{list}]\n")));
    let it = aliases("'git@git.example.com:shop/gitops', https://mirror.example.com/shop/gitops").unwrap();
    assert_eq!(it.aliases.len(), 2);
    for wrong in ["https://user:canary@host/a/b", "relative/path", "''", "ext::sh"] {
        let error = aliases(wrong).unwrap_err();
        assert_eq!(error.field, "repository.aliases.0", "{wrong}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(line in "[a-z_]{0,8}: ?[\\[{'\"&*|>-]?\\PC{0,10}") {
        let _ = resolved(&with(&line));
    }
}
