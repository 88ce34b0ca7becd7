//! Every route of the UI.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::pages::{actions, admin, asset, audit, dag, dags, home, log, panel, pause, run, search, task, trigger};
use crate::{Error, State, assets};

/// Everything comes from this server, and nothing stands inside the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages; their fallback answers every path that is nobody's.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(home::get))
        .route("/search", get(search::get))
        .route("/runs", get(dag::runs::all))
        .route("/dags", get(dags::get))
        .merge(of_dag())
        .merge(of_run())
        .merge(of_assets())
        .merge(of_admin())
        .route("/assets/{hash}/{name}", get(assets::get))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::map_response(protect))
        .with_state(state)
}

fn of_dag() -> Router<State> {
    Router::new()
        .route("/dags/{dag_id}", get(dag::grid::get))
        .route("/dags/{dag_id}/graph", get(dag::graph::get))
        .route("/dags/{dag_id}/gantt", get(dag::gantt::get))
        .route("/dags/{dag_id}/calendar", get(dag::calendar::get))
        .route("/dags/{dag_id}/durations", get(dag::durations::get))
        .route("/dags/{dag_id}/data", get(dag::data::get))
        .route("/dags/{dag_id}/code", get(dag::code::get))
        .route("/dags/{dag_id}/details", get(dag::details::get))
        .route("/dags/{dag_id}/audit", get(audit::of_dag))
        .route("/dags/{dag_id}/backfills", get(dag::backfills::get).post(dag::backfills::post))
        .route("/dags/{dag_id}/backfills/{id}/{action}", post(dag::backfills::change))
        .route("/dags/{dag_id}/pause", post(pause::pause))
        .route("/dags/{dag_id}/unpause", post(pause::unpause))
        .route("/dags/{dag_id}/trigger", get(trigger::get).post(trigger::post))
        .route("/dags/{dag_id}/delete", get(actions::delete_dag_preview).post(actions::delete_dag))
        .route("/dags/{dag_id}/runs", get(dag::runs::get).post(dag::runs::bulk))
}

fn of_run() -> Router<State> {
    Router::new()
        .route("/dags/{dag_id}/runs/{run_id}", get(run::get))
        .route("/dags/{dag_id}/runs/{run_id}/clear", get(actions::clear_preview).post(actions::clear))
        .route("/dags/{dag_id}/runs/{run_id}/mark", get(actions::mark_preview).post(actions::mark))
        .route("/dags/{dag_id}/runs/{run_id}/cancel", get(actions::cancel_preview).post(actions::cancel))
        .route("/dags/{dag_id}/runs/{run_id}/delete", get(actions::delete_preview).post(actions::delete))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}", get(task::get))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/retry", post(actions::retry))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log", get(log::part))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log.txt", get(log::whole))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log/find", get(log::find_lines))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/panel", get(panel::get))
}

fn of_assets() -> Router<State> {
    Router::new()
        .route("/assets", get(asset::get))
        .route("/asset/{id}", get(asset::one::get))
        .route("/asset/{id}/events", post(asset::one::update))
        .route("/asset/{id}/materialize", post(asset::one::materialize))
        .route("/asset/{id}/clear", post(asset::one::clear))
}

fn of_admin() -> Router<State> {
    use admin::{config, connections, pools, users, variables, workers};
    Router::new()
        .route("/admin", get(admin::get))
        .route("/admin/config", get(config::get))
        .route("/admin/workers", get(workers::get))
        .route("/admin/audit", get(audit::all))
        .route("/admin/users", get(users::get).post(users::post))
        .route("/admin/users/{name}/role", post(users::set_role))
        .route("/admin/users/{name}/grant", post(users::grant))
        .route("/admin/users/{name}/revoke", post(users::revoke))
        .route("/admin/users/{name}/link", post(users::link))
        .route("/admin/users/{name}/delete", post(users::delete))
        .route("/admin/tokens/{id}/revoke", post(users::revoke_token))
        .route("/admin/pools", get(pools::get).post(pools::post))
        .route("/admin/pools/{name}/delete", post(pools::delete))
        .route("/admin/variables", get(variables::get).post(variables::post))
        .route("/admin/variables/{key}/delete", post(variables::delete))
        .route("/admin/connections", get(connections::get).post(connections::post))
        .route("/admin/connections/{conn_id}/delete", post(connections::delete))
        .route("/admin/connections/{conn_id}/test", post(connections::test))
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
