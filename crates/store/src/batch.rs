//! Rows that go to and come from the statements of the engine; batches travel as JSON.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;
pub(crate) use towpath_model::limits::Limit;
use towpath_model::state::TaskState;
use towpath_model::trigger_rule::UpstreamCounts;

use crate::records::TaskKey;

/// The JSON array of a batch.
pub(crate) fn json<T: Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("rows of a batch are plain data with text keys")
}

/// A locked run.
#[derive(Debug, Clone)]
pub(crate) struct RunLock {
    pub(crate) key: i64,
    pub(crate) dag_id: String,
    pub(crate) run_id: String,
    pub(crate) state: towpath_model::state::RunState,
    pub(crate) version_id: i64,
    pub(crate) logical_date: Option<DateTime<Utc>>,
    pub(crate) max_active_tasks: i64,
    pub(crate) is_paused: bool,
    /// It fails when its teardowns have ended.
    pub(crate) is_failing: bool,
}

/// A queued run that may start.
#[derive(Debug, Clone)]
pub(crate) struct Startable {
    pub(crate) key: i64,
    pub(crate) dag_id: String,
    pub(crate) is_foreground: bool,
    pub(crate) backfill_id: Option<i64>,
}

/// A run to insert.
#[derive(Debug, Clone)]
pub(crate) struct RunRow {
    pub(crate) new: crate::engine::create_run::NewRun,
    pub(crate) run_id: String,
    pub(crate) state: towpath_model::state::RunState,
    pub(crate) version_id: i64,
    pub(crate) max_active_tasks: i64,
    pub(crate) queued_at: DateTime<Utc>,
    pub(crate) start_date: Option<DateTime<Utc>>,
    pub(crate) end_date: Option<DateTime<Utc>>,
    pub(crate) deadline: Option<DateTime<Utc>>,
}

/// A task instance to insert.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewTaskRow {
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) state: TaskState,
    pub(crate) try_number: u32,
    pub(crate) max_tries: u32,
    pub(crate) pool: String,
    pub(crate) pool_slots: u32,
    pub(crate) queue: String,
    pub(crate) priority: i64,
    pub(crate) blocked_by: Option<Limit>,
    pub(crate) ended: bool,
    pub(crate) up_total: u32,
    pub(crate) up_success: u32,
    pub(crate) up_failed: u32,
    pub(crate) up_skipped: u32,
    pub(crate) up_upstream_failed: u32,
    pub(crate) up_removed: u32,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Held {
    pub(crate) i: usize,
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) attempt: i64,
    #[serde(skip)]
    pub(crate) state: TaskState,
}

/// What the store knows of an attempt that is still the current one.
#[derive(Debug, Clone)]
pub(crate) struct CurrentAttempt {
    pub(crate) i: usize,
    pub(crate) state: TaskState,
    pub(crate) try_number: u32,
    pub(crate) max_tries: u32,
    pub(crate) pool: String,
}

/// Slots in use, as task instances hold them, and who waits for some.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// Task instances by run; none where no run is named.
    pub(crate) runs: HashMap<i64, i64>,
    /// Slots by pool.
    pub(crate) pools: HashMap<String, i64>,
    /// Pools for which a task instance waits.
    pub(crate) wanted: BTreeSet<String>,
}

/// The end of an attempt. Times are microseconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EndRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) attempt: i64,
    pub(crate) from_state: TaskState,
    pub(crate) state: TaskState,
    pub(crate) available_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    pub(crate) note: Option<String>,
    pub(crate) cpu_ms: Option<i64>,
    pub(crate) peak_bytes: Option<i64>,
}

/// A change of state without a worker.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MoveRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) from_state: TaskState,
    pub(crate) state: TaskState,
    pub(crate) blocked_by: Option<Limit>,
    /// 1 where a new try begins.
    pub(crate) new_try: u8,
    pub(crate) ended: bool,
    pub(crate) note: Option<String>,
}

/// Outcomes of direct upstream to add to the counters of a task.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OutcomeRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    /// Of the instances from this map index on.
    pub(crate) map_from: i32,
    pub(crate) map_to: i32,
    pub(crate) success: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
    pub(crate) upstream_failed: u32,
    pub(crate) removed: u32,
}

