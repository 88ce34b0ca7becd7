//! DAGs and their versions.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use towpath_model::canonical;
use towpath_model::dag::{Dag, DagSpec};
use towpath_model::limits::Start;
use towpath_model::timetable::{DataInterval, DueRun};

use crate::backend::Tx;
use crate::batch::NextRow;
use crate::records::{DagFilter, DagRecord, ImportError, Page, VersionRecord};
use crate::wake::Topic;
use crate::{Error, Result, Store};

/// A DAG as its file has it now.
#[derive(Debug, Clone)]
pub struct DagUpsert {
    pub dag: Arc<Dag>,
    /// Path relative to the DAGs folder.
    pub file: String,
    /// The text of the file.
    pub source: Arc<str>,
}

/// What [`Store::sync_dags`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Synced {
    /// DAGs that were not known.
    pub created: u32,
    /// Versions that were not known, those of new DAGs included.
    pub new_versions: u32,
    /// DAGs that were as they are.
    pub unchanged: u32,
}

/// A DAG for which the scheduler has something to decide.
#[derive(Debug, Clone)]
pub struct SchedulableDag {
    pub record: DagRecord,
    pub dag: Arc<Dag>,
    /// Data interval of its newest scheduled run.
    pub last_interval: Option<DataInterval>,
    /// Runs that are queued or running, without backfills and foreground runs.
    pub active_runs: u32,
    /// When its newest scheduled run ended.
    pub last_run_end: Option<DateTime<Utc>>,
}

/// A DAG row under lock.
#[derive(Debug, Clone)]
pub(crate) struct LockedDag {
    pub(crate) version_id: Option<i64>,
    pub(crate) is_paused: bool,
    pub(crate) max_active_runs: i64,
    /// Running runs, without foreground runs.
    pub(crate) running: i64,
    pub(crate) next_run_after: Option<DateTime<Utc>>,
    pub(crate) next_for_version: Option<i64>,
}

impl LockedDag {
    /// What the start of a run of it depends on.
    pub(crate) fn start(&self, run_after: DateTime<Utc>, is_foreground: bool) -> Start {
        let (is_paused, max_active_runs) = (self.is_paused, self.max_active_runs);
        Start { run_after, is_foreground, is_paused, max_active_runs, running: self.running }
    }
}

/// A DAG to insert or update.
#[derive(Debug, Serialize)]
pub(crate) struct DagRow<'a> {
    pub(crate) dag_id: &'a str,
    pub(crate) file: &'a str,
    pub(crate) is_paused: bool,
    pub(crate) description: Option<&'a str>,
    pub(crate) owners: String,
    pub(crate) tags: String,
    pub(crate) schedule: String,
    pub(crate) max_active_runs: u32,
    pub(crate) hash: &'a str,
    pub(crate) spec: String,
    pub(crate) source: &'a str,
}

/// What is known of a version that a file has now.
#[derive(Debug)]
pub(crate) struct KnownHash {
    pub(crate) dag_id: String,
    /// The DAG is active and this is its version and file.
    pub(crate) is_current: bool,
}

/// What the scheduler reads of a DAG.
#[derive(Debug)]
pub(crate) struct SchedulableRow {
    pub(crate) record: DagRecord,
    pub(crate) last_interval: Option<DataInterval>,
    pub(crate) active_runs: u32,
    pub(crate) last_run_end: Option<DateTime<Utc>>,
}

