//! `GET /eventLogs`.

use axum::extract;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_auth::Principal;
use towpath_store::{EventColumn, EventFilter, Like};

use super::EventLogReply;
use crate::query::Query;
use crate::{Error, Result, State};

/// `EventLogCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventLogList {
    event_logs: Vec<EventLogReply>,
    total_entries: u64,
}

/// What lists are sorted by.
const ORDERS: [(&str, EventColumn); 11] = [
    ("id", EventColumn::Id),
    ("event_log_id", EventColumn::Id),
    ("dttm", EventColumn::At),
    ("when", EventColumn::At),
    ("dag_id", EventColumn::DagId),
    ("task_id", EventColumn::TaskId),
    ("run_id", EventColumn::RunId),
    ("event", EventColumn::Event),
    ("logical_date", EventColumn::LogicalDate),
    ("owner", EventColumn::Owner),
    ("extra", EventColumn::Extra),
];

/// What can be searched by `..._pattern` and `..._prefix_pattern`.
const PATTERNS: [(&str, EventColumn); 5] = [
    ("dag_id", EventColumn::DagId),
    ("task_id", EventColumn::TaskId),
    ("run_id", EventColumn::RunId),
    ("owner", EventColumn::Owner),
    ("event", EventColumn::Event),
];

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Extension(caller): Extension<Principal>,
    mut query: Query,
) -> Result<Json<EventLogList>> {
    let filter = filter(&mut query, super::sees_dags_alone(&caller))?;
    query.finish()?;
    let page = state.store.events(&filter).await?;
    let event_logs = page.items.into_iter().map(EventLogReply::from).collect();
    Ok(Json(EventLogList { event_logs, total_entries: page.total }))
}

fn filter(query: &mut Query, of_dags: bool) -> Result<EventFilter> {
    let window = query.window();
    let order = query.order(&ORDERS.map(|(name, _)| name))?;
    let column = |name| ORDERS.iter().find(|(known, _)| *known == name).map(|(_, column)| *column);
    let mut like = Vec::new();
    for (name, column) in PATTERNS {
        if let Some(text) = query.text(&format!("{name}_pattern")) {
            like.push((column, Like::Part(part(&text)?)));
        }
        if let Some(text) = query.text(&format!("{name}_prefix_pattern")) {
            like.push((column, Like::Start(part(&text)?)));
        }
    }
    let number = |number: i64| i32::try_from(number).unwrap_or(i32::MIN);
    Ok(EventFilter {
        below: None,
        dag_id: query.text("dag_id"),
        task_id: query.text("task_id"),
        run_id: query.text("run_id"),
        map_index: query.whole("map_index", i64::MIN).map(number),
        try_number: query.whole("try_number", i64::MIN).map(number),
        owner: query.text("owner"),
        event: query.text("event"),
        included: query.texts("included_events"),
        excluded: query.texts("excluded_events"),
        before: query.time("before"),
        after: query.time("after"),
        like,
        order: order.into_iter().filter_map(|(name, descends)| Some((column(name)?, descends))).collect(),
        limit: window.limit,
        offset: window.offset,
        of_dags,
        id: None,
    })
}

/// The text that `pattern` asks for; `~` and wildcards around it stand for anything.
fn part(pattern: &str) -> Result<String> {
    let part = if pattern == "~" { "" } else { pattern.trim_matches('%') };
    if part.contains(['%', '|', '\0']) {
        return Err(Error::BadRequest(format!(
            "a pattern may only be a part of a name here, without wildcards or alternatives; got `{}`",
            pattern.escape_debug()
        )));
    }
    Ok(part.to_owned())
}
