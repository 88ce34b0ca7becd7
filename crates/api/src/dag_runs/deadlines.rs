//! `GET /dags/{dag_id}/dagRuns/{run_id}/deadlines`, below `/api/towpath/v1`: Airflow tells deadlines to its own pages only.

use axum::Json;
use axum::extract::{self, Path};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_store::DeadlineRecord;

use super::find;
use crate::query::Query;
use crate::{Result, State};

/// The deadlines of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeadlineList {
    deadlines: Vec<Deadline>,
    total_entries: usize,
}

/// A deadline that a run has missed, or may miss yet: a run that succeeds in time drops it.
#[derive(Debug, Serialize, JsonSchema)]
struct Deadline {
    id: i64,
    /// As the DAG file calls it.
    name: Option<String>,
    deadline_time: DateTime<Utc>,
    missed: bool,
    /// When the scheduler found it missed.
    missed_at: Option<DateTime<Utc>>,
    /// `logical_date`, `queued_at`, `average_runtime` or `fixed`.
    reference_type: String,
    /// Seconds after the reference.
    interval: f64,
    created_at: DateTime<Utc>,
    dag_id: String,
    dag_run_id: String,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Result<Json<DeadlineList>> {
    query.finish()?;
    let run = find(&state, &dag_id, &run_id).await?;
    let found = state.store.deadlines_of_run(run.key).await?;
    let deadline = |it: DeadlineRecord| Deadline {
        id: it.id,
        name: it.name,
        deadline_time: it.deadline_time,
        missed: it.missed_at.is_some(),
        missed_at: it.missed_at,
        reference_type: it.reference,
        interval: it.interval_us as f64 / 1e6,
        created_at: it.created_at,
        dag_id: run.dag_id.clone(),
        dag_run_id: run.run_id.clone(),
    };
    let deadlines: Vec<Deadline> = found.into_iter().map(deadline).collect();
    Ok(Json(DeadlineList { total_entries: deadlines.len(), deadlines }))
}
