//! Reasons: why something does not run, as data (`words` has the sentences).

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_model::state::{RunState, TaskState};
use towpath_model::trigger_rule::{Because, TriggerRule};

/// A run that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunningRun {
    pub run_id: String,
    /// When it started.
    pub since: Option<DateTime<Utc>>,
}

/// A task instance that holds slots of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Holder {
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub map_index: i32,
    pub slots: u32,
    /// Since when it has held them.
    pub since: Option<DateTime<Utc>>,
}

/// Another task instance of the same run, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Other {
    pub task_id: String,
    pub map_index: i32,
    pub state: TaskState,
    pub try_number: u32,
    /// When it goes on, if it waits for a time.
    pub available_at: Option<DateTime<Utc>>,
}

/// An asset that a DAG waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AwaitedAsset {
    pub name: String,
    pub uri: String,
    /// Events of it that wait for the DAG.
    pub queued: u64,
    /// When the first of them came.
    pub since: Option<DateTime<Utc>>,
    /// When it was updated last, whether or not a run has had that already.
    pub last_update: Option<DateTime<Utc>>,
}

/// Why a DAG, a run or a task instance is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// Paused: no new runs, no new tasks.
    DagPaused {
        dag_id: String,
    },
    /// Nothing defines the DAG any more.
    FileGone {
        file: String,
    },
    /// The DAG goes on in its last good version.
    ImportError {
        file: String,
        error: String,
        at: DateTime<Utc>,
    },
    /// The DAG has no schedule.
    OnlyTriggered {
        dag_id: String,
    },
    /// Its schedule waits for updates of assets; some of `missing` may not be needed.
    Assets {
        condition: String,
        come: Vec<AwaitedAsset>,
        missing: Vec<AwaitedAsset>,
    },
    NextRun {
        at: DateTime<Utc>,
        logical_date: DateTime<Utc>,
    },
    /// The next run is due, and nothing holds it back.
    RunDue {
        at: DateTime<Utc>,
    },
    /// The scheduler has not computed the next run of this version yet.
    NotPlanned {},
    /// The schedule has no further run.
    NoMoreRuns {
        end_date: Option<DateTime<Utc>>,
    },
    /// `active` is at least `limit`; `runs` are some of those that run.
    MaxActiveRuns {
        dag_id: String,
        limit: u32,
        active: u32,
        runs: Vec<RunningRun>,
    },
    /// Without one, no run starts, no retry begins, and no dead worker is noticed.
    NoScheduler {
        last_seen: Option<DateTime<Utc>>,
    },
    /// The run is of the future.
    RunAfter {
        at: DateTime<Utc>,
    },
    /// The task's own settings make it wait for other runs or instances of itself.
    Gate {
        settings: Vec<String>,
    },
    /// Nothing holds the run back.
    StartsNow {},
    RunQueued {
        run_id: String,
    },
    RunRunning {
        since: Option<DateTime<Utc>>,
        unfinished: u64,
    },
    RunEnded {
        state: RunState,
        at: Option<DateTime<Utc>>,
        failed: Vec<Other>,
    },
    /// `deadline` says what it counts from.
    Deadline {
        deadline: String,
        at: DateTime<Utc>,
        missed_at: Option<DateTime<Utc>>,
    },
    /// `open` of `total` direct upstream have not ended; `waits_for` are some of them.
    Upstream {
        rule: TriggerRule,
        open: u32,
        total: u32,
        waits_for: Vec<Other>,
    },
    /// What it waits for in the end, where its upstream waits itself.
    Behind {
        task: Other,
    },
    /// The trigger rule has decided; `upstream` are some of those that settled it.
    Rule {
        rule: TriggerRule,
        state: TaskState,
        because: Because,
        upstream: Vec<Other>,
    },
    /// Its rule is satisfied; the next step of its run moves it on.
    Undecided {},
    MaxActiveTasks {
        limit: u32,
        live: u32,
    },
    /// The pool is full, or has too few free slots for `needs`.
    PoolFull {
        pool: String,
        slots: u32,
        used: u32,
        needs: u32,
        holders: Vec<Holder>,
        others: u64,
    },
    NoPool {
        pool: String,
    },
    /// It could not run even alone in the pool.
    PoolTooSmall {
        pool: String,
        slots: u32,
        needs: u32,
    },
    /// No limit is full any more.
    RoomNow {},
    /// `served`: the queues that live workers take.
    NoWorker {
        queue: String,
        served: Vec<String>,
        since: Option<DateTime<Utc>>,
    },
    Queued {
        queue: String,
        since: Option<DateTime<Utc>>,
        workers: u32,
        busy: u32,
        slots: u32,
    },
    Running {
        hostname: String,
        pid: Option<u32>,
        since: Option<DateTime<Utc>>,
        try_number: u32,
        tries: u32,
    },
    /// The worker that holds it does not renew its lease.
    WorkerSilent {
        hostname: String,
        last_seen: Option<DateTime<Utc>>,
    },
    Retry {
        at: DateTime<Utc>,
        is_due: bool,
        next_try: u32,
        tries: u32,
        error: Option<String>,
    },
    Reschedule {
        at: DateTime<Utc>,
        is_due: bool,
    },
    /// Cleared while it ran.
    Restarting {},
    Deferred {},
    /// `note`: what the attempt left as its reason.
    Ended {
        state: TaskState,
        at: Option<DateTime<Utc>>,
        try_number: u32,
        tries: u32,
        note: Option<String>,
    },
}
