//! What attempts leave behind beside their outcomes.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::Row as _;

use super::super::{Backend, DbRow, Tx, evidence_sql};
use super::{count, json};
use crate::Result;
use crate::batch;
use crate::evidence::{EvidenceRows, EvidenceStatements, NameRow, RENDERED_RUNS, Rendered, RenderedRow, Usage};
use crate::logs::LogKey;
use crate::records::TaskKey;

/// Rows that one step forgets.
const FORGET_AT_ONCE: i64 = 2_000;

/// [`None`] where nothing is known.
pub(super) fn usage(row: &DbRow) -> Result<Option<Usage>> {
    let (cpu_ms, peak_bytes): (Option<i64>, Option<i64>) = (row.try_get("cpu_ms")?, row.try_get("peak_bytes")?);
    Ok(cpu_ms.zip(peak_bytes).map(|(cpu_ms, peak_bytes)| Usage {
        cpu_ms: u64::try_from(cpu_ms).unwrap_or_default(),
        peak_bytes: u64::try_from(peak_bytes).unwrap_or_default(),
    }))
}

#[async_trait]
impl EvidenceStatements for Tx {
    async fn keep_rendered(&mut self, rows: &[RenderedRow]) -> Result<()> {
        sqlx::query(evidence_sql::KEEP_RENDERED).bind(batch::json(rows)).execute(&mut *self.conn).await?;
        let dag_ids: BTreeSet<&str> = rows.iter().map(|row| row.dag_id.as_str()).collect();
        for dag_id in dag_ids {
            let forget = sqlx::query(evidence_sql::FORGET_RENDERED).bind(dag_id).bind(i64::from(RENDERED_RUNS));
            let forget = forget.bind(FORGET_AT_ONCE);
            forget.execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    async fn name_instances(&mut self, rows: &[NameRow]) -> Result<()> {
        sqlx::query(evidence_sql::NAME_INSTANCES).bind(batch::json(rows)).execute(&mut *self.conn).await?;
        Ok(())
    }
}

#[async_trait]
impl EvidenceRows for Backend {
    async fn rendered(&self, keys: &[TaskKey]) -> Result<Vec<(TaskKey, Rendered)>> {
        let rows = sqlx::query(evidence_sql::RENDERED).bind(batch::json(keys)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let key = TaskKey {
                    run_key: row.try_get("run_key")?,
                    task_id: row.try_get("task_id")?,
                    map_index: row.try_get("map_index")?,
                };
                Ok((key, Rendered { try_number: count(row, "try_number")?, fields: json(row, "fields")? }))
            })
            .collect()
    }

    async fn log_sizes(&self, key: &LogKey) -> Result<Vec<(u32, u32)>> {
        let rows = sqlx::query(evidence_sql::LOG_SIZES)
            .bind(key.task.run_key)
            .bind(&key.task.task_id)
            .bind(key.task.map_index)
            .bind(key.try_number as i32)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((count(row, "seq")?, count(row, "lines")?))).collect()
    }

    async fn usage(&self, key: &TaskKey) -> Result<Option<Usage>> {
        let query = sqlx::query(evidence_sql::USAGE).bind(key.run_key).bind(&key.task_id).bind(key.map_index);
        match query.fetch_optional(&self.readers).await? {
            Some(row) => usage(&row),
            None => Ok(None),
        }
    }
}
