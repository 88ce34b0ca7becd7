//! Pauses and unpauses a DAG.

use axum::Form;
use axum::extract::{self, Path};
use axum::response::Redirect;
use serde::Deserialize;

use crate::{Error, Result, State, links};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    /// The page that the button was pressed in, to go back there; the DAG's page otherwise.
    back: Option<String>,
}

pub(crate) async fn pause(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Redirect> {
    set(&state, &dag_id, true, &fields).await
}

pub(crate) async fn unpause(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Redirect> {
    set(&state, &dag_id, false, &fields).await
}

async fn set(state: &State, dag_id: &str, paused: bool, fields: &Fields) -> Result<Redirect> {
    if !state.store.set_paused(dag_id, paused, state.clock.now()).await? {
        return Err(Error::no_such("DAG", dag_id));
    }
    Ok(Redirect::to(&links::back(fields.back.as_deref(), links::dag(dag_id))))
}
