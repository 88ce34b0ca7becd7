//! How runs and their task instances stand, for those who follow them: narrow reads that are made often.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use towpath_model::state::{RunState, TaskState};

use crate::{Result, Store};

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStanding {
    pub key: i64,
    pub dag_id: String,
    pub run_id: String,
    pub state: RunState,
}

/// How a task instance stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStanding {
    pub run_key: i64,
    pub task_id: String,
    pub map_index: i32,
    pub state: TaskState,
    pub try_number: u32,
}

#[async_trait]
pub(crate) trait ChangeRows {
    async fn run_standings(&self, ended_since: DateTime<Utc>, limit: u32) -> Result<Vec<RunStanding>>;
    async fn task_standings(&self, run_keys: &[i64], limit: u32) -> Result<Vec<TaskStanding>>;
}

impl Store {
    /// The runs that are unfinished, running ones first, and those that have ended since; at most `limit` of each.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_standings(&self, ended_since: DateTime<Utc>, limit: u32) -> Result<Vec<RunStanding>> {
        self.inner.backend.run_standings(ended_since, limit).await
    }

    /// The task instances of those runs, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_standings(&self, run_keys: &[i64], limit: u32) -> Result<Vec<TaskStanding>> {
        if run_keys.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.backend.task_standings(run_keys, limit).await
    }
}
