//! Steps: what they mean, in terms of [`crate::backend::Tx`], the same for every dialect.

pub(crate) mod advance;
mod alerts;
pub(crate) mod assets;
pub(crate) mod backfill;
pub(crate) mod clear;
pub(crate) mod create_run;
pub(crate) mod delete;
pub(crate) mod expand;
pub(crate) mod gates;
mod groups;
pub(crate) mod jobs;
pub(crate) mod promote;
pub(crate) mod report;
pub(crate) mod reset;
pub(crate) mod runs;
pub(crate) mod setups;
pub(crate) mod timers;
pub(crate) mod triggers;
pub(crate) mod upgrade;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use towpath_model::dag::Dag;
use towpath_model::state::{RunState, TaskState};

use crate::backend::Tx;
use crate::batch::{AlertRow, RunLock, TaskRow};
use crate::records::TaskKey;
use crate::wake::Topic;
use crate::{Result, Store};

/// What one step holds and has learnt: the locked runs and what has changed in them.
pub(crate) struct Step<'a> {
    pub(crate) store: &'a Store,
    pub(crate) tx: Box<dyn Tx>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) runs: BTreeMap<i64, LockedRun>,
    /// Task instances that ended in this step and whose successors have not been told yet.
    pub(crate) ended: Vec<(TaskKey, TaskState)>,
    /// Task instances that may run as soon as the limits allow.
    pub(crate) ready: Vec<Ready>,
    /// Task instances whose rule has said run in this step. Their rows are moved only when it
    /// promotes, and until then every upstream that ends brings them up again.
    decided: BTreeSet<TaskKey>,
    /// Pools in which slots have become free.
    pub(crate) freed_pools: BTreeSet<String>,
    /// What waits for free slots and could not be looked at, since somebody else held its run.
    missed: Missed,
    /// DAGs whose gates this step may decide about.
    gated: BTreeSet<String>,
    /// Runs that may be over although nothing has ended in them in this step.
    touched: BTreeSet<i64>,
    /// Runs in which something is queued or running, as far as this step has seen.
    busy: BTreeSet<i64>,
    /// How many have become `queued`.
    pub(crate) queued: usize,
    pub(crate) topics: BTreeSet<Topic>,
    /// Runs that ended in this step: DAG, run id, outcome.
    finished: Vec<(String, String, RunState)>,
    /// Who is to be told of what has ended in this step.
    alerts: Vec<AlertRow>,
    /// Assets that tasks have updated in this step.
    asset_events: Vec<assets::Update>,
    /// XComs that are in files.
    pub(crate) aside: crate::values::Aside,
}

/// Runs that somebody else held, and the pools with free slots for which they wait; and what may
/// wait for this step in other runs.
#[derive(Debug, Default)]
struct Missed {
    runs: BTreeSet<i64>,
    pools: BTreeSet<String>,
    /// DAGs in which something ended that others may wait for at their gates.
    dags: BTreeSet<String>,
}

/// A run whose row this step holds.
pub(crate) struct LockedRun {
    pub(crate) lock: RunLock,
    pub(crate) dag: Arc<Dag>,
}

/// A task instance whose rule said run, or whose time has come.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) row: TaskRow,
    /// Whether the step to `scheduled` begins a new try.
    pub(crate) new_try: bool,
    /// Whether it waits at its gate.
    pub(crate) at_gate: bool,
}

impl<'a> Step<'a> {
    pub(crate) async fn begin(store: &'a Store, now: DateTime<Utc>) -> Result<Self> {
        Ok(Self {
            store,
            tx: store.inner.backend.begin().await?,
            now,
            runs: BTreeMap::new(),
            ended: Vec::new(),
            ready: Vec::new(),
            decided: BTreeSet::new(),
            freed_pools: BTreeSet::new(),
            missed: Missed::default(),
            touched: BTreeSet::new(),
            gated: BTreeSet::new(),
            busy: BTreeSet::new(),
            queued: 0,
            topics: BTreeSet::new(),
            finished: Vec::new(),
            alerts: Vec::new(),
            asset_events: Vec::new(),
            aside: crate::values::Aside::default(),
        })
    }

