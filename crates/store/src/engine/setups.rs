//! Setups and teardowns: what the ends of setups mean for the tasks that need them, and runs that end
//! early but let their teardowns run (`fail_fast`, cancelled runs).
//!
//! How setups have ended is read from their rows when a task that needs them is decided: few tasks
//! have setups, and a counter that only they use would be kept for all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use towpath_model::dag::{Dag, Task};
use towpath_model::progress::{self, Decision};
use towpath_model::state::TaskState;
use towpath_model::trigger_rule::{TriggerRule, UpstreamCounts};

use super::Step;
use crate::batch::{MoveRow, TaskRow};
use crate::engine::report::{Report, ReportOutcome};
use crate::records::TaskKey;
use crate::wake::Topic;
use crate::{Error, Result};

/// The states of setups, by run and task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setups(HashMap<(i64, String), Vec<(i32, TaskState)>>);

impl Setups {
    pub(crate) fn add(&mut self, key: TaskKey, state: TaskState) {
        self.0.entry((key.run_key, key.task_id)).or_default().push((key.map_index, state));
    }

    /// What is decided about an undecided instance of `task`, by its setups and its trigger rule.
    pub(crate) fn judge(&self, dag: &Dag, task: &Task, key: &TaskKey, mut upstream: UpstreamCounts) -> Decision {
        let Some(index) = dag.index_of(&key.task_id).filter(|_| dag.has_setups()) else {
            return progress::evaluate(task, upstream);
        };
        if task.trigger_rule == TriggerRule::AllDoneSetupSuccess {
            let direct: Vec<usize> = direct_setups(dag, index).collect();
            let counts = self.count(dag, key, index, &direct);
            upstream.setups = counts.total;
            upstream.setup_success = counts.success;
            upstream.setup_skipped = counts.skipped;
        }
        let above = dag.scopes().above(index);
        if above.is_empty() {
            return progress::evaluate(task, upstream);
        }
        progress::evaluate_within(task, upstream, self.count(dag, key, index, above))
    }

    fn count(&self, dag: &Dag, key: &TaskKey, index: usize, setups: &[usize]) -> UpstreamCounts {
        let mut counts = UpstreamCounts::default();
        for &setup in setups {
            let of_setup = (key.run_key, dag.tasks()[setup].task_id.clone());
            let same = |map_index: i32| {
                !dag.is_local(setup, index) || key.map_index < 0 || map_index < 0 || map_index == key.map_index
            };
            for (_, state) in self.0.get(&of_setup).into_iter().flatten().filter(|(map_index, _)| same(*map_index)) {
                counts.total += 1;
                counts.record(*state, true);
            }
        }
        counts
    }
}

fn direct_setups(dag: &Dag, index: usize) -> impl Iterator<Item = usize> + '_ {
    dag.upstream(index).filter(|up| dag.tasks()[*up].role.is_setup())
}

