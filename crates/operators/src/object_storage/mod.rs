//! Object stores (S3, Google Cloud Storage, Azure): what their URLs mean, and how connections open them.
//!
//! Data tasks and sensors use this. A store is opened with the credentials of a connection of Airflow's types `aws`,
//! `google_cloud_platform` and `wasb`, or with those of the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`, the role of the machine)
//! where no connection is named. No message holds a key.

mod check;
mod commit;
mod find;
mod open;
#[cfg(test)]
mod tests;
mod url;

pub(crate) use check::check;
pub use cloud_store as store;
pub use commit::{Commit, MARK};
pub use find::{Found, find, first};
pub use open::open;
pub use url::{Location, Scheme, is_url};

/// Variables of the environment that hold credentials of stores begin so.
pub const ENVIRONMENT: &[&str] = &["AWS_", "GOOGLE_", "AZURE_"];

/// Why an object store could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The thing, the place and the way out.
    pub message: String,
    /// Whether another try may go better.
    pub retry: bool,
}

impl Error {
    pub(super) fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: false }
    }

    /// What a store said about `url`.
    #[must_use]
    pub fn of_store(url: &str, error: &cloud_store::Error) -> Self {
        use cloud_store::Error as Told;
        let hint = "name a connection that may (`connection`), or set the credentials in the environment of the worker";
        let inner = causes(error);
        // Of listings only the text of the answer tells.
        let says = |words: &[&str]| words.iter().any(|word| inner.contains(word));
        let (text, retry) = match error {
            _ if says(&["NoSuchBucket", "ContainerNotFound"]) => (format!("`{url}`: there is no such bucket"), true),
            Told::Generic { .. } if says(&["403 Forbidden", "401 Unauthorized"]) => {
                (format!("`{url}`: the credentials are not accepted: {}; {hint}", message(&inner)), false)
            }
            Told::NotFound { .. } => (format!("`{url}` does not exist"), true),
            Told::PermissionDenied { .. } => (format!("`{url}`: the credentials may not do that; {hint}"), false),
            Told::Unauthenticated { .. } => (format!("`{url}`: the credentials are not accepted; {hint}"), false),
            Told::AlreadyExists { .. } => (format!("`{url}` is there already"), false),
            Told::InvalidPath { source } => (format!("`{url}` is no name of an object: {source}"), false),
            other => (format!("`{url}` cannot be used: {}{}", message(&inner), server(&other.to_string())), true),
        };
        Self { message: text, retry }
    }
}

/// What an answer says to people, where it is the XML of a store.
fn message(text: &str) -> &str {
    let of_tag = text.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    of_tag.map_or(text, |(message, _)| message).trim_end_matches('.')
}

/// The server that an error names, which may be another than people think.
fn server(error: &str) -> String {
    let url = error.find("http").and_then(|at| error[at..].split(|c: char| c.is_whitespace() || c == ')').next());
    let origin = url.and_then(|url| ::url::Url::parse(url).ok()).map(|url| url.origin().ascii_serialization());
    origin.map_or_else(String::new, |origin| format!(" (asked {origin})"))
}

/// The innermost reason of an error, which those around it only repeat with more words.
fn causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let inner = cause.to_string();
        if !inner.trim().is_empty() {
            text = inner;
        }
        next = cause.source();
    }
    text.replace('\n', " ")
}
