//! Every route of the UI.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::pages::{dag, home, log, pause, run, task, trigger};
use crate::{Error, State, assets};

/// Everything comes from this server, and nothing stands inside the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages; their fallback answers every path that is nobody's.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(home::get))
        .route("/dags/{dag_id}", get(dag::get))
        .route("/dags/{dag_id}/pause", post(pause::pause))
        .route("/dags/{dag_id}/unpause", post(pause::unpause))
        .route("/dags/{dag_id}/trigger", get(trigger::get).post(trigger::post))
        .route("/dags/{dag_id}/runs/{run_id}", get(run::get))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}", get(task::get))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log", get(log::part))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log.txt", get(log::whole))
        .route("/assets/{hash}/{name}", get(assets::get))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::map_response(protect))
        .with_state(state)
}

pub(crate) async fn protect(response: Response) -> Response {
    shield(response)
}

/// Adds what keeps a page from being misused.
pub(crate) fn shield(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    // What a page shows may be gone in a second; only assets say otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
    headers.insert(PERMISSIONS, HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    response
}

async fn not_found(request: Request) -> Error {
    Error::no_such("page", request.uri().path())
}

async fn method_not_allowed(request: Request) -> Error {
    Error::Method { path: request.uri().path().to_owned() }
}

#[expect(clippy::needless_pass_by_value, reason = "tower-http gives it away")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Error::Panic(text).into_response()
}
