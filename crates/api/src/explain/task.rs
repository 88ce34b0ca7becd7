//! `GET /dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/explain`.

use axum::Json;
use axum::extract::{self, Path};
use towpath_store::Explanation;

use crate::query::Query;
use crate::{Result, State, dag_runs, task_instances};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    mut query: Query,
) -> Result<Json<Explanation>> {
    let map_index = task_instances::map_index(&mut query);
    query.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let instance = task_instances::find(&state, &run, &task_id, map_index).await?;
    let key = instance.key;
    Ok(Json(state.store.explain_task(&run, &key.task_id, key.map_index, state.clock.now()).await?))
}
