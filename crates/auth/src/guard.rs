//! The middleware in front of every route: who it is, whether they may, and what is written down about it.

use std::net::{IpAddr, SocketAddr};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use towpath_store::{Access, NewEvent, Role};

use crate::audit::masked;
use crate::principal::{Principal, Via, Visible, role_for};
use crate::rules::{self, Missing, Rule};
use crate::service::{Auth, LoginError, Refusal};

/// Largest body that the audit log repeats, in bytes.
const DETAILS_BYTES: usize = 16 * 1024;

/// Where the routers of the API hang. They answer nothing there themselves.
const NESTED: [&str; 2] = ["/api/v2", "/api/towpath/v1"];

/// Lets a request through to its action, or answers why not. Whatever no route matches passes: there is nothing there.
pub async fn check(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let matched = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    // What falls through a nested router matches a path of axum's own, or the root of that router.
    let is_fallback = |path: &str| path.contains("__private") || NESTED.contains(&path);
    let Some(route) = matched.filter(|path| !is_fallback(path)) else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let door = Door { auth: &auth, is_api: is_api(&route) };
    let found = match rules::find(parts.method.as_str(), &route) {
        Ok(found) => found,
        Err(Missing::Method) => return door.refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
        Err(Missing::Path) => {
            tracing::error!(method = %parts.method, route, "a route has no rule of who may use it; add one to `rules`");
            return door.refuse(StatusCode::FORBIDDEN, "nobody may use this: it has no rule");
        }
    };
    let params = match Params::read(&mut parts).await {
        Some(params) => params,
        None => return door.refuse(StatusCode::NOT_FOUND, "Not Found"),
    };
    if matches!(found.rule, Rule::Open | Rule::Signature) || (found.rule == Rule::Metrics && auth.metrics_are_open()) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let principal = match auth.identify(&parts.headers, address(&parts)).await {
        Ok(Some(principal)) => principal,
        Ok(None) => return door.ask(&parts),
        Err(refusal) => return door.refused(&refusal),
    };
    if let Err(reason) = comes_from_our_pages(&principal, &parts.method, &parts.headers) {
        return door.refuse(StatusCode::FORBIDDEN, reason);
    }
    match permit(&auth, &principal, found.rule, &params).await {
        Ok(Verdict::Yes(visible)) => parts.extensions.insert(visible),
        Ok(Verdict::No(reason)) => return door.refuse(StatusCode::FORBIDDEN, &reason),
        Err(error) => return door.refused(&Refusal::from(error)),
    };
    parts.extensions.insert(principal.clone());
    match found.event {
        Some(event) => change(&auth, event, &principal, params, parts, body, next).await,
        None => next.run(Request::from_parts(parts, body)).await,
    }
}

/// The address that a request comes from.
#[must_use]
pub fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// [`address`] as an extractor.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(address(parts)))
    }
}

/// Whether programs rather than people read what a path answers.
fn is_api(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/auth/") || path == "/metrics"
}

/// Says no, in the form of who asks.
struct Door<'a> {
    auth: &'a Auth,
    is_api: bool,
}

impl Door<'_> {
    fn refuse(&self, status: StatusCode, reason: &str) -> Response {
        if self.is_api {
            return (status, axum::Json(json!({"detail": reason}))).into_response();
        }
        self.auth.page(status, reason)
    }

    fn refused(&self, refusal: &Refusal) -> Response {
        match refusal {
            // As Airflow answers a token that is none.
            Refusal::Token(reason) => self.refuse(StatusCode::FORBIDDEN, reason),
            Refusal::Login(error @ (LoginError::Wrong | LoginError::Wait(_))) => error.reply(),
            Refusal::Login(error @ LoginError::Store(_)) if self.is_api => error.reply(),
            Refusal::Login(LoginError::Store(error)) => {
                tracing::error!(error = error as &dyn std::error::Error, "nobody can log in");
                self.auth.page(StatusCode::SERVICE_UNAVAILABLE, "The database does not answer")
            }
        }
    }

    /// Asks who it is: a browser that wants a page is sent to the login and back.
    fn ask(&self, parts: &Parts) -> Response {
        let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.is_api || !accept.contains("text/html") {
            let mut response =
                (StatusCode::UNAUTHORIZED, axum::Json(json!({"detail": "Not authenticated"}))).into_response();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        let mut to = "/login".to_owned();
        let path = parts.uri.path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
        if parts.method.is_safe() && path != "/" {
            to.push_str("?next=");
            to.extend(utf8_percent_encode(path, NON_ALPHANUMERIC));
        }
        let to = HeaderValue::from_str(&to).expect("an encoded path is of ASCII characters");
        (StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))])
            .into_response()
    }
}

/// A browser sends the cookie along with what other sites make it send. That a request comes from another site is
/// refused in front of us (`towpath_api::guard`) wherever the browser says so; here it must have said something. Every
/// browser does with a request that changes something, and a script that uses a cookie can.
fn comes_from_our_pages(principal: &Principal, method: &Method, headers: &HeaderMap) -> Result<(), &'static str> {
    let is_told = headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN);
    match principal.via {
        Via::Session if !method.is_safe() && !is_told => {
            Err("a request that changes something and comes with a cookie has to say which site sent it (`Origin`); \
                 programs use an API token instead: `towpath tokens create`")
        }
        Via::Session | Via::Jwt | Via::Token(_) | Via::Password | Via::Nothing => Ok(()),
    }
}

enum Verdict {
    Yes(Visible),
    No(String),
}

