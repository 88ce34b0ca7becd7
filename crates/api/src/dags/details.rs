//! `GET /dags/{dag_id}/details`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{self, Path};
use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use towpath_model::asset::Condition;
use towpath_model::params::Param;
use towpath_model::state::RunState;
use towpath_store::{Datum, Listing, RunField};

use super::DagReply;
use crate::query::Query;
use crate::versions::Version;
use crate::{Result, State};

/// `DAGDetailsResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DetailsReply {
    #[serde(flatten)]
    dag: DagReply,
    catchup: bool,
    /// ISO 8601.
    dag_run_timeout: Option<String>,
    asset_expression: Option<Value>,
    doc_md: Option<String>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    is_paused_upon_creation: Option<bool>,
    params: Map<String, Value>,
    render_template_as_native_obj: bool,
    template_search_path: Option<Vec<String>>,
    timezone: String,
    last_parsed: DateTime<Utc>,
    /// Defaults are part of each task once a file has been read.
    default_args: Map<String, Value>,
    rerun_with_latest_version: Option<bool>,
    owner_links: Map<String, Value>,
    is_favorite: bool,
    active_runs_count: u64,
    concurrency: u32,
    latest_dag_version: Arc<Version>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<Json<DetailsReply>> {
    query.finish()?;
    let record = super::find(&state, &dag_id).await?;
    let broken = super::broken_files(&state).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let mut active = Listing { limit: 0, ..Listing::default() };
    active.is(RunField::DagId, &dag_id);
    active.among(RunField::State, vec![Datum::Word(RunState::Queued.into()), Datum::Word(RunState::Running.into())]);
    let active_runs_count = state.store.list_runs(&active, false).await?.total;
    let latest_dag_version = state.version(record.version_id).await?;
    let last_parsed = record.last_parsed_at;
    let spec = dag.spec();
    Ok(Json(DetailsReply {
        dag: DagReply::read(&state, record, &broken).await?,
        catchup: spec.catchup,
        dag_run_timeout: spec.dagrun_timeout.map(iso_duration),
        asset_expression: spec.asset_schedule.as_ref().map(Condition::expression),
        doc_md: spec.doc_md.clone(),
        start_date: spec.start_date,
        end_date: spec.end_date,
        is_paused_upon_creation: spec.is_paused_upon_creation,
        params: params(&spec.params, None),
        render_template_as_native_obj: spec.render_template_as_native_obj,
        template_search_path: None,
        timezone: spec.timezone.name().to_owned(),
        last_parsed,
        default_args: Map::new(),
        rerun_with_latest_version: None,
        owner_links: Map::new(),
        is_favorite: false,
        active_runs_count,
        concurrency: spec.max_active_tasks,
        latest_dag_version,
    }))
}

/// Params as Airflow writes them; `source` is `dag` or `task` where a task shows them.
pub(crate) fn params(params: &IndexMap<String, Param>, source: Option<&str>) -> Map<String, Value> {
    let one = |param: &Param| json!({"value": param.default, "schema": param.schema, "description": param.description, "source": source});
    params.iter().map(|(name, param)| (name.clone(), one(param))).collect()
}

fn iso_duration(duration: Duration) -> String {
    let micros = duration.subsec_micros();
    if micros == 0 { format!("PT{}S", duration.as_secs()) } else { format!("PT{}.{micros:06}S", duration.as_secs()) }
}
