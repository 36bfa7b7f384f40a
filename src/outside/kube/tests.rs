//! The client against a stand-in that answers from a script; the real server is in tests/suite.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::outside::files;

const PODS: Resource = Resource { group: "", version: "v1", plural: "pods" };
const DEPLOYMENTS: Resource = Resource { group: "apps", version: "v1", plural: "deployments" };

#[derive(Debug, PartialEq, Deserialize)]
struct Named {
    metadata: Name,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Name {
    name: String,
}

/// Answers requests in order, one connection each, and keeps what was asked.
struct StandIn {
    folder: tempfile::TempDir,
    kube: Kube,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn stand_in(answers: Vec<(u16, String)>) -> StandIn {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut answers = VecDeque::from(answers);
        while let Some((status, body)) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = read_request(&mut stream).await;
            seen.lock().unwrap().push(request);
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body.as_bytes()).await;
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let kube = Kube::new(&kubeconfig(folder.path(), &server, "tokenFile: token")).await.unwrap();
    StandIn { folder, kube, asked }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut seen = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        seen.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|it| it.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

fn kubeconfig(folder: &Path, server: &str, user: &str) -> Access {
    kubeconfig_of(folder, &format!("server: {server}"), user)
}

fn kubeconfig_of(folder: &Path, cluster: &str, user: &str) -> Access {
    files::write_durable(&folder.join("token"), b"canary-token\n").unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         contexts: [{{name: here, context: {{cluster: c, user: u, namespace: shop}}}}]\n\
         clusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
    );
    let path = folder.join("config");
    files::write_durable(&path, text.as_bytes()).unwrap();
    Access::Kubeconfig { path, context: None }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "7"}, "spec": {"much": "more"}})
}

fn status(code: u16, reason: &str, details: &Value) -> (u16, String) {
    let body = json!({"kind": "Status", "code": code, "reason": reason, "message": "because\u{1b}[31m", "details": details});
    (code, body.to_string())
}

fn place(name: &str) -> Place<'_> {
    Place { resource: DEPLOYMENTS, namespace: Some("shop"), name }
}

