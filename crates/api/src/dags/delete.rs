//! `DELETE /dags/{dag_id}`: all that is kept about it. Its file stays, and brings it back when it is read again.

use axum::Json;
use axum::extract::{self, Path};
use serde_json::Value;
use towpath_store::Deletion;

use crate::query::Query;
use crate::{Error, Result, State};

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<Json<Value>> {
    query.finish()?;
    match state.store.delete_dag(&dag_id, state.clock.now()).await? {
        Deletion::Deleted => Ok(Json(Value::Null)),
        Deletion::Running => {
            Err(Error::Conflict(format!("Task instances of dag with id: '{dag_id}' are still running")))
        }
        Deletion::Missing => Err(Error::NotFound(format!("Dag with id: {dag_id} was not found"))),
    }
}
