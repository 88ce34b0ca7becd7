//! Assets in the engine: events with the success that caused them, and runs for the events.
//!
//! Invariants:
//! - Events and their entries in queues are written by the step that records the success, so they are there exactly when
//!   it is. They are only inserted: steps that update the assets of one condition at the same time never wait for each other.
//! - Whoever decides about the queue of a DAG holds the lock on the DAG, and first notes that he has looked. What is
//!   committed after that note is new again, and is seen by the next pass.
//! - A run takes with it what it links, no more: an entry that comes in between stays for the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_model::asset::{Asset, DEFAULT_GROUP};
use towpath_model::dag::Dag;
use towpath_model::run::{RunType, TriggeredBy, run_id};
use towpath_model::state::TaskState;
use towpath_model::timetable::DataInterval;

use super::Step;
use super::create_run::NewRun;
use super::report::Report;
use crate::assets::{AssetEventRecord, AssetRole, QueueFilter};
use crate::backend::Tx;
use crate::batch::json;
use crate::records::TaskKey;
use crate::wake::Topic;
use crate::{Error, Result, Store};

/// How often a run id is moved on by a microsecond because another run has it.
const BUMPS: i64 = 16;

/// An asset that a task has updated.
#[derive(Debug)]
pub(crate) struct Update {
    key: TaskKey,
    asset: Asset,
    extra: Map<String, Value>,
}

/// An asset to insert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AssetRow {
    pub(crate) name: String,
    pub(crate) uri: String,
    pub(crate) asset_group: String,
    /// JSON.
    pub(crate) extra: String,
}

/// An asset that is there.
#[derive(Debug, Clone)]
pub(crate) struct KnownAsset {
    pub(crate) id: i64,
    pub(crate) row: AssetRow,
}

/// A reference of a DAG's current version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct ReferenceRow {
    pub(crate) dag_id: String,
    pub(crate) role: String,
    /// Empty for the schedule.
    pub(crate) task_id: String,
    pub(crate) asset_id: i64,
}

/// An event to insert.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventRow {
    pub(crate) asset_id: i64,
    /// JSON.
    pub(crate) extra: String,
    pub(crate) source_dag_id: Option<String>,
    pub(crate) source_run_id: Option<String>,
    pub(crate) source_task_id: Option<String>,
    pub(crate) source_map_index: i32,
}

/// An event that has been inserted.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct NewEventId {
    pub(crate) id: i64,
    pub(crate) asset_id: i64,
}

impl AssetRow {
    fn of(asset: &Asset) -> Self {
        Self {
            name: asset.name.clone(),
            uri: asset.uri.clone(),
            asset_group: asset.group.clone(),
            extra: json(&asset.extra),
        }
    }

    fn is_bare(&self) -> bool {
        self.name == self.uri
    }
}

/// Whether all that a file says of the asset is one text, which may be the name or the URI of another's.
fn says_nothing(asset: &Asset) -> bool {
    asset.is_bare() && asset.group == DEFAULT_GROUP && asset.extra.is_empty()
}

/// The asset that is meant: the one of that name, or else of that URI.
fn find<'a>(asset: &Asset, known: &'a [KnownAsset]) -> Option<&'a KnownAsset> {
    let by_name = known.iter().find(|known| known.row.name == asset.name);
    by_name
        .or_else(|| known.iter().find(|known| known.row.uri == asset.uri && (asset.is_bare() || known.row.is_bare())))
}

async fn known(tx: &mut dyn Tx, assets: &[&Asset]) -> Result<Vec<KnownAsset>> {
    let texts: BTreeSet<&str> = assets.iter().flat_map(|asset| [asset.name.as_str(), asset.uri.as_str()]).collect();
    tx.known_assets(&texts.into_iter().collect::<Vec<_>>()).await
}

