//! What can go wrong with a page, and the page that says so.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::assets::Urls;
use crate::view::text::shown;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no {thing} `{id}`")]
    NotFound { thing: &'static str, id: String },
    #[error("`{path}` changes something and cannot be opened as a page")]
    Method { path: String },
    #[error("{0}")]
    BadRequest(String),
    /// Who asks may not have the page.
    #[error("{}", .0.reason)]
    Denied(Denied),
    #[error(transparent)]
    Store(#[from] towpath_store::Error),
    #[error("a page cannot be rendered: {0}")]
    Template(#[from] askama::Error),
    #[error("a page panicked: {0}")]
    Panic(String),
}

/// Why somebody may not have a page.
#[derive(Debug)]
pub struct Denied {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    assets: Urls,
    status: u16,
    title: String,
    /// What to do now, most promising first.
    ways_out: &'static [&'static str],
}

impl Error {
    pub(crate) fn no_such(thing: &'static str, id: &str) -> Self {
        Self::NotFound { thing, id: id.to_owned() }
    }

    fn status(&self) -> StatusCode {
        use towpath_store::Error as E;
        match self {
            Self::NotFound { .. } | Self::Store(E::NotFound { .. }) => StatusCode::NOT_FOUND,
            Self::Denied(denied) => denied.status,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) | Self::Store(E::Invalid(_) | E::Params { .. }) => StatusCode::BAD_REQUEST,
            Self::Store(E::RunExists { .. } | E::Stale(_)) => StatusCode::CONFLICT,
            Self::Store(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Template(_)
            | Self::Panic(_)
            | Self::Store(
                E::Url { .. } | E::Unreachable { .. } | E::Migration(_) | E::Corrupt(_) | E::Secret(_) | E::Database(_),
            ) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn words(&self, status: StatusCode) -> (String, &'static [&'static str]) {
        match status {
            StatusCode::SERVICE_UNAVAILABLE => (
                "The database does not answer".to_owned(),
                &[
                    "Load this page again in a moment; runs go on as soon as it is back",
                    "See /health for what the server can reach",
                ],
            ),
            StatusCode::INTERNAL_SERVER_ERROR => (
                "This page could not be made".to_owned(),
                &["The server's log has the reason", "Load this page again", "Nothing was changed"],
            ),
            StatusCode::NOT_FOUND => (
                sentence(&self.to_string()),
                &[
                    "It may have been renamed or deleted, or the address was cut off",
                    "Search for the DAG with the field above",
                ],
            ),
            StatusCode::FORBIDDEN => (
                sentence(&self.to_string()),
                &[
                    "An administrator can permit it: `towpath users set-role` or `towpath users grant`",
                    "See /account for who you are",
                ],
            ),
            _ => (sentence(&self.to_string()), &["Go back and try again; nothing was changed"]),
        }
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    shown(&first.into_iter().flatten().chain(chars).collect::<String>())
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = &self as &dyn std::error::Error, %status, "a page failed");
        }
        let (title, ways_out) = self.words(status);
        let page = ErrorPage { assets: Urls::get(), status: status.as_u16(), title, ways_out };
        match page.render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the error page cannot be rendered");
                status.into_response()
            }
        }
    }
}
