//! Git over HTTP: as it should be, with a wrong token, through servers that send elsewhere, drip, or never
//! end. A token reaches one host and no argument list, and a refusal costs a handful of requests.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{Tick, World, honest};
use crate::support::git_http::{Asked, END, GitHttp, noting_git};
use crate::support::program::{commits, git, kinds, shell};

const TOKEN: &str = "canary-token-0123456789";
/// `x-access-token:` and the token, as HTTP's Basic scheme sends them.
const BASIC: &str = "eC1hY2Nlc3MtdG9rZW46Y2FuYXJ5LXRva2VuLTAxMjM0NTY3ODk=";

/// A world whose remote is `url`, with [`TOKEN`].
fn world(url: &str, more: &str) -> World {
    let world = World::new(&honest());
    point(&world, url, more);
    world
}

fn point(world: &World, url: &str, more: &str) {
    let file = world.home().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    world.settings(url, &format!("  token_file: {}\n{more}", file.display()));
}

#[track_caller]
fn keeps_the_secret(tick: &Tick) {
    let all = format!("{:?}", tick.said);
    assert!(!all.contains(TOKEN) && !all.contains(BASIC), "{all}");
}

#[test]
fn the_right_token_fetches_and_pushes_and_stands_in_no_argument_list() {
    let world = World::new(&honest());
    let server = GitHttp::serve(world.home(), TOKEN);
    point(&world, &format!("{}/repo.git", server.origin), "");
    let log = world.home().join("git.log");
    let bin = noting_git(world.home(), &log);
    // What a machine could have set for every git must not reach this one.
    let marker = world.home().join("PWNED");
    let line = format!(
        "PATH={}:$PATH GIT_TRACE_CURL={marker} GIT_SSH_COMMAND='touch {marker}' GIT_ASKPASS='touch {marker}' \
         GIT_EXEC_PATH=/nonexistent GIT_TEMPLATE_DIR=/nonexistent http_proxy=http://127.0.0.1:1 \
         LD_AUDIT=/nonexistent tars run --once --config tars.yaml",
        bin.display(),
        marker = marker.display()
    );
    let said = shell(world.home(), &line);
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(kinds(&world.repo()), ["Genesis", "Proposed"]);
    assert!(world.proposals()[0].starts_with("tars/good/"));
    assert!(!marker.exists());

    let asked = server.asked();
    assert!(asked.iter().any(|it| it.target.ends_with("/git-receive-pack")), "it pushed over HTTP");
    assert!(asked.iter().all(|it| it.header("authorization") == Some(&format!("Basic {BASIC}"))));
    let log = std::fs::read_to_string(log).unwrap();
    let (argv, env): (Vec<_>, Vec<_>) = log.lines().partition(|line| line.starts_with("argv:"));
    assert!(argv.len() >= 3, "{log}");
    assert!(argv.iter().all(|it| !it.contains(TOKEN) && !it.contains(BASIC)), "{argv:#?}");
    let secret: Vec<_> = env.iter().filter(|it| it.contains(BASIC) || it.contains(TOKEN)).collect();
    assert!(secret.iter().all(|it| it.starts_with("env: GIT_CONFIG_VALUE_0=")), "{secret:#?}");
    for foreign in ["GIT_TRACE", "GIT_SSH", "GIT_ASKPASS", "GIT_EXEC_PATH", "GIT_TEMPLATE", "proxy", "LD_"] {
        assert!(!env.iter().any(|it| it.contains(foreign)), "{foreign}: {env:#?}");
    }
    let said = shell(world.home(), "tars audit verify -C repo.git --allowed-signers allowed");
    assert_eq!(said.code, 0, "{said:#?}");
}

