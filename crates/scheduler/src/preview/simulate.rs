//! Whether there is room for what schedules call for: runs and tasks played through with a made-up length.
//!
//! It knows the graph, `max_active_runs`, `max_active_tasks`, pools and priorities, and that a DAG without
//! catchup drops what has to wait too long. It does not know how long tasks really take, retries, timeouts,
//! failures, how many slots workers have, or what is running when it begins; whoever shows its answer should
//! say so.

mod played;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_model::dag::{DEFAULT_POOL, Dag};

/// Slots of the default pool, where nobody has changed them.
pub const DEFAULT_POOL_SLOTS: u32 = 128;
/// Most task instances that are played through.
pub const MOST_TASKS: usize = 500_000;

/// What is assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumptions {
    /// How long each task takes, except `empty` ones, which take no time.
    pub task_duration: TimeDelta,
    /// Slots by pool; a pool that is not named has room for everything, but for the default pool.
    pub pools: BTreeMap<String, u32>,
}

impl Assumptions {
    fn slots(&self, pool: &str) -> Option<u32> {
        let default = (pool == DEFAULT_POOL).then_some(DEFAULT_POOL_SLOTS);
        self.pools.get(pool).copied().or(default)
    }
}

/// A DAG and when its runs come.
#[derive(Debug)]
pub struct Load<'d> {
    pub dag: &'d Dag,
    /// When each is made, and its logical date; in the order of time.
    pub arrivals: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Something for which there is not enough room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Collision {
    /// Runs start late since `max_active_runs` others are not over.
    RunsWait {
        dag_id: String,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        max_active_runs: u32,
        /// How many runs start late.
        runs: usize,
        /// How many wait at once.
        most_waiting: usize,
        longest_wait_s: i64,
    },
    /// Runs are never made: a DAG without catchup makes only the latest of those that had to wait.
    RunsDropped { dag_id: String, first: DateTime<Utc>, last: DateTime<Utc>, max_active_runs: u32, runs: usize },
    /// Tasks wait for slots of a pool.
    PoolFull {
        pool: String,
        slots: u32,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        /// Slots that are used and waited for at once.
        most_wanted: u64,
        /// Whose tasks hold the slots or wait for them.
        dag_ids: Vec<String>,
    },
    /// A task wants more slots than its pool has.
    NeverStarts { dag_id: String, task_id: String, pool: String, pool_slots: u32, slots: u32 },
}

impl Collision {
    /// When it begins; `None` for what is so at all times.
    #[must_use]
    pub fn start(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::RunsWait { from, .. } | Self::PoolFull { from, .. } => Some(*from),
            Self::RunsDropped { first, .. } => Some(*first),
            Self::NeverStarts { .. } => None,
        }
    }
}

/// There is more to play through than [`MOST_TASKS`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{tasks} task instances are more than can be played through ({MOST_TASKS}); choose a shorter span or fewer files"
)]
pub struct TooMuch {
    pub tasks: usize,
}

/// Plays the runs through; what there is no room for, in the order of time.
///
/// # Errors
/// [`TooMuch`].
pub fn simulate(loads: &[Load<'_>], assumptions: &Assumptions) -> Result<Vec<Collision>, TooMuch> {
    let size = |load: &Load<'_>| load.dag.tasks().len().saturating_mul(load.arrivals.len());
    let tasks = loads.iter().map(size).fold(0_usize, usize::saturating_add);
    if tasks > MOST_TASKS {
        return Err(TooMuch { tasks });
    }
    let mut collisions = impossible(loads, assumptions);
    collisions.extend(played::Play::new(loads, assumptions).through());
    collisions.sort_by_key(Collision::start);
    Ok(collisions)
}

/// How long a run takes at least: the longest chain of tasks, each at its length.
#[must_use]
pub fn critical_path(dag: &Dag, task_duration: TimeDelta) -> TimeDelta {
    let mut longest = vec![0_i32; dag.tasks().len()];
    for &index in dag.topological() {
        let before = dag.upstream(index).map(|upstream| longest[upstream]).max().unwrap_or(0);
        longest[index] = before + i32::from(!dag.tasks()[index].ends_without_worker());
    }
    task_duration * longest.into_iter().max().unwrap_or(0)
}

fn impossible(loads: &[Load<'_>], assumptions: &Assumptions) -> Vec<Collision> {
    let mut found = Vec::new();
    for load in loads.iter().filter(|load| !load.arrivals.is_empty()) {
        for task in load.dag.tasks().iter().filter(|task| !task.ends_without_worker()) {
            if let Some(slots) = assumptions.slots(&task.pool).filter(|slots| *slots < task.pool_slots) {
                found.push(Collision::NeverStarts {
                    dag_id: load.dag.id().to_owned(),
                    task_id: task.task_id.clone(),
                    pool: task.pool.clone(),
                    pool_slots: task.pool_slots,
                    slots,
                });
            }
        }
    }
    found
}
