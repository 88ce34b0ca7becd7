//! Gates: what a task asks of other runs and of its other instances before it is queued
//! (`depends_on_past`, `wait_for_downstream`, `max_active_tis_per_dag`, `max_active_tis_per_dagrun`).
//!
//! What waits at a gate is looked at again when anything ends in its DAG. Gates are decided under a
//! lock of their own, taken after those on runs and before those on pools.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::Step;
use crate::Result;
use crate::batch::TaskRow;

/// Most instances at gates of one run that are looked at in a step.
const LOOK: i64 = 256;

/// What is known of gates in a step.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    /// By run and task.
    by_task: HashMap<(i64, String), Gate>,
    /// Room by DAG and task.
    per_dag: HashMap<(String, String), i64>,
    /// Room by run and task.
    per_run: HashMap<(i64, String), i64>,
}

#[derive(Debug)]
struct Gate {
    dag_id: String,
    /// Whether the run before allows it.
    past: bool,
}

impl Gates {
    /// Whether the gate of a task instance is open; for a task without one it is.
    pub(crate) fn is_open(&self, row: &TaskRow) -> bool {
        let key = (row.key.run_key, row.key.task_id.clone());
        let Some(gate) = self.by_task.get(&key) else { return true };
        let per_dag = self.per_dag.get(&(gate.dag_id.clone(), key.1.clone())).is_none_or(|room| *room > 0);
        gate.past && per_dag && self.per_run.get(&key).is_none_or(|room| *room > 0)
    }

    /// A task instance has gone through.
    pub(crate) fn pass(&mut self, row: &TaskRow) {
        let key = (row.key.run_key, row.key.task_id.clone());
        let Some(gate) = self.by_task.get(&key) else { return };
        if let Some(room) = self.per_dag.get_mut(&(gate.dag_id.clone(), key.1.clone())) {
            *room -= 1;
        }
        if let Some(room) = self.per_run.get_mut(&key) {
            *room -= 1;
        }
    }
}

impl Step<'_> {
    /// Takes the locks on the gates of the locked runs; before those on pools.
    pub(crate) async fn lock_gates(&mut self) -> Result<()> {
        let dags: BTreeSet<String> =
            self.runs.values().filter(|run| run.dag.is_gated()).map(|run| run.lock.dag_id.clone()).collect();
        for dag_id in dags {
            if self.gated.insert(dag_id.clone()) {
                self.tx.lock_gate(&dag_id).await?;
            }
        }
        Ok(())
    }

    /// Whether this step may decide about the gate of a task instance, if there is one.
    pub(crate) fn holds_gate(&self, row: &TaskRow) -> bool {
        let Some(run) = self.runs.get(&row.key.run_key) else { return true };
        let is_gated = run.dag.task(&row.key.task_id).is_some_and(|task| !task.gates.is_open());
        !is_gated || self.gated.contains(&run.lock.dag_id)
    }

    /// What waits at the gates of the locked runs.
    pub(crate) async fn waiting_at_gates(&mut self) -> Result<Vec<TaskRow>> {
        let mut rows = Vec::new();
        let keys: Vec<i64> = self.runs.iter().filter(|(_, run)| run.dag.is_gated()).map(|(key, _)| *key).collect();
        for key in keys {
            rows.extend(self.tx.blocked_by_gate(key, LOOK).await?);
        }
        Ok(rows)
    }

    /// Finds out about the gates of `rows`.
    pub(crate) async fn learn_gates(&mut self, gates: &mut Gates, rows: impl Iterator<Item = &TaskRow>) -> Result<()> {
        for row in rows {
            let key = (row.key.run_key, row.key.task_id.clone());
            let Some(run) = self.runs.get(&key.0) else { continue };
            let Some(index) = run.dag.index_of(&key.1) else { continue };
            let asked = run.dag.tasks()[index].gates;
            if asked.is_open() || gates.by_task.contains_key(&key) {
                continue;
            }
            let dag = std::sync::Arc::clone(&run.dag);
            let (dag_id, logical_date) = (run.lock.dag_id.clone(), run.lock.logical_date);
            let mut past = true;
            if let Some(date) = logical_date.filter(|_| asked.depends_on_past)
                && let Some(before) = self.tx.previous_run(&dag_id, date, dag.spec().catchup).await?
            {
                let mut tasks = vec![key.1.clone()];
                if asked.wait_for_downstream {
                    tasks.extend(dag.downstream(index).map(|next| dag.tasks()[next].task_id.clone()));
                }
                past = self.tx.unsuccessful(before, &tasks).await? == 0;
            }
            if let Some(most) = asked.max_active_tis_per_dag {
                let place = (dag_id.clone(), key.1.clone());
                if let Entry::Vacant(room) = gates.per_dag.entry(place) {
                    let live = self.tx.live_of_task(&dag_id, &key.1, None).await?;
                    room.insert(i64::from(most) - live);
                }
            }
            if let Some(most) = asked.max_active_tis_per_dagrun {
                let live = self.tx.live_of_task(&dag_id, &key.1, Some(key.0)).await?;
                gates.per_run.insert(key.clone(), i64::from(most) - live);
            }
            gates.by_task.insert(key, Gate { dag_id, past });
        }
        Ok(())
    }
}
