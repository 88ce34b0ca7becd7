//! What cleans the staging area has to know: whose folders may go, and which deleted runs have left one.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use towpath_model::state::RunState;

use crate::engine::Step;
use crate::{Result, Store};

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    pub key: i64,
    pub state: RunState,
    /// [`None`] while it is not over.
    pub end_date: Option<DateTime<Utc>>,
}

#[async_trait]
pub(crate) trait StagingRows {
    async fn removals(&self, limit: i64) -> Result<Vec<(String, String)>>;
    async fn run_ends(&self, dag_id: &str, run_ids: &[String]) -> Result<Vec<(String, RunEnd)>>;
    async fn latest_success(&self, dag_id: &str) -> Result<Option<String>>;
}

#[async_trait]
pub(crate) trait StagingStatements {
    /// Notes that what a run has in staging is to be removed.
    async fn remember_run(&mut self, run_key: i64, now: DateTime<Utc>) -> Result<()>;
    async fn remember_runs_of_dag(&mut self, dag_id: &str, now: DateTime<Utc>) -> Result<()>;
    async fn forget_removal(&mut self, dag_id: &str, run_id: &str) -> Result<()>;
}

impl Store {
    /// Runs that were deleted and whose data is still to be removed: ids of DAG and run.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn staging_removals(&self, limit: u32) -> Result<Vec<(String, String)>> {
        self.inner.backend.removals(i64::from(limit)).await
    }

    /// The data of a deleted run is gone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn staging_removed(&self, dag_id: &str, run_id: &str, now: DateTime<Utc>) -> Result<()> {
        let mut step = Step::begin(self, now).await?;
        step.tx.forget_removal(dag_id, run_id).await?;
        step.commit().await?;
        Ok(())
    }

    /// How those runs of a DAG stand, by their ids; those that do not exist are left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_ends(&self, dag_id: &str, run_ids: &[String]) -> Result<HashMap<String, RunEnd>> {
        Ok(self.inner.backend.run_ends(dag_id, run_ids).await?.into_iter().collect())
    }

    /// The id of the newest run of a DAG, by `run_after`, that has succeeded.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn latest_success(&self, dag_id: &str) -> Result<Option<String>> {
        self.inner.backend.latest_success(dag_id).await
    }

    /// Does some quick work while nothing can begin in a run: it is over, and is not cleared meanwhile. [`None`] where it is not
    /// over, and nothing is done.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn while_over<T: Send>(
        &self,
        run_key: i64,
        now: DateTime<Utc>,
        work: impl FnOnce() -> T + Send,
    ) -> Result<Option<T>> {
        let mut step = Step::begin(self, now).await?;
        let lock = step.tx.lock_runs(&[run_key]).await?.pop();
        let done = lock.filter(|lock| lock.state.is_finished()).map(|_| work());
        step.commit().await?;
        Ok(done)
    }
}
