//! `GET /dagWarnings`: DAGs whose tasks name a pool that does not exist. They are found when asked
//! for, so that a warning goes with its cause.

use std::collections::HashSet;

use axum::Json;
use axum::extract;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_store::DagFilter;

use crate::query::Query;
use crate::{Problem, Result, State};

const POOL: &str = "non-existent pool";
const KINDS: &[&str] = &["asset conflict", POOL, "runtime varying value"];

/// `DAGWarningCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WarningList {
    dag_warnings: Vec<WarningReply>,
    total_entries: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct WarningReply {
    dag_id: String,
    warning_type: &'static str,
    message: String,
    timestamp: DateTime<Utc>,
    dag_display_name: String,
}

pub(crate) async fn get(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<WarningList>> {
    let window = query.window();
    let order = query.order(&["dag_id", "warning_type", "message", "timestamp"])?;
    let dag_id = query.text("dag_id");
    let kind = query.text("warning_type");
    if let Some(kind) = kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
        query.problem(Problem::word("query", "warning_type", KINDS, kind.into()));
    }
    query.finish()?;
    let pools: HashSet<String> = state.store.pools().await?.into_iter().map(|pool| pool.name).collect();
    let all = DagFilter { limit: i32::MAX as u32, ..DagFilter::default() };
    let mut dag_warnings = Vec::new();
    for record in state.store.dags(&all).await?.items {
        if kind.as_deref().is_some_and(|kind| kind != POOL) || dag_id.as_ref().is_some_and(|id| *id != record.dag_id) {
            continue;
        }
        let dag = state.store.dag_of_version(record.version_id).await?;
        let missing: Vec<&str> = dag.pools().filter(|pool| !pools.contains(*pool)).collect();
        if !missing.is_empty() {
            dag_warnings.push(WarningReply {
                message: format!(
                    "Dag '{}' references non-existent pools: ['{}']; create them, or name another pool in {}",
                    record.dag_id,
                    missing.join("', '"),
                    record.file
                ),
                warning_type: POOL,
                timestamp: record.last_parsed_at,
                dag_display_name: dag.spec().display_name.clone().unwrap_or_else(|| record.dag_id.clone()),
                dag_id: record.dag_id,
            });
        }
    }
    if order.first().is_some_and(|(_, descends)| *descends) {
        dag_warnings.reverse();
    }
    let total_entries = dag_warnings.len() as u64;
    Ok(Json(WarningList { dag_warnings: window.of(dag_warnings), total_entries }))
}