#[tokio::test]
async fn an_object_is_read_into_the_small_type_that_the_caller_names() {
    let it = stand_in(vec![(200, pod("checkout").to_string())]).await;
    let read: Named = it.kube.get(place("checkout")).await.unwrap();
    assert_eq!(read.metadata.name, "checkout");
    let asked = it.asked.lock().unwrap().join("");
    assert!(
        asked.starts_with("GET /apis/apps/v1/namespaces/shop/deployments/checkout HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(asked.contains("authorization: Bearer canary-token\r\n"), "{asked}");
    assert!(!format!("{:?}", it.kube).contains("canary"));
    assert_eq!(it.kube.default_namespace(), "shop");
}

#[tokio::test]
async fn a_renewed_token_travels_with_the_next_request() {
    let it = stand_in(vec![(200, pod("a").to_string()), (200, pod("a").to_string())]).await;
    let _: Named = it.kube.get(place("a")).await.unwrap();
    files::write_durable(&it.folder.path().join("token"), b"canary-renewed").unwrap();
    let _: Named = it.kube.get(place("a")).await.unwrap();
    let asked = it.asked.lock().unwrap().clone();
    assert!(asked[0].contains("authorization: Bearer canary-token\r\n"), "{}", asked[0]);
    assert!(asked[1].contains("authorization: Bearer canary-renewed\r\n"), "{}", asked[1]);
}

#[tokio::test]
async fn every_refusal_has_its_own_kind() {
    let named = json!({"kind": "deployments", "name": "checkout"});
    let it = stand_in(vec![
        status(404, "NotFound", &named),
        (404, "404 page not found\n".into()),
        status(403, "Forbidden", &named),
        status(409, "Conflict", &named),
        status(409, "AlreadyExists", &named),
        status(410, "Expired", &json!({})),
        status(422, "Invalid", &named),
        status(503, "ServiceUnavailable", &json!({})),
        status(401, "Unauthorized", &json!({})),
        (200, "{".into()),
    ])
    .await;
    let mut kinds = Vec::new();
    for _ in 0..10 {
        let error = it.kube.get::<Named>(place("checkout")).await.unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
        kinds.push(error);
    }
    use KubeError as E;
    assert!(kinds[0].is_not_found() && !kinds[1].is_not_found());
    assert!(matches!(kinds[1], E::NotServed { .. }), "{:?}", kinds[1]);
    assert_eq!(kinds[2].to_string(), "not allowed to get deployments.apps in namespace shop");
    assert!(kinds[2].hint().unwrap().contains("the verb get on deployments"));
    assert!(matches!(kinds[3], E::Conflict { .. }));
    assert!(matches!(kinds[4], E::Exists { .. }));
    assert!(matches!(kinds[5], E::Expired { .. }) && kinds[5].is_transient());
    assert!(matches!(kinds[6], E::Invalid { .. }) && !kinds[6].is_transient());
    assert!(matches!(kinds[7], E::Busy { .. }) && kinds[7].is_transient());
    assert!(matches!(kinds[8], E::Unauthorized { .. }));
    assert!(matches!(kinds[9], E::Unreadable { .. }));
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_stops_at_the_callers_bound() {
    let page = |names: [&str; 2], next: &str| {
        let items: Vec<_> = names.into_iter().map(pod).collect();
        (200, json!({"metadata": {"resourceVersion": "42", "continue": next}, "items": items}).to_string())
    };
    let it = stand_in(vec![page(["a", "b"], "n/1"), page(["c", "d"], "n/2")]).await;
    let selection = Selection { labels: Some("app in (a,b)"), metadata_only: true, ..Selection::default() };
    let listed = it.kube.list::<Named>(PODS, selection, 3).await.unwrap();
    let names: Vec<_> = listed.items.iter().map(|it| it.metadata.name.as_str()).collect();
    assert_eq!((names, listed.is_cut, listed.version.as_str()), (vec!["a", "b", "c"], true, "42"));
    let asked = it.asked.lock().unwrap().clone();
    assert!(
        asked[0].starts_with("GET /api/v1/pods?limit=3&labelSelector=app+in+%28a%2Cb%29 "),
        "{}",
        asked[0]
    );
    assert!(asked[1].starts_with("GET /api/v1/pods?limit=1&continue=n%2F1&"), "{}", asked[1]);
    assert!(asked[0].contains("as=PartialObjectMetadataList"), "{}", asked[0]);
}

#[tokio::test]
async fn a_watch_gives_changes_one_by_one_and_says_when_its_point_is_too_old() {
    let line = |kind: &str, object: Value| json!({"type": kind, "object": object}).to_string() + "\n";
    let gone = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
    let bookmark = json!({"metadata": {"resourceVersion": "99"}});
    let lines = line("ADDED", pod("a")) + &line("BOOKMARK", bookmark) + &line("ERROR", gone);
    let it = stand_in(vec![(200, lines)]).await;
    let mut watch = it.kube.watch(PODS, Selection::default(), "42").await.unwrap();
    let added = watch.next::<Named>().await.unwrap().unwrap();
    assert_eq!(added, Change::Added(Named { metadata: Name { name: "a".into() } }));
    assert_eq!(watch.next::<Named>().await.unwrap(), Some(Change::Bookmark));
    assert_eq!(watch.version(), "99");
    assert!(matches!(watch.next::<Named>().await, Err(KubeError::Expired { .. })));
    assert!(watch.next::<Named>().await.unwrap().is_none());
    let asked = it.asked.lock().unwrap().join("");
    assert!(
        asked.contains("watch=true&allowWatchBookmarks=true") && asked.contains("resourceVersion=42"),
        "{asked}"
    );
}

#[tokio::test]
async fn who_follows_lists_again_when_the_watch_is_too_old_and_is_not_told_of_a_failure() {
    let gone = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
    let expired = json!({"type": "ERROR", "object": gone}).to_string() + "\n";
    let list =
        |version: &str| (200, json!({"metadata": {"resourceVersion": version}, "items": []}).to_string());
    let it = stand_in(vec![list("7"), (200, expired), list("9")]).await;
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let following = follow(&it.kube, PODS, None, move |what| {
        let _ = tell.send(matches!(what, Heard::Changed));
    });
    let two = async { [heard.recv().await, heard.recv().await] };
    tokio::select! {
        () = following => unreachable!("nobody ends it"),
        both = two => assert_eq!(both, [Some(true); 2]),
    }
    let asked = it.asked.lock().unwrap();
    assert!(asked[1].contains("watch=true") && asked[1].contains("resourceVersion=7"), "{asked:?}");
    assert!(!asked[2].contains("watch=true"), "{asked:?}");
}

#[tokio::test]
async fn an_apply_names_its_manager_and_a_merge_its_part() {
    let it = stand_in(vec![(200, pod("a").to_string()), (200, pod("a").to_string())]).await;
    let object = json!({"metadata": {"name": "a"}});
    let apply = Patch::Apply { manager: "tars" };
    let _: Named = it.kube.patch(place("a"), Part::Status, apply, &object).await.unwrap();
    let _: Named = it.kube.patch(place("a"), Part::Whole, Patch::Merge, &object).await.unwrap();
    let asked = it.asked.lock().unwrap().clone();
    let path = "PATCH /apis/apps/v1/namespaces/shop/deployments/a";
    assert!(asked[0].starts_with(&format!("{path}/status?fieldManager=tars&force=true ")), "{}", asked[0]);
    assert!(asked[0].contains("content-type: application/apply-patch+yaml"), "{}", asked[0]);
    assert!(
        asked[1].starts_with(&format!("{path} ")) && asked[1].contains("merge-patch+json"),
        "{}",
        asked[1]
    );
}

#[tokio::test]
async fn an_answer_above_the_bound_is_given_up() {
    let it = stand_in(vec![(200, " ".repeat(BODY_BYTES_MAX + 1))]).await;
    let error = it.kube.get::<Named>(place("a")).await.unwrap_err();
    assert!(matches!(error, KubeError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let it = stand_in(Vec::new()).await;
    // The stand-in has no answers, so it has gone; its port may still take one connection and drop it.
    let error = it.kube.get::<Named>(place("a")).await.unwrap_err();
    assert!(matches!(error, KubeError::Unreachable { .. }) && error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_name_cannot_become_another_path() {
    let it = stand_in(vec![status(404, "NotFound", &json!({"kind": "deployments", "name": "x"}))]).await;
    for bad in ["..", ".", ""] {
        let error = it.kube.get::<Named>(place(bad)).await.unwrap_err();
        assert!(matches!(error, KubeError::Address), "{error:?}");
    }
    it.kube.get::<Named>(place("a/../../secrets?x#y")).await.unwrap_err();
    let asked = it.asked.lock().unwrap().join("");
    assert!(asked.contains("/deployments/a%2F..%2F..%2Fsecrets%3Fx%23y HTTP"), "{asked}");
}

#[tokio::test]
async fn a_kubeconfig_that_runs_a_program_or_trusts_anybody_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let loopback = "server: 'https://127.0.0.1:1'";
    let cases = [
        (
            loopback,
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}",
        ),
        (loopback, "auth-provider: {name: gcp}"),
        ("server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true", "tokenFile: token"),
        ("server: 'http://api.example.org'", "tokenFile: token"),
        ("server: 'https://127.0.0.1:1', proxy-url: 'http://127.0.0.1:2'", "tokenFile: token"),
    ];
    for (cluster, user) in cases {
        let error = Kube::new(&kubeconfig_of(folder.path(), cluster, user)).await.unwrap_err();
        assert!(matches!(error, KubeError::Unsafe(_)), "{cluster} {user}: {error:?}");
    }
    let missing = Access::Kubeconfig { path: folder.path().join("none"), context: None };
    assert!(matches!(Kube::new(&missing).await, Err(KubeError::Access { .. })));
    let Access::Kubeconfig { path, .. } = kubeconfig(folder.path(), "http://127.0.0.1:1", "tokenFile: token")
    else {
        unreachable!()
    };
    let other = Access::Kubeconfig { path, context: Some("there".into()) };
    assert!(matches!(Kube::new(&other).await, Err(KubeError::Access { .. })));
}
