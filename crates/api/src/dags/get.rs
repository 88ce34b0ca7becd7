//! `GET /dags/{dag_id}`.

use axum::Json;
use axum::extract::{self, Path};

use super::DagReply;
use crate::query::Query;
use crate::{Result, State};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<Json<DagReply>> {
    query.finish()?;
    let record = super::find(&state, &dag_id).await?;
    let broken = super::broken_files(&state).await?;
    Ok(Json(DagReply::read(&state, record, &broken).await?))
}
