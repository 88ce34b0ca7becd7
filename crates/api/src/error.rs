//! Everything that can go wrong in a request, and the only place that turns it into HTTP.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::problem::Problem;

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("Method Not Allowed")]
    MethodNotAllowed,
    #[error("{0}")]
    NotAcceptable(String),
    #[error("{0}")]
    Conflict(String),
    /// Something has to wait.
    #[error("{0}")]
    Busy(String),
    #[error("{0}")]
    Unauthorized(String),
    #[error("{0}")]
    PreconditionFailed(String),
    /// A DAG file that cannot be taken, with what is wrong in it.
    #[error("{message}")]
    Broken { message: String, diagnostics: Value },
    #[error("{0}")]
    UnsupportedMedia(String),
    #[error("the body of a request may have at most {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    /// What is wrong with the input, all of it.
    #[error("{} mistakes in the request", .0.len())]
    Invalid(Vec<Problem>),
    #[error(transparent)]
    Store(#[from] towpath_store::Error),
    #[error("an action panicked: {0}")]
    Panic(String),
}

impl Error {
    fn status(&self) -> StatusCode {
        use towpath_store::Error as E;
        match self {
            Self::BadRequest(_) | Self::Store(E::Invalid(_) | E::Params { .. }) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::Store(E::NotFound { .. }) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Conflict(_) | Self::Store(E::RunExists { .. } | E::Stale(_)) => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Invalid(_) | Self::Broken { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Store(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Panic(_)
            | Self::Store(
                E::Url { .. } | E::Unreachable { .. } | E::Migration(_) | E::Corrupt(_) | E::Secret(_) | E::Database(_),
            ) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client may know.
    fn detail(&self, status: StatusCode) -> Value {
        if let Self::Invalid(problems) = self {
            return json!(problems);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE && !matches!(self, Self::Busy(_)) {
            return "the database does not answer; the request can be repeated in a moment".into();
        }
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            return "Internal Server Error".into();
        }
        self.to_string().into()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() && !matches!(self, Self::Busy(_)) {
            tracing::error!(error = &self as &dyn std::error::Error, %status, "a request failed");
        }
        let mut body = json!({"detail": self.detail(status)});
        if let Self::Broken { diagnostics, .. } = &self {
            body["diagnostics"] = diagnostics.clone();
        }
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_store::Error as E;

    #[track_caller]
    fn check(error: impl Into<Error>, status: u16, detail: &str) {
        let error = error.into();
        let found = error.status();
        assert_eq!((found.as_u16(), error.detail(found)), (status, Value::from(detail)));
    }

    #[test]
    fn errors_of_the_store_have_a_status_and_tell_nothing_internal() {
        check(E::NotFound { thing: "DAG", id: "x".into() }, 404, "DAG `x` does not exist");
        check(
            E::RunExists { dag_id: "d".into(), what: "with id `r`".into() },
            409,
            "DAG `d` already has a run with id `r`",
        );
        check(E::Stale("DAG `d`".into()), 409, "DAG `d` has changed in the meantime");
        check(E::Invalid("no".into()), 400, "no");
        check(E::Corrupt("secret text".into()), 500, "Internal Server Error");
        check(
            E::Unreachable { url: "postgres://h/d".into(), reason: "refused".into() },
            503,
            "the database does not answer; the request can be repeated in a moment",
        );
    }
}
