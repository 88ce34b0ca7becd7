//! `DELETE .../taskInstances/{task_id}`: only in a run that is over, since others count on it.

use axum::Json;
use axum::extract::{self, Path};
use serde_json::Value;

use crate::query::Query;
use crate::{Error, Result, State, dag_runs};

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    mut query: Query,
) -> Result<Json<Value>> {
    let map_index = super::map_index(&mut query);
    query.finish()?;
    remove(&state, &dag_id, &run_id, &task_id, map_index).await?;
    Ok(Json(Value::Null))
}

pub(super) async fn remove(state: &State, dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> Result<()> {
    let run = dag_runs::find(state, dag_id, run_id).await?;
    let instance = super::find(state, &run, task_id, map_index).await?;
    if state.store.delete_task_instance(&instance.key, state.clock.now()).await? {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "run `{run_id}` is not over, and others in it wait for task `{task_id}`; end the run or mark the task instead"
    )))
}
