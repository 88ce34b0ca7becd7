//! One attempt of a task, as its operator sees it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use towpath_model::asset::Asset;
use towpath_model::branch::Skips;
use towpath_model::connection::Connection;
use towpath_model::dag::Task;
use towpath_model::run::RunType;
use towpath_model::state::TaskState;
use towpath_model::timetable::DataInterval;

use crate::assets::AssetEvent;
use crate::log::TaskLog;
use crate::process::Supervisor;
use crate::runs::{DagStatus, RunOrder, RunRef, RunStatus, Tasks, Triggered};

/// The key under which a task's result is pushed.
pub const RETURN_VALUE: &str = "return_value";

/// Something that a task can do.
#[async_trait]
pub trait Operator: Send + Sync + std::fmt::Debug {
    /// Runs one attempt to its end. Failures are [`Outcome::Failed`], never panics.
    async fn execute(&self, attempt: &Attempt) -> Outcome;
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It ended well; `value` is its XCom `return_value`.
    Success { value: Option<Value> },
    /// It ended well and rules out some of what is behind it.
    Branch { value: Option<Value>, skips: Skips },
    /// It asked to be skipped.
    Skipped { reason: String },
    /// It ended badly. `retry` is false where another try is pointless (Airflow's `AirflowFailException`).
    Failed { error: String, retry: bool },
    /// It wants to be called again, at `at`, without using up a try.
    Reschedule { at: DateTime<Utc> },
}

/// Why an operator written here could not do its work, for `?`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: String,
    /// Whether another try may go better.
    pub(crate) retry: bool,
}

impl Failure {
    /// Something in the task or a connection is wrong, and stays so.
    pub(crate) fn lasting(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry: false }
    }

    /// Another try may go better.
    pub(crate) fn passing(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry: true }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed { error: failure.error, retry: failure.retry }
    }
}

/// Why an attempt was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, Serialize, Deserialize)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// `execution_timeout` has passed.
    Timeout,
    /// A user cleared, marked or cancelled it.
    Cancelled,
    /// The worker shuts down and its grace period is over.
    Shutdown,
    /// The store says that this attempt is not the current one any more.
    Lost,
}

/// What templates and Python code can know about the attempt: plain values, sent to children as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Context {
    pub dag_id: String,
    pub dag_description: Option<String>,
    pub dag_tags: Vec<String>,
    pub run_id: String,
    pub run_type: RunType,
    /// When the run was to run.
    pub run_after: DateTime<Utc>,
    pub run_start_date: Option<DateTime<Utc>>,
    pub logical_date: Option<DateTime<Utc>>,
    pub data_interval: Option<DataInterval>,
    pub conf: Map<String, Value>,
    /// Params of DAG and task, resolved against `conf`.
    pub params: Map<String, Value>,
    /// The element of its mapped task group, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Map<String, Value>>,
    pub task_id: String,
    /// -1 for a task that is not mapped.
    pub map_index: i32,
    /// 1 for the first try.
    pub try_number: u32,
    /// Tries after which no other follows.
    pub max_tries: u32,
    /// When this try was started for the first time.
    pub start_date: DateTime<Utc>,
    /// The try goes on: it was rescheduled, or given back by its worker.
    #[serde(default)]
    pub is_resumed: bool,
    /// The DAG's time zone.
    #[serde(default)]
    pub timezone: Tz,
    pub owner: String,
    pub operator: String,
    pub queue: String,
    pub pool: String,
    pub priority_weight: i64,
    pub hostname: String,
    /// Interval and start of the newest successful run before this one.
    pub prev_data_interval_success: Option<DataInterval>,
    pub prev_start_date_success: Option<DateTime<Utc>>,
    /// When the schedule's next run is due; known to `latest_only` alone.
    #[serde(default)]
    pub next_run_after: Option<DateTime<Utc>>,
    /// What the task reads and what it updates.
    #[serde(default)]
    pub inlets: Vec<Asset>,
    #[serde(default)]
    pub outlets: Vec<Asset>,
    /// The text of rendered templates keeps native types (`render_template_as_native_obj`).
    pub native_templates: bool,
}

