//! The first rows of a data set, and those that were rejected.

use axum::Json;
use axum::extract;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_model::etl::look::{Bounds, Column, Counted, Rows, rules};

use super::{Ids, find, read};
use crate::query::Query;
use crate::{Result, State};

/// Rows of a reply where nothing is said.
const ROWS: i64 = 50;
/// Most rows of a reply.
const MOST_ROWS: i64 = 1_000;
/// Most bytes of their values together.
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// Characters of a value.
const CELL_CHARS: usize = 4_000;
const COLUMNS: usize = 500;

/// The first rows.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Preview {
    columns: Vec<Column>,
    /// Each an object by column.
    rows: Vec<Map<String, Value>>,
    /// How many rows the data set has.
    total_rows: u64,
    /// Columns that were left out, beyond the first 500.
    columns_left: usize,
    /// Values that were cut; each ends with `…`.
    values_cut: u64,
}

/// What `validate` has put aside.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Rejects {
    /// How many rows broke each rule, the most first; a row may break several.
    rules: Vec<Counted>,
    #[serde(flatten)]
    preview: Preview,
}

impl From<Rows> for Preview {
    fn from(found: Rows) -> Self {
        let rows = found.objects();
        let Rows { columns, total_rows, columns_left, values_cut, .. } = found;
        Self { columns, rows, total_rows, columns_left, values_cut }
    }
}

/// `limit` of the query.
fn bounds(query: &mut Query) -> Bounds {
    let rows = query.whole("limit", 1).unwrap_or(ROWS).clamp(1, MOST_ROWS);
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    Bounds { rows, bytes: MOST_BYTES, cell_chars: CELL_CHARS, columns: COLUMNS }
}

pub(crate) async fn preview(
    extract::State(state): extract::State<State>,
    ids: Ids,
    mut query: Query,
) -> Result<Json<Preview>> {
    let bounds = bounds(&mut query);
    let found = find(&state, ids, query).await?;
    let (rows, _) = read(&state, found, move |reader, owner, set| reader.head(owner, set, &bounds)).await?;
    Ok(Json(rows.into()))
}

pub(crate) async fn rejects(
    extract::State(state): extract::State<State>,
    ids: Ids,
    mut query: Query,
) -> Result<Json<Rejects>> {
    let bounds = bounds(&mut query);
    let found = find(&state, ids, query).await?;
    let (rows, manifest) = read(&state, found, move |reader, owner, set| reader.rejects(owner, set, &bounds)).await?;
    Ok(Json(Rejects { rules: rules(&manifest), preview: rows.into() }))
}