#[test]
fn a_wrong_or_missing_token_is_said_to_be_one_after_a_handful_of_requests() {
    let world = World::new(&honest());
    let server = GitHttp::serve(world.home(), "another one");
    let url = format!("{}/repo.git", server.origin);
    let before = world.refs();
    for with_token in [true, false] {
        if with_token {
            point(&world, &url, "");
        } else {
            world.settings(&url, "");
        }
        let asked_before = server.asked().len();
        let tick = world.run();
        assert_eq!(tick.said.code, 4, "{:#?}", tick.said);
        assert!(tick.said.err.contains("repository.token_file"), "{:#?}", tick.said);
        keeps_the_secret(&tick);
        let asked = server.asked().len() - asked_before;
        assert!((1..=4).contains(&asked), "{asked} requests");
        let said = world.check();
        assert_eq!(said.code, 1, "{said:?}");
        assert!(!said.out.contains(TOKEN), "{said:?}");
    }
    assert_eq!(world.refs(), before);
}

#[test]
fn a_token_for_a_remote_that_is_not_http_is_a_mistake_in_the_settings() {
    let world = World::new(&honest());
    for url in [world.repo().display().to_string(), "ssh://git@git.example.com/x.git".to_owned()] {
        point(&world, &url, "");
        let tick = world.run();
        assert_eq!(tick.said.code, 2, "{url}: {:#?}", tick.said);
        assert!(tick.said.err.contains("repository.token_file"), "{:#?}", tick.said);
    }
}

/// What the server says of itself before it is asked for objects: one branch, at a commit nobody has.
fn advertisement() -> String {
    let commit = "1".repeat(40);
    let line = format!("{commit} refs/heads/main\0multi_ack_detailed side-band-64k\n");
    format!("001e# service=git-upload-pack\n0000{:04x}{line}0000", line.len() + 4)
}

fn redirect(stream: &mut TcpStream, status: u16, to: &str) {
    let _ = write!(stream, "HTTP/1.1 {status} Moved\r\nLocation: {to}\r\n{END}");
}

#[test]
fn a_token_follows_no_redirect() {
    let elsewhere = GitHttp::start(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 404 Not Found\r\n{END}");
    });
    let host = elsewhere.origin.strip_prefix("http://").unwrap().to_owned();
    let targets = [
        (301, format!("http://{host}/x.git/info/refs?service=git-upload-pack")),
        (302, format!("//{host}/x.git/info/refs?service=git-upload-pack")),
        (307, format!("http://x-access-token@{host}/x.git/info/refs?service=git-upload-pack")),
        (308, format!("http://127.0.0.1?@{host}/x.git/info/refs?service=git-upload-pack")),
    ];
    for (status, to) in targets {
        for at_start in [true, false] {
            let to = to.clone();
            let server = GitHttp::start(move |asked, stream| {
                if at_start || asked.method == "POST" {
                    return redirect(stream, status, &to);
                }
                let body = advertisement();
                let kind = "application/x-git-upload-pack-advertisement";
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            });
            let world = world(&format!("{}/x.git", server.origin), "  timeout_s: 10\n");
            let before = world.refs();
            let tick = world.run();
            assert_eq!(tick.said.code, 3, "{status} {at_start}: {:#?}", tick.said);
            keeps_the_secret(&tick);
            let asked = server.asked();
            assert!(asked.iter().any(|it| it.header("authorization").is_some()), "the host itself gets it");
            assert!(asked.len() <= 6, "{} requests", asked.len());
            assert_eq!(elsewhere.asked().len(), 0, "{status} {at_start}: {:?}", elsewhere.asked());
            assert_eq!(world.refs(), before);
        }
    }
}

