//! DAGs.

pub(crate) mod delete;
pub(crate) mod details;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod parse;
pub(crate) mod patch;
mod select;
pub(crate) mod source;
pub(crate) mod stats;
pub(crate) mod tags;
pub(crate) mod versions;
pub(crate) mod warnings;

use std::collections::HashSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use towpath_model::dag::Dag;
use towpath_model::timetable::Schedule;
use towpath_store::DagRecord;

use crate::versions::BUNDLE_NAME;
use crate::{Error, Result, State};

/// `DAGResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct DagReply {
    dag_id: String,
    dag_display_name: String,
    is_paused: bool,
    is_stale: bool,
    last_parsed_time: Option<DateTime<Utc>>,
    last_parse_duration: Option<f64>,
    last_expired: Option<DateTime<Utc>>,
    bundle_name: Option<&'static str>,
    bundle_version: Option<String>,
    relative_fileloc: Option<String>,
    fileloc: String,
    description: Option<String>,
    timetable_summary: Option<String>,
    timetable_description: Option<String>,
    timetable_partitioned: bool,
    timetable_periodic: bool,
    tags: Vec<Tag>,
    max_active_tasks: u32,
    max_active_runs: Option<u32>,
    max_consecutive_failed_dag_runs: u32,
    has_task_concurrency_limits: bool,
    has_import_errors: bool,
    next_dagrun_logical_date: Option<DateTime<Utc>>,
    next_dagrun_data_interval_start: Option<DateTime<Utc>>,
    next_dagrun_data_interval_end: Option<DateTime<Utc>>,
    next_dagrun_run_after: Option<DateTime<Utc>>,
    /// Null: all of them.
    allowed_run_types: Option<Vec<&'static str>>,
    owners: Vec<String>,
    is_backfillable: bool,
    file_token: String,
}

/// `DagTagResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Tag {
    name: String,
    dag_id: String,
    dag_display_name: String,
}

impl DagReply {
    /// The reply about one DAG; `broken` are the files that cannot be read at the moment.
    pub(crate) async fn read(state: &State, mut record: DagRecord, broken: &HashSet<String>) -> Result<Self> {
        let dag = state.store.dag_of_version(record.version_id).await?;
        if record.is_paused && record.is_active && record.next_run.is_none() {
            record.next_run = towpath_scheduler::preview::unplanned(&dag, state.clock.now());
        }
        let fileloc = state.dags_folder.join(&record.file).to_string_lossy().into_owned();
        let has_import_errors = broken.contains(&record.file);
        Ok(Self::new(record, &dag, fileloc, has_import_errors))
    }

    fn new(record: DagRecord, dag: &Dag, fileloc: String, has_import_errors: bool) -> Self {
        let spec = dag.spec();
        let name = spec.display_name.clone().unwrap_or_else(|| record.dag_id.clone());
        let tag = |tag| Tag { name: tag, dag_id: record.dag_id.clone(), dag_display_name: name.clone() };
        let next = record.next_run;
        let token = json!({"bundle_name": BUNDLE_NAME, "relative_fileloc": record.file});
        Self {
            tags: record.tags.into_iter().map(tag).collect(),
            dag_display_name: name,
            is_paused: record.is_paused,
            is_stale: !record.is_active,
            last_parsed_time: Some(record.last_parsed_at),
            last_parse_duration: None,
            last_expired: None,
            bundle_name: Some(BUNDLE_NAME),
            bundle_version: None,
            relative_fileloc: Some(record.file),
            fileloc,
            description: record.description,
            timetable_summary: (spec.schedule.is_scheduled() || spec.asset_schedule.is_some())
                .then(|| spec.schedule_summary()),
            timetable_description: Some(spec.schedule_words()),
            timetable_partitioned: false,
            timetable_periodic: is_periodic(&spec.schedule),
            max_active_tasks: spec.max_active_tasks,
            max_active_runs: Some(record.max_active_runs),
            max_consecutive_failed_dag_runs: 0,
            has_task_concurrency_limits: false,
            has_import_errors,
            next_dagrun_logical_date: next.map(|run| run.logical_date),
            next_dagrun_data_interval_start: next.map(|run| run.data_interval.start),
            next_dagrun_data_interval_end: next.map(|run| run.data_interval.end),
            next_dagrun_run_after: next.map(|run| run.run_after),
            allowed_run_types: None,
            owners: record.owners,
            is_backfillable: is_periodic(&spec.schedule),
            file_token: BASE64_URL_SAFE_NO_PAD.encode(token.to_string()),
            dag_id: record.dag_id,
        }
    }
}

/// Whether it has points in time of its own, so that a backfill can find them.
fn is_periodic(schedule: &Schedule) -> bool {
    match schedule {
        Schedule::Cron { .. } | Schedule::Interval { .. } => true,
        Schedule::Never | Schedule::Once | Schedule::Continuous => false,
    }
}

/// The files that cannot be read at the moment.
pub(crate) async fn broken_files(state: &State) -> Result<HashSet<String>> {
    Ok(state.store.import_errors().await?.into_iter().map(|error| error.file).collect())
}

/// A DAG by its id.
///
/// # Errors
/// 404.
pub(crate) async fn find(state: &State, dag_id: &str) -> Result<DagRecord> {
    let record = state.store.dag(dag_id).await?;
    record.ok_or_else(|| Error::NotFound(format!("The Dag with ID: `{dag_id}` was not found")))
}
