//! `PATCH /dags/{dag_id}/dagRuns`: updates and deletes many runs.

use axum::Json;
use axum::extract::{self, Path};

use super::patch::Change;
use crate::body::Body;
use crate::bulk::{self, BulkReply, Entity};
use crate::query::Query;
use crate::{Error, Result, State};

/// `BulkDAGRunBody`.
#[derive(Debug)]
struct Given {
    dag_id: Option<String>,
    run_id: String,
    change: Change,
}

impl Given {
    fn dag<'a>(&'a self, place: &'a str) -> &'a str {
        self.dag_id.as_deref().unwrap_or(place)
    }
}

impl Entity for Given {
    /// The DAG of the path.
    type Place = String;
    const CAN_BE_MADE: bool = false;

    fn read(mut body: Body) -> Result<Self> {
        let run_id = body.required_text("dag_run_id").unwrap_or_default();
        let given = Self { run_id, dag_id: body.text("dag_id"), change: Change::read(&mut body) };
        body.finish()?;
        Ok(given)
    }

    fn named(run_id: String) -> Self {
        Self { run_id, dag_id: None, change: Change { state: None, note: None } }
    }

    fn belongs(&self, place: &String) -> bool {
        place == "~" || self.dag(place) == place
    }

    fn key(&self, place: &String) -> String {
        format!("{}.{}", self.dag(place), self.run_id)
    }

    async fn exists(&self, state: &State, place: &String) -> Result<bool> {
        match super::find(state, self.dag(place), &self.run_id).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, state: &State, place: &String, mask: &[String]) -> Result<()> {
        let run = super::find(state, self.dag(place), &self.run_id).await?;
        self.change.clone().masked(mask)?.apply(state, &run).await
    }

    async fn delete(&self, state: &State, place: &String) -> Result<()> {
        super::delete::remove(state, self.dag(place), &self.run_id).await
    }
}

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
    body: Body,
) -> Result<Json<BulkReply>> {
    query.finish()?;
    Ok(Json(bulk::carry_out::<Given>(&state, &dag_id, body).await?))
}
