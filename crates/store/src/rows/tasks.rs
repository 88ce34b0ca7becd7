//! Task instances, as the engine moves them, and what their attempts leave behind.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use towpath_model::state::TaskState;
use towpath_model::trigger_rule::UpstreamCounts;

use super::super::{DbRow, Tx, sql};
use super::{count, time, word};
use crate::Result;
use crate::backend::TaskStatements;
use crate::batch::{
    ClaimedRow, CurrentAttempt, EndRow, Held, Live, MoveRow, NewTaskRow, OutcomeRow, TaskRow, Waiting, XComRow, json,
};
use crate::engine::report::Claim;
use crate::logs::{LogChunk, Packed};
use crate::records::TaskKey;
use crate::time::Ts;

pub(super) fn key(row: &DbRow) -> Result<TaskKey> {
    Ok(TaskKey {
        run_key: row.try_get("run_key")?,
        task_id: row.try_get("task_id")?,
        map_index: row.try_get("map_index")?,
    })
}

/// The counters of the direct upstream.
pub(super) fn upstream(row: &DbRow) -> Result<UpstreamCounts> {
    Ok(UpstreamCounts {
        total: count(row, "up_total")?,
        success: count(row, "up_success")?,
        failed: count(row, "up_failed")?,
        skipped: count(row, "up_skipped")?,
        upstream_failed: count(row, "up_upstream_failed")?,
        removed: count(row, "up_removed")?,
        ..UpstreamCounts::default()
    })
}

pub(super) fn task(row: &DbRow) -> Result<TaskRow> {
    Ok(TaskRow {
        key: key(row)?,
        state: word(row, "state")?,
        pool: row.try_get("pool")?,
        pool_slots: row.try_get("pool_slots")?,
        priority: row.try_get("priority")?,
        run_order: time(row, "run_order")?,
        upstream: upstream(row)?,
        skipped: row.try_get("skipped")?,
        expanded: row.try_get("expanded")?,
    })
}

fn held((i, row): (usize, &DbRow)) -> Result<Held> {
    let key = key(row)?;
    Ok(Held {
        i,
        run_key: key.run_key,
        task_id: key.task_id,
        map_index: key.map_index,
        attempt: row.try_get("attempt")?,
        state: word(row, "state")?,
    })
}

fn waiting(row: &DbRow) -> Result<Waiting> {
    let TaskKey { run_key, task_id, map_index } = key(row)?;
    Ok(Waiting { run_key, task_id, map_index })
}

#[async_trait]
impl TaskStatements for Tx {
    async fn insert_task_instances(
        &mut self,
        run_key: i64,
        run_order: DateTime<Utc>,
        rows: &[NewTaskRow],
        now: DateTime<Utc>,
    ) -> Result<()> {
        // A batch is one value in memory on both sides; a DAG of 100,000 tasks goes in several.
        for chunk in rows.chunks(5_000) {
            sqlx::query(sql::INSERT_TASK_INSTANCES)
                .bind(json(chunk))
                .bind(run_key)
                .bind(Ts(run_order))
                .bind(Ts(now))
                .execute(&mut *self.conn)
                .await?;
        }
        Ok(())
    }

    async fn current_attempts(&mut self, held: &[Held]) -> Result<Vec<CurrentAttempt>> {
        let rows = sqlx::query(sql::CURRENT_ATTEMPTS).bind(json(held)).fetch_all(&mut *self.conn).await?;
        rows.iter()
            .map(|row| {
                Ok(CurrentAttempt {
                    i: row.try_get::<i64, _>("i")? as usize,
                    state: word(row, "state")?,
                    try_number: count(row, "try_number")?,
                    max_tries: count(row, "max_tries")?,
                    pool: row.try_get("pool")?,
                })
            })
            .collect()
    }

    async fn attempts_of_worker(&mut self, job_id: i64) -> Result<Vec<Held>> {
        let rows = sqlx::query(sql::ATTEMPTS_OF_WORKER).bind(job_id).fetch_all(&mut *self.conn).await?;
        rows.iter().enumerate().map(held).collect()
    }

    async fn attempts_of_run(&mut self, run_key: i64) -> Result<Vec<Held>> {
        let rows = sqlx::query(sql::ATTEMPTS_OF_RUN).bind(run_key).fetch_all(&mut *self.conn).await?;
        rows.iter().enumerate().map(held).collect()
    }

    async fn end_attempts(&mut self, ends: &[EndRow]) -> Result<Vec<(TaskKey, String)>> {
        let rows = sqlx::query(sql::END_ATTEMPTS).bind(json(ends)).fetch_all(&mut *self.conn).await?;
        rows.iter().map(|row| Ok((key(row)?, row.try_get("pool")?))).collect()
    }

    async fn archive_tries(&mut self, tries: &[(TaskKey, TaskState)]) -> Result<()> {
        #[derive(serde::Serialize)]
        struct Row<'a> {
            run_key: i64,
            task_id: &'a str,
            map_index: i32,
            state: TaskState,
        }
        let rows: Vec<Row<'_>> = tries
            .iter()
            .map(|(key, state)| Row {
                run_key: key.run_key,
                task_id: &key.task_id,
                map_index: key.map_index,
                state: *state,
            })
            .collect();
        sqlx::query(sql::ARCHIVE_TRIES).bind(json(&rows)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn move_tasks(&mut self, moves: &[MoveRow], now: DateTime<Utc>) -> Result<u64> {
        let done = sqlx::query(sql::MOVE).bind(json(moves)).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(done.rows_affected())
    }

    async fn add_outcomes(&mut self, outcomes: &[OutcomeRow]) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query(sql::ADD_OUTCOMES).bind(json(outcomes)).fetch_all(&mut *self.conn).await?;
        rows.iter().map(task).collect()
    }

