//! Runs, as the engine moves them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use towpath_model::state::RunState;

use super::super::{DbRow, Tx, sql};
use super::{time_opt, ts, word};
use crate::Result;
use crate::backend::RunStatements;
use crate::batch::{RunLock, RunRow, Startable, json};
use crate::time::Ts;

fn lock(row: &DbRow) -> Result<RunLock> {
    Ok(RunLock {
        key: row.try_get("key")?,
        dag_id: row.try_get("dag_id")?,
        run_id: row.try_get("run_id")?,
        state: word(row, "state")?,
        version_id: row.try_get("version_id")?,
        logical_date: time_opt(row, "logical_date")?,
        max_active_tasks: row.try_get("max_active_tasks")?,
        is_paused: row.try_get("is_paused")?,
        is_failing: row.try_get("is_failing")?,
    })
}

#[async_trait]
impl RunStatements for Tx {
    async fn lock_runs(&mut self, keys: &[i64]) -> Result<Vec<RunLock>> {
        let rows = sqlx::query(sql::LOCK_RUNS).bind(json(keys)).fetch_all(&mut *self.conn).await?;
        rows.iter().map(lock).collect()
    }

    async fn lock_free_runs(&mut self, keys: &[i64]) -> Result<Vec<RunLock>> {
        let rows = sqlx::query(sql::LOCK_FREE_RUNS).bind(json(keys)).fetch_all(&mut *self.conn).await?;
        rows.iter().map(lock).collect()
    }

    async fn insert_run(&mut self, run: &RunRow) -> Result<Option<i64>> {
        let interval = run.new.data_interval;
        let row = sqlx::query(sql::INSERT_RUN)
            .bind(&run.new.dag_id)
            .bind(&run.run_id)
            .bind(run.new.run_type.as_ref())
            .bind(run.state.as_ref())
            .bind(ts(run.new.logical_date))
            .bind(ts(interval.map(|i| i.start)))
            .bind(ts(interval.map(|i| i.end)))
            .bind(Ts(run.new.run_after))
            .bind(Ts(run.queued_at))
            .bind(ts(run.start_date))
            .bind(ts(run.end_date))
            .bind(ts(run.deadline))
            .bind(json(&run.new.conf))
            .bind(&run.new.note)
            .bind(run.new.triggered_by.as_ref())
            .bind(&run.new.triggering_user)
            .bind(run.version_id)
            .bind(run.max_active_tasks as i32)
            .bind(&run.new.queue)
            .fetch_optional(&mut *self.conn)
            .await?;
        Ok(row.map(|row| row.try_get("key")).transpose()?)
    }

    async fn start_run(&mut self, key: i64, now: DateTime<Utc>, deadline: Option<DateTime<Utc>>) -> Result<bool> {
        let done =
            sqlx::query(sql::START_RUN).bind(key).bind(Ts(now)).bind(ts(deadline)).execute(&mut *self.conn).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn finish_run(&mut self, key: i64, state: RunState, now: DateTime<Utc>) -> Result<bool> {
        let done =
            sqlx::query(sql::FINISH_RUN).bind(key).bind(state.as_ref()).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn startable_runs(&mut self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Startable>> {
        let rows = sqlx::query(sql::STARTABLE_RUNS).bind(Ts(now)).bind(limit).fetch_all(&mut *self.conn).await?;
        rows.iter()
            .map(|row| {
                Ok(Startable {
                    key: row.try_get("key")?,
                    dag_id: row.try_get("dag_id")?,
                    is_foreground: row.try_get::<Option<String>, _>("queue")?.is_some(),
                    backfill_id: row.try_get("backfill_id")?,
                })
            })
            .collect()
    }

    async fn expired_runs(&mut self, now: DateTime<Utc>) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::EXPIRED_RUNS).bind(Ts(now)).fetch_all(&mut *self.conn).await?)
    }

    async fn running_runs_of_dag(&mut self, dag_id: &str) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::RUNNING_RUNS_OF_DAG).bind(dag_id).fetch_all(&mut *self.conn).await?)
    }

    async fn lock_runs_of_dag(&mut self, dag_id: &str) -> Result<Vec<RunState>> {
        let rows = sqlx::query(sql::LOCK_RUNS_OF_DAG).bind(dag_id).fetch_all(&mut *self.conn).await?;
        rows.iter().map(|row| word(row, "state")).collect()
    }

    async fn delete_run(&mut self, key: i64) -> Result<bool> {
        let done = sqlx::query(sql::DELETE_RUN).bind(key).execute(&mut *self.conn).await?;
        Ok(done.rows_affected() == 1)
    }
}
