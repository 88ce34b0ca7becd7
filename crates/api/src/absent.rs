//! What Towpath does not have but clients ask for: lists that are well formed and empty.

use axum::Json;
use serde_json::{Value, json};

use crate::Result;
use crate::query::Query;

/// `GET /plugins`.
pub(crate) async fn plugins(mut query: Query) -> Result<Json<Value>> {
    query.window();
    query.finish()?;
    Ok(Json(json!({"plugins": [], "total_entries": 0})))
}

/// `GET /plugins/importErrors`.
pub(crate) async fn plugin_errors(query: Query) -> Result<Json<Value>> {
    query.finish()?;
    Ok(Json(json!({"import_errors": [], "total_entries": 0})))
}

/// `GET /providers`.
pub(crate) async fn providers(mut query: Query) -> Result<Json<Value>> {
    query.window();
    query.finish()?;
    Ok(Json(json!({"providers": [], "total_entries": 0})))
}
