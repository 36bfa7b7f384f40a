//! The API of a Kubernetes server, as untyped JSON: get, list by pages, watch, create, patch, replace, delete.
//! In: how to reach it ([`Access`]), a [`Resource`], names. Out: what the server holds, read into whatever small type
//! the caller names (so that only the fields it wants are kept), or a [`KubeError`] that says which verb of which
//! resource failed and how. Nothing is sent twice: the next look of the caller is the retry. It never runs a program
//! for a credential, never skips the check of a certificate, never prints a token.

mod access;
mod error;
mod follow;
#[cfg(feature = "cluster-tests")]
#[cfg(test)]
pub mod real;
#[cfg(test)]
pub mod stand_in;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::secret::{Secret, SecretError};
pub use access::Access;
pub use error::{KubeError, Verb};
pub use follow::{Heard, follow};
pub use watch::Change;

/// For one whole exchange, body included; a watch has [`watch::WATCH_S`].
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes of one answer.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// Objects in one page of a list.
pub const PAGE_ITEMS: usize = 250;
/// Most bytes of an object that is sent. The server itself takes no larger one.
pub const SENT_BYTES_MAX: usize = 1 << 20;

/// A kind of object as addresses name it: `deployments` of `apps/v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            "" => f.write_str(self.plural),
            group => write!(f, "{}.{group}", self.plural),
        }
    }
}

/// Which objects of a list or a watch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// `None`: all namespaces, or a resource that has none.
    pub namespace: Option<&'a str>,
    /// A label selector, as kubectl takes it.
    pub labels: Option<&'a str>,
    pub fields: Option<&'a str>,
    /// Name, labels, annotations and owners only: a tenth of the bytes.
    pub metadata_only: bool,
}

/// A list, or its beginning.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Where a watch may begin.
    pub version: String,
    /// There are more objects than the caller wanted.
    pub is_cut: bool,
}

/// One object, or its place.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub resource: Resource,
    /// `None` for a resource without namespaces.
    pub namespace: Option<&'a str>,
    pub name: &'a str,
}

/// What of an object is patched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Whole,
    Status,
}

/// How a patch is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch<'a> {
    /// Server-side apply: the object with exactly the fields that `manager` owns. Made when it is not there. Fields that
    /// others hold are taken over.
    Apply { manager: &'a str },
    /// RFC 7386.
    Merge,
}

/// A client of one server; cheap to clone, connections are shared.
#[derive(Clone)]
pub struct Kube {
    client: kube::Client,
    server: String,
    default_namespace: String,
    token_file: Option<PathBuf>,
}

impl fmt::Debug for Kube {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kube").field(&self.server).finish()
    }
}

impl Kube {
    /// Reads the credentials; nothing is sent yet.
    ///
    /// # Errors
    /// When the kubeconfig, or the pod's own account, cannot be used.
    pub async fn new(access: &Access) -> Result<Self, KubeError> {
        let (config, token_file) = access.config().await?;
        // An error only says that one is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let default_namespace = config.default_namespace.clone();
        let client = kube::Client::try_from(config)
            .map_err(|source| KubeError::Access { what: "its credentials", source: source.into() })?;
        Ok(Self { client, server, default_namespace, token_file })
    }

    /// Address of the server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The namespace of the context, or of the pod.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// The same client, at home in another namespace.
    #[cfg(all(test, feature = "cluster-tests"))]
    #[must_use]
    pub fn in_namespace(&self, name: &str) -> Self {
        Self { default_namespace: name.to_owned(), ..self.clone() }
    }

