//! The outbox of alerts.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::super::{Backend, DbRow, Tx, queries, sql};
use super::{count, json, time, time_opt, ts, word};
use crate::Result;
use crate::alerts::{AlertRecord, AlertRows, AlertStatements};
use crate::batch::{self, AlertRow};
use crate::logs::LogKey;
use crate::time::Ts;

fn alert(row: &DbRow) -> Result<AlertRecord> {
    Ok(AlertRecord {
        id: row.try_get("id")?,
        dedup: row.try_get("dedup")?,
        run_key: row.try_get("run_key")?,
        dag_id: row.try_get("dag_id")?,
        run_id: row.try_get("run_id")?,
        task_id: row.try_get("task_id")?,
        map_index: row.try_get("map_index")?,
        try_number: count(row, "try_number")?,
        max_tries: count(row, "max_tries")?,
        event: word(row, "event")?,
        start_date: time_opt(row, "start_date")?,
        end_date: time_opt(row, "end_date")?,
        note: row.try_get("note")?,
        target: json(row, "target")?,
        created_at: time(row, "created_at")?,
        attempts: count(row, "attempts")?,
        next_at: time_opt(row, "next_at")?,
        sent_at: time_opt(row, "sent_at")?,
        error: row.try_get("error")?,
    })
}

#[async_trait]
impl AlertStatements for Tx {
    async fn insert_alerts(&mut self, rows: &[AlertRow], now: DateTime<Utc>) -> Result<()> {
        sqlx::query(sql::INSERT_ALERTS).bind(batch::json(rows)).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn claim_alerts(
        &mut self,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<AlertRecord>> {
        let rows = sqlx::query(sql::CLAIM_ALERTS)
            .bind(Ts(now))
            .bind(Ts(lease_until))
            .bind(limit)
            .fetch_all(&mut *self.conn)
            .await?;
        rows.iter().map(alert).collect()
    }

    async fn end_alert(
        &mut self,
        id: i64,
        attempt: u32,
        next_at: Option<DateTime<Utc>>,
        sent_at: Option<DateTime<Utc>>,
        error: Option<&str>,
    ) -> Result<bool> {
        let done = sqlx::query(sql::END_ALERT)
            .bind(id)
            .bind(attempt as i32)
            .bind(ts(next_at))
            .bind(ts(sent_at))
            .bind(error)
            .execute(&mut *self.conn)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

#[async_trait]
impl AlertRows for Backend {
    async fn next_alert_at(&self) -> Result<Option<DateTime<Utc>>> {
        let row = sqlx::query(queries::NEXT_ALERT_AT).fetch_one(&self.readers).await?;
        time_opt(&row, "at")
    }

    async fn alerts_of_run(&self, run_key: i64) -> Result<Vec<AlertRecord>> {
        let rows = sqlx::query(queries::ALERTS_OF_RUN).bind(run_key).fetch_all(&self.readers).await?;
        rows.iter().map(alert).collect()
    }

    async fn last_log_chunk(&self, key: &LogKey) -> Result<Option<u32>> {
        let row = sqlx::query(queries::LAST_LOG_CHUNK)
            .bind(key.task.run_key)
            .bind(&key.task.task_id)
            .bind(key.task.map_index)
            .bind(key.try_number as i32)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| count(&row, "seq")).transpose()
    }
}
