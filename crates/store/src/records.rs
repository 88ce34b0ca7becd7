//! Rows as the rest of Towpath sees them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::{RunState, TaskState};
use towpath_model::timetable::{DataInterval, DueRun};
use towpath_model::trigger_rule::UpstreamCounts;

/// A DAG.
#[derive(Debug, Clone, PartialEq)]
pub struct DagRecord {
    pub dag_id: String,
    /// Path of its file, relative to the DAGs folder.
    pub file: String,
    pub is_paused: bool,
    /// Its file is there and defines it. A stale DAG keeps its history and runs no more.
    pub is_active: bool,
    pub version_id: i64,
    pub version_number: i32,
    /// What lists show, taken from the current version.
    pub description: Option<String>,
    pub owners: Vec<String>,
    pub tags: Vec<String>,
    pub schedule: String,
    pub max_active_runs: u32,
    /// The next run that the scheduler will create.
    pub next_run: Option<DueRun>,
    pub last_parsed_at: DateTime<Utc>,
}

/// One version of a DAG.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRecord {
    pub id: i64,
    pub dag_id: String,
    /// 1 for the first.
    pub number: i32,
    pub hash: String,
    pub file: String,
    /// The text of the file that it came from.
    pub source: String,
    pub created_at: DateTime<Utc>,
}

/// A file that could not be read; its DAGs go on in their last good version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportError {
    pub file: String,
    /// The diagnostics, as text.
    pub message: String,
    pub at: DateTime<Utc>,
}

/// A DAG run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its key in the store.
    pub key: i64,
    pub dag_id: String,
    pub run_id: String,
    pub run_type: RunType,
    pub state: RunState,
    pub logical_date: Option<DateTime<Utc>>,
    pub data_interval: Option<DataInterval>,
    pub run_after: DateTime<Utc>,
    pub queued_at: DateTime<Utc>,
    pub start_date: Option<DateTime<Utc>>,
    pub end_date: Option<DateTime<Utc>>,
    pub conf: Map<String, Value>,
    pub note: Option<String>,
    pub triggered_by: TriggeredBy,
    pub triggering_user: Option<String>,
    pub version_id: i64,
    pub version_number: i32,
    /// All its tasks go to this queue instead of their own (`towpath run`).
    pub queue: Option<String>,
}

/// Which task instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskKey {
    /// [`RunRecord::key`].
    pub run_key: i64,
    pub task_id: String,
    /// -1 for a task that is not mapped.
    pub map_index: i32,
}

/// A task instance in its current (or last) try.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskInstanceRecord {
    pub key: TaskKey,
    pub dag_id: String,
    pub run_id: String,
    pub logical_date: Option<DateTime<Utc>>,
    pub run_after: DateTime<Utc>,
    pub version_id: i64,
    pub version_number: i32,
    pub state: TaskState,
    /// 0 before the first try.
    pub try_number: u32,
    pub max_tries: u32,
    pub queued_at: Option<DateTime<Utc>>,
    pub start_date: Option<DateTime<Utc>>,
    pub end_date: Option<DateTime<Utc>>,
    /// When a waiting one goes on (`up_for_retry`, `up_for_reschedule`).
    pub available_at: Option<DateTime<Utc>>,
    pub hostname: Option<String>,
    pub pid: Option<u32>,
    pub pool: String,
    pub pool_slots: u32,
    pub queue: String,
    pub priority_weight: i64,
    pub upstream: UpstreamCounts,
    /// Whether it waits for other runs or instances of its task ([`towpath_model::dag::Gates`]).
    pub at_gate: bool,
    /// Why it ended as it did, or what keeps it waiting.
    pub note: Option<String>,
    /// What `map_index_template` made of its last try.
    pub rendered_map_index: Option<String>,
}

impl TaskInstanceRecord {
    /// Which instance of a mapped task it is, for people: `3`, or `3: EV` where it has a name.
    #[must_use]
    pub fn shown_index(&self) -> Option<String> {
        let index = (self.key.map_index >= 0).then_some(self.key.map_index)?;
        Some(match &self.rendered_map_index {
            Some(name) => format!("{index}: {name}"),
            None => index.to_string(),
        })
    }
}

