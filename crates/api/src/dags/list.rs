//! `GET /dags`.

use axum::Json;
use axum::extract;
use schemars::JsonSchema;
use serde::Serialize;
use towpath_auth::Visible;
use towpath_store::{DagRecord, Page};

use super::DagReply;
use super::select::Selection;
use crate::query::Query;
use crate::{Result, State};

/// `DAGCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
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
    let selection = Selection::read(&mut query)?.visible_to(visible);
    query.finish()?;
    let broken = super::broken_files(&state).await?;
    let page = selection.find(&state, window, &broken).await?;
    Ok(Json(DagList::read(&state, page).await?))
}

impl DagList {
    pub(super) async fn read(state: &State, page: Page<DagRecord>) -> Result<Self> {
        let broken = super::broken_files(state).await?;
        let mut dags = Vec::with_capacity(page.items.len());
        for record in page.items {
            dags.push(DagReply::read(state, record, &broken).await?);
        }
        Ok(Self { dags, total_entries: page.total })
    }
}
