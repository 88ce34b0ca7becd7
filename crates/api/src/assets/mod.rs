//! Assets, their events and what waits for DAGs.

mod events;
mod get;
mod list;
mod materialize;
mod queued;
mod upstream;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_store::{AssetRecord, AssetReference, AssetRole};

use crate::openapi::routing::{Router, get, post};
use crate::problem::Problem;
use crate::query::Query;
use crate::{Error, Result, State};

/// The routes, below `/api/v2`.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/assets", get(list::get))
        .route("/assets/events", get(events::list).post(events::create))
        .route("/assets/{asset_id}", get(get::get))
        .route("/assets/{asset_id}/materialize", post(materialize::post))
        .route("/assets/{asset_id}/queuedEvents", get(queued::of_asset).delete(queued::delete_of_asset))
        .route("/dags/{dag_id}/assets/queuedEvents", get(queued::of_dag).delete(queued::delete_of_dag))
        .route("/dags/{dag_id}/assets/{asset_id}/queuedEvents", get(queued::one).delete(queued::delete_one))
        .route("/dags/{dag_id}/dagRuns/{run_id}/upstreamAssetEvents", get(upstream::get))
}

/// `AssetResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct AssetReply {
    id: i64,
    name: String,
    uri: String,
    group: String,
    extra: Map<String, Value>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    scheduled_dags: Vec<Reference>,
    producing_tasks: Vec<Reference>,
    consuming_tasks: Vec<Reference>,
    /// There are none.
    aliases: [(); 0],
    watchers: [(); 0],
    last_asset_event: Option<LastEvent>,
}

/// `DagScheduleAssetReference`, `TaskOutletAssetReference` and `TaskInletAssetReference`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct Reference {
    dag_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// `LastAssetEventResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct LastEvent {
    id: i64,
    timestamp: DateTime<Utc>,
}

impl AssetReply {
    fn new(record: AssetRecord, references: &[AssetReference]) -> Self {
        let of = |role: AssetRole| {
            references
                .iter()
                .filter(|reference| reference.asset_id == record.id && reference.role == role)
                .map(|reference| Reference {
                    dag_id: reference.dag_id.clone(),
                    task_id: reference.task_id.clone(),
                    created_at: reference.created_at,
                    updated_at: reference.created_at,
                })
                .collect()
        };
        Self {
            scheduled_dags: of(AssetRole::Schedule),
            producing_tasks: of(AssetRole::Outlet),
            consuming_tasks: of(AssetRole::Inlet),
            aliases: [],
            watchers: [],
            last_asset_event: record.last_event.map(|(id, timestamp)| LastEvent { id, timestamp }),
            id: record.id,
            name: record.asset.name,
            uri: record.asset.uri,
            group: record.asset.group,
            extra: record.asset.extra,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// Reads the id in a path.
///
/// # Errors
/// 422 for one that is no number.
fn id(text: &str) -> Result<i64> {
    text.parse().map_err(|_| {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        Error::Invalid(vec![Problem::new("int_parsing", "path", "asset_id", msg, text.into())])
    })
}

/// An asset by its id.
///
/// # Errors
/// 404.
async fn find(state: &State, asset_id: i64) -> Result<AssetRecord> {
    let record = state.store.asset(asset_id).await?;
    record.ok_or_else(|| Error::NotFound(format!("The Asset with ID: `{asset_id}` was not found")))
}

/// The part that a pattern such as `%orders%` looks for.
fn part(query: &mut Query, name: &str) -> Option<String> {
    query.text(name).map(|pattern| pattern.trim_matches('%').to_owned())
}
