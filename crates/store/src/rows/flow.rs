//! Branches, mapping and clearing.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use towpath_model::state::RunState;

use super::super::{DbRow, Tx, flow_sql as sql};
use super::tasks::{key, task};
use super::{count, word};
use crate::Result;
use crate::backend::FlowStatements;
use crate::batch::{ClearRow, CounterRow, Element, Instance, MarkRow, RuledRow, TaskRow, json};
use crate::time::Ts;

fn instance(row: &DbRow) -> Result<Instance> {
    Ok(Instance {
        key: key(row)?,
        state: word(row, "state")?,
        try_number: count(row, "try_number")?,
        max_tries: count(row, "max_tries")?,
    })
}

#[async_trait]
impl FlowStatements for Tx {
    async fn skip_by(
        &mut self,
        run_key: i64,
        task_ids: &[String],
        (from, to): (i32, i32),
        branch: &str,
    ) -> Result<Vec<TaskRow>> {
        let query = sqlx::query(sql::SKIP_BY).bind(run_key).bind(json(task_ids)).bind(branch).bind(from).bind(to);
        query.fetch_all(&mut *self.conn).await?.iter().map(task).collect()
    }

    async fn forget_skips(&mut self, run_key: i64, branches: &[RuledRow]) -> Result<()> {
        sqlx::query(sql::FORGET_SKIPS).bind(run_key).bind(json(branches)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn outputs(&mut self, run_key: i64, task_id: &str, key: &str) -> Result<Vec<(i32, String)>> {
        let query = sqlx::query(sql::OUTPUTS).bind(run_key).bind(task_id).bind(key);
        let rows = query.fetch_all(&mut *self.conn).await?;
        rows.iter().map(|row| Ok((row.try_get("map_index")?, row.try_get("value")?))).collect()
    }

    async fn count_instances(&mut self, run_key: i64, task_id: &str) -> Result<i64> {
        let query = sqlx::query_scalar(sql::COUNT_INSTANCES).bind(run_key).bind(task_id);
        Ok(query.fetch_one(&mut *self.conn).await?)
    }

    async fn first_of_map(&mut self, run_key: i64, task_id: &str) -> Result<()> {
        sqlx::query(sql::FIRST_OF_MAP).bind(run_key).bind(task_id).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn set_elements(
        &mut self,
        run_key: i64,
        task_id: &str,
        like: i32,
        elements: &[Element],
    ) -> Result<Vec<TaskRow>> {
        let mut rows = Vec::with_capacity(elements.len());
        // A batch is one value in memory on both sides; ten thousand elements go in several.
        for chunk in elements.chunks(5_000) {
            let query = sqlx::query(sql::SET_ELEMENTS).bind(run_key).bind(task_id).bind(like).bind(json(chunk));
            for row in query.fetch_all(&mut *self.conn).await? {
                rows.push(task(&row)?);
            }
        }
        Ok(rows)
    }

    async fn instances_from(&mut self, run_key: i64, task_id: &str, map_index: i32) -> Result<Vec<TaskRow>> {
        let query = sqlx::query(sql::INSTANCES_FROM).bind(run_key).bind(task_id).bind(map_index);
        query.fetch_all(&mut *self.conn).await?.iter().map(task).collect()
    }

    async fn add_to_total(&mut self, run_key: i64, task_ids: &[String], more: i64) -> Result<()> {
        let query = sqlx::query(sql::ADD_TO_TOTAL).bind(run_key).bind(json(task_ids)).bind(more as i32);
        query.execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn instances(&mut self, run_key: i64) -> Result<Vec<Instance>> {
        let rows = sqlx::query(sql::INSTANCES).bind(run_key).fetch_all(&mut *self.conn).await?;
        rows.iter().map(instance).collect()
    }

    async fn instances_of(&mut self, run_key: i64, task_ids: &[String]) -> Result<Vec<Instance>> {
        let query = sqlx::query(sql::INSTANCES_OF).bind(run_key).bind(json(task_ids));
        query.fetch_all(&mut *self.conn).await?.iter().map(instance).collect()
    }

    async fn undecided_of(&mut self, run_key: i64, task_ids: &[String]) -> Result<Vec<TaskRow>> {
        let query = sqlx::query(sql::UNDECIDED_OF).bind(run_key).bind(json(task_ids));
        query.fetch_all(&mut *self.conn).await?.iter().map(task).collect()
    }

    async fn fail_later(&mut self, run_key: i64) -> Result<bool> {
        let done = sqlx::query(sql::FAIL_LATER).bind(run_key).execute(&mut *self.conn).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn clear_tasks(&mut self, rows: &[ClearRow]) -> Result<u64> {
        Ok(sqlx::query(sql::CLEAR_TASKS).bind(json(rows)).execute(&mut *self.conn).await?.rows_affected())
    }

    async fn mark_tasks(&mut self, rows: &[MarkRow], now: DateTime<Utc>) -> Result<u64> {
        let query = sqlx::query(sql::MARK_TASKS).bind(json(rows)).bind(Ts(now));
        Ok(query.execute(&mut *self.conn).await?.rows_affected())
    }

    async fn set_counters(&mut self, rows: &[CounterRow]) -> Result<()> {
        sqlx::query(sql::SET_COUNTERS).bind(json(rows)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn lock_gate(&mut self, dag_id: &str) -> Result<()> {
        sqlx::query(sql::LOCK_GATE).bind(dag_id).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn previous_run(&mut self, dag_id: &str, before: DateTime<Utc>, scheduled: bool) -> Result<Option<i64>> {
        let query = sqlx::query_scalar(sql::PREVIOUS_RUN).bind(dag_id).bind(Ts(before)).bind(scheduled);
        Ok(query.fetch_optional(&mut *self.conn).await?)
    }

    async fn unsuccessful(&mut self, run_key: i64, task_ids: &[String]) -> Result<i64> {
        let query = sqlx::query_scalar(sql::UNSUCCESSFUL).bind(run_key).bind(json(task_ids));
        Ok(query.fetch_one(&mut *self.conn).await?)
    }

    async fn live_of_task(&mut self, dag_id: &str, task_id: &str, run_key: Option<i64>) -> Result<i64> {
        let query = sqlx::query_scalar(sql::LIVE_OF_TASK).bind(dag_id).bind(task_id).bind(run_key);
        Ok(query.fetch_one(&mut *self.conn).await?)
    }

    async fn blocked_by_gate(&mut self, run_key: i64, limit: i64) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query(sql::BLOCKED_BY_GATE).bind(run_key).bind(limit).fetch_all(&mut *self.conn).await?;
        rows.iter().map(task).collect()
    }

    async fn gated_runs_of_dag(&mut self, dag_id: &str) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::GATED_RUNS_OF_DAG).bind(dag_id).fetch_all(&mut *self.conn).await?)
    }

    async fn some_gated_runs(&mut self) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::SOME_GATED_RUNS).fetch_all(&mut *self.conn).await?)
    }

    async fn end_run(&mut self, run_key: i64, state: RunState, now: DateTime<Utc>) -> Result<()> {
        let query = sqlx::query(sql::END_RUN).bind(run_key).bind(state.as_ref()).bind(Ts(now));
        query.execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn reopen_run(&mut self, run_key: i64, now: DateTime<Utc>) -> Result<bool> {
        let query = sqlx::query(sql::REOPEN_RUN).bind(run_key).bind(Ts(now));
        Ok(query.execute(&mut *self.conn).await?.rows_affected() == 1)
    }

    async fn asked_by(&mut self, run_key: i64, who: &str) -> Result<()> {
        sqlx::query(sql::ASKED_BY).bind(run_key).bind(who).execute(&mut *self.conn).await?;
        Ok(())
    }
}
