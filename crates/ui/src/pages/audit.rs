//! Who changed what: of one DAG, or of everything.

use askama::Template;
use axum::Extension;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use towpath_auth::Principal;
use towpath_store::{EventColumn, EventFilter, EventRecord, Role};

use super::admin::{self, Tab};
use super::dag::{Head, load};
use super::html;
use crate::frame::Frame;
use crate::view::json::pretty;
use crate::view::moment::Moment;
use crate::view::text::shown;
use crate::{Result, State, links};

/// Entries on one page.
const PAGE: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    owner: String,
    event: String,
    /// Only entries before this one.
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    /// None for all DAGs.
    head: Option<Head>,
    tabs: Vec<Tab>,
    href: String,
    owner: String,
    event: String,
    rows: Vec<Row>,
    older: Option<String>,
    is_first: bool,
    is_filtered: bool,
}

struct Row {
    at: Moment,
    owner: String,
    owner_href: String,
    event: String,
    event_href: String,
    /// What it was about: words and, if there is such, a page.
    subjects: Vec<(String, String)>,
    /// The request, as it was written down.
    details: String,
}

/// Of one DAG.
pub(crate) async fn of_dag(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Audit", now).await?;
    let href = format!("{}/audit", loaded.head.href);
    let filter = EventFilter { dag_id: Some(dag_id), ..filter(&params) };
    page(&state, loaded.frame, Some(loaded.head), href, filter, &params).await
}

/// Of everything.
pub(crate) async fn all(
    extract::State(state): extract::State<State>,
    caller: Option<Extension<Principal>>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let frame = Frame::new(&state, now, admin::crumbs("Audit"), false).await;
    // As the API: what is not about a DAG is for administrators.
    let of_dags = caller.is_some_and(|Extension(caller)| caller.role < Role::Admin);
    let filter = EventFilter { of_dags, ..filter(&params) };
    page(&state, frame, None, format!("{}/audit", links::ADMIN), filter, &params).await
}

fn filter(params: &Params) -> EventFilter {
    EventFilter {
        owner: admin::filled(&params.owner),
        event: admin::filled(&params.event),
        below: params.before,
        order: vec![(EventColumn::Id, true)],
        // One more tells whether there is another page.
        limit: PAGE + 1,
        ..EventFilter::default()
    }
}

async fn page(
    state: &State,
    frame: Frame,
    head: Option<Head>,
    href: String,
    filter: EventFilter,
    params: &Params,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let mut found = state.store.some_events(&filter).await?;
    let is_more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let at = |owner: &str, event: &str, before: &str| {
        links::query(&href, &[("owner", owner), ("event", event), ("before", before)])
    };
    let older = found.last().filter(|_| is_more).map(|last| at(&params.owner, &params.event, &last.id.to_string()));
    let of_dag = head.is_some();
    html(&Page {
        frame,
        now,
        tabs: if of_dag { Vec::new() } else { admin::tabs("Audit") },
        head,
        owner: shown(&params.owner),
        event: shown(&params.event),
        rows: found
            .iter()
            .map(|entry| {
                let owner = entry.what.owner.as_deref().unwrap_or_default();
                Row {
                    at: Moment::new(entry.at, now),
                    owner_href: at(owner, &params.event, ""),
                    owner: shown(owner),
                    event_href: at(&params.owner, &entry.what.event, ""),
                    event: shown(&entry.what.event),
                    subjects: subjects(entry, of_dag),
                    details: details(entry),
                }
            })
            .collect(),
        older,
        is_first: params.before.is_none(),
        is_filtered: !params.owner.trim().is_empty() || !params.event.trim().is_empty(),
        href,
    })
}

/// What an entry is about, from the outermost on.
fn subjects(entry: &EventRecord, of_dag: bool) -> Vec<(String, String)> {
    let what = &entry.what;
    let mut subjects = Vec::new();
    let Some(dag_id) = &what.dag_id else { return subjects };
    if !of_dag {
        subjects.push((shown(dag_id), links::dag(dag_id)));
    }
    let Some(run_id) = &what.run_id else { return subjects };
    subjects.push((shown(run_id), links::run(dag_id, run_id)));
    if let Some(task_id) = &what.task_id {
        let href = format!("{}/tasks/{}", links::run(dag_id, run_id), links::part(task_id));
        subjects.push((shown(task_id), href));
    }
    subjects
}

fn details(entry: &EventRecord) -> String {
    let extra = entry.what.extra.as_deref().unwrap_or_default();
    match serde_json::from_str::<Value>(extra) {
        Ok(value) => pretty(&value),
        Err(_) => shown(extra),
    }
}
