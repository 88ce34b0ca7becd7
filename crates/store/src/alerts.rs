//! The outbox of alerts: whom to tell of which end, and how far that has got.
//!
//! Rows are written by the step that records the end (`engine/alerts.rs`), so there is one for each end and target
//! whenever a process dies. Sending is a matter of leases: who claims a row has it to themselves for a while, and the
//! number of the attempt names them when they tell how it went. Who dies after sending and before telling makes the
//! alert go out twice; nothing else does.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use towpath_model::alert::{Event, Target};

use crate::batch::AlertRow;
use crate::logs::LogKey;
use crate::records::TaskKey;
use crate::{Result, Store};

/// An entry of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRecord {
    pub id: i64,
    /// The same for all attempts to send it, and of no other alert of this database.
    pub dedup: String,
    pub run_key: i64,
    pub dag_id: String,
    pub run_id: String,
    /// `None` where it is the run that has ended.
    pub task_id: Option<String>,
    /// -1 for a task that is not mapped, and for runs.
    pub map_index: i32,
    /// The try that has ended; 0 for runs.
    pub try_number: u32,
    /// Tries after the first one that the task may have.
    pub max_tries: u32,
    pub event: Event,
    pub start_date: Option<DateTime<Utc>>,
    pub end_date: Option<DateTime<Utc>>,
    /// Why the try ended so.
    pub note: Option<String>,
    pub target: Target,
    pub created_at: DateTime<Utc>,
    /// How often somebody has set out to send it.
    pub attempts: u32,
    /// When it is to be sent (again), or the lease of who is sending it ends. `None`: nothing is left to do.
    pub next_at: Option<DateTime<Utc>>,
    pub sent_at: Option<DateTime<Utc>>,
    /// Why the last attempt to send it failed.
    pub error: Option<String>,
}

impl AlertRecord {
    /// The task instance that has ended.
    #[must_use]
    pub fn task(&self) -> Option<TaskKey> {
        let task_id = self.task_id.clone()?;
        Some(TaskKey { run_key: self.run_key, task_id, map_index: self.map_index })
    }
}

/// How an attempt to send an alert ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertEnd {
    Sent,
    /// To be tried again.
    Again {
        at: DateTime<Utc>,
        error: String,
    },
    /// Not to be tried again.
    GivenUp {
        error: String,
    },
}

#[async_trait]
pub(crate) trait AlertStatements {
    async fn insert_alerts(&mut self, rows: &[AlertRow], now: DateTime<Utc>) -> Result<()>;
    async fn claim_alerts(
        &mut self,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<AlertRecord>>;
    /// False where somebody else has set out to send it meanwhile.
    async fn end_alert(
        &mut self,
        id: i64,
        attempt: u32,
        next_at: Option<DateTime<Utc>>,
        sent_at: Option<DateTime<Utc>>,
        error: Option<&str>,
    ) -> Result<bool>;
}

#[async_trait]
pub(crate) trait AlertRows {
    async fn next_alert_at(&self) -> Result<Option<DateTime<Utc>>>;
    async fn alerts_of_run(&self, run_key: i64) -> Result<Vec<AlertRecord>>;
    async fn last_log_chunk(&self, key: &LogKey) -> Result<Option<u32>>;
}

impl Store {
    /// Up to `limit` alerts that are due, longest due first, for the caller alone until `lease` has passed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim_alerts(&self, limit: u32, lease: Duration, now: DateTime<Utc>) -> Result<Vec<AlertRecord>> {
        let until = now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX);
        let mut tx = self.inner.backend.begin().await?;
        let mut alerts = tx.claim_alerts(now, until, i64::from(limit)).await?;
        tx.commit(&[]).await?;
        alerts.sort_by_key(|alert| alert.id);
        Ok(alerts)
    }

    /// Records how the attempt to send `alert`, as it was claimed, has ended. False where the lease was over and
    /// somebody else has claimed it: nothing is changed then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_alert(&self, alert: &AlertRecord, end: &AlertEnd, now: DateTime<Utc>) -> Result<bool> {
        let (next_at, sent_at, error) = match end {
            AlertEnd::Sent => (None, Some(now), None),
            AlertEnd::Again { at, error } => (Some(*at), None, Some(error)),
            AlertEnd::GivenUp { error } => (None, None, Some(error)),
        };
        // PostgreSQL's text cannot hold a zero byte.
        let error = error.map(|error| error.replace('\0', "\u{fffd}"));
        let mut tx = self.inner.backend.begin().await?;
        let is_mine = tx.end_alert(alert.id, alert.attempts, next_at, sent_at, error.as_deref()).await?;
        tx.commit(&[]).await?;
        Ok(is_mine)
    }

    /// When the next alert is due; `None` where none waits.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next_alert_at(&self) -> Result<Option<DateTime<Utc>>> {
        self.inner.backend.next_alert_at().await
    }

    /// The alerts of a run and its tasks, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alerts_of_run(&self, run_key: i64) -> Result<Vec<AlertRecord>> {
        self.inner.backend.alerts_of_run(run_key).await
    }

    /// The last `lines` lines of a log, each a JSON object.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn log_tail(&self, key: &LogKey, lines: u32) -> Result<Vec<String>> {
        let Some(last) = self.inner.backend.last_log_chunk(key).await? else { return Ok(Vec::new()) };
        // Every chunk has a line, so there are enough in as many chunks.
        let from = (last + 1).saturating_sub(lines);
        let mut tail = Vec::new();
        for chunk in self.inner.backend.log_chunks(key, from, lines).await? {
            tail.extend(chunk.text.lines().map(str::to_owned));
            let surplus = tail.len().saturating_sub(lines as usize);
            tail.drain(..surplus);
        }
        Ok(tail)
    }
}
