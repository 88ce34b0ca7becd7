//! Whether the host of a connection answers, and takes its login.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde_json::Map;
use towpath_model::connection::Connection;

use super::{ClientKind, Failure, Http, causes, request};

/// Sends a GET to the host of `connection`; what it answered, in words.
///
/// # Errors
/// When nothing answers, when the login is refused and when the server has an error.
pub(crate) async fn probe(connection: &Connection, timeout: Duration) -> Result<String, String> {
    try_probe(connection, timeout).await.map_err(|failure| failure.error)
}

async fn try_probe(connection: &Connection, timeout: Duration) -> Result<String, Failure> {
    let base = request::base(connection)?;
    let url = Url::parse(&base).map_err(|error| Failure::lasting(format!("its host is not a URL: {error}")))?;
    let shown = format!("{}://{}", url.scheme(), url.authority().rsplit('@').next().unwrap_or_default());
    let (mut headers, mut options) = (HeaderMap::new(), Map::new());
    request::apply(connection, &mut headers, &mut options)?;
    let flag = |name: &str| options.get(name).and_then(serde_json::Value::as_bool).unwrap_or(true);
    let client = Http::new().client(ClientKind { verify: flag("verify"), redirects: flag("allow_redirects") })?;
    let response = client.get(url).headers(headers).timeout(timeout).send().await.map_err(|error| {
        Failure::passing(match error {
            error if error.is_timeout() => format!("{shown} has not answered within {timeout:?}"),
            error => format!("{shown} does not answer: {}", causes(&error.without_url())),
        })
    })?;
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Err(Failure::lasting(format!("{shown} answers {status}: it does not take the login or the headers")))
        }
        _ if status.is_server_error() => Err(Failure::passing(format!("{shown} answers {status}"))),
        _ => Ok(format!("{shown} answers {status}")),
    }
}
