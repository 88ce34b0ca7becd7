//! Connections: how to reach another system.
//!
//! A connection is written as a URI or as JSON, by the rules of Airflow 3 (`airflow.models.connection`), so
//! that `AIRFLOW_CONN_*` values and exported connections can be taken over as they are. This module
//! reads and writes the text; where it is kept is not its business.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::{Map, Value};
use url::form_urlencoded;

/// The query parameter that holds extras which are not a flat mapping of texts.
const EXTRA_KEY: &str = "__extra__";

/// What Python's `quote(text, safe="")` escapes.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Parts of names that mark a value as secret; Airflow's list, and `access_key` for AWS's names.
const SENSITIVE: &[&str] = &[
    "access_key",
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "secret",
    "service_account",
    "token",
];

/// Text that must not be seen: it prints as `***`, and serde touches it only through [`Secret::serialize_exposed`].
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// For `#[serde(serialize_with)]`, where the text is meant to be written.
    ///
    /// # Errors
    /// Those of `serializer`.
    pub fn serialize_exposed<S: Serializer>(secret: &Option<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => serializer.serialize_some(secret.expose()),
            None => serializer.serialize_none(),
        }
    }

    /// For `#[serde(deserialize_with)]`.
    ///
    /// # Errors
    /// When the value is neither text nor null.
    pub fn deserialize_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Self))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// How to reach another system.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Connection {
    pub conn_id: String,
    /// What kind of system: `postgres`, `http`, `aws` and so on.
    pub conn_type: String,
    pub description: Option<String>,
    /// May carry a scheme of its own, as in `https://example.com`.
    pub host: Option<String>,
    pub login: Option<String>,
    pub password: Option<Secret>,
    /// The database, or for HTTP the scheme.
    pub schema: Option<String>,
    pub port: Option<u16>,
    /// JSON text, an object as a rule.
    pub extra: Option<String>,
}

/// The extras often hold keys and tokens, so they do not print either.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("conn_id", &self.conn_id)
            .field("conn_type", &self.conn_type)
            .field("description", &self.description)
            .field("host", &self.host)
            .field("login", &self.login)
            .field("password", &self.password)
            .field("schema", &self.schema)
            .field("port", &self.port)
            .field("extra", &self.extra.as_ref().map(|_| Secret::default()))
            .finish()
    }
}

/// Text that is not a connection. The messages never quote the text, since it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("connection `{conn_id}`: the URI has no scheme; write `type://login:password@host:port/schema?key=value`")]
    NoScheme { conn_id: String },
    #[error(
        "connection `{conn_id}`: the URI holds `://` more than twice; percent-encode the ones inside of values as `%3A%2F%2F`"
    )]
    ManySchemes { conn_id: String },
    #[error(
        "connection `{conn_id}`: the scheme of the host must stand directly before it, as in `http://https://host`, or be percent-encoded"
    )]
    MisplacedScheme { conn_id: String },
    #[error(
        "connection `{conn_id}`: port `{port}` is not a number from 0 to 65535; percent-encode `:`, `/` and `@` inside of login and password"
    )]
    Port { conn_id: String, port: String },
    #[error("connection `{conn_id}`: the JSON cannot be read: {reason}")]
    Json { conn_id: String, reason: String },
    #[error(
        "connection `{conn_id}`: unknown key `{key}`; known are conn_type, description, host, login, password, schema, port and extra"
    )]
    UnknownKey { conn_id: String, key: String },
    #[error("connection `{conn_id}`: `{key}` must be {expected}")]
    Kind { conn_id: String, key: String, expected: &'static str },
    #[error("connection `{conn_id}`: `extra` is not a JSON object: {reason}")]
    Extra { conn_id: String, reason: String },
}

impl Connection {
    /// Reads `text` as JSON where it begins with `{`, as a URI otherwise: the form of `AIRFLOW_CONN_*`.
    ///
    /// # Errors
    /// Those of [`Connection::from_json`] and [`Connection::from_uri`].
    pub fn parse(conn_id: &str, text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.starts_with('{') { Self::from_json(conn_id, text) } else { Self::from_uri(conn_id, text) }
    }

