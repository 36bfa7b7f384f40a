//! How tars speaks to GitHub: octocrab knows how to be a person or an app (and keeps an app's token fresh), `outside::api`
//! how to ask a busy server. Calls come in, answers go out. Octocrab's own HTTP client is not built: what it sends goes
//! through the carrier below, so redirects, pages, retries, limits, deadlines and bodies are as for every other forge.
//! Its models are not used: a word that they do not know would make the whole answer unreadable.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Limited};
use octocrab::auth::AppAuth;
use octocrab::models::{AppId, InstallationId};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use tokio::sync::OnceCell;

use super::error::{ForgeError, Trouble};
use crate::outside::api::{Api, ApiError, Call, Page};
use crate::outside::clock::{Clock, OutsideClock};
use crate::outside::http::{Http, HttpReply, HttpRequest, Method, Scheme};
use crate::outside::secret::Secret;

/// Largest request, bytes: a pull request's body and its quotes are far below.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// The API that is spoken, by GitHub's name for it.
const HEADERS: [(&str, &str); 2] =
    [("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")];

/// By what a forge knows tars; only GitHub has apps.
#[derive(Debug)]
pub enum ForgeAccess {
    Token(Secret),
    App(App),
}

/// A GitHub App as it is installed where the repository is.
#[derive(Debug)]
pub struct App {
    pub id: u64,
    pub installation: u64,
    pub key: AppKey,
}

/// The private key of an app.
#[derive(Clone)]
pub struct AppKey(octocrab::auth::EncodingKey);

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey(..)")
    }
}

impl AppKey {
    /// From the PEM file that GitHub gives out; `None` when it is no RSA key.
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        octocrab::auth::EncodingKey::from_rsa_pem(pem).ok().map(Self)
    }
}

/// As whom a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The account, or the app where it is installed.
    Account,
    /// The app itself: what it is, and what it was given.
    App,
}

/// The client of one repository. It belongs to the runtime that asks first.
pub(super) struct Client {
    api: Arc<Api>,
    access: ForgeAccess,
    /// The only repository that an app's tokens are made for.
    repository: String,
    speakers: OnceCell<Speakers>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("api", &self.api).field("access", &self.access).finish_non_exhaustive()
    }
}

struct Speakers {
    account: Octocrab,
    app: Option<Octocrab>,
}

impl Client {
    pub(super) fn new(
        http: Http,
        clock: Arc<dyn Clock>,
        base: &str,
        access: ForgeAccess,
        repository: &str,
    ) -> Result<Self, ApiError> {
        let api = Arc::new(Api::without_token(http, clock, base)?);
        Ok(Self { api, access, repository: repository.to_owned(), speakers: OnceCell::new() })
    }

    /// The app's installation, when tars is one.
    pub(super) fn installation(&self) -> Option<u64> {
        match &self.access {
            ForgeAccess::Token(_) => None,
            ForgeAccess::App(app) => Some(app.installation),
        }
    }

    pub(super) fn outside_clock(&self) -> Option<OutsideClock> {
        self.api.outside_clock()
    }

    /// One call; a status of 400 and more is an answer.
    pub(super) async fn ask(
        &self,
        what: &'static str,
        call: Call<'_>,
        speaker: Speaker,
    ) -> Result<HttpReply, ForgeError> {
        let page = self.first_page(what, call.path, call.query)?;
        let mark = Mark { repeatable: call.repeatable };
        self.send(what, (call.method, &self.api.target(&page)), call.body, (mark, speaker)).await
    }

    pub(super) fn first_page(
        &self,
        what: &'static str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Page, ForgeError> {
        self.api.first_page(path, query).map_err(|error| ForgeError::unanswered(what, error))
    }

    pub(super) async fn page(
        &self,
        what: &'static str,
        page: &Page,
    ) -> Result<(HttpReply, Option<Page>), ForgeError> {
        let place = (Method::Get, self.api.target(page));
        let manner = (Mark { repeatable: true }, Speaker::Account);
        let reply = self.send(what, (place.0, &place.1), None, manner).await?;
        let next = self.api.next_page(page, &reply);
        Ok((reply, next.map_err(|error| ForgeError::unanswered(what, error))?))
    }

