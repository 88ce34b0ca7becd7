//! `GET .../xcomEntries`: those of one task, without their values.

use axum::Json;
use axum::extract::{self, Path};
use serde::Serialize;

use super::XComReply;
use crate::query::Query;
use crate::{Error, Result, State, dag_runs};

/// `XComCollectionResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct XComList {
    xcom_entries: Vec<XComReply>,
    total_entries: u64,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    mut query: Query,
) -> Result<Json<XComList>> {
    let window = query.window();
    let key = query.text("xcom_key");
    let map_index = query.whole("map_index", -1).or(query.whole("map_index_filter", -1));
    query.finish()?;
    if task_id == "~" {
        return Err(Error::BadRequest("this server lists the XComs of one task; name it instead of `~`".to_owned()));
    }
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let mut instances = state.store.task_instances(run.key).await?;
    instances.retain(|instance| instance.key.task_id == task_id);
    if instances.is_empty() {
        return Err(Error::NotFound(format!("Task with ID: `{task_id}` not found in dag: `{dag_id}`")));
    }
    let mut xcoms = Vec::new();
    for instance in
        instances.into_iter().filter(|it| map_index.is_none_or(|index| i64::from(it.key.map_index) == index))
    {
        xcoms.extend(state.store.task_xcoms(&instance.key).await?);
    }
    xcoms.retain(|xcom| key.as_ref().is_none_or(|key| *key == xcom.key));
    xcoms.sort_by(|a, b| (a.map_index, &a.key).cmp(&(b.map_index, &b.key)));
    let total_entries = xcoms.len() as u64;
    let version = state.version(run.version_id).await?;
    let xcom_entries = window.of(xcoms).into_iter().map(|xcom| XComReply::new(xcom, &run, &version)).collect();
    Ok(Json(XComList { xcom_entries, total_entries }))
}
