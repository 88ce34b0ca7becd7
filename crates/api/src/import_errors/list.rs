//! `GET /importErrors`.

use axum::Json;
use axum::extract::{self, Path};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_store::ImportError;

use crate::query::Query;
use crate::versions::BUNDLE_NAME;
use crate::{Error, Result, State, filter, ids, path};

/// `ImportErrorCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ImportErrorList {
    import_errors: Vec<ImportErrorReply>,
    total_entries: u64,
}

/// `ImportErrorResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ImportErrorReply {
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
    let order = query.order(&["id", "import_error_id", "filename", "timestamp", "stacktrace", "bundle_name"])?;
    let file = query.text("filename");
    let bundle = query.text("bundle_name");
    let patterns = filter::patterns(&mut query, "filename");
    query.finish()?;
    let mut errors = state.store.import_errors().await?;
    errors.retain(|error| file.as_ref().is_none_or(|file| *file == error.file));
    errors.retain(|error| patterns.iter().all(|pattern| pattern.fits(&error.file)));
    errors.retain(|_| bundle.as_ref().is_none_or(|name| name == BUNDLE_NAME));
    errors.sort_by(|a, b| a.file.cmp(&b.file));
    if let Some((name, descends)) = order.first() {
        if *name == "timestamp" {
            errors.sort_by_key(|error| error.at);
        }
        if *descends {
            errors.reverse();
        }
    }
    let total_entries = errors.len() as u64;
    let import_errors = window.of(errors).into_iter().map(ImportErrorReply::from).collect();
    Ok(Json(ImportErrorList { import_errors, total_entries }))
}

/// `GET /importErrors/{import_error_id}`.
pub(crate) async fn one(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<ImportErrorReply>> {
    query.finish()?;
    let id = path::whole("import_error_id", &id)?;
    let mut errors = state.store.import_errors().await?.into_iter();
    let found = errors.find(|error| i64::from(ids::import_error(&error.file)) == id);
    let missing = || Error::NotFound(format!("The ImportError with import_error_id: `{id}` was not found"));
    found.map(|error| Json(error.into())).ok_or_else(missing)
}

impl From<ImportError> for ImportErrorReply {
    fn from(error: ImportError) -> Self {
        Self {
            import_error_id: ids::import_error(&error.file),
            timestamp: error.at,
            filename: error.file,
            bundle_name: Some(BUNDLE_NAME),
            stack_trace: error.message,
        }
    }
}