    async fn send(
        &self,
        what: &'static str,
        (method, target): (Method, &str),
        body: Option<&[u8]>,
        (mark, speaker): (Mark, Speaker),
    ) -> Result<HttpReply, ForgeError> {
        let mut request = http::Request::builder().method(method_name(method)).uri(target).extension(mark);
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(OctoBody::empty, |bytes| OctoBody::from(bytes.to_vec()));
        let unsendable =
            |_| ForgeError::refused_here(what, Trouble::Protocol, "the request cannot be written");
        let request = request.body(body).map_err(unsendable)?;
        let speakers = self.speakers.get_or_try_init(|| async { self.introduce(what) }).await?;
        let octocrab = match speaker {
            Speaker::Account => &speakers.account,
            Speaker::App => speakers.app.as_ref().unwrap_or(&speakers.account),
        };
        let answer = octocrab.execute(request).await.map_err(|error| failure(what, error))?;
        let reply = answer.extensions().get::<HttpReply>().cloned();
        reply.ok_or_else(|| ForgeError::unreadable(what, "it did not come through the carrier", false))
    }

    fn introduce(&self, what: &'static str) -> Result<Speakers, ForgeError> {
        let client = |auth: AuthState| {
            let carrier = Carrier { api: Arc::clone(&self.api) };
            let Ok(octocrab) = OctocrabBuilder::new_empty().with_service(carrier).with_auth(auth).build();
            octocrab
        };
        match &self.access {
            ForgeAccess::Token(token) => {
                let token = token.expose().to_owned().into();
                Ok(Speakers { account: client(AuthState::AccessToken { token }), app: None })
            }
            ForgeAccess::App(it) => {
                let key = it.key.0.clone();
                let app = client(AuthState::App(AppAuth { app_id: AppId(it.id), key }));
                let here = app.installation_builder(InstallationId(it.installation));
                // No more than is needed: the token reaches this repository only.
                let account = here.repositories(vec![self.repository.clone()]).build();
                let account = account.map_err(|error| failure(what, error))?;
                Ok(Speakers { account, app: Some(app) })
            }
        }
    }
}

/// What octocrab could not do. Its own messages are not shown: they hold a backtrace.
fn failure(what: &'static str, error: octocrab::Error) -> ForgeError {
    match error {
        octocrab::Error::Service { source, .. } => match source.downcast::<ApiError>() {
            Ok(error) => ForgeError::unanswered(what, *error),
            Err(_) => ForgeError::refused_here(what, Trouble::Unreachable, "the client has ended"),
        },
        // Only an app's token is asked for by octocrab itself.
        octocrab::Error::GitHub { source, .. } => {
            ForgeError::not_let_in(what, source.status_code.as_u16(), &source.message)
        }
        octocrab::Error::JWT { .. } => ForgeError::not_let_in(what, 401, "the app's key cannot sign"),
        _ => ForgeError::refused_here(what, Trouble::Protocol, "GitHub's client could not do this"),
    }
}

fn method_name(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    }
}

/// What octocrab cannot tell about a request.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Sending it twice leaves the server as sending it once does.
    repeatable: bool,
}

/// Takes octocrab's requests to the API.
#[derive(Clone)]
struct Carrier {
    api: Arc<Api>,
}

impl tower::Service<http::Request<OctoBody>> for Carrier {
    type Response = http::Response<OctoBody>;
    type Error = ApiError;
    type Future = BoxFuture<'static, Result<Self::Response, ApiError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<OctoBody>) -> Self::Future {
        let carrier = self.clone();
        Box::pin(async move { carrier.carry(request).await })
    }
}

impl Carrier {
    async fn carry(&self, request: http::Request<OctoBody>) -> Result<http::Response<OctoBody>, ApiError> {
        let (parts, body) = request.into_parts();
        let unusable = |_| ApiError::Address("the request's body cannot be read, or is too large");
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await.map_err(unusable)?.to_bytes();
        let method = match parts.method {
            http::Method::GET => Method::Get,
            http::Method::POST => Method::Post,
            http::Method::PUT => Method::Put,
            http::Method::PATCH => Method::Patch,
            http::Method::DELETE => Method::Delete,
            _ => return Err(ApiError::Address("the request has a method that is not used here")),
        };
        // What has no mark is octocrab's own question for an app's token: asking twice makes two of them.
        let repeatable = parts.extensions.get::<Mark>().is_none_or(|it| it.repeatable);
        let credential = credential(&parts.headers);
        let request = HttpRequest {
            method,
            query: &[],
            headers: &HEADERS,
            body: (!body.is_empty()).then_some(("application/json", &body[..])),
            credential: credential.as_ref().map(|token| (Scheme::Bearer, token)),
        };
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let reply = self.api.carry(target, request, repeatable).await?;
        let mut answer = http::Response::new(OctoBody::from(reply.body.clone()));
        *answer.status_mut() = http::StatusCode::from_u16(reply.status)
            .map_err(|_| ApiError::Address("the server answers with a status that does not exist"))?;
        answer.extensions_mut().insert(reply);
        Ok(answer)
    }
}

/// What octocrab signed the request with.
fn credential(headers: &http::HeaderMap) -> Option<Secret> {
    let header = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    Secret::new(header.strip_prefix("Bearer ")?).ok()
}
