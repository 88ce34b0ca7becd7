//! What a data set is: its columns, what their values are like, and how it was made.

use axum::Json;
use axum::extract::{self, Path};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_model::etl::MeasuredPlan;
use towpath_model::etl::look::{self, Column, ProfiledColumn};

use super::{Ids, find, read, told};
use crate::query::Query;
use crate::{Result, State, dag_runs, task_instances};

/// The columns of a data set, with its size.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Schema {
    /// The folder that holds it.
    location: String,
    rows: u64,
    bytes: u64,
    files: u64,
    columns: Vec<Column>,
}

/// What the values of all rows are like.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Profile {
    rows: u64,
    columns: Vec<ProfiledColumn>,
}

pub(crate) async fn schema(
    extract::State(state): extract::State<State>,
    ids: Ids,
    query: Query,
) -> Result<Json<Schema>> {
    let found = find(&state, ids, query).await?;
    let (columns, set) = read(&state, found, |reader, owner, set| reader.columns(owner, set)).await?;
    Ok(Json(Schema { location: set.location, rows: set.rows, bytes: set.bytes, files: set.files, columns }))
}

pub(crate) async fn profile(
    extract::State(state): extract::State<State>,
    ids: Ids,
    query: Query,
) -> Result<Json<Profile>> {
    let manifest = find(&state, ids, query).await?.manifest;
    Ok(Json(Profile { rows: manifest.rows, columns: look::profile(&manifest) }))
}

pub(crate) async fn plan(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Ids,
    mut query: Query,
) -> Result<Json<MeasuredPlan>> {
    let map_index = task_instances::map_index(&mut query);
    query.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    task_instances::find(&state, &run, &task_id, map_index).await?;
    let (_, plan) = state.store.measured_plan(&run, &task_id, Some(map_index)).await?.map_err(told)?;
    Ok(Json(plan))
}