/// Which XComs to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XComQuery {
    /// `None`: the attempt's own DAG.
    #[serde(default)]
    pub dag_id: Option<String>,
    /// `None`: the attempt's own run.
    #[serde(default)]
    pub run_id: Option<String>,
    pub task_id: String,
    pub key: String,
    /// `None`: all; the values then come in the order of map index.
    #[serde(default)]
    pub map_index: Option<i32>,
}

/// What tells the loads of a run from those of others that write to the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadScope {
    /// The installation: two of them may have DAGs and runs of the same names.
    pub installation: String,
    /// The run in it; another one for a run that was deleted and made anew under its id.
    pub run_key: i64,
}

/// A service that could not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(pub String);

/// What an attempt may ask of the rest of Towpath while it runs.
#[async_trait]
pub trait Services: Send + Sync + std::fmt::Debug {
    /// The XComs that fit `query`, by map index; empty where there are none.
    async fn xcoms(&self, query: &XComQuery) -> Result<Vec<Value>, ServiceError>;
    /// A variable's text.
    async fn variable(&self, key: &str) -> Result<Option<String>, ServiceError>;
    /// Sets (`Some`) or deletes (`None`) a variable.
    async fn set_variable(&self, key: &str, value: Option<&str>) -> Result<(), ServiceError>;
    /// A connection with its password.
    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, ServiceError>;
    /// A DAG; `None` where it does not exist or its file is gone.
    async fn dag(&self, dag_id: &str) -> Result<Option<DagStatus>, ServiceError>;
    /// A run of any DAG.
    async fn run(&self, dag_id: &str, which: &RunRef) -> Result<Option<RunStatus>, ServiceError>;
    /// The states of task instances of a run, by task id; those of tasks that it does not have are left out.
    async fn task_states(&self, run: &RunStatus, tasks: &Tasks) -> Result<Vec<(String, TaskState)>, ServiceError>;
    /// Starts a run, unless it exists.
    async fn trigger_run(&self, order: &RunOrder) -> Result<Triggered, ServiceError>;
    /// Makes a run that exists run again as a whole; it keeps who asked as its triggering user.
    async fn reset_run(&self, run: &RunStatus, origin: &str) -> Result<(), ServiceError>;
    /// How the earlier tries of this task instance ended, by the number of the try.
    async fn past_tries(&self) -> Result<Vec<(u32, TaskState)>, ServiceError>;
    /// What tells the loads of this run from those of all others; `None` where nobody records how the task ends.
    async fn load_scope(&self) -> Result<Option<LoadScope>, ServiceError> {
        Ok(None)
    }
    /// The events that the run was started for, oldest first.
    async fn triggering_asset_events(&self) -> Result<Vec<AssetEvent>, ServiceError> {
        Ok(Vec::new())
    }
    /// The newest events of the asset with that name or URI, oldest first.
    async fn asset_events(&self, asset: &str) -> Result<Vec<AssetEvent>, ServiceError> {
        let _ = asset;
        Ok(Vec::new())
    }
}

/// What processes have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time of all of them together.
    pub cpu: Duration,
    /// The largest memory of any of them; 0 where it is not known, because it was less than this process's own.
    pub peak_bytes: u64,
}