impl Step<'_> {
    /// The states of the setups that decisions about `rows` look at.
    pub(crate) async fn setups(&mut self, rows: &[TaskRow]) -> Result<Setups> {
        let mut wanted: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.state == TaskState::None) {
            let Some(run) = self.runs.get(&row.key.run_key).filter(|run| run.dag.has_setups()) else { continue };
            let Some(index) = run.dag.index_of(&row.key.task_id) else { continue };
            let asks = run.dag.tasks()[index].trigger_rule == TriggerRule::AllDoneSetupSuccess;
            let direct = direct_setups(&run.dag, index).filter(|_| asks);
            let ids = direct.chain(run.dag.scopes().above(index).iter().copied());
            let ids: Vec<String> = ids.map(|setup| run.dag.tasks()[setup].task_id.clone()).collect();
            if !ids.is_empty() {
                wanted.entry(row.key.run_key).or_default().extend(ids);
            }
        }
        let mut setups = Setups::default();
        for (run_key, ids) in wanted {
            let ids: Vec<String> = ids.into_iter().collect();
            for instance in self.tx.instances_of(run_key, &ids).await? {
                setups.add(instance.key, instance.state);
            }
        }
        Ok(setups)
    }

    /// Decides about tasks that need setups which have ended, and are not directly behind them.
    pub(crate) async fn look_below_setups(&mut self, ended: &[(TaskKey, TaskState)]) -> Result<()> {
        let mut below: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for (key, _) in ended {
            let Some(run) = self.runs.get(&key.run_key).filter(|run| run.dag.has_setups()) else { continue };
            let Some(index) = run.dag.index_of(&key.task_id) else { continue };
            let ids = run.dag.scopes().below(index).iter().map(|i| run.dag.tasks()[*i].task_id.clone());
            below.entry(key.run_key).or_default().extend(ids);
        }
        for (run_key, ids) in below.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            let ids: Vec<String> = ids.into_iter().collect();
            let rows = self.tx.undecided_of(run_key, &ids).await?;
            self.decide(rows).await?;
        }
        Ok(())
    }

    /// Ends what is left of those runs of `fail_fast` DAGs in which a task has just failed.
    pub(crate) async fn fail_fast(&mut self) -> Result<()> {
        let failed = self.ended.iter().filter(|(_, state)| *state == TaskState::Failed);
        let mut first: BTreeMap<i64, String> = BTreeMap::new();
        for (key, _) in failed {
            if self.runs.get(&key.run_key).is_some_and(|run| run.dag.spec().fail_fast) {
                first.entry(key.run_key).or_insert_with(|| key.task_id.clone());
            }
        }
        for (run_key, task_id) in first {
            // What was skipped for it may be all that decides how the run ends.
            self.tx.fail_later(run_key).await?;
            if let Some(run) = self.runs.get_mut(&run_key) {
                run.lock.is_failing = true;
            }
            let why = format!("fail_fast: task `{task_id}` has failed");
            self.stop_work(run_key, ReportOutcome::Failed { retry: false }, &why).await?;
        }
        Ok(())
    }

    /// Ends all of a run but its teardowns: what has not started is skipped, what runs is stopped with `outcome`.
    pub(crate) async fn stop_work(&mut self, run_key: i64, outcome: ReportOutcome, why: &str) -> Result<()> {
        let Some(run) = self.runs.get(&run_key) else { return Ok(()) };
        let dag = std::sync::Arc::clone(&run.dag);
        let is_work = |task_id: &str| dag.task(task_id).is_none_or(|task| !task.role.is_teardown());
        let mut moves = Vec::new();
        for row in self.tx.not_started(run_key).await? {
            if !is_work(&row.key.task_id) {
                continue;
            }
            if row.state == TaskState::Queued {
                self.freed_pools.insert(row.pool.clone());
            }
            moves.push(MoveRow {
                run_key,
                task_id: row.key.task_id.clone(),
                map_index: row.key.map_index,
                from_state: row.state,
                state: TaskState::Skipped,
                blocked_by: None,
                new_try: 0,
                ended: true,
                note: Some(why.to_owned()),
            });
            self.ended.push((row.key, TaskState::Skipped));
        }
        self.apply(&moves).await?;
        self.ready.retain(|ready| ready.row.key.run_key != run_key || !is_work(&ready.row.key.task_id));
        let held = self.tx.attempts_of_run(run_key).await?;
        let reports: Vec<Report> = held
            .into_iter()
            .filter(|held| is_work(&held.task_id))
            .map(|held| Report {
                key: TaskKey { run_key: held.run_key, task_id: held.task_id, map_index: held.map_index },
                attempt: held.attempt,
                outcome: outcome.clone(),
                note: Some(why.to_owned()),
                xcoms: Vec::new(),
                asset_extra: serde_json::Map::new(),
                evidence: Default::default(),
                ended_at: self.now,
            })
            .collect();
        if !reports.is_empty() {
            self.topics.insert(Topic::Stop);
            self.end(&reports).await?;
        }
        Ok(())
    }

    /// Gives a run up: with teardowns left to run it goes on until they have ended, and fails then.
    /// False where there are none, or where it has been given up before.
    pub(crate) async fn give_way_to_teardowns(
        &mut self,
        run_key: i64,
        outcome: ReportOutcome,
        why: &str,
    ) -> Result<bool> {
        let Some(run) = self.runs.get(&run_key) else { return Ok(false) };
        if !run.dag.has_setups() || run.lock.is_failing {
            return Ok(false);
        }
        let tasks = run.dag.tasks().iter().filter(|task| task.role.is_teardown());
        let ids: Vec<String> = tasks.map(|task| task.task_id.clone()).collect();
        let left = self.tx.instances_of(run_key, &ids).await?.iter().any(|i| !i.state.is_finished());
        // Only a run that has started has something to take away.
        if !left || !self.tx.fail_later(run_key).await? {
            return Ok(false);
        }
        let run = self.runs.get_mut(&run_key).ok_or_else(|| Error::Stale(format!("run {run_key}")))?;
        run.lock.is_failing = true;
        self.stop_work(run_key, outcome, why).await?;
        self.topics.insert(Topic::Progress);
        self.look_behind_limits();
        self.touched.insert(run_key);
        Ok(true)
    }
}
