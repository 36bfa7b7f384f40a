//! The memory of answers by itself: its bounds, who shares an answer with whom, and which times of change are believed.

use super::*;
use crate::outside::http::{Scheme, parse};
use crate::outside::secret::Secret;

const DATE: &str = "2026-11-23T10:00:00Z";

fn url(path: &str) -> Url {
    parse(&format!("http://forge.example{path}")).unwrap()
}

fn get<'a>(token: Option<&'a Secret>, headers: &'a [(&'static str, &'a str)]) -> HttpRequest<'a> {
    let credential = token.map(|it| (Scheme::Bearer, it));
    HttpRequest { method: Method::Get, query: &[], headers, body: None, credential }
}

fn tagged(body: &[u8]) -> HttpReply {
    HttpReply::for_test(200, &[("etag", "W/\"1\"")], body)
}

/// What is remembered of a path.
fn of(memory: &Remembered, path: &str) -> Option<Arc<Entry>> {
    memory.find(&memory.question(&url(path), &get(None, &[])).unwrap())
}

fn take(memory: &mut Remembered, path: &str, reply: &HttpReply) {
    let question = memory.question(&url(path), &get(None, &[])).unwrap();
    memory.take(question, reply);
}

#[test]
fn of_too_many_answers_those_go_that_were_longest_not_confirmed() {
    let mut memory = Remembered::default();
    for number in 0..ENTRIES_MAX {
        take(&mut memory, &format!("/{number}"), &tagged(b"x"));
    }
    take(&mut memory, "/0", &HttpReply::for_test(304, &[], b""));
    take(&mut memory, "/more", &tagged(b"x"));
    assert_eq!(memory.entries.len(), ENTRIES_MAX);
    assert!(of(&memory, "/0").is_some() && of(&memory, "/1").is_none() && of(&memory, "/more").is_some());
}

#[test]
fn the_bytes_of_all_answers_are_bounded_and_a_huge_one_drives_out_nothing() {
    let mut memory = Remembered::default();
    let large = vec![b'x'; ENTRY_BYTES_MAX / 2];
    for number in 0..40 {
        take(&mut memory, &format!("/{number}"), &tagged(&large));
        assert!(memory.bytes <= BYTES_MAX);
    }
    assert_eq!(memory.bytes, memory.entries.iter().map(|it| it.bytes()).sum::<usize>());
    let kept = memory.entries.len();
    assert!((12..16).contains(&kept), "{kept}");
    take(&mut memory, "/huge", &tagged(&vec![b'x'; ENTRY_BYTES_MAX]));
    assert_eq!((memory.entries.len(), of(&memory, "/huge").is_none()), (kept, true));
}

#[test]
fn nobody_gets_what_somebody_else_was_told_nor_another_form_of_it() {
    let mut memory = Remembered::default();
    let (mine, yours) = (Secret::new("mine").unwrap(), Secret::new("yours").unwrap());
    let asked = memory.question(&url("/x"), &get(Some(&mine), &[])).unwrap();
    memory.take(asked.clone(), &tagged(b"x"));
    assert!(memory.find(&asked).is_some());
    let accept = [("accept", "text/plain")];
    for other in [get(Some(&yours), &[]), get(None, &[]), get(Some(&mine), &accept)] {
        assert!(memory.find(&memory.question(&url("/x"), &other).unwrap()).is_none());
    }
    let elsewhere = parse("https://forge.example/x").unwrap();
    assert!(memory.find(&memory.question(&elsewhere, &get(Some(&mine), &[])).unwrap()).is_none());
    let query = HttpRequest { query: &[("page", "2")], ..get(Some(&mine), &[]) };
    assert!(memory.find(&memory.question(&url("/x"), &query).unwrap()).is_none());
    assert!(!format!("{memory:?}").contains("mine"));
}

#[test]
fn a_write_forgets_the_thing_what_is_below_it_and_the_lists_it_is_in() {
    let mut memory = Remembered::default();
    let all = ["/pulls", "/pulls?state=open", "/pulls/7", "/pulls/7/reviews", "/pulls/70", "/issues/7"];
    for path in all {
        take(&mut memory, path, &tagged(b"x"));
    }
    memory.forget(&url("/pulls/7"));
    let left: Vec<_> = all.into_iter().filter(|it| of(&memory, it).is_some()).collect();
    assert_eq!(left, ["/pulls/70", "/issues/7"]);
}

#[test]
fn what_is_gone_is_forgotten_and_a_moments_trouble_forgets_nothing() {
    let mut memory = Remembered::default();
    take(&mut memory, "/x", &tagged(b"x"));
    for status in [429, 500, 503] {
        take(&mut memory, "/x", &HttpReply::for_test(status, &[], b""));
    }
    assert!(of(&memory, "/x").is_some());
    take(&mut memory, "/x", &HttpReply::for_test(404, &[], b""));
    assert!(of(&memory, "/x").is_none() && memory.bytes == 0);
}

#[test]
fn a_time_of_change_is_believed_only_when_it_was_a_while_ago() {
    let with = |modified: &'static str| {
        let reply = HttpReply::for_test(200, &[("last-modified", modified)], b"x");
        condition(&HttpReply { date: Some(DATE.parse().unwrap()), ..reply })
    };
    let old = "Mon, 23 Nov 2026 09:59:00 GMT";
    assert_eq!(with(old), Some(("if-modified-since", old.to_owned())));
    assert_eq!(with("Mon, 23 Nov 2026 09:59:01 GMT"), None);
    assert_eq!(with("soon"), None);
    let both = HttpReply::for_test(200, &[("last-modified", old), ("etag", "\"a\"")], b"x");
    assert_eq!(condition(&both), Some(("if-none-match", "\"a\"".to_owned())));
    assert_eq!(condition(&HttpReply::for_test(200, &[], b"x")), None);
}
