//! `PATCH /dags/{dag_id}`: pauses and unpauses, which is all that the contract lets change.

use axum::Json;
use axum::extract::{self, Path};

use super::DagReply;
use crate::body::Body;
use crate::query::Query;
use crate::{Error, Result, State};

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    mut query: Query,
    mut body: Body,
) -> Result<Json<DagReply>> {
    let mask = query.texts("update_mask");
    query.finish()?;
    body.required("is_paused");
    let paused = body.flag("is_paused");
    body.finish()?;
    if mask.iter().any(|field| field != "is_paused") {
        return Err(Error::BadRequest("Only `is_paused` field can be updated through the REST API".to_owned()));
    }
    let Some(paused) = paused else {
        return Err(Error::BadRequest("`is_paused` is true or false, not null".to_owned()));
    };
    if !state.store.set_paused(&dag_id, paused, state.clock.now()).await? {
        return Err(Error::NotFound(format!("Dag with id: {dag_id} was not found")));
    }
    let record = super::find(&state, &dag_id).await?;
    let broken = super::broken_files(&state).await?;
    Ok(Json(DagReply::read(&state, record, &broken).await?))
}
