//! `GET /assets`.

use axum::Json;
use axum::extract;
use schemars::JsonSchema;
use serde::Serialize;
use towpath_store::{AssetFilter, AssetOrder};

use super::AssetReply;
use crate::query::Query;
use crate::{Result, State};

/// `AssetCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AssetList {
    assets: Vec<AssetReply>,
    total_entries: u64,
}

pub(crate) async fn get(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<AssetList>> {
    let window = query.window();
    let order = query.order(&["id", "name", "uri", "created_at", "updated_at"])?;
    let (order, descending) = order.first().copied().unwrap_or(("id", false));
    let filter = AssetFilter {
        name_contains: super::part(&mut query, "name_pattern"),
        uri_contains: super::part(&mut query, "uri_pattern"),
        dag_ids: query.texts("dag_ids"),
        include_inactive: !query.flag("only_active").unwrap_or(true),
        order: order.parse().unwrap_or(AssetOrder::Id),
        descending,
        limit: window.limit,
        offset: window.offset,
        ..AssetFilter::default()
    };
    query.finish()?;
    let page = state.store.assets(&filter).await?;
    let ids: Vec<i64> = page.items.iter().map(|record| record.id).collect();
    let references = state.store.asset_references(&ids).await?;
    let assets = page.items.into_iter().map(|record| AssetReply::new(record, &references)).collect();
    Ok(Json(AssetList { assets, total_entries: page.total }))
}
