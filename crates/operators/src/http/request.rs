//! From arguments and a connection to a request.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};
use serde_json::{Map, Value};
use towpath_model::connection::{Connection, Secret};

use super::Failure;
use crate::attempt::Attempt;

/// The connection of a task that gives a path and names none. Airflow's default.
const DEFAULT_CONN_ID: &str = "http_default";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Extras of a connection that are options; the others are headers, as in Airflow.
const OPTIONS: &[&str] = &[
    "allow_redirects",
    "cert",
    "check_response",
    "max_redirects",
    "proxies",
    "stream",
    "timeout",
    "trust_env",
    "verify",
];

/// A request and how to treat its response.
pub(super) struct Prepared {
    pub(super) method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    pub(super) timeout: Duration,
    pub(super) check_response: bool,
    pub(super) verify: bool,
    pub(super) redirects: bool,
}

/// Reads arguments and connection.
pub(super) async fn prepare(attempt: &Attempt, args: &Map<String, Value>) -> Result<Prepared, Failure> {
    let endpoint = args.get("endpoint").and_then(Value::as_str).unwrap_or_default().trim();
    let connection = connection(attempt, args, endpoint).await?;
    let mut url = url(endpoint, connection.as_ref())?;
    let mut headers = HeaderMap::new();
    let mut options = Map::new();
    // Credentials go to the connection's own host only, also where the endpoint is a full URL.
    if let Some(connection) = connection.as_ref().filter(|connection| is_host_of(connection, &url)) {
        apply(connection, &mut headers, &mut options)?;
    }
    if let Some(value) = credentials_of(&mut url, attempt)? {
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in args.get("headers").and_then(Value::as_object).into_iter().flatten() {
        insert(&mut headers, name, &text(value))?;
    }
    options.extend(args.get("extra_options").and_then(Value::as_object).cloned().unwrap_or_default());
    let method = method(args)?;
    let body = match args.get("data") {
        None | Some(Value::Null) => None,
        Some(data) if method == Method::GET => {
            add_query(&mut url, data);
            None
        }
        Some(_) if method == Method::HEAD => None,
        Some(Value::String(text)) => Some(text.clone().into_bytes()),
        Some(data) => {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            Some(data.to_string().into_bytes())
        }
    };
    let flag = |name: &str| options.get(name).and_then(Value::as_bool).unwrap_or(true);
    Ok(Prepared {
        timeout: timeout(args.get("timeout").or(options.get("timeout")))?,
        check_response: flag("check_response"),
        verify: flag("verify"),
        redirects: flag("allow_redirects"),
        method,
        url,
        headers,
        body,
    })
}

impl Prepared {
    pub(super) fn request(&self) -> Result<Request, Failure> {
        let mut request = Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.timeout_mut() = Some(self.timeout);
        *request.body_mut() = self.body.clone().map(Into::into);
        Ok(request)
    }

    /// The URL for messages; login and password are not part of it any more.
    pub(super) fn shown_url(&self) -> &str {
        self.url.as_str()
    }
}

/// The connection that the task names, or the default one where its endpoint is no full URL.
async fn connection(
    attempt: &Attempt,
    args: &Map<String, Value>,
    endpoint: &str,
) -> Result<Option<Connection>, Failure> {
    let named = args.get("http_conn_id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let conn_id = match named {
        Some(conn_id) => conn_id,
        None if is_full(endpoint) => return Ok(None),
        None => DEFAULT_CONN_ID,
    };
    let found = attempt.services.connection(conn_id).await;
    let found = found.map_err(|error| Failure::passing(format!("connection `{conn_id}` cannot be read: {error}")))?;
    let hint = if named.is_some() { "" } else { ", or give a full URL as `endpoint`" };
    let connection = found.ok_or_else(|| {
        Failure::lasting(format!(
            "connection `{conn_id}` does not exist; create it with `towpath connections add {conn_id}`{hint}"
        ))
    })?;
    connection.secrets().iter().for_each(|secret| attempt.log.secrets().add(secret));
    Ok(Some(connection))
}

fn is_full(endpoint: &str) -> bool {
    endpoint.starts_with("http://") || endpoint.starts_with("https://")
}

/// The endpoint, below the connection's host where it is a path.
pub(super) fn url(endpoint: &str, connection: Option<&Connection>) -> Result<Url, Failure> {
    let text = match connection.filter(|_| !is_full(endpoint)) {
        None => endpoint.to_owned(),
        Some(connection) => {
            let base = base(connection)?;
            match (base.ends_with('/'), endpoint.starts_with('/')) {
                _ if endpoint.is_empty() => base,
                (true, true) => format!("{base}{}", &endpoint[1..]),
                (false, false) => format!("{base}/{endpoint}"),
                (true, false) | (false, true) => format!("{base}{endpoint}"),
            }
        }
    };
    Url::parse(&text).map_err(|error| {
        // It may hold a password before an `@`, and what cannot be parsed cannot be cut there.
        let shown = if text.contains('@') { "`endpoint`".to_owned() } else { format!("`{text}`") };
        Failure::lasting(format!("{shown} is not a URL: {error}; write it as `https://host/path`"))
    })
}

/// `https://host:8443` of a connection. Its host may have a scheme; else `schema` is the scheme, and `http` without one.
pub(super) fn base(connection: &Connection) -> Result<String, Failure> {
    let conn_id = &connection.conn_id;
    let host = connection.host.as_deref().unwrap_or_default();
    if host.is_empty() {
        return Err(Failure::lasting(format!(
            "connection `{conn_id}` has no host; set one, such as `https://example.com`"
        )));
    }
    let mut base = if host.contains("://") {
        host.to_owned()
    } else {
        let scheme = connection.schema.as_deref().filter(|scheme| !scheme.is_empty());
        let scheme = scheme.unwrap_or(if connection.conn_type == "https" { "https" } else { "http" });
        // IPv6 addresses are kept without brackets.
        if host.contains(':') { format!("{scheme}://[{host}]") } else { format!("{scheme}://{host}") }
    };
    if let Some(port) = connection.port {
        base.push_str(&format!(":{port}"));
    }
    Ok(base)
}

pub(super) fn is_host_of(connection: &Connection, url: &Url) -> bool {
    let Some(base) = base(connection).ok().and_then(|base| Url::parse(&base).ok()) else { return false };
    base.origin() == url.origin()
}

/// Login and extras of a connection.
pub(super) fn apply(
    connection: &Connection,
    headers: &mut HeaderMap,
    options: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let extra = connection.extra_dejson().map_err(|error| Failure::lasting(error.to_string()))?;
    for (name, value) in extra {
        if OPTIONS.contains(&name.as_str()) {
            options.insert(name, value);
        } else {
            insert(headers, &name, &text(&value))?;
        }
    }
    if let Some(login) = &connection.login {
        let password = connection.password.as_ref().map(Secret::expose).unwrap_or_default();
        headers.insert(AUTHORIZATION, basic(login, password)?);
    }
    Ok(())
}

/// Takes login and password out of a URL that has them.
fn credentials_of(url: &mut Url, attempt: &Attempt) -> Result<Option<HeaderValue>, Failure> {
    let Some((value, password)) = take_credentials(url)? else { return Ok(None) };
    attempt.log.secrets().add(&password);
    Ok(Some(value))
}

/// The same, with the password, which has to be masked.
pub(super) fn take_credentials(url: &mut Url) -> Result<Option<(HeaderValue, String)>, Failure> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (login, password) = (decoded(url.username()), url.password().map(decoded));
    if login.is_empty() && password.is_none() {
        return Ok(None);
    }
    // These fail only for URLs that cannot have them.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    let password = password.unwrap_or_default();
    Ok(Some((basic(&login, &password)?, password)))
}

