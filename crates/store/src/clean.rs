//! Cleaning: what is over and old is deleted, a few rows at a time.
//!
//! Airflow's `db clean`, with its names of tables. What is not over stays, and so does what others build on: of each DAG
//! the runs from which its next one is computed, which `depends_on_past` asks and which were its last success.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use strum::{Display, EnumString, IntoStaticStr};

use crate::engine::Step;
use crate::{Result, Store, Topic};

/// What can be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, Display, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Cleanable {
    /// Runs with their task instances, tries, XComs, logs, alerts and deadlines.
    DagRun,
    AssetEvent,
    /// The audit log.
    Log,
    /// Schedulers and workers that have ended.
    Job,
    /// Backfills without runs.
    Backfill,
}

impl Cleanable {
    /// All, in the order in which they are cleaned: what runs keep goes after them.
    pub const ALL: [Self; 5] = [Self::DagRun, Self::AssetEvent, Self::Log, Self::Job, Self::Backfill];
}

#[async_trait]
pub(crate) trait CleanRows {
    async fn all_dags(&self) -> Result<Vec<String>>;
    async fn count_old(&self, what: Cleanable, before: DateTime<Utc>) -> Result<u64>;
    async fn count_old_runs(&self, dag_id: &str, before: DateTime<Utc>) -> Result<u64>;
}

#[async_trait]
pub(crate) trait CleanStatements {
    /// Runs of a DAG that may go, oldest first.
    async fn old_runs(&mut self, dag_id: &str, before: DateTime<Utc>, limit: i64) -> Result<Vec<i64>>;
    /// Deletes some of what is old; how many rows. Runs are deleted one by one, under their locks.
    async fn clean(&mut self, what: Cleanable, before: DateTime<Utc>, limit: i64) -> Result<u64>;
}

impl Store {
    /// The ids of all DAGs, also of those that no file defines any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn all_dags(&self) -> Result<Vec<String>> {
        self.inner.backend.all_dags().await
    }

    /// How many runs of a DAG ended before `before` and may go.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_old_runs(&self, dag_id: &str, before: DateTime<Utc>) -> Result<u64> {
        self.inner.backend.count_old_runs(dag_id, before).await
    }

    /// Deletes up to `limit` runs of a DAG that ended before `before`, with all that belongs to them; how many. Data sets
    /// and XComs in files are noted for who cleans the staging area.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clean_runs(&self, dag_id: &str, before: DateTime<Utc>, limit: u32, now: DateTime<Utc>) -> Result<u32> {
        let mut step = Step::begin(self, now).await?;
        let keys = step.tx.old_runs(dag_id, before, i64::from(limit)).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        let mut deleted = 0;
        // Somebody may have cleared one before it was locked.
        for lock in step.tx.lock_runs(&keys).await?.into_iter().filter(|lock| lock.state.is_finished()) {
            step.tx.remember_run(lock.key, now).await?;
            deleted += u32::from(step.tx.delete_run(lock.key).await?);
        }
        step.topics.insert(Topic::Progress);
        step.commit().await?;
        Ok(deleted)
    }

    /// How many rows, other than runs, are older than `before` and may go.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_old(&self, what: Cleanable, before: DateTime<Utc>) -> Result<u64> {
        self.inner.backend.count_old(what, before).await
    }

    /// Deletes up to `limit` rows, other than runs, that are older than `before`; how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clean(&self, what: Cleanable, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let mut tx = self.inner.backend.begin().await?;
        let deleted = tx.clean(what, before, i64::from(limit)).await?;
        tx.commit(&[]).await?;
        Ok(deleted)
    }
}
