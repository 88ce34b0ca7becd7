//! `GET .../taskInstances`, `GET .../{task_id}/listMapped` and `POST .../taskInstances/list`. `~`
//! stands for any DAG and any run.

use std::sync::Arc;

use axum::Json;
use axum::extract::{self, Path};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_model::state::TaskState;
use towpath_store::{After, COUNT_LIMIT, Datum, Listing, TaskField, TaskKey, Test};

use super::{Contexts, TaskInstanceReply};
use crate::body::Body;
use crate::dag_runs::list::only_wildcard;
use crate::filter::{self, Conditions, Lists};
use crate::query::Query;
use crate::{Error, Result, State, cursor, dag_runs, dags};

/// `TaskInstanceCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskInstanceList {
    task_instances: Vec<TaskInstanceReply>,
    total_entries: Option<u64>,
    total_entries_limit: Option<u32>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

const ORDERS: &[(&str, TaskField)] = &[
    ("id", TaskField::RunKey),
    ("map_index", TaskField::MapIndex),
    ("rendered_map_index", TaskField::MapIndex),
    ("task_id", TaskField::TaskId),
    ("task_display_name", TaskField::TaskId),
    ("dag_id", TaskField::DagId),
    ("run_id", TaskField::RunId),
    ("dag_run_id", TaskField::RunId),
    ("state", TaskField::State),
    ("logical_date", TaskField::LogicalDate),
    ("run_after", TaskField::RunAfter),
    ("data_interval_start", TaskField::LogicalDate),
    ("start_date", TaskField::StartDate),
    ("end_date", TaskField::EndDate),
    ("queued_dttm", TaskField::QueuedAt),
    ("updated_at", TaskField::UpdatedAt),
    ("duration", TaskField::Duration),
    ("try_number", TaskField::TryNumber),
    ("pool", TaskField::Pool),
    ("queue", TaskField::Queue),
    ("priority_weight", TaskField::Priority),
];

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    mut query: Query,
) -> Result<Json<TaskInstanceList>> {
    let cursor = query.text("cursor");
    let task_id = query.text("task_id");
    let mut listing = listing(&mut query)?;
    query.finish()?;
    listing.among(TaskField::TaskId, task_id.into_iter().map(Datum::Text).collect());
    of_path(&state, &mut listing, &dag_id, &run_id).await?;
    Ok(Json(TaskInstanceList::read(&state, listing, cursor.as_deref()).await?))
}

/// The instances of a mapped task.
pub(crate) async fn mapped(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    mut query: Query,
) -> Result<Json<TaskInstanceList>> {
    let mut listing = listing(&mut query)?;
    query.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let dag = state.store.dag_of_version(run.version_id).await?;
    let task = dag.task(&task_id).ok_or_else(|| Error::NotFound(format!("Task id {task_id} not found")))?;
    if task.expand.is_none() {
        return Err(Error::NotFound(format!("Task id {task_id} is not mapped")));
    }
    listing.tests.push((TaskField::RunKey, Test::Among(vec![Datum::Number(run.key)])));
    listing.is(TaskField::TaskId, task_id);
    listing.tests.push((TaskField::MapIndex, Test::Bound(towpath_store::Compare::AtLeast, Datum::Number(0))));
    Ok(Json(TaskInstanceList::read(&state, listing, None).await?))
}

/// `get_task_instances_batch`.
pub(crate) async fn batch(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, list)): Path<(String, String, String)>,
    query: Query,
    body: Body,
) -> Result<Json<TaskInstanceList>> {
    if list != "list" {
        return Err(Error::MethodNotAllowed);
    }
    query.finish()?;
    only_wildcard("dag_id", &dag_id)?;
    only_wildcard("dag_run_id", &run_id)?;
    let lists = Lists(&[
        ("dag_ids", "dag_ids"),
        ("dag_run_ids", "dag_run_ids"),
        ("task_ids", "task_ids"),
        ("state", "state"),
        ("pool", "pool"),
        ("queue", "queue"),
        ("executor", "executor"),
    ]);
    let mut query = filter::of_body(body, &["run_after", "logical_date", "start_date", "end_date"], &lists, &[])?;
    let mut chosen = |name: &str| query.texts(name).into_iter().map(Datum::Text).collect::<Vec<_>>();
    let of = [
        (TaskField::DagId, chosen("dag_ids")),
        (TaskField::RunId, chosen("dag_run_ids")),
        (TaskField::TaskId, chosen("task_ids")),
    ];
    let mut listing = listing(&mut query)?;
    query.finish()?;
    for (field, values) in of {
        listing.among(field, values);
    }
    Ok(Json(TaskInstanceList::read(&state, listing, None).await?))
}

