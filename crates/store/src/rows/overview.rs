//! Narrow reads for pages that look over much at once.

use std::ops::Range;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{QueryBuilder, Row as _};

use super::super::instances::{instances, spans};
use super::super::{Backend, Db, DbRow, overview_sql, queries};
use super::{count, dags, json, reads, time, time_opt, word};
use crate::Result;
use crate::batch;
use crate::overview::{
    DagQuery, GridCell, HourCount, Instance, LineOf, OverviewRows, RunCount, Span, Upcoming, ZoneOffset,
};
use crate::records::{DagRecord, Page, RunRecord};
use crate::time::Ts;

fn cell(row: &DbRow) -> Result<GridCell> {
    Ok(GridCell {
        run_key: row.try_get("run_key")?,
        task_id: row.try_get("task_id")?,
        state: word(row, "state")?,
        count: row.try_get::<i64, _>("count")? as u64,
        map_index: row.try_get("map_index")?,
        try_number: count(row, "try_number")?,
        queued_at: time_opt(row, "queued_at")?,
        start_date: time_opt(row, "start_date")?,
        end_date: time_opt(row, "end_date")?,
    })
}

/// `text` as a pattern for a part of something, with `\` before what a pattern gives a meaning.
fn part(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

fn narrow(query: &mut QueryBuilder<Db>, wanted: &DagQuery) {
    query.push(" WHERE d.is_active");
    if let Some(text) = &wanted.text {
        let text = part(&text.to_lowercase());
        query.push(" AND (lower(d.dag_id) LIKE ").push_bind(text.clone()).push(" ESCAPE '\\'");
        for column in ["COALESCE(d.description, '')", "d.tags", "d.owners"] {
            query.push(format!(" OR lower({column}) LIKE ")).push_bind(text.clone()).push(" ESCAPE '\\'");
        }
        query.push(")");
    }
    // A quoted string can stand in the text of an array of strings only as one of its elements.
    let mut element = |column: &str, word: &String| {
        query.push(format!(" AND {column} LIKE ")).push_bind(part(&batch::json(word))).push(" ESCAPE '\\'");
    };
    for tag in &wanted.tags {
        element("d.tags", tag);
    }
    if let Some(owner) = &wanted.owner {
        element("d.owners", owner);
    }
    if let Some(dag_ids) = &wanted.among {
        super::access::among(query, "d.dag_id", dag_ids);
    }
    match wanted.paused {
        Some(true) => query.push(" AND d.is_paused"),
        Some(false) => query.push(" AND NOT d.is_paused"),
        None => query,
    };
    if let Some(state) = wanted.with_run {
        // The newest run says how a DAG is; what is under way may be any of them.
        if state.is_finished() {
            query.push(
                " AND (SELECT r.state FROM dag_run r WHERE r.dag_id = d.dag_id ORDER BY r.run_after DESC, r.key DESC LIMIT 1) = ",
            );
            query.push_bind(state.to_string());
        } else {
            query.push(" AND EXISTS (SELECT 1 FROM dag_run r WHERE r.dag_id = d.dag_id AND r.state IN ('queued', 'running') AND r.state = ");
            query.push_bind(state.to_string()).push(")");
        }
    }
}

#[async_trait]
impl OverviewRows for Backend {
    async fn grid(&self, run_keys: &[i64]) -> Result<Vec<Instance>> {
        let query = sqlx::query(overview_sql::GRID).bind(batch::json(run_keys));
        instances(&query.fetch_all(&self.readers).await?)
    }

    async fn grid_of_tasks(&self, run_keys: &[i64], task_ids: &[&str]) -> Result<Vec<Instance>> {
        let query = sqlx::query(overview_sql::GRID_OF_TASKS).bind(batch::json(run_keys)).bind(batch::json(task_ids));
        instances(&query.fetch_all(&self.readers).await?)
    }

    async fn spans_of_tasks(&self, run_keys: &[i64], task_ids: &[&str]) -> Result<Vec<Span>> {
        let query = sqlx::query(overview_sql::SPANS_OF_TASKS).bind(batch::json(run_keys)).bind(batch::json(task_ids));
        spans(&query.fetch_all(&self.readers).await?)
    }

    async fn grid_of_lines(&self, run_keys: &[i64], lines: &[LineOf<'_>]) -> Result<Vec<(usize, GridCell)>> {
        let query = sqlx::query(overview_sql::GRID_OF_LINES).bind(batch::json(run_keys)).bind(batch::json(lines));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row.try_get::<i64, _>("line")? as usize, cell(row)?))).collect()
    }

    async fn slowest_tasks(&self, run_key: i64, text: &str, limit: u32, offset: u32) -> Result<Vec<String>> {
        let query = sqlx::query_scalar(overview_sql::SLOWEST_TASKS).bind(run_key).bind(text);
        Ok(query.bind(i64::from(limit)).bind(i64::from(offset)).fetch_all(&self.readers).await?)
    }

    async fn run_counts(
        &self,
        dag_id: &str,
        due: Range<DateTime<Utc>>,
        zone: &[ZoneOffset],
        limit: u32,
    ) -> Result<Vec<RunCount>> {
        let zone: Vec<_> = zone
            .iter()
            .map(|ZoneOffset { from, until, offset }| {
                let (from, until) = (from.timestamp_micros(), until.timestamp_micros());
                serde_json::json!({"from": from, "until": until, "offset": i64::from(*offset) * 1_000_000})
            })
            .collect();
        let query = sqlx::query(overview_sql::RUN_COUNTS).bind(dag_id).bind(Ts(due.start)).bind(Ts(due.end));
        let rows = query.bind(i64::from(limit)).bind(batch::json(&zone)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let day: Option<i64> = row.try_get("day")?;
                let day = day.and_then(|day| i32::try_from(day).ok()).and_then(NaiveDate::from_epoch_days);
                Ok(RunCount { day, state: word(row, "state")?, count: row.try_get::<i64, _>("count")? as u32 })
            })
            .collect()
    }

    async fn dag_totals(&self) -> Result<(u64, u64)> {
        let row = sqlx::query(overview_sql::DAG_TOTALS).fetch_one(&self.readers).await?;
        Ok((row.try_get::<i64, _>("active")? as u64, row.try_get::<i64, _>("paused")? as u64))
    }

    async fn failed_runs_since(&self, since: DateTime<Utc>, limit: u32) -> Result<Vec<RunRecord>> {
        let query = sqlx::query(overview_sql::FAILED_RUNS_SINCE).bind(Ts(since)).bind(i64::from(limit));
        query.fetch_all(&self.readers).await?.iter().map(reads::run).collect()
    }

    async fn live_runs(&self, limit: u32) -> Result<Vec<RunRecord>> {
        let rows = sqlx::query(overview_sql::LIVE_RUNS).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(reads::run).collect()
    }

    async fn upcoming(&self, limit: u32) -> Result<Vec<Upcoming>> {
        let rows = sqlx::query(overview_sql::UPCOMING).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| Ok(Upcoming { dag_id: row.try_get("dag_id")?, run_after: time(row, "next_run_after")? }))
            .collect()
    }

    async fn ended_by_hour(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<HourCount>> {
        let query = sqlx::query(overview_sql::ENDED_BY_HOUR).bind(Ts(since)).bind(Ts(until));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(HourCount {
                    hour: row.try_get("hour")?,
                    state: word(row, "state")?,
                    count: row.try_get::<i64, _>("count")? as u64,
                })
            })
            .collect()
    }

    async fn find_dags(&self, wanted: &DagQuery) -> Result<Page<DagRecord>> {
        let mut query = QueryBuilder::<Db>::new(queries::SELECT_DAGS);
        // What is skipped is skipped without a look at its version.
        query.push(" WHERE d.dag_id IN (SELECT d.dag_id FROM dag d");
        narrow(&mut query, wanted);
        query.push(" ORDER BY d.dag_id LIMIT ").push_bind(i64::from(wanted.limit));
        query.push(" OFFSET ").push_bind(i64::from(wanted.offset)).push(") ORDER BY d.dag_id");
        let rows = query.build().fetch_all(&self.readers).await?;
        let items = rows.iter().map(dags::dag).collect::<Result<Vec<_>>>()?;
        if items.len() < wanted.limit as usize && (wanted.offset == 0 || !items.is_empty()) {
            let total = u64::from(wanted.offset) + items.len() as u64;
            return Ok(Page { items, total });
        }
        let mut query = QueryBuilder::<Db>::new("SELECT count(*) FROM dag d");
        narrow(&mut query, wanted);
        let total: i64 = query.build_query_scalar().fetch_one(&self.readers).await?;
        Ok(Page { items, total: total as u64 })
    }

    async fn labels(&self) -> Result<Vec<(Vec<String>, Vec<String>)>> {
        let rows = sqlx::query(overview_sql::LABELS).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((json(row, "tags")?, json(row, "owners")?))).collect()
    }
}
