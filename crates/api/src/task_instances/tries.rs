//! `GET .../taskInstances/{task_id}/tries`, one of them, and the same of a mapped instance.

use axum::Json;
use axum::extract::{self, Path};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;
use towpath_model::state::TaskState;
use towpath_store::{TaskInstanceRecord, TryRecord};

use super::{Context, wire_state};
use crate::dag_runs::{self, seconds};
use crate::query::Query;
use crate::versions::Version;
use crate::{Error, Result, State, path};

/// `TaskInstanceHistoryCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TryList {
    task_instances: Vec<TryReply>,
    total_entries: usize,
}

/// `TaskInstanceHistoryResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TryReply {
    task_id: String,
    dag_id: String,
    dag_run_id: String,
    map_index: i32,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    duration: Option<f64>,
    state: Option<TaskState>,
    try_number: u32,
    max_tries: u32,
    task_display_name: String,
    dag_display_name: String,
    hostname: Option<String>,
    unixname: Option<String>,
    pool: String,
    pool_slots: u32,
    queue: Option<String>,
    priority_weight: Option<i64>,
    operator: Option<String>,
    operator_name: Option<String>,
    queued_when: Option<DateTime<Utc>>,
    scheduled_when: Option<DateTime<Utc>>,
    pid: Option<u32>,
    executor: Option<String>,
    executor_config: &'static str,
    dag_version: Option<Arc<Version>>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    mut query: Query,
) -> Result<Json<TryList>> {
    let map_index = super::map_index(&mut query);
    query.finish()?;
    Ok(Json(list(&state, [&dag_id, &run_id, &task_id], map_index).await?))
}

pub(crate) async fn mapped(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
    query: Query,
) -> Result<Json<TryList>> {
    query.finish()?;
    Ok(Json(list(&state, [&dag_id, &run_id, &task_id], path::map_index(&map_index)?).await?))
}

/// One try.
pub(crate) async fn one(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, number)): Path<(String, String, String, String)>,
    mut query: Query,
) -> Result<Json<TryReply>> {
    let map_index = super::map_index(&mut query);
    query.finish()?;
    find(&state, [&dag_id, &run_id, &task_id], map_index, &number).await
}

pub(crate) async fn mapped_one(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, map_index, number)): Path<(String, String, String, String, String)>,
    query: Query,
) -> Result<Json<TryReply>> {
    query.finish()?;
    find(&state, [&dag_id, &run_id, &task_id], path::map_index(&map_index)?, &number).await
}

async fn find(state: &State, ids: [&str; 3], map_index: i32, number: &str) -> Result<Json<TryReply>> {
    let number = path::whole("task_try_number", number)?;
    let found =
        list(state, ids, map_index).await?.task_instances.into_iter().find(|it| i64::from(it.try_number) == number);
    let [dag_id, run_id, task_id] = ids;
    found.map(Json).ok_or_else(|| {
        Error::NotFound(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}`, try_number: `{number}` \
             and map_index: `{map_index}` was not found"
        ))
    })
}

async fn list(state: &State, [dag_id, run_id, task_id]: [&str; 3], map_index: i32) -> Result<TryList> {
    let run = dag_runs::find(state, dag_id, run_id).await?;
    let instance = super::find(state, &run, task_id, map_index).await?;
    let context = Context::of(state, instance.version_id).await?;
    let tries = state.store.tries(&instance.key).await?;
    let task_instances: Vec<TryReply> = tries.into_iter().map(|attempt| reply(attempt, &instance, &context)).collect();
    Ok(TryList { total_entries: task_instances.len(), task_instances })
}

fn reply(attempt: TryRecord, instance: &TaskInstanceRecord, context: &Context) -> TryReply {
    let operator = context.operator(&attempt.key.task_id);
    TryReply {
        task_display_name: attempt.key.task_id.clone(),
        task_id: attempt.key.task_id,
        dag_id: instance.dag_id.clone(),
        dag_run_id: instance.run_id.clone(),
        map_index: attempt.key.map_index,
        start_date: attempt.start_date,
        end_date: attempt.end_date,
        duration: seconds(attempt.start_date, attempt.end_date),
        state: wire_state(attempt.state),
        try_number: attempt.try_number,
        max_tries: instance.max_tries,
        dag_display_name: context.version.dag_display_name.clone(),
        hostname: attempt.hostname,
        unixname: None,
        pool: instance.pool.clone(),
        pool_slots: instance.pool_slots,
        queue: Some(instance.queue.clone()),
        priority_weight: Some(instance.priority_weight),
        operator_name: operator.clone(),
        operator,
        queued_when: attempt.queued_at,
        scheduled_when: None,
        pid: attempt.pid,
        executor: None,
        executor_config: "{}",
        dag_version: Some(context.version.clone()),
    }
}
