//! DAGs and versions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row as _};
use towpath_model::timetable::{DataInterval, DueRun};

use super::super::{Backend, Db, DbRow, Tx, queries, sql};
use super::{count, json, time, time_opt};
use crate::Result;
use crate::batch::{self, NextRow};
use crate::dags::{DagRow, DagRows, DagStatements, KnownHash, LockedDag, SchedulableRow};
use crate::records::{DagFilter, DagRecord, ImportError, Page, VersionRecord};
use crate::time::Ts;

pub(super) fn dag(row: &DbRow) -> Result<DagRecord> {
    let next_run = match (time_opt(row, "next_run_after")?, time_opt(row, "next_logical_date")?) {
        (Some(run_after), Some(logical_date)) => Some(DueRun {
            run_after,
            logical_date,
            data_interval: DataInterval {
                start: time(row, "next_interval_start")?,
                end: time(row, "next_interval_end")?,
            },
        }),
        _ => None,
    };
    Ok(DagRecord {
        dag_id: row.try_get("dag_id")?,
        file: row.try_get("file")?,
        is_paused: row.try_get("is_paused")?,
        is_active: row.try_get("is_active")?,
        version_id: row.try_get("version_id")?,
        version_number: row.try_get("version_number")?,
        description: row.try_get("description")?,
        owners: json(row, "owners")?,
        tags: json(row, "tags")?,
        schedule: row.try_get("schedule")?,
        max_active_runs: count(row, "max_active_runs")?,
        next_run,
        last_parsed_at: time(row, "last_parsed_at")?,
    })
}

fn version(row: &DbRow) -> Result<VersionRecord> {
    Ok(VersionRecord {
        id: row.try_get("id")?,
        dag_id: row.try_get("dag_id")?,
        number: row.try_get("number")?,
        hash: row.try_get("hash")?,
        file: row.try_get("file")?,
        source: row.try_get("source")?,
        created_at: time(row, "created_at")?,
    })
}

fn narrow(query: &mut QueryBuilder<Db>, filter: &DagFilter) {
    query.push(if filter.include_stale { " WHERE 1 = 1" } else { " WHERE d.is_active" });
    if let Some(part) = &filter.id_contains {
        let escaped = part.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        query.push(" AND lower(d.dag_id) LIKE ").push_bind(format!("%{escaped}%")).push(" ESCAPE '\\'");
    }
    if let Some(dag_ids) = &filter.among {
        super::access::among(query, "d.dag_id", dag_ids);
    }
    match filter.paused {
        Some(true) => query.push(" AND d.is_paused"),
        Some(false) => query.push(" AND NOT d.is_paused"),
        None => query,
    };
}

#[async_trait]
impl DagStatements for Tx {
    async fn lock_dag(&mut self, dag_id: &str) -> Result<Option<LockedDag>> {
        let Some(row) = sqlx::query(sql::LOCK_DAG).bind(dag_id).fetch_optional(&mut *self.conn).await? else {
            return Ok(None);
        };
        let running = sqlx::query_scalar(sql::COUNT_RUNNING).bind(dag_id).fetch_one(&mut *self.conn).await?;
        Ok(Some(LockedDag {
            version_id: row.try_get("version_id")?,
            is_paused: row.try_get("is_paused")?,
            max_active_runs: row.try_get("max_active_runs")?,
            running,
            next_run_after: time_opt(&row, "next_run_after")?,
            next_for_version: row.try_get("next_for_version")?,
        }))
    }

    async fn set_next_runs(&mut self, rows: &[NextRow]) -> Result<u64> {
        Ok(sqlx::query(sql::SET_NEXT_RUNS).bind(batch::json(rows)).execute(&mut *self.conn).await?.rows_affected())
    }

