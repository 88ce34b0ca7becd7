//! `GET /dags/{dag_id}/explain`.

use axum::Json;
use axum::extract::{self, Path};
use towpath_store::Explanation;

use crate::query::Query;
use crate::{Result, State, dags};

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<Json<Explanation>> {
    query.finish()?;
    let dag = dags::find(&state, &dag_id).await?;
    Ok(Json(state.store.explain_dag(&dag.dag_id, state.clock.now()).await?))
}
