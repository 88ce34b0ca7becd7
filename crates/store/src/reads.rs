//! Reads of runs, task instances and what they leave behind.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use towpath_model::state::TaskState;

use crate::listing::Listing;
use crate::logs::{LogChunk, LogKey};
use crate::records::{
    JobRecord, Page, PoolRecord, RunFilter, RunRecord, TaskInstanceRecord, TaskKey, TryRecord, XComRecord,
};
use crate::{Error, Result, Store};

#[async_trait]
pub(crate) trait ReadRows {
    async fn run(&self, dag_id: &str, run_id: &str) -> Result<Option<RunRecord>>;
    async fn run_at(&self, dag_id: &str, logical_date: DateTime<Utc>) -> Result<Option<RunRecord>>;
    async fn run_by_key(&self, key: i64) -> Result<Option<RunRecord>>;
    async fn previous_success(&self, before: &RunRecord) -> Result<Option<RunRecord>>;
    async fn newest_runs(&self, dag_ids: &[String], per_dag: u32) -> Result<Vec<RunRecord>>;
    async fn task_instances(&self, run_key: i64) -> Result<Vec<TaskInstanceRecord>>;
    async fn some_task_instances(&self, run_key: i64, keys: &[(&str, i32)]) -> Result<Vec<TaskInstanceRecord>>;
    async fn task_instance(&self, key: &TaskKey) -> Result<Option<TaskInstanceRecord>>;
    async fn task_states(&self, run_key: i64, task_ids: &[String]) -> Result<Vec<(String, TaskState)>>;
    async fn past_tries(&self, key: &TaskKey) -> Result<Vec<TryRecord>>;
    async fn state_counts(&self) -> Result<HashMap<TaskState, u64>>;
    async fn log_chunks(&self, key: &LogKey, from_seq: u32, limit: u32) -> Result<Vec<LogChunk>>;
    async fn xcoms(&self, run_key: i64, task_id: &str, key: &str, map_index: Option<i32>) -> Result<Vec<XComRecord>>;
    async fn task_xcoms(&self, key: &TaskKey) -> Result<Vec<XComRecord>>;
    async fn jobs(&self) -> Result<Vec<JobRecord>>;
    async fn pools(&self) -> Result<Vec<PoolRecord>>;
}

/// Runs of which this process has claimed tasks, as they were then: what an attempt needs of its
/// run changes with the version alone.
#[derive(Debug, Default)]
pub(crate) struct RunCache(Mutex<CachedRuns>);

#[derive(Debug, Default)]
struct CachedRuns {
    by_key: HashMap<i64, Arc<RunRecord>>,
    /// Keys, oldest first.
    order: VecDeque<i64>,
}

impl RunCache {
    const CAPACITY: usize = 1_024;

    fn get(&self, key: i64) -> Option<Arc<RunRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_key.get(&key).cloned()
    }

    fn put(&self, run: &Arc<RunRecord>) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.by_key.insert(run.key, Arc::clone(run)).is_none() {
            runs.order.push_back(run.key);
        }
        if runs.order.len() > Self::CAPACITY
            && let Some(oldest) = runs.order.pop_front()
        {
            runs.by_key.remove(&oldest);
        }
    }
}

impl Store {
    pub(crate) async fn run_cached(&self, key: i64, version_id: i64) -> Result<Arc<RunRecord>> {
        if let Some(run) = self.inner.runs.get(key).filter(|run| run.version_id == version_id) {
            return Ok(run);
        }
        let run = self.inner.backend.run_by_key(key).await?;
        let run = Arc::new(run.ok_or_else(|| Error::NotFound { thing: "run", id: key.to_string() })?);
        self.inner.runs.put(&run);
        Ok(run)
    }

