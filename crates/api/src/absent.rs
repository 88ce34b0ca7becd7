//! What Towpath does not have but clients ask for: lists that are well formed and empty.

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use crate::query::Query;
use crate::{Error, Result, path};

/// `GET /assets/aliases`: an asset has one name here.
pub(crate) async fn asset_aliases(mut query: Query) -> Result<Json<Value>> {
    query.window();
    query.order(&["id", "name"])?;
    query.text("name_pattern");
    query.text("name_prefix_pattern");
    query.finish()?;
    Ok(Json(json!({"asset_aliases": [], "total_entries": 0})))
}

/// `GET /assets/aliases/{asset_alias_id}`.
pub(crate) async fn asset_alias(Path(asset_alias_id): Path<String>) -> Result<Json<Value>> {
    let asset_alias_id: i64 = path::whole("asset_alias_id", &asset_alias_id)?;
    Err(Error::NotFound(format!("The Asset Alias with ID: `{asset_alias_id}` was not found")))
}

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
