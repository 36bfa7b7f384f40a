//! The stores that answer as Prometheus does, each as itself: tars reads a signal there and writes its scores there, while a
//! vmagent scrapes for the store and pushes the same to tars.

use std::path::Path;

use super::world::{TOKEN, World, exporter};
use crate::live::process;
use crate::support::metric_stub::now_s;
use crate::support::parts;
use crate::support::ports::free_port;
use crate::support::program::tars;

/// How one kind of store is spoken to.
struct Store {
    port: u16,
    /// Below which its interface for queries is.
    reads: &'static str,
    write_port: u16,
    writes: &'static str,
    tenant: Option<&'static str>,
}

impl Store {
    fn header(&self) -> String {
        self.tenant.map_or_else(String::new, |it| format!("X-Scope-OrgID: {it}\r\n"))
    }

    fn measure(&self, query: &str) -> Option<f64> {
        World::measure_below(self.port, self.reads, &self.header(), query)
    }

    /// The world of a tars that reads from this store, writes to it, and is pushed to.
    fn world(&self) -> World {
        let tenant = self.tenant.map_or_else(String::new, |it| format!(", tenant: {it}"));
        let prometheus = format!("url: 'http://127.0.0.1:{}{}'{tenant}", self.port, self.reads);
        let settings = format!(
            "push: {{enabled: true, secret_file: secret}}\n\
             remote_write: {{url: 'http://127.0.0.1:{}{}'{tenant}}}\n\
             signals:\n\
             \x20 - {{signal: load, service_label: shard, query: load, step: 5s, window: 2m}}\n\
             \x20 - {{signal: pushed, service_label: shard, query: load, source: push, step: 5s, window: 2m}}\n",
            self.write_port, self.writes,
        );
        let world = World::asking(&prometheus, &settings);
        world.write("secret", TOKEN);
        world
    }
}

/// Everything that is true of each of them, once the store of `world` is ready.
fn serves(store: &Store, world: &mut World, vmagent: &Path, more: &[&str]) {
    let target = exporter(|| {
        let now_s = now_s();
        format!("load{{shard=\"a\"}} {now_s}\nload{{shard=\"b\"}} {now_s}\n")
    });
    world.scrape("scrape.yml", target);
    world.start_tars();
    let own = free_port();
    let header = store.tenant.map_or_else(|| "X-Nobody:none".to_owned(), |it| format!("X-Scope-OrgID:{it}"));
    let args = [
        "-promscrape.config=scrape.yml",
        &format!("-httpListenAddr=127.0.0.1:{own}"),
        "-remoteWrite.flushInterval=1s",
        &format!("-remoteWrite.url=http://127.0.0.1:{}{}", store.write_port, store.writes),
        &format!("-remoteWrite.headers={header}"),
        &format!("-remoteWrite.url=http://127.0.0.1:{}/api/v1/write", world.port),
        &format!("-remoteWrite.headers=Authorization:Bearer {TOKEN}"),
    ];
    world.start("vmagent", vmagent, &[&args, more].concat());
    world.wait("the store has the series", || store.measure("count(load)").filter(|it| *it == 2.0));
    let lines = world.wait("the series can be queried", || {
        let lines = world.ask(&["source", "query", "--signal", "load"]);
        (lines.len() == 2).then_some(lines)
    });
    let newest: jiff::Timestamp = lines[0]["newest"].as_str().unwrap().parse().unwrap();
    let behind_s = newest.as_second() as f64 - lines[0]["most"].as_f64().unwrap();
    // VictoriaMetrics repeats an older value for the last 30 s, as it has it from `-search.latencyOffset`.
    assert!((-1.0..=60.0).contains(&behind_s), "{behind_s} s: {lines:#?}");
    for signal in ["load", "pushed"] {
        for shard in ["a", "b"] {
            let line = format!("tars_signal_age_seconds{{signal=\"{signal}\",service=\"{shard}\"}}");
            world.wait(&line, || world.number(&line).filter(|it| *it < 60.0));
        }
    }
    // Of another type is what vmagent tries first, a format of its own: told so, it takes to remote write.
    for outcome in ["refused", "malformed", "unauthorized"] {
        let line = format!("tars_push_messages_total{{outcome=\"{outcome}\"}}");
        assert_eq!(world.number(&line).unwrap_or(0.0), 0.0, "{outcome}");
    }
    let score = world.wait("the score is in the store", || {
        store.measure("tars_anomaly_score{signal=\"load\", service=\"a\"}")
    });
    assert!((0.0..=1.0).contains(&score), "{score}");
    let said = tars(&world.path(""), &["check", "--config", "tars.yaml"]);
    assert_eq!(said.code, 0, "{said:#?}");
}

