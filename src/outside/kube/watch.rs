//! One watch: the changes after a point, until the server or the deadline ends it. In: a resource and the version of a
//! list. Out: one change after another, each read into the caller's small type. It never holds more than one line of
//! the stream, and never asks again by itself.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{self, KubeError, Status, Verb};
use super::{Asked, BODY_BYTES_MAX, Kube, Resource, Selection, TIMEOUT, accepted, selected};

/// The server ends a watch after this time, so that one whose connection died silently is noticed.
pub const WATCH_S: u32 = 240;

/// What happened to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    Added(T),
    Modified(T),
    Deleted(T),
    /// Nothing happened until this version.
    Bookmark,
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    server: String,
    resource: Resource,
    body: Body,
    line: Vec<u8>,
    /// What of `line` has been looked at for its end.
    scanned: usize,
    version: String,
}

impl Kube {
    /// Begins to watch after `version`, which a list gave.
    ///
    /// # Errors
    /// [`KubeError::Expired`] when that is too long ago: list again. And all others.
    pub async fn watch(
        &self,
        resource: Resource,
        selection: Selection<'_>,
        version: &str,
    ) -> Result<Watch, KubeError> {
        let ends = WATCH_S.to_string();
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", ends.as_str()),
            ("resourceVersion", version),
        ];
        let target = selected(resource, selection, &query)?;
        let asked = Asked { verb: Verb::Watch, resource, namespace: selection.namespace, name: None };
        let request =
            Request::builder().uri(target).header("accept", accepted("PartialObjectMetadata", selection));
        let request = request.body(Body::empty()).map_err(|_| KubeError::Address)?;
        let late = |_| KubeError::Timeout { server: self.server.clone() };
        let reply = tokio::time::timeout(TIMEOUT, self.sent(asked, request)).await.map_err(late)??;
        Ok(Watch {
            server: self.server.clone(),
            resource,
            body: reply.into_body(),
            line: Vec::new(),
            scanned: 0,
            version: version.to_owned(),
        })
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    resource_version: String,
}

impl Watch {
    /// Where the next watch may begin.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The next change; `None` when the server ended the watch in peace.
    ///
    /// # Errors
    /// [`KubeError`]; the watch is over then.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Change<T>>, KubeError> {
        let silence = Duration::from_secs(u64::from(WATCH_S)) + TIMEOUT;
        match tokio::time::timeout(silence, self.next_line()).await {
            Ok(Ok(Some(line))) => self.change(&line).map(Some),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(KubeError::Timeout { server: self.server.clone() }),
        }
    }

    fn change<T: DeserializeOwned>(&mut self, line: &[u8]) -> Result<Change<T>, KubeError> {
        let asked = Asked { verb: Verb::Watch, resource: self.resource, namespace: None, name: None };
        let unreadable = |source| KubeError::Unreadable { asked: asked.to_string(), source };
        let line: Line<'_> = serde_json::from_slice(line).map_err(unreadable)?;
        let object = line.object.get();
        if line.kind == "ERROR" {
            let said: Status = serde_json::from_str(object).map_err(unreadable)?;
            return Err(error::of_status(&self.server, asked, said.code, None, &said));
        }
        let versioned: Versioned = serde_json::from_str(object).map_err(unreadable)?;
        self.version = versioned.metadata.resource_version;
        if line.kind == "BOOKMARK" {
            return Ok(Change::Bookmark);
        }
        let kind = match line.kind {
            "ADDED" => Change::Added,
            "DELETED" => Change::Deleted,
            _ => Change::Modified,
        };
        serde_json::from_str(object).map(kind).map_err(unreadable)
    }

    async fn next_line(&mut self) -> Result<Option<Vec<u8>>, KubeError> {
        loop {
            if let Some(at) = self.line[self.scanned..].iter().position(|it| *it == b'\n') {
                let rest = self.line.split_off(self.scanned + at + 1);
                let line = std::mem::replace(&mut self.line, rest);
                self.scanned = 0;
                return Ok(Some(line));
            }
            self.scanned = self.line.len();
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| error::unsent(&self.server, error))?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > BODY_BYTES_MAX - self.line.len() {
                let asked = format!("watch {}", self.resource);
                return Err(KubeError::TooLarge { asked, bytes_max: BODY_BYTES_MAX });
            }
            self.line.extend_from_slice(&data);
        }
    }
}