    /// Locks runs and loads their DAGs.
    pub(crate) async fn lock_runs(&mut self, keys: impl IntoIterator<Item = i64>) -> Result<()> {
        let keys: BTreeSet<i64> = keys.into_iter().filter(|key| !self.runs.contains_key(key)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<i64> = keys.into_iter().collect();
        let locks = self.tx.lock_runs(&keys).await?;
        self.adopt(locks).await
    }

    /// Takes over locks that have been taken.
    pub(crate) async fn adopt(&mut self, locks: Vec<RunLock>) -> Result<()> {
        for lock in locks {
            let dag = self.store.dag_within(self.tx.as_mut(), lock.version_id).await?;
            self.runs.insert(lock.key, LockedRun { lock, dag });
        }
        Ok(())
    }

    /// Brings the locked runs to rest: successors are decided, limits are filled, runs that are
    /// over end. Every step that changes task instances ends with it.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        let mut touched: BTreeSet<i64> = self.ended.iter().map(|(key, _)| key.run_key).collect();
        touched.append(&mut self.touched);
        for key in &touched {
            if let Some(run) = self.runs.get(key).filter(|run| run.dag.is_gated()) {
                self.missed.dags.insert(run.lock.dag_id.clone());
            }
        }
        self.advance().await?;
        self.promote().await?;
        self.finish_runs(&touched).await?;
        self.write_asset_events().await?;
        self.write_alerts().await
    }

    /// Makes the step durable.
    pub(crate) async fn commit(mut self) -> Result<()> {
        self.write_alerts().await?;
        if self.queued > 0 {
            self.topics.insert(Topic::Work);
        }
        let topics: Vec<Topic> = self.topics.into_iter().collect();
        self.tx.commit(&topics).await?;
        for (dag_id, run_id, state) in self.finished {
            tracing::info!("run {run_id} of {dag_id}: {state}");
        }
        if !(self.missed.runs.is_empty() && self.missed.dags.is_empty())
            && let Err(error) = look_again(self.store, self.missed, self.now).await
        {
            // The step itself is done; what it could not start is left to the next sweep.
            tracing::warn!("slots of pools stay free for now: {error}");
        }
        Ok(())
    }

    /// Ends those of the `touched` runs in which nothing is unfinished.
    async fn finish_runs(&mut self, touched: &BTreeSet<i64>) -> Result<()> {
        let keys: Vec<i64> = touched.difference(&self.busy).copied().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let unfinished: BTreeSet<i64> = self.tx.unfinished(&keys).await?.into_iter().collect();
        for key in keys.into_iter().filter(|key| !unfinished.contains(key)) {
            let Some(run) = self.runs.get(&key) else { continue };
            if run.lock.state.is_finished() {
                continue;
            }
            let failed: HashMap<String, TaskState> = self.tx.failed_tasks(key).await?.into_iter().collect();
            let leaves = failed
                .iter()
                .filter(|(task_id, _)| run.dag.index_of(task_id).is_some_and(|index| run.dag.is_leaf(index)))
                .map(|(_, state)| *state);
            let outcome = if run.lock.is_failing { RunState::Failed } else { towpath_model::run::outcome(leaves) };
            if self.tx.finish_run(key, outcome, self.now).await? {
                self.finished.push((run.lock.dag_id.clone(), run.lock.run_id.clone(), outcome));
                self.topics.insert(Topic::Schedule);
                self.alert_run(key, outcome);
                if outcome == RunState::Success {
                    self.drop_deadlines(key).await?;
                }
            }
        }
        Ok(())
    }
}

/// Waits for runs that were held when slots became free, and gives them the slots. Whoever held
/// them may have had no reason to look at these pools. A step of its own: in the one that freed
/// the slots, the locks on pools are held already, and those on runs come before them.
fn look_again(
    store: &Store,
    missed: Missed,
    now: DateTime<Utc>,
) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
    Box::pin(async move {
        let mut step = Step::begin(store, now).await?;
        let mut runs = missed.runs;
        for dag_id in missed.dags {
            runs.extend(step.tx.gated_runs_of_dag(&dag_id).await?);
        }
        if runs.is_empty() {
            return Ok(());
        }
        step.lock_runs(runs).await?;
        step.look_behind_limits();
        step.freed_pools.extend(missed.pools);
        step.settle().await?;
        step.commit().await
    })
}
