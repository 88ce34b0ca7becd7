//! The birth of a run.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use towpath_model::dag::Dag;
use towpath_model::progress::{self, Initial};
use towpath_model::run::{RunType, TriggeredBy, run_id};
use towpath_model::state::{RunState, TaskState};
use towpath_model::timetable::{DataInterval, DueRun};

use super::Step;
use super::promote::Room;
use crate::batch::{Limit, NewTaskRow, NextRow, RunRow};
use crate::records::RunRecord;
use crate::wake::Topic;
use crate::{Error, Result, Store};

/// A run to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    pub dag_id: String,
    /// `None`: the current version.
    pub version_id: Option<i64>,
    /// `None`: made from the type and `run_after`.
    pub run_id: Option<String>,
    pub run_type: RunType,
    pub logical_date: Option<DateTime<Utc>>,
    pub data_interval: Option<DataInterval>,
    pub run_after: DateTime<Utc>,
    pub conf: Map<String, Value>,
    pub note: Option<String>,
    pub triggered_by: TriggeredBy,
    pub triggering_user: Option<String>,
    /// Send all tasks to this queue, whatever the DAG says. Such a run is somebody's foreground
    /// job: it starts at once, also when the DAG is paused or `max_active_runs` is reached.
    pub queue: Option<String>,
}

impl NewRun {
    /// A manual run at `run_after`, with nothing else said.
    #[must_use]
    pub fn manual(dag_id: impl Into<String>, run_after: DateTime<Utc>, triggered_by: TriggeredBy) -> Self {
        Self {
            dag_id: dag_id.into(),
            version_id: None,
            run_id: None,
            run_type: RunType::Manual,
            logical_date: None,
            data_interval: None,
            run_after,
            conf: Map::new(),
            note: None,
            triggered_by,
            triggering_user: None,
            queue: None,
        }
    }
}

/// A run that has been created.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// `running` where the limits allow, else `queued`.
    pub run: RunRecord,
}

impl Store {
    /// Creates the run that is `due` and moves the DAG on to its `next` one, in one step.
    /// `None` where another scheduler was faster.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn create_scheduled_run(
        &self,
        dag_id: &str,
        due: DueRun,
        next: Option<DueRun>,
        now: DateTime<Utc>,
    ) -> Result<Option<RunRecord>> {
        let mut step = Step::begin(self, now).await?;
        let Some(dag) = step.tx.lock_dag(dag_id).await? else { return Ok(None) };
        let Some(version_id) = dag.version_id else { return Ok(None) };
        if dag.next_run_after != Some(due.run_after) || dag.next_for_version != Some(version_id) || dag.is_paused {
            return Ok(None);
        }
        let new = NewRun {
            run_type: RunType::Scheduled,
            logical_date: Some(due.logical_date),
            data_interval: Some(due.data_interval),
            ..NewRun::manual(dag_id, due.run_after, TriggeredBy::Timetable)
        };
        let id = run_id(RunType::Scheduled, due.run_after);
        let key = step.insert_run(&new, &id, version_id, dag.start(due.run_after, false).is_free(now)).await?;
        // A run of that date may exist already, made by hand: then this fire is done as well.
        step.tx.set_next_runs(&[NextRow::new(dag_id, version_id, next)]).await?;
        step.topics.insert(Topic::Schedule);
        step.commit().await?;
        match key {
            Some(key) => self.run_by_key(key).await,
            None => Ok(None),
        }
    }
}

/// Most runs without an id that may be asked for in the same microsecond: twice as many as are created in one step.
const SAME_TIME: i64 = 64;

/// A run of this step.
pub(super) struct Born {
    pub(super) key: i64,
    /// Whether gates, setups or mapping were asked, under locks of their own.
    pub(super) was_decided: bool,
}

