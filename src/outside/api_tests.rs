//! The API client against small servers on this machine: what is sent twice, what is waited for, where the token
//! goes.

use std::collections::VecDeque;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::outside::clock::VirtualClock;
use crate::outside::http::HttpSettings;

const NOW: &str = "2026-11-23T10:00:00Z";

/// Answers one connection after the other with the given bytes (nothing: hangs up); gives the requests back.
async fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let base_url = base.clone();
    let serving = tokio::spawn(async move {
        let mut answers = VecDeque::from(answers);
        let mut seen = Vec::new();
        while let Some(answer) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 8192];
            let read = stream.read(&mut request).await.unwrap();
            seen.push(String::from_utf8_lossy(&request[..read]).into_owned());
            stream.write_all(answer.replace("BASE", &base_url).as_bytes()).await.unwrap();
        }
        seen
    });
    (base, serving)
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn api(base: &str) -> Api {
    let settings = HttpSettings {
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        body_max: 64,
        user_agent: "tars-test/1".into(),
        authorities: None,
    };
    let clock = Arc::new(VirtualClock::at(NOW.parse().unwrap()));
    let token = (Scheme::Token, Secret::new("canary").unwrap());
    Api::new(Http::new(&settings).unwrap(), clock, base, token).unwrap()
}

fn call(method: Method, repeatable: bool) -> Call<'static> {
    Call { method, path: &["repos", "a b", "tars/x"], query: &[("q", "1&2")], body: Some(b"{}"), repeatable }
}

#[tokio::test]
async fn a_call_is_encoded_below_the_base_and_carries_the_token_in_its_header() {
    let date = "Date: Mon, 23 Nov 2026 10:00:07 GMT\r\n";
    let (base, serving) = serve(vec![answer(200, date, "{}")]).await;
    let api = api(&base);
    assert_eq!(api.ask(call(Method::Patch, false)).await.unwrap().status, 200);
    let request = serving.await.unwrap().remove(0).to_lowercase();
    assert!(request.starts_with("patch /prefix/repos/a%20b/tars%2fx?q=1%262 http/1.1"), "{request}");
    assert!(request.contains("authorization: token canary") && request.contains("accept: application/json"));
    let seen = api.outside_clock().unwrap();
    assert_eq!(seen.says.duration_since(seen.seen_at).as_secs(), 7);
    assert!(!format!("{api:?}").contains("canary"));
}

#[tokio::test]
async fn what_may_happen_twice_is_sent_again_and_what_may_not_is_lost() {
    for failing in [String::new(), answer(502, "", "")] {
        let (base, serving) = serve(vec![failing, answer(200, "", "")]).await;
        assert_eq!(api(&base).ask(call(Method::Put, true)).await.unwrap().status, 200);
        assert_eq!(serving.await.unwrap().len(), 2);
    }
    let (base, serving) = serve(vec![String::new()]).await;
    let error = api(&base).ask(call(Method::Post, false)).await.unwrap_err();
    assert!(matches!(error, ApiError::Lost(_)), "{error:?}");
    assert_eq!(serving.await.unwrap().len(), 1);
    let (base, serving) = serve(vec![answer(502, "", "")]).await;
    assert_eq!(api(&base).ask(call(Method::Post, false)).await.unwrap().status, 502);
    assert_eq!(serving.await.unwrap().len(), 1);
}

#[tokio::test]
async fn tries_are_counted_and_their_end_is_said() {
    let (base, serving) = serve(vec![String::new(); TRIES as usize]).await;
    let error = api(&base).ask(call(Method::Get, true)).await.unwrap_err();
    assert!(matches!(error, ApiError::NoAnswer { tries: TRIES, .. }), "{error:?}");
    assert_eq!(error.to_string(), "no usable answer after 3 tries");
    assert_eq!(serving.await.unwrap().len(), TRIES as usize);
}

