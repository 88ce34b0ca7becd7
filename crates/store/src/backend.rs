//! What the engine needs of a database. Each dialect implements these traits once.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use towpath_model::state::{RunState, TaskState};

use crate::Result;
use crate::batch::{
    ClaimedRow, CurrentAttempt, EndRow, Held, Live, MoveRow, NewTaskRow, OutcomeRow, RunLock, RunRow, TaskRow, Waiting,
    XComRow,
};
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
    + crate::explain::ExplainRows
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
    RunStatements + TaskStatements + crate::dags::DagStatements + crate::jobs::JobStatements + Send
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
    async fn startable_runs(&mut self, now: DateTime<Utc>, limit: i64) -> Result<Vec<(i64, String, Option<String>)>>;
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
