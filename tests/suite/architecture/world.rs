//! What code may touch. Pure rooms: nothing. Other rooms: the world through `outside` only.

use super::Finding;
use super::imports;
use super::source::{Reference, SourceFile, references};

pub(crate) const RULE: &str = "\
    Pure rooms name no clock, process, socket, file, environment, async or log; of the rest,\n\
    `outside` alone names process, socket, file, clock and random.\n\
    Why: thinking that reads the world cannot be replayed, simulated on a virtual clock, or tested in a \
    millisecond; and bounds, timeouts and cleared environments live in one place.\n\
    Instead: take `now` (or bytes, or text) as an argument and return reasons as data; elsewhere,\n\
    call `outside`.\n\
    Test code is exempt.";

/// Path prefixes that no pure room names.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
    "anstream",
    "axum",
    "clap",
    "futures_util",
    "getrandom",
    "git2",
    "prometheus_client",
    "reqwest",
    "rustix",
    "rustls",
    "tempfile",
    "tokio",
    "tracing",
    "tracing_subscriber",
];

/// Path prefixes that only `outside` names among the rooms that touch the world.
const OUTSIDE_ONLY: &[&str] = &[
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::process::Child",
    "std::process::Command",
    "std::process::Stdio",
    "std::thread::sleep",
    "std::time::Instant",
    "std::time::SystemTime",
    "getrandom",
    "git2",
    "reqwest",
    "rustix",
    "tokio::fs",
    "tokio::net",
    "tokio::process",
    "tokio::time::Instant",
    "tokio::time::sleep",
];

/// The client of Kubernetes, for `outside` alone too. Not the bare name of the crate, which is also what a client is
/// called.
const KUBERNETES: &[&str] = &[
    "k8s_openapi",
    "kube::Client",
    "kube::Config",
    "kube::api",
    "kube::client",
    "kube::config",
    "kube::core",
];

/// (room, prefix): openings in [`OUTSIDE_ONLY`].
const OPENINGS: &[(&str, &str)] = &[
    // The server room accepts connections; listener and accepted stream have these types.
    ("serve", "tokio::net::TcpListener"),
    ("serve", "tokio::net::TcpStream"),
];

/// Macros that write to the terminal or to a log.
const NOISY: &[&str] = &[
    "dbg!",
    "eprint!",
    "eprintln!",
    "print!",
    "println!",
    "debug!",
    "error!",
    "event!",
    "info!",
    "span!",
    "trace!",
    "warn!",
];

/// Last two segments of what reads the clock, the machine or the terminal, however they were imported.
const READS: &[(&str, &str)] = &[
    ("Instant", "now"),
    ("SystemTime", "now"),
    ("Timestamp", "now"),
    ("TimeZone", "system"),
    ("io", "stderr"),
    ("io", "stdin"),
    ("io", "stdout"),
    ("Zoned", "now"),
];

pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let Some(row) = imports::row(file.room()) else { continue };
        for reference in references(file).iter().filter(|it| !it.test) {
            let refused = if row.pure { pure(reference) } else { worldly(row.room, reference) };
            if let Some(text) = refused {
                let place = format!("{}:{}", file.path, reference.line);
                findings.push(Finding::new(place, format!("`{}`: {text}", reference.segments.join("::"))));
            }
        }
    }
    findings
}

fn pure(reference: &Reference) -> Option<String> {
    let segments: Vec<&str> = reference.segments.iter().map(String::as_str).collect();
    if let ["async" | "await"] = segments[..] {
        return Some("a pure room is not async: nothing in it waits".to_owned());
    }
    let last = segments.last().copied().unwrap_or("");
    if NOISY.contains(&last) {
        return Some("a pure room does not print or log: return the reason as data".to_owned());
    }
    names(&segments, &[IMPURE, KUBERNETES]).or_else(|| reads(&segments))
}

fn worldly(room: &str, reference: &Reference) -> Option<String> {
    let segments: Vec<&str> = reference.segments.iter().map(String::as_str).collect();
    let open = |it: &&(&str, &str)| it.0 == room && starts_with(&segments, it.1);
    if room == "outside" || OPENINGS.iter().any(|it| open(&it)) {
        return None;
    }
    let terminal = segments.contains(&"io");
    names(&segments, &[OUTSIDE_ONLY, KUBERNETES]).or_else(|| if terminal { None } else { reads(&segments) })
}

