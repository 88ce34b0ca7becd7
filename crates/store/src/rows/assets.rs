//! Assets, their events and queues.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row as _};
use towpath_model::asset::Asset;

use super::super::{Backend, Db, DbRow, Tx, asset_sql as sql};
use super::{json, time, time_opt, ts, word};
use crate::Result;
use crate::assets::{
    AssetEventFilter, AssetEventRecord, AssetFilter, AssetOrder, AssetRecord, AssetReference, AssetRows,
    AssetStatements, Awaited, EventSource, QueueFilter, QueuedEvents,
};
use crate::batch;
use crate::engine::assets::{AssetRow, EventRow, KnownAsset, NewEventId, ReferenceRow};
use crate::records::Page;
use crate::time::Ts;

fn event(row: &DbRow) -> Result<AssetEventRecord> {
    let (dag_id, run_id): (Option<String>, Option<String>) =
        (row.try_get("source_dag_id")?, row.try_get("source_run_id")?);
    let (task_id, map_index): (Option<String>, i32) =
        (row.try_get("source_task_id")?, row.try_get("source_map_index")?);
    let source = match (dag_id, run_id, task_id) {
        (Some(dag_id), Some(run_id), Some(task_id)) => Some(EventSource { dag_id, run_id, task_id, map_index }),
        _ => None,
    };
    Ok(AssetEventRecord {
        id: row.try_get("id")?,
        asset_id: row.try_get("asset_id")?,
        name: row.try_get("name")?,
        uri: row.try_get("uri")?,
        group: row.try_get("asset_group")?,
        at: time(row, "at")?,
        extra: json(row, "extra")?,
        source,
    })
}

fn awaited(row: &DbRow) -> Result<Awaited> {
    Ok(Awaited {
        asset_id: row.try_get("id")?,
        name: row.try_get("name")?,
        uri: row.try_get("uri")?,
        has_come: row.try_get("has_come")?,
    })
}

