//! `GET /dagStats`: how many runs of DAGs are in each state.

use std::collections::HashMap;

use axum::Json;
use axum::extract;
use schemars::JsonSchema;
use serde::Serialize;
use strum::IntoEnumIterator;
use towpath_model::state::RunState;
use towpath_store::DagFilter;

use crate::query::Query;
use crate::{Result, State};

/// `DagStatsCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StatsList {
    dags: Vec<StatsReply>,
    total_entries: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StatsReply {
    dag_id: String,
    dag_display_name: String,
    stats: Vec<StateReply>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StateReply {
    state: RunState,
    count: u64,
}

pub(crate) async fn get(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<StatsList>> {
    let wanted = query.texts("dag_ids");
    query.finish()?;
    let all = DagFilter { limit: i32::MAX as u32, ..DagFilter::default() };
    let mut records = state.store.dags(&all).await?.items;
    records.retain(|record| wanted.is_empty() || wanted.contains(&record.dag_id));
    let ids: Vec<String> = records.iter().map(|record| record.dag_id.clone()).collect();
    let mut counts: HashMap<(String, String), u64> = HashMap::new();
    for (dag_id, run_state, count) in state.store.run_states(&ids).await? {
        counts.insert((dag_id, run_state), count);
    }
    let mut dags = Vec::with_capacity(records.len());
    for record in records {
        let count = |run_state: RunState| counts.get(&(record.dag_id.clone(), run_state.to_string()));
        dags.push(StatsReply {
            stats: RunState::iter()
                .map(|run_state| StateReply { state: run_state, count: count(run_state).copied().unwrap_or(0) })
                .collect(),
            dag_display_name: state.version(record.version_id).await?.dag_display_name.clone(),
            dag_id: record.dag_id,
        });
    }
    let total_entries = dags.len() as u64;
    Ok(Json(StatsList { dags, total_entries }))
}
