//! `PATCH .../taskInstances`: updates and deletes many task instances.

use axum::Json;
use axum::extract::{self, Path};

use super::patch::Change;
use crate::body::Body;
use crate::bulk::{self, BulkReply, Entity};
use crate::query::Query;
use crate::{Error, Result, State, dag_runs};

/// `BulkTaskInstanceBody`.
#[derive(Debug)]
struct Given {
    dag_id: Option<String>,
    run_id: Option<String>,
    task_id: String,
    map_index: Option<i32>,
    change: Option<Change>,
}

impl Given {
    fn of<'a>(&'a self, (dag_id, run_id): &'a (String, String)) -> [&'a str; 3] {
        [self.dag_id.as_deref().unwrap_or(dag_id), self.run_id.as_deref().unwrap_or(run_id), &self.task_id]
    }
}

impl Entity for Given {
    /// The DAG and the run of the path.
    type Place = (String, String);
    const CAN_BE_MADE: bool = false;

    fn read(mut body: Body) -> Result<Self> {
        let given = Self {
            task_id: body.required_text("task_id").unwrap_or_default(),
            dag_id: body.text("dag_id"),
            run_id: body.text("dag_run_id"),
            map_index: body.whole("map_index", i64::MIN).map(|index| i32::try_from(index).unwrap_or(i32::MAX)),
            change: Some(Change::read(&mut body)?),
        };
        body.finish()?;
        Ok(given)
    }

    fn named(task_id: String) -> Self {
        Self { dag_id: None, run_id: None, task_id, map_index: None, change: None }
    }

    fn belongs(&self, place: &(String, String)) -> bool {
        let [dag_id, run_id, _] = self.of(place);
        (place.0 == "~" || place.0 == dag_id) && (place.1 == "~" || place.1 == run_id)
    }

    fn key(&self, place: &(String, String)) -> String {
        let [dag_id, run_id, task_id] = self.of(place);
        format!("{dag_id}.{run_id}.{task_id}[{}]", self.map_index.unwrap_or(-1))
    }

    async fn exists(&self, state: &State, place: &(String, String)) -> Result<bool> {
        let [dag_id, run_id, task_id] = self.of(place);
        let found = async {
            let run = dag_runs::find(state, dag_id, run_id).await?;
            match self.map_index {
                Some(index) => super::find(state, &run, task_id, index).await.map(|_| true),
                None => Ok(!state.store.task_states(run.key, &[task_id.to_owned()]).await?.is_empty()),
            }
        };
        match found.await {
            Err(Error::NotFound(_)) => Ok(false),
            other => other,
        }
    }

    async fn write(&self, state: &State, place: &(String, String), mask: &[String]) -> Result<()> {
        let Some(change) = &self.change else { return Ok(()) };
        change.clone().masked(mask)?.apply(state, self.of(place), self.map_index, false).await.map(|_| ())
    }

    async fn delete(&self, state: &State, place: &(String, String)) -> Result<()> {
        let [dag_id, run_id, task_id] = self.of(place);
        super::delete::remove(state, dag_id, run_id, task_id, self.map_index.unwrap_or(-1)).await
    }
}

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path(place): Path<(String, String)>,
    query: Query,
    body: Body,
) -> Result<Json<BulkReply>> {
    query.finish()?;
    Ok(Json(bulk::carry_out::<Given>(&state, &place, body).await?))
}
