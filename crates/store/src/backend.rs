//! What the engine needs of a database. Each dialect implements these traits once.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use towpath_model::state::{RunState, TaskState};

use crate::Result;
use crate::batch::{
    ClaimedRow, ClearRow, CounterRow, CurrentAttempt, Element, EndRow, Held, Instance, Live, MarkRow, MoveRow,
    NewTaskRow, OutcomeRow, RuledRow, RunLock, RunRow, Startable, TaskRow, Waiting, XComRow,
};
use crate::engine::backfill::NewBackfill;
use crate::logs::LogChunk;
use crate::records::TaskKey;
use crate::wake::Topic;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Dialect {
    Postgres,
    Sqlite,
}

/// One database.
#[async_trait]
pub(crate) trait Backend:
    crate::dags::DagRows
    + crate::secrets::SecretRows
    + crate::reads::ReadRows
    + crate::engine::backfill::BackfillRows
    + crate::alerts::AlertRows
    + crate::assets::AssetRows
    + crate::access::AccessRows
    + crate::evidence::EvidenceRows
    + crate::explain::ExplainRows
    + crate::listing::ListRows
    + crate::overview::OverviewRows
    + crate::staging::StagingRows
    + crate::changes::ChangeRows
    + crate::clean::CleanRows
    + crate::deadlines::DeadlineRows
    + crate::webhooks::WebhookRows
    + crate::identities::IdentityRows
    + Send
    + Sync
    + std::fmt::Debug
{
    fn dialect(&self) -> Dialect;
    async fn migrate(&self) -> Result<()>;
    async fn pending_migrations(&self) -> Result<Vec<String>>;
    async fn ping(&self) -> Result<()>;
    async fn close(&self);
    /// Starts a step.
    async fn begin(&self) -> Result<Box<dyn Tx>>;
}

/// One step: a transaction.
#[async_trait]
pub(crate) trait Tx:
    RunStatements
    + TaskStatements
    + FlowStatements
    + VersionStatements
    + BackfillStatements
    + crate::dags::DagStatements
    + crate::jobs::JobStatements
    + crate::alerts::AlertStatements
    + crate::assets::AssetStatements
    + crate::staging::StagingStatements
    + crate::clean::CleanStatements
    + crate::deadlines::DeadlineStatements
    + crate::evidence::EvidenceStatements
    + Send
{
    /// Makes the step durable and wakes those who wait for `topics`, here and in other processes.
    async fn commit(self: Box<Self>, topics: &[Topic]) -> Result<()>;
}