    async fn set_paused(&mut self, dag_id: &str, paused: bool) -> Result<bool> {
        let done = sqlx::query(sql::SET_PAUSED).bind(dag_id).bind(paused).execute(&mut *self.conn).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn known_hashes(&mut self, rows: &[DagRow<'_>]) -> Result<Vec<KnownHash>> {
        let keys: Vec<_> = rows
            .iter()
            .map(|row| serde_json::json!({"dag_id": row.dag_id, "hash": row.hash, "file": row.file}))
            .collect();
        let rows = sqlx::query(sql::KNOWN_HASHES).bind(batch::json(&keys)).fetch_all(&mut *self.conn).await?;
        rows.iter()
            .map(|row| Ok(KnownHash { dag_id: row.try_get("dag_id")?, is_current: row.try_get("is_current")? }))
            .collect()
    }

    async fn upsert_dags(&mut self, rows: &[DagRow<'_>], now: DateTime<Utc>) -> Result<u32> {
        let rows = batch::json(rows);
        sqlx::query(sql::UPSERT_DAGS).bind(&rows).bind(Ts(now)).execute(&mut *self.conn).await?;
        let created: i64 = sqlx::query_scalar(sql::COUNT_NEW_DAGS).bind(&rows).fetch_one(&mut *self.conn).await?;
        sqlx::query(sql::INSERT_VERSIONS).bind(&rows).bind(Ts(now)).execute(&mut *self.conn).await?;
        sqlx::query(sql::POINT_DAGS).bind(&rows).execute(&mut *self.conn).await?;
        Ok(created as u32)
    }

    async fn deactivate_dags(&mut self, dag_ids: &[String]) -> Result<()> {
        sqlx::query(sql::DEACTIVATE_DAGS).bind(batch::json(dag_ids)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn set_import_errors(&mut self, errors: &[(&str, &str)], now: DateTime<Utc>) -> Result<()> {
        let rows: Vec<_> = errors
            .iter()
            .map(|(file, message)| serde_json::json!({"file": file, "message": message.replace('\0', "\u{fffd}")}))
            .collect();
        sqlx::query(sql::SET_IMPORT_ERRORS).bind(batch::json(&rows)).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn clear_import_errors(&mut self, files: &[&str]) -> Result<()> {
        sqlx::query(sql::CLEAR_IMPORT_ERRORS).bind(batch::json(files)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn version_spec(&mut self, version_id: i64) -> Result<Option<String>> {
        Ok(sqlx::query_scalar(queries::VERSION_SPEC).bind(version_id).fetch_optional(&mut *self.conn).await?)
    }

    async fn delete_dag(&mut self, dag_id: &str) -> Result<()> {
        for statement in [sql::DELETE_RUNS_OF_DAG, sql::DELETE_VERSIONS_OF_DAG, sql::DELETE_DAG] {
            sqlx::query(statement).bind(dag_id).execute(&mut *self.conn).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl DagRows for Backend {
    async fn dags(&self, filter: &DagFilter) -> Result<Page<DagRecord>> {
        let mut query = QueryBuilder::<Db>::new(queries::SELECT_DAGS);
        narrow(&mut query, filter);
        query.push(" ORDER BY d.dag_id LIMIT ").push_bind(i64::from(filter.limit));
        query.push(" OFFSET ").push_bind(i64::from(filter.offset));
        let rows = query.build().fetch_all(&self.readers).await?;
        let items = rows.iter().map(dag).collect::<Result<Vec<_>>>()?;
        let mut query = QueryBuilder::<Db>::new("SELECT count(*) FROM dag d JOIN dag_version v ON v.id = d.version_id");
        narrow(&mut query, filter);
        let total: i64 = query.build_query_scalar().fetch_one(&self.readers).await?;
        Ok(Page { items, total: total as u64 })
    }

    async fn dag(&self, dag_id: &str) -> Result<Option<DagRecord>> {
        let row = sqlx::query(queries::DAG).bind(dag_id).fetch_optional(&self.readers).await?;
        row.as_ref().map(dag).transpose()
    }

    async fn version(&self, version_id: i64) -> Result<Option<VersionRecord>> {
        let row = sqlx::query(queries::VERSION).bind(version_id).fetch_optional(&self.readers).await?;
        row.as_ref().map(version).transpose()
    }

    async fn versions(&self, dag_id: &str) -> Result<Vec<VersionRecord>> {
        let rows = sqlx::query(queries::VERSIONS).bind(dag_id).fetch_all(&self.readers).await?;
        rows.iter().map(version).collect()
    }

    async fn import_errors(&self) -> Result<Vec<ImportError>> {
        let rows = sqlx::query(queries::IMPORT_ERRORS).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(ImportError { file: row.try_get("file")?, message: row.try_get("message")?, at: time(row, "at")? })
            })
            .collect()
    }

    async fn schedulable(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<SchedulableRow>> {
        let rows =
            sqlx::query(queries::SCHEDULABLE).bind(Ts(now)).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let last = match (time_opt(row, "last_start")?, time_opt(row, "last_end")?) {
                    (Some(start), Some(end)) => Some(DataInterval { start, end }),
                    _ => None,
                };
                Ok(SchedulableRow {
                    record: dag(row)?,
                    last_interval: last,
                    active_runs: row.try_get::<i64, _>("active_runs")? as u32,
                    last_run_end: time_opt(row, "last_run_end")?,
                })
            })
            .collect()
    }

    async fn next_due_at(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let row = sqlx::query(queries::NEXT_DUE_AT).bind(Ts(now)).fetch_one(&self.readers).await?;
        time_opt(&row, "at")
    }
}
