//! The web server: the listener, its connections, and what answers before the database does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long replies under way may take once the server stops.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a client may take for the handshake of TLS, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// The wait after a connection could not be accepted, for want of file descriptors above all.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// A server that listens. Until it is given its router it answers that it is not ready.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    is_https: bool,
    router: Arc<OnceLock<Router>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `address`, with TLS where there is an acceptor; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not one of this machine.
    pub(crate) async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; choose another address with --listen"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let router = Arc::new(OnceLock::new());
        let stop = CancellationToken::new();
        let is_https = tls.is_some();
        let task = tokio::spawn(serve(listener, Arc::clone(&router), tls, stop.clone()));
        Ok(Self { address, is_https, router, stop, task })
    }

    /// Where a browser on this machine finds it.
    pub(crate) fn url(&self) -> String {
        url(self.address, self.is_https)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `router` answers.
    pub(crate) fn open(&self, router: Router) {
        // A second router would be a defect of the caller; the first one goes on answering.
        if self.router.set(router).is_err() {
            tracing::error!("the server was opened twice");
        }
    }

    /// Stops listening and lets replies under way end.
    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        match tokio::time::timeout(DRAIN, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the web server has crashed: {error}"),
            // A client that keeps its connection busy does not keep the process.
            Err(_) => self.task.abort(),
        }
    }
}

/// The address of a server as a browser on its machine reaches it.
pub(crate) fn url(mut address: SocketAddr, is_https: bool) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{}://{address}", if is_https { "https" } else { "http" })
}

/// The router, once there is one.
type Gate = Arc<OnceLock<Router>>;

/// Accepts connections until told to stop, then waits for the replies under way.
async fn serve(listener: TcpListener, router: Gate, tls: Option<TlsAcceptor>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, Arc::clone(&router), tls.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Gate,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    // A small reply must not wait for the next one; without it, it is only slower.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer(stream, peer, router, stop).await };
    match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, peer, router, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, "no TLS: {error}"),
        Err(_) => tracing::debug!(%peer, "no TLS: the client was too slow"),
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Gate,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = Arc::clone(&router);
        async move { Ok::<_, Infallible>(gate(&router, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "a connection broke: {error}");
    }
}

async fn gate(router: &OnceLock<Router>, request: Request) -> Response {
    match router.get() {
        Some(router) => match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => not_ready(request.uri().path()),
    }
}

fn not_ready(path: &str) -> Response {
    let reason = "the database does not answer yet";
    if path == "/health" {
        let body =
            serde_json::json!({"status": "unhealthy", "reasons": [reason], "version": env!("CARGO_PKG_VERSION")});
        return (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response();
    }
    let retry = [(header::RETRY_AFTER, "2")];
    (StatusCode::SERVICE_UNAVAILABLE, retry, format!("Towpath is starting: {reason}\n")).into_response()
}
