//! Narrow reads for pages that look over much at once: many runs, many DAGs, a year.
//!
//! Each of them reads by an index and no more columns than a picture needs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use towpath_model::state::{RunState, TaskState};

use crate::explain::Other;
use crate::records::{DagRecord, Page, RunRecord};
use crate::{Result, Store};

/// A task instance as pictures and lists of many tell of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) state: TaskState,
    pub(crate) map_index: i32,
    pub(crate) try_number: u32,
    pub(crate) queued_at: Option<DateTime<Utc>>,
    pub(crate) start_date: Option<DateTime<Utc>>,
    pub(crate) end_date: Option<DateTime<Utc>>,
    pub(crate) available_at: Option<DateTime<Utc>>,
}

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

/// When a task instance ran.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
}

/// How long a task took in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDuration {
    pub run_key: i64,
    pub task_id: String,
    /// From the first start to the last end of its instances.
    pub duration: Duration,
}

/// That a task is told of in a line.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LineOf<'a> {
    pub line: usize,
    pub task_id: &'a str,
}

/// How far clocks of a time zone are from UTC, for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneOffset {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// To the east, seconds.
    pub offset: i32,
}

/// Runs of a DAG with a logical date (a due time for those without) on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCount {
    /// `None` for those at a time that was not asked for.
    pub day: Option<NaiveDate>,
    pub state: RunState,
    pub count: u32,
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
    async fn grid(&self, run_keys: &[i64]) -> Result<Vec<Instance>>;
    async fn grid_of_tasks(&self, run_keys: &[i64], task_ids: &[&str]) -> Result<Vec<Instance>>;
    async fn spans_of_tasks(&self, run_keys: &[i64], task_ids: &[&str]) -> Result<Vec<Span>>;
    async fn grid_of_lines(&self, run_keys: &[i64], lines: &[LineOf<'_>]) -> Result<Vec<(usize, GridCell)>>;
    async fn slowest_tasks(&self, run_key: i64, text: &str, limit: u32, offset: u32) -> Result<Vec<String>>;
    async fn run_counts(
        &self,
        dag_id: &str,
        due: Range<DateTime<Utc>>,
        zone: &[ZoneOffset],
        limit: u32,
    ) -> Result<Vec<RunCount>>;
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
        Ok(cells(self.inner.backend.grid(run_keys).await?))
    }

    /// As [`Store::grid`], of some tasks.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn grid_of_tasks(&self, run_keys: &[i64], task_ids: &[&str]) -> Result<Vec<GridCell>> {
        if run_keys.is_empty() || task_ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(cells(self.inner.backend.grid_of_tasks(run_keys, task_ids).await?))
    }

    /// How long those tasks took in those runs, where instances of them ran and succeeded; without an order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn durations_of_tasks(&self, run_keys: &[i64], task_ids: &[&str]) -> Result<Vec<TaskDuration>> {
        if run_keys.is_empty() || task_ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(durations(self.inner.backend.spans_of_tasks(run_keys, task_ids).await?))
    }

    /// All task instances of a run, as narrow as can be: a list shows a part of them, which
    /// [`Store::some_task_instances`] reads. By id and map index.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn states_of_run(&self, run_key: i64) -> Result<Vec<Other>> {
        let found = self.inner.backend.grid(&[run_key]).await?.into_iter();
        let mut others: Vec<Other> = found
            .map(|it| Other {
                task_id: it.task_id,
                map_index: it.map_index,
                state: it.state,
                try_number: it.try_number,
                available_at: it.available_at,
            })
            .collect();
        others.sort_by(|a, b| (&a.task_id, a.map_index).cmp(&(&b.task_id, b.map_index)));
        Ok(others)
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
            let found = self.grid_of_tasks(run_keys, &ids).await?;
            cells.extend(found.into_iter().filter_map(|cell| Some((*alone.get(cell.task_id.as_str())?, cell))));
        }
        Ok(cells)
    }

    /// Ids of tasks of a run with `text` in them (lower case), those first that took longest; tasks that have not
    /// succeeded come last.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn slowest_tasks(&self, run_key: i64, text: &str, limit: u32, offset: u32) -> Result<Vec<String>> {
        self.inner.backend.slowest_tasks(run_key, text, limit, offset).await
    }

    /// Runs of a DAG that were due in that time, counted by days of a time zone; of more than `limit` the newest.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_counts(
        &self,
        dag_id: &str,
        due: Range<DateTime<Utc>>,
        zone: &[ZoneOffset],
        limit: u32,
    ) -> Result<Vec<RunCount>> {
        self.inner.backend.run_counts(dag_id, due, zone, limit).await
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

/// One for each task of a run; one that is mapped has many spans.
fn durations(mut spans: Vec<Span>) -> Vec<TaskDuration> {
    spans.sort_by(|a, b| (a.run_key, &a.task_id).cmp(&(b.run_key, &b.task_id)));
    let of_a_task = spans.chunk_by_mut(|a, b| a.run_key == b.run_key && a.task_id == b.task_id);
    of_a_task
        .filter_map(|spans| {
            let (start, end) = (spans.iter().map(|span| span.start).min()?, spans.iter().map(|span| span.end).max()?);
            let task_id = std::mem::take(&mut spans[0].task_id);
            Some(TaskDuration { run_key: spans[0].run_key, task_id, duration: (end - start).to_std().ok()? })
        })
        .collect()
}

/// One cell for each state that instances of a task are in.
fn cells(mut instances: Vec<Instance>) -> Vec<GridCell> {
    // They come in this order from an index, mostly: to look whether they do takes no time.
    instances.sort_by(|a, b| (a.run_key, &a.task_id).cmp(&(b.run_key, &b.task_id)));
    let mut cells: Vec<GridCell> = Vec::with_capacity(instances.len());
    for it in instances {
        let mut same =
            cells.iter_mut().rev().take_while(|cell| cell.run_key == it.run_key && cell.task_id == it.task_id);
        let Some(cell) = same.find(|cell| cell.state == it.state) else {
            cells.push(GridCell {
                run_key: it.run_key,
                task_id: it.task_id,
                state: it.state,
                count: 1,
                map_index: it.map_index,
                try_number: it.try_number,
                queued_at: it.queued_at,
                start_date: it.start_date,
                end_date: it.end_date,
            });
            continue;
        };
        let first = |a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>| a.into_iter().chain(b).min();
        cell.count += 1;
        cell.map_index = cell.map_index.min(it.map_index);
        cell.try_number = cell.try_number.max(it.try_number);
        cell.queued_at = first(cell.queued_at, it.queued_at);
        cell.start_date = first(cell.start_date, it.start_date);
        cell.end_date = cell.end_date.max(it.end_date);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_task_takes_from_its_first_start_to_its_last_end() {
        let time = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        let span = |run_key, task: &str, start, end| Span {
            run_key,
            task_id: task.into(),
            start: time(start),
            end: time(end),
        };
        let found = durations(vec![span(2, "a", 5, 7), span(1, "a", 3, 9), span(1, "b", 0, 1), span(1, "a", 2, 4)]);
        let found: Vec<_> = found.iter().map(|it| (it.run_key, it.task_id.as_str(), it.duration.as_secs())).collect();
        assert_eq!(found, [(1, "a", 7), (1, "b", 1), (2, "a", 2)]);
    }
}