/// A pattern for `LIKE` that finds `part` anywhere.
fn part(text: &str) -> String {
    let escaped = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

fn narrow(query: &mut QueryBuilder<Db>, filter: &AssetFilter) {
    query.push(if filter.include_inactive {
        " WHERE 1 = 1"
    } else {
        " WHERE EXISTS (SELECT 1 FROM asset_reference r JOIN dag d ON d.dag_id = r.dag_id WHERE r.asset_id = a.id AND d.is_active)"
    });
    if let Some(id) = filter.id {
        query.push(" AND a.id = ").push_bind(id);
    }
    if let Some(text) = &filter.name_or_uri {
        query.push(" AND (a.name = ").push_bind(text.clone()).push(" OR a.uri = ").push_bind(text.clone()).push(")");
    }
    for (column, text) in [("a.name", &filter.name_contains), ("a.uri", &filter.uri_contains)] {
        if let Some(text) = text {
            query.push(" AND lower(").push(column).push(") LIKE ").push_bind(part(text)).push(" ESCAPE '\\'");
        }
    }
    if !filter.dag_ids.is_empty() {
        query.push(" AND EXISTS (SELECT 1 FROM asset_reference r WHERE r.asset_id = a.id AND r.dag_id IN (");
        let mut ids = query.separated(", ");
        for dag_id in &filter.dag_ids {
            ids.push_bind(dag_id.clone());
        }
        query.push("))");
    }
}

fn narrow_events(query: &mut QueryBuilder<Db>, filter: &AssetEventFilter) {
    query.push(" WHERE 1 = 1");
    if let Some(id) = filter.asset_id {
        query.push(" AND e.asset_id = ").push_bind(id);
    }
    for (column, text) in [
        ("e.source_dag_id", &filter.source_dag_id),
        ("e.source_run_id", &filter.source_run_id),
        ("e.source_task_id", &filter.source_task_id),
    ] {
        if let Some(text) = text {
            query.push(" AND ").push(column).push(" = ").push_bind(text.clone());
        }
    }
    if let Some(index) = filter.source_map_index {
        query.push(" AND e.source_map_index = ").push_bind(index);
    }
    if let Some(text) = &filter.name_contains {
        query.push(" AND lower(a.name) LIKE ").push_bind(part(text)).push(" ESCAPE '\\'");
    }
    for (operator, at) in
        [(" >= ", filter.at_gte), (" > ", filter.at_gt), (" <= ", filter.at_lte), (" < ", filter.at_lt)]
    {
        if let Some(at) = at {
            query.push(" AND e.at").push(operator).push_bind(Ts(at));
        }
    }
}

#[async_trait]
impl AssetStatements for Tx {
    async fn known_assets(&mut self, texts: &[&str]) -> Result<Vec<KnownAsset>> {
        let rows = sqlx::query(sql::KNOWN_ASSETS).bind(batch::json(texts)).fetch_all(&mut *self.conn).await?;
        rows.iter()
            .map(|row| {
                let known = AssetRow {
                    name: row.try_get("name")?,
                    uri: row.try_get("uri")?,
                    asset_group: row.try_get("asset_group")?,
                    extra: row.try_get("extra")?,
                };
                Ok(KnownAsset { id: row.try_get("id")?, row: known })
            })
            .collect()
    }

    async fn insert_assets(&mut self, rows: &[AssetRow], now: DateTime<Utc>) -> Result<()> {
        sqlx::query(sql::INSERT_ASSETS).bind(batch::json(rows)).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn update_asset(&mut self, id: i64, row: &AssetRow, now: DateTime<Utc>) -> Result<()> {
        let query = sqlx::query(sql::UPDATE_ASSET).bind(id).bind(&row.name).bind(&row.uri);
        query.bind(&row.asset_group).bind(&row.extra).bind(Ts(now)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn merge_assets(&mut self, from: i64, into: i64) -> Result<()> {
        for statement in [sql::MERGE_EVENTS, sql::MERGE_QUEUE, sql::MERGE_REFERENCES, sql::DROP_MERGED, sql::DROP_ASSET]
        {
            sqlx::query(statement).bind(from).bind(into).execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    async fn references_of_dags(&mut self, dag_ids: &[&str]) -> Result<Vec<ReferenceRow>> {
        let rows = sqlx::query(sql::REFERENCES_OF_DAGS).bind(batch::json(dag_ids)).fetch_all(&mut *self.conn).await?;
        rows.iter()
            .map(|row| {
                Ok(ReferenceRow {
                    dag_id: row.try_get("dag_id")?,
                    role: row.try_get("role")?,
                    task_id: row.try_get("task_id")?,
                    asset_id: row.try_get("asset_id")?,
                })
            })
            .collect()
    }

    async fn insert_references(&mut self, rows: &[ReferenceRow], now: DateTime<Utc>) -> Result<()> {
        let query = sqlx::query(sql::INSERT_REFERENCES).bind(batch::json(rows)).bind(Ts(now));
        query.execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn drop_references(&mut self, rows: &[ReferenceRow]) -> Result<()> {
        sqlx::query(sql::DROP_REFERENCES).bind(batch::json(rows)).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn requeue(&mut self, dag_ids: &[&str]) -> Result<()> {
        for statement in [sql::DROP_UNWANTED, sql::LOOK_AGAIN] {
            sqlx::query(statement).bind(batch::json(dag_ids)).execute(&mut *self.conn).await?;
        }
        Ok(())
    }

    async fn insert_asset_events(&mut self, rows: &[EventRow], now: DateTime<Utc>) -> Result<Vec<NewEventId>> {
        let query = sqlx::query(sql::INSERT_EVENTS).bind(batch::json(rows)).bind(Ts(now));
        let rows = query.fetch_all(&mut *self.conn).await?;
        rows.iter().map(|row| Ok(NewEventId { id: row.try_get("id")?, asset_id: row.try_get("asset_id")? })).collect()
    }

    async fn queue_asset_events(&mut self, events: &[NewEventId]) -> Result<u64> {
        let query = sqlx::query(sql::QUEUE_EVENTS).bind(batch::json(events));
        Ok(query.execute(&mut *self.conn).await?.rows_affected())
    }

    async fn looked_at(&mut self, dag_id: &str) -> Result<()> {
        sqlx::query(sql::LOOKED_AT).bind(dag_id).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn awaited_within(&mut self, dag_id: &str) -> Result<Vec<Awaited>> {
        sqlx::query(sql::AWAITED).bind(dag_id).fetch_all(&mut *self.conn).await?.iter().map(awaited).collect()
    }

    async fn count_active(&mut self, dag_id: &str) -> Result<i64> {
        Ok(sqlx::query_scalar(sql::COUNT_ACTIVE).bind(dag_id).fetch_one(&mut *self.conn).await?)
    }

    async fn newest_counted(&mut self, dag_id: &str) -> Result<Option<DateTime<Utc>>> {
        let row = sqlx::query(sql::NEWEST_COUNTED).bind(dag_id).fetch_one(&mut *self.conn).await?;
        time_opt(&row, "at")
    }

    async fn consume(&mut self, dag_id: &str, run_key: i64) -> Result<()> {
        for statement in [sql::CONSUME, sql::DROP_CONSUMED] {
            sqlx::query(statement).bind(dag_id).bind(run_key).execute(&mut *self.conn).await?;
        }
        sqlx::query(sql::SET_INTERVAL).bind(run_key).execute(&mut *self.conn).await?;
        Ok(())
    }

    async fn clear_queue(&mut self, filter: &QueueFilter) -> Result<u64> {
        let query = sqlx::query(sql::CLEAR_QUEUE).bind(&filter.dag_id).bind(filter.asset_id).bind(ts(filter.before));
        Ok(query.execute(&mut *self.conn).await?.rows_affected())
    }
}

#[async_trait]
impl AssetRows for Backend {
    async fn asset_runs_due(&self, limit: i64) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(sql::ASSET_RUNS_DUE).bind(limit).fetch_all(&self.readers).await?)
    }

    async fn assets(&self, filter: &AssetFilter) -> Result<Page<AssetRecord>> {
        let mut query = QueryBuilder::<Db>::new(sql::SELECT_ASSETS);
        narrow(&mut query, filter);
        query.push(match filter.order {
            AssetOrder::Id => " ORDER BY a.id",
            AssetOrder::Name => " ORDER BY a.name",
            AssetOrder::Uri => " ORDER BY a.uri",
            AssetOrder::CreatedAt => " ORDER BY a.created_at",
            AssetOrder::UpdatedAt => " ORDER BY a.updated_at",
        });
        query.push(if filter.descending { " DESC, a.id DESC LIMIT " } else { ", a.id LIMIT " });
        query.push_bind(i64::from(filter.limit)).push(" OFFSET ").push_bind(i64::from(filter.offset));
        let rows = query.build().fetch_all(&self.readers).await?;
        let items = rows
            .iter()
            .map(|row| {
                let last: Option<i64> = row.try_get("last_id")?;
                Ok(AssetRecord {
                    id: row.try_get("id")?,
                    asset: Asset {
                        name: row.try_get("name")?,
                        uri: row.try_get("uri")?,
                        group: row.try_get("asset_group")?,
                        extra: json(row, "extra")?,
                    },
                    created_at: time(row, "created_at")?,
                    updated_at: time(row, "updated_at")?,
                    is_active: row.try_get("is_active")?,
                    last_event: last.zip(time_opt(row, "last_at")?),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut query = QueryBuilder::<Db>::new("SELECT count(*) FROM asset a");
        narrow(&mut query, filter);
        let total: i64 = query.build_query_scalar().fetch_one(&self.readers).await?;
        Ok(Page { items, total: total as u64 })
    }

    async fn asset_references(&self, asset_ids: &[i64]) -> Result<Vec<AssetReference>> {
        let rows = sqlx::query(sql::REFERENCES).bind(batch::json(asset_ids)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let task_id: String = row.try_get("task_id")?;
                Ok(AssetReference {
                    asset_id: row.try_get("asset_id")?,
                    dag_id: row.try_get("dag_id")?,
                    role: word(row, "role")?,
                    task_id: Some(task_id).filter(|id| !id.is_empty()),
                    created_at: time(row, "created_at")?,
                })
            })
            .collect()
    }

    async fn asset_events(&self, filter: &AssetEventFilter) -> Result<Page<AssetEventRecord>> {
        let mut query = QueryBuilder::<Db>::new(sql::SELECT_EVENTS);
        narrow_events(&mut query, filter);
        query.push(if filter.newest_first { " ORDER BY e.id DESC LIMIT " } else { " ORDER BY e.id LIMIT " });
        query.push_bind(i64::from(filter.limit)).push(" OFFSET ").push_bind(i64::from(filter.offset));
        let rows = query.build().fetch_all(&self.readers).await?;
        let items = rows.iter().map(event).collect::<Result<Vec<_>>>()?;
        let mut query = QueryBuilder::<Db>::new(sql::COUNT_EVENTS);
        narrow_events(&mut query, filter);
        let total: i64 = query.build_query_scalar().fetch_one(&self.readers).await?;
        Ok(Page { items, total: total as u64 })
    }

    async fn events_of_run(&self, run_key: i64) -> Result<Vec<AssetEventRecord>> {
        sqlx::query(sql::EVENTS_OF_RUN).bind(run_key).fetch_all(&self.readers).await?.iter().map(event).collect()
    }

    async fn runs_of_events(&self, event_ids: &[i64]) -> Result<Vec<(i64, i64, bool)>> {
        let rows = sqlx::query(sql::RUNS_OF_EVENTS).bind(batch::json(event_ids)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("event_id")?, row.try_get("run_key")?, row.try_get("is_last")?)))
            .collect()
    }

    async fn queued_events(&self, filter: &QueueFilter) -> Result<Vec<QueuedEvents>> {
        let query = sqlx::query(sql::QUEUED).bind(&filter.dag_id).bind(filter.asset_id).bind(ts(filter.before));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(QueuedEvents {
                    dag_id: row.try_get("dag_id")?,
                    asset_id: row.try_get("asset_id")?,
                    asset_name: row.try_get("name")?,
                    first_at: time(row, "first_at")?,
                    last_at: time(row, "last_at")?,
                    count: row.try_get::<i64, _>("events")? as u64,
                })
            })
            .collect()
    }

    async fn awaited(&self, dag_id: &str) -> Result<Vec<Awaited>> {
        sqlx::query(sql::AWAITED).bind(dag_id).fetch_all(&self.readers).await?.iter().map(awaited).collect()
    }
}
