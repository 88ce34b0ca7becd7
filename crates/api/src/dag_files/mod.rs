//! DAG files over the API: checked, read, and, where the server is told to take them (`dag_upload`), written.
//!
//! A file is written beside its place and moved there, so the scheduler sees the old one or the new one. What has errors
//! is refused. A path stays within the DAGs folder: no `..`, no hidden names, no links.

mod check;
mod place;

use std::path::Path as FilePath;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;

use self::check::Checked;
use self::place::Place;
use crate::query::Query;
use crate::{Error, Result, State};

/// One at a time: what is compared with `If-Match` is what is replaced.
static WRITING: Mutex<()> = Mutex::const_new(());
/// Files in a list.
const MOST_FILES: usize = 10_000;

/// A DAG file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FileReply {
    /// Below the DAGs folder.
    pub(super) path: String,
    pub(super) size_bytes: u64,
    pub(super) modified_at: Option<DateTime<Utc>>,
}

/// The DAG files.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FileList {
    dag_files: Vec<FileReply>,
    total_entries: usize,
}

/// A file that was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Written {
    path: String,
    /// What `If-Match` takes.
    etag: String,
    #[serde(flatten)]
    checked: Checked,
}

/// `GET /dagFiles`.
pub(crate) async fn list(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<FileList>> {
    let window = query.window();
    query.finish()?;
    let folder = state.dags_folder.clone();
    let files = blocking(move || place::list(&folder, MOST_FILES)).await??;
    Ok(Json(FileList { total_entries: files.len(), dag_files: window.of(files) }))
}

/// `POST /dagFiles/validate`: `path` is where the file would stand, which decides on the defaults that it gets.
pub(crate) async fn validate(
    extract::State(state): extract::State<State>,
    mut query: Query,
    body: Bytes,
) -> Result<Json<Checked>> {
    let path = query.text("path");
    query.finish()?;
    let place = Place::new(&state, path.as_deref().unwrap_or("checked.yaml"))?;
    Ok(Json(Checked::new(&state, &place, body, path.is_some()).await?))
}

/// `GET /dagFiles/{path}`.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(path): Path<String>,
    query: Query,
) -> Result<Response> {
    query.finish()?;
    let place = Place::new(&state, &path)?;
    let text = blocking(move || place.read()).await??.ok_or_else(|| missing(&path))?;
    let headers = [
        (header::ETAG, etag_header(&etag(&text))),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/yaml")),
    ];
    Ok((headers, text).into_response())
}

/// `PUT /dagFiles/{path}`.
pub(crate) async fn put(
    extract::State(state): extract::State<State>,
    Path(path): Path<String>,
    headers: HeaderMap,
    query: Query,
    body: Bytes,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1], Json<Written>)> {
    query.finish()?;
    is_on(&state)?;
    let place = Place::new(&state, &path)?;
    let checked = Checked::new(&state, &place, body.clone(), true).await?;
    if !checked.is_valid {
        return Err(Error::Broken {
            message: format!("`{path}` has errors and was not written"),
            diagnostics: serde_json::json!(checked.diagnostics),
        });
    }
    let _alone = WRITING.lock().await;
    let new = etag(&body);
    let is_new = blocking(move || -> Result<bool> {
        let before = place.read()?.map(|text| etag(&text));
        preconditions(&headers, before.as_deref())?;
        place.write(&body)?;
        Ok(before.is_none())
    })
    .await??;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::ETAG, etag_header(&new))], Json(Written { path, etag: new, checked })))
}

/// `DELETE /dagFiles/{path}`.
pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path(path): Path<String>,
    headers: HeaderMap,
    query: Query,
) -> Result<StatusCode> {
    query.finish()?;
    is_on(&state)?;
    let place = Place::new(&state, &path)?;
    let _alone = WRITING.lock().await;
    blocking(move || -> Result<()> {
        let before = place.read()?.map(|text| etag(&text));
        let before = before.ok_or_else(|| missing(&path))?;
        preconditions(&headers, Some(&before))?;
        place.remove()
    })
    .await??;
    Ok(StatusCode::NO_CONTENT)
}

fn is_on(state: &State) -> Result<()> {
    if state.takes_dag_files {
        return Ok(());
    }
    let reason = "writing DAG files is disabled in the API; the setting `dag_upload = true` lets it happen";
    Err(Error::Forbidden(reason.to_owned()))
}

fn missing(path: &str) -> Error {
    Error::NotFound(format!("there is no DAG file `{}`", path.escape_debug()))
}

/// Names the content of a file.
fn etag(text: &[u8]) -> String {
    blake3::hash(text).to_hex()[..32].to_owned()
}

fn etag_header(etag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{etag}\"")).expect("a hash in hexadecimal is a header")
}

/// Whether `If-Match` and `If-None-Match` allow to replace what has the ETag `before`.
fn preconditions(headers: &HeaderMap, before: Option<&str>) -> Result<()> {
    let names = |name: HeaderName| -> Option<Vec<String>> {
        let given = headers.get(name)?.to_str().ok()?;
        Some(given.split(',').map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned()).collect())
    };
    let fits = |tags: &[String]| before.is_some_and(|before| tags.iter().any(|tag| tag == "*" || tag == before));
    if names(header::IF_MATCH).is_some_and(|tags| !fits(&tags)) {
        let reason = "the file is not the one that `If-Match` names; read it again";
        return Err(Error::PreconditionFailed(reason.to_owned()));
    }
    if names(header::IF_NONE_MATCH).is_some_and(|tags| fits(&tags)) {
        return Err(Error::PreconditionFailed("the file is there already, which `If-None-Match` rules out".to_owned()));
    }
    Ok(())
}

/// Work on files, off the threads that answer.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Panic(error.to_string()))
}

/// An error of a file.
fn io(what: &str, path: &FilePath, error: &std::io::Error) -> Error {
    tracing::error!(path = %path.display(), "a DAG file cannot be {what}: {error}");
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            Error::Forbidden(format!("the server may not write into its DAGs folder, so the file cannot be {what}"))
        }
        _ => Error::Panic(format!("a DAG file cannot be {what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_hold() {
        for (name, value, before, expected) in [
            (header::IF_MATCH, "\"a\"", Some("a"), true),
            (header::IF_MATCH, "\"b\", \"a\"", Some("a"), true),
            (header::IF_MATCH, "\"b\"", Some("a"), false),
            (header::IF_MATCH, "*", Some("a"), true),
            (header::IF_MATCH, "*", None, false),
            (header::IF_NONE_MATCH, "*", None, true),
            (header::IF_NONE_MATCH, "*", Some("a"), false),
            (header::IF_NONE_MATCH, "\"b\"", Some("a"), true),
            (header::ACCEPT, "*/*", Some("a"), true),
        ] {
            let headers = [(name.clone(), HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(preconditions(&headers, before).is_ok(), expected, "{name} {value} {before:?}");
        }
    }
}
