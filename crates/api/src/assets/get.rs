//! `GET /assets/{asset_id}`.

use axum::Json;
use axum::extract::{self, Path};

use super::AssetReply;
use crate::query::Query;
use crate::{Result, State};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(asset_id): Path<String>,
    query: Query,
) -> Result<Json<AssetReply>> {
    query.finish()?;
    let record = super::find(&state, super::id(&asset_id)?).await?;
    let references = state.store.asset_references(&[record.id]).await?;
    Ok(Json(AssetReply::new(record, &references)))
}
