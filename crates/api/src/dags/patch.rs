//! `PATCH /dags/{dag_id}` and `PATCH /dags`: pause and unpause, which is all that the contract lets change.

use axum::Json;
use axum::extract::{self, Path};

use super::DagReply;
use super::list::DagList;
use super::select::Selection;
use crate::body::Body;
use crate::query::Query;
use crate::{Error, Problem, Result, State};

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    mut query: Query,
    body: Body,
) -> Result<Json<DagReply>> {
    let mask = query.texts("update_mask");
    query.finish()?;
    let paused = paused(body, &mask)?;
    if !state.store.set_paused(&dag_id, paused, state.clock.now()).await? {
        return Err(Error::NotFound(format!("Dag with id: {dag_id} was not found")));
    }
    let record = super::find(&state, &dag_id).await?;
    let broken = super::broken_files(&state).await?;
    Ok(Json(DagReply::read(&state, record, &broken).await?))
}

/// All DAGs of the page that the query asks for. Without a pattern nothing is changed: a forgotten
/// filter must not stop everything; `~` means all.
pub(crate) async fn patch_many(
    extract::State(state): extract::State<State>,
    mut query: Query,
    body: Body,
) -> Result<Json<DagList>> {
    let mask = query.texts("update_mask");
    let window = query.window();
    let is_narrowed = query.has("dag_id_pattern") || query.has("dag_id_prefix_pattern");
    let selection = Selection::read(&mut query)?;
    query.finish()?;
    let paused = paused(body, &mask)?;
    let broken = super::broken_files(&state).await?;
    let mut page = if is_narrowed {
        selection.find(&state, window, &broken).await?
    } else {
        towpath_store::Page { items: Vec::new(), total: 0 }
    };
    let now = state.clock.now();
    for record in &mut page.items {
        state.store.set_paused(&record.dag_id, paused, now).await?;
        record.is_paused = paused;
    }
    Ok(Json(DagList::read(&state, page).await?))
}

fn paused(mut body: Body, mask: &[String]) -> Result<bool> {
    if body.as_it_came().get("is_paused").is_some_and(serde_json::Value::is_null) {
        let msg = "Input should be a valid boolean";
        body.problem(Problem::new("bool_type", "body", "is_paused", msg, serde_json::Value::Null));
    }
    body.required("is_paused");
    let paused = body.flag("is_paused");
    body.finish()?;
    if mask.iter().any(|field| field != "is_paused") {
        return Err(Error::BadRequest("Only `is_paused` field can be updated through the REST API".to_owned()));
    }
    Ok(paused.expect("a body without it was refused"))
}
