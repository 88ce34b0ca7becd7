//! `GET .../taskInstances/{task_id}/links`: operators have no links of their own, so there are none.

use axum::Json;
use axum::extract::{self, Path};
use serde_json::{Value, json};

use crate::query::Query;
use crate::{Result, State, dag_runs};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    mut query: Query,
) -> Result<Json<Value>> {
    let map_index = super::map_index(&mut query);
    query.whole("try_number", i64::MIN);
    query.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    super::find(&state, &run, &task_id, map_index).await?;
    Ok(Json(json!({"extra_links": {}, "total_entries": 0})))
}
