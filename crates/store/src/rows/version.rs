//! Runs that go on with another version.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::super::{Tx, flow_sql as sql};
use crate::Result;
use crate::backend::VersionStatements;
use crate::batch::{NewTaskRow, json};
use crate::records::TaskKey;
use crate::time::Ts;

#[async_trait]
impl VersionStatements for Tx {
    async fn move_run(&mut self, run_key: i64, version_id: i64, max_active_tasks: u32) -> Result<()> {
        let query = sqlx::query(sql::MOVE_RUN).bind(run_key).bind(version_id).bind(i64::from(max_active_tasks));
        query.execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn refit_tasks(&mut self, run_key: i64, rows: &[NewTaskRow]) -> Result<()> {
        for chunk in rows.chunks(5_000) {
            sqlx::query(sql::REFIT_TASKS).bind(run_key).bind(json(chunk)).execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    async fn instance_to_first(&mut self, run_key: i64, task_id: &str) -> Result<()> {
        for text in [sql::FIRST_OF_MAP, sql::LOGS_TO_FIRST, sql::XCOMS_TO_FIRST] {
            sqlx::query(text).bind(run_key).bind(task_id).execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    async fn remove_instances(&mut self, keys: &[TaskKey], now: DateTime<Utc>) -> Result<()> {
        if !keys.is_empty() {
            sqlx::query(sql::REMOVE_INSTANCES).bind(json(keys)).bind(Ts(now)).execute(&mut *self.conn).await?;
        }
        Ok(())
    }
}
