//! A file from a web server, as a stream that goes on where a transfer broke.
//!
//! A server that takes `Range` is asked for the rest; of one that does not the file is read again from its start and what has come
//! already is passed over. Either way the file has to be the same one: its ETag, or its date and size, are compared.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::{Map, Value};
use towpath_model::connection::Connection;

use super::{CONNECT_TIMEOUT, Failure, MAX_REDIRECTS, causes, install_crypto, request};

/// Longest silence of a server in the middle of a file, unless the connection has a `timeout`.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// So often a transfer is taken up again that brings nothing new.
const MOST_TRIES: u32 = 5;
/// Wait before the first new try; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Why a file could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub message: String,
    /// Whether another try may go better.
    pub retry: bool,
}

impl From<Failure> for Error {
    fn from(Failure { error, retry }: Failure) -> Self {
        Self { message: error, retry }
    }
}

/// A file on a web server.
#[derive(Debug, Clone)]
pub struct Download {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

/// A transfer that has begun.
pub struct Transfer {
    /// Bytes of the file, where the server says.
    pub size: Option<u64>,
    pub bytes: BoxStream<'static, Result<Bytes, Error>>,
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Download {
    /// The file at `url`: a full URL, or a path below the host of `connection`, whose login and headers go to its own host only.
    ///
    /// # Errors
    /// When the URL is none, or the connection has no host or headers that are none.
    pub fn new(url: &str, connection: Option<&Connection>) -> Result<Self, Error> {
        let mut url = request::url(url, connection)?;
        let (mut headers, mut options) = (HeaderMap::new(), Map::new());
        if let Some(connection) = connection {
            if !request::is_host_of(connection, &url) {
                let message = format!(
                    "connection `{}` is for another host than `{}`; its credentials are not sent there",
                    connection.conn_id,
                    shown(&url)
                );
                return Err(Error { message, retry: false });
            }
            request::apply(connection, &mut headers, &mut options)?;
        }
        if let Some((value, _)) = request::take_credentials(&mut url)? {
            headers.insert(AUTHORIZATION, value);
        }
        // Bytes are to be those of the file: only so ranges and sizes mean something.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        install_crypto();
        let verify = options.get("verify").and_then(Value::as_bool).unwrap_or(true);
        let silence = options.get("timeout").and_then(Value::as_f64).and_then(towpath_model::duration::from_seconds);
        let silence = silence.filter(|silence| !silence.is_zero()).unwrap_or(READ_TIMEOUT);
        let client = Client::builder()
            .user_agent(concat!("towpath/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(silence)
            .redirect(Policy::limited(MAX_REDIRECTS))
            .no_gzip()
            .tls_danger_accept_invalid_certs(!verify)
            .build()
            .map_err(|error| Error { message: format!("cannot set up HTTP: {}", causes(&error)), retry: true })?;
        Ok(Self { client, url, headers })
    }

    /// The URL without its query, which may hold a signature, and without login and password.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// Begins to read the file.
    ///
    /// # Errors
    /// When the server cannot be reached, or answers with a refusal. The stream ends with an error when a transfer breaks for good, or
    /// the file has changed meanwhile.
    pub async fn start(&self) -> Result<Transfer, Error> {
        let response = self.ask(0, None).await?;
        let size = response.content_length().filter(|_| response.status() == StatusCode::OK);
        let same = Same::of(response.headers());
        let reading =
            Reading { download: self.clone(), body: Some(body(response)), size, done: 0, skip: 0, same, tries: 0 };
        Ok(Transfer { size, bytes: futures::stream::try_unfold(reading, Reading::next).boxed() })
    }

    /// Asks for the file from byte `from` on, a few times where the server is not well.
    async fn ask(&self, from: u64, same: Option<&Same>) -> Result<Response, Error> {
        let mut tries = 0;
        loop {
            let mut request = self.client.get(self.url.clone()).headers(self.headers.clone());
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
                if let Some(tag) = same.and_then(|same| same.tag.clone()) {
                    request = request.header(IF_RANGE, tag);
                }
            }
            let (error, retry) = match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => self.refused(&response),
                Err(error) => (format!("`{}` cannot be read: {}", self.shown(), causes(&error.without_url())), true),
            };
            tries += 1;
            if !retry || tries > MOST_TRIES {
                return Err(Error { message: error, retry });
            }
            tokio::time::sleep(FIRST_WAIT * 2_u32.pow(tries - 1)).await;
        }
    }

    fn refused(&self, response: &Response) -> (String, bool) {
        let status = response.status();
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; name a connection of type http with login or headers (`connection`)"
            }
            StatusCode::NOT_FOUND => "; the file may not be there yet",
            _ => "",
        };
        let passes =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        (format!("`{}` answers {status}{hint}", self.shown()), passes)
    }
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// What tells a file from a later one at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Same {
    tag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

impl Same {
    fn of(headers: &HeaderMap) -> Self {
        // A weak tag does not promise the same bytes.
        let tag = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        Self { tag: tag.cloned(), modified: headers.get(LAST_MODIFIED).cloned() }
    }
}

type Body = BoxStream<'static, Result<Bytes, reqwest::Error>>;

fn body(response: Response) -> Body {
    response.bytes_stream().map_err(reqwest::Error::without_url).boxed()
}

/// A file that is being read.
struct Reading {
    download: Download,
    body: Option<Body>,
    size: Option<u64>,
    /// Bytes that have been given on.
    done: u64,
    /// Bytes of the present body that were given on before.
    skip: u64,
    same: Same,
    /// New tries since something has come.
    tries: u32,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        loop {
            let Some(body) = &mut self.body else {
                self.resume().await?;
                continue;
            };
            match body.next().await {
                Some(Ok(mut chunk)) => {
                    let passed = self.skip.min(chunk.len() as u64);
                    self.skip -= passed;
                    let chunk = chunk.split_off(passed as usize);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.done += chunk.len() as u64;
                    self.tries = 0;
                    return Ok(Some((chunk, self)));
                }
                None if self.skip == 0 && self.size.is_none_or(|size| self.done >= size) => return Ok(None),
                None => self.broke("the server has closed the connection in the middle of it").await?,
                Some(Err(error)) => self.broke(&causes(&error)).await?,
            }
        }
    }

    /// A transfer has ended too early.
    async fn broke(&mut self, why: &str) -> Result<(), Error> {
        self.body = None;
        self.tries += 1;
        if self.tries > MOST_TRIES {
            let (url, done) = (self.download.shown(), self.done);
            let message = format!("`{url}` broke off after {done} bytes, {MOST_TRIES} times in a row: {why}");
            return Err(Error { message, retry: true });
        }
        tokio::time::sleep(FIRST_WAIT * 2_u32.pow(self.tries - 1)).await;
        Ok(())
    }

    /// Asks for what is missing.
    async fn resume(&mut self) -> Result<(), Error> {
        let response = self.download.ask(self.done, Some(&self.same)).await?;
        if Same::of(response.headers()) != self.same {
            let message = format!("`{}` has changed while it was read; try again", self.download.shown());
            return Err(Error { message, retry: true });
        }
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let starts = range.and_then(|range| range.trim_start_matches("bytes ").split('-').next()?.parse::<u64>().ok());
        self.skip = match starts {
            Some(start) if is_part && start == self.done => 0,
            Some(start) if is_part && start < self.done => self.done - start,
            _ if is_part => {
                let message = format!("`{}` answers with another part than was asked for", self.download.shown());
                return Err(Error { message, retry: true });
            }
            _ => self.done,
        };
        self.body = Some(body(response));
        Ok(())
    }
}
