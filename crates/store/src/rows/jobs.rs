//! Jobs.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::super::{Tx, sql};
use crate::Result;
use crate::batch::json;
use crate::jobs::JobStatements;
use crate::records::{JobState, NewJob};
use crate::time::Ts;

#[async_trait]
impl JobStatements for Tx {
    async fn insert_job(&mut self, job: &NewJob, now: DateTime<Utc>, lease_until: DateTime<Utc>) -> Result<i64> {
        let row = sqlx::query(sql::INSERT_JOB)
            .bind(job.job_type.to_string())
            .bind(&job.hostname)
            .bind(i64::from(job.pid))
            .bind(&job.process_mark)
            .bind(json(&job.queues))
            .bind(job.slots as i32)
            .bind(Ts(now))
            .bind(Ts(lease_until))
            .fetch_one(&mut *self.conn)
            .await?;
        Ok(row.try_get("id")?)
    }

    async fn heartbeat(&mut self, job_id: i64, now: DateTime<Utc>, lease_until: DateTime<Utc>) -> Result<bool> {
        let done = sqlx::query(sql::HEARTBEAT)
            .bind(job_id)
            .bind(Ts(now))
            .bind(Ts(lease_until))
            .execute(&mut *self.conn)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn close_job(&mut self, job_id: i64, state: JobState, now: DateTime<Utc>) -> Result<bool> {
        let done = sqlx::query(sql::CLOSE_JOB)
            .bind(job_id)
            .bind(state.to_string())
            .bind(Ts(now))
            .execute(&mut *self.conn)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn expired_jobs(&mut self, now: DateTime<Utc>) -> Result<Vec<(i64, String)>> {
        let rows = sqlx::query(sql::EXPIRED_JOBS).bind(Ts(now)).fetch_all(&mut *self.conn).await?;
        rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("hostname")?))).collect()
    }

    async fn orphaned(&mut self) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar(sql::ORPHANED).fetch_all(&mut *self.conn).await?)
    }
}