/// The header of basic authentication, marked as sensitive.
fn basic(login: &str, password: &str) -> Result<HeaderValue, Failure> {
    let text = format!("Basic {}", BASE64.encode(format!("{login}:{password}")));
    let mut value = HeaderValue::from_str(&text).map_err(|error| Failure::lasting(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Failure> {
    let invalid =
        |what: &str| Failure::lasting(format!("header `{name}`: its {what} holds characters that are not allowed"));
    let key = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| invalid("name"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| invalid("value"))?;
    headers.insert(key, value);
    Ok(())
}

fn method(args: &Map<String, Value>) -> Result<Method, Failure> {
    let name = args.get("method").and_then(Value::as_str).unwrap_or("GET").trim().to_ascii_uppercase();
    name.parse().map_err(|_| Failure::lasting(format!("`{name}` is not an HTTP method")))
}

/// Data as query parameters: a mapping by key, with lists repeating it; text as it is.
fn add_query(url: &mut Url, data: &Value) {
    match data {
        Value::Object(map) if !map.is_empty() => {
            let mut query = url.query_pairs_mut();
            for (key, value) in map {
                match value {
                    Value::Null => {}
                    Value::Array(items) => items.iter().for_each(|item| {
                        query.append_pair(key, &text(item));
                    }),
                    value => {
                        query.append_pair(key, &text(value));
                    }
                }
            }
        }
        Value::String(text) if !text.is_empty() => {
            let query = match url.query() {
                Some(before) => format!("{before}&{text}"),
                None => text.clone(),
            };
            url.set_query(Some(&query));
        }
        _ => {}
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn timeout(value: Option<&Value>) -> Result<Duration, Failure> {
    let wrong = |value: &Value| Failure::lasting(format!("`timeout` must be a positive duration, not {value}"));
    match value {
        None | Some(Value::Null) => Ok(DEFAULT_TIMEOUT),
        Some(value) => {
            let seconds = value.as_f64().and_then(towpath_model::duration::from_seconds);
            let read = seconds.or_else(|| towpath_model::duration::parse(value.as_str()?).ok());
            read.filter(|timeout| !timeout.is_zero()).ok_or_else(|| wrong(value))
        }
    }
}