    /// The server's own version, such as `v1.37.2`.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn version(&self) -> Result<String, KubeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let resource = Resource { group: "", version: "", plural: "version" };
        let asked = Asked { verb: Verb::Get, resource, namespace: None, name: None };
        let version: Version = self.exchange(asked, address(&["version"], &[])?, None).await?;
        Ok(version.git_version)
    }

    /// One object.
    ///
    /// # Errors
    /// [`KubeError::NotFound`] when it is not there, [`KubeError::NotServed`] when its kind is not, and all others.
    pub async fn get<T: DeserializeOwned>(&self, place: Place<'_>) -> Result<T, KubeError> {
        self.exchange(asked(Verb::Get, place), object_address(place, Part::Whole, &[])?, None).await
    }

    /// Objects in the order of their names, at most `most`, page by page.
    ///
    /// # Errors
    /// [`KubeError`]; of many namespaces none is answered when one page is not.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: Resource,
        selection: Selection<'_>,
        most: usize,
    ) -> Result<Listed<T>, KubeError> {
        let mut listed = Listed { items: Vec::new(), version: String::new(), is_cut: false };
        let mut next = String::new();
        loop {
            let wanted = PAGE_ITEMS.min(most - listed.items.len()).max(1).to_string();
            let mut query = vec![("limit", wanted.as_str())];
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            let asked = Asked { verb: Verb::List, resource, namespace: selection.namespace, name: None };
            let page: Page<T> =
                self.exchange_as(asked, selected(resource, selection, &query)?, selection).await?;
            listed.version = page.metadata.resource_version;
            listed.items.extend(page.items.unwrap_or_default());
            next = page.metadata.next;
            if next.is_empty() || listed.items.len() >= most {
                listed.is_cut = !next.is_empty() || listed.items.len() > most;
                listed.items.truncate(most);
                return Ok(listed);
            }
        }
    }

    /// Makes an object, and returns it as the server holds it now. `namespace` is that of the object; reviews have none.
    ///
    /// # Errors
    /// [`KubeError::Exists`] when the name is taken, and all others.
    pub async fn create<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        object: &Value,
    ) -> Result<T, KubeError> {
        let asked = Asked { verb: Verb::Create, resource, namespace, name: named(object) };
        let url = address(&segments(resource, namespace), &[])?;
        self.exchange(asked, url, Some(("POST", "application/json", object))).await
    }

    /// Changes a part of an object, and returns it as the server holds it now.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn patch<T: DeserializeOwned>(
        &self,
        place: Place<'_>,
        part: Part,
        patch: Patch<'_>,
        object: &Value,
    ) -> Result<T, KubeError> {
        let (media_type, query) = match patch {
            // The content is JSON, which YAML contains; older servers know no other name.
            Patch::Apply { manager } => {
                ("application/apply-patch+yaml", vec![("fieldManager", manager), ("force", "true")])
            }
            Patch::Merge => ("application/merge-patch+json", Vec::new()),
        };
        let url = object_address(place, part, &query)?;
        self.exchange(asked(Verb::Patch, place), url, Some(("PATCH", media_type, object))).await
    }

    /// Replaces an object. With `metadata.resourceVersion` in it this is a compare-and-swap.
    ///
    /// # Errors
    /// [`KubeError::Conflict`] when the object is not the one that was read, and all others.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        place: Place<'_>,
        object: &Value,
    ) -> Result<T, KubeError> {
        let url = object_address(place, Part::Whole, &[])?;
        self.exchange(asked(Verb::Update, place), url, Some(("PUT", "application/json", object))).await
    }

    /// Deletes an object, if it is still the one with this `uid`.
    ///
    /// # Errors
    /// [`KubeError`].
    pub async fn delete(&self, place: Place<'_>, uid: &str) -> Result<(), KubeError> {
        let options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": { "uid": uid }, "propagationPolicy": "Background",
        });
        let url = object_address(place, Part::Whole, &[])?;
        let body = Some(("DELETE", "application/json", &options));
        self.exchange::<Value>(asked(Verb::Delete, place), url, body).await.map(drop)
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        asked: Asked<'_>,
        target: String,
        body: Option<(&str, &str, &Value)>,
    ) -> Result<T, KubeError> {
        let (method, media_type, bytes) = match body {
            None => ("GET", None, Vec::new()),
            Some((method, media_type, object)) => {
                let bytes = serde_json::to_vec(object)
                    .map_err(|source| KubeError::Unreadable { asked: asked.to_string(), source })?;
                (method, Some(media_type), bytes)
            }
        };
        if bytes.len() > SENT_BYTES_MAX {
            return Err(KubeError::TooLarge { asked: asked.to_string(), bytes_max: SENT_BYTES_MAX });
        }
        let mut request = Request::builder().method(method).uri(target).header("accept", "application/json");
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        let request = request.body(Body::from(bytes)).map_err(|_| KubeError::Address)?;
        self.answer(asked, request).await
    }

    async fn exchange_as<T: DeserializeOwned>(
        &self,
        asked: Asked<'_>,
        target: String,
        selection: Selection<'_>,
    ) -> Result<T, KubeError> {
        let request =
            Request::builder().uri(target).header("accept", accepted("PartialObjectMetadataList", selection));
        self.answer(asked, request.body(Body::empty()).map_err(|_| KubeError::Address)?).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        asked: Asked<'_>,
        request: Request<Body>,
    ) -> Result<T, KubeError> {
        let exchange = async {
            let reply = self.sent(asked, request).await?;
            let bytes = self.body(asked, reply).await?;
            serde_json::from_slice(&bytes)
                .map_err(|source| KubeError::Unreadable { asked: asked.to_string(), source })
        };
        let late = |_| KubeError::Timeout { server: self.server.clone() };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(late)?
    }

    /// The answer, unless its status says that nothing was done.
    async fn sent(&self, asked: Asked<'_>, mut request: Request<Body>) -> Result<Response<Body>, KubeError> {
        if let Some(file) = &self.token_file {
            request.headers_mut().insert(AUTHORIZATION, bearer(file)?);
        }
        let reply = self.client.send(request).await.map_err(|error| error::unsent(&self.server, error))?;
        let status = reply.status();
        if status.is_success() {
            return Ok(reply);
        }
        let retry_after_s = reply.headers().get("retry-after").and_then(|it| it.to_str().ok()?.parse().ok());
        let says = self.body(asked, reply).await.unwrap_or_default();
        Err(error::refused(&self.server, asked, status.as_u16(), retry_after_s, &says))
    }

    async fn body(&self, asked: Asked<'_>, reply: Response<Body>) -> Result<Vec<u8>, KubeError> {
        let mut body = reply.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error::unsent(&self.server, error))?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > BODY_BYTES_MAX - bytes.len() {
                return Err(KubeError::TooLarge { asked: asked.to_string(), bytes_max: BODY_BYTES_MAX });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }
}

