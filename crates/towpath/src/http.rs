//! The web server: the listener, and what answers before the database does.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long replies under way may take once the server stops.
const DRAIN: Duration = Duration::from_secs(2);

/// A server that listens. Until it is given its router it answers that it is not ready.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    router: Arc<OnceLock<Router>>,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not one of this machine.
    pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; choose another address with --listen"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let router = Arc::new(OnceLock::new());
        let gate = Router::new().fallback(gate).with_state(Arc::clone(&router));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move { axum::serve(listener, gate).with_graceful_shutdown(stopped).await });
        Ok(Self { address, router, stop, task })
    }

    /// Where a browser on this machine finds it.
    pub(crate) fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
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
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!("the web server ended with an error: {error}"),
            Ok(Err(error)) => tracing::error!("the web server has crashed: {error}"),
            // A client that keeps its connection busy does not keep the process.
            Err(_) => self.task.abort(),
        }
    }
}

async fn gate(State(router): State<Arc<OnceLock<Router>>>, request: Request) -> Response {
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