    /// Reads `type://login:password@host:port/schema?key=value`.
    ///
    /// # Errors
    /// [`Error`], when the text has no scheme, too many of them, or a port that is none.
    pub fn from_uri(conn_id: &str, uri: &str) -> Result<Self, Error> {
        let id = || conn_id.to_owned();
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| Error::NoScheme { conn_id: id() })?;
        if scheme.is_empty() {
            return Err(Error::NoScheme { conn_id: id() });
        }
        let (rest, protocol) = match rest.matches("://").count() {
            0 => (rest, None),
            1 => {
                let (protocol, rest) = rest.split_once("://").expect("one was counted");
                if protocol.contains(['@', ':', '/', '?', '#']) {
                    return Err(Error::MisplacedScheme { conn_id: id() });
                }
                (rest, Some(protocol))
            }
            _ => return Err(Error::ManySchemes { conn_id: id() }),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(before, query)| (before, query));
        let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let (userinfo, location) =
            authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let (login, password) = match userinfo {
            Some(user) => {
                user.split_once(':').map_or((Some(user), None), |(login, password)| (Some(login), Some(password)))
            }
            None => (None, None),
        };
        let (host, port) = host_and_port(location);
        let port = match port {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| Error::Port { conn_id: id(), port: text.to_owned() })?),
        };
        let host = protocol.map_or_else(|| host.clone(), |protocol| format!("{protocol}://{host}"));
        Ok(Self {
            conn_id: id(),
            conn_type: normalize_type(scheme),
            description: None,
            host: present(host),
            login: login.map(decode).and_then(present),
            password: password.map(|text| Secret(decode(text))),
            schema: present(decode(path)),
            port,
            extra: extra_of_query(query),
        })
    }

    /// Reads Airflow's JSON form: an object with the names of the fields.
    ///
    /// # Errors
    /// [`Error`], when the text is no object, has an unknown key or a value of the wrong kind.
    pub fn from_json(conn_id: &str, text: &str) -> Result<Self, Error> {
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| Error::Json {
            conn_id: conn_id.to_owned(),
            // serde_json quotes what it met only for wrong types, and the type here is always the whole document.
            reason: format!("{} at line {}, column {}", category(&error), error.line(), error.column()),
        })?;
        let mut connection = Self { conn_id: conn_id.to_owned(), ..Self::default() };
        for (key, value) in fields {
            if value.is_null() {
                continue;
            }
            match key.as_str() {
                "conn_type" => connection.conn_type = normalize_type(&text_field(conn_id, &key, &value)?),
                "description" => connection.description = Some(text_field(conn_id, &key, &value)?),
                "host" => connection.host = present(text_field(conn_id, &key, &value)?),
                "login" => connection.login = present(text_field(conn_id, &key, &value)?),
                "password" => connection.password = Some(Secret(text_field(conn_id, &key, &value)?)),
                "schema" => connection.schema = present(text_field(conn_id, &key, &value)?),
                "port" => connection.port = port_field(conn_id, &value)?,
                "extra" => connection.extra = extra_field(&value),
                // Exports carry the id as well.
                "conn_id" => {}
                _ => return Err(Error::UnknownKey { conn_id: conn_id.to_owned(), key }),
            }
        }
        Ok(connection)
    }

    /// The URI that [`Connection::from_uri`] reads back, password included.
    #[must_use]
    pub fn get_uri(&self) -> String {
        let mut uri = format!("{}://", self.conn_type.to_ascii_lowercase().replace('_', "-"));
        let mut host = self.host.as_deref().unwrap_or_default();
        if let Some((protocol, rest)) = host.split_once("://") {
            uri.push_str(protocol);
            uri.push_str("://");
            host = rest;
        }
        let mut authority = String::new();
        if let Some(login) = &self.login {
            authority.extend(quote(login));
        }
        if let Some(password) = &self.password {
            authority.push(':');
            authority.extend(quote(password.expose()));
        }
        if !authority.is_empty() {
            uri.push_str(&authority);
            uri.push('@');
        }
        uri.extend(quote(host));
        if let Some(port) = self.port {
            // A port without anything before it would be read as a host.
            let separator = if host.is_empty() && authority.is_empty() { "@:" } else { ":" };
            uri.push_str(separator);
            uri.push_str(&port.to_string());
        }
        if let Some(schema) = &self.schema {
            uri.push('/');
            uri.extend(quote(schema));
        }
        if let Some(extra) = self.extra.as_deref().filter(|extra| !extra.is_empty()) {
            uri.push_str(if self.schema.is_some() { "?" } else { "/?" });
            uri.push_str(&query_of_extra(extra));
        }
        uri
    }

    /// The extras as an object; empty where there are none.
    ///
    /// # Errors
    /// [`Error::Extra`], when they are not a JSON object.
    pub fn extra_dejson(&self) -> Result<Map<String, Value>, Error> {
        let Some(extra) = self.extra.as_deref().filter(|extra| !extra.trim().is_empty()) else {
            return Ok(Map::new());
        };
        serde_json::from_str(extra).map_err(|error| Error::Extra {
            conn_id: self.conn_id.clone(),
            reason: format!("{} at line {}, column {}", category(&error), error.line(), error.column()),
        })
    }

    /// Texts that must be masked in logs: the password, and the extras whose names are secret.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut found: Vec<String> = self.password.iter().map(|secret| secret.expose().to_owned()).collect();
        match self.extra_dejson() {
            Ok(extra) => {
                extra.iter().for_each(|(name, value)| collect_secrets(is_secret_name(name), value, &mut found));
            }
            // Extras that cannot be told apart are one secret.
            Err(_) => found.extend(self.extra.clone()),
        }
        found.retain(|text| !text.is_empty());
        found
    }

    /// All fields with the password in clear, under Airflow's names: for a child process that needs them.
    #[must_use]
    pub fn expose_json(&self) -> Value {
        serde_json::json!({
            "conn_id": self.conn_id,
            "conn_type": self.conn_type,
            "description": self.description,
            "host": self.host,
            "login": self.login,
            "password": self.password.as_ref().map(Secret::expose),
            "schema": self.schema,
            "port": self.port,
            "extra": self.extra,
        })
    }
}

