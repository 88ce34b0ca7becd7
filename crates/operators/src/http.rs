//! The operator `http`: sends a request; the body of the response is its XCom.
//!
//! It runs as async code in the worker: no process, and no thread while it waits. Passwords are never part of a message:
//! URLs are shown without their user information and go through the log's masking.

pub mod download;
mod probe;
mod request;

use std::collections::HashMap;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect::Policy;
use serde_json::{Map, Value, json};

use crate::attempt::{Attempt, Failure, Operator, Outcome};
use crate::template::{Limits, Renderer};
pub(crate) use probe::probe;
use request::Prepared;

/// Longest body that is read, bytes.
const BODY_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// So much of the body of a refusal is part of the error, in characters.
const ERROR_BODY_CHARS: usize = 1_000;
/// Longest time to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;

/// Sends requests. Clients are shared by all attempts, so that connections are kept.
#[derive(Debug, Default)]
pub struct Http {
    clients: Mutex<HashMap<ClientKind, reqwest::Client>>,
}

/// What cannot be chosen per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ClientKind {
    verify: bool,
    redirects: bool,
}

/// A response that has been read.
pub(crate) struct Response {
    pub(crate) status: reqwest::StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

/// An exchange that has come to its end, whatever the status.
pub(crate) struct Fetched {
    pub(crate) response: Response,
    /// The body.
    pub(crate) text: String,
    /// Method and URL, for messages.
    shown: String,
    /// Whether a status of 400 or more is an error.
    check_response: bool,
}

impl Fetched {
    /// What the error is, where the status is one.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        let status = self.response.status;
        if !self.check_response || !(status.is_client_error() || status.is_server_error()) {
            return None;
        }
        let body: String = self.text.chars().take(ERROR_BODY_CHARS).collect();
        let body = if body.trim().is_empty() { String::new() } else { format!(": {}", body.trim()) };
        Some(Failure::passing(format!("{} answered {status}{body}", self.shown)))
    }
}

#[async_trait]
impl Operator for Http {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        let result = tokio::select! {
            biased;
            () = attempt.stop.cancelled() => Err(Failure::passing("the request was told to stop")),
            result = self.exchange(attempt) => result,
        };
        match result {
            Ok(value) => Outcome::Success { value },
            Err(failure) => {
                let error = attempt.log.secrets().mask(&failure.error).into_owned();
                Outcome::Failed { error, retry: failure.retry }
            }
        }
    }
}

impl Http {
    /// An operator without open connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    async fn exchange(&self, attempt: &Attempt) -> Result<Option<Value>, Failure> {
        let fetched = self.fetch(attempt, &attempt.args).await?;
        match fetched.refusal() {
            Some(failure) => Err(failure),
            None => judge(attempt, &fetched.response, fetched.text).await,
        }
    }

    /// Sends the request that `args` describe, and reads the answer.
    pub(crate) async fn fetch(&self, attempt: &Attempt, args: &Map<String, Value>) -> Result<Fetched, Failure> {
        let prepared = request::prepare(attempt, args).await?;
        let client = self.client(ClientKind { verify: prepared.verify, redirects: prepared.redirects })?;
        let shown = format!("{} {}", prepared.method, prepared.shown_url());
        attempt.log.info(&shown);
        let response = send(&client, &prepared, &shown).await?;
        let text = response.text();
        attempt.log.info(&format!("{}, {} bytes", response.status, response.body.len()));
        if args.get("log_response").and_then(Value::as_bool).unwrap_or(false) {
            attempt.log.info(&text);
        }
        Ok(Fetched { response, text, shown, check_response: prepared.check_response })
    }

    fn client(&self, kind: ClientKind) -> Result<reqwest::Client, Failure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&kind) {
            return Ok(client.clone());
        }
        install_crypto();
        let client = reqwest::Client::builder()
            .user_agent(concat!("towpath/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(if kind.redirects { Policy::limited(MAX_REDIRECTS) } else { Policy::none() })
            .tls_danger_accept_invalid_certs(!kind.verify)
            .build()
            .map_err(|error| Failure::passing(format!("cannot set up HTTP: {}", causes(&error))))?;
        clients.insert(kind, client.clone());
        Ok(client)
    }
}

/// Chooses the implementation of cryptography, once in a process; another part of it may have been first.
pub(crate) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

async fn send(client: &reqwest::Client, prepared: &Prepared, shown: &str) -> Result<Response, Failure> {
    let failed = |error: reqwest::Error| {
        let timeout = prepared.timeout;
        Failure::passing(match error {
            error if error.is_timeout() => format!("{shown} has not been answered within {timeout:?} (`timeout`)"),
            error => format!("{shown} failed: {}", causes(&error.without_url())),
        })
    };
    let too_long = || Failure::lasting(format!("{shown}: the response has more than {BODY_LIMIT_BYTES} bytes"));
    let mut response = client.execute(prepared.request()?).await.map_err(failed)?;
    if response.content_length().is_some_and(|length| length > BODY_LIMIT_BYTES as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > BODY_LIMIT_BYTES {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status: response.status(), headers: response.headers().clone(), body })
}

/// Checks and filters a response that has been accepted.
async fn judge(attempt: &Attempt, response: &Response, text: String) -> Result<Option<Value>, Failure> {
    let expression = |name: &str| attempt.args.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let (check, filter) = (expression("response_check"), expression("response_filter"));
    if check.is_some() || filter.is_some() {
        let renderer = Renderer::new(attempt, Limits::default());
        let names = Map::from_iter([("response".to_owned(), response.names(&text))]);
        if let Some(check) = check {
            let value = renderer.evaluate("response_check", check, names.clone()).await;
            let value = value.map_err(|error| Failure::passing(error.to_string()))?;
            if !is_true(&value) {
                return Err(Failure::passing(format!("`response_check` is not true but {value}: {check}")));
            }
        }
        if let Some(filter) = filter {
            let value = renderer.evaluate("response_filter", filter, names).await;
            let value = value.map_err(|error| Failure::passing(error.to_string()))?;
            return Ok(Some(value).filter(|_| attempt.task.do_xcom_push));
        }
    }
    Ok(Some(Value::String(text)).filter(|_| attempt.task.do_xcom_push))
}

/// Truth as Python has it.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

impl Response {
    /// The body as text; bytes that are no text appear as `U+FFFD`.
    fn text(&self) -> String {
        let content_type = self.headers.get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let latin = content_type.is_some_and(|kind| {
            let kind = kind.to_ascii_lowercase();
            kind.contains("charset=iso-8859-1") || kind.contains("charset=latin1")
        });
        // The first 256 characters of Unicode are Latin-1.
        if latin {
            self.body.iter().map(|&byte| char::from(byte)).collect()
        } else {
            String::from_utf8_lossy(&self.body).into_owned()
        }
    }

    /// What templates call `response`.
    pub(crate) fn names(&self, text: &str) -> Value {
        let headers: Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect();
        let parsed: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let status = self.status.as_u16();
        json!({ "status": status, "status_code": status, "headers": headers, "text": text, "json": parsed })
    }
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
