//! DAG runs.

pub(crate) mod bulk;
pub(crate) mod clear;
pub(crate) mod deadlines;
pub(crate) mod delete;
pub(crate) mod get;
mod idempotency;
pub(crate) mod list;
pub(crate) mod patch;
pub(crate) mod trigger;
pub(crate) mod wait;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::RunState;
use towpath_store::RunRecord;

use crate::versions::Version;
use crate::{Error, Result, State};

/// `DAGRunResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct RunReply {
    dag_run_id: String,
    dag_id: String,
    logical_date: Option<DateTime<Utc>>,
    queued_at: Option<DateTime<Utc>>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    /// Seconds, once it is over.
    duration: Option<f64>,
    data_interval_start: Option<DateTime<Utc>>,
    data_interval_end: Option<DateTime<Utc>>,
    run_after: DateTime<Utc>,
    last_scheduling_decision: Option<DateTime<Utc>>,
    run_type: RunType,
    state: RunState,
    triggered_by: Option<TriggeredBy>,
    triggering_user_name: Option<String>,
    conf: Option<Map<String, Value>>,
    note: Option<String>,
    dag_versions: [Arc<Version>; 1],
    bundle_version: Option<String>,
    dag_display_name: String,
    partition_key: Option<String>,
    partition_date: Option<DateTime<Utc>>,
}

impl RunReply {
    pub(crate) async fn read(state: &State, run: RunRecord) -> Result<Self> {
        let version = state.version(run.version_id).await?;
        Ok(Self::new(run, version))
    }

    fn new(run: RunRecord, version: Arc<Version>) -> Self {
        Self {
            dag_run_id: run.run_id,
            dag_id: run.dag_id,
            logical_date: run.logical_date,
            queued_at: Some(run.queued_at),
            start_date: run.start_date,
            end_date: run.end_date,
            duration: seconds(run.start_date, run.end_date),
            data_interval_start: run.data_interval.map(|interval| interval.start),
            data_interval_end: run.data_interval.map(|interval| interval.end),
            run_after: run.run_after,
            last_scheduling_decision: None,
            run_type: run.run_type,
            state: run.state,
            triggered_by: Some(run.triggered_by),
            triggering_user_name: run.triggering_user,
            conf: Some(run.conf),
            note: run.note,
            dag_display_name: version.dag_display_name.clone(),
            dag_versions: [version],
            bundle_version: None,
            partition_key: None,
            partition_date: None,
        }
    }
}

/// Seconds between two times, where both are there.
pub(crate) fn seconds(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Option<f64> {
    let span: TimeDelta = to? - from?;
    span.num_microseconds().map(|us| us as f64 / 1e6)
}

/// A run by its id.
///
/// # Errors
/// 404, also for the wildcard `~`, which only lists take.
pub(crate) async fn find(state: &State, dag_id: &str, run_id: &str) -> Result<RunRecord> {
    let run = state.store.run(dag_id, run_id).await?;
    run.ok_or_else(|| not_found(dag_id, run_id))
}

fn not_found(dag_id: &str, run_id: &str) -> Error {
    Error::NotFound(format!("The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"))
}
