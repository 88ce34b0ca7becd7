//! `GET .../taskInstances/{task_id}/dependencies`: what a task instance waits for, in the words of
//! `explain`. Nothing is said about one that has started.

use axum::Json;
use axum::extract::{self, Path};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_model::state::TaskState;

use crate::query::Query;
use crate::{Result, State, dag_runs, path};

/// `TaskDependencyCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DependencyList {
    dependencies: Vec<DependencyReply>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DependencyReply {
    name: String,
    reason: String,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    mut query: Query,
) -> Result<Json<DependencyList>> {
    let map_index = super::map_index(&mut query);
    query.finish()?;
    list(&state, &dag_id, &run_id, &task_id, map_index).await
}

pub(crate) async fn mapped(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
    query: Query,
) -> Result<Json<DependencyList>> {
    query.finish()?;
    list(&state, &dag_id, &run_id, &task_id, path::map_index(&map_index)?).await
}

async fn list(
    state: &State,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
    map_index: i32,
) -> Result<Json<DependencyList>> {
    let run = dag_runs::find(state, dag_id, run_id).await?;
    let instance = super::find(state, &run, task_id, map_index).await?;
    if !matches!(
        instance.state,
        TaskState::None | TaskState::Scheduled | TaskState::UpForRetry | TaskState::UpForReschedule
    ) {
        return Ok(Json(DependencyList { dependencies: Vec::new() }));
    }
    let told = state.store.explain_task(&run, task_id, map_index, state.clock.now()).await?;
    let told = serde_json::to_value(told).map_err(|error| crate::Error::Panic(error.to_string()))?;
    let reasons = told["reasons"].as_array().cloned().unwrap_or_default();
    let dependencies = reasons
        .iter()
        .map(|reason| DependencyReply {
            name: reason["kind"].as_str().unwrap_or("State").to_owned(),
            reason: reason["text"].as_str().map_or_else(|| reason.to_string(), str::to_owned),
        })
        .collect();
    Ok(Json(DependencyList { dependencies }))
}
