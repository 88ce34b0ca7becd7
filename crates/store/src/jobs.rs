//! What the engine needs to know of jobs.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::Result;
use crate::records::{JobState, NewJob, StopOrder};

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// False: the job counts as lost. What it runs has been taken from it; it must stop all of it
    /// and register anew.
    pub alive: bool,
    /// Attempts to end: cleared, timed out with their run, or taken away.
    pub stop: Vec<StopOrder>,
}

#[async_trait]
pub(crate) trait JobStatements {
    async fn insert_job(&mut self, job: &NewJob, now: DateTime<Utc>, lease_until: DateTime<Utc>) -> Result<i64>;
    /// False where the job is not running any more.
    async fn heartbeat(&mut self, job_id: i64, now: DateTime<Utc>, lease_until: DateTime<Utc>) -> Result<bool>;
    async fn close_job(&mut self, job_id: i64, state: JobState, now: DateTime<Utc>) -> Result<bool>;
    async fn expired_jobs(&mut self, now: DateTime<Utc>) -> Result<Vec<(i64, String)>>;
    /// Ids of jobs that hold attempts and do not run.
    async fn orphaned(&mut self) -> Result<Vec<i64>>;
}