/// Whether a variable or an extra field of this name holds a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    SENSITIVE.iter().any(|part| name.contains(part))
}

/// Texts below `value` that are secret: all of them where `secret` is set, else those under secret names.
fn collect_secrets(secret: bool, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if secret => found.push(text.clone()),
        Value::Number(number) if secret => found.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(secret, item, found)),
        Value::Object(map) => {
            map.iter().for_each(|(name, item)| collect_secrets(secret || is_secret_name(name), item, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn normalize_type(conn_type: &str) -> String {
    let conn_type = if conn_type == "postgresql" { "postgres" } else { conn_type };
    conn_type.replace('-', "_")
}

/// Host and port of `host:port`, `[v6]:port` or either part alone. Host names are put in lower case, as
/// Python's `urlsplit` does; one that decodes to a path is kept as it is.
fn host_and_port(location: &str) -> (String, Option<&str>) {
    if let Some((host, rest)) = location.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host.to_lowercase(), rest.strip_prefix(':'));
    }
    let (host, port) = location.split_once(':').map_or((location, None), |(host, port)| (host, Some(port)));
    let decoded = decode(host);
    // A decoded `/` means a path or a URL; there the case may matter.
    (if decoded.contains('/') { decoded } else { decode(&host.to_lowercase()) }, port)
}

fn extra_of_query(query: &str) -> Option<String> {
    let mut extra = Map::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        extra.insert(key.into_owned(), Value::String(value.into_owned()));
    }
    if let Some(Value::String(text)) = extra.get_mut(EXTRA_KEY) {
        return present(std::mem::take(text));
    }
    (!extra.is_empty()).then(|| Value::Object(extra).to_string())
}

/// Extras as a query, or under [`EXTRA_KEY`] when a query would not say the same.
fn query_of_extra(extra: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let flat = serde_json::from_str::<Map<String, Value>>(extra)
        .ok()
        .filter(|map| !map.is_empty() && !map.contains_key(EXTRA_KEY) && map.values().all(Value::is_string));
    match flat {
        Some(map) => map.iter().for_each(|(key, value)| {
            query.append_pair(key, value.as_str().unwrap_or_default());
        }),
        None => {
            query.append_pair(EXTRA_KEY, extra);
        }
    }
    query.finish()
}

fn text_field(conn_id: &str, key: &str, value: &Value) -> Result<String, Error> {
    let error = || Error::Kind { conn_id: conn_id.to_owned(), key: key.to_owned(), expected: "text" };
    value.as_str().map(str::to_owned).ok_or_else(error)
}

fn port_field(conn_id: &str, value: &Value) -> Result<Option<u16>, Error> {
    let expected = "a number from 0 to 65535";
    let error = || Error::Kind { conn_id: conn_id.to_owned(), key: "port".to_owned(), expected };
    match value {
        Value::Number(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()).map(Some).ok_or_else(error),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => text.trim().parse().map(Some).map_err(|_| error()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(error()),
    }
}

fn extra_field(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => present(text.clone()),
        Value::Object(map) if map.is_empty() => None,
        Value::Null => None,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io => "it cannot be read",
        serde_json::error::Category::Syntax => "a syntax error",
        serde_json::error::Category::Data => "an object is expected",
        serde_json::error::Category::Eof => "it ends too early",
    }
}

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn quote(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    utf8_percent_encode(text, QUOTED).map(Cow::Borrowed)
}

#[cfg(test)]
mod tests;