/// A task instance as decisions need it.
#[derive(Debug, Clone)]
pub(crate) struct TaskRow {
    pub(crate) key: TaskKey,
    pub(crate) state: TaskState,
    pub(crate) pool: String,
    pub(crate) pool_slots: i64,
    pub(crate) priority: i64,
    pub(crate) run_order: DateTime<Utc>,
    pub(crate) upstream: UpstreamCounts,
    /// A branch has ruled it out.
    pub(crate) skipped: bool,
    /// It has its element, as an instance of a mapped task.
    pub(crate) expanded: bool,
}

/// A task instance that waits for a time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Waiting {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
}

/// A claimed task instance.
#[derive(Debug, Clone)]
pub(crate) struct ClaimedRow {
    pub(crate) key: TaskKey,
    pub(crate) attempt: i64,
    pub(crate) try_number: u32,
    pub(crate) max_tries: u32,
    pub(crate) priority: i64,
    pub(crate) run_order: DateTime<Utc>,
    /// The version that its run has now.
    pub(crate) version_id: i64,
    /// Where that version was last seen.
    pub(crate) file: String,
    /// The arguments of a mapped instance, as JSON.
    pub(crate) map_value: Option<String>,
    pub(crate) start_date: DateTime<Utc>,
    pub(crate) log_seq: u32,
}

/// Somebody to be told of an end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AlertRow {
    pub(crate) dedup: String,
    pub(crate) run_key: i64,
    /// `None` for the end of the run.
    pub(crate) task_id: Option<String>,
    pub(crate) map_index: i32,
    pub(crate) event: towpath_model::alert::Event,
    /// What is to be told beside what the row of the task says.
    pub(crate) note: Option<String>,
    /// JSON of a [`towpath_model::alert::Target`].
    pub(crate) target: String,
}

/// An XCom to store.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct XComRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The next run of a DAG. Times are microseconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NextRow {
    pub(crate) dag_id: String,
    /// The version that it was computed for; another one in the row means that it is stale.
    pub(crate) version_id: i64,
    pub(crate) run_after: Option<i64>,
    pub(crate) logical_date: Option<i64>,
    pub(crate) interval_start: Option<i64>,
    pub(crate) interval_end: Option<i64>,
}

impl NextRow {
    pub(crate) fn new(dag_id: &str, version_id: i64, next: Option<towpath_model::timetable::DueRun>) -> Self {
        use crate::time::micros;
        Self {
            dag_id: dag_id.to_owned(),
            version_id,
            run_after: micros(next.map(|n| n.run_after)),
            logical_date: micros(next.map(|n| n.logical_date)),
            interval_start: micros(next.map(|n| n.data_interval.start)),
            interval_end: micros(next.map(|n| n.data_interval.end)),
        }
    }
}

/// The element of a mapped instance.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Element {
    pub(crate) map_index: i32,
    /// Its arguments, as JSON.
    pub(crate) map_value: String,
}

/// A task instance as clearing and marking need it.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) key: TaskKey,
    pub(crate) state: TaskState,
    pub(crate) try_number: u32,
    pub(crate) max_tries: u32,
}

/// A task instance to clear.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClearRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) from_state: TaskState,
    pub(crate) state: TaskState,
    pub(crate) max_tries: u32,
    /// The queue to go to from now on; [`None`] keeps it.
    pub(crate) queue: Option<String>,
    /// Its element has to be found anew.
    pub(crate) forget_element: bool,
}

/// A task instance whose outcome somebody has decided.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MarkRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) from_state: TaskState,
    pub(crate) state: TaskState,
    pub(crate) note: String,
}

/// All map indices, -1 of what is not mapped among them.
pub(crate) const EVERY_INDEX: (i32, i32) = (-1, i32::MAX);

/// What an instance of a branch may have ruled out: instances of other tasks, by map index.
#[derive(Debug, Clone, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuledRow {
    pub(crate) branch: String,
    pub(crate) map_from: i32,
    pub(crate) map_to: i32,
}

/// Counters of the direct upstream, counted anew.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CounterRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    /// Of the instances from this map index on.
    pub(crate) map_from: i32,
    pub(crate) map_to: i32,
    pub(crate) total: u32,
    pub(crate) success: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
    pub(crate) upstream_failed: u32,
    pub(crate) removed: u32,
}