async fn permit(auth: &Auth, principal: &Principal, rule: Rule, params: &Params) -> towpath_store::Result<Verdict> {
    const ALL: Visible = Visible { among: None };
    let role = |needed: Role| {
        if principal.role >= needed {
            return Verdict::Yes(ALL);
        }
        let (name, role) = (principal.owner(), principal.role);
        Verdict::No(format!("`{name}` has the role `{role}`; this needs `{needed}`"))
    };
    let listed = async || match principal.may_with_all(Access::Read) {
        true => Ok(Verdict::Yes(ALL)),
        false => {
            let among = auth.store().granted_dags(&principal.grants).await?;
            Ok(Verdict::Yes(Visible { among: Some(among) }))
        }
    };
    match rule {
        Rule::Open | Rule::Signature | Rule::SignedIn => Ok(Verdict::Yes(ALL)),
        Rule::Metrics => Ok(role(Role::Viewer)),
        Rule::AtLeast(needed) => Ok(role(needed)),
        Rule::Listed => listed().await,
        Rule::DagOrListed(_) if params.get("dag_id") == Some("~") => listed().await,
        Rule::Dag(access) | Rule::DagOrListed(access) => {
            if principal.may_with_all(access) {
                return Ok(Verdict::Yes(ALL));
            }
            let Some(dag_id) = params.get("dag_id").filter(|dag_id| *dag_id != "~") else {
                return Ok(role(role_for(access)));
            };
            let tags = match principal.has_tags(access) {
                true => auth.store().dag(dag_id).await?.map(|dag| dag.tags).unwrap_or_default(),
                false => Vec::new(),
            };
            if principal.is_granted(access, dag_id, &tags) {
                return Ok(Verdict::Yes(Visible { among: Some(vec![dag_id.to_owned()]) }));
            }
            let (name, role, needed) = (principal.owner(), principal.role, role_for(access));
            let dag_id = dag_id.escape_debug();
            Ok(Verdict::No(format!(
                "`{name}` has the role `{role}`; this needs `{needed}`, or `{access}` granted for DAG `{dag_id}`"
            )))
        }
    }
}

/// What the path names, decoded as actions read it.
struct Params(Vec<(String, String)>);

impl Params {
    /// `None` for a path that cannot name anything: it is no UTF-8, or has a zero byte, which no database takes.
    async fn read(parts: &mut Parts) -> Option<Self> {
        let raw = RawPathParams::from_request_parts(parts, &()).await.ok()?;
        let pairs: Vec<(String, String)> =
            raw.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if pairs.iter().any(|(_, value)| value.contains('\0')) { None } else { Some(Self(pairs)) }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Runs an action that changes something, and writes down that it did.
async fn change(
    auth: &Auth,
    event: &str,
    principal: &Principal,
    params: Params,
    parts: Parts,
    body: Body,
    next: Next,
) -> Response {
    let (method, path) = (parts.method.to_string(), parts.uri.path().to_owned());
    let from = address(&parts).map(|address| address.to_string());
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let form = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (body, details) = match length {
        Some(1..=DETAILS_BYTES) => match axum::body::to_bytes(body, DETAILS_BYTES).await {
            Ok(bytes) => (Body::from(bytes.clone()), details(&path, form.as_deref(), &bytes)),
            Err(_) => {
                return (StatusCode::BAD_REQUEST, axum::Json(json!({"detail": "the body broke off"}))).into_response();
            }
        },
        _ => (body, None),
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        return response;
    }
    let via = match &principal.via {
        Via::Session => "session",
        Via::Jwt => "jwt",
        Via::Token(_) => "token",
        Via::Password => "password",
        Via::Nothing => "no-auth",
    };
    let text = |name: &str| params.get(name).filter(|value| *value != "~").map(str::to_owned);
    let told = |name: &str| details.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let entry = NewEvent {
        event: event.to_owned(),
        owner: Some(principal.owner()),
        dag_id: text("dag_id").or_else(|| told("dag_id")),
        task_id: text("task_id"),
        run_id: text("dag_run_id").or_else(|| text("run_id")).or_else(|| told("dag_run_id")),
        map_index: text("map_index").and_then(|index| index.parse().ok()),
        try_number: None,
        logical_date: told("logical_date")
            .and_then(|date| Some(DateTime::parse_from_rfc3339(&date).ok()?.with_timezone(&Utc))),
        extra: Some(
            json!({"method": method, "path": path, "status": status.as_u16(), "address": from, "via": via, "body": details})
                .to_string(),
        ),
    };
    auth.record(entry).await;
    response
}

/// A body for the audit log, without secrets.
fn details(path: &str, form: Option<&str>, bytes: &Bytes) -> Option<Value> {
    let holds_secrets = ["/api/v2/variables", "/api/v2/connections", "/admin/variables", "/admin/connections"];
    let also: &[&str] =
        if holds_secrets.iter().any(|start| path.starts_with(start)) { &["value", "extra", "uri"] } else { &[] };
    let value = match form {
        Some(form) if form.starts_with("application/x-www-form-urlencoded") => {
            // Fields that hold JSON are read, so that secrets in them are found.
            let read = |text: String| match serde_json::from_str(&text) {
                Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
                _ => Value::String(text),
            };
            let pairs = url::form_urlencoded::parse(bytes);
            pairs.map(|(key, value)| (key.into_owned(), read(value.into_owned()))).collect()
        }
        _ => serde_json::from_slice(bytes).ok()?,
    };
    Some(masked(value, also))
}
