//! Runs that start late, end early, or go on after a pause.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Map;
use towpath_model::state::{RunState, TaskState};

use super::Step;
use crate::batch::{MoveRow, Startable};
use crate::engine::report::{Report, ReportOutcome};
use crate::records::TaskKey;
use crate::wake::Topic;
use crate::{Result, Store};

/// Most runs that one call starts; the next call goes on.
const STARTS: i64 = 256;

impl Store {
    /// Starts queued runs whose time has come and whose DAG has room; how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start_queued_runs(&self, now: DateTime<Utc>) -> Result<u32> {
        let mut step = Step::begin(self, now).await?;
        let startable = step.tx.startable_runs(now, STARTS).await?;
        drop(step);
        let mut started = 0;
        // Where one finds no room, those behind it find none either.
        let mut full = HashSet::new();
        for run in startable {
            let limit = (run.dag_id.clone(), run.backfill_id);
            if full.contains(&limit) && !run.is_foreground {
                continue;
            }
            if self.start_run(&run, now).await? {
                started += 1;
            } else {
                full.insert(limit);
            }
        }
        Ok(started)
    }

    /// Starts one run, if the limit still allows under the lock of its DAG.
    async fn start_run(&self, run: &Startable, now: DateTime<Utc>) -> Result<bool> {
        let key = run.key;
        let mut step = Step::begin(self, now).await?;
        let Some(dag) = step.tx.lock_dag(&run.dag_id).await? else { return Ok(false) };
        // Its time has come, by the statement that found it.
        let mut start = dag.start(now, run.is_foreground);
        if let Some(id) = run.backfill_id {
            // A backfill has a limit of its own.
            start.running = start.max_active_runs - step.tx.backfill_room(id).await?;
        }
        if !start.is_free(now) {
            return Ok(false);
        }
        step.lock_runs([key]).await?;
        let Some(run) = step.runs.get_mut(&key) else { return Ok(false) };
        let timeout = run.dag.spec().dagrun_timeout.and_then(|t| TimeDelta::from_std(t).ok());
        if !step.tx.start_run(key, now, timeout.map(|t| now + t)).await? {
            return Ok(false);
        }
        run.lock.state = RunState::Running;
        let rows = step.tx.undecided(key).await?;
        let over = rows.is_empty();
        step.decide(rows).await?;
        step.look_behind_limits();
        if over {
            // A DAG without tasks is over as soon as it starts.
            step.tx.finish_run(key, RunState::Success, now).await?;
            step.drop_deadlines(key).await?;
            step.alert_run(key, RunState::Success);
        }
        step.topics.insert(Topic::Progress);
        step.settle().await?;
        step.commit().await?;
        Ok(true)
    }

    /// Ends runs that have exceeded `dagrun_timeout`: the run fails, what has not started is
    /// skipped, what runs is stopped and skipped. How many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn expire_runs(&self, now: DateTime<Utc>) -> Result<u32> {
        let mut step = Step::begin(self, now).await?;
        let keys = step.tx.expired_runs(now).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        step.lock_runs(keys.iter().copied()).await?;
        let mut expired = 0;
        for key in keys {
            if step.runs.get(&key).is_some_and(|run| run.lock.state == RunState::Running) {
                step.fail_run(key, "dagrun_timeout has passed").await?;
                expired += 1;
            }
        }
        step.settle().await?;
        step.commit().await?;
        Ok(expired)
    }

    /// Ends a run now, also one that has not started: it fails, what has not started is skipped, what
    /// runs is stopped. Teardowns are left to run, and the run fails when they have ended; cancelled
    /// once more, it ends with them. False where it is over already.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel_run(&self, key: i64, why: &str, now: DateTime<Utc>) -> Result<bool> {
        let mut step = Step::begin(self, now).await?;
        step.lock_runs([key]).await?;
        let open = step.runs.get(&key).is_some_and(|run| !run.lock.state.is_finished());
        if open {
            if !step.give_way_to_teardowns(key, ReportOutcome::Skipped, why).await? {
                step.fail_run(key, why).await?;
            }
            step.settle().await?;
            step.commit().await?;
        }
        Ok(open)
    }

    /// Pauses or unpauses a DAG. A paused one gets no new runs and starts no tasks; what runs goes
    /// on to its end. False where there is no such DAG.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_paused(&self, dag_id: &str, paused: bool, now: DateTime<Utc>) -> Result<bool> {
        let mut step = Step::begin(self, now).await?;
        if step.tx.lock_dag(dag_id).await?.is_none() {
            return Ok(false);
        }
        if step.tx.set_paused(dag_id, paused).await? {
            step.topics.insert(Topic::Schedule);
            if !paused {
                let runs = step.tx.running_runs_of_dag(dag_id).await?;
                step.lock_runs(runs).await?;
                step.look_behind_limits();
                step.settle().await?;
            }
        }
        step.commit().await?;
        Ok(true)
    }
}

impl Step<'_> {
    /// Fails a locked run that has not started: all of its tasks are skipped.
    pub(super) async fn give_up(&mut self, key: i64, why: &str) -> Result<()> {
        self.fail_run(key, why).await?;
        self.tx.end_run(key, RunState::Failed, self.now).await
    }

    /// Fails a locked run now, with everything unfinished in it skipped.
    async fn fail_run(&mut self, key: i64, why: &str) -> Result<()> {
        let not_started = self.tx.not_started(key).await?;
        // What is queued holds slots already.
        let queued = not_started.iter().filter(|row| row.state == TaskState::Queued);
        self.freed_pools.extend(queued.map(|row| row.pool.clone()));
        let moves: Vec<MoveRow> = not_started
            .into_iter()
            .map(|row| MoveRow {
                run_key: key,
                task_id: row.key.task_id,
                map_index: row.key.map_index,
                from_state: row.state,
                state: TaskState::Skipped,
                blocked_by: None,
                new_try: 0,
                ended: true,
                note: Some(why.to_owned()),
            })
            .collect();
        self.apply(&moves).await?;
        let reports: Vec<Report> = self
            .tx
            .attempts_of_run(key)
            .await?
            .into_iter()
            .map(|held| Report {
                key: TaskKey { run_key: held.run_key, task_id: held.task_id, map_index: held.map_index },
                attempt: held.attempt,
                outcome: ReportOutcome::Skipped,
                note: Some(why.to_owned()),
                xcoms: Vec::new(),
                asset_extra: Map::new(),
                evidence: Default::default(),
                ended_at: self.now,
            })
            .collect();
        if self.tx.finish_run(key, RunState::Failed, self.now).await?
            && let Some(run) = self.runs.get_mut(&key)
        {
            run.lock.state = RunState::Failed;
            self.alert_run(key, RunState::Failed);
        }
        self.topics.insert(Topic::Stop);
        self.topics.insert(Topic::Schedule);
        self.end(&reports).await?;
        // Nothing follows in a run that is over.
        self.ended.retain(|(task, _)| task.run_key != key);
        self.ready.retain(|ready| ready.row.key.run_key != key);
        Ok(())
    }
}
