//! The end of what is kept: runs and DAGs that somebody deletes, with all that belongs to them.

use chrono::{DateTime, Utc};
use towpath_model::state::RunState;

use super::Step;
use crate::wake::Topic;
use crate::{Result, Store};

/// What became of something that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    Deleted,
    /// A run is running; nothing has been deleted.
    Running,
    /// It does not exist.
    Missing,
}

impl Store {
    /// Deletes a run with its task instances, tries, XComs and logs. One that is running is left alone,
    /// or cancelled first where `force` says so.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_run(&self, key: i64, force: bool, now: DateTime<Utc>) -> Result<Deletion> {
        if force {
            self.cancel_run(key, "its run was deleted", now).await?;
        }
        let mut step = Step::begin(self, now).await?;
        let Some(lock) = step.tx.lock_runs(&[key]).await?.pop() else { return Ok(Deletion::Missing) };
        step.tx.remember_run(key, now).await?;
        if lock.state == RunState::Running || !step.tx.delete_run(key).await? {
            return Ok(Deletion::Running);
        }
        step.topics.extend([Topic::Schedule, Topic::Progress]);
        step.commit().await?;
        Ok(Deletion::Deleted)
    }

    /// Deletes a DAG with its versions, its runs and all that belongs to them. While its file is in the
    /// DAGs folder, it comes back when that is read again. Nothing is deleted while a run is running.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_dag(&self, dag_id: &str, now: DateTime<Utc>) -> Result<Deletion> {
        let mut step = Step::begin(self, now).await?;
        if step.tx.lock_dag(dag_id).await?.is_none() {
            return Ok(Deletion::Missing);
        }
        if step.tx.lock_runs_of_dag(dag_id).await?.contains(&RunState::Running) {
            return Ok(Deletion::Running);
        }
        step.tx.remember_runs_of_dag(dag_id, now).await?;
        step.tx.delete_dag(dag_id).await?;
        step.topics.extend([Topic::Schedule, Topic::Progress]);
        step.commit().await?;
        Ok(Deletion::Deleted)
    }
}