#[async_trait]
pub(crate) trait RunStatements {
    /// Locks those runs, in the order of their keys.
    async fn lock_runs(&mut self, keys: &[i64]) -> Result<Vec<RunLock>>;
    /// Locks those of the runs that nobody else holds.
    async fn lock_free_runs(&mut self, keys: &[i64]) -> Result<Vec<RunLock>>;
    /// `None` where a run of that id or logical date exists.
    async fn insert_run(&mut self, run: &RunRow) -> Result<Option<i64>>;
    async fn start_run(&mut self, key: i64, now: DateTime<Utc>, deadline: Option<DateTime<Utc>>) -> Result<bool>;
    async fn finish_run(&mut self, key: i64, state: RunState, now: DateTime<Utc>) -> Result<bool>;
    async fn startable_runs(&mut self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Startable>>;
    async fn expired_runs(&mut self, now: DateTime<Utc>) -> Result<Vec<i64>>;
    async fn running_runs_of_dag(&mut self, dag_id: &str) -> Result<Vec<i64>>;
    /// Locks all runs of a DAG, in the order of their keys; their states.
    async fn lock_runs_of_dag(&mut self, dag_id: &str) -> Result<Vec<RunState>>;
    /// False where it is not there or is running.
    async fn delete_run(&mut self, key: i64) -> Result<bool>;
}

#[async_trait]
pub(crate) trait TaskStatements {
    async fn insert_task_instances(
        &mut self,
        run_key: i64,
        run_order: DateTime<Utc>,
        rows: &[NewTaskRow],
        now: DateTime<Utc>,
    ) -> Result<()>;
    async fn current_attempts(&mut self, held: &[Held]) -> Result<Vec<CurrentAttempt>>;
    async fn attempts_of_worker(&mut self, job_id: i64) -> Result<Vec<Held>>;
    async fn attempts_of_run(&mut self, run_key: i64) -> Result<Vec<Held>>;
    /// The rows that were where the batch says, and their pools; fewer than given is a lost compare-and-set.
    async fn end_attempts(&mut self, ends: &[EndRow]) -> Result<Vec<(TaskKey, String)>>;
    /// Copies tries into history, each with the state in which it ended.
    async fn archive_tries(&mut self, tries: &[(TaskKey, TaskState)]) -> Result<()>;
    async fn move_tasks(&mut self, moves: &[MoveRow], now: DateTime<Utc>) -> Result<u64>;
    async fn add_outcomes(&mut self, outcomes: &[OutcomeRow]) -> Result<Vec<TaskRow>>;
    async fn undecided(&mut self, run_key: i64) -> Result<Vec<TaskRow>>;
    async fn not_started(&mut self, run_key: i64) -> Result<Vec<TaskRow>>;
    async fn blocked_by_run(&mut self, run_key: i64, limit: i64) -> Result<Vec<TaskRow>>;
    async fn blocked_by_pool(&mut self, pool: &str, limit: i64) -> Result<Vec<TaskRow>>;
    async fn blocked_pools(&mut self) -> Result<Vec<String>>;
    async fn blocked_runs(&mut self) -> Result<Vec<i64>>;
    /// Slots in use, in those runs and in every pool.
    async fn live(&mut self, run_keys: &[i64]) -> Result<Live>;
    /// Locks pools in the order of their names; their slots.
    async fn lock_pools(&mut self, names: &[String]) -> Result<HashMap<String, i64>>;
    async fn claim(
        &mut self,
        claim: &crate::engine::report::Claim,
        attempt: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<ClaimedRow>>;
    /// Those of the runs in which something is unfinished.
    async fn unfinished(&mut self, keys: &[i64]) -> Result<Vec<i64>>;
    async fn failed_tasks(&mut self, run_key: i64) -> Result<Vec<(String, TaskState)>>;
    async fn due_timers(&mut self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Waiting>>;
    async fn waiting_in(&mut self, keys: &[Waiting], now: DateTime<Utc>) -> Result<Vec<TaskRow>>;
    async fn insert_xcoms(&mut self, rows: &[XComRow], now: DateTime<Utc>) -> Result<()>;
    async fn clear_xcoms(&mut self, keys: &[TaskKey]) -> Result<()>;
    async fn insert_logs(&mut self, chunks: &[LogChunk]) -> Result<()>;
}

/// What branches, mapping and clearing take.
#[async_trait]
pub(crate) trait FlowStatements {
    /// Marks the instances of the tasks in a range of map indices as ruled out by a branch; the rows as they are.
    async fn skip_by(
        &mut self,
        run_key: i64,
        task_ids: &[String],
        indices: (i32, i32),
        branch: &str,
    ) -> Result<Vec<TaskRow>>;
    /// Forgets what those instances of branches have ruled out.
    async fn forget_skips(&mut self, run_key: i64, branches: &[RuledRow]) -> Result<()>;
    /// The XComs of a task under a key, by map index, as JSON.
    async fn outputs(&mut self, run_key: i64, task_id: &str, key: &str) -> Result<Vec<(i32, String)>>;
    async fn count_instances(&mut self, run_key: i64, task_id: &str) -> Result<i64>;
    /// Makes the one row of a task that has not been expanded the first of its instances.
    async fn first_of_map(&mut self, run_key: i64, task_id: &str) -> Result<()>;
    /// Inserts the instances that are missing, made like the one at `like`, and gives all of them
    /// their elements (JSON).
    async fn set_elements(
        &mut self,
        run_key: i64,
        task_id: &str,
        like: i32,
        elements: &[Element],
    ) -> Result<Vec<TaskRow>>;
    /// Instances from a map index on.
    async fn instances_from(&mut self, run_key: i64, task_id: &str, map_index: i32) -> Result<Vec<TaskRow>>;
    async fn add_to_total(&mut self, run_key: i64, task_ids: &[String], more: i64) -> Result<()>;
    /// All instances of a run.
    async fn instances(&mut self, run_key: i64) -> Result<Vec<Instance>>;
    /// All instances of those tasks.
    async fn instances_of(&mut self, run_key: i64, task_ids: &[String]) -> Result<Vec<Instance>>;
    /// The instances of those tasks that have not been decided on.
    async fn undecided_of(&mut self, run_key: i64, task_ids: &[String]) -> Result<Vec<TaskRow>>;
    /// Lets a running run fail when nothing in it is left to do.
    async fn fail_later(&mut self, run_key: i64) -> Result<bool>;
    /// How many rows were where the batch says.
    async fn clear_tasks(&mut self, rows: &[ClearRow]) -> Result<u64>;
    async fn mark_tasks(&mut self, rows: &[MarkRow], now: DateTime<Utc>) -> Result<u64>;
    async fn set_counters(&mut self, rows: &[CounterRow]) -> Result<()>;
    /// Ends a run in whatever state it is.
    async fn end_run(&mut self, run_key: i64, state: RunState, now: DateTime<Utc>) -> Result<()>;
    /// Waits until no other step decides about the gates of a DAG.
    async fn lock_gate(&mut self, dag_id: &str) -> Result<()>;
    /// The run before a logical date; a scheduled one if asked.
    async fn previous_run(&mut self, dag_id: &str, before: DateTime<Utc>, scheduled: bool) -> Result<Option<i64>>;
    /// Instances of the tasks that have neither succeeded nor been skipped.
    async fn unsuccessful(&mut self, run_key: i64, task_ids: &[String]) -> Result<i64>;
    /// Queued and running instances of a task, in one run or in all.
    async fn live_of_task(&mut self, dag_id: &str, task_id: &str, run_key: Option<i64>) -> Result<i64>;
    async fn blocked_by_gate(&mut self, run_key: i64, limit: i64) -> Result<Vec<TaskRow>>;
    /// Runs of a DAG in which something waits at a gate, oldest first.
    async fn gated_runs_of_dag(&mut self, dag_id: &str) -> Result<Vec<i64>>;
    /// Some runs in which something waits at a gate, others each time.
    async fn some_gated_runs(&mut self) -> Result<Vec<i64>>;
    /// Queues a run that is over.
    async fn reopen_run(&mut self, run_key: i64, now: DateTime<Utc>) -> Result<bool>;
    /// Notes who has made a run run again.
    async fn asked_by(&mut self, run_key: i64, who: &str) -> Result<()>;
}

/// What a run needs to go on with another version of its DAG.
#[async_trait]
pub(crate) trait VersionStatements {
    async fn move_run(&mut self, run_key: i64, version_id: i64, max_active_tasks: u32) -> Result<()>;
    /// Gives the instances that are not queued or running the pool, queue and priority of the row of their task.
    async fn refit_tasks(&mut self, run_key: i64, rows: &[NewTaskRow]) -> Result<()>;
    /// Makes the one instance of a task that is mapped now the first of its instances, with its history.
    async fn instance_to_first(&mut self, run_key: i64, task_id: &str) -> Result<()>;
    /// Instances that have no place in the run any more.
    async fn remove_instances(&mut self, keys: &[TaskKey], now: DateTime<Utc>) -> Result<()>;
}

/// Backfills.
#[async_trait]
pub(crate) trait BackfillStatements {
    async fn insert_backfill(&mut self, new: &NewBackfill, now: DateTime<Utc>) -> Result<i64>;
    /// Makes a run one of a backfill.
    async fn join_backfill(&mut self, run_key: i64, id: i64, order: i32) -> Result<()>;
    async fn run_of_date(&mut self, dag_id: &str, logical_date: DateTime<Utc>) -> Result<Option<(i64, RunState)>>;
    /// How many more runs of it may run.
    async fn backfill_room(&mut self, id: i64) -> Result<i64>;
    async fn set_backfill(&mut self, id: i64, paused: Option<bool>, cancelled: bool) -> Result<bool>;
    async fn queued_of_backfill(&mut self, id: i64) -> Result<Vec<i64>>;
}

/// Versions of the migrations that have been applied.
pub(crate) const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success";

/// Names of the migrations that are not among the `applied` ones. A database without the table of
/// migrations has had none.
pub(crate) fn pending(
    migrator: &sqlx::migrate::Migrator,
    applied: Result<Vec<i64>, sqlx::Error>,
) -> Result<Vec<String>> {
    let applied = match applied {
        Ok(applied) => applied,
        Err(sqlx::Error::Database(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(migrator
        .iter()
        .filter(|migration| !applied.contains(&migration.version))
        .map(|migration| format!("{:04} {}", migration.version, migration.description))
        .collect())
}