#[test]
fn victoriametrics_is_read_and_written_as_a_prometheus_is() {
    const TEST: &str = "victoriametrics_is_read_and_written_as_a_prometheus_is";
    let Some(program) = parts::find("victoria-metrics", TEST) else { return };
    let Some(vmagent) = parts::find("vmagent", TEST) else { return };
    let port = free_port();
    let store = Store { port, reads: "", write_port: port, writes: "/api/v1/write", tenant: None };
    let mut world = store.world();
    let listen = format!("-httpListenAddr=127.0.0.1:{port}");
    world.start("store", &program, &["-storageDataPath=store", &listen]);
    world.wait("VictoriaMetrics is ready", || (process::get(port, "/health")?.0 == 200).then_some(()));
    serves(&store, &mut world, &vmagent, &[]);
}

const MIMIR: &str = "
blocks_storage:
  backend: filesystem
  bucket_store: {sync_dir: PATH/sync}
  filesystem: {dir: PATH/blocks}
  tsdb: {dir: PATH/tsdb}
compactor: {data_dir: PATH/compactor, sharding_ring: {kvstore: {store: inmemory}, instance_addr: 127.0.0.1}}
frontend: {address: 127.0.0.1}
query_scheduler: {ring: {instance_addr: 127.0.0.1, kvstore: {store: inmemory}}}
distributor: {ring: {instance_addr: 127.0.0.1, kvstore: {store: inmemory}}}
ingester: {ring: {instance_addr: 127.0.0.1, kvstore: {store: inmemory}, replication_factor: 1}}
memberlist: {bind_addr: [127.0.0.1], bind_port: GOSSIP}
ruler: {rule_path: PATH/rules, ring: {instance_addr: 127.0.0.1, kvstore: {store: inmemory}}}
ruler_storage: {backend: filesystem, filesystem: {dir: PATH/stored-rules}}
server: {http_listen_address: 127.0.0.1, http_listen_port: HTTP, grpc_listen_address: 127.0.0.1, grpc_listen_port: GRPC, log_level: warn}
store_gateway: {sharding_ring: {replication_factor: 1, instance_addr: 127.0.0.1, kvstore: {store: inmemory}}}
usage_stats: {enabled: false}
";

#[test]
fn mimir_is_read_and_written_for_its_tenant() {
    const TEST: &str = "mimir_is_read_and_written_for_its_tenant";
    let Some(program) = parts::find("mimir", TEST) else { return };
    let Some(vmagent) = parts::find("vmagent", TEST) else { return };
    let [port, grpc, gossip] = [(); 3].map(|()| free_port());
    let store =
        Store { port, reads: "/prometheus", write_port: port, writes: "/api/v1/push", tenant: Some("shop") };
    let mut world = store.world();
    let ports = [("HTTP", port), ("GRPC", grpc), ("GOSSIP", gossip)];
    let text = MIMIR.replace("PATH", &world.path("mimir").display().to_string());
    let text = ports.iter().fold(text, |text, (name, port)| text.replace(name, &port.to_string()));
    world.write("mimir.yaml", &text);
    world.start("store", &program, &["-config.file=mimir.yaml"]);
    world.wait("Mimir is ready", || (process::get(port, "/ready")?.0 == 200).then_some(()));
    serves(&store, &mut world, &vmagent, &[]);

    let settings = std::fs::read_to_string(world.path("tars.yaml")).unwrap();
    world.write("tars.yaml", &settings.replace(", tenant: shop", ""));
    let said = tars(&world.path(""), &["check", "--config", "tars.yaml"]);
    assert!(said.code == 1 && said.out.contains("tenant"), "{said:#?}");
}

#[test]
fn thanos_is_read_and_written_as_a_prometheus_is() {
    const TEST: &str = "thanos_is_read_and_written_as_a_prometheus_is";
    let Some(program) = parts::find("thanos", TEST) else { return };
    let Some(vmagent) = parts::find("vmagent", TEST) else { return };
    let [port, grpc, write_port, receiver, querier] = [(); 5].map(|()| free_port());
    let store = Store { port, reads: "", write_port, writes: "/api/v1/receive", tenant: None };
    let mut world = store.world();
    let at = |flag: &str, port: u16| format!("--{flag}=127.0.0.1:{port}");
    world.start(
        "store",
        &program,
        &[
            "receive",
            "--tsdb.path=store",
            "--label=replica=\"a\"",
            &at("remote-write.address", write_port),
            &at("grpc-address", grpc),
            &at("http-address", receiver),
        ],
    );
    world.start(
        "querier",
        &program,
        &[
            "query",
            "--query.replica-label=replica",
            &at("endpoint", grpc),
            &at("http-address", port),
            &at("grpc-address", querier),
        ],
    );
    world.wait("Thanos receives", || (process::get(receiver, "/-/ready")?.0 == 200).then_some(()));
    world.wait("Thanos answers", || (process::get(port, "/-/ready")?.0 == 200).then_some(()));
    // It takes no labels out of order, as the specification has it; tars does.
    serves(&store, &mut world, &vmagent, &["-sortLabels"]);
}
