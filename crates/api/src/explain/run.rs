//! `GET /dags/{dag_id}/dagRuns/{run_id}/explain`.

use axum::Json;
use axum::extract::{self, Path};
use towpath_store::Explanation;

use crate::query::Query;
use crate::{Result, State, dag_runs};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Result<Json<Explanation>> {
    query.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    Ok(Json(state.store.explain_run(&run, state.clock.now()).await?))
}
