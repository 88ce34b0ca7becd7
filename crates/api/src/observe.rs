//! Counts requests, for `/metrics`, and writes one line of log for each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

/// What requests are counted by. `route` is the pattern, not the path, so that there are only as
/// many as there are routes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    pub(crate) route: String,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
}

/// Requests of one [`Label`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    /// Until the head of the reply was ready.
    pub(crate) time: Duration,
}

/// The requests since the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<BTreeMap<Label, Tally>>>);

impl Requests {
    fn record(&self, label: Label, time: Duration) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(label).or_default();
        tally.count += 1;
        tally.time += time;
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<Label, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The middleware.
pub(crate) async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(MatchedPath::as_str)
        // What falls through a nested router matches a path of axum's own.
        .filter(|route| !route.contains("__private"))
        .unwrap_or("unmatched")
        .to_owned();
    let method = known(request.method());
    let path = request.uri().path().to_owned();
    let start = Instant::now();
    let response = next.run(request).await;
    let time = start.elapsed();
    let status = response.status().as_u16();
    tracing::debug!(method, path, status, ms = time.as_secs_f64() * 1e3, "request");
    requests.record(Label { route, method, status }, time);
    response
}

/// A method as a label; clients can make up others.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
