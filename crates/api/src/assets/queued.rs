//! `.../queuedEvents`: what waits for DAGs, of an asset, of a DAG, or of both.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_store::QueueFilter;

use crate::query::Query;
use crate::{Error, Result, State};

/// `QueuedEventCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueuedList {
    queued_events: Vec<QueuedReply>,
    total_entries: u64,
}

/// `QueuedEventResponse`: one for each DAG and asset, however often the asset was updated.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct QueuedReply {
    dag_id: String,
    asset_id: i64,
    created_at: DateTime<Utc>,
    dag_display_name: String,
}

pub(crate) async fn of_asset(
    extract::State(state): extract::State<State>,
    Path(asset_id): Path<String>,
    query: Query,
) -> Result<Json<QueuedList>> {
    list(&state, filter(None, Some(&asset_id), query)?).await
}

pub(crate) async fn delete_of_asset(
    extract::State(state): extract::State<State>,
    Path(asset_id): Path<String>,
    query: Query,
) -> Result<StatusCode> {
    delete(&state, filter(None, Some(&asset_id), query)?).await
}

pub(crate) async fn of_dag(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<Json<QueuedList>> {
    list(&state, filter(Some(dag_id), None, query)?).await
}

pub(crate) async fn delete_of_dag(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<StatusCode> {
    delete(&state, filter(Some(dag_id), None, query)?).await
}

pub(crate) async fn one(
    extract::State(state): extract::State<State>,
    Path((dag_id, asset_id)): Path<(String, String)>,
    query: Query,
) -> Result<Json<QueuedReply>> {
    let filter = filter(Some(dag_id), Some(&asset_id), query)?;
    let found = read(&state, &filter).await?.pop();
    found.map(Json).ok_or_else(|| not_found(&filter))
}

pub(crate) async fn delete_one(
    extract::State(state): extract::State<State>,
    Path((dag_id, asset_id)): Path<(String, String)>,
    query: Query,
) -> Result<StatusCode> {
    delete(&state, filter(Some(dag_id), Some(&asset_id), query)?).await
}

fn filter(dag_id: Option<String>, asset_id: Option<&str>, mut query: Query) -> Result<QueueFilter> {
    let before = query.time("before");
    query.finish()?;
    Ok(QueueFilter { dag_id, asset_id: asset_id.map(super::id).transpose()?, before })
}

async fn read(state: &State, filter: &QueueFilter) -> Result<Vec<QueuedReply>> {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut replies = Vec::new();
    for queued in state.store.queued_asset_events(filter).await? {
        let name = match names.get(&queued.dag_id) {
            Some(name) => name.clone(),
            None => {
                let mut name = queued.dag_id.clone();
                if let Some(record) = state.store.dag(&queued.dag_id).await? {
                    let dag = state.store.dag_of_version(record.version_id).await?;
                    name = dag.spec().display_name.clone().unwrap_or(name);
                }
                names.insert(queued.dag_id.clone(), name.clone());
                name
            }
        };
        replies.push(QueuedReply {
            dag_id: queued.dag_id,
            asset_id: queued.asset_id,
            created_at: queued.first_at,
            dag_display_name: name,
        });
    }
    Ok(replies)
}

async fn list(state: &State, filter: QueueFilter) -> Result<Json<QueuedList>> {
    let queued_events = read(state, &filter).await?;
    if queued_events.is_empty() {
        return Err(not_found(&filter));
    }
    let total_entries = queued_events.len() as u64;
    Ok(Json(QueuedList { queued_events, total_entries }))
}

async fn delete(state: &State, filter: QueueFilter) -> Result<StatusCode> {
    match state.store.clear_asset_queue(&filter, state.clock.now()).await? {
        0 => Err(not_found(&filter)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// As Airflow, an empty queue is not found.
fn not_found(filter: &QueueFilter) -> Error {
    let dag = filter.dag_id.as_ref().map(|dag_id| format!("dag_id: `{dag_id}`"));
    let asset = filter.asset_id.map(|asset_id| format!("asset_id: `{asset_id}`"));
    let of: Vec<String> = dag.into_iter().chain(asset).collect();
    Error::NotFound(format!("Queue event with {} was not found", of.join(" and ")))
}