#[async_trait]
pub(crate) trait DagStatements {
    async fn lock_dag(&mut self, dag_id: &str) -> Result<Option<LockedDag>>;
    async fn set_next_runs(&mut self, rows: &[NextRow]) -> Result<u64>;
    /// False where it was so already.
    async fn set_paused(&mut self, dag_id: &str, paused: bool) -> Result<bool>;
    async fn known_hashes(&mut self, rows: &[DagRow<'_>]) -> Result<Vec<KnownHash>>;
    /// Locks the DAGs in the given order; how many were not there.
    async fn upsert_dags(&mut self, rows: &[DagRow<'_>], now: DateTime<Utc>) -> Result<u32>;
    async fn deactivate_dags(&mut self, dag_ids: &[String]) -> Result<()>;
    async fn set_import_errors(&mut self, errors: &[(&str, &str)], now: DateTime<Utc>) -> Result<()>;
    async fn clear_import_errors(&mut self, files: &[&str]) -> Result<()>;
    async fn version_spec(&mut self, version_id: i64) -> Result<Option<String>>;
    /// Deletes a DAG with its versions and runs, which are locked.
    async fn delete_dag(&mut self, dag_id: &str) -> Result<()>;
}

#[async_trait]
pub(crate) trait DagRows {
    async fn dags(&self, filter: &DagFilter) -> Result<Page<DagRecord>>;
    async fn dag(&self, dag_id: &str) -> Result<Option<DagRecord>>;
    async fn version(&self, version_id: i64) -> Result<Option<VersionRecord>>;
    async fn versions(&self, dag_id: &str) -> Result<Vec<VersionRecord>>;
    async fn import_errors(&self) -> Result<Vec<ImportError>>;
    async fn schedulable(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<SchedulableRow>>;
    async fn next_due_at(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>>;
}

/// Compiled DAGs by version. What is compiled never changes, so an entry is never wrong; the file
/// of a version does, when a DAG moves, and is not kept here.
#[derive(Debug, Default)]
pub(crate) struct VersionCache(Mutex<HashMap<i64, Arc<Dag>>>);

impl VersionCache {
    /// Most versions kept; DAGs of a hundred tasks take about 100 kB each.
    const CAPACITY: usize = 256;

    fn get(&self, version_id: i64) -> Option<Arc<Dag>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&version_id).cloned()
    }

    fn put(&self, version_id: i64, dag: Arc<Dag>) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= Self::CAPACITY {
            // Old versions go first: the newest are the ones that run.
            let mut ids: Vec<i64> = map.keys().copied().collect();
            ids.sort_unstable();
            for id in &ids[..Self::CAPACITY / 2] {
                map.remove(id);
            }
        }
        map.insert(version_id, dag);
    }
}

fn compile(version_id: i64, spec: &str) -> Result<Arc<Dag>> {
    let corrupt = |reason: String| Error::Corrupt(format!("version {version_id} of a DAG: {reason}"));
    let spec: DagSpec = serde_json::from_str(spec).map_err(|error| corrupt(error.to_string()))?;
    let dag = Dag::build(spec).map_err(|errors| corrupt(errors[0].to_string()))?;
    Ok(Arc::new(dag))
}

impl Store {
    /// Brings DAGs up to date with their files, in one step. What has not changed costs a read.
    ///
    /// # Errors
    /// When the database does not take them; none is changed then.
    pub async fn sync_dags(&self, dags: &[DagUpsert], paused_by_default: bool, now: DateTime<Utc>) -> Result<Synced> {
        let mut rows: Vec<DagRow<'_>> = dags.iter().map(|upsert| dag_row(upsert, paused_by_default)).collect();
        // The order of locks, whatever the order of the files.
        rows.sort_unstable_by_key(|row| row.dag_id);
        let mut tx = self.inner.backend.begin().await?;
        let known: HashMap<String, bool> =
            tx.known_hashes(&rows).await?.into_iter().map(|k| (k.dag_id, k.is_current)).collect();
        let (unchanged, changed): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| known.get(row.dag_id) == Some(&true));
        let mut synced = Synced { unchanged: unchanged.len() as u32, ..Synced::default() };
        if changed.is_empty() {
            return Ok(synced);
        }
        synced.new_versions = changed.iter().filter(|row| !known.contains_key(row.dag_id)).count() as u32;
        synced.created = tx.upsert_dags(&changed, now).await?;
        let ids: BTreeSet<&str> = changed.iter().map(|row| row.dag_id).collect();
        let changed_dags = dags.iter().map(|upsert| &*upsert.dag).filter(|dag| ids.contains(dag.id()));
        crate::engine::assets::sync(tx.as_mut(), changed_dags, now).await?;
        tx.commit(&[Topic::Schedule, Topic::Progress]).await?;
        Ok(synced)
    }

    /// Takes DAGs out of service whose file is gone or does not define them any more. Their
    /// history stays; runs under way go on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deactivate_dags(&self, dag_ids: &[String], _now: DateTime<Utc>) -> Result<()> {
        let mut tx = self.inner.backend.begin().await?;
        for dag_id in dag_ids.iter().collect::<BTreeSet<_>>() {
            tx.lock_dag(dag_id).await?;
        }
        tx.deactivate_dags(dag_ids).await?;
        tx.commit(&[Topic::Schedule, Topic::Progress]).await
    }

    /// Sets (`Some`) and clears (`None`) the import errors of files.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn replace_import_errors(&self, changed: &[(String, Option<String>)], now: DateTime<Utc>) -> Result<()> {
        let set: Vec<(&str, &str)> =
            changed.iter().filter_map(|(file, message)| Some((file.as_str(), message.as_deref()?))).collect();
        let clear: Vec<&str> =
            changed.iter().filter(|(_, message)| message.is_none()).map(|(file, _)| file.as_str()).collect();
        let mut tx = self.inner.backend.begin().await?;
        if !set.is_empty() {
            tx.set_import_errors(&set, now).await?;
        }
        if !clear.is_empty() {
            tx.clear_import_errors(&clear).await?;
        }
        tx.commit(&[Topic::Progress]).await
    }