#[test]
fn the_token_of_the_metrics_follows_no_redirect_and_no_next_page() {
    let elsewhere = GitHttp::start(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{END}");
    });
    let to = elsewhere.origin.clone();
    let metrics = GitHttp::start(move |_, stream| {
        let next = format!("Link: <{to}/?page=2>; rel=\"next\"\r\nLocation: {to}/api/v1/query_range");
        let _ = write!(stream, "HTTP/1.1 302 Found\r\n{next}\r\n{END}");
    });
    let world = World::new(&honest());
    let secret = world.home().join("bearer");
    std::fs::write(&secret, TOKEN).unwrap();
    let settings = std::fs::read_to_string(world.home().join("tars.yaml")).unwrap();
    let block = format!("{}\", bearer_token_file: {}", metrics.origin, secret.display());
    let settings = settings.replace(&format!("{}\"", world.metrics.url), &block);
    std::fs::write(world.home().join("tars.yaml"), settings).unwrap();
    let said = world.check();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(!said.out.contains(TOKEN), "{said:?}");
    let bearer = format!("Bearer {TOKEN}");
    assert!(metrics.asked().iter().any(|it| it.header("authorization") == Some(&bearer)));
    assert_eq!(elsewhere.asked().len(), 0);
}

/// A world whose remote answers with `answer`; it must be given up with `words`, soon.
#[track_caller]
fn given_up(what: &str, words: &[&str], answer: fn(&Asked, &mut TcpStream)) {
    let server = GitHttp::start(answer);
    let world = world(&format!("{}/x.git", server.origin), "  timeout_s: 3\n");
    let started = Instant::now();
    let before = world.refs();
    let tick = world.run();
    assert_eq!(tick.said.code, 3, "{what}: {:#?}", tick.said);
    assert!(words.iter().any(|it| tick.said.err.contains(it)), "{what}: {:#?}", tick.said);
    assert!(started.elapsed() < Duration::from_secs(40), "{what}: {:?}", started.elapsed());
    assert_eq!(world.refs(), before, "{what}");
}

const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\
                       Connection: close\r\n\r\n";

#[test]
fn a_server_that_drips_is_given_up_in_time() {
    given_up("drip", &["did not finish within 3 s"], |_, stream| {
        let _ = stream.write_all(ENDLESS.as_bytes());
        // Ends when the other side does.
        while stream.write_all(b"0").is_ok() {
            thread::sleep(Duration::from_millis(200));
        }
    });
    given_up("silence", &["did not finish within 3 s"], |_, stream| {
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {
            thread::sleep(Duration::from_millis(500));
        }
    });
}

#[test]
fn a_list_of_branches_without_an_end_is_given_up_within_bounds_of_time_and_memory() {
    let words = ["did not finish within 3 s", "bytes and was stopped", "out of memory", "cannot list"];
    given_up("branches", &words, |_, stream| {
        let _ = stream.write_all(ENDLESS.as_bytes());
        let _ = stream.write_all(b"001e# service=git-upload-pack\n0000");
        let mut number = 0_u64;
        loop {
            let mut lines = String::new();
            for _ in 0..1_000 {
                number += 1;
                let line = format!("{number:040x} refs/heads/tars/{number}\n");
                lines.push_str(&format!("{:04x}{line}", line.len() + 4));
            }
            if stream.write_all(lines.as_bytes()).is_err() {
                return;
            }
        }
    });
}

/// Says that it has a branch, and then sends one file without an end: a pack (gitformat-pack(5)) whose blob says
/// that it has a million million bytes, in stored blocks of deflate (RFC 1951), in side-band packets.
fn endless_file(asked: &Asked, stream: &mut TcpStream) {
    if asked.method != "POST" {
        let _ =
            stream.write_all(ENDLESS.as_bytes()).and_then(|()| stream.write_all(advertisement().as_bytes()));
        return;
    }
    let kind = "application/x-git-upload-pack-result";
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n0008NAK\n");
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    // A blob (3 in the upper bits) and its length, four bits and then seven at a time.
    pack.extend([0xb0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0x78, 0x01]);
    let block = [&[0, 0xff, 0xff, 0, 0][..], &vec![b'x'; 0xffff]].concat();
    loop {
        for piece in pack.chunks(60_000) {
            let head = format!("{:04x}\x01", piece.len() + 5);
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(piece)).is_err() {
                return;
            }
        }
        pack.clone_from(&block);
    }
}

