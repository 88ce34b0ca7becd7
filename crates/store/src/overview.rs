//! Narrow reads for pages that look over much at once: many runs, many DAGs, a year.
//!
//! Each of them reads by an index and no more columns than a picture needs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use towpath_model::state::{RunState, TaskState};

use crate::records::{DagRecord, Page, RunRecord};
use crate::{Result, Store};

/// The instances of one task in one run that are in one state.
#[derive(Debug, Clone, PartialEq)]
pub struct GridCell {
    pub run_key: i64,
    pub task_id: String,
    pub state: TaskState,
    /// How many instances.
    pub count: u64,
    /// The lowest map index of them; -1 for a task that is not mapped.
    pub map_index: i32,
    /// The highest try of any of them.
    pub try_number: u32,
    /// When the first of them was queued.
    pub queued_at: Option<DateTime<Utc>>,
    /// When the first of them started.
    pub start_date: Option<DateTime<Utc>>,
    /// When the last of them ended.
    pub end_date: Option<DateTime<Utc>>,
}

/// That a task is told of in a line.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LineOf<'a> {
    pub line: usize,
    pub task_id: &'a str,
}

/// Runs of a DAG with a logical date (a due time for those without) in a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCount {
    /// When the quarter begins.
    pub at: DateTime<Utc>,
    pub state: RunState,
    pub count: u32,
}

/// When a task ran in a run: from the start of its first instance to the end of its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpan {
    pub run_key: i64,
    pub task_id: String,
    pub start_date: DateTime<Utc>,
    pub end_date: DateTime<Utc>,
}

/// A run that the scheduler will create.
#[derive(Debug, Clone, PartialEq)]
pub struct Upcoming {
    pub dag_id: String,
    pub run_after: DateTime<Utc>,
}

/// Runs that ended in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourCount {
    /// Hours since 1970.
    pub hour: i64,
    pub state: RunState,
    pub count: u64,
}

/// Which DAGs to list, in the words of somebody who looks for one.
#[derive(Debug, Clone, Default)]
pub struct DagQuery {
    /// Part of the id, the description, a tag or an owner, case-insensitive.
    pub text: Option<String>,
    /// All of these tags.
    pub tags: Vec<String>,
    pub owner: Option<String>,
    pub paused: Option<bool>,
    /// Only those with a run in this state.
    pub with_run: Option<RunState>,
    /// Only these: what the caller may see. `None` for all.
    pub among: Option<Vec<String>>,
    pub limit: u32,
    pub offset: u32,
}

#[async_trait]
pub(crate) trait OverviewRows {
    async fn grid(&self, run_keys: &[i64]) -> Result<Vec<GridCell>>;
    async fn grid_of_tasks(&self, run_keys: &[i64], task_ids: &[&str]) -> Result<Vec<GridCell>>;
    async fn grid_of_lines(&self, run_keys: &[i64], lines: &[LineOf<'_>]) -> Result<Vec<(usize, GridCell)>>;
    async fn task_spans(&self, run_keys: &[i64]) -> Result<Vec<TaskSpan>>;
    async fn run_counts(&self, dag_id: &str, due: Range<DateTime<Utc>>, limit: u32) -> Result<Vec<RunCount>>;
    async fn dag_totals(&self) -> Result<(u64, u64)>;
    async fn failed_runs_since(&self, since: DateTime<Utc>, limit: u32) -> Result<Vec<RunRecord>>;
    async fn live_runs(&self, limit: u32) -> Result<Vec<RunRecord>>;
    async fn upcoming(&self, limit: u32) -> Result<Vec<Upcoming>>;
    async fn ended_by_hour(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<HourCount>>;
    async fn find_dags(&self, query: &DagQuery) -> Result<Page<DagRecord>>;
    /// Tags and owners of active DAGs, each pair as two JSON arrays.
    async fn labels(&self) -> Result<Vec<(Vec<String>, Vec<String>)>>;
}

impl Store {
    /// What the grid of those runs shows of all their tasks, without an order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn grid(&self, run_keys: &[i64]) -> Result<Vec<GridCell>> {
        if run_keys.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.backend.grid(run_keys).await
    }

    /// As [`Store::grid`], for lines that tell of one task or of many; the database counts, so that a
    /// line of a thousand tasks is one row for each state. A cell names one of the tasks of its line.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn grid_of_lines(&self, run_keys: &[i64], lines: &[LineOf<'_>]) -> Result<Vec<(usize, GridCell)>> {
        if run_keys.is_empty() || lines.is_empty() {
            return Ok(Vec::new());
        }
        // Most lines tell of one task: those are found by their keys, without a look at what belongs together.
        let mut tasks: BTreeMap<usize, Option<&str>> = BTreeMap::new();
        for line in lines {
            tasks.entry(line.line).and_modify(|task| *task = None).or_insert(Some(line.task_id));
        }
        let alone: HashMap<&str, usize> = tasks.iter().filter_map(|(line, task)| Some(((*task)?, *line))).collect();
        let of_many: Vec<LineOf<'_>> = lines.iter().filter(|line| tasks[&line.line].is_none()).copied().collect();
        let ids: Vec<&str> = alone.keys().copied().collect();
        let backend = &self.inner.backend;
        let mut cells = if of_many.is_empty() { Vec::new() } else { backend.grid_of_lines(run_keys, &of_many).await? };
        if !ids.is_empty() {
            let found = backend.grid_of_tasks(run_keys, &ids).await?;
            cells.extend(found.into_iter().filter_map(|cell| Some((*alone.get(cell.task_id.as_str())?, cell))));
        }
        Ok(cells)
    }

    /// How long the tasks of those runs took that have succeeded, without an order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn task_spans(&self, run_keys: &[i64]) -> Result<Vec<TaskSpan>> {
        self.inner.backend.task_spans(run_keys).await
    }

    /// Runs of a DAG that were due in that time, counted; of more than `limit` the newest.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_counts(&self, dag_id: &str, due: Range<DateTime<Utc>>, limit: u32) -> Result<Vec<RunCount>> {
        self.inner.backend.run_counts(dag_id, due, limit).await
    }

    /// How many DAGs there are, and how many of them are paused.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dag_totals(&self) -> Result<(u64, u64)> {
        self.inner.backend.dag_totals().await
    }

    /// Runs of all DAGs that were due since then and failed, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn failed_runs_since(&self, since: DateTime<Utc>, limit: u32) -> Result<Vec<RunRecord>> {
        self.inner.backend.failed_runs_since(since, limit).await
    }

    /// Runs that run, then those that wait to; each the longest due first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn live_runs(&self, limit: u32) -> Result<Vec<RunRecord>> {
        self.inner.backend.live_runs(limit).await
    }

    /// The next runs of all DAGs, soonest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn upcoming(&self, limit: u32) -> Result<Vec<Upcoming>> {
        self.inner.backend.upcoming(limit).await
    }

    /// How many runs ended in each hour from then to then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ended_by_hour(&self, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<HourCount>> {
        self.inner.backend.ended_by_hour(since, until).await
    }

    /// Active DAGs by id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_dags(&self, query: &DagQuery) -> Result<Page<DagRecord>> {
        self.inner.backend.find_dags(query).await
    }

    /// The tags and the owners of active DAGs, each sorted and once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn labels(&self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut tags, mut owners) = (Vec::new(), Vec::new());
        for (more_tags, more_owners) in self.inner.backend.labels().await? {
            tags.extend(more_tags);
            owners.extend(more_owners);
        }
        for list in [&mut tags, &mut owners] {
            list.sort_unstable();
            list.dedup();
        }
        Ok((tags, owners))
    }
}
