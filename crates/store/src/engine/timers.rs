//! What time does: retries and looks that are due, and the safety net.

use chrono::{DateTime, Utc};

use super::Step;
use crate::batch::Waiting;
use crate::records::TaskKey;
use crate::{Result, Store};

impl Store {
    /// Makes up to `limit` task instances ready whose `available_at` has come; how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wake_due(&self, now: DateTime<Utc>, limit: u32) -> Result<u32> {
        let mut step = Step::begin(self, now).await?;
        let due = step.tx.due_timers(now, i64::from(limit)).await?;
        if due.is_empty() {
            return Ok(0);
        }
        step.lock_runs(due.iter().map(|w| w.run_key)).await?;
        // Read again under the locks: another scheduler may have been here.
        let rows = step.tx.waiting_in(&due, now).await?;
        let woken = rows.len() as u32;
        step.wake(rows);
        step.settle().await?;
        step.commit().await?;
        Ok(woken)
    }

    /// Starts the next try, or look, of a task instance that waits for its time. False where it does
    /// not wait.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn retry_now(&self, key: &TaskKey, now: DateTime<Utc>) -> Result<bool> {
        let mut step = Step::begin(self, now).await?;
        step.lock_runs([key.run_key]).await?;
        let waiting = Waiting { run_key: key.run_key, task_id: key.task_id.clone(), map_index: key.map_index };
        let rows = step.tx.waiting_in(&[waiting], DateTime::<Utc>::MAX_UTC).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        step.wake(rows);
        step.settle().await?;
        step.commit().await?;
        Ok(true)
    }

    /// Queues whatever no limit blocks any more: the safety net behind the steps that free slots,
    /// each of which does this for what it frees. How many were queued.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<u32> {
        let mut step = Step::begin(self, now).await?;
        let runs = step.tx.blocked_runs().await?;
        let pools = step.tx.blocked_pools().await?;
        let mut runs = runs;
        runs.extend(step.tx.some_gated_runs().await?);
        if runs.is_empty() && pools.is_empty() {
            return Ok(0);
        }
        step.lock_runs(runs).await?;
        step.freed_pools.extend(pools);
        step.look_behind_limits();
        step.settle().await?;
        let queued = step.queued as u32;
        step.commit().await?;
        Ok(queued)
    }
}

impl Step<'_> {
    /// Treats every pool of the locked runs as one in which slots have become free.
    pub(crate) fn look_behind_limits(&mut self) {
        let pools: Vec<String> =
            self.runs.values().flat_map(|run| run.dag.pools().map(str::to_owned).collect::<Vec<_>>()).collect();
        self.freed_pools.extend(pools);
    }
}
