//! Cleaning.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::super::{Backend, Tx, clean_sql as sql};
use crate::Result;
use crate::batch::json;
use crate::clean::{CleanRows, CleanStatements, Cleanable};
use crate::time::Ts;

#[async_trait]
impl CleanRows for Backend {
    async fn all_dags(&self) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(sql::ALL_DAGS).fetch_all(&self.readers).await?)
    }

    async fn count_old(&self, what: Cleanable, before: DateTime<Utc>) -> Result<u64> {
        let statement = match what {
            Cleanable::DagRun => return Ok(0),
            Cleanable::AssetEvent => sql::COUNT_ASSET_EVENTS,
            Cleanable::Log => sql::COUNT_LOG,
            Cleanable::Job => sql::COUNT_JOBS,
            Cleanable::Backfill => sql::COUNT_BACKFILLS,
        };
        let count: i64 = sqlx::query_scalar(statement).bind(Ts(before)).fetch_one(&self.readers).await?;
        Ok(count.unsigned_abs())
    }

    async fn count_old_runs(&self, dag_id: &str, before: DateTime<Utc>) -> Result<u64> {
        let kept: Vec<i64> = sqlx::query_scalar(sql::KEPT_RUNS).bind(dag_id).fetch_all(&self.readers).await?;
        let query = sqlx::query_scalar(sql::COUNT_OLD_RUNS).bind(dag_id).bind(Ts(before)).bind(json(&kept));
        let count: i64 = query.fetch_one(&self.readers).await?;
        Ok(count.unsigned_abs())
    }
}

#[async_trait]
impl CleanStatements for Tx {
    async fn old_runs(&mut self, dag_id: &str, before: DateTime<Utc>, limit: i64) -> Result<Vec<i64>> {
        let kept: Vec<i64> = sqlx::query_scalar(sql::KEPT_RUNS).bind(dag_id).fetch_all(&mut *self.conn).await?;
        let query = sqlx::query_scalar(sql::OLD_RUNS).bind(dag_id).bind(Ts(before)).bind(json(&kept)).bind(limit);
        Ok(query.fetch_all(&mut *self.conn).await?)
    }

    async fn clean(&mut self, what: Cleanable, before: DateTime<Utc>, limit: i64) -> Result<u64> {
        let statement = match what {
            Cleanable::DagRun => return Ok(0),
            Cleanable::AssetEvent => sql::CLEAN_ASSET_EVENTS,
            Cleanable::Log => sql::CLEAN_LOG,
            Cleanable::Job => sql::CLEAN_JOBS,
            Cleanable::Backfill => sql::CLEAN_BACKFILLS,
        };
        let done = sqlx::query(statement).bind(Ts(before)).bind(limit).execute(&mut *self.conn).await?;
        Ok(done.rows_affected())
    }
}
