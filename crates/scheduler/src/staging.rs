//! Cleans the staging area, where data sets wait for those who read them.
//!
//! ```text
//!   folders of runs --> store: how they stand --> plan (pure) --> moved to the trash, then removed
//! ```
//!
//! Invariants:
//! - Data of a run that is not over is never touched. A folder goes while the run's row is locked and over, so no task of the run
//!   can begin in the middle of it.
//! - The newest successful run of each DAG keeps its data, however old it is.
//! - A folder disappears whole: it is renamed first. What is in the trash belongs to nobody.
//! - Work is done in small steps: a few folders, then others get their turn.

mod folders;
pub mod plan;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use towpath_model::clock::SharedClock;
use towpath_model::staging;
use towpath_store::{Result, RunEnd, Store};

pub use self::plan::Why;

/// How long a cleaned area is left alone.
const REST: Duration = Duration::from_secs(600);
/// A pause between steps, for everybody else who uses the disk and the database.
const BREATH: Duration = Duration::from_millis(20);
/// Folders of runs that are looked up together.
const STEP: usize = 200;
/// Nobody is about to put something into a folder that has not changed for so long.
const IDLE: TimeDelta = TimeDelta::days(1);
/// Deleted runs that are looked at together.
const REMOVALS: u32 = 500;

/// What a janitor needs.
#[derive(Debug, Clone)]
pub struct Options {
    pub store: Store,
    pub clock: SharedClock,
    /// The staging area.
    pub staging: PathBuf,
    /// How long the data of a run is kept after its end; `None` for ever.
    pub keep: Option<Duration>,
}

/// Something that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    pub dag_id: String,
    pub run_id: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub why: Why,
}

/// Cleans a staging area.
#[derive(Debug, Clone)]
pub struct Janitor {
    options: Options,
    /// Says what would be done and does nothing.
    is_rehearsal: bool,
}

