//! `GET /assets/events`, and `POST` to tell of an update.

use axum::Json;
use axum::extract;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_model::state::RunState;
use towpath_store::{AssetEventFilter, AssetEventRecord, RunRecord};

use crate::body::Body;
use crate::problem::Problem;
use crate::query::Query;
use crate::{Result, State};

/// `AssetEventCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventList {
    pub(super) asset_events: Vec<EventReply>,
    pub(super) total_entries: u64,
}

/// `AssetEventResponse`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct EventReply {
    id: i64,
    asset_id: i64,
    uri: String,
    name: String,
    group: String,
    extra: Map<String, Value>,
    source_task_id: Option<String>,
    source_dag_id: Option<String>,
    source_run_id: Option<String>,
    source_map_index: i32,
    created_dagruns: Vec<RunReference>,
    timestamp: DateTime<Utc>,
    partition_key: Option<String>,
}

/// `DagRunAssetReference`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct RunReference {
    run_id: String,
    dag_id: String,
    logical_date: Option<DateTime<Utc>>,
    /// The contract knows no run that has not started; such a one has the time at which it was queued.
    start_date: DateTime<Utc>,
    end_date: Option<DateTime<Utc>>,
    state: RunState,
    data_interval_start: Option<DateTime<Utc>>,
    data_interval_end: Option<DateTime<Utc>>,
    partition_key: Option<String>,
    /// It is the last event that the run was started for.
    triggering: bool,
}

impl EventReply {
    fn new(event: AssetEventRecord, runs: &[(i64, RunRecord, bool)]) -> Self {
        let (task_id, dag_id, run_id, map_index) = match event.source {
            Some(source) => (Some(source.task_id), Some(source.dag_id), Some(source.run_id), source.map_index),
            None => (None, None, None, -1),
        };
        let runs = runs.iter().filter(|(event_id, ..)| *event_id == event.id);
        Self {
            id: event.id,
            asset_id: event.asset_id,
            uri: event.uri,
            name: event.name,
            group: event.group,
            extra: event.extra,
            source_task_id: task_id,
            source_dag_id: dag_id,
            source_run_id: run_id,
            source_map_index: map_index,
            created_dagruns: runs.map(|(_, run, is_last)| RunReference::new(run, *is_last)).collect(),
            timestamp: event.at,
            partition_key: None,
        }
    }
}

impl RunReference {
    fn new(run: &RunRecord, triggering: bool) -> Self {
        Self {
            run_id: run.run_id.clone(),
            dag_id: run.dag_id.clone(),
            logical_date: run.logical_date,
            start_date: run.start_date.unwrap_or(run.queued_at),
            end_date: run.end_date,
            state: run.state,
            data_interval_start: run.data_interval.map(|interval| interval.start),
            data_interval_end: run.data_interval.map(|interval| interval.end),
            partition_key: None,
            triggering,
        }
    }
}

/// Events with the runs that were started for them.
pub(super) async fn replies(state: &State, events: Vec<AssetEventRecord>) -> Result<Vec<EventReply>> {
    let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
    let runs = state.store.runs_of_asset_events(&ids).await?;
    Ok(events.into_iter().map(|event| EventReply::new(event, &runs)).collect())
}

pub(crate) async fn list(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<EventList>> {
    let window = query.window();
    let order = query.order(&["timestamp", "id"])?;
    let map_index = query.whole("source_map_index", -1);
    let filter = AssetEventFilter {
        asset_id: query.whole("asset_id", i64::MIN),
        source_dag_id: query.text("source_dag_id"),
        source_run_id: query.text("source_run_id"),
        source_task_id: query.text("source_task_id"),
        source_map_index: map_index.map(|index| i32::try_from(index).unwrap_or(i32::MAX)),
        name_contains: super::part(&mut query, "name_pattern"),
        at_gte: query.time("timestamp_gte"),
        at_gt: query.time("timestamp_gt"),
        at_lte: query.time("timestamp_lte"),
        at_lt: query.time("timestamp_lt"),
        newest_first: order.first().is_some_and(|(_, descends)| *descends),
        limit: window.limit,
        offset: window.offset,
    };
    query.finish()?;
    let page = state.store.asset_events(&filter).await?;
    let asset_events = replies(&state, page.items).await?;
    Ok(Json(EventList { asset_events, total_entries: page.total }))
}

pub(crate) async fn create(
    extract::State(state): extract::State<State>,
    query: Query,
    mut body: Body,
) -> Result<Json<EventReply>> {
    query.finish()?;
    body.required("asset_id");
    let asset_id = body.whole("asset_id", i64::MIN);
    let mut extra = body.object("extra").unwrap_or_default();
    // As Airflow marks them.
    extra.insert("from_rest_api".to_owned(), true.into());
    let partition = body.text("partition_key");
    let access = body.object("access_control");
    for (name, is_given) in [("partition_key", partition.is_some()), ("access_control", access.is_some())] {
        if is_given {
            let msg = "this server has neither partitions nor rights of single events; leave it out";
            body.problem(Problem::new("value_error", "body", name, msg, Value::Null));
        }
    }
    body.finish()?;
    let asset = super::find(&state, asset_id.unwrap_or_default()).await?;
    let event = state.store.create_asset_event(asset.id, &extra, state.clock.now()).await?;
    Ok(Json(EventReply::new(event, &[])))
}
