//! Clearing and marking: somebody decides that task instances run again, or how they ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use towpath_model::dag::Dag;
use towpath_model::state::{RunEvent, RunState, TaskEvent, TaskState};
use towpath_model::teardown;
use towpath_model::trigger_rule::UpstreamCounts;

use super::Step;
use crate::batch::{ClearRow, CounterRow, EVERY_INDEX, Instance, MarkRow, RuledRow};
use crate::engine::report::ReportOutcome;
use crate::records::TaskKey;
use crate::wake::Topic;
use crate::{Error, Result, Store};

/// How often a step is tried again that met a worker which has just claimed one of its tasks.
const TRIES: usize = 5;

/// Which task instances of a run are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Task ids, each with a map index or all of its instances; empty means all tasks.
    pub tasks: Vec<(String, Option<i32>)>,
    /// Also everything upstream of them.
    pub upstream: bool,
    /// Also everything downstream of them.
    pub downstream: bool,
    /// Only those that failed, or could not run because their upstream did.
    pub only_failed: bool,
    /// Only those that run.
    pub only_running: bool,
}

/// A task instance that was, or would be, changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub key: TaskKey,
    /// The state before.
    pub state: TaskState,
}

/// A new outcome, by decision of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Mark {
    Success,
    Failed,
    Skipped,
}

impl Mark {
    fn state(self) -> TaskState {
        match self {
            Self::Success => TaskState::Success,
            Self::Failed => TaskState::Failed,
            Self::Skipped => TaskState::Skipped,
        }
    }
}

