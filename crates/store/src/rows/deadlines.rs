//! Deadlines of runs.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::super::{Backend, DbRow, Tx, access_sql, deadline_sql as sql};
use super::{json, time, time_opt};
use crate::Result;
use crate::audit::EventRow;
use crate::batch;
use crate::deadlines::{DeadlineRecord, DeadlineRow, DeadlineRows, DeadlineStatements};
use crate::time::Ts;

fn deadline(row: &DbRow) -> Result<DeadlineRecord> {
    Ok(DeadlineRecord {
        id: row.try_get("id")?,
        run_key: row.try_get("run_key")?,
        number: row.try_get("number")?,
        name: row.try_get("name")?,
        reference: row.try_get("reference")?,
        interval_us: row.try_get("interval_us")?,
        deadline_time: time(row, "deadline_time")?,
        targets: json(row, "targets")?,
        missed_at: time_opt(row, "missed_at")?,
        created_at: time(row, "created_at")?,
    })
}

#[async_trait]
impl DeadlineStatements for Tx {
    async fn insert_deadlines(&mut self, rows: &[DeadlineRow], now: DateTime<Utc>) -> Result<()> {
        sqlx::query(sql::INSERT_DEADLINES).bind(batch::json(rows)).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn runtimes(&mut self, dag_id: &str, limit: u32) -> Result<Vec<Duration>> {
        let took: Vec<i64> =
            sqlx::query_scalar(sql::RUNTIMES).bind(dag_id).bind(i64::from(limit)).fetch_all(&mut *self.conn).await?;
        Ok(took.into_iter().map(|us| Duration::from_micros(us.max(0) as u64)).collect())
    }

    async fn drop_deadlines(&mut self, run_key: i64, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(sql::DROP_DEADLINES).bind(run_key).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn move_deadlines(&mut self, run_key: i64, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(sql::MOVE_DEADLINES).bind(run_key).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn due_deadlines(&mut self, now: DateTime<Utc>, limit: i64) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::DUE_DEADLINES).bind(Ts(now)).bind(limit).fetch_all(&mut *self.conn).await?)
    }

    async fn miss_deadlines(&mut self, run_keys: &[i64], now: DateTime<Utc>) -> Result<Vec<DeadlineRecord>> {
        let keys = batch::json(run_keys);
        sqlx::query(sql::DROP_MET).bind(&keys).bind(Ts(now)).execute(&mut *self.conn).await?;
        let rows = sqlx::query(sql::MISS_DEADLINES).bind(&keys).bind(Ts(now)).fetch_all(&mut *self.conn).await?;
        rows.iter().map(deadline).collect()
    }

    async fn write_events(&mut self, rows: &[EventRow<'_>]) -> Result<()> {
        sqlx::query(access_sql::INSERT_EVENTS).bind(batch::json(rows)).execute(&mut *self.conn).await?;
        Ok(())
    }
}

#[async_trait]
impl DeadlineRows for Backend {
    async fn deadlines_of_run(&self, run_key: i64) -> Result<Vec<DeadlineRecord>> {
        let rows = sqlx::query(sql::DEADLINES_OF_RUN).bind(run_key).fetch_all(&self.readers).await?;
        rows.iter().map(deadline).collect()
    }
}
