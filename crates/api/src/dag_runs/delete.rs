//! `DELETE /dags/{dag_id}/dagRuns/{run_id}`.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use towpath_store::Deletion;

use crate::query::Query;
use crate::{Error, Result, State};

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Result<StatusCode> {
    query.finish()?;
    remove(&state, &dag_id, &run_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove(state: &State, dag_id: &str, run_id: &str) -> Result<()> {
    let run = super::find(state, dag_id, run_id).await?;
    match state.store.delete_run(run.key, false, state.clock.now()).await? {
        Deletion::Deleted => Ok(()),
        Deletion::Running => Err(Error::Conflict(format!(
            "The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` cannot be deleted in running state"
        ))),
        Deletion::Missing => Err(super::not_found(dag_id, run_id)),
    }
}
