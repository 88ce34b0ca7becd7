//! `GET .../taskInstances`: those of one run. All of them are in one read of the store, so filters
//! and order are applied here.

use std::cmp::Ordering;

use axum::Json;
use axum::extract::{self, Path};
use serde::Serialize;
use strum::IntoEnumIterator;
use towpath_model::state::TaskState;
use towpath_store::TaskInstanceRecord;

use super::{Context, TaskInstanceReply};
use crate::query::Query;
use crate::{Result, State, dag_runs};

/// `TaskInstanceCollectionResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct TaskInstanceList {
    task_instances: Vec<TaskInstanceReply>,
    total_entries: Option<u64>,
    total_entries_limit: Option<u64>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

/// Every non-empty part narrows the list.
#[derive(Debug, Default)]
struct Filter {
    task_id: Option<String>,
    states: Vec<TaskState>,
    pools: Vec<String>,
    queues: Vec<String>,
    map_indices: Vec<i64>,
    tries: Vec<i64>,
    versions: Vec<i64>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    mut query: Query,
) -> Result<Json<TaskInstanceList>> {
    let window = query.window();
    let order =
        query.order(&["map_index", "task_id", "state", "start_date", "end_date", "try_number", "priority_weight"])?;
    let states: Vec<&str> = TaskState::iter().map(Into::into).collect();
    let filter = Filter {
        task_id: query.text("task_id"),
        states: query.words("state", &states),
        pools: query.texts("pool"),
        queues: query.texts("queue"),
        map_indices: query.wholes("map_index"),
        tries: query.wholes("try_number"),
        versions: query.wholes("version_number"),
    };
    query.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let mut records = state.store.task_instances(run.key).await?;
    records.retain(|record| filter.fits(record));
    records.sort_by(|a, b| compare(a, b, &order));
    let total = records.len() as u64;
    let mut task_instances = Vec::new();
    if total > 0 {
        let context = Context::of(&state, run.version_id).await?;
        task_instances = window.of(records).into_iter().map(|record| context.reply(record)).collect();
    }
    Ok(Json(TaskInstanceList {
        task_instances,
        total_entries: Some(total),
        total_entries_limit: None,
        next_cursor: None,
        previous_cursor: None,
    }))
}

impl Filter {
    fn fits(&self, record: &TaskInstanceRecord) -> bool {
        fn among<T: PartialEq>(allowed: &[T], value: &T) -> bool {
            allowed.is_empty() || allowed.contains(value)
        }
        self.task_id.as_ref().is_none_or(|task_id| *task_id == record.key.task_id)
            && among(&self.states, &record.state)
            && among(&self.pools, &record.pool)
            && among(&self.queues, &record.queue)
            && among(&self.map_indices, &i64::from(record.key.map_index))
            && among(&self.tries, &i64::from(record.try_number))
            && among(&self.versions, &i64::from(record.version_number))
    }
}

/// By the attributes asked for, then by map index and id, so that pages do not overlap.
fn compare(a: &TaskInstanceRecord, b: &TaskInstanceRecord, order: &[(&'static str, bool)]) -> Ordering {
    order
        .iter()
        .map(|(attribute, descends)| {
            let ordering = match *attribute {
                "task_id" => a.key.task_id.cmp(&b.key.task_id),
                "state" => a.state.as_ref().cmp(b.state.as_ref()),
                "start_date" => a.start_date.cmp(&b.start_date),
                "end_date" => a.end_date.cmp(&b.end_date),
                "try_number" => a.try_number.cmp(&b.try_number),
                "priority_weight" => a.priority_weight.cmp(&b.priority_weight),
                _ => a.key.map_index.cmp(&b.key.map_index),
            };
            if *descends { ordering.reverse() } else { ordering }
        })
        .find(|ordering| ordering.is_ne())
        .unwrap_or_else(|| (a.key.map_index, &a.key.task_id).cmp(&(b.key.map_index, &b.key.task_id)))
}
