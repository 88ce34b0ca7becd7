//! Schedulers and workers: leases, and what becomes of the attempts of a worker that is gone.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Map;
use towpath_model::state::TaskState;

use super::Step;
use crate::engine::report::{Report, ReportOutcome};
use crate::jobs::Heartbeat;
use crate::records::{JobState, NewJob, StopOrder, TaskKey};
use crate::wake::Topic;
use crate::{Result, Store};

fn until(now: DateTime<Utc>, lease: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX)
}

impl Store {
    /// Registers a process; its id. It counts as lost when `lease` passes without a heartbeat.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn register_job(&self, job: NewJob, lease: Duration, now: DateTime<Utc>) -> Result<i64> {
        let mut tx = self.inner.backend.begin().await?;
        let id = tx.insert_job(&job, now, until(now, lease)).await?;
        tx.commit(&[]).await?;
        Ok(id)
    }

    /// Renews a lease. `running` is what a worker runs: for each attempt that it should end, the
    /// answer has an order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn heartbeat(
        &self,
        job_id: i64,
        lease: Duration,
        running: &[(TaskKey, i64)],
        now: DateTime<Utc>,
    ) -> Result<Heartbeat> {
        let mut tx = self.inner.backend.begin().await?;
        let alive = tx.heartbeat(job_id, now, until(now, lease)).await?;
        let mut stop = Vec::new();
        if !running.is_empty() {
            let current: HashSet<(TaskKey, i64)> = tx
                .attempts_of_worker(job_id)
                .await?
                .into_iter()
                .filter(|held| held.state == TaskState::Running)
                .map(|held| {
                    (TaskKey { run_key: held.run_key, task_id: held.task_id, map_index: held.map_index }, held.attempt)
                })
                .collect();
            stop = running
                .iter()
                .filter(|attempt| !current.contains(attempt))
                .map(|(key, attempt)| StopOrder { key: key.clone(), attempt: *attempt })
                .collect();
        }
        tx.commit(&[]).await?;
        Ok(Heartbeat { alive, stop })
    }

    /// A process says goodbye. A worker has no attempts left by then; those that it has are lost.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_job(&self, job_id: i64, now: DateTime<Utc>) -> Result<()> {
        self.close_job(job_id, JobState::Ended, "its worker has ended", now).await.map(|_| ())
    }

    /// Declares a process lost: its attempts end now as failed, with `reason`, and are retried as
    /// any failed attempt. How many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lose_job(&self, job_id: i64, reason: &str, now: DateTime<Utc>) -> Result<u32> {
        self.close_job(job_id, JobState::Lost, reason, now).await
    }

    /// Declares those lost whose leases are over; how many attempts that ended.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn expire_jobs(&self, now: DateTime<Utc>) -> Result<u32> {
        let mut tx = self.inner.backend.begin().await?;
        let expired = tx.expired_jobs(now).await?;
        drop(tx);
        let mut ended = 0;
        for (id, hostname) in expired {
            let reason = format!("its worker on {hostname} has stopped renewing its lease");
            ended += self.lose_job(id, &reason, now).await?;
        }
        Ok(ended)
    }

    async fn close_job(&self, job_id: i64, state: JobState, reason: &str, now: DateTime<Utc>) -> Result<u32> {
        let mut tx = self.inner.backend.begin().await?;
        let closed = tx.close_job(job_id, state, now).await?;
        tx.commit(&[Topic::Schedule]).await?;
        // From here on it claims nothing more. Who dies now leaves the rest to `end_orphans`.
        if closed { self.end_attempts_of(job_id, reason, now).await } else { Ok(0) }
    }

    /// Ends the attempts of workers that are gone; how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_orphans(&self, now: DateTime<Utc>) -> Result<u32> {
        let mut tx = self.inner.backend.begin().await?;
        let workers = tx.orphaned().await?;
        drop(tx);
        let mut ended = 0;
        for job_id in workers {
            ended += self.end_attempts_of(job_id, "its worker is gone", now).await?;
        }
        Ok(ended)
    }

    async fn end_attempts_of(&self, job_id: i64, reason: &str, now: DateTime<Utc>) -> Result<u32> {
        let mut step = Step::begin(self, now).await?;
        let held = step.tx.attempts_of_worker(job_id).await?;
        if held.is_empty() {
            return Ok(0);
        }
        step.lock_runs(held.iter().map(|held| held.run_key)).await?;
        let reports: Vec<Report> = held
            .into_iter()
            .map(|held| Report {
                key: TaskKey { run_key: held.run_key, task_id: held.task_id, map_index: held.map_index },
                attempt: held.attempt,
                outcome: ReportOutcome::Failed { retry: true },
                note: Some(reason.to_owned()),
                xcoms: Vec::new(),
                asset_extra: Map::new(),
                evidence: Default::default(),
                ended_at: now,
            })
            .collect();
        let accepted = step.end(&reports).await?;
        step.topics.insert(Topic::Schedule);
        step.settle().await?;
        step.commit().await?;
        Ok(accepted.into_iter().filter(|a| *a).count() as u32)
    }
}
