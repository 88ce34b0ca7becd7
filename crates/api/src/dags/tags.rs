//! `GET /dagTags`: the tags of all DAGs that are there.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract;
use schemars::JsonSchema;
use serde::Serialize;
use towpath_store::DagFilter;

use crate::query::Query;
use crate::{Result, State, filter};

/// `DAGTagCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TagList {
    tags: Vec<String>,
    total_entries: u64,
}

pub(crate) async fn get(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<TagList>> {
    let window = query.window();
    let order = query.order(&["name"])?;
    let patterns = filter::patterns(&mut query, "tag_name");
    query.finish()?;
    let all = DagFilter { limit: i32::MAX as u32, ..DagFilter::default() };
    let dags = state.store.dags(&all).await?.items;
    let tags: BTreeSet<String> = dags.into_iter().flat_map(|record| record.tags).collect();
    let mut tags: Vec<String> =
        tags.into_iter().filter(|tag| patterns.iter().all(|pattern| pattern.fits(tag))).collect();
    if order.first().is_some_and(|(_, descends)| *descends) {
        tags.reverse();
    }
    let total_entries = tags.len() as u64;
    Ok(Json(TagList { tags: window.of(tags), total_entries }))
}
