//! Branches and mapped tasks: what an outcome or a value makes of the tasks behind it.

use std::collections::HashMap;
use std::pin::Pin;

use serde_json::Value;
use towpath_model::branch::{self, Skips};
use towpath_model::dag::Dag;
use towpath_model::expand::{Expand, ExpandError};
use towpath_model::state::TaskState;

use super::Step;
use crate::batch::{EVERY_INDEX, Element, MoveRow, RuledRow, TaskRow, json};
use crate::records::TaskKey;
use crate::{Error, Result};

/// Where an instance of a branch can rule something out: in a mapped group at its own index alone.
pub(super) fn ruled(dag: &Dag, key: &TaskKey) -> RuledRow {
    let in_group = dag.task(&key.task_id).is_some_and(|task| task.map_group.is_some());
    let (map_from, map_to) = if in_group { (key.map_index, key.map_index) } else { EVERY_INDEX };
    RuledRow { branch: key.task_id.clone(), map_from, map_to }
}

impl Step<'_> {
    /// Skips what a branch has ruled out.
    pub(crate) async fn branch(&mut self, key: &TaskKey, skips: &Skips) -> Result<()> {
        let Some(run) = self.runs.get(&key.run_key) else { return Ok(()) };
        let Some(index) = run.dag.index_of(&key.task_id) else { return Ok(()) };
        let skipped = branch::skipped(&run.dag, index, skips).map_err(|error| Error::Invalid(error.to_string()))?;
        // As in Airflow, an instance in a mapped group rules out nothing outside of it.
        let in_group = run.dag.tasks()[index].map_group.is_some();
        let skipped = skipped.into_iter().filter(|next| !in_group || run.dag.is_local(index, *next));
        let ids: Vec<String> = skipped.map(|i| run.dag.tasks()[i].task_id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let RuledRow { branch, map_from, map_to } = ruled(&run.dag, key);
        let rows = self.tx.skip_by(key.run_key, &ids, (map_from, map_to), &branch).await?;
        self.decide(rows).await
    }

    /// Gives a mapped task whose rule says run its instances.
    pub(crate) fn expand(&mut self, row: TaskRow) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        Box::pin(async move {
            let TaskKey { run_key, task_id, map_index } = row.key.clone();
            let Some(run) = self.runs.get(&run_key) else { return Ok(()) };
            let dag = std::sync::Arc::clone(&run.dag);
            let Some(index) = dag.index_of(&task_id) else { return Ok(()) };
            let Some(expand) = &dag.tasks()[index].expand else { return Ok(()) };
            let outputs = self.outputs(run_key, &dag, expand).await?;
            let elements = expand.elements(|task, key| outputs.get(&(task, key)).cloned().flatten());
            let elements: Vec<Element> = match elements {
                Ok(elements) => (0..)
                    .zip(elements)
                    .map(|(map_index, element)| Element { map_index, map_value: json(&element) })
                    .collect(),
                Err(error) => return self.cannot_expand(run_key, &task_id, &error).await,
            };
            if elements.is_empty() {
                let rows = self.tx.instances_from(run_key, &task_id, -1).await?;
                return self.end_undecided(rows, TaskState::Skipped, "there is nothing to expand over").await;
            }
            let before = self.tx.count_instances(run_key, &task_id).await?;
            let like = if map_index < 0 {
                self.tx.first_of_map(run_key, &task_id).await?;
                0
            } else {
                map_index
            };
            let rows = self.tx.set_elements(run_key, &task_id, like, &elements).await?;
            let surplus = self.tx.instances_from(run_key, &task_id, elements.len() as i32).await?;
            let more = elements.len() as i64 - before;
            if more > 0 {
                let next: Vec<String> = dag.downstream(index).map(|i| dag.tasks()[i].task_id.clone()).collect();
                self.tx.add_to_total(run_key, &next, more).await?;
            }
            self.end_undecided(surplus, TaskState::Removed, "its upstream has fewer elements than before").await?;
            self.decide(rows).await
        })
    }

    /// The XComs that a task expands over; [`None`] where there is none.
    pub(super) async fn outputs<'e>(
        &mut self,
        run_key: i64,
        dag: &towpath_model::dag::Dag,
        expand: &'e Expand,
    ) -> Result<HashMap<(&'e str, &'e str), Option<Value>>> {
        let mut found = HashMap::new();
        let mut wanted: Vec<(&str, &str)> = Vec::new();
        for source in expand.sources() {
            wanted.extend(source.keys().filter_map(|key| Some((source.task_id()?, key))));
        }
        for (task_id, key) in wanted {
            let rows = self.tx.outputs(run_key, task_id, key).await?;
            let corrupt =
                |error: serde_json::Error| Error::Corrupt(format!("the XCom `{key}` of `{task_id}`: {error}"));
            let mut values = Vec::with_capacity(rows.len());
            for (_, text) in rows {
                values.push(match self.store.read_aside(&text).await? {
                    Some(value) => value,
                    None => serde_json::from_str(&text).map_err(corrupt)?,
                });
            }
            let is_mapped = dag.index_of(task_id).is_some_and(|index| dag.is_mapped(index));
            let value = if is_mapped && !values.is_empty() { Some(Value::Array(values)) } else { values.pop() };
            found.insert((task_id, key), value);
        }
        Ok(found)
    }

    /// Airflow's answer to a value that is not there: the task counts as failed upstream.
    async fn cannot_expand(&mut self, run_key: i64, task_id: &str, error: &ExpandError) -> Result<()> {
        let rows = self.tx.instances_from(run_key, task_id, -1).await?;
        self.end_undecided(rows, TaskState::UpstreamFailed, &error.to_string()).await
    }

    /// Ends task instances that have not been decided on.
    pub(super) async fn end_undecided(&mut self, rows: Vec<TaskRow>, state: TaskState, note: &str) -> Result<()> {
        let mut moves = Vec::new();
        for row in rows.into_iter().filter(|row| row.state == TaskState::None) {
            moves.push(MoveRow {
                run_key: row.key.run_key,
                task_id: row.key.task_id.clone(),
                map_index: row.key.map_index,
                from_state: TaskState::None,
                state,
                blocked_by: None,
                new_try: 0,
                ended: true,
                note: Some(note.to_owned()),
            });
            self.ended.push((row.key, state));
        }
        self.apply(&moves).await
    }
}
