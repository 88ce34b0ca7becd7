//! `GET .../xcomEntries`: without their values. `~` stands for any DAG, run and task.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use axum::Json;
use axum::extract::{self, Path};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_store::{Datum, Listing, XComField};

use super::XComReply;
use crate::filter::Conditions;
use crate::query::Query;
use crate::{Error, Result, State, dag_runs, dags};

/// `XComCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct XComList {
    xcom_entries: Vec<XComReply>,
    total_entries: u64,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    mut query: Query,
) -> Result<Json<XComList>> {
    let mut listing = listing(&mut query)?;
    query.finish()?;
    if dag_id != "~" && run_id != "~" {
        let run = dag_runs::find(&state, &dag_id, &run_id).await?;
        let dag = state.store.dag_of_version(run.version_id).await?;
        if task_id != "~" && dag.task(&task_id).is_none() {
            return Err(Error::NotFound(format!("Task with ID: `{task_id}` not found in dag: `{dag_id}`")));
        }
    } else if dag_id != "~" {
        dags::find(&state, &dag_id).await?;
    }
    for (field, id) in [(XComField::DagId, dag_id), (XComField::RunId, run_id), (XComField::TaskId, task_id)] {
        if id != "~" {
            listing.is(field, id);
        }
    }
    let page = state.store.list_xcoms(&listing).await?;
    let mut runs = HashMap::new();
    let mut xcom_entries = Vec::with_capacity(page.items.len());
    for (run_key, xcom) in page.items {
        let (run, version) = match runs.entry(run_key) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => {
                let Some(run) = state.store.run_by_key(run_key).await? else { continue };
                let version = state.version(run.version_id).await?;
                place.insert((run, version))
            }
        };
        xcom_entries.push(XComReply::new(xcom, run, version));
    }
    Ok(Json(XComList { xcom_entries, total_entries: page.total }))
}

fn listing(query: &mut Query) -> Result<Listing<XComField>> {
    const ORDERS: &[(&str, XComField)] = &[
        ("key", XComField::Key),
        ("dag_id", XComField::DagId),
        ("run_id", XComField::RunId),
        ("task_id", XComField::TaskId),
        ("map_index", XComField::MapIndex),
        ("run_after", XComField::RunAfter),
    ];
    let window = query.window();
    let names: Vec<&'static str> = ORDERS.iter().map(|(name, _)| *name).collect();
    let order = query.order(&names)?;
    let order = order.into_iter().filter_map(|(name, descends)| {
        ORDERS.iter().find(|(known, _)| *known == name).map(|(_, field)| (*field, descends))
    });
    let order = order.collect();
    let mut tests = Conditions(Vec::new());
    tests.times(query, "logical_date", XComField::LogicalDate);
    tests.times(query, "run_after", XComField::RunAfter);
    tests.wholes(query, "map_index", XComField::MapIndex);
    tests.wholes(query, "map_index_filter", XComField::MapIndex);
    for (name, field) in [
        ("xcom_key", XComField::Key),
        ("dag_display_name", XComField::DagId),
        ("dag_id", XComField::DagId),
        ("run_id", XComField::RunId),
        ("task_id", XComField::TaskId),
    ] {
        tests.patterns(query, name, field);
    }
    let mut listing = Listing { tests: tests.0, order, after: None, limit: window.limit, offset: window.offset };
    listing.among(XComField::Key, query.text("xcom_key").into_iter().map(Datum::Text).collect());
    Ok(listing)
}
