//! `PUT /parseDagFile/{file_token}`. The scheduler reads a file as soon as it changes, so there is
//! nothing to do but to say whether the file is one of its.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use towpath_store::DagFilter;

use crate::query::Query;
use crate::{Error, Result, State};

pub(crate) async fn put(
    extract::State(state): extract::State<State>,
    Path(token): Path<String>,
    query: Query,
) -> Result<(StatusCode, axum::Json<Value>)> {
    query.finish()?;
    let unknown = || Error::NotFound("File not found".to_owned());
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&token).map_err(|_| unknown())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| unknown())?;
    let file = token["relative_fileloc"].as_str().ok_or_else(unknown)?;
    let all = DagFilter { limit: i32::MAX as u32, include_stale: true, ..DagFilter::default() };
    if !state.store.dags(&all).await?.items.iter().any(|record| record.file == file) {
        return Err(unknown());
    }
    Ok((StatusCode::CREATED, axum::Json(Value::Null)))
}
