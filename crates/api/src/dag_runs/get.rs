//! `GET /dags/{dag_id}/dagRuns/{run_id}`.

use axum::Json;
use axum::extract::{self, Path};

use super::RunReply;
use crate::query::Query;
use crate::{Result, State};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Result<Json<RunReply>> {
    query.finish()?;
    let run = super::find(&state, &dag_id, &run_id).await?;
    Ok(Json(RunReply::read(&state, run).await?))
}