    /// A run by its ids.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run(&self, dag_id: &str, run_id: &str) -> Result<Option<RunRecord>> {
        self.inner.backend.run(dag_id, run_id).await
    }

    /// The run of a DAG with a logical date.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_at(&self, dag_id: &str, logical_date: DateTime<Utc>) -> Result<Option<RunRecord>> {
        self.inner.backend.run_at(dag_id, logical_date).await
    }

    /// A run by its key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_by_key(&self, key: i64) -> Result<Option<RunRecord>> {
        self.inner.backend.run_by_key(key).await
    }

    /// Runs by `run_after`, with the total of [`Store::list_runs`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Page<RunRecord>> {
        self.list_runs(&Listing::of(filter), false).await
    }

    /// As [`Store::runs`], for those who do not need to know how many there are in all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn some_runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.inner.backend.list_runs(&Listing::of(filter)).await
    }

    /// The newest successful run of the same DAG with an earlier logical date.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn previous_success(&self, before: &RunRecord) -> Result<Option<RunRecord>> {
        self.inner.backend.previous_success(before).await
    }

    /// The newest runs of each DAG, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_stats(&self, dag_ids: &[String], per_dag: u32) -> Result<HashMap<String, Vec<RunRecord>>> {
        let mut by_dag: HashMap<String, Vec<RunRecord>> = HashMap::new();
        for run in self.inner.backend.newest_runs(dag_ids, per_dag).await? {
            by_dag.entry(run.dag_id.clone()).or_default().push(run);
        }
        Ok(by_dag)
    }

    /// The task instances of a run, by task id and map index.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_instances(&self, run_key: i64) -> Result<Vec<TaskInstanceRecord>> {
        self.inner.backend.task_instances(run_key).await
    }

    /// Some task instances of a run, named by task id and map index; those that there are, in that order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn some_task_instances(&self, run_key: i64, keys: &[(&str, i32)]) -> Result<Vec<TaskInstanceRecord>> {
        self.inner.backend.some_task_instances(run_key, keys).await
    }

    /// One task instance.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_instance(&self, key: &TaskKey) -> Result<Option<TaskInstanceRecord>> {
        self.inner.backend.task_instance(key).await
    }

    /// The states of the instances of `task_ids` in a run, by task id and map index; nothing for tasks that it does not have.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_states(&self, run_key: i64, task_ids: &[String]) -> Result<Vec<(String, TaskState)>> {
        self.inner.backend.task_states(run_key, task_ids).await
    }

    /// All tries of a task instance, oldest first; the current one comes last, if it has begun.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tries(&self, key: &TaskKey) -> Result<Vec<TryRecord>> {
        let mut tries = self.inner.backend.past_tries(key).await?;
        if let Some(current) = self.inner.backend.task_instance(key).await?
            && current.try_number > 0
            && tries.last().is_none_or(|last| last.try_number < current.try_number)
        {
            // While it runs, what is there is of the try before.
            let is_over = !current.state.is_live();
            let usage = if is_over { self.inner.backend.usage(key).await? } else { None };
            tries.push(TryRecord {
                usage,
                key: current.key,
                try_number: current.try_number,
                state: current.state,
                queued_at: current.queued_at,
                start_date: current.start_date,
                end_date: current.end_date,
                hostname: current.hostname,
                pid: current.pid,
                note: current.note,
            });
        }
        Ok(tries)
    }

    /// How many task instances are in each unfinished state.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn state_counts(&self) -> Result<HashMap<TaskState, u64>> {
        self.inner.backend.state_counts().await
    }

    /// XComs of a task by key, in the order of map index.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn xcoms(
        &self,
        run_key: i64,
        task_id: &str,
        key: &str,
        map_index: Option<i32>,
    ) -> Result<Vec<XComRecord>> {
        let mut found = self.inner.backend.xcoms(run_key, task_id, key, map_index).await?;
        for xcom in &mut found {
            if let Some(file) = &xcom.file {
                xcom.value = self.read_file(file).await?;
            }
        }
        Ok(found)
    }

    /// All XComs of a task instance, by key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_xcoms(&self, key: &TaskKey) -> Result<Vec<XComRecord>> {
        self.inner.backend.task_xcoms(key).await
    }

    /// Schedulers and workers that run, and the fifty newest that do not any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs(&self) -> Result<Vec<JobRecord>> {
        self.inner.backend.jobs().await
    }

    /// Pools by name, with the slots in use.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn pools(&self) -> Result<Vec<PoolRecord>> {
        self.inner.backend.pools().await
    }
}
