//! `/auth/token`: JWTs for programs, as Airflow gives them out.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::guard;
use crate::service::{Auth, LoginError, Mode};

/// Largest body of a login, in bytes.
const BODY_BYTES: usize = 16 * 1024;

/// `/auth/token`, `/auth/token/cli` and `/auth/token/login`.
pub fn router<S>(auth: Auth) -> Router<S> {
    Router::new()
        .route("/auth/token", post(create).get(create_for_all))
        .route("/auth/token/cli", post(create))
        .route("/auth/token/login", get(login_for_all))
        .with_state(auth)
}

/// `POST /auth/token`, `POST /auth/token/cli`.
async fn create(State(auth): State<Auth>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let form = parts.headers.get(header::CONTENT_TYPE).map_or(Some("application/json"), |value| value.to_str().ok());
    let form = form.and_then(|form| form.split(';').next()).map(|form| form.trim().to_ascii_lowercase());
    let Ok(bytes) = axum::body::to_bytes(body, BODY_BYTES).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body of a login is small");
    };
    let fields = match form.as_deref() {
        Some("application/json") => match serde_json::from_slice(&bytes) {
            Ok(fields) => fields,
            Err(error) => return invalid("json_invalid", "body", &format!("JSON decode error: {error}")),
        },
        Some("application/x-www-form-urlencoded") => form_fields(&bytes),
        _ => {
            let reason = "a login is sent as `application/json` or `application/x-www-form-urlencoded`";
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
        }
    };
    let (name, password) = match credentials(&fields) {
        Ok(credentials) => credentials,
        Err(response) => return *response,
    };
    match auth.log_in(&name, &password, guard::address(&parts)).await {
        Ok(user) => issue(&auth, &user).await,
        Err(error) => error.reply(),
    }
}

/// `GET /auth/token`: for clients of a server that asks nobody who they are.
async fn create_for_all(State(auth): State<Auth>) -> Response {
    if auth.mode() == Mode::Users {
        return refuse(StatusCode::FORBIDDEN, "this server gives out tokens for a name and a password only");
    }
    match auth.first_user().await {
        Ok(Some(user)) => issue(&auth, &user).await,
        // Nobody looks at it.
        Ok(None) => (StatusCode::CREATED, Json(json!({"access_token": "anonymous"}))).into_response(),
        Err(error) => LoginError::from(error).reply(),
    }
}

/// `GET /auth/token/login`.
async fn login_for_all(State(auth): State<Auth>) -> Response {
    if auth.mode() == Mode::Users {
        return refuse(StatusCode::FORBIDDEN, "this server asks who you are; log in at /login");
    }
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, HeaderValue::from_static("/"))]).into_response()
}

async fn issue(auth: &Auth, user: &towpath_store::UserRecord) -> Response {
    match auth.issue_jwt(user).await {
        Ok(token) => {
            let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::CREATED, headers, Json(json!({"access_token": token}))).into_response()
        }
        Err(error) => LoginError::from(error).reply(),
    }
}

fn refuse(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}

fn invalid(kind: &str, place: &str, message: &str) -> Response {
    let loc = if place == "body" { json!(["body"]) } else { json!(["body", place]) };
    // What was sent is not repeated: it may hold the password.
    let problem = json!({"type": kind, "loc": loc, "msg": message, "input": null});
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"detail": [problem]}))).into_response()
}

fn form_fields(bytes: &Bytes) -> Value {
    let pairs = url::form_urlencoded::parse(bytes);
    pairs.map(|(key, value)| (key.into_owned(), Value::from(value.into_owned()))).collect()
}

/// Name and password, and nothing else.
fn credentials(fields: &Value) -> Result<(String, String), Box<Response>> {
    let Some(map) = fields.as_object() else {
        return Err(Box::new(invalid("dict_type", "body", "Input should be a valid dictionary")));
    };
    let text = |name: &str| match map.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Box::new(invalid("string_type", name, "Input should be a valid string"))),
        None => Err(Box::new(invalid("missing", name, "Field required"))),
    };
    let credentials = (text("username")?, text("password")?);
    match map.keys().find(|key| !["username", "password"].contains(&key.as_str())) {
        Some(key) => Err(Box::new(invalid("extra_forbidden", key, "Extra inputs are not permitted"))),
        None => Ok(credentials),
    }
}