/// Read for every request: the token of a pod is renewed every hour.
fn bearer(file: &Path) -> Result<HeaderValue, KubeError> {
    let unusable = |source: SecretError| KubeError::Access { what: "the token file", source: source.into() };
    let token = Secret::from_file(file).map_err(unusable)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| unusable(SecretError::Characters))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a request was for, to say so when it fails.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    verb: Verb,
    resource: Resource,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match (self.namespace, self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (None, Some(name)) => write!(f, " {name}"),
            (Some(namespace), None) => write!(f, " in {namespace}"),
            (None, None) => Ok(()),
        }
    }
}

fn asked(verb: Verb, place: Place<'_>) -> Asked<'_> {
    Asked { verb, resource: place.resource, namespace: place.namespace, name: Some(place.name) }
}

fn named(object: &Value) -> Option<&str> {
    object["metadata"]["name"].as_str()
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMeta,
    // Some servers write null for an empty list.
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

fn accepted(list_kind: &str, selection: Selection<'_>) -> String {
    if selection.metadata_only {
        format!("application/json;as={list_kind};g=meta.k8s.io;v=v1")
    } else {
        "application/json".to_owned()
    }
}

fn segments(resource: Resource, namespace: Option<&str>) -> Vec<&str> {
    let mut path = match resource.group {
        "" => vec!["api", resource.version],
        group => vec!["apis", group, resource.version],
    };
    if let Some(namespace) = namespace {
        path.extend(["namespaces", namespace]);
    }
    path.push(resource.plural);
    path
}

fn object_address(place: Place<'_>, part: Part, query: &[(&str, &str)]) -> Result<String, KubeError> {
    let mut path = segments(place.resource, place.namespace);
    path.push(place.name);
    if part == Part::Status {
        path.push("status");
    }
    address(&path, query)
}

fn selected(
    resource: Resource,
    selection: Selection<'_>,
    query: &[(&str, &str)],
) -> Result<String, KubeError> {
    let mut query = query.to_vec();
    query.extend(selection.labels.map(|it| ("labelSelector", it)));
    query.extend(selection.fields.map(|it| ("fieldSelector", it)));
    address(&segments(resource, selection.namespace), &query)
}

/// Path and query, encoded: a name cannot become another path.
fn address(path: &[&str], query: &[(&str, &str)]) -> Result<String, KubeError> {
    if path.iter().any(|it| matches!(*it, "" | "." | "..")) {
        return Err(KubeError::Address);
    }
    // The host is put in front by the client; this one only makes it an address.
    let mut url = Url::parse("http://server/").map_err(|_| KubeError::Address)?;
    url.path_segments_mut().map_err(|()| KubeError::Address)?.pop_if_empty().extend(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path())))
}

#[cfg(test)]
mod tests;
