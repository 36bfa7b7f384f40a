//! Ten thousand series pulled from a real Prometheus with every tick, by one query for all of them: the client, the
//! samples, the windows, the stream. Comes in: `prometheus` and `promtool` of the path, fed with half an hour that lies
//! in the past; goes out: seconds of one core for a tick. Never: an address that is not of this machine.
//! `TARS_BENCH_SERIES` makes it another number.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::detect::RECENT;
use crate::detect::stream::{Detector, Settings, State};
use crate::model::ids::SignalName;
use crate::model::signal::{ServiceOf, SourceKind};
use crate::observe::prometheus::Prometheus;
use crate::observe::signals::{SignalConfig, SignalWindows};
use crate::observe::sources::Sources;
use crate::outside::clock::SystemClock;
use crate::outside::http::{Http, HttpSettings};
use crate::stream::{STEP_S, Wave};
use crate::{cpu_s, number, peak_mib};

const SLOTS: usize = 60;
/// Ticks that are told, the last ones of the half hour.
const TICKS: usize = 5;
const METRIC: &str = "http_request_duration_seconds";
const READY_WITHIN: Duration = Duration::from_secs(60);
/// As the settings have it unless told otherwise.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// Ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Half an hour of all series as a block, the way Prometheus takes in old samples.
fn backfill(folder: &Path, series: usize, from_s: i64) -> bool {
    let mut text = format!("# TYPE {METRIC} gauge\n");
    let mut waves: Vec<Wave> = (0..series).map(|n| Wave(n as u64)).collect();
    for (n, wave) in waves.iter_mut().enumerate() {
        for slot in 0..SLOTS {
            let (value, at_s) = (wave.next(slot), from_s + slot as i64 * i64::from(STEP_S));
            writeln!(
                text,
                "{METRIC}{{app=\"app-{n:05}\",cluster=\"eu-west-1\",instance=\"10.1.{}.{}:9090\",job=\"kubernetes-pods\",\
                 namespace=\"production\",pod=\"app-{n:05}-7d4b9c6f5-x2v8k\"}} {value} {at_s}",
                n >> 8,
                n & 255
            )
            .unwrap();
        }
    }
    text.push_str("# EOF\n");
    std::fs::write(folder.join("samples"), text).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet", "samples", "blocks"]);
    promtool.current_dir(folder).stdout(Stdio::null()).status().is_ok_and(|it| it.success())
}

fn start(folder: &Path, port: u16) -> Server {
    std::fs::write(folder.join("prometheus.yml"), "").unwrap();
    let mut command = Command::new("prometheus");
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=blocks", "--log.level=error"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(folder);
    let server = Server(command.spawn().unwrap());
    let started = Instant::now();
    while !is_ready(port) {
        assert!(started.elapsed() < READY_WITHIN, "prometheus does not start");
        std::thread::sleep(Duration::from_millis(100));
    }
    server
}

/// It listens before it answers.
fn is_ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut reply = String::new();
    let asked = stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut reply)).is_ok() && reply.split(' ').nth(1) == Some("200")
}

fn sources(port: u16) -> Sources {
    let http = Http::new(&HttpSettings {
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        body_max: BODY_MAX,
        user_agent: "bench".to_owned(),
        authorities: None,
    });
    let url = format!("http://127.0.0.1:{port}");
    Sources::only(Arc::new(Prometheus::new(http.unwrap(), Arc::new(SystemClock), &url, None)))
}

/// Seconds that another process was on a processor (proc_pid_stat(5)).
fn cpu_of(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11..13].iter().map(|it| it.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

pub fn table() {
    let series = number("TARS_BENCH_SERIES", 10_000);
    let folder = tempfile::tempdir().unwrap();
    let now_s = Timestamp::now().as_second();
    let from_s = now_s - now_s.rem_euclid(i64::from(STEP_S)) - 4 * 3_600;
    if !backfill(folder.path(), series, from_s) {
        println!("pulled series: no promtool, and so no Prometheus to ask");
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = start(folder.path(), port);
    let sources = sources(port);
    let config = SignalConfig {
        signal: SignalName::new("latency").unwrap(),
        service: ServiceOf::Label("app".to_owned()),
        source: SourceKind::Prometheus,
        query: METRIC.to_owned(),
        step_s: STEP_S,
        window_s: 86_400,
        period: None,
        staleness_s: 120,
    };
    let mut windows = SignalWindows::new(vec![config]).unwrap();
    let detector = Detector::new(&Settings::default());
    let mut states: Vec<State> = (0..series).map(|n| detector.start_in_turn(STEP_S, n as u32)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{series} series of a real Prometheus, a window of a day, one query a tick, one core");
    for tick in 0..=TICKS {
        let at_s = from_s + (SLOTS - 1 - TICKS + tick) as i64 * i64::from(STEP_S);
        let (before, wall, others) = (cpu_s(), Instant::now(), cpu_of(server.0.id()));
        let found = runtime.block_on(windows.tick(&sources, Timestamp::from_second(at_s).unwrap()));
        let read_s = cpu_s() - before;
        let (wall_s, theirs_s) = (wall.elapsed().as_secs_f64(), cpu_of(server.0.id()) - others);
        assert_eq!(found.len(), series, "{:?}", windows.troubles());
        let before = cpu_s();
        let fed: usize = found
            .iter()
            .zip(&mut states)
            .map(|(it, state)| detector.feed(state, &it.newest(state.last_s(), RECENT), usize::MAX))
            .sum();
        let fed_s = cpu_s() - before;
        let what = if tick == 0 { "the first tick, with all that there is" } else { "a tick" };
        println!(
            "{what:<40} read {read_s:>6.2} s, {fed:>6} values scored {fed_s:>5.2} s; {wall_s:>6.2} s by the clock, \
             Prometheus {theirs_s:>5.2} s"
        );
    }
    println!("{:<40} {:>6.0} MiB", "peak memory", peak_mib());
}
