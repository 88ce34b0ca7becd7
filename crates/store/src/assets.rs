//! Assets, their events, and the events that wait for DAGs.
//!
//! An event is written in the step that records the success of the task that updated the asset, together with an entry
//! in the queue of each DAG that waits for it. The scheduler looks at the DAGs with new entries (`engine/assets.rs`).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_model::asset::Asset;

use crate::engine::assets::{AssetRow, EventRow, KnownAsset, NewEventId, ReferenceRow};
use crate::records::{Page, RunRecord};
use crate::{Error, Result, Store};

/// An asset that some DAG names, or has named.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetRecord {
    pub id: i64,
    pub asset: Asset,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// A DAG whose file is there names it.
    pub is_active: bool,
    /// Id and time of its newest event.
    pub last_event: Option<(i64, DateTime<Utc>)>,
}

/// What somebody has to do with an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::EnumString, Serialize)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum AssetRole {
    /// The DAG waits for it.
    Schedule,
    /// The task reads it.
    Inlet,
    /// The task updates it.
    Outlet,
}

/// A DAG or a task that names an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetReference {
    pub asset_id: i64,
    pub dag_id: String,
    pub role: AssetRole,
    /// `None` where it is the schedule of the DAG.
    pub task_id: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The task instance that updated an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventSource {
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    /// -1 for a task that is not mapped.
    pub map_index: i32,
}

/// An update of an asset.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetEventRecord {
    pub id: i64,
    pub asset_id: i64,
    pub name: String,
    pub uri: String,
    pub group: String,
    pub at: DateTime<Utc>,
    pub extra: Map<String, Value>,
    /// `None` where somebody told of it by hand.
    pub source: Option<EventSource>,
}

/// Events of an asset that wait for a DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedEvents {
    pub dag_id: String,
    pub asset_id: i64,
    pub asset_name: String,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
    pub count: u64,
}

/// An asset that a DAG waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    pub asset_id: i64,
    pub name: String,
    pub uri: String,
    /// An event of it is queued.
    pub has_come: bool,
}

/// What lists of assets are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum AssetOrder {
    Id,
    #[default]
    Name,
    Uri,
    CreatedAt,
    UpdatedAt,
}

/// Which assets to list.
#[derive(Debug, Clone, Default)]
pub struct AssetFilter {
    pub id: Option<i64>,
    /// Its exact name or URI.
    pub name_or_uri: Option<String>,
    /// Part of the name, case-insensitive.
    pub name_contains: Option<String>,
    /// Part of the URI, case-insensitive.
    pub uri_contains: Option<String>,
    /// Only those that one of these DAGs names.
    pub dag_ids: Vec<String>,
    /// Also those that no DAG names any more.
    pub include_inactive: bool,
    pub order: AssetOrder,
    pub descending: bool,
    pub limit: u32,
    pub offset: u32,
}

/// Which events to list; every `Some` narrows it.
#[derive(Debug, Clone, Default)]
pub struct AssetEventFilter {
    pub asset_id: Option<i64>,
    pub source_dag_id: Option<String>,
    pub source_run_id: Option<String>,
    pub source_task_id: Option<String>,
    pub source_map_index: Option<i32>,
    /// Part of the asset's name, case-insensitive.
    pub name_contains: Option<String>,
    pub at_gte: Option<DateTime<Utc>>,
    pub at_gt: Option<DateTime<Utc>>,
    pub at_lte: Option<DateTime<Utc>>,
    pub at_lt: Option<DateTime<Utc>>,
    pub newest_first: bool,
    pub limit: u32,
    pub offset: u32,
}

/// Which queued events; every `Some` narrows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueFilter {
    pub dag_id: Option<String>,
    pub asset_id: Option<i64>,
    /// Only events before it.
    pub before: Option<DateTime<Utc>>,
}

#[async_trait]
pub(crate) trait AssetStatements {
    /// The assets that have one of the texts for name or URI, oldest first.
    async fn known_assets(&mut self, texts: &[&str]) -> Result<Vec<KnownAsset>>;
    async fn insert_assets(&mut self, rows: &[AssetRow], now: DateTime<Utc>) -> Result<()>;
    async fn update_asset(&mut self, id: i64, row: &AssetRow, now: DateTime<Utc>) -> Result<()>;
    /// Makes everything that speaks of one asset speak of another, and forgets the first.
    async fn merge_assets(&mut self, from: i64, into: i64) -> Result<()>;
    async fn references_of_dags(&mut self, dag_ids: &[&str]) -> Result<Vec<ReferenceRow>>;
    async fn insert_references(&mut self, rows: &[ReferenceRow], now: DateTime<Utc>) -> Result<()>;
    async fn drop_references(&mut self, rows: &[ReferenceRow]) -> Result<()>;
    /// Forgets what DAGs have queued of assets that they do not wait for, and lets the rest be looked at again.
    async fn requeue(&mut self, dag_ids: &[&str]) -> Result<()>;
    async fn insert_asset_events(&mut self, rows: &[EventRow], now: DateTime<Utc>) -> Result<Vec<NewEventId>>;
    /// Queues events for the DAGs that wait for them; how many entries.
    async fn queue_asset_events(&mut self, events: &[NewEventId]) -> Result<u64>;
    /// Notes that everything queued for a DAG has been decided about.
    async fn looked_at(&mut self, dag_id: &str) -> Result<()>;
    async fn awaited_within(&mut self, dag_id: &str) -> Result<Vec<Awaited>>;
    /// Queued and running runs, without backfills and foreground runs.
    async fn count_active(&mut self, dag_id: &str) -> Result<i64>;
    async fn newest_counted(&mut self, dag_id: &str) -> Result<Option<DateTime<Utc>>>;
    /// Moves what is queued for a DAG to a run, whose data interval spans the events.
    async fn consume(&mut self, dag_id: &str, run_key: i64) -> Result<()>;
    async fn clear_queue(&mut self, filter: &QueueFilter) -> Result<u64>;
}

