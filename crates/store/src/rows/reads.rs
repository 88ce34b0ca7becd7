//! Reads of runs, task instances and what they leave behind.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use towpath_model::state::TaskState;
use towpath_model::timetable::DataInterval;

use super::super::{Backend, DbRow, queries};
use super::{count, json, tasks, time, time_opt, word};
use crate::Result;
use crate::batch;
use crate::logs::{LogChunk, LogKey, unpack};
use crate::reads::ReadRows;
use crate::records::{JobRecord, NewJob, PoolRecord, RunRecord, TaskInstanceRecord, TaskKey, TryRecord, XComRecord};
use crate::time::Ts;
use crate::values;

pub(super) fn run(row: &DbRow) -> Result<RunRecord> {
    let data_interval = match (time_opt(row, "interval_start")?, time_opt(row, "interval_end")?) {
        (Some(start), Some(end)) => Some(DataInterval { start, end }),
        _ => None,
    };
    Ok(RunRecord {
        key: row.try_get("key")?,
        dag_id: row.try_get("dag_id")?,
        run_id: row.try_get("run_id")?,
        run_type: word(row, "run_type")?,
        state: word(row, "state")?,
        logical_date: time_opt(row, "logical_date")?,
        data_interval,
        run_after: time(row, "run_after")?,
        queued_at: time(row, "queued_at")?,
        start_date: time_opt(row, "start_date")?,
        end_date: time_opt(row, "end_date")?,
        conf: json(row, "conf")?,
        note: row.try_get("note")?,
        triggered_by: word(row, "triggered_by")?,
        triggering_user: row.try_get("triggering_user")?,
        version_id: row.try_get("version_id")?,
        version_number: row.try_get("version_number")?,
        queue: row.try_get("queue")?,
    })
}

fn pid(row: &DbRow) -> Result<Option<u32>> {
    Ok(row.try_get::<Option<i64>, _>("pid")?.and_then(|pid| u32::try_from(pid).ok()))
}

fn task_key(row: &DbRow) -> Result<TaskKey> {
    Ok(TaskKey {
        run_key: row.try_get("run_key")?,
        task_id: row.try_get("task_id")?,
        map_index: row.try_get("map_index")?,
    })
}

pub(super) fn task_instance(row: &DbRow) -> Result<TaskInstanceRecord> {
    let blocked_by: Option<String> = row.try_get("blocked_by")?;
    let pool: String = row.try_get("pool")?;
    let at_gate = blocked_by.as_deref() == Some("gate");
    let waits = blocked_by.map(|limit| match limit.as_str() {
        "pool" => format!("waits for a slot in pool `{pool}`"),
        "gate" => "waits for other runs or instances of its task".to_owned(),
        _ => "waits for a slot of its run (max_active_tasks), or its DAG is paused".to_owned(),
    });
    Ok(TaskInstanceRecord {
        key: task_key(row)?,
        dag_id: row.try_get("dag_id")?,
        run_id: row.try_get("run_id")?,
        logical_date: time_opt(row, "logical_date")?,
        run_after: time(row, "run_after")?,
        version_id: row.try_get("version_id")?,
        version_number: row.try_get("version_number")?,
        state: word(row, "state")?,
        try_number: count(row, "try_number")?,
        max_tries: count(row, "max_tries")?,
        queued_at: time_opt(row, "queued_at")?,
        start_date: time_opt(row, "start_date")?,
        end_date: time_opt(row, "end_date")?,
        available_at: time_opt(row, "available_at")?,
        hostname: row.try_get("hostname")?,
        pid: pid(row)?,
        pool,
        pool_slots: count(row, "pool_slots")?,
        queue: row.try_get("queue")?,
        priority_weight: row.try_get("priority")?,
        upstream: tasks::upstream(row)?,
        at_gate,
        note: waits.or(row.try_get("note")?),
        rendered_map_index: row.try_get("rendered_map_index")?,
    })
}

fn xcom(row: &DbRow) -> Result<XComRecord> {
    let file = values::file(row.try_get("value")?).map(str::to_owned);
    let value = if file.is_some() { serde_json::Value::Null } else { json(row, "value")? };
    Ok(XComRecord {
        key: row.try_get("key")?,
        task_id: row.try_get("task_id")?,
        map_index: row.try_get("map_index")?,
        value,
        file,
        at: time(row, "at")?,
    })
}

#[async_trait]
impl ReadRows for Backend {
    async fn run(&self, dag_id: &str, run_id: &str) -> Result<Option<RunRecord>> {
        let row = sqlx::query(queries::RUN).bind(dag_id).bind(run_id).fetch_optional(&self.readers).await?;
        row.as_ref().map(run).transpose()
    }

    async fn run_at(&self, dag_id: &str, logical_date: DateTime<Utc>) -> Result<Option<RunRecord>> {
        let row =
            sqlx::query(queries::RUN_AT).bind(dag_id).bind(Ts(logical_date)).fetch_optional(&self.readers).await?;
        row.as_ref().map(run).transpose()
    }

    async fn run_by_key(&self, key: i64) -> Result<Option<RunRecord>> {
        let row = sqlx::query(queries::RUN_BY_KEY).bind(key).fetch_optional(&self.readers).await?;
        row.as_ref().map(run).transpose()
    }