    /// Files that could not be read, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn import_errors(&self) -> Result<Vec<ImportError>> {
        self.inner.backend.import_errors().await
    }

    /// DAGs by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dags(&self, filter: &DagFilter) -> Result<Page<DagRecord>> {
        self.inner.backend.dags(filter).await
    }

    /// One DAG.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dag(&self, dag_id: &str) -> Result<Option<DagRecord>> {
        self.inner.backend.dag(dag_id).await
    }

    /// One version.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn version(&self, version_id: i64) -> Result<Option<VersionRecord>> {
        self.inner.backend.version(version_id).await
    }

    /// All versions of a DAG, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn versions(&self, dag_id: &str) -> Result<Vec<VersionRecord>> {
        self.inner.backend.versions(dag_id).await
    }

    /// The compiled DAG of a version.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown version.
    pub async fn dag_of_version(&self, version_id: i64) -> Result<Arc<Dag>> {
        if let Some(dag) = self.inner.versions.get(version_id) {
            return Ok(dag);
        }
        let mut tx = self.inner.backend.begin().await?;
        self.dag_within(tx.as_mut(), version_id).await
    }

    /// As [`Store::dag_of_version`], inside of a step.
    pub(crate) async fn dag_within(&self, tx: &mut dyn Tx, version_id: i64) -> Result<Arc<Dag>> {
        if let Some(dag) = self.inner.versions.get(version_id) {
            return Ok(dag);
        }
        let found = tx.version_spec(version_id).await?;
        let spec = found.ok_or_else(|| Error::NotFound { thing: "version", id: version_id.to_string() })?;
        let dag = compile(version_id, &spec)?;
        self.inner.versions.put(version_id, Arc::clone(&dag));
        Ok(dag)
    }

    /// DAGs with a run that is due, or whose next run has to be computed: up to `limit`, the
    /// longest due first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn schedulable_dags(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<SchedulableDag>> {
        let rows = self.inner.backend.schedulable(now, limit).await?;
        let mut dags = Vec::with_capacity(rows.len());
        for row in rows {
            let dag = self.dag_of_version(row.record.version_id).await?;
            dags.push(SchedulableDag {
                record: row.record,
                dag,
                last_interval: row.last_interval,
                active_runs: row.active_runs,
                last_run_end: row.last_run_end,
            });
        }
        Ok(dags)
    }

    /// The earliest time after `now` at which the scheduler has something to do: a run, a timer,
    /// a run's time limit, a lease. What is due already and held back by a limit is not a time:
    /// [`Topic::Schedule`] wakes it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next_due_at(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        self.inner.backend.next_due_at(now).await
    }

    /// Records the next runs of DAGs, each computed for a version. How many were still of that version.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_next_runs(&self, next: &[(String, i64, Option<DueRun>)], _now: DateTime<Utc>) -> Result<u64> {
        if next.is_empty() {
            return Ok(0);
        }
        let rows: Vec<NextRow> = next.iter().map(|(id, version, next)| NextRow::new(id, *version, *next)).collect();
        let mut tx = self.inner.backend.begin().await?;
        let count = tx.set_next_runs(&rows).await?;
        tx.commit(&[]).await?;
        Ok(count)
    }

    /// Records the next run of a DAG, computed for a version of it.
    ///
    /// # Errors
    /// [`Error::Stale`] when the DAG has another version by now.
    pub async fn set_next_run(
        &self,
        dag_id: &str,
        version_id: i64,
        next: Option<DueRun>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        match self.set_next_runs(&[(dag_id.to_owned(), version_id, next)], now).await? {
            0 => Err(Error::Stale(format!("DAG `{dag_id}`"))),
            _ => Ok(()),
        }
    }
}

fn dag_row(upsert: &DagUpsert, paused_by_default: bool) -> DagRow<'_> {
    let spec = upsert.dag.spec();
    DagRow {
        dag_id: &spec.dag_id,
        file: &upsert.file,
        is_paused: spec.is_paused_upon_creation.unwrap_or(paused_by_default),
        description: spec.description.as_deref(),
        owners: crate::batch::json(&spec.owners()),
        tags: crate::batch::json(&spec.tags),
        schedule: spec.schedule_summary(),
        max_active_runs: spec.max_active_runs,
        hash: upsert.dag.hash(),
        spec: canonical::json(spec),
        source: &upsert.source,
    }
}