#[async_trait]
pub(crate) trait AssetRows {
    async fn asset_runs_due(&self, limit: i64) -> Result<Vec<String>>;
    async fn assets(&self, filter: &AssetFilter) -> Result<Page<AssetRecord>>;
    async fn asset_references(&self, asset_ids: &[i64]) -> Result<Vec<AssetReference>>;
    async fn asset_events(&self, filter: &AssetEventFilter) -> Result<Page<AssetEventRecord>>;
    async fn events_of_run(&self, run_key: i64) -> Result<Vec<AssetEventRecord>>;
    async fn runs_of_events(&self, event_ids: &[i64]) -> Result<Vec<(i64, i64, bool)>>;
    async fn queued_events(&self, filter: &QueueFilter) -> Result<Vec<QueuedEvents>>;
    async fn awaited(&self, dag_id: &str) -> Result<Vec<Awaited>>;
}

impl Store {
    /// Assets, by name unless the filter says otherwise.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn assets(&self, filter: &AssetFilter) -> Result<Page<AssetRecord>> {
        self.inner.backend.assets(filter).await
    }

    /// One asset.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn asset(&self, id: i64) -> Result<Option<AssetRecord>> {
        let filter = AssetFilter { id: Some(id), include_inactive: true, limit: 1, ..AssetFilter::default() };
        Ok(self.inner.backend.assets(&filter).await?.items.pop())
    }

    /// The asset of that name or, where there is none, of that URI.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn asset_named(&self, text: &str) -> Result<Option<AssetRecord>> {
        let name_or_uri = Some(text.to_owned());
        let filter = AssetFilter { name_or_uri, include_inactive: true, limit: 10, ..AssetFilter::default() };
        let mut found = self.inner.backend.assets(&filter).await?.items;
        let at = found.iter().position(|record| record.asset.name == text).unwrap_or(0);
        Ok((!found.is_empty()).then(|| found.swap_remove(at)))
    }

    /// The DAGs and tasks that name assets, in the current versions of DAGs whose files are there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn asset_references(&self, asset_ids: &[i64]) -> Result<Vec<AssetReference>> {
        self.inner.backend.asset_references(asset_ids).await
    }

    /// Events, oldest first unless the filter says otherwise.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn asset_events(&self, filter: &AssetEventFilter) -> Result<Page<AssetEventRecord>> {
        self.inner.backend.asset_events(filter).await
    }

    /// The events that a run was started for, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn upstream_asset_events(&self, run_key: i64) -> Result<Vec<AssetEventRecord>> {
        self.inner.backend.events_of_run(run_key).await
    }

    /// The runs that were started for events: the event, the run, and whether it is the last of the run's events.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn runs_of_asset_events(&self, event_ids: &[i64]) -> Result<Vec<(i64, RunRecord, bool)>> {
        let mut found = Vec::new();
        for (event_id, run_key, is_last) in self.inner.backend.runs_of_events(event_ids).await? {
            // One that is deleted meanwhile takes its link with it.
            if let Some(run) = self.run_by_key(run_key).await? {
                found.push((event_id, run, is_last));
            }
        }
        Ok(found)
    }

    /// What waits for DAGs, by DAG and asset.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn queued_asset_events(&self, filter: &QueueFilter) -> Result<Vec<QueuedEvents>> {
        self.inner.backend.queued_events(filter).await
    }

    /// The assets that a DAG waits for, and which have come.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn awaited_assets(&self, dag_id: &str) -> Result<Vec<Awaited>> {
        self.inner.backend.awaited(dag_id).await
    }

    /// Up to `limit` DAGs with queued events that nobody has decided about and with room for a run, by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn asset_runs_due(&self, limit: u32) -> Result<Vec<String>> {
        self.inner.backend.asset_runs_due(i64::from(limit)).await
    }

    /// The one DAG with a task that updates an asset.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, [`Error::Invalid`] where there are several.
    pub async fn producer_of(&self, asset: &AssetRecord) -> Result<String> {
        let references = self.asset_references(&[asset.id]).await?;
        let mut dags: Vec<String> =
            references.into_iter().filter(|r| r.role == AssetRole::Outlet).map(|r| r.dag_id).collect();
        dags.dedup();
        match dags.as_slice() {
            [] => Err(Error::NotFound { thing: "DAG that updates asset", id: asset.asset.name.clone() }),
            [dag_id] => Ok(dag_id.clone()),
            _ => Err(Error::Invalid(format!(
                "several DAGs update asset `{}`: {}; trigger the one that is meant",
                asset.asset.name,
                dags.join(", ")
            ))),
        }
    }
}