#[test]
fn a_file_without_an_end_fills_no_disk_and_the_next_tick_serves_again() {
    let server = GitHttp::start(endless_file);
    // The time would allow for more: what ends it is the room.
    let world = world(&format!("{}/x.git", server.origin), "  timeout_s: 90\n  clone_max_mib: 8\n");
    let before = world.refs();
    let tick = world.run();
    assert_eq!(tick.said.code, 3, "{:#?}", tick.said);
    assert!(tick.said.err.contains("took more than 8 MiB on disk"), "{:#?}", tick.said);
    assert!(server.asked().iter().any(|it| it.method == "POST"), "it asked for the file");
    let left: Vec<_> = std::fs::read_dir(world.home().join("state/clones")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(world.refs(), before);
    world.settings(&world.repo().display().to_string(), "");
    world.serves_the_honest_target();
}

#[test]
fn names_that_a_server_has_no_right_to_are_not_written_anywhere() {
    let world = World::new(&honest());
    let main = git(&world.repo(), &["rev-parse", "main"]);
    let names = [
        "refs/heads/../../x",
        "refs/heads/tars/../../../../x",
        "refs/heads/tars/good\u{1b}[2J",
        "refs/heads/tars/--upload-pack=x",
        "refs/heads/tars/..",
        "refs/heads/main.lock",
        "../../../x",
        "HEAD~1",
    ];
    let server = GitHttp::start(move |asked, stream| {
        let line = |text: String| format!("{:04x}{text}", text.len() + 4);
        let mut body = "001e# service=git-upload-pack\n0000".to_owned();
        body += &line(format!("{main} refs/heads/main\0multi_ack_detailed side-band-64k\n"));
        for name in names {
            body += &line(format!("{main} {name}\n"));
        }
        body += "0000";
        if asked.method == "POST" {
            body = "0008NAK\n".to_owned();
        }
        let kind = if asked.method == "POST" { "result" } else { "advertisement" };
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nContent-Length: \
             {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    });
    let before = world.refs();
    point(&world, &format!("{}/x.git", server.origin), "  timeout_s: 10\n");
    let tick = world.run();
    assert_eq!(tick.said.code, 3, "it has no objects: {:#?}", tick.said);
    assert!(!tick.said.err.contains('\u{1b}'), "{:?}", tick.said.err);
    keeps_the_secret(&tick);
    let stray = shell(
        world.home(),
        "find . -path ./repo.git -prune -o \\( -name x -o -name '*upload-pack*' \\) -print",
    );
    assert_eq!(stray.ok(), "");
    assert_eq!(world.refs(), before);
    world.settings(&world.repo().display().to_string(), "");
    world.serves_the_honest_target();
}

#[test]
fn a_repository_that_refuses_the_push_is_told_and_the_ledger_is_whole() {
    let world = World::new(&honest());
    let server = GitHttp::serve(world.home(), TOKEN);
    point(&world, &format!("{}/repo.git", server.origin), "");
    git(&world.repo(), &["config", "receive.denyCurrentBranch", "refuse"]);
    let hook = world.repo().join("hooks/pre-receive");
    std::fs::create_dir_all(world.repo().join("hooks")).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nprintf 'no\\033]52;c;x\\007 \\342\\200\\256' >&2\nexit 1\n").unwrap();
    shell(world.home(), "chmod 755 repo.git/hooks/pre-receive").ok();
    let before = world.refs();
    let tick = world.run();
    assert_eq!(tick.said.code, 3, "{:#?}", tick.said);
    assert!(tick.said.err.contains("pre-receive hook declined"), "{:#?}", tick.said);
    assert!(!tick.said.err.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{:?}", tick.said.err);
    assert_eq!(world.refs(), before);
    std::fs::remove_file(hook).unwrap();
    world.serves_the_honest_target();
    assert_eq!(commits(&world.repo(), "tars/ledger").len(), 2);
}