/// The ids of assets by their names; those that nobody has named before are made.
async fn ids(tx: &mut dyn Tx, assets: &[&Asset], now: DateTime<Utc>) -> Result<HashMap<String, i64>> {
    let mut there = known(tx, assets).await?;
    let missing: BTreeMap<&str, AssetRow> = assets
        .iter()
        .filter(|asset| find(asset, &there).is_none())
        .map(|asset| (asset.name.as_str(), AssetRow::of(asset)))
        .collect();
    if !missing.is_empty() {
        tx.insert_assets(&missing.into_values().collect::<Vec<_>>(), now).await?;
        there = known(tx, assets).await?;
    }
    Ok(assets.iter().filter_map(|asset| Some((asset.name.clone(), find(asset, &there)?.id))).collect())
}

/// Brings assets and references up to date with DAGs that have changed.
pub(crate) async fn sync<'d>(tx: &mut dyn Tx, dags: impl Iterator<Item = &'d Dag>, now: DateTime<Utc>) -> Result<()> {
    let dags: Vec<&Dag> = dags.collect();
    let mut named: Vec<(&str, AssetRole, &str, &Asset)> = Vec::new();
    for dag in &dags {
        let awaited = dag.spec().asset_schedule.as_ref().map(|condition| condition.assets()).unwrap_or_default();
        named.extend(awaited.into_iter().map(|asset| (dag.id(), AssetRole::Schedule, "", asset)));
        for task in dag.tasks() {
            let id = task.task_id.as_str();
            named.extend(task.inlets.iter().map(|asset| (dag.id(), AssetRole::Inlet, id, asset)));
            named.extend(task.outlets.iter().map(|outlet| (dag.id(), AssetRole::Outlet, id, &outlet.asset)));
        }
    }
    let dag_ids: Vec<&str> = dags.iter().map(|dag| dag.id()).collect();
    let before: BTreeSet<_> = tx.references_of_dags(&dag_ids).await?.into_iter().map(order_of).collect();
    if named.is_empty() && before.is_empty() {
        return Ok(());
    }
    let mut assets: BTreeMap<&str, &Asset> = BTreeMap::new();
    for (_, _, _, asset) in &named {
        let kept = assets.entry(&asset.name).or_insert(asset);
        if says_nothing(kept) {
            *kept = asset;
        }
    }
    for asset in assets.values().filter(|asset| !says_nothing(asset)) {
        describe(tx, asset, now).await?;
    }
    let all: Vec<&Asset> = named.iter().map(|(_, _, _, asset)| *asset).collect();
    let ids = ids(tx, &all, now).await?;
    let after: BTreeSet<_> = named
        .iter()
        .filter_map(|(dag_id, role, task_id, asset)| {
            let asset_id = *ids.get(&asset.name)?;
            let (dag_id, task_id) = ((*dag_id).to_owned(), (*task_id).to_owned());
            Some(order_of(ReferenceRow { dag_id, role: role.to_string(), task_id, asset_id }))
        })
        .collect();
    let rows = |keys: Vec<&Ordered>| keys.into_iter().cloned().map(row_of).collect::<Vec<_>>();
    tx.drop_references(&rows(before.difference(&after).collect())).await?;
    tx.insert_references(&rows(after.difference(&before).collect()), now).await?;
    tx.requeue(&dag_ids).await
}

type Ordered = (String, String, String, i64);

fn order_of(row: ReferenceRow) -> Ordered {
    (row.dag_id, row.role, row.task_id, row.asset_id)
}

fn row_of((dag_id, role, task_id, asset_id): Ordered) -> ReferenceRow {
    ReferenceRow { dag_id, role, task_id, asset_id }
}