/// One attempt of a task.
#[derive(Debug)]
pub struct Attempt {
    pub context: Context,
    /// The task as the DAG file has it.
    pub task: Task,
    /// The operator's arguments, rendered, under their canonical names.
    pub args: Map<String, Value>,
    pub services: Arc<dyn Services>,
    pub log: TaskLog,
    /// Starts processes and ends their groups, also when this worker dies.
    pub supervisor: Arc<Supervisor>,
    /// Cancelled when the attempt must end.
    pub stop: CancellationToken,
    /// The folder of the DAG file: relative paths start here, and Python finds modules here.
    pub dag_folder: PathBuf,
    /// Where relative data paths of DAG files start: the folder that `towpath` was started in.
    pub project_folder: PathBuf,
    /// Whether a task is mapped over the rows of the data set that this one leaves.
    pub rows_are_expanded: bool,
    /// A fresh folder of this attempt, removed after it; created by operators that
    /// start a process, through [`crate::process::WorkFolder`].
    pub scratch: PathBuf,
    pushed: Mutex<Map<String, Value>>,
    /// What the task's code tells with the update of its outlets, by the name of the asset.
    event_extra: Mutex<Map<String, Value>>,
    /// So many paths for folders have been given out.
    folders: AtomicU32,
    /// What its processes have used so far.
    usage: Mutex<Option<Usage>>,
}

impl Attempt {
    /// An attempt with nothing pushed.
    #[expect(clippy::too_many_arguments, reason = "a constructor of a record; each is a field")]
    #[must_use]
    pub fn new(
        context: Context,
        task: Task,
        args: Map<String, Value>,
        services: Arc<dyn Services>,
        log: TaskLog,
        supervisor: Arc<Supervisor>,
        stop: CancellationToken,
        dag_folder: PathBuf,
        project_folder: PathBuf,
        scratch: PathBuf,
    ) -> Self {
        Self {
            context,
            task,
            args,
            services,
            log,
            supervisor,
            stop,
            dag_folder,
            project_folder,
            rows_are_expanded: false,
            scratch,
            pushed: Mutex::new(Map::new()),
            event_extra: Mutex::new(Map::new()),
            folders: AtomicU32::new(0),
            usage: Mutex::new(None),
        }
    }

    /// Where the next process may have its folder: [`Attempt::scratch`] the first time, and then paths beside it, since what is
    /// left in a folder is removed in the background.
    #[must_use]
    pub fn next_scratch(&self) -> PathBuf {
        match self.folders.fetch_add(1, Ordering::Relaxed) {
            0 => self.scratch.clone(),
            count => {
                let mut path = self.scratch.clone().into_os_string();
                path.push(format!("-{count}"));
                path.into()
            }
        }
    }

    /// Notes what a process of it has used.
    pub fn spent(&self, used: Usage) {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let before = usage.unwrap_or_default();
        *usage = Some(Usage { cpu: before.cpu + used.cpu, peak_bytes: before.peak_bytes.max(used.peak_bytes) });
    }

    /// What its processes have used so far; [`None`] where it has had none.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an XCom for the report; a later push of the same key replaces it.
    pub fn push_xcom(&self, key: impl Into<String>, value: Value) {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into(), value);
    }

    /// Keeps what is told with the update of an outlet.
    pub fn set_event_extra(&self, asset: String, extra: Map<String, Value>) {
        self.event_extra.lock().unwrap_or_else(PoisonError::into_inner).insert(asset, Value::Object(extra));
    }

    /// What is told with the updates of outlets, by the name of the asset.
    #[must_use]
    pub fn take_event_extra(&self) -> Map<String, Value> {
        std::mem::take(&mut self.event_extra.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An XCom that this attempt itself has pushed.
    #[must_use]
    pub fn own_xcom(&self, key: &str) -> Option<Value> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Everything pushed so far.
    #[must_use]
    pub fn take_xcoms(&self) -> Map<String, Value> {
        std::mem::take(&mut self.pushed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// XComs by `query`, the attempt's own pushes included.
    ///
    /// # Errors
    /// [`ServiceError`] when the store does not answer.
    pub async fn pull_xcoms(&self, query: &XComQuery) -> Result<Vec<Value>, ServiceError> {
        let own = query.task_id == self.context.task_id
            && query.dag_id.as_ref().is_none_or(|d| *d == self.context.dag_id)
            && query.run_id.as_ref().is_none_or(|r| *r == self.context.run_id)
            && query.map_index.is_none_or(|m| m == self.context.map_index);
        if own && let Some(value) = self.own_xcom(&query.key) {
            return Ok(vec![value]);
        }
        self.services.xcoms(query).await
    }
}
