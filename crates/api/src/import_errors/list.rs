//! `GET /importErrors`.

use axum::Json;
use axum::extract;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::query::Query;
use crate::versions::BUNDLE_NAME;
use crate::{Result, State, ids};

/// `ImportErrorCollectionResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct ImportErrorList {
    import_errors: Vec<ImportErrorReply>,
    total_entries: u64,
}

/// `ImportErrorResponse`.
#[derive(Debug, Serialize)]
struct ImportErrorReply {
    import_error_id: u32,
    timestamp: DateTime<Utc>,
    filename: String,
    bundle_name: Option<&'static str>,
    /// The diagnostics; there is no stack.
    stack_trace: String,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    mut query: Query,
) -> Result<Json<ImportErrorList>> {
    let window = query.window();
    let file = query.text("filename");
    query.finish()?;
    let mut errors = state.store.import_errors().await?;
    errors.retain(|error| file.as_ref().is_none_or(|file| *file == error.file));
    errors.sort_by(|a, b| a.file.cmp(&b.file));
    let total_entries = errors.len() as u64;
    let import_errors = window
        .of(errors)
        .into_iter()
        .map(|error| ImportErrorReply {
            import_error_id: ids::import_error(&error.file),
            timestamp: error.at,
            filename: error.file,
            bundle_name: Some(BUNDLE_NAME),
            stack_trace: error.message,
        })
        .collect();
    Ok(Json(ImportErrorList { import_errors, total_entries }))
}
