//! One `tars run` of the race, and the Alertmanager that never gives up on it.
//! Settings come in, a process with a port goes out; it is killed when its owner goes away.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::super::support::{self, ports::free_port};
use super::world::{Incident, SECRET, World, clean};

const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Between two attempts to deliver the same message.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    settings: PathBuf,
    log: PathBuf,
    home: PathBuf,
    port: AtomicU16,
    child: Mutex<Option<Child>>,
}

impl Process {
    pub(super) fn start(world: &World, name: &str) -> Self {
        let process = Self {
            name: name.to_owned(),
            settings: world.settings(name),
            log: world.folder.join(format!("{name}.log")),
            home: world.folder.clone(),
            port: AtomicU16::new(0),
            child: Mutex::new(None),
        };
        process.restart();
        process
    }

    pub(super) fn inbox(&self) -> PathBuf {
        self.home.join(&self.name).join("inbox")
    }

    /// SIGKILL, if it runs.
    pub(super) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it on a new port.
    pub(super) fn restart(&self) {
        self.kill();
        let port = free_port();
        let log = || OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = clean(support::tars(), &self.home)
            .args(["run", "--listen", &format!("127.0.0.1:{port}"), "--config"])
            .arg(&self.settings)
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap();
        self.port.store(port, Ordering::SeqCst);
        *self.child.lock().unwrap() = Some(child);
    }

    /// Starts it again if it ended by itself.
    pub(super) fn revive(&self) {
        let ended = self.child.lock().unwrap().as_mut().is_some_and(|it| it.try_wait().unwrap().is_some());
        if ended {
            self.restart();
        }
    }

    /// Delivers alerts as Alertmanager does: again and again until the answer is a 2xx.
    pub(super) fn deliver(&self, incidents: &[Incident], starts_at: &str, until: Instant) -> bool {
        let alerts: Vec<_> = incidents.iter().map(|it| it.alert(starts_at)).collect();
        let body = serde_json::json!({
            "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "receiver": "tars",
            "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": alerts,
        })
        .to_string();
        while Instant::now() < until {
            match self.ask("POST", "/webhook/alertmanager", &body) {
                Ok((status, _)) if (200..300).contains(&status) => return true,
                Ok((status, text)) => {
                    assert!(status >= 500, "{} refuses an alert: {status} {text}", self.name);
                }
                Err(_) => {}
            }
            std::thread::sleep(RETRY);
        }
        false
    }

    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port.load(Ordering::SeqCst)));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_WAIT)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {SECRET}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("the answer was cut short"))?;
        Ok((status, answer))
    }

    /// The end of its log, for a failure.
    pub(super) fn log_tail(&self, lines: usize) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock()
            && let Some(child) = child.as_mut()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