/// Writes what a file says of an asset. One that has been known by its name or its URI alone becomes this one.
async fn describe(tx: &mut dyn Tx, asset: &Asset, now: DateTime<Utc>) -> Result<()> {
    let known = known(tx, &[asset]).await?;
    let named = known.iter().find(|known| known.row.name == asset.name);
    let placed = known.iter().find(|known| known.row.uri == asset.uri && known.row.name != asset.name);
    let placed = placed.filter(|known| known.row.is_bare());
    let mut row = AssetRow::of(asset);
    let id = match (named, placed) {
        (Some(named), Some(placed)) => {
            tx.merge_assets(placed.id, named.id).await?;
            named.id
        }
        (Some(known), None) | (None, Some(known)) => known.id,
        (None, None) => return tx.insert_assets(&[row], now).await,
    };
    if let Some(named) = named {
        if asset.is_bare() {
            row.uri.clone_from(&named.row.uri);
        } else if !named.row.is_bare() && named.row.uri != asset.uri {
            tracing::warn!(
                "asset `{}` was at {} and is at {} now; DAGs should agree",
                asset.name,
                named.row.uri,
                asset.uri
            );
        }
        if named.row == row {
            return Ok(());
        }
    }
    tx.update_asset(id, &row, now).await
}

impl Step<'_> {
    /// Notes the updates that come with the end of an attempt.
    pub(crate) fn note_updates(&mut self, report: &Report, state: TaskState) {
        if state != TaskState::Success {
            return;
        }
        let task = self.runs.get(&report.key.run_key).and_then(|run| run.dag.task(&report.key.task_id));
        // Most tasks update nothing that is known, and this is asked at every end.
        let Some(task) = task.filter(|task| !task.outlets.is_empty()) else { return };
        self.asset_events.extend(task.outlets.iter().map(|outlet| {
            let extra = report.asset_extra.get(&outlet.asset.name).and_then(Value::as_object);
            Update { key: report.key.clone(), asset: outlet.asset.clone(), extra: extra.cloned().unwrap_or_default() }
        }));
    }

    /// Writes what has been noted, after all other locks have been taken.
    pub(crate) async fn write_asset_events(&mut self) -> Result<()> {
        let updates = std::mem::take(&mut self.asset_events);
        if updates.is_empty() {
            return Ok(());
        }
        let assets: Vec<&Asset> = updates.iter().map(|update| &update.asset).collect();
        let ids = ids(self.tx.as_mut(), &assets, self.now).await?;
        let rows: Vec<EventRow> = updates
            .iter()
            .filter_map(|update| {
                let lock = &self.runs.get(&update.key.run_key)?.lock;
                Some(EventRow {
                    asset_id: *ids.get(&update.asset.name)?,
                    extra: json(&update.extra).replace("\\u0000", "\\ufffd"),
                    source_dag_id: Some(lock.dag_id.clone()),
                    source_run_id: Some(lock.run_id.clone()),
                    source_task_id: Some(update.key.task_id.clone()),
                    source_map_index: update.key.map_index,
                })
            })
            .collect();
        self.insert_asset_events(&rows).await.map(|_| ())
    }

    async fn insert_asset_events(&mut self, rows: &[EventRow]) -> Result<Vec<NewEventId>> {
        let events = self.tx.insert_asset_events(rows, self.now).await?;
        if self.tx.queue_asset_events(&events).await? > 0 {
            self.topics.insert(Topic::Schedule);
        }
        self.topics.insert(Topic::Progress);
        Ok(events)
    }
}

impl Store {
    /// Records that an asset has been updated, by something that Towpath does not run.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown asset.
    pub async fn create_asset_event(
        &self,
        asset_id: i64,
        extra: &Map<String, Value>,
        now: DateTime<Utc>,
    ) -> Result<AssetEventRecord> {
        let missing = || Error::NotFound { thing: "asset", id: asset_id.to_string() };
        let asset = self.asset(asset_id).await?.ok_or_else(missing)?;
        let mut step = Step::begin(self, now).await?;
        let row = EventRow {
            asset_id,
            extra: json(extra),
            source_dag_id: None,
            source_run_id: None,
            source_task_id: None,
            source_map_index: -1,
        };
        let id = step.insert_asset_events(&[row]).await?.first().ok_or_else(missing)?.id;
        step.commit().await?;
        Ok(AssetEventRecord {
            id,
            asset_id,
            name: asset.asset.name,
            uri: asset.asset.uri,
            group: asset.asset.group,
            at: now,
            extra: extra.clone(),
            source: None,
        })
    }

