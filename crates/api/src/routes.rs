//! Every route of the API, and the one function that builds the server's [`Router`].

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::openapi::document;
use crate::openapi::routing::{self, get, post};
use crate::{
    Error, State, assets, dag_files, dag_runs, data_sets, event_logs, events, explain, guard, monitor, observe,
    operations, schedule, task_instances, webhooks,
};

/// Longest body of a request.
pub(crate) const BODY_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// Until the head of a reply is there, with the body of the request read. What streams afterwards may take longer.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The API alone.
pub fn router(state: State) -> Router {
    app(state, Router::new().fallback(not_found))
}

/// The whole server: the API beside `pages`, whose fallback answers everything that is not part of
/// the API, behind the same middleware.
pub fn app(state: State, pages: Router) -> Router {
    let streams = NotForContentType::new("application/x-ndjson");
    let compress = CompressionLayer::new().compress_when(DefaultPredicate::new().and(streams));
    described()
        .with_state(state.clone())
        .merge(towpath_auth::router(state.auth.clone()))
        .merge(pages)
        // From the inside to the outside.
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(compress)
        .layer(axum::middleware::from_fn_with_state(state.auth.clone(), towpath_auth::guard::check))
        .layer(axum::middleware::from_fn_with_state(state.clone(), guard::check))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIME_LIMIT))
        .layer(cors(&state))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(tower::util::option_layer(
            state.is_https.then(|| header(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000")),
        ))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "same-origin"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .layer(axum::middleware::from_fn_with_state(state.requests, observe::count))
}

/// What Airflow does not have.
fn own() -> routing::Router {
    routing::Router::new()
        .route("/health", get(monitor::health::own))
        .route("/metrics", get(monitor::metrics::get))
        .route("/openapi.json", get(document::get))
}

/// Airflow's API v2, below `/api/v2`.
fn airflow() -> routing::Router {
    routing::Router::new()
        .merge(operations::router())
        .merge(assets::routes())
        .route("/eventLogs", get(event_logs::list::get))
        .route("/eventLogs/{event_log_id}", get(event_logs::get::get))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(header(header::CACHE_CONTROL, "no-store"))
}

/// What Airflow has no call for, below `/api/towpath/v1`, with the names and errors of its API.
fn towpath() -> routing::Router {
    const TASK: &str = "/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}";
    routing::Router::new()
        .route("/dags/{dag_id}/explain", get(explain::dag::get))
        .route("/dags/{dag_id}/dagRuns/{run_id}/explain", get(explain::run::get))
        .route(&format!("{TASK}/explain"), get(explain::task::get))
        .route(&format!("{TASK}/dataSet/preview"), get(data_sets::rows::preview))
        .route(&format!("{TASK}/dataSet/rejects"), get(data_sets::rows::rejects))
        .route(&format!("{TASK}/dataSet/schema"), get(data_sets::describe::schema))
        .route(&format!("{TASK}/dataSet/profile"), get(data_sets::describe::profile))
        .route(&format!("{TASK}/plan"), get(data_sets::describe::plan))
        .route("/dags/{dag_id}/dagRuns/{run_id}/deadlines", get(dag_runs::deadlines::get))
        .route("/events", get(events::stream))
        .route(&format!("{TASK}/logs/{{try_number}}/stream"), get(task_instances::log_stream::get))
        .route("/dags/{dag_id}/schedule/preview", get(schedule::preview))
        .route("/dags/{dag_id}/webhook", get(webhooks::get).put(webhooks::put).delete(webhooks::delete))
        .route("/hooks/{dag_id}", post(webhooks::call))
        .route("/dagFiles", get(dag_files::list))
        .route("/dagFiles/validate", post(dag_files::validate))
        .route("/dagFiles/{*path}", get(dag_files::get).put(dag_files::put).delete(dag_files::delete))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(header(header::CACHE_CONTROL, "no-store"))
}

/// All of it but the logins, as the document tells it.
pub(crate) fn described() -> routing::Router {
    own().nest("/api/v2", airflow()).nest("/api/towpath/v1", towpath())
}

async fn not_found() -> Error {
    Error::NotFound("Not Found".to_owned())
}

async fn method_not_allowed(_: Request) -> Error {
    Error::MethodNotAllowed
}

/// No other site reads anything, unless it is listed; and never with the cookie of a session.
fn cors(state: &State) -> CorsLayer {
    if state.origins.is_empty() {
        return CorsLayer::new();
    }
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(state.origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static("idempotency-key")])
        .max_age(Duration::from_secs(600))
}

fn header(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// A panic in an action is a defect; it ends that request alone.
#[expect(clippy::needless_pass_by_value, reason = "tower-http gives it away")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Error::Panic(text).into_response()
}
