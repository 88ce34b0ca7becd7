//! `GET .../taskInstances/{task_id}`.

use axum::Json;
use axum::extract::{self, Path};

use super::{Context, TaskInstanceReply};
use crate::query::Query;
use crate::{Result, State, dag_runs};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    query: Query,
) -> Result<Json<TaskInstanceReply>> {
    query.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let record = super::find(&state, &run, &task_id, -1).await?;
    let context = Context::of(&state, record.version_id).await?;
    Ok(Json(context.reply(record)))
}