impl Store {
    /// Lets task instances of a run run again, with their retries anew: finished ones start over,
    /// running ones are stopped and start over, and a run that is over goes on. What a branch has
    /// ruled out stays so unless the branch itself is cleared. With `dry_run` nothing changes.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a run or a task that does not exist.
    pub async fn clear(
        &self,
        run_key: i64,
        selection: &Selection,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<Touched>> {
        self.clear_with(run_key, selection, false, dry_run, now).await
    }

    pub(super) async fn clear_with(
        &self,
        run_key: i64,
        selection: &Selection,
        latest: bool,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<Touched>> {
        for _ in 1..TRIES {
            match self.try_clear(run_key, selection, latest, dry_run, now).await {
                Err(Error::Stale(_)) => {}
                result => return result,
            }
        }
        self.try_clear(run_key, selection, latest, dry_run, now).await
    }

    async fn try_clear(
        &self,
        run_key: i64,
        selection: &Selection,
        latest: bool,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<Touched>> {
        let mut step = Step::begin(self, now).await?;
        let mut moved = false;
        if latest {
            let (run, version) = self.latest_for(&mut step, run_key).await?;
            moved = step.move_to_version(&run, version).await?;
        }
        let selection = step.with_setups(run_key, selection).await?;
        let chosen = step.select(run_key, &selection).await?;
        let touched = chosen.iter().map(|i| Touched { key: i.key.clone(), state: i.state }).collect();
        if dry_run || (chosen.is_empty() && !moved) {
            return Ok(touched);
        }
        step.clear(run_key, &chosen).await?;
        step.go_on(run_key).await?;
        step.commit().await?;
        Ok(touched)
    }

    /// Decides how task instances ended. What runs is stopped; what failed downstream because of
    /// them gets another chance (Airflow does so too). Those that are in that state already are
    /// left alone.
    ///
    /// # Errors
    /// As [`Store::clear`].
    pub async fn mark(
        &self,
        run_key: i64,
        selection: &Selection,
        mark: Mark,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<Touched>> {
        for _ in 1..TRIES {
            match self.try_mark(run_key, selection, mark, dry_run, now).await {
                Err(Error::Stale(_)) => {}
                result => return result,
            }
        }
        self.try_mark(run_key, selection, mark, dry_run, now).await
    }

    async fn try_mark(
        &self,
        run_key: i64,
        selection: &Selection,
        mark: Mark,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<Touched>> {
        let mut step = Step::begin(self, now).await?;
        let mut chosen = step.select(run_key, selection).await?;
        chosen.retain(|instance| instance.state != mark.state());
        let touched = chosen.iter().map(|i| Touched { key: i.key.clone(), state: i.state }).collect();
        if dry_run || chosen.is_empty() {
            return Ok(touched);
        }
        step.mark(run_key, &chosen, mark).await?;
        step.go_on(run_key).await?;
        step.commit().await?;
        Ok(touched)
    }

    /// Decides how a run ended: with `success` all of its tasks count as succeeded; otherwise it is
    /// cancelled, also when it has not started. Nothing changes where it ended so already; the
    /// answer is what changed.
    ///
    /// # Errors
    /// As [`Store::clear`].
    pub async fn mark_run(&self, run_key: i64, success: bool, now: DateTime<Utc>) -> Result<Vec<Touched>> {
        let mut step = Step::begin(self, now).await?;
        let all = step.select(run_key, &Selection::default()).await?;
        let Some(run) = step.runs.get(&run_key) else { return Ok(Vec::new()) };
        let state = run.lock.state;
        let (mark, chosen): (_, Vec<Instance>) = if success {
            (Mark::Success, all.into_iter().filter(|i| i.state != TaskState::Success).collect())
        } else {
            let is_open = |i: &Instance| !i.state.is_finished();
            (Mark::Skipped, all.into_iter().filter(is_open).collect())
        };
        let touched: Vec<Touched> = chosen.iter().map(|i| Touched { key: i.key.clone(), state: i.state }).collect();
        let outcome = if success { RunState::Success } else { RunState::Failed };
        if state == outcome {
            return Ok(Vec::new());
        }
        let failed = ReportOutcome::Failed { retry: false };
        if !success && step.give_way_to_teardowns(run_key, failed, "its run was marked as failed").await? {
            let Some(run) = step.runs.get(&run_key) else { return Ok(Vec::new()) };
            let dag = std::sync::Arc::clone(&run.dag);
            let is_work = |t: &Touched| dag.task(&t.key.task_id).is_none_or(|task| !task.role.is_teardown());
            let touched = touched.into_iter().filter(is_work).collect();
            step.settle().await?;
            step.commit().await?;
            return Ok(touched);
        }
        let (running, waiting): (Vec<_>, Vec<_>) = chosen.into_iter().partition(Instance::attempt_is_held);
        let running_mark = if success { Mark::Success } else { Mark::Failed };
        step.write_marks(&running, running_mark).await?;
        step.write_marks(&waiting, mark).await?;
        step.tx.end_run(run_key, outcome, now).await?;
        if success {
            step.drop_deadlines(run_key).await?;
        }
        if let Some(run) = step.runs.get_mut(&run_key) {
            run.lock.state = outcome;
        }
        step.topics.extend([Topic::Schedule, Topic::Progress]);
        step.look_behind_limits();
        step.touched.insert(run_key);
        step.settle().await?;
        step.commit().await?;
        Ok(touched)
    }
}

impl Instance {
    fn attempt_is_held(&self) -> bool {
        matches!(self.state, TaskState::Running | TaskState::Restarting)
    }
}

impl Step<'_> {
    /// The selection with the setups and teardowns without which what it names could not run again.
    async fn with_setups(&mut self, run_key: i64, selection: &Selection) -> Result<Selection> {
        self.lock_runs([run_key]).await?;
        let mut selection = selection.clone();
        if let Some(run) = self.runs.get(&run_key).filter(|run| run.dag.has_setups()) {
            let dag = &run.dag;
            let named: BTreeSet<usize> = selection.tasks.iter().filter_map(|(id, _)| dag.index_of(id)).collect();
            let also = teardown::cleared_with(dag, &named, selection.upstream, selection.downstream);
            // What is around them is among it.
            (selection.upstream, selection.downstream) = (false, false);
            selection.tasks.extend(also.into_iter().map(|index| (dag.tasks()[index].task_id.clone(), None)));
        }
        Ok(selection)
    }

    /// Locks the run and finds the instances that are meant.
    pub(super) async fn select(&mut self, run_key: i64, selection: &Selection) -> Result<Vec<Instance>> {
        self.lock_runs([run_key]).await?;
        let run = self.runs.get(&run_key);
        let run = run.ok_or_else(|| Error::NotFound { thing: "run", id: run_key.to_string() })?;
        let dag = std::sync::Arc::clone(&run.dag);
        let mut named: BTreeMap<usize, Option<BTreeSet<i32>>> = BTreeMap::new();
        for (task_id, map_index) in &selection.tasks {
            let index = dag.index_of(task_id);
            let index = index.ok_or_else(|| Error::NotFound { thing: "task", id: task_id.clone() })?;
            match (map_index, named.entry(index).or_insert_with(|| Some(BTreeSet::new()))) {
                (Some(map_index), Some(indices)) => {
                    indices.insert(*map_index);
                }
                (None, all) => *all = None,
                (Some(_), None) => {}
            }
        }
        if selection.tasks.is_empty() {
            named = (0..dag.tasks().len()).map(|index| (index, None)).collect();
        }
        let start: Vec<usize> = named.keys().copied().collect();
        let mut around = BTreeSet::new();
        if selection.upstream {
            around.extend(dag.ancestors(start.clone()));
        }
        if selection.downstream {
            around.extend(dag.descendants(start.clone()));
        }
        for index in around {
            named.entry(index).or_insert(None);
        }
        let mut chosen = self.tx.instances(run_key).await?;
        chosen.retain(|instance| {
            let Some(index) = dag.index_of(&instance.key.task_id) else { return false };
            let is_meant = match named.get(&index) {
                None => false,
                Some(None) => true,
                Some(Some(indices)) => indices.contains(&instance.key.map_index),
            };
            let failed = matches!(instance.state, TaskState::Failed | TaskState::UpstreamFailed);
            is_meant
                && instance.state != TaskState::Removed
                && (!selection.only_failed || failed)
                && (!selection.only_running || instance.attempt_is_held())
        });
        Ok(chosen)
    }

    pub(super) async fn clear(&mut self, run_key: i64, chosen: &[Instance]) -> Result<()> {
        let Some(run) = self.runs.get(&run_key) else { return Ok(()) };
        let dag = std::sync::Arc::clone(&run.dag);
        let over = run.lock.state.is_finished();
        let ids: BTreeSet<&str> = chosen.iter().map(|i| i.key.task_id.as_str()).collect();
        let mut rows = Vec::with_capacity(chosen.len());
        let mut archive = Vec::new();
        let mut emptied = Vec::new();
        for instance in chosen.iter().filter(|i| i.state != TaskState::Restarting) {
            let Some(task) = dag.task(&instance.key.task_id) else { continue };
            let state = instance.state.apply(TaskEvent::Clear).map_err(|error| Error::Stale(error.to_string()))?;
            let runs = state == TaskState::Restarting;
            if !runs {
                if instance.state.is_finished() && instance.try_number > 0 {
                    archive.push((instance.key.clone(), instance.state));
                }
                emptied.push(instance.key.clone());
            } else {
                self.topics.insert(Topic::Stop);
            }
            // Its elements are found again where what it expands over runs again.
            let of_group = task.map_group.as_ref().and_then(|group| dag.spec().mapped_groups.get(group));
            let forget_element = task.expand.as_ref().or(of_group).is_some_and(|expand| {
                expand.sources().any(|s| s.task_id().is_some_and(|task_id| ids.contains(task_id)))
            });
            rows.push(ClearRow {
                run_key,
                task_id: instance.key.task_id.clone(),
                map_index: instance.key.map_index,
                from_state: instance.state,
                state,
                max_tries: if runs { instance.max_tries } else { instance.try_number + task.retry.retries },
                // Whoever ran it in the foreground is gone when its run is over.
                queue: over.then(|| task.queue.clone()),
                forget_element,
            });
        }
        if !archive.is_empty() {
            self.tx.archive_tries(&archive).await?;
        }
        if !emptied.is_empty() {
            self.tx.clear_xcoms(&emptied).await?;
        }
        if self.tx.clear_tasks(&rows).await? != rows.len() as u64 {
            return Err(Error::Stale("a task has just been claimed".into()));
        }
        let branches: Vec<RuledRow> =
            chosen.iter().map(|it| super::expand::ruled(&dag, &it.key)).collect::<BTreeSet<_>>().into_iter().collect();
        self.tx.forget_skips(run_key, &branches).await
    }

    /// Marks `chosen` and clears what failed downstream of them.
    async fn mark(&mut self, run_key: i64, chosen: &[Instance], mark: Mark) -> Result<()> {
        self.write_marks(chosen, mark).await?;
        let Some(run) = self.runs.get(&run_key) else { return Ok(()) };
        let dag = std::sync::Arc::clone(&run.dag);
        let marked: BTreeSet<usize> = chosen.iter().filter_map(|i| dag.index_of(&i.key.task_id)).collect();
        let behind: BTreeSet<usize> = dag.descendants(marked.clone()).difference(&marked).copied().collect();
        let mut failed = self.tx.instances(run_key).await?;
        failed.retain(|instance| {
            matches!(instance.state, TaskState::Failed | TaskState::UpstreamFailed)
                && dag.index_of(&instance.key.task_id).is_some_and(|index| behind.contains(&index))
        });
        self.clear(run_key, &failed).await
    }

    async fn write_marks(&mut self, chosen: &[Instance], mark: Mark) -> Result<()> {
        if chosen.is_empty() {
            return Ok(());
        }
        let rows: Vec<MarkRow> = chosen
            .iter()
            .map(|instance| MarkRow {
                run_key: instance.key.run_key,
                task_id: instance.key.task_id.clone(),
                map_index: instance.key.map_index,
                from_state: instance.state,
                state: mark.state(),
                note: format!("marked as {mark}"),
            })
            .collect();
        if chosen.iter().any(Instance::attempt_is_held) {
            self.topics.insert(Topic::Stop);
        }
        let marked = self.tx.mark_tasks(&rows, self.now).await?;
        if marked == rows.len() as u64 { Ok(()) } else { Err(Error::Stale("a task has just been claimed".into())) }
    }

    /// Counts the upstream of every task anew and lets the run go on, or end.
    pub(super) async fn go_on(&mut self, run_key: i64) -> Result<()> {
        let Some(run) = self.runs.get(&run_key) else { return Ok(()) };
        let dag = std::sync::Arc::clone(&run.dag);
        let state = run.lock.state;
        let instances = self.tx.instances(run_key).await?;
        self.tx.set_counters(&counters(run_key, &dag, &instances)).await?;
        let over = instances.iter().all(|instance| instance.state.is_finished());
        if dag.is_gated() {
            self.missed.dags.insert(dag.id().to_owned());
        }
        self.topics.extend([Topic::Schedule, Topic::Progress]);
        if state.is_finished() {
            let next = state.apply(RunEvent::Clear).map_err(|error| Error::Stale(error.to_string()))?;
            self.tx.reopen_run(run_key, self.now).await?;
            if !dag.spec().deadlines.is_empty() {
                self.tx.move_deadlines(run_key, self.now).await?;
            }
            if let Some(run) = self.runs.get_mut(&run_key) {
                run.lock.state = next;
            }
            if over {
                // Nothing has to run: the new outcome is known already.
                let failed = instances
                    .iter()
                    .filter(|i| dag.index_of(&i.key.task_id).is_some_and(|index| dag.is_leaf(index)))
                    .map(|i| i.state);
                self.tx.end_run(run_key, towpath_model::run::outcome(failed), self.now).await?;
            }
            return Ok(());
        }
        if state == RunState::Running {
            let rows = self.tx.undecided(run_key).await?;
            self.decide(rows).await?;
            self.look_behind_limits();
            // Also a run in which nothing is left to decide may be over now.
            self.touched.insert(run_key);
            self.settle().await?;
        }
        Ok(())
    }
}

/// The counters of all tasks, from the states of all instances.
pub(super) fn counters(run_key: i64, dag: &Dag, instances: &[Instance]) -> Vec<CounterRow> {
    let mut by_task: Vec<UpstreamCounts> = vec![UpstreamCounts::default(); dag.tasks().len()];
    let mut of_task: Vec<Vec<&Instance>> = vec![Vec::new(); dag.tasks().len()];
    for instance in instances {
        if let Some(index) = dag.index_of(&instance.key.task_id) {
            by_task[index].total += 1;
            by_task[index].record(instance.state, false);
            of_task[index].push(instance);
        }
    }
    let mut rows = Vec::new();
    for index in (0..dag.tasks().len()).filter(|index| dag.upstream(*index).next().is_some()) {
        let (near, far): (Vec<usize>, Vec<usize>) = dag.upstream(index).partition(|up| dag.is_local(*up, index));
        let mut base = UpstreamCounts::default();
        far.iter().for_each(|up| base.add(by_task[*up]));
        let task_id = &dag.tasks()[index].task_id;
        if near.is_empty() {
            rows.push(counter_row(run_key, task_id, EVERY_INDEX, base));
            continue;
        }
        // In a mapped group each instance has counters of its own.
        let near = NearEnds::new(near.iter().flat_map(|up| &of_task[*up]));
        for map_index in of_task[index].iter().map(|instance| instance.key.map_index) {
            let mut counts = base;
            counts.add(near.of(map_index));
            rows.push(counter_row(run_key, task_id, (map_index, map_index), counts));
        }
    }
    rows
}

/// How the upstream of a task in its mapped group has ended, by map index.
struct NearEnds {
    by_index: HashMap<i32, UpstreamCounts>,
    all: UpstreamCounts,
}

impl NearEnds {
    fn new<'i>(instances: impl Iterator<Item = &'i &'i Instance>) -> Self {
        let mut ends = Self { by_index: HashMap::new(), all: UpstreamCounts::default() };
        for instance in instances {
            for counts in [ends.by_index.entry(instance.key.map_index).or_default(), &mut ends.all] {
                counts.total += 1;
                counts.record(instance.state, false);
            }
        }
        ends
    }

    /// One that has no instances of its own counts for all.
    fn of(&self, map_index: i32) -> UpstreamCounts {
        if map_index < 0 {
            return self.all;
        }
        let mut counts = self.by_index.get(&map_index).copied().unwrap_or_default();
        counts.add(self.by_index.get(&-1).copied().unwrap_or_default());
        counts
    }
}

fn counter_row(run_key: i64, task_id: &str, indices: (i32, i32), counts: UpstreamCounts) -> CounterRow {
    CounterRow {
        run_key,
        task_id: task_id.to_owned(),
        map_from: indices.0,
        map_to: indices.1,
        total: counts.total,
        success: counts.success,
        failed: counts.failed,
        skipped: counts.skipped,
        upstream_failed: counts.upstream_failed,
        removed: counts.removed,
    }
}
