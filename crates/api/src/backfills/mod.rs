//! Backfills.

use axum::Json;
use axum::extract::{self, Path};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use towpath_store::{BackfillAction, BackfillRecord, NewBackfill, Reprocess};

use crate::body::Body;
use crate::query::Query;
use crate::{Error, Problem, Result, State, dags, path};

/// `BackfillResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackfillReply {
    id: i64,
    dag_id: String,
    from_date: DateTime<Utc>,
    to_date: DateTime<Utc>,
    dag_run_conf: Option<Map<String, Value>>,
    is_paused: bool,
    reprocess_behavior: Reprocess,
    max_active_runs: u32,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
    dag_display_name: String,
}

/// `BackfillCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackfillList {
    backfills: Vec<BackfillReply>,
    total_entries: u64,
}

const REPROCESS: &[&str] = &["failed", "completed", "none"];

pub(crate) async fn list(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<BackfillList>> {
    let window = query.window();
    let order = query.order(&["id", "created_at", "from_date", "to_date"])?;
    let dag_id = query.text("dag_id");
    query.requires("dag_id");
    if dag_id.is_none() {
        query.problem(Problem::missing("query", "dag_id", Value::Null));
    }
    query.finish()?;
    let mut records = state.store.backfills(dag_id.as_deref()).await?;
    records.sort_by_key(|record| record.id);
    if let Some((name, descends)) = order.first() {
        match *name {
            "from_date" => records.sort_by_key(|record| record.backfill.from),
            "to_date" => records.sort_by_key(|record| record.backfill.to),
            _ => {}
        }
        if *descends {
            records.reverse();
        }
    }
    let total_entries = records.len() as u64;
    let mut backfills = Vec::new();
    for record in window.of(records) {
        backfills.push(reply(&state, record).await?);
    }
    Ok(Json(BackfillList { backfills, total_entries }))
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<BackfillReply>> {
    query.finish()?;
    let record = find(&state, &id).await?;
    Ok(Json(reply(&state, record).await?))
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    query: Query,
    body: Body,
) -> Result<Json<BackfillReply>> {
    query.finish()?;
    let new = read(body)?;
    dags::find(&state, &new.dag_id).await.map_err(|_| no_dag(&new.dag_id))?;
    let open = |it: &BackfillRecord| it.completed_at.is_none() && !it.is_cancelled;
    if state.store.backfills(Some(&new.dag_id)).await?.iter().any(open) {
        return Err(Error::Conflict(format!(
            "There can be only one running backfill per Dag, and another of `{}` is not over",
            new.dag_id
        )));
    }
    let (id, _) = create(&state, &new, false).await?;
    let id = id.expect("a backfill that was made has an id");
    let record = state.store.backfill(id).await?.ok_or_else(|| missing(id))?;
    Ok(Json(reply(&state, record).await?))
}

pub(crate) async fn dry_run(
    extract::State(state): extract::State<State>,
    query: Query,
    body: Body,
) -> Result<Json<Value>> {
    query.finish()?;
    let new = read(body)?;
    dags::find(&state, &new.dag_id).await.map_err(|_| no_dag(&new.dag_id))?;
    let (_, dates) = create(&state, &new, true).await?;
    let made: Vec<Value> = dates
        .iter()
        .filter(|date| matches!(date.action, BackfillAction::Create | BackfillAction::Reprocess))
        .map(|date| json!({"logical_date": date.logical_date, "partition_key": null, "partition_date": null}))
        .collect();
    Ok(Json(json!({"backfills": made, "total_entries": made.len()})))
}

pub(crate) async fn pause(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<BackfillReply>> {
    query.finish()?;
    set_paused(&state, &id, true).await
}

pub(crate) async fn unpause(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<BackfillReply>> {
    query.finish()?;
    set_paused(&state, &id, false).await
}

pub(crate) async fn cancel(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<BackfillReply>> {
    query.finish()?;
    let record = find_open(&state, &id).await?;
    let now = state.clock.now();
    // As in Airflow, what is cancelled is paused as well.
    state.store.pause_backfill(record.id, true).await?;
    state.store.cancel_backfill(record.id, now).await?;
    let record = find(&state, &id).await?;
    Ok(Json(reply(&state, record).await?))
}

async fn set_paused(state: &State, id: &str, paused: bool) -> Result<Json<BackfillReply>> {
    let record = find_open(state, id).await?;
    state.store.pause_backfill(record.id, paused).await?;
    let record = find(state, id).await?;
    Ok(Json(reply(state, record).await?))
}

/// A span without a date in it, or a DAG without a schedule, is a conflict with the DAG.
async fn create(
    state: &State,
    new: &NewBackfill,
    dry_run: bool,
) -> Result<(Option<i64>, Vec<towpath_store::BackfillDate>)> {
    match state.store.create_backfill(new, dry_run, state.clock.now()).await {
        Err(towpath_store::Error::Invalid(reason)) => Err(Error::Conflict(reason)),
        result => Ok(result?),
    }
}

fn read(mut body: Body) -> Result<NewBackfill> {
    let dag_id = body.required_text("dag_id");
    let bounds = ["from_date", "to_date"].map(|name| {
        body.required(name);
        if body.as_it_came().get(name).is_some_and(Value::is_null) {
            body.problem(Problem::new("datetime_type", "body", name, "Input should be a valid datetime", Value::Null));
        }
        body.time(name)
    });
    body.flag("run_on_latest_version");
    let max_active_runs = body.whole("max_active_runs", 1).unwrap_or(10);
    let new = NewBackfill {
        dag_id: dag_id.unwrap_or_default(),
        from: bounds[0].unwrap_or_default(),
        to: bounds[1].unwrap_or_default(),
        reprocess: body.word("reprocess_behavior", REPROCESS).unwrap_or_default(),
        max_active_runs: u32::try_from(max_active_runs).unwrap_or(u32::MAX >> 1).min(u32::MAX >> 1),
        backwards: body.flag_or("run_backwards", false),
        conf: body.object("dag_run_conf").unwrap_or_default(),
        triggering_user: None,
    };
    body.finish()?;
    Ok(new)
}

async fn find(state: &State, id: &str) -> Result<BackfillRecord> {
    let id = path::whole("backfill_id", id)?;
    state.store.backfill(id).await?.ok_or_else(|| missing(id))
}

async fn find_open(state: &State, id: &str) -> Result<BackfillRecord> {
    let record = find(state, id).await?;
    if record.completed_at.is_some() || record.is_cancelled {
        return Err(Error::Conflict("Backfill is already completed.".to_owned()));
    }
    Ok(record)
}

fn missing(id: i64) -> Error {
    Error::NotFound(format!("Could not find backfill with id {id}"))
}

fn no_dag(dag_id: &str) -> Error {
    Error::NotFound(format!("Could not find dag {dag_id}"))
}

async fn reply(state: &State, record: BackfillRecord) -> Result<BackfillReply> {
    let BackfillRecord { id, backfill, is_paused, is_cancelled, created_at, completed_at, .. } = record;
    // The end of a cancelled one whose runs have all been given up is not kept; it is over now.
    let completed_at = completed_at.or_else(|| (is_cancelled && record.running == 0).then_some(created_at));
    let name = match state.store.dag(&backfill.dag_id).await? {
        Some(dag) => state.version(dag.version_id).await?.dag_display_name.clone(),
        None => backfill.dag_id.clone(),
    };
    Ok(BackfillReply {
        id,
        from_date: backfill.from,
        to_date: backfill.to,
        dag_run_conf: Some(backfill.conf).filter(|conf| !conf.is_empty()),
        is_paused,
        reprocess_behavior: backfill.reprocess,
        max_active_runs: backfill.max_active_runs,
        created_at,
        completed_at,
        updated_at: completed_at.unwrap_or(created_at),
        dag_display_name: name,
        dag_id: backfill.dag_id,
    })
}
