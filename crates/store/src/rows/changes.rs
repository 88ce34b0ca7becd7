//! How runs and their task instances stand.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::super::{Backend, change_sql as sql};
use super::{count, word};
use crate::Result;
use crate::batch;
use crate::changes::{ChangeRows, RunStanding, TaskStanding};
use crate::time::Ts;

#[async_trait]
impl ChangeRows for Backend {
    async fn run_standings(&self, ended_since: DateTime<Utc>, limit: u32) -> Result<Vec<RunStanding>> {
        let query = sqlx::query(sql::RUN_STANDINGS).bind(Ts(ended_since)).bind(i64::from(limit));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(RunStanding {
                    key: row.try_get("key")?,
                    dag_id: row.try_get("dag_id")?,
                    run_id: row.try_get("run_id")?,
                    state: word(row, "state")?,
                })
            })
            .collect()
    }

    async fn task_standings(&self, run_keys: &[i64], limit: u32) -> Result<Vec<TaskStanding>> {
        let query = sqlx::query(sql::TASK_STANDINGS).bind(batch::json(run_keys)).bind(i64::from(limit));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(TaskStanding {
                    run_key: row.try_get("run_key")?,
                    task_id: row.try_get("task_id")?,
                    map_index: row.try_get("map_index")?,
                    state: word(row, "state")?,
                    try_number: count(row, "try_number")?,
                })
            })
            .collect()
    }
}
