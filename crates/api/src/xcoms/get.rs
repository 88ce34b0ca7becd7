//! `GET .../xcomEntries/{key}`.

use axum::Json;
use axum::extract::{self, Path};

use super::XComReply;
use crate::query::Query;
use crate::{Error, Result, State, task_instances};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
    mut query: Query,
) -> Result<Json<XComReply>> {
    let map_index = task_instances::map_index(&mut query);
    let as_text = query.flag("stringify").unwrap_or(false);
    // Values are JSON as they are; there is nothing to deserialize.
    query.flag("deserialize");
    query.finish()?;
    let not_found = || Error::NotFound(format!("XCom entry with key: `{key}` not found"));
    let run = state.store.run(&dag_id, &run_id).await?.ok_or_else(not_found)?;
    let mut found = state.store.xcoms(run.key, &task_id, &key, Some(map_index)).await?;
    let mut xcom = found.pop().ok_or_else(not_found)?;
    let version = state.version(run.version_id).await?;
    let value = xcom.value.take();
    let value = if as_text { value.to_string().into() } else { value };
    Ok(Json(XComReply { value: Some(value), ..XComReply::new(xcom, &run, &version) }))
}