#[tokio::test]
async fn a_short_rate_limit_is_waited_for_even_by_what_must_not_happen_twice() {
    for limited in [
        answer(429, "Retry-After: 0\r\n", ""),
        answer(403, "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1\r\n", ""),
        answer(503, "Retry-After: Mon, 23 Nov 2026 09:59:00 GMT\r\n", ""),
    ] {
        let (base, serving) = serve(vec![limited, answer(201, "", "")]).await;
        assert_eq!(api(&base).ask(call(Method::Post, false)).await.unwrap().status, 201);
        assert_eq!(serving.await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_long_rate_limit_is_an_error_with_its_end() {
    let reset = "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1795428600\r\n";
    for (limited, until) in [
        (answer(429, "Retry-After: 600\r\n", ""), "2026-11-23T10:10:00Z"),
        (answer(429, "Retry-After: Mon, 23 Nov 2026 10:10:00 GMT\r\n", ""), "2026-11-23T10:10:00Z"),
        (answer(403, reset, ""), "2026-11-23T10:10:00Z"),
        (answer(429, "Retry-After: 4000000000\r\n", ""), "2026-11-23T11:00:00Z"),
        (answer(429, "Retry-After: soon\r\n", ""), "2026-11-23T10:01:00Z"),
    ] {
        let (base, _serving) = serve(vec![limited]).await;
        let error = api(&base).ask(call(Method::Get, true)).await.unwrap_err();
        let ApiError::RateLimited { until: found, .. } = error else { panic!("{error:?}") };
        assert_eq!(found, until.parse().unwrap());
    }
}

#[tokio::test]
async fn a_redirect_is_an_error_that_says_where_and_nothing_secret() {
    let location = "Location: https://u:canary@elsewhere.example/login?token=canary\r\n";
    let (base, _serving) = serve(vec![answer(307, location, "")]).await;
    let error = api(&base).ask(call(Method::Post, false)).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("HTTP 307") && text.contains("https://elsewhere.example/login"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn pages_are_followed_at_home_and_nowhere_else() {
    let link =
        "Link: <BASEx?page=1>; rel=\"prev\", <BASEx?page=3>; rel=\"next\", <BASEx?page=9>; rel=\"last\"\r\n";
    let (base, serving) = serve(vec![answer(200, link, "[]"), answer(200, "", "[]")]).await;
    let api = api(&base);
    let first = api.first_page(&["x"], &[("state", "all")]).unwrap();
    let (_, next) = api.page(&first).await.unwrap();
    let (_, end) = api.page(&next.unwrap()).await.unwrap();
    assert!(end.is_none());
    let requests = serving.await.unwrap();
    assert!(requests[0].starts_with("GET /prefix/x?state=all "), "{requests:?}");
    assert!(requests[1].starts_with("GET /prefix/x?page=3 "), "{requests:?}");
    for foreign in
        ["http://elsewhere.example/x", "//elsewhere.example/x", "/other/x", "http://u:p@HOST/prefix/x"]
    {
        let (base, _serving) = serve(vec![answer(
            200,
            &format!("Link: <{}>; rel=\"next\"\r\n", foreign.replace("HOST", "127.0.0.1")),
            "[]",
        )])
        .await;
        let api = self::api(&base);
        let error = api.page(&api.first_page(&["x"], &[]).unwrap()).await.unwrap_err();
        assert!(matches!(error, ApiError::ForeignPage { .. }), "{foreign}: {error:?}");
        assert!(!error.to_string().contains("u:p"), "{error}");
    }
}

#[tokio::test]
async fn what_did_not_change_is_confirmed_and_keeps_its_next_page() {
    let first = "ETag: W/\"a\"\r\nLink: <BASEx?page=2>; rel=\"next\"\r\nX-RateLimit-Remaining: 9\r\n";
    let (base, serving) = serve(vec![
        answer(200, first, "[1]"),
        answer(304, "X-RateLimit-Remaining: 8\r\nDate: Mon, 23 Nov 2026 10:00:07 GMT\r\n", ""),
        answer(200, "ETag: \"b\"\r\n", "[2]"),
        answer(304, "ETag: \"b\"\r\n", ""),
    ])
    .await;
    let api = api(&base);
    let page = api.first_page(&["x"], &[]).unwrap();
    let (told, next) = api.page(&page).await.unwrap();
    let (confirmed, same_next) = api.page(&page).await.unwrap();
    assert_eq!((confirmed.status, &confirmed.body), (200, &told.body));
    assert_eq!(next.unwrap().0, same_next.unwrap().0);
    assert_eq!(confirmed.header("x-ratelimit-remaining"), Some("8"));
    assert!(confirmed.date.is_some() && api.outside_clock().is_some());
    for _ in 0..2 {
        let (changed, none) = api.page(&page).await.unwrap();
        assert_eq!((changed.body.as_slice(), none.is_none()), (&b"[2]"[..], true));
    }
    let requests = serving.await.unwrap();
    let condition = |it: &String| {
        let line =
            it.lines().find_map(|it| it.to_lowercase().strip_prefix("if-none-match: ").map(str::to_owned));
        line.unwrap_or_default()
    };
    let conditions: Vec<_> = requests.iter().map(condition).collect();
    assert_eq!(conditions, ["", "w/\"a\"", "w/\"a\"", "\"b\""]);
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_is_an_error_and_after_a_write_nothing_is_known() {
    for (method, is_read) in [(Method::Get, true), (Method::Patch, false)] {
        let (base, _serving) = serve(vec![answer(304, "ETag: \"a\"\r\n", "")]).await;
        let call = Call { body: None, ..call(method, true) };
        let error = api(&base).ask(call).await.unwrap_err();
        assert!(matches!(&error, ApiError::Unasked { is_read: it, .. } if *it == is_read), "{error:?}");
    }
}

#[tokio::test]
async fn after_a_write_the_thing_is_read_without_a_condition() {
    let tagged = || answer(200, "ETag: \"a\"\r\n", "{}");
    let (base, serving) = serve(vec![tagged(), tagged(), String::new(), tagged()]).await;
    let api = api(&base);
    let read = Call { body: None, query: &[], ..call(Method::Get, true) };
    api.ask(read).await.unwrap();
    api.ask(read).await.unwrap();
    // Its answer is lost, and so it may have been done.
    api.ask(Call { query: &[], ..call(Method::Patch, false) }).await.unwrap_err();
    api.ask(read).await.unwrap();
    let has_condition = |it: &String| it.to_lowercase().contains("if-none-match");
    let conditions: Vec<_> = serving.await.unwrap().iter().map(has_condition).collect();
    assert_eq!(conditions, [false, true, false, false]);
}

#[tokio::test]
async fn an_answer_without_an_end_is_refused_and_a_write_that_met_one_is_lost() {
    let endless =
        format!("HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}\r\n", "x".repeat(255));
    let (base, _serving) = serve(vec![endless]).await;
    let error = api(&base).ask(call(Method::Post, false)).await.unwrap_err();
    assert!(matches!(error, ApiError::Lost(HttpError::BodyTooLarge { .. })), "{error:?}");
}

#[tokio::test]
async fn no_part_of_a_path_climbs() {
    for part in ["", ".", ".."] {
        let call = Call { path: &["repos", part], ..call(Method::Get, true) };
        assert!(matches!(api("http://127.0.0.1:9/").ask(call).await, Err(ApiError::Address(_))));
    }
    for base in ["ftp://h/", "http://u@h/", "http://u:p@h/", "http://h/?q=1", "x"] {
        let http = Http::new(&HttpSettings {
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            body_max: 1,
            user_agent: "x".into(),
            authorities: None,
        });
        let clock = Arc::new(VirtualClock::at(NOW.parse().unwrap()));
        let token = (Scheme::Bearer, Secret::new("x").unwrap());
        assert!(Api::new(http.unwrap(), clock, base, token).is_err(), "{base}");
    }
}
