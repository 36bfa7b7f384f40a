//! Texts of strangers with characters that drive a terminal, forge a log line or turn a sentence around: in
//! files, policies, the words of the remote and the reason of a suspension. None of them is printed as it is.

use std::io::Write as _;

use super::{World, deployment, honest, policy};
use crate::support::git_http::GitHttp;
use crate::support::program::{Said, tars};

/// Sets the clipboard, moves up, erases, forges a line, reverses, hides: with 7 and with 8 bits.
const EVIL: &str = "\u{1b}]52;c;x\u{7}\u{1b}[1A\u{1b}[2K\r\u{9b}31m\u{202e}\u{2066}\u{200b}\u{85}";
/// The same in a double-quoted scalar.
const QUOTED: &str = r#""\e]52;c;x\a\e[1A\r\x9b31m\u202e\u2066\u200b\N\n{\"level\":\"ERROR\"}""#;

#[track_caller]
fn is_harmless(what: &str, said: &Said) {
    for text in [&said.out, &said.err] {
        let bad = |c: char| {
            c.is_control() && !matches!(c, '\n' | '\t')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        };
        let found: Vec<char> = text.chars().filter(|c| bad(*c)).collect();
        assert!(found.is_empty(), "{what}: {found:?} in {text:?}");
    }
}

#[test]
fn nothing_that_a_stranger_wrote_drives_the_terminal_of_who_reads_it() {
    let mut tree = honest();
    // Beside the edited line, so that it stands in the diff; and in an object that the decision names.
    let comment = EVIL.replace(['\u{7}', '\u{1b}', '\r', '\u{9b}', '\u{85}'], "");
    let good = deployment("good", &format!("3 # {comment}")).replace("app:1", "app:\u{202e}1");
    tree.file("apps/good.yaml", good);
    tree.file("apps/raw.yaml", deployment("raw", &format!("3 # {EVIL}")));
    tree.file("policies/raw.yaml", policy("raw", "Deployment/raw", ""));
    tree.file("names/kustomization.yaml", format!("resources: [d.yaml, {QUOTED}]\n"));
    tree.file("names/d.yaml", deployment("names", "3"));
    tree.file("policies/names.yaml", policy("names", "Deployment/names", ""));
    tree.file("policies/key.yaml", policy("key", "Deployment/key", &format!("  {QUOTED}: 1\n")));
    tree.file("policies/kind.yaml", format!("apiVersion: aiops.tars/v1alpha1\nkind: {QUOTED}\n"));
    tree.file("policies/value.yaml", policy("value", QUOTED, ""));
    let query = policy("query", "Deployment/good", "").replace(
        "{type: anomaly, signal: latency_p95, service: shop}",
        &format!("{{type: promql, query: {QUOTED}}}\n    - {{type: webhook, alertname: {QUOTED}}}"),
    );
    tree.file("policies/query.yaml", query);
    tree.file(format!("apps/{}.yaml", EVIL.replace('\u{9b}', "")), deployment("odd", "3"));
    tree.file("policies/SUSPENDED", format!("frozen {EVIL}\n"));
    let world = World::new(&tree);

    let tick = world.run();
    assert_eq!(tick.said.code, 0, "{:#?}", tick.said);
    is_harmless("run, JSON log", &tick.said);
    let plain = tars(world.home(), &["run", "--once", "--config", "tars.yaml", "--log-format", "text"]);
    is_harmless("run, text log", &plain);
    assert!(!plain.err.lines().any(|it| it.starts_with('{')), "a forged line: {}", plain.err);
    assert_eq!(world.proposals().len(), 1, "{:#?}", tick.said);
    is_harmless("check", &tars(world.home(), &["check", "--config", "tars.yaml"]));
    is_harmless("check, JSON", &world.check());
    std::fs::write(world.home().join("key.yaml"), policy("key", QUOTED, &format!("  {QUOTED}: 1\n")))
        .unwrap();
    is_harmless("policy lint", &tars(world.home(), &["policy", "lint", "key.yaml"]));
    for verb in ["status", "get policies", "get remediations", "get proposals", "explain last", "log"] {
        for format in ["table", "wide", "json"] {
            let words: Vec<&str> = verb.split(' ').collect();
            let said = tars(world.home(), &[&words[..], &["-C", "repo.git", "-o", format]].concat());
            assert!([0, 1].contains(&said.code), "{verb}: {said:#?}");
            is_harmless(&format!("{verb} -o {format}"), &said);
            if format == "json" && !said.out.is_empty() {
                said.json();
            }
        }
    }
}

#[test]
fn the_words_of_a_remote_are_shown_escaped_and_short() {
    let server = GitHttp::start(|_, stream| {
        let body = EVIL.repeat(10_000);
        let _ = write!(
            stream,
            "HTTP/1.1 403 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: \
             close\r\n\r\n{body}",
            EVIL.replace(['\r', '\n'], ""),
            body.len()
        );
    });
    let world = World::new(&honest());
    world.settings(&format!("{}/x.git", server.origin), "");
    let tick = world.run();
    assert_eq!(tick.said.code, 3, "{:#?}", tick.said);
    is_harmless("run", &tick.said);
    assert!(tick.said.err.len() < 4_000, "{}", tick.said.err.len());
    is_harmless("check", &tars(world.home(), &["check", "--config", "tars.yaml"]));
}
