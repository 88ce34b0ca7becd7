//! One asset: who updates and reads it, its events, what waits for it; to be updated by hand.

use askama::Template;
use axum::Form;
use axum::extract::{self, Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use towpath_model::run::TriggeredBy;
use towpath_store::{
    AssetEventFilter, AssetEventRecord, AssetRecord, AssetRole, NewRun, QueueFilter, RunRecord, TaskKey,
};

use super::super::html;
use crate::frame::{Crumb, Frame};
use crate::view::json::pretty;
use crate::view::moment::Moment;
use crate::view::state::Badge;
use crate::view::text::{plural, shown};
use crate::{Error, Result, State, links};

/// Events on one page.
const PAGE: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    page: Option<u32>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    /// A JSON object.
    extra: String,
}

/// A DAG, its page, and the task if it is one.
type User = (String, String, String);

#[derive(Template)]
#[template(path = "asset.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    name: String,
    href: String,
    facts: Vec<(&'static str, String)>,
    extra: String,
    /// Who updates it, who reads it and who runs for it.
    users: Vec<(&'static str, Vec<User>)>,
    /// DAG, page, number of events and the first.
    queued: Vec<(String, String, String, Moment)>,
    events: Vec<Event>,
    total: String,
    newer: Option<String>,
    older: Option<String>,
    fields: Fields,
    mistake: Option<String>,
    is_made: bool,
}

struct Event {
    at: Moment,
    /// The task that updated it, and its page.
    source: Option<(String, String)>,
    extra: String,
    /// The runs that were started for it.
    runs: Vec<(Badge, String, String)>,
}

async fn find(state: &State, id: i64) -> Result<AssetRecord> {
    state.store.asset(id).await?.ok_or_else(|| Error::no_such("asset", &id.to_string()))
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(id): Path<i64>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    page(&state, id, params.page.unwrap_or(1), Fields::default(), None).await
}

async fn page(state: &State, id: i64, number: u32, fields: Fields, mistake: Option<String>) -> Result<Html<String>> {
    let now = state.clock.now();
    let record = find(state, id).await?;
    let number = number.clamp(1, 100_000);
    let filter = AssetEventFilter {
        asset_id: Some(id),
        newest_first: true,
        limit: PAGE,
        offset: (number - 1) * PAGE,
        ..AssetEventFilter::default()
    };
    let found = state.store.asset_events(&filter).await?;
    let ids: Vec<i64> = found.items.iter().map(|event| event.id).collect();
    let runs = state.store.runs_of_asset_events(&ids).await?;
    let references = state.store.asset_references(&[id]).await?;
    let queued = state.store.queued_asset_events(&QueueFilter { asset_id: Some(id), ..QueueFilter::default() }).await?;
    let crumbs = vec![Crumb::link("Assets", "/assets".to_owned()), Crumb::here(&record.asset.name)];
    let users = [("Updated by", AssetRole::Outlet), ("Read by", AssetRole::Inlet), ("Runs of", AssetRole::Schedule)];
    let href = super::href(id);
    let at = |page: u32| if page > 1 { format!("{href}?page={page}") } else { href.clone() };
    let is_made = references.iter().any(|reference| reference.role == AssetRole::Outlet);
    html(&Page {
        frame: Frame::new(state, now, crumbs, false).await,
        now,
        name: shown(&record.asset.name),
        facts: facts(&record),
        extra: if record.asset.extra.is_empty() { String::new() } else { pretty(&record.asset.extra.clone().into()) },
        users: users
            .into_iter()
            .map(|(label, role)| {
                let of_role = references.iter().filter(|reference| reference.role == role);
                let line = |reference: &towpath_store::AssetReference| {
                    let task = reference.task_id.as_deref().map(shown).unwrap_or_default();
                    (shown(&reference.dag_id), links::dag(&reference.dag_id), task)
                };
                (label, of_role.map(line).collect::<Vec<_>>())
            })
            .filter(|(_, lines)| !lines.is_empty())
            .collect(),
        queued: queued
            .iter()
            .map(|queued| {
                let count = plural(queued.count, "event", "events");
                (shown(&queued.dag_id), links::dag(&queued.dag_id), count, Moment::new(queued.first_at, now))
            })
            .collect(),
        events: found.items.iter().map(|event| row(event, &runs, now)).collect(),
        total: plural(found.total, "event", "events"),
        newer: (number > 1).then(|| at(number - 1)),
        older: (u64::from(number) * u64::from(PAGE) < found.total).then(|| at(number + 1)),
        href,
        fields,
        mistake,
        is_made,
    })
}

fn facts(record: &AssetRecord) -> Vec<(&'static str, String)> {
    let mut facts = vec![("URI", shown(&record.asset.uri)), ("Group", shown(&record.asset.group))];
    if !record.is_active {
        facts.push(("State", "no DAG names it any more".to_owned()));
    }
    facts
}

fn row(event: &AssetEventRecord, runs: &[(i64, RunRecord, bool)], now: DateTime<Utc>) -> Event {
    let source = event.source.as_ref().map(|source| {
        let key = TaskKey { run_key: 0, task_id: source.task_id.clone(), map_index: source.map_index };
        let words = format!("{} of {}", shown(&source.task_id), shown(&source.dag_id));
        (words, links::task(&source.dag_id, &source.run_id, &key))
    });
    Event {
        at: Moment::new(event.at, now),
        source,
        extra: if event.extra.is_empty() {
            String::new()
        } else {
            shown(&Value::from(event.extra.clone()).to_string())
        },
        runs: runs
            .iter()
            .filter(|(event_id, ..)| *event_id == event.id)
            .map(|(_, run, _)| (run.state.into(), shown(&run.dag_id), links::run(&run.dag_id, &run.run_id)))
            .collect(),
    }
}

/// Tells of an update by hand.
pub(crate) async fn update(
    extract::State(state): extract::State<State>,
    Path(id): Path<i64>,
    Form(fields): Form<Fields>,
) -> Result<Response> {
    let record = find(&state, id).await?;
    let given = if fields.extra.trim().is_empty() { "{}" } else { fields.extra.trim() };
    let mut extra: Map<String, Value> = match serde_json::from_str(given) {
        Ok(extra) => extra,
        Err(error) => {
            let mistake = format!("extra: a JSON object is needed, such as {{\"rows\": 5}}: {error}");
            let page = page(&state, id, 1, fields, Some(shown(&mistake))).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    extra.insert("from_ui".to_owned(), true.into());
    state.store.create_asset_event(record.id, &extra, state.clock.now()).await?;
    Ok(Redirect::to(&super::href(id)).into_response())
}

/// Runs the DAG that updates it.
pub(crate) async fn materialize(extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Redirect> {
    let record = find(&state, id).await?;
    let dag_id = state.store.producer_of(&record).await?;
    let new = NewRun::manual(&dag_id, state.clock.now(), TriggeredBy::Ui);
    let run = state.store.create_run(new, state.clock.now()).await?.run;
    Ok(Redirect::to(&links::run(&run.dag_id, &run.run_id)))
}

/// Forgets the events that wait.
pub(crate) async fn clear(extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Redirect> {
    let record = find(&state, id).await?;
    let filter = QueueFilter { asset_id: Some(record.id), ..QueueFilter::default() };
    state.store.clear_asset_queue(&filter, state.clock.now()).await?;
    Ok(Redirect::to(&super::href(id)))
}
