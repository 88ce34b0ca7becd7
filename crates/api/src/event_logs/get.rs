//! `GET /eventLogs/{event_log_id}`.

use axum::extract::{self, Path};
use axum::{Extension, Json};
use serde_json::json;
use towpath_auth::Principal;
use towpath_store::EventFilter;

use super::EventLogReply;
use crate::problem::Problem;
use crate::{Error, Result, State};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    Extension(caller): Extension<Principal>,
) -> Result<Json<EventLogReply>> {
    let id: i64 = id.parse().map_err(|_| {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        Error::Invalid(vec![Problem::new("int_parsing", "path", "event_log_id", msg, json!(id))])
    })?;
    let filter =
        EventFilter { id: Some(id), of_dags: super::sees_dags_alone(&caller), limit: 1, ..EventFilter::default() };
    let found = state.store.events(&filter).await?.items.pop();
    let record = found.ok_or_else(|| Error::NotFound(format!("The Event Log with id: `{id}` not found")))?;
    Ok(Json(record.into()))
}
