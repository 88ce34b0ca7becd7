//! From ended task instances to what follows from them.

use std::collections::{BTreeMap, BTreeSet};

use towpath_model::dag::Dag;
use towpath_model::state::TaskState;

use super::{Ready, Step};
use crate::batch::{EVERY_INDEX, MoveRow, OutcomeRow, TaskRow};
use crate::records::TaskKey;
use crate::{Error, Result};

impl Step<'_> {
    /// Tells the successors of everything that has ended, level by level, until nothing more
    /// follows. What may run is put into `ready`.
    pub(crate) async fn advance(&mut self) -> Result<()> {
        while !self.ended.is_empty() {
            self.fail_fast().await?;
            let ended = std::mem::take(&mut self.ended);
            let outcomes = self.outcomes(&ended);
            // A statement changes a row once, and one may be behind its own instance and behind all of another.
            let (far, near): (Vec<_>, Vec<_>) =
                outcomes.into_iter().partition(|row| (row.map_from, row.map_to) == EVERY_INDEX);
            let mut successors = if far.is_empty() { Vec::new() } else { self.tx.add_outcomes(&far).await? };
            if !near.is_empty() {
                let rows = self.tx.add_outcomes(&near).await?;
                let keys: BTreeSet<&TaskKey> = rows.iter().map(|row| &row.key).collect();
                successors.retain(|row| !keys.contains(&row.key));
                successors.extend(rows);
            }
            self.decide(successors).await?;
            self.look_below_setups(&ended).await?;
        }
        Ok(())
    }

    /// Applies the trigger rules of undecided task instances.
    pub(crate) async fn decide(&mut self, rows: Vec<TaskRow>) -> Result<()> {
        let mut moves = Vec::new();
        // Instances of one task stand or fall together until they have their elements.
        let mut to_expand: BTreeMap<(i64, String), TaskRow> = BTreeMap::new();
        let mut groups: BTreeSet<(i64, String)> = BTreeSet::new();
        let setups = self.setups(&rows).await?;
        for row in rows {
            if row.state != TaskState::None || self.decided.contains(&row.key) {
                continue;
            }
            let Some(run) = self.runs.get(&row.key.run_key) else { continue };
            let Some(task) = run.dag.task(&row.key.task_id) else { continue };
            let verdict = match row.skipped {
                true => Some(TaskState::Skipped),
                false => setups.judge(&run.dag, task, &row.key, row.upstream).state,
            };
            match verdict {
                None => {}
                Some(TaskState::Scheduled | TaskState::Success) if task.map_group.is_some() && !row.expanded => {
                    groups.extend(task.map_group.clone().map(|group| (row.key.run_key, group)));
                }
                Some(TaskState::Scheduled | TaskState::Success) if task.expand.is_some() && !row.expanded => {
                    to_expand.entry((row.key.run_key, row.key.task_id.clone())).or_insert(row);
                }
                Some(TaskState::Scheduled) => {
                    self.decided.insert(row.key.clone());
                    self.ready.push(Ready { row, new_try: true, at_gate: false });
                }
                Some(state) => {
                    moves.push(MoveRow {
                        run_key: row.key.run_key,
                        task_id: row.key.task_id.clone(),
                        map_index: row.key.map_index,
                        from_state: TaskState::None,
                        state,
                        blocked_by: None,
                        new_try: u8::from(state == TaskState::Success),
                        ended: true,
                        note: None,
                    });
                    self.ended.push((row.key, state));
                }
            }
        }
        self.apply(&moves).await?;
        for row in to_expand.into_values() {
            self.expand(row).await?;
        }
        for (run_key, group) in groups {
            self.expand_group(run_key, group).await?;
        }
        Ok(())
    }

    /// Applies changes of state; each must find its row where it believes it to be.
    pub(crate) async fn apply(&mut self, moves: &[MoveRow]) -> Result<()> {
        if moves.is_empty() {
            return Ok(());
        }
        let moved = self.tx.move_tasks(moves, self.now).await?;
        if moved != moves.len() as u64 {
            return Err(Error::Stale(format!("{} of {} task instances", moves.len() as u64 - moved, moves.len())));
        }
        Ok(())
    }

    /// The sums to add to the counters of each direct successor.
    fn outcomes(&self, ended: &[(TaskKey, TaskState)]) -> Vec<OutcomeRow> {
        let mut sums: BTreeMap<(i64, usize, (i32, i32)), OutcomeRow> = BTreeMap::new();
        for (key, state) in ended {
            let Some(run) = self.runs.get(&key.run_key) else { continue };
            let Some(index) = run.dag.index_of(&key.task_id) else { continue };
            for next in run.dag.downstream(index) {
                let indices = indices_behind(&run.dag, index, next, key.map_index);
                let row = sums.entry((key.run_key, next, indices)).or_insert_with(|| OutcomeRow {
                    run_key: key.run_key,
                    task_id: run.dag.tasks()[next].task_id.clone(),
                    map_from: indices.0,
                    map_to: indices.1,
                    success: 0,
                    failed: 0,
                    skipped: 0,
                    upstream_failed: 0,
                    removed: 0,
                });
                match state {
                    TaskState::Success => row.success += 1,
                    TaskState::Failed => row.failed += 1,
                    TaskState::Skipped => row.skipped += 1,
                    TaskState::UpstreamFailed => row.upstream_failed += 1,
                    TaskState::Removed => row.removed += 1,
                    TaskState::None
                    | TaskState::Scheduled
                    | TaskState::Queued
                    | TaskState::Running
                    | TaskState::UpForRetry
                    | TaskState::UpForReschedule
                    | TaskState::Restarting
                    | TaskState::Deferred => {}
                }
            }
        }
        sums.into_values().collect()
    }
}

/// The instances of `next` that look at the instance of `index` with that map index: in a mapped group
/// that of the same map index, elsewhere all.
pub(crate) fn indices_behind(dag: &Dag, index: usize, next: usize, map_index: i32) -> (i32, i32) {
    if map_index >= 0 && dag.is_local(index, next) { (map_index, map_index) } else { EVERY_INDEX }
}
