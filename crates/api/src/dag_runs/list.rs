//! `GET /dags/{dag_id}/dagRuns` and `POST /dags/~/dagRuns/list`; `~` lists the runs of all DAGs.

use axum::Json;
use axum::extract::{self, Path};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_auth::Visible;
use towpath_model::run::RunType;
use towpath_model::state::RunState;
use towpath_store::{After, COUNT_LIMIT, Datum, Listing, RunField, Test};

use super::RunReply;
use crate::body::Body;
use crate::filter::{self, Conditions, Lists};
use crate::query::Query;
use crate::{Error, Result, State, cursor, dags};

/// `DAGRunCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunList {
    pub(super) dag_runs: Vec<RunReply>,
    total_entries: Option<u64>,
    total_entries_limit: Option<u32>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

/// Where the next page begins.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    key: i64,
    run_after: DateTime<Utc>,
    /// Of the pages before; also how far to skip where the order has no index.
    offset: u32,
}

const ORDERS: &[(&str, RunField)] = &[
    ("id", RunField::Key),
    ("state", RunField::State),
    ("dag_id", RunField::DagId),
    ("run_id", RunField::RunId),
    ("dag_run_id", RunField::RunId),
    ("run_type", RunField::RunType),
    ("logical_date", RunField::LogicalDate),
    ("run_after", RunField::RunAfter),
    ("queued_at", RunField::QueuedAt),
    ("start_date", RunField::StartDate),
    ("end_date", RunField::EndDate),
    ("updated_at", RunField::UpdatedAt),
    ("duration", RunField::Duration),
    ("conf", RunField::Conf),
    ("note", RunField::Note),
    ("triggering_user_name", RunField::TriggeringUser),
];

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    visible: Visible,
    mut query: Query,
) -> Result<Json<RunList>> {
    let cursor = query.text("cursor");
    let mut listing = listing(&mut query)?;
    query.finish()?;
    if dag_id != "~" {
        listing.is(RunField::DagId, dags::find(&state, &dag_id).await?.dag_id);
    } else if let Some(ids) = visible.among {
        // None of them means nothing, unlike in `Listing::among`.
        listing.tests.push((RunField::DagId, Test::Among(ids.into_iter().map(Datum::Text).collect())));
    }
    Ok(Json(RunList::read(&state, listing, cursor.as_deref()).await?))
}

/// `get_list_dag_runs_batch`.
pub(crate) async fn batch(
    extract::State(state): extract::State<State>,
    Path((dag_id, list)): Path<(String, String)>,
    query: Query,
    body: Body,
) -> Result<Json<RunList>> {
    if list != "list" {
        return Err(Error::MethodNotAllowed);
    }
    query.finish()?;
    only_wildcard("dag_id", &dag_id)?;
    let lists = Lists(&[("dag_ids", "dag_ids"), ("states", "state")]);
    let times = ["run_after", "logical_date", "start_date", "end_date"];
    let mut query = filter::of_body(body, &times, &lists, &["conf_contains"])?;
    let dag_ids = query.texts("dag_ids");
    let mut listing = listing(&mut query)?;
    query.finish()?;
    listing.among(RunField::DagId, dag_ids.into_iter().map(Datum::Text).collect());
    Ok(Json(RunList::read(&state, listing, None).await?))
}

fn listing(query: &mut Query) -> Result<Listing<RunField>> {
    let window = query.window();
    let names: Vec<&'static str> = ORDERS.iter().map(|(name, _)| *name).collect();
    let order = query.order(&names)?;
    let field = |name: &str| ORDERS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
    let mut tests = Conditions(Vec::new());
    for (name, field) in [
        ("run_after", RunField::RunAfter),
        ("logical_date", RunField::LogicalDate),
        ("start_date", RunField::StartDate),
        ("end_date", RunField::EndDate),
        ("updated_at", RunField::UpdatedAt),
    ] {
        tests.times(query, name, field);
    }
    tests.seconds(query, "duration", RunField::Duration);
    tests.words::<RunState>(query, "state", RunField::State);
    tests.words::<RunType>(query, "run_type", RunField::RunType);
    tests.wholes(query, "dag_version", RunField::VersionNumber);
    tests.patterns(query, "run_id", RunField::RunId);
    tests.patterns(query, "dag_id", RunField::DagId);
    tests.patterns(query, "triggering_user_name", RunField::TriggeringUser);
    if let Some(text) = query.text("conf_contains").filter(|text| !text.is_empty()) {
        tests.0.push((RunField::Conf, crate::pattern::Pattern::part(&text.replace('|', "_")).test()));
    }
    // No run has what these ask for: DAG files have no bundle versions, and nothing is partitioned.
    let nothing = [
        "bundle_version",
        "partition_key_pattern",
        "partition_key_prefix_pattern",
        "partition_date_gte",
        "partition_date_lte",
        "consuming_asset_pattern",
    ];
    let asked: Vec<String> = nothing.iter().filter_map(|name| query.text(name)).collect();
    if !asked.is_empty() {
        tests.0.push((RunField::DagId, Test::Among(Vec::new())));
    }
    Ok(Listing {
        tests: tests.0,
        order: order.into_iter().filter_map(|(name, descends)| Some((field(name)?, descends))).collect(),
        after: None,
        limit: window.limit,
        offset: window.offset,
    })
}

impl RunList {
    pub(super) async fn read(state: &State, mut listing: Listing<RunField>, cursor: Option<&str>) -> Result<Self> {
        let by_cursor = cursor.is_some();
        let mut offset = 0;
        if let Some(cursor) = cursor {
            listing.offset = 0;
            if !cursor.is_empty() {
                let place: Place = cursor::read(cursor)?;
                offset = place.offset;
                if is_indexed(&listing) {
                    listing.after = Some(After::Run { key: place.key, run_after: place.run_after });
                } else {
                    listing.offset = place.offset;
                }
            }
        }
        let page = state.store.list_runs(&listing, by_cursor).await?;
        let full = page.items.len() == listing.limit as usize;
        let next = page.items.last().filter(|_| by_cursor && full).map(|run| Place {
            key: run.key,
            run_after: run.run_after,
            offset: offset + listing.limit,
        });
        let mut dag_runs = Vec::with_capacity(page.items.len());
        for run in page.items {
            dag_runs.push(RunReply::read(state, run).await?);
        }
        Ok(Self {
            dag_runs,
            total_entries: Some(page.total),
            total_entries_limit: by_cursor.then_some(COUNT_LIMIT),
            next_cursor: next.and_then(|place| cursor::token(&place)),
            previous_cursor: None,
        })
    }

    /// A list that is all there is.
    pub(super) fn whole(dag_runs: Vec<RunReply>) -> Self {
        let total_entries = Some(dag_runs.len() as u64);
        Self { dag_runs, total_entries, total_entries_limit: None, next_cursor: None, previous_cursor: None }
    }
}

/// Whether the database finds the row after another without reading those before.
fn is_indexed(listing: &Listing<RunField>) -> bool {
    matches!(listing.order.as_slice(), [] | [(RunField::Key | RunField::RunAfter, _)])
}

/// For operations whose path has to be `~`.
pub(crate) fn only_wildcard(name: &str, value: &str) -> Result<()> {
    if value == "~" {
        return Ok(());
    }
    let problem = crate::Problem::new("literal_error", "path", name, "Input should be '~'", value.into());
    Err(Error::Invalid(vec![problem.with(serde_json::json!({"expected": "'~'"}))]))
}
