//! Backfills.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use towpath_model::state::RunState;

use super::super::{Backend, DbRow, Tx, flow_sql as sql, queries};
use super::{json as from_json, time, time_opt, word};
use crate::Result;
use crate::backend::BackfillStatements;
use crate::batch::json;
use crate::engine::backfill::{BackfillRecord, BackfillRows, NewBackfill};
use crate::time::Ts;

#[async_trait]
impl BackfillStatements for Tx {
    async fn insert_backfill(&mut self, new: &NewBackfill, now: DateTime<Utc>) -> Result<i64> {
        let query = sqlx::query_scalar(sql::INSERT_BACKFILL)
            .bind(&new.dag_id)
            .bind(Ts(new.from))
            .bind(Ts(new.to))
            .bind(new.reprocess.as_ref())
            .bind(new.max_active_runs as i32)
            .bind(new.backwards)
            .bind(json(&new.conf))
            .bind(Ts(now))
            .bind(&new.triggering_user);
        Ok(query.fetch_one(&mut *self.conn).await?)
    }

    async fn join_backfill(&mut self, run_key: i64, id: i64, order: i32) -> Result<()> {
        sqlx::query(sql::JOIN_BACKFILL).bind(run_key).bind(id).bind(order).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn run_of_date(&mut self, dag_id: &str, logical_date: DateTime<Utc>) -> Result<Option<(i64, RunState)>> {
        let query = sqlx::query(sql::RUN_OF_DATE).bind(dag_id).bind(Ts(logical_date));
        let row = query.fetch_optional(&mut *self.conn).await?;
        row.map(|row: DbRow| Ok((row.try_get("key")?, word(&row, "state")?))).transpose()
    }

    async fn backfill_room(&mut self, id: i64) -> Result<i64> {
        let room: Option<i64> = sqlx::query_scalar(sql::BACKFILL_ROOM).bind(id).fetch_optional(&mut *self.conn).await?;
        Ok(room.unwrap_or(0))
    }

    async fn set_backfill(&mut self, id: i64, paused: Option<bool>, cancelled: bool) -> Result<bool> {
        let query = sqlx::query(sql::SET_BACKFILL).bind(id).bind(paused).bind(cancelled);
        Ok(query.execute(&mut *self.conn).await?.rows_affected() == 1)
    }

    async fn queued_of_backfill(&mut self, id: i64) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::QUEUED_OF_BACKFILL).bind(id).fetch_all(&mut *self.conn).await?)
    }
}

fn backfill(row: &DbRow) -> Result<BackfillRecord> {
    let number = |column: &str| -> Result<u64> { Ok(row.try_get::<i64, _>(column)? as u64) };
    let open = number("queued")? + number("running")?;
    let last_end = time_opt(row, "last_end")?;
    let created_at = time(row, "created_at")?;
    Ok(BackfillRecord {
        id: row.try_get("id")?,
        backfill: NewBackfill {
            dag_id: row.try_get("dag_id")?,
            from: time(row, "from_date")?,
            to: time(row, "to_date")?,
            reprocess: word(row, "reprocess")?,
            max_active_runs: super::count(row, "max_active_runs")?,
            backwards: row.try_get("backwards")?,
            conf: from_json(row, "conf")?,
            triggering_user: row.try_get("triggering_user")?,
        },
        is_paused: row.try_get("is_paused")?,
        is_cancelled: row.try_get("is_cancelled")?,
        created_at,
        completed_at: (open == 0).then(|| last_end.unwrap_or(created_at)),
        runs: number("runs")?,
        queued: number("queued")?,
        running: number("running")?,
        success: number("success")?,
        failed: number("failed")?,
    })
}

#[async_trait]
impl BackfillRows for Backend {
    async fn backfills(&self, dag_id: Option<&str>, id: Option<i64>) -> Result<Vec<BackfillRecord>> {
        let query = sqlx::query(queries::BACKFILLS).bind(dag_id).bind(id);
        query.fetch_all(&self.readers).await?.iter().map(backfill).collect()
    }
}
