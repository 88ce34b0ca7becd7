//! `GET /dags`.

use axum::Json;
use axum::extract;
use serde::Serialize;
use towpath_auth::Visible;
use towpath_store::DagFilter;

use super::DagReply;
use crate::query::Query;
use crate::{Error, Result, State};

/// `DAGCollectionResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct DagList {
    dags: Vec<DagReply>,
    total_entries: u64,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    visible: Visible,
    mut query: Query,
) -> Result<Json<DagList>> {
    let window = query.window();
    let order = query.order(&["dag_id"])?;
    let pattern = query.text("dag_id_pattern");
    let filter = DagFilter {
        id_contains: pattern.as_deref().map(plain).transpose()?,
        paused: query.flag("paused"),
        include_stale: !query.flag("exclude_stale").unwrap_or(true),
        among: visible.among,
        limit: window.limit,
        offset: window.offset,
    };
    query.finish()?;
    if order.iter().any(|(_, descends)| *descends) {
        return Err(Error::BadRequest("this server lists DAGs by `dag_id`, ascending".to_owned()));
    }
    let page = state.store.dags(&filter).await?;
    let broken = super::broken_files(&state).await?;
    let mut dags = Vec::with_capacity(page.items.len());
    for record in page.items {
        dags.push(DagReply::read(&state, record, &broken).await?);
    }
    Ok(Json(DagList { dags, total_entries: page.total }))
}

/// The part of an id that `pattern` asks for: it may stand between wildcards, not around them.
fn plain(pattern: &str) -> Result<String> {
    let part = pattern.trim_matches('%').to_owned();
    if part.contains(['%', '|', '~']) {
        return Err(Error::BadRequest(format!(
            "`dag_id_pattern` may only be a part of an id here, without wildcards or alternatives; got `{pattern}`"
        )));
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, expected) in
            [("etl_", Some("etl_")), ("%etl%", Some("etl")), ("a%b", None), ("a | b", None), ("", Some(""))]
        {
            assert_eq!(plain(pattern).ok().as_deref(), expected, "{pattern}");
        }
    }
}