    /// Starts the run that a DAG's queued events call for, if they do and the limit allows. Any number of schedulers may
    /// ask at once: one of them starts it.
    ///
    /// # Errors
    /// [`Error::Params`] for a DAG whose params need values; when the database does not answer.
    pub async fn start_asset_run(&self, dag_id: &str, now: DateTime<Utc>) -> Result<bool> {
        let mut step = Step::begin(self, now).await?;
        let Some(locked) = step.tx.lock_dag(dag_id).await? else { return Ok(false) };
        let Some(version_id) = locked.version_id.filter(|_| !locked.is_paused) else { return Ok(false) };
        let dag = self.dag_within(step.tx.as_mut(), version_id).await?;
        // Before reading: what comes after this is new again.
        step.tx.looked_at(dag_id).await?;
        let awaited = step.tx.awaited_within(dag_id).await?;
        let has = |asset: &Asset| awaited.iter().any(|a| a.has_come && asset.is(&a.name, &a.uri));
        let holds = dag.spec().asset_schedule.as_ref().is_some_and(|condition| condition.holds(&has));
        if !holds {
            step.commit().await?;
            return Ok(false);
        }
        // Not committed: it stays new until there is room.
        if step.tx.count_active(dag_id).await? >= locked.max_active_runs {
            return Ok(false);
        }
        let newest = step.tx.newest_counted(dag_id).await?.unwrap_or(now).min(now);
        for bump in 0..BUMPS {
            let at = newest + TimeDelta::microseconds(bump);
            let new = NewRun {
                version_id: Some(version_id),
                run_type: RunType::AssetTriggered,
                data_interval: Some(DataInterval { start: at, end: at }),
                ..NewRun::manual(dag_id, at, TriggeredBy::Asset)
            };
            let start = locked.start(at, false).is_free(now);
            let id = run_id(RunType::AssetTriggered, at);
            let Some(key) = step.insert_run(&new, &id, version_id, start).await? else { continue };
            step.tx.consume(dag_id, key).await?;
            step.topics.extend([Topic::Schedule, Topic::Progress]);
            step.commit().await?;
            tracing::debug!(dag_id, run_id = id, "a run has been created for asset events");
            return Ok(true);
        }
        Err(Error::Stale(format!("the runs of DAG `{dag_id}`")))
    }

    /// Forgets queued events; how many entries.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clear_asset_queue(&self, filter: &QueueFilter, now: DateTime<Utc>) -> Result<u64> {
        let mut step = Step::begin(self, now).await?;
        if let Some(dag_id) = &filter.dag_id {
            step.tx.lock_dag(dag_id).await?;
        }
        let cleared = step.tx.clear_queue(filter).await?;
        step.topics.insert(Topic::Progress);
        step.commit().await?;
        Ok(cleared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_by_its_name_and_then_by_its_place() {
        let row = |id, name: &str, uri: &str| KnownAsset {
            id,
            row: AssetRow::of(&Asset { uri: uri.into(), ..Asset::named(name) }),
        };
        let known = [row(1, "orders", "s3://orders"), row(2, "s3://leads", "s3://leads"), row(3, "x", "s3://x")];
        let full = |name: &str, uri: &str| Asset { uri: uri.into(), ..Asset::named(name) };
        for (asset, expected) in [
            (Asset::named("orders"), Some(1)),
            (Asset::named("s3://orders"), Some(1)),
            (full("orders", "s3://elsewhere"), Some(1)),
            (full("leads", "s3://leads"), Some(2)),
            // Two names for one place are two assets.
            (full("y", "s3://x"), None),
            (Asset::named("y"), None),
        ] {
            assert_eq!(find(&asset, &known).map(|known| known.id), expected, "{asset:?}");
        }
    }
}