impl Janitor {
    /// A janitor; nothing happens before [`Janitor::run`] or [`Janitor::pass`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, is_rehearsal: false }
    }

    /// One that changes nothing.
    #[must_use]
    pub fn rehearsal(options: Options) -> Self {
        Self { options, is_rehearsal: true }
    }

    /// Cleans now and then, until `stop` is cancelled. What goes wrong is said and tried again.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                passed = self.pass() => match passed {
                    Ok(removed) if removed.is_empty() => {}
                    Ok(removed) => {
                        let bytes: u64 = removed.iter().map(|one| one.bytes).sum();
                        tracing::info!(folders = removed.len(), bytes, "old data sets have been removed from staging");
                    }
                    Err(error) => tracing::warn!("the staging area could not be cleaned: {error}"),
                },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REST) => {}
            }
        }
    }

    /// Looks at everything once and removes what may go; what that was.
    ///
    /// # Errors
    /// When the database does not answer. Folders that cannot be read or removed are logged and passed over.
    pub async fn pass(&self) -> Result<Vec<Removed>> {
        let now = self.options.clock.now();
        let mut removed = Vec::new();
        if !self.is_rehearsal {
            folders::empty_trash(&self.options.staging, now).await;
        }
        self.deleted_runs(now, &mut removed).await?;
        for (name, dag) in folders::below(&self.options.staging).await {
            // What no id stands for, the trash above all, is none of ours.
            let Some(dag_id) = staging::id(&name) else { continue };
            self.dag(&dag_id, &dag, now, &mut removed).await?;
        }
        Ok(removed)
    }

    /// Runs that somebody has deleted take their data with them.
    async fn deleted_runs(&self, now: DateTime<Utc>, removed: &mut Vec<Removed>) -> Result<()> {
        let store = &self.options.store;
        for (dag_id, run_id) in store.staging_removals(REMOVALS).await? {
            let path = staging::run_folder(&self.options.staging, &dag_id, &run_id);
            // It may have been made again, and may be at work by now.
            let is_there_again = !store.run_ends(&dag_id, std::slice::from_ref(&run_id)).await?.is_empty();
            if !is_there_again && path.exists() {
                let bytes = folders::size(&path).await;
                let trash = folders::trash(&self.options.staging, now);
                if !self.is_rehearsal && !folders::move_away(&path, &trash) {
                    continue;
                }
                folders::remove(trash).await;
                removed.push(Removed {
                    dag_id: dag_id.clone(),
                    run_id: run_id.clone(),
                    path,
                    bytes,
                    why: Why::Deleted,
                });
            }
            if !self.is_rehearsal {
                store.staging_removed(&dag_id, &run_id, now).await?;
            }
        }
        Ok(())
    }

    async fn dag(&self, dag_id: &str, dag: &Path, now: DateTime<Utc>, removed: &mut Vec<Removed>) -> Result<()> {
        let runs = folders::below(dag).await;
        let latest = self.options.store.latest_success(dag_id).await?;
        for step in runs.chunks(STEP) {
            let ids: Vec<String> = step.iter().filter_map(|(name, _)| staging::id(name)).collect();
            let ends = self.options.store.run_ends(dag_id, &ids).await?;
            for (name, path) in step {
                let Some(run_id) = staging::id(name) else { continue };
                self.run_of(dag_id, &run_id, path, &ends, latest.as_deref(), now, removed).await?;
            }
            tokio::time::sleep(BREATH).await;
        }
        let is_idle = folders::changed(dag).is_some_and(|changed| now.signed_duration_since(changed) >= IDLE);
        if is_idle && !self.is_rehearsal {
            // Only an empty one goes.
            let _ = std::fs::remove_dir(dag);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "what is known of one folder")]
    async fn run_of(
        &self,
        dag_id: &str,
        run_id: &str,
        path: &Path,
        ends: &HashMap<String, RunEnd>,
        latest: Option<&str>,
        now: DateTime<Utc>,
        removed: &mut Vec<Removed>,
    ) -> Result<()> {
        let end = ends.get(run_id).copied();
        let changed = folders::changed(path);
        let is_latest = latest == Some(run_id);
        if let Some(why) = plan::run(end, is_latest, changed, self.options.keep, now) {
            if let Some(bytes) = self.take(end.map(|end| end.key), path, now).await? {
                removed.push(Removed {
                    dag_id: dag_id.into(),
                    run_id: run_id.into(),
                    path: path.to_owned(),
                    bytes,
                    why,
                });
            }
        } else if let Some(end) = end.filter(|end| plan::may_have_leftovers(*end, now)) {
            for (task, map_index, folder) in folders::crowded(path).await {
                let xcoms = self.options.store.xcoms(end.key, &task, "return_value", map_index).await?;
                let named = xcoms.iter().filter_map(|xcom| xcom.value.get("location")?.as_str().map(PathBuf::from));
                let named: Vec<PathBuf> = named.collect();
                for leftover in plan::leftovers(&folder, &named) {
                    if let Some(bytes) = self.take(Some(end.key), leftover, now).await? {
                        let (dag_id, run_id) = (dag_id.to_owned(), run_id.to_owned());
                        let path = leftover.to_owned();
                        removed.push(Removed { dag_id, run_id, path, bytes, why: Why::Leftover });
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes a folder, while its run is over; its size, or `None` where it stays.
    async fn take(&self, run_key: Option<i64>, path: &Path, now: DateTime<Utc>) -> Result<Option<u64>> {
        let bytes = folders::size(path).await;
        if self.is_rehearsal {
            return Ok(Some(bytes));
        }
        let trash = folders::trash(&self.options.staging, now);
        let moved = match run_key {
            Some(key) => self.options.store.while_over(key, now, || folders::move_away(path, &trash)).await?,
            None => Some(folders::move_away(path, &trash)),
        };
        if moved != Some(true) {
            return Ok(None);
        }
        folders::remove(trash).await;
        Ok(Some(bytes))
    }
}