    async fn undecided(&mut self, run_key: i64) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query(sql::UNDECIDED).bind(run_key).fetch_all(&mut *self.conn).await?;
        rows.iter().map(task).collect()
    }

    async fn not_started(&mut self, run_key: i64) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query(sql::NOT_STARTED).bind(run_key).fetch_all(&mut *self.conn).await?;
        rows.iter().map(task).collect()
    }

    async fn blocked_by_run(&mut self, run_key: i64, limit: i64) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query(sql::BLOCKED_BY_RUN).bind(run_key).bind(limit).fetch_all(&mut *self.conn).await?;
        rows.iter().map(task).collect()
    }

    async fn blocked_by_pool(&mut self, pool: &str, limit: i64) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query(sql::BLOCKED_BY_POOL).bind(pool).bind(limit).fetch_all(&mut *self.conn).await?;
        rows.iter().map(task).collect()
    }

    async fn blocked_pools(&mut self) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(sql::BLOCKED_POOLS).fetch_all(&mut *self.conn).await?)
    }

    async fn blocked_runs(&mut self) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::BLOCKED_RUNS).fetch_all(&mut *self.conn).await?)
    }

    async fn live(&mut self, run_keys: &[i64]) -> Result<Live> {
        let rows = sqlx::query(sql::LIVE).bind(json(run_keys)).fetch_all(&mut *self.conn).await?;
        let mut live = Live::default();
        for row in rows {
            let count: Option<i64> = row.try_get("live")?;
            match (row.try_get::<Option<i64>, _>("run_key")?, row.try_get::<Option<String>, _>("pool")?, count) {
                (Some(run), _, Some(count)) => {
                    live.runs.insert(run, count);
                }
                (None, Some(pool), Some(slots)) => {
                    live.pools.insert(pool, slots);
                }
                (None, Some(pool), None) => {
                    live.wanted.insert(pool);
                }
                _ => {}
            }
        }
        Ok(live)
    }

    async fn lock_pools(&mut self, names: &[String]) -> Result<HashMap<String, i64>> {
        let rows = sqlx::query(sql::LOCK_POOLS).bind(json(names)).fetch_all(&mut *self.conn).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("slots")?))).collect()
    }

    async fn claim(&mut self, claim: &Claim, attempt: i64, now: DateTime<Utc>) -> Result<Vec<ClaimedRow>> {
        let rows = sqlx::query(sql::CLAIM)
            .bind(json(&claim.queues))
            .bind(i64::from(claim.slots))
            .bind(attempt)
            .bind(claim.worker)
            .bind(&claim.hostname)
            .bind(i64::from(claim.pid))
            .bind(Ts(now))
            .fetch_all(&mut *self.conn)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ClaimedRow {
                    key: key(row)?,
                    attempt: row.try_get("attempt")?,
                    try_number: count(row, "try_number")?,
                    max_tries: count(row, "max_tries")?,
                    priority: row.try_get("priority")?,
                    run_order: time(row, "run_order")?,
                    version_id: row.try_get("version_id")?,
                    file: row.try_get("file")?,
                    map_value: row.try_get("map_value")?,
                    start_date: time(row, "start_date")?,
                    log_seq: row.try_get::<Option<i32>, _>("last_log_seq")?.map_or(0, |seq| seq as u32 + 1),
                })
            })
            .collect()
    }

    async fn unfinished(&mut self, keys: &[i64]) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::UNFINISHED).bind(json(keys)).fetch_all(&mut *self.conn).await?)
    }

    async fn failed_tasks(&mut self, run_key: i64) -> Result<Vec<(String, TaskState)>> {
        let rows = sqlx::query(sql::FAILED_TASKS).bind(run_key).fetch_all(&mut *self.conn).await?;
        rows.iter().map(|row| Ok((row.try_get("task_id")?, word(row, "state")?))).collect()
    }

    async fn due_timers(&mut self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Waiting>> {
        let rows = sqlx::query(sql::DUE_TIMERS).bind(Ts(now)).bind(limit).fetch_all(&mut *self.conn).await?;
        rows.iter().map(waiting).collect()
    }

    async fn waiting_in(&mut self, keys: &[Waiting], now: DateTime<Utc>) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query(sql::WAITING_IN).bind(json(keys)).bind(Ts(now)).fetch_all(&mut *self.conn).await?;
        rows.iter().map(task).collect()
    }

    async fn insert_xcoms(&mut self, rows: &[XComRow], now: DateTime<Utc>) -> Result<()> {
        sqlx::query(sql::INSERT_XCOMS).bind(json(rows)).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn clear_xcoms(&mut self, keys: &[TaskKey]) -> Result<()> {
        sqlx::query(sql::CLEAR_XCOMS).bind(json(keys)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn insert_logs(&mut self, chunks: &[LogChunk]) -> Result<()> {
        let (plain, packed) = Packed::sort(chunks)?;
        if !plain.is_empty() {
            sqlx::query(sql::INSERT_PLAIN_LOGS).bind(json(&plain)).execute(&mut *self.conn).await?;
        }
        for chunk in packed {
            sqlx::query(sql::INSERT_PACKED_LOG)
                .bind(chunk.key.task.run_key)
                .bind(&chunk.key.task.task_id)
                .bind(chunk.key.task.map_index)
                .bind(chunk.key.try_number as i32)
                .bind(chunk.seq as i32)
                .bind(chunk.lines as i32)
                .bind(chunk.data)
                .execute(&mut *self.conn)
                .await?;
        }
        Ok(())
    }
}