fn names(segments: &[&str], banned: &[&[&str]]) -> Option<String> {
    let banned = || banned.iter().copied().flatten();
    if let Some(prefix) = banned().find(|prefix| starts_with(segments, prefix)) {
        return Some(format!("`{prefix}` touches the world; `outside` does that, with bounds"));
    }
    // `use std::time;` or `use std::*;` would let the name in through the back door.
    let wider = |prefix: &&&str| {
        let named: Vec<&str> = segments.iter().copied().filter(|it| *it != "*").collect();
        let through = segments.contains(&"*") || named == ["std", "time"];
        through && starts_with(&prefix.split("::").collect::<Vec<_>>(), &named.join("::"))
    };
    banned().find(wider).map(|prefix| format!("this lets `{prefix}` in unseen: import single items"))
}

fn reads(segments: &[&str]) -> Option<String> {
    let [.., kind, name] = segments else { return None };
    let read = READS.contains(&(kind, name));
    read.then(|| "reads the clock or the machine: take it as an argument".to_owned())
}

fn starts_with(segments: &[&str], prefix: &str) -> bool {
    let mut parts = segments.iter().map(|it| it.trim_end_matches('!'));
    prefix.split("::").all(|it| parts.next() == Some(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[SourceFile::parse(path, text, false)]).len()
    }

    #[test]
    fn a_pure_room_may_not_touch_the_world_in_any_spelling() {
        for text in [
            "use std::fs;",
            "use std::{collections::BTreeMap, fs::File};",
            "use std::time::Instant;",
            "use std::time;",
            "use std::time::*;",
            "use std::*;",
            "fn f() { let _ = std::env::var(\"X\"); }",
            "fn f() -> std::process::ExitCode { loop {} }",
            "fn f(now: std::net::IpAddr) {}",
            "use tokio::sync::mpsc;",
            "use git2::Oid;",
            "fn f() { let now = jiff::Timestamp::now(); }",
            "fn f() { let zone = TimeZone::system(); }",
            "fn f() { let out = io::stdout(); }",
            "async fn f() {}",
            "struct A; impl A { async fn f(&self) {} }",
            "fn f() { let x = async { 1 }; }",
            "fn f() { println!(\"x\"); }",
            "fn f() { tracing::info!(\"x\"); }",
            "fn f() { assert!(std::fs::exists(\"x\")); }",
            "fn f() { vec![g(SystemTime::now())]; }",
        ] {
            assert_eq!(count("src/decide/budget.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn pure_code_and_test_code_pass() {
        let text = "use std::time::Duration; use std::io::{self, Write}; use jiff::Timestamp;
            fn f(now: Timestamp) -> String { format!(\"{now} {}\", env!(\"CARGO_PKG_NAME\")) }
            #[cfg(test)] mod tests { fn f() { std::fs::read(\"x\"); println!(\"x\"); } }
            #[test] fn t() { std::env::var(\"X\"); }";
        assert_eq!(count("src/decide/budget.rs", text), 0);
        let sibling = SourceFile::parse("src/decide/tests.rs", "use std::fs;", true);
        assert_eq!(check(&[sibling]).len(), 0);
    }

    #[test]
    fn code_for_everything_but_tests_is_not_exempt() {
        assert_eq!(count("src/decide/a.rs", "#[cfg(not(test))] fn f() { std::env::var(\"X\"); }"), 1);
    }

    #[test]
    fn only_outside_names_files_processes_and_the_clock() {
        for text in ["use std::process::Command;", "use tokio::net::TcpStream;", "fn f() { Instant::now(); }"]
        {
            assert_eq!(count("src/propose/push.rs", text), 1, "{text}");
            assert_eq!(count("src/outside/command.rs", text), 0, "{text}");
        }
        assert_eq!(count("src/serve/mod.rs", "use tokio::net::TcpListener; async fn f() { g().await }"), 0);
        assert_eq!(
            count(
                "src/cli/mod.rs",
                "use std::process::ExitCode; fn f() { std::env::args(); std::io::stdout(); }"
            ),
            0
        );
    }
}
