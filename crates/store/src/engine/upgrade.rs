//! A run goes on with the current version of its DAG: somebody has mended the file and lets what failed
//! run again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use towpath_model::dag::Dag;
use towpath_model::progress;
use towpath_model::state::TaskState;

use super::Step;
use super::create_run::new_task_row;
use crate::batch::{Instance, NewTaskRow};
use crate::records::{RunRecord, TaskKey};
use crate::{Error, Result, Store};

/// What another version changes in a run.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    /// Instances that have no place in it any more.
    gone: Vec<TaskKey>,
    /// Tasks that have no instance yet.
    missing: BTreeSet<String>,
    /// Tasks that have been tried without being mapped, and are mapped now.
    mapped: Vec<String>,
}

impl Changes {
    /// Compares the instances of a run with the tasks of `dag`.
    ///
    /// # Errors
    /// The first instance that is running and would have no place.
    fn between(instances: &[Instance], dag: &Dag) -> Result<Self, TaskKey> {
        let mut changes = Self::default();
        let mut has_place: BTreeMap<&str, bool> =
            dag.tasks().iter().map(|task| (task.task_id.as_str(), false)).collect();
        for instance in instances {
            let is_mapped = dag.index_of(&instance.key.task_id).map(|index| dag.is_mapped(index));
            // A mapped task has one row without an index until it is expanded.
            let fits = is_mapped.is_some_and(|is_mapped| is_mapped || instance.key.map_index < 0);
            if fits {
                if is_mapped == Some(true) && instance.key.map_index < 0 && instance.try_number > 0 {
                    changes.mapped.push(instance.key.task_id.clone());
                }
                has_place.insert(&instance.key.task_id, true);
            } else if matches!(instance.state, TaskState::Running | TaskState::Restarting) {
                return Err(instance.key.clone());
            } else if instance.state != TaskState::Removed {
                changes.gone.push(instance.key.clone());
            }
        }
        changes.missing = has_place.into_iter().filter(|(_, has)| !has).map(|(id, _)| id.to_owned()).collect();
        Ok(changes)
    }
}

impl Step<'_> {
    /// Moves a run that this step holds to a version of its DAG. Tasks that are new get an instance, those
    /// that are gone become `removed`, and what is neither queued nor running gets its new pool, queue
    /// and priority. Counters are left to [`Step::go_on`]. False where it has that version already.
    pub(super) async fn move_to_version(&mut self, run: &RunRecord, version_id: i64) -> Result<bool> {
        if self.runs.get(&run.key).is_none_or(|locked| locked.lock.version_id == version_id) {
            return Ok(false);
        }
        let dag = self.store.dag_within(self.tx.as_mut(), version_id).await?;
        let instances = self.tx.instances(run.key).await?;
        let changes = Changes::between(&instances, &dag).map_err(|key| {
            Error::Invalid(format!(
                "task `{}` of run `{}` is running and has no place in the current version of the DAG: \
                 wait for its end or cancel it first",
                key.task_id, run.run_id
            ))
        })?;
        let limit = dag.spec().max_active_tasks;
        self.tx.move_run(run.key, version_id, limit).await?;
        self.tx.remove_instances(&changes.gone, self.now).await?;
        for task_id in &changes.mapped {
            self.tx.instance_to_first(run.key, task_id).await?;
        }
        let initial = progress::undecided(&dag);
        let mut rows: Vec<NewTaskRow> =
            initial.iter().map(|initial| new_task_row(&dag, initial, TaskState::None, None, None)).collect();
        self.tx.refit_tasks(run.key, &rows).await?;
        rows.retain(|row| changes.missing.contains(&row.task_id));
        if !rows.is_empty() {
            let order = run.logical_date.unwrap_or(run.run_after);
            self.tx.insert_task_instances(run.key, order, &rows, self.now).await?;
        }
        if let Some(locked) = self.runs.get_mut(&run.key) {
            locked.lock.version_id = version_id;
            locked.lock.max_active_tasks = i64::from(limit);
            locked.dag = dag;
        }
        Ok(true)
    }
}

impl Store {
    /// The version that a run would go on with, and the run; both locked by `step`.
    pub(super) async fn latest_for(&self, step: &mut Step<'_>, run_key: i64) -> Result<(RunRecord, i64)> {
        let missing = || Error::NotFound { thing: "run", id: run_key.to_string() };
        let run = self.run_by_key(run_key).await?.ok_or_else(missing)?;
        // DAGs are locked before runs.
        let dag = step.tx.lock_dag(&run.dag_id).await?;
        let version = dag.and_then(|dag| dag.version_id);
        let version = version.ok_or_else(|| Error::NotFound { thing: "DAG", id: run.dag_id.clone() })?;
        step.lock_runs([run_key]).await?;
        Ok((run, version))
    }

    /// As [`Store::clear`], after the run has been moved to the current version of its DAG: tasks that are
    /// new in it run too, tasks that are gone become `removed`.
    ///
    /// # Errors
    /// As [`Store::clear`], and [`Error::Invalid`] where something runs that the current version does not have.
    pub async fn clear_on_latest(
        &self,
        run_key: i64,
        selection: &super::clear::Selection,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Vec<super::clear::Touched>> {
        self.clear_with(run_key, selection, true, dry_run, now).await
    }
}

#[cfg(test)]
mod tests {
    use towpath_model::dag::{DagSpec, Task};
    use towpath_model::expand::Expand;

    use super::*;

    fn instance(task_id: &str, map_index: i32, state: TaskState) -> Instance {
        let key = TaskKey { run_key: 1, task_id: task_id.into(), map_index };
        Instance { key, state, try_number: 1, max_tries: 0 }
    }

    /// A DAG of `plain` and the mapped `many`.
    fn dag() -> Dag {
        let mut many = Task::new("many", "bash");
        many.expand =
            Some(serde_json::from_value::<Expand>(serde_json::json!({"product": {"x": {"values": [1, 2]}}})).unwrap());
        let mut spec = DagSpec::new("d");
        spec.tasks = vec![Task::new("plain", "bash"), many];
        Dag::build(spec).unwrap()
    }

    #[test]
    fn what_changes() {
        use TaskState::{Removed, Running, Success};
        let check = |instances: &[Instance], gone: &[(&str, i32)], missing: &[&str]| {
            let changes = Changes::between(instances, &dag()).expect("nothing in the way");
            let found: Vec<_> = changes.gone.iter().map(|key| (key.task_id.as_str(), key.map_index)).collect();
            assert_eq!(found, gone);
            assert_eq!(changes.missing.iter().map(String::as_str).collect::<Vec<_>>(), missing);
        };
        check(&[instance("plain", -1, Success), instance("many", -1, Success)], &[], &[]);
        let tried = Changes::between(&[instance("many", -1, Success), instance("plain", -1, Success)], &dag());
        assert_eq!(tried.expect("nothing in the way").mapped, ["many"]);
        check(&[instance("plain", -1, Running), instance("many", 1, Running)], &[], &[]);
        check(&[instance("old", -1, Success), instance("older", -1, Removed)], &[("old", -1)], &["many", "plain"]);
        check(
            &[instance("plain", 0, Success), instance("plain", 1, Success)],
            &[("plain", 0), ("plain", 1)],
            &["many", "plain"],
        );
        assert_eq!(Changes::between(&[instance("old", -1, Running)], &dag()).unwrap_err().task_id, "old");
    }
}