impl Step<'_> {
    /// Creates a run that somebody asked for. What it refuses it refuses before it has written anything.
    pub(super) async fn create_run(&mut self, new: &NewRun) -> Result<Born> {
        let Some(dag) = self.tx.lock_dag(&new.dag_id).await? else {
            return Err(Error::NotFound { thing: "DAG", id: new.dag_id.clone() });
        };
        let version_id = new
            .version_id
            .or(dag.version_id)
            .ok_or_else(|| Error::NotFound { thing: "DAG", id: new.dag_id.clone() })?;
        let start = dag.start(new.run_after, new.queue.is_some()).is_free(self.now);
        // Two that nobody gave a name may come in the same microsecond.
        let times = if new.run_id.is_some() { 1 } else { SAME_TIME };
        let mut born = None;
        for later in 0..times {
            let mut new = new.clone();
            new.run_after += TimeDelta::microseconds(later);
            let id = new.run_id.clone().unwrap_or_else(|| run_id(new.run_type, new.run_after));
            born = self.insert_run(&new, &id, version_id, start).await?;
            if born.is_some() {
                break;
            }
        }
        let key = born.ok_or_else(|| {
            let id = new.run_id.clone().unwrap_or_else(|| run_id(new.run_type, new.run_after));
            let what = new.logical_date.map_or_else(
                || format!("with the id `{id}`"),
                |date| format!("with the id `{id}` or the logical date {}", towpath_model::run::iso_time(date)),
            );
            Error::RunExists { dag_id: new.dag_id.clone(), what }
        })?;
        self.topics.insert(Topic::Schedule);
        Ok(Born { key, was_decided: self.runs.contains_key(&key) })
    }

    /// Inserts the run and its task instances; `None` where it exists.
    pub(super) async fn insert_run(
        &mut self,
        new: &NewRun,
        run_id: &str,
        version_id: i64,
        start: bool,
    ) -> Result<Option<i64>> {
        let dag = self.store.dag_within(self.tx.as_mut(), version_id).await?;
        if new.run_type != RunType::Scheduled {
            dag.check_params(&new.conf).map_err(|errors| Error::Params { dag_id: new.dag_id.clone(), errors })?;
        }
        // Mapped tasks are expanded, and gates and setups are asked, when the run is there.
        let is_late = dag.is_gated() || dag.has_setups() || dag.has_mapped();
        let initial = if start && !is_late { progress::start(&dag) } else { progress::undecided(&dag) };
        let over = start && initial.iter().all(|i| i.state.is_finished());
        let state = match (start, over) {
            (false, _) => RunState::Queued,
            (true, false) => RunState::Running,
            (true, true) => {
                towpath_model::run::outcome(initial.iter().filter(|i| dag.is_leaf(i.index)).map(|i| i.state))
            }
        };
        let timeout = dag.spec().dagrun_timeout.and_then(|t| TimeDelta::from_std(t).ok());
        let row = RunRow {
            new: new.clone(),
            run_id: run_id.to_owned(),
            state,
            version_id,
            max_active_tasks: i64::from(dag.spec().max_active_tasks),
            queued_at: self.now,
            start_date: start.then_some(self.now),
            end_date: over.then_some(self.now),
            deadline: timeout.filter(|_| start).map(|t| self.now + t),
        };
        let Some(key) = self.tx.insert_run(&row).await? else { return Ok(None) };
        if !dag.spec().deadlines.is_empty() {
            self.set_deadlines(&dag, key, new, over && state == RunState::Success).await?;
        }
        let waiting: BTreeSet<String> = initial
            .iter()
            .filter(|i| i.state == TaskState::Scheduled)
            .map(|i| dag.tasks()[i.index].pool.clone())
            .collect();
        let mut room = Room::default();
        if !waiting.is_empty() {
            room = self.room_for_new(row.max_active_tasks, &waiting).await?;
        }
        let rows = self.task_rows(&dag, &initial, &mut room, new.queue.as_deref());
        if over {
            self.alert_run_of(&dag, key, state);
        }
        self.tx.insert_task_instances(key, new.logical_date.unwrap_or(new.run_after), &rows, self.now).await?;
        if start && is_late {
            self.lock_runs([key]).await?;
            let rows = self.tx.undecided(key).await?;
            self.decide(rows).await?;
            self.settle().await?;
        }
        Ok(Some(key))
    }

    /// The rows of a new run: the best of what is scheduled is queued, as far as there is room.
    fn task_rows(&mut self, dag: &Dag, initial: &[Initial], room: &mut Room, queue: Option<&str>) -> Vec<NewTaskRow> {
        let mut order: Vec<&Initial> = initial.iter().collect();
        order.sort_by_key(|i| (-dag.weight(i.index), i.index));
        order
            .into_iter()
            .map(|initial| {
                let task = &dag.tasks()[initial.index];
                let mut state = initial.state;
                let mut blocked_by = None;
                if state == TaskState::Scheduled {
                    match room.take_new(&task.pool, i64::from(task.pool_slots)) {
                        Ok(()) => {
                            state = TaskState::Queued;
                            self.queued += 1;
                        }
                        Err(limit) => blocked_by = Some(limit),
                    }
                }
                new_task_row(dag, initial, state, blocked_by, queue)
            })
            .collect()
    }
}

pub(super) fn new_task_row(
    dag: &Dag,
    initial: &Initial,
    state: TaskState,
    blocked_by: Option<Limit>,
    queue: Option<&str>,
) -> NewTaskRow {
    let task = &dag.tasks()[initial.index];
    let tried = matches!(state, TaskState::Scheduled | TaskState::Queued | TaskState::Success);
    NewTaskRow {
        task_id: task.task_id.clone(),
        map_index: -1,
        state,
        try_number: u32::from(tried),
        max_tries: task.retry.retries,
        pool: task.pool.clone(),
        pool_slots: task.pool_slots,
        queue: queue.unwrap_or(&task.queue).to_owned(),
        priority: dag.weight(initial.index),
        blocked_by,
        ended: state.is_finished(),
        up_total: initial.upstream.total,
        up_success: initial.upstream.success,
        up_failed: initial.upstream.failed,
        up_skipped: initial.upstream.skipped,
        up_upstream_failed: initial.upstream.upstream_failed,
        up_removed: initial.upstream.removed,
    }
}
