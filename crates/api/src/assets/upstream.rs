//! `GET /dags/{dag_id}/dagRuns/{run_id}/upstreamAssetEvents`: what a run was started for.

use axum::Json;
use axum::extract::{self, Path};

use super::events::{EventList, replies};
use crate::query::Query;
use crate::{Result, State};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Result<Json<EventList>> {
    query.finish()?;
    let run = crate::dag_runs::find(&state, &dag_id, &run_id).await?;
    let events = state.store.upstream_asset_events(run.key).await?;
    let asset_events = replies(&state, events).await?;
    Ok(Json(EventList { total_entries: asset_events.len() as u64, asset_events }))
}
