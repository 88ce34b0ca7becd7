//! What cleans the staging area has to know.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::super::{Backend, Tx, staging_sql};
use super::{time_opt, word};
use crate::Result;
use crate::batch::json;
use crate::staging::{RunEnd, StagingRows, StagingStatements};
use crate::time::Ts;

#[async_trait]
impl StagingRows for Backend {
    async fn removals(&self, limit: i64) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query(staging_sql::REMOVALS).bind(limit).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row.try_get("dag_id")?, row.try_get("run_id")?))).collect()
    }

    async fn run_ends(&self, dag_id: &str, run_ids: &[String]) -> Result<Vec<(String, RunEnd)>> {
        let rows = sqlx::query(staging_sql::RUN_ENDS).bind(dag_id).bind(json(run_ids)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let end = RunEnd {
                    key: row.try_get("key")?,
                    state: word(row, "state")?,
                    end_date: time_opt(row, "end_date")?,
                };
                Ok((row.try_get("run_id")?, end))
            })
            .collect()
    }

    async fn latest_success(&self, dag_id: &str) -> Result<Option<String>> {
        let row = sqlx::query(staging_sql::LATEST_SUCCESS).bind(dag_id).fetch_optional(&self.readers).await?;
        Ok(row.map(|row| row.try_get("run_id")).transpose()?)
    }
}

#[async_trait]
impl StagingStatements for Tx {
    async fn remember_run(&mut self, run_key: i64, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(staging_sql::REMEMBER_RUN).bind(run_key).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn remember_runs_of_dag(&mut self, dag_id: &str, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(staging_sql::REMEMBER_RUNS_OF_DAG).bind(dag_id).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn forget_removal(&mut self, dag_id: &str, run_id: &str) -> Result<()> {
        sqlx::query(staging_sql::FORGET_REMOVAL).bind(dag_id).bind(run_id).execute(&mut *self.conn).await?;
        Ok(())
    }
}
