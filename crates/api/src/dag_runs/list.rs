//! `GET /dags/{dag_id}/dagRuns`; `~` lists the runs of all DAGs.

use axum::Json;
use axum::extract::{self, Path};
use chrono::TimeDelta;
use serde::Serialize;
use strum::IntoEnumIterator;
use towpath_auth::Visible;
use towpath_model::run::RunType;
use towpath_model::state::RunState;
use towpath_store::RunFilter;

use super::RunReply;
use crate::query::Query;
use crate::{Error, Result, State, dags};

/// `DAGRunCollectionResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct RunList {
    dag_runs: Vec<RunReply>,
    total_entries: Option<u64>,
    total_entries_limit: Option<u64>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    visible: Visible,
    mut query: Query,
) -> Result<Json<RunList>> {
    let filter = filter(&mut query)?;
    query.finish()?;
    let filter = if dag_id == "~" {
        RunFilter { among: visible.among, ..filter }
    } else {
        RunFilter { dag_id: Some(dags::find(&state, &dag_id).await?.dag_id), ..filter }
    };
    let page = state.store.runs(&filter).await?;
    let mut dag_runs = Vec::with_capacity(page.items.len());
    for run in page.items {
        dag_runs.push(RunReply::read(&state, run).await?);
    }
    Ok(Json(RunList {
        dag_runs,
        total_entries: Some(page.total),
        total_entries_limit: None,
        next_cursor: None,
        previous_cursor: None,
    }))
}

fn filter(query: &mut Query) -> Result<RunFilter> {
    let window = query.window();
    let order = query.order(&["run_after"])?;
    let states: Vec<&str> = RunState::iter().map(Into::into).collect();
    let types: Vec<&str> = RunType::iter().map(Into::into).collect();
    let run_types = query.words("run_type", &types);
    if run_types.len() > 1 {
        return Err(Error::BadRequest("this server filters by one `run_type` at a time".to_owned()));
    }
    // Times are whole microseconds, so that an open bound is the next closed one.
    let tick = TimeDelta::microseconds(1);
    let after = query.time("logical_date_gt").map(|time| time + tick);
    let before = query.time("logical_date_lt").map(|time| time - tick);
    let since = query.time("logical_date_gte").max(after);
    let until = [query.time("logical_date_lte"), before].into_iter().flatten().min();
    Ok(RunFilter {
        dag_id: None,
        states: query.words("state", &states),
        run_type: run_types.first().copied(),
        logical_date_gte: since,
        logical_date_lte: until,
        newest_first: order.first().is_some_and(|(_, descends)| *descends),
        among: None,
        limit: window.limit,
        offset: window.offset,
    })
}
