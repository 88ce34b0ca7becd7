//! Reads for explanations.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::Row as _;
use towpath_model::state::TaskState;

use super::super::{Backend, DbRow, queries};
use super::reads::task_instance;
use super::{count, time, time_opt, word};
use crate::Result;
use crate::batch;
use crate::explain::facts::{DagRoom, Held};
use crate::explain::{Class, ExplainRows, Holder, Other, RunningRun};
use crate::records::{ImportError, TaskInstanceRecord};

fn other(row: &DbRow) -> Result<Other> {
    Ok(Other {
        task_id: row.try_get("task_id")?,
        map_index: row.try_get("map_index")?,
        state: word(row, "state")?,
        try_number: count(row, "try_number")?,
        available_at: time_opt(row, "available_at")?,
    })
}

fn number(row: &DbRow, column: &str) -> Result<u32> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
}

#[async_trait]
impl ExplainRows for Backend {
    async fn import_error(&self, file: &str) -> Result<Option<ImportError>> {
        let row = sqlx::query(queries::IMPORT_ERROR).bind(file).fetch_optional(&self.readers).await?;
        row.map(|row| {
            Ok(ImportError { file: row.try_get("file")?, message: row.try_get("message")?, at: time(&row, "at")? })
        })
        .transpose()
    }

    async fn dag_room(&self, dag_id: &str) -> Result<DagRoom> {
        let row = sqlx::query(queries::DAG_ROOM).bind(dag_id).fetch_one(&self.readers).await?;
        Ok(DagRoom {
            is_planned: row.try_get("is_planned")?,
            active: number(&row, "active")?,
            running: number(&row, "running")?,
        })
    }

    async fn some_running_runs(&self, dag_id: &str, limit: u32) -> Result<Vec<RunningRun>> {
        let rows = sqlx::query(queries::SOME_RUNNING_RUNS)
            .bind(dag_id)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| Ok(RunningRun { run_id: row.try_get("run_id")?, since: time_opt(row, "start_date")? }))
            .collect()
    }

    async fn live_in_run(&self, run_key: i64) -> Result<u32> {
        number(&sqlx::query(queries::LIVE_IN_RUN).bind(run_key).fetch_one(&self.readers).await?, "live")
    }

    async fn pool_holders(&self, pools: &[&str], per_pool: u32) -> Result<HashMap<String, Held>> {
        let rows = sqlx::query(queries::POOL_HOLDERS)
            .bind(batch::json(pools))
            .bind(i64::from(per_pool))
            .fetch_all(&self.readers)
            .await?;
        let mut held: HashMap<String, Held> = HashMap::new();
        for row in &rows {
            let entry = held.entry(row.try_get("pool")?).or_default();
            entry.count = row.try_get::<i64, _>("holders")? as u64;
            entry.holders.push(Holder {
                dag_id: row.try_get("dag_id")?,
                run_id: row.try_get("run_id")?,
                task_id: row.try_get("task_id")?,
                map_index: row.try_get("map_index")?,
                slots: count(row, "pool_slots")?,
                since: time_opt(row, "since")?,
            });
        }
        Ok(held)
    }

    async fn busy_workers(&self) -> Result<HashMap<i64, u32>> {
        let rows = sqlx::query(queries::BUSY_WORKERS).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row.try_get("worker")?, number(row, "busy")?))).collect()
    }

    async fn some_instances(
        &self,
        run_key: i64,
        task_ids: &[&str],
        states: &[TaskState],
        limit: u32,
    ) -> Result<Vec<Other>> {
        let rows = sqlx::query(queries::SOME_INSTANCES)
            .bind(run_key)
            .bind(batch::json(task_ids))
            .bind(batch::json(states))
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(other).collect()
    }

    async fn some_failed(&self, run_key: i64, limit: u32) -> Result<Vec<Other>> {
        let rows =
            sqlx::query(queries::SOME_FAILED).bind(run_key).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(other).collect()
    }

    async fn unfinished_classes(&self, run_key: i64) -> Result<Vec<Class>> {
        let rows = sqlx::query(queries::UNFINISHED_CLASSES).bind(run_key).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(Class {
                    state: word(row, "state")?,
                    blocked_by: row.try_get("blocked_by")?,
                    pool: row.try_get("pool")?,
                    queue: row.try_get("queue")?,
                    count: row.try_get::<i64, _>("count")? as u64,
                })
            })
            .collect()
    }

    async fn some_of_class(&self, run_key: i64, class: &Class, limit: u32) -> Result<Vec<TaskInstanceRecord>> {
        let rows = sqlx::query(queries::SOME_OF_CLASS)
            .bind(run_key)
            .bind(class.state.as_ref())
            .bind(class.blocked_by())
            .bind(&class.pool)
            .bind(&class.queue)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(task_instance).collect()
    }
}
