//! `GET /dags/{dag_id}/tasks/{task_id}`.

use axum::Json;
use axum::extract::{self, Path};

use super::TaskReply;
use crate::query::Query;
use crate::{Error, Result, State, dags};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, task_id)): Path<(String, String)>,
    query: Query,
) -> Result<Json<TaskReply>> {
    query.finish()?;
    let record = dags::find(&state, &dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let task = dag.task(&task_id).ok_or_else(|| Error::NotFound(format!("Task with id {task_id} was not found")))?;
    Ok(Json(TaskReply::new(&dag, task)))
}
