//! `POST .../xcomEntries`, `PATCH` and `DELETE .../xcomEntries/{key}`.

use axum::Json;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use serde_json::Value;
use towpath_store::{RunRecord, TaskKey, XComRecord};

use super::XComReply;
use crate::body::Body;
use crate::query::Query;
use crate::{Error, Result, State, dag_runs, dags};

/// `create_xcom_entry`.
pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    query: Query,
    mut body: Body,
) -> Result<(StatusCode, Json<XComReply>)> {
    query.finish()?;
    let key = body.required_text("key");
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 512) {
        let msg = "Value error, the key of an XCom has 1 to 512 bytes";
        body.problem(crate::Problem::new("value_error", "body", "key", msg, Value::Null));
    }
    let (value, map_index) = value(&mut body);
    body.finish()?;
    let key = key.unwrap_or_default();
    let record = dags::find(&state, &dag_id).await?;
    if state.store.dag_of_version(record.version_id).await?.task(&task_id).is_none() {
        return Err(Error::NotFound(format!("Task with ID: `{task_id}` not found in dag: `{dag_id}`")));
    }
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let task = task(&state, &run, &task_id, map_index).await?;
    if !state.store.put_xcom(&task, &key, &value, true, state.clock.now()).await? {
        return Err(Error::Conflict(format!(
            "The XCom with key: `{key}` with mentioned task instance already exists."
        )));
    }
    Ok((StatusCode::CREATED, Json(reply(&state, &run, task, &key, value).await?)))
}

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
    query: Query,
    mut body: Body,
) -> Result<Json<XComReply>> {
    query.finish()?;
    let (value, map_index) = value(&mut body);
    body.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let task = TaskKey { run_key: run.key, task_id, map_index };
    if !state.store.put_xcom(&task, &key, &value, false, state.clock.now()).await? {
        return Err(missing(&key));
    }
    Ok(Json(reply(&state, &run, task, &key, value).await?))
}

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
    mut query: Query,
) -> Result<StatusCode> {
    let map_index = crate::task_instances::map_index(&mut query);
    query.finish()?;
    let run = dag_runs::find(&state, &dag_id, &run_id).await?;
    let task = TaskKey { run_key: run.key, task_id, map_index };
    if state.store.delete_xcom(&task, &key, state.clock.now()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing(&key))
    }
}

fn missing(key: &str) -> Error {
    Error::NotFound(format!("The XCom with key: `{key}` with mentioned task instance doesn't exist."))
}

fn value(body: &mut Body) -> (Value, i32) {
    let value = body.any("value").unwrap_or(Value::Null);
    let map_index = body.whole("map_index", i64::MIN).unwrap_or(-1);
    (value, i32::try_from(map_index).unwrap_or(i32::MAX))
}

/// The instance that the XCom is to belong to, which must exist.
async fn task(state: &State, run: &RunRecord, task_id: &str, map_index: i32) -> Result<TaskKey> {
    Ok(crate::task_instances::find(state, run, task_id, map_index).await?.key)
}

async fn reply(state: &State, run: &RunRecord, task: TaskKey, key: &str, value: Value) -> Result<XComReply> {
    let version = state.version(run.version_id).await?;
    let TaskKey { task_id, map_index, .. } = task;
    let at = state.clock.now();
    let record = XComRecord { key: key.to_owned(), task_id, map_index, value: Value::Null, file: None, at };
    Ok(XComReply { value: Some(value), ..XComReply::new(record, run, &version) })
}