/// A try that is over and was followed by another.
#[derive(Debug, Clone, PartialEq)]
pub struct TryRecord {
    pub key: TaskKey,
    pub try_number: u32,
    pub state: TaskState,
    pub queued_at: Option<DateTime<Utc>>,
    pub start_date: Option<DateTime<Utc>>,
    pub end_date: Option<DateTime<Utc>>,
    pub hostname: Option<String>,
    pub pid: Option<u32>,
    pub note: Option<String>,
    /// What its processes have used, once it is over.
    pub usage: Option<crate::evidence::Usage>,
}

/// Which runs to list; every `Some` or non-empty field narrows it.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub dag_id: Option<String>,
    pub states: Vec<RunState>,
    pub run_type: Option<RunType>,
    pub logical_date_gte: Option<DateTime<Utc>>,
    pub logical_date_lte: Option<DateTime<Utc>>,
    /// Newest first (by `run_after`, then key) instead of oldest first.
    pub newest_first: bool,
    /// Only those of these DAGs: what the caller may see. `None` for all.
    pub among: Option<Vec<String>>,
    pub limit: u32,
    pub offset: u32,
}

/// Which DAGs to list.
#[derive(Debug, Clone, Default)]
pub struct DagFilter {
    /// Part of the id, case-insensitive.
    pub id_contains: Option<String>,
    pub paused: Option<bool>,
    /// Also those whose file is gone.
    pub include_stale: bool,
    /// Only these: what the caller may see. `None` for all.
    pub among: Option<Vec<String>>,
    pub limit: u32,
    pub offset: u32,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: u64,
}

/// One XCom.
#[derive(Debug, Clone, PartialEq)]
pub struct XComRecord {
    pub key: String,
    pub task_id: String,
    pub map_index: i32,
    pub value: Value,
    pub at: DateTime<Utc>,
}

/// A pool: slots that tasks share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRecord {
    pub name: String,
    pub slots: u32,
    pub description: Option<String>,
    /// Slots of its queued and running task instances, counted now.
    pub used: u32,
}

/// What a [`JobRecord`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, Serialize)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum JobType {
    Scheduler,
    Worker,
}

/// How a [`JobRecord`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, Serialize)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Running,
    /// It said goodbye.
    Ended,
    /// It stopped renewing its lease; its attempts were taken from it.
    Lost,
}

/// A new scheduler or worker process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    pub job_type: JobType,
    pub hostname: String,
    pub pid: u32,
    /// Tells processes of one machine apart across restarts and reuse of pids: boot id and start time.
    pub process_mark: String,
    /// Queues that a worker serves.
    pub queues: Vec<String>,
    /// Attempts that a worker runs at once.
    pub slots: u32,
}

/// A scheduler or worker process.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    pub id: i64,
    pub job: NewJob,
    pub state: JobState,
    pub started_at: DateTime<Utc>,
    pub heartbeat_at: DateTime<Utc>,
    /// When it counts as lost unless it renews.
    pub lease_until: DateTime<Utc>,
}

/// A task instance that a worker has claimed, with all it needs to run it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedTask {
    pub key: TaskKey,
    /// Names this attempt in every report about it.
    pub attempt: i64,
    pub try_number: u32,
    pub max_tries: u32,
    pub run: std::sync::Arc<RunRecord>,
    /// Where the DAG version of the run was last seen, relative to the DAGs folder.
    pub file: std::sync::Arc<str>,
    /// The arguments that make this instance of a mapped task different from the others.
    pub element: Option<serde_json::Map<String, Value>>,
    /// When this try was claimed for the first time. A try that is rescheduled or given back is claimed again.
    pub start_date: DateTime<Utc>,
    /// It has been claimed before.
    pub is_resumed: bool,
    /// The number of the next chunk of its log.
    pub log_seq: u32,
}

/// An attempt that its worker should end, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopOrder {
    pub key: TaskKey,
    pub attempt: i64,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableRecord {
    pub key: String,
    pub value: String,
    pub description: Option<String>,
}
