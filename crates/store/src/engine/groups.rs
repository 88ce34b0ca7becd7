//! Mapped task groups: all tasks of the group get an instance for each element, at once.
//!
//! A group is expanded when the first of its tasks may run. What has ended before that, skipped by a
//! branch or for its upstream, has no instances; those behind it count it in each of theirs.

use std::collections::BTreeSet;
use std::pin::Pin;

use towpath_model::dag::Dag;
use towpath_model::state::TaskState;

use super::Step;
use super::clear::counters;
use crate::Result;
use crate::batch::{Element, TaskRow, json};

/// Positions of the tasks of a mapped group.
fn members(dag: &Dag, group: &str) -> Vec<usize> {
    (0..dag.tasks().len()).filter(|i| dag.tasks()[*i].map_group.as_deref() == Some(group)).collect()
}

impl Step<'_> {
    /// Gives the tasks of a mapped group their instances, if what it is expanded over has ended.
    pub(crate) fn expand_group(
        &mut self,
        run_key: i64,
        group: String,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        Box::pin(async move {
            let Some(run) = self.runs.get(&run_key) else { return Ok(()) };
            let dag = std::sync::Arc::clone(&run.dag);
            let Some(expand) = dag.spec().mapped_groups.get(&group) else { return Ok(()) };
            let ids: BTreeSet<String> =
                expand.sources().filter_map(|source| source.task_id().map(str::to_owned)).collect();
            let ids: Vec<String> = ids.into_iter().collect();
            // A task with a rule that does not wait may ask before there is a result.
            if !ids.is_empty() && self.tx.instances_of(run_key, &ids).await?.iter().any(|i| !i.state.is_finished()) {
                return Ok(());
            }
            let members = members(&dag, &group);
            let outputs = self.outputs(run_key, &dag, expand).await?;
            let elements = expand.elements(|task, key| outputs.get(&(task, key)).cloned().flatten());
            let (state, note) = match elements {
                Ok(elements) if elements.is_empty() => {
                    (TaskState::Skipped, "there is nothing to expand over".to_owned())
                }
                Ok(elements) => {
                    let elements: Vec<Element> = (0..)
                        .zip(elements)
                        .map(|(map_index, element)| Element { map_index, map_value: json(&element) })
                        .collect();
                    return self.make_instances(run_key, &dag, &members, &elements).await;
                }
                Err(error) => (TaskState::UpstreamFailed, error.to_string()),
            };
            for index in members {
                let rows = self.tx.instances_from(run_key, &dag.tasks()[index].task_id, -1).await?;
                self.end_undecided(rows, state, &note).await?;
            }
            Ok(())
        })
    }

    async fn make_instances(&mut self, run_key: i64, dag: &Dag, members: &[usize], elements: &[Element]) -> Result<()> {
        let mut rows: Vec<TaskRow> = Vec::new();
        let mut again = false;
        for &index in members {
            let task_id = &dag.tasks()[index].task_id;
            let before = self.tx.instances_from(run_key, task_id, -1).await?;
            let Some(first) = before.first() else { continue };
            let like = first.key.map_index.max(0);
            if first.key.map_index < 0 {
                if first.state != TaskState::None {
                    continue;
                }
                self.tx.first_of_map(run_key, task_id).await?;
            } else {
                again = true;
            }
            rows.extend(self.tx.set_elements(run_key, task_id, like, elements).await?);
            let surplus = self.tx.instances_from(run_key, task_id, elements.len() as i32).await?;
            let more = elements.len() as i64 - before.len() as i64;
            if more > 0 {
                let next = dag.downstream(index).filter(|next| !dag.is_local(index, *next));
                let next: Vec<String> = next.map(|next| dag.tasks()[next].task_id.clone()).collect();
                self.tx.add_to_total(run_key, &next, more).await?;
            }
            self.end_undecided(surplus, TaskState::Removed, "its upstream has fewer elements than before").await?;
        }
        if again {
            // New instances were made like others that have counted what their own upstream did. What has
            // ended in this step is still to be counted by those behind it.
            let mut instances = self.tx.instances(run_key).await?;
            let pending: BTreeSet<_> = self.ended.iter().map(|(key, _)| key).collect();
            for instance in instances.iter_mut().filter(|instance| pending.contains(&instance.key)) {
                instance.state = TaskState::None;
            }
            self.tx.set_counters(&counters(run_key, dag, &instances)).await?;
            let ids: Vec<String> = members.iter().map(|index| dag.tasks()[*index].task_id.clone()).collect();
            rows = self.tx.undecided_of(run_key, &ids).await?;
        }
        self.decide(rows).await
    }
}
