//! `GET .../taskInstances/{task_id}` and `.../{task_id}/{map_index}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{self, Path};

use super::{Context, TaskInstanceReply};
use crate::query::Query;
use crate::{Error, Result, State, dag_runs, path};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    query: Query,
) -> Result<Json<TaskInstanceReply>> {
    query.finish()?;
    one(&state, &dag_id, &run_id, &task_id, -1).await
}

pub(crate) async fn mapped(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
    query: Query,
) -> Result<Json<TaskInstanceReply>> {
    query.finish()?;
    one(&state, &dag_id, &run_id, &task_id, path::map_index(&map_index)?).await
}

async fn one(
    state: &State,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
    map_index: i32,
) -> Result<Json<TaskInstanceReply>> {
    let run = dag_runs::find(state, dag_id, run_id).await?;
    let record = match super::find(state, &run, task_id, map_index).await {
        Err(Error::NotFound(_)) if map_index < 0 && is_mapped(state, run.version_id, task_id).await? => {
            return Err(Error::NotFound("Task instance is mapped, add the map_index value to the URL".to_owned()));
        }
        found => found?,
    };
    let context = Arc::new(Context::of(state, record.version_id).await?);
    let reply = (record.key.clone(), Arc::clone(&context), context.reply(record));
    let replies = super::with_rendered(state, vec![reply]).await?;
    Ok(Json(replies.into_iter().next().expect("one reply for one task instance")))
}

async fn is_mapped(state: &State, version_id: i64, task_id: &str) -> Result<bool> {
    let dag = state.store.dag_of_version(version_id).await?;
    Ok(dag.task(task_id).is_some_and(|task| task.expand.is_some()))
}