/// Narrows a list to the DAG and the run of a path, which must exist.
async fn of_path(state: &State, listing: &mut Listing<TaskField>, dag_id: &str, run_id: &str) -> Result<()> {
    match (dag_id, run_id) {
        ("~", "~") => {}
        (dag_id, "~") => listing.is(TaskField::DagId, dags::find(state, dag_id).await?.dag_id),
        ("~", run_id) => listing.is(TaskField::RunId, run_id),
        (dag_id, run_id) => {
            let run = dag_runs::find(state, dag_id, run_id).await?;
            listing.tests.push((TaskField::RunKey, Test::Among(vec![Datum::Number(run.key)])));
        }
    }
    Ok(())
}

fn listing(query: &mut Query) -> Result<Listing<TaskField>> {
    let window = query.window();
    let names: Vec<&'static str> = ORDERS.iter().map(|(name, _)| *name).collect();
    let order = query.order(&names)?;
    let field = |name: &str| ORDERS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
    let mut tests = Conditions(Vec::new());
    for (name, field) in [
        ("run_after", TaskField::RunAfter),
        ("logical_date", TaskField::LogicalDate),
        ("start_date", TaskField::StartDate),
        ("end_date", TaskField::EndDate),
        ("updated_at", TaskField::UpdatedAt),
    ] {
        tests.times(query, name, field);
    }
    tests.seconds(query, "duration", TaskField::Duration);
    tests.words::<TaskState>(query, "state", TaskField::State);
    tests.texts(query, "pool", TaskField::Pool);
    tests.texts(query, "queue", TaskField::Queue);
    tests.wholes(query, "version_number", TaskField::VersionNumber);
    tests.wholes(query, "try_number", TaskField::TryNumber);
    tests.wholes(query, "map_index", TaskField::MapIndex);
    for (name, field) in [
        ("task_display_name", TaskField::TaskId),
        ("dag_id", TaskField::DagId),
        ("run_id", TaskField::RunId),
        ("pool_name", TaskField::Pool),
        ("queue_name", TaskField::Queue),
    ] {
        tests.patterns(query, name, field);
    }
    // Nothing has an executor of its own.
    if !query.texts("executor").is_empty() {
        tests.0.push((TaskField::TaskId, Test::Among(Vec::new())));
    }
    Ok(Listing {
        tests: tests.0,
        order: order.into_iter().filter_map(|(name, descends)| Some((field(name)?, descends))).collect(),
        after: None,
        limit: window.limit,
        offset: window.offset,
    })
}

impl TaskInstanceList {
    async fn read(state: &State, mut listing: Listing<TaskField>, cursor: Option<&str>) -> Result<Self> {
        let is_indexed = matches!(listing.order.as_slice(), [] | [(TaskField::RunKey, false)]);
        let mut offset = 0;
        if let Some(cursor) = cursor {
            listing.offset = 0;
            if !cursor.is_empty() {
                let (key, skip): (TaskKey, u32) = cursor::read(cursor)?;
                offset = skip;
                if is_indexed {
                    listing.after = Some(After::Task(key));
                } else {
                    listing.offset = skip;
                }
            }
        }
        let page = state.store.list_tasks(&listing, cursor.is_some()).await?;
        let full = page.items.len() == listing.limit as usize;
        let next =
            page.items.last().filter(|_| cursor.is_some() && full).map(|it| (it.key.clone(), offset + listing.limit));
        let mut contexts = Contexts::default();
        let mut task_instances = Vec::with_capacity(page.items.len());
        for record in page.items {
            let context = contexts.of(state, record.version_id).await?;
            task_instances.push((record.key.clone(), Arc::clone(&context), context.reply(record)));
        }
        let task_instances = super::with_rendered(state, task_instances).await?;
        Ok(Self {
            task_instances,
            total_entries: Some(page.total),
            total_entries_limit: cursor.is_some().then_some(COUNT_LIMIT),
            next_cursor: next.and_then(|place| cursor::token(&place)),
            previous_cursor: None,
        })
    }

    /// A list that is all there is.
    pub(super) fn whole(task_instances: Vec<TaskInstanceReply>) -> Self {
        let total_entries = Some(task_instances.len() as u64);
        Self { task_instances, total_entries, total_entries_limit: None, next_cursor: None, previous_cursor: None }
    }
}