    async fn previous_success(&self, before: &RunRecord) -> Result<Option<RunRecord>> {
        let row = sqlx::query(queries::PREVIOUS_SUCCESS)
            .bind(&before.dag_id)
            .bind(Ts(before.logical_date.unwrap_or(before.run_after)))
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(run).transpose()
    }

    async fn newest_runs(&self, dag_ids: &[String], per_dag: u32) -> Result<Vec<RunRecord>> {
        let rows = sqlx::query(queries::NEWEST_RUNS)
            .bind(batch::json(dag_ids))
            .bind(i64::from(per_dag))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(run).collect()
    }

    async fn task_instances(&self, run_key: i64) -> Result<Vec<TaskInstanceRecord>> {
        let rows = sqlx::query(queries::TASK_INSTANCES).bind(run_key).fetch_all(&self.readers).await?;
        rows.iter().map(task_instance).collect()
    }

    async fn some_task_instances(&self, run_key: i64, keys: &[(&str, i32)]) -> Result<Vec<TaskInstanceRecord>> {
        let keys: Vec<_> = keys
            .iter()
            .map(|(task_id, map_index)| serde_json::json!({"task_id": task_id, "map_index": map_index}))
            .collect();
        let query = sqlx::query(queries::SOME_TASK_INSTANCES).bind(run_key).bind(batch::json(&keys));
        query.fetch_all(&self.readers).await?.iter().map(task_instance).collect()
    }

    async fn task_instance(&self, key: &TaskKey) -> Result<Option<TaskInstanceRecord>> {
        let row = sqlx::query(queries::TASK_INSTANCE)
            .bind(key.run_key)
            .bind(&key.task_id)
            .bind(key.map_index)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(task_instance).transpose()
    }

    async fn task_states(&self, run_key: i64, task_ids: &[String]) -> Result<Vec<(String, TaskState)>> {
        let rows = sqlx::query(queries::TASK_STATES)
            .bind(run_key)
            .bind(batch::json(task_ids))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("task_id")?, word(row, "state")?))).collect()
    }

    async fn past_tries(&self, key: &TaskKey) -> Result<Vec<TryRecord>> {
        let rows = sqlx::query(queries::PAST_TRIES)
            .bind(key.run_key)
            .bind(&key.task_id)
            .bind(key.map_index)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TryRecord {
                    key: task_key(row)?,
                    try_number: count(row, "try_number")?,
                    state: word(row, "state")?,
                    queued_at: time_opt(row, "queued_at")?,
                    start_date: time_opt(row, "start_date")?,
                    end_date: time_opt(row, "end_date")?,
                    hostname: row.try_get("hostname")?,
                    pid: pid(row)?,
                    note: row.try_get("note")?,
                    usage: super::evidence::usage(row)?,
                })
            })
            .collect()
    }

    async fn state_counts(&self) -> Result<HashMap<TaskState, u64>> {
        let rows = sqlx::query(queries::STATE_COUNTS).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((word(row, "state")?, row.try_get::<i64, _>("count")? as u64))).collect()
    }

    async fn log_chunks(&self, key: &LogKey, from_seq: u32, limit: u32) -> Result<Vec<LogChunk>> {
        let rows = sqlx::query(queries::LOG_CHUNKS)
            .bind(key.task.run_key)
            .bind(&key.task.task_id)
            .bind(key.task.map_index)
            .bind(key.try_number as i32)
            .bind(from_seq as i32)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let encoding: String = row.try_get("encoding")?;
                let data: Vec<u8> = row.try_get("data")?;
                Ok(LogChunk {
                    key: key.clone(),
                    seq: count(row, "seq")?,
                    lines: count(row, "lines")?,
                    text: unpack(&encoding, &data)?,
                })
            })
            .collect()
    }

    async fn xcoms(&self, run_key: i64, task_id: &str, key: &str, map_index: Option<i32>) -> Result<Vec<XComRecord>> {
        let query = match map_index {
            Some(index) => sqlx::query(queries::XCOM).bind(run_key).bind(task_id).bind(key).bind(index),
            None => sqlx::query(queries::XCOMS).bind(run_key).bind(task_id).bind(key),
        };
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(xcom).collect()
    }

    async fn task_xcoms(&self, key: &TaskKey) -> Result<Vec<XComRecord>> {
        let rows = sqlx::query(queries::TASK_XCOMS)
            .bind(key.run_key)
            .bind(&key.task_id)
            .bind(key.map_index)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(xcom).collect()
    }

    async fn jobs(&self) -> Result<Vec<JobRecord>> {
        let rows = sqlx::query(queries::JOBS).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(JobRecord {
                    id: row.try_get("id")?,
                    job: NewJob {
                        job_type: word(row, "job_type")?,
                        hostname: row.try_get("hostname")?,
                        pid: pid(row)?.unwrap_or_default(),
                        process_mark: row.try_get("process_mark")?,
                        queues: json(row, "queues")?,
                        slots: count(row, "slots")?,
                    },
                    state: word(row, "state")?,
                    started_at: time(row, "started_at")?,
                    heartbeat_at: time(row, "heartbeat_at")?,
                    lease_until: time(row, "lease_until")?,
                })
            })
            .collect()
    }

    async fn pools(&self) -> Result<Vec<PoolRecord>> {
        let rows = sqlx::query(queries::POOLS).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(PoolRecord {
                    name: row.try_get("name")?,
                    slots: count(row, "slots")?,
                    description: row.try_get("description")?,
                    used: row.try_get::<i64, _>("used")? as u32,
                })
            })
            .collect()
    }
}
