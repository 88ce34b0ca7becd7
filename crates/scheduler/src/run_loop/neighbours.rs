//! Other processes on this machine: that one of them has died is seen at once, not when its lease ends.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use towpath_store::{JobRecord, JobState, Result, Store};

use crate::process_identity::{Liveness, ProcessIdentity};

/// How often they are looked at. A look is one small file of `/proc` each, and no query.
const LOOK: Duration = Duration::from_secs(1);

/// Processes that this one can see, as of the last heartbeat.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    jobs: Vec<JobRecord>,
    next_look: Option<Instant>,
}

impl Neighbours {
    /// Takes note of who runs; all are looked at right away.
    pub(super) fn meet(&mut self, identity: &ProcessIdentity, jobs: Vec<JobRecord>) {
        self.jobs = jobs;
        self.jobs.retain(|record| {
            record.state == JobState::Running
                && !identity.does(&record.job)
                && identity.liveness_of(&record.job) != Liveness::Unknown
        });
        self.next_look = (!self.jobs.is_empty()).then(Instant::now);
    }

    /// When to look at them again; `None`: there are none.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Reports those that have died; how many.
    ///
    /// # Errors
    /// When the database does not answer; those that are left are reported at the next look.
    pub(super) async fn look(&mut self, identity: &ProcessIdentity, store: &Store, now: DateTime<Utc>) -> Result<u32> {
        if self.next_look.is_none_or(|at| at > Instant::now()) {
            return Ok(0);
        }
        let mut lost = 0;
        while let Some(index) = self.jobs.iter().position(|job| identity.liveness_of(&job.job) == Liveness::Dead) {
            let record = &self.jobs[index];
            let (kind, pid) = (record.job.job_type, record.job.pid);
            let reason = format!("its {kind} (process {pid} on {}) has died", record.job.hostname);
            let attempts = store.lose_job(record.id, &reason, now).await?;
            tracing::warn!(job = record.id, pid, attempts, "a {kind} on this machine has died");
            self.jobs.remove(index);
            lost += 1;
        }
        self.next_look = (!self.jobs.is_empty()).then(|| Instant::now() + LOOK);
        Ok(lost)
    }
}
