//! `GET /dags/{dag_id}/tasks`.

use axum::Json;
use axum::extract::{self, Path};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::TaskReply;
use crate::query::Query;
use crate::{Error, Result, State, dags};

/// `TaskCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskList {
    tasks: Vec<Value>,
    total_entries: usize,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    mut query: Query,
) -> Result<Json<TaskList>> {
    let order = query.text("order_by").unwrap_or_else(|| "task_id".to_owned());
    query.finish()?;
    let record = dags::find(&state, &dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let replies: Result<Vec<Value>, _> =
        dag.tasks().iter().map(|task| serde_json::to_value(TaskReply::new(&dag, task))).collect();
    let mut tasks = replies.map_err(|error| Error::Panic(error.to_string()))?;
    let (name, descends) = order.strip_prefix('-').map_or((order.as_str(), false), |name| (name, true));
    let sortable = |value: &Value| value.get(name).is_some_and(|field| !field.is_object() && !field.is_array());
    if !tasks.iter().all(sortable) {
        return Err(Error::BadRequest(format!("'{name}' is no attribute of a task to order by; `task_id` is one")));
    }
    tasks.sort_by(|a, b| compare(&a[name], &b[name]));
    if descends {
        tasks.reverse();
    }
    Ok(Json(TaskList { total_entries: tasks.len(), tasks }))
}

fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.as_str().cmp(&b.as_str()).then_with(|| a.as_bool().cmp(&b.as_bool())),
    }
}
