//! A run that is made to run again as a whole by another task (`reset_dag_run`).

use chrono::{DateTime, Utc};

use super::Step;
use super::clear::Selection;
use crate::{Error, Result, Store};

/// How often somebody may move a task of the run in between.
const TRIES: usize = 5;

impl Store {
    /// Lets all task instances of a run run again, and notes in the same step who asked, so that they know it as theirs when
    /// they could not be told.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a run that does not exist.
    pub async fn reset_run(&self, run_key: i64, asked_by: &str, now: DateTime<Utc>) -> Result<()> {
        for _ in 1..TRIES {
            match self.try_reset(run_key, asked_by, now).await {
                Err(Error::Stale(_)) => {}
                result => return result,
            }
        }
        self.try_reset(run_key, asked_by, now).await
    }

    async fn try_reset(&self, run_key: i64, asked_by: &str, now: DateTime<Utc>) -> Result<()> {
        let mut step = Step::begin(self, now).await?;
        let all = step.select(run_key, &Selection::default()).await?;
        step.clear(run_key, &all).await?;
        step.go_on(run_key).await?;
        step.tx.asked_by(run_key, asked_by).await?;
        step.commit().await
    }
}
