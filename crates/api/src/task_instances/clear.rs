//! `POST /dags/{dag_id}/clearTaskInstances`: lets task instances run again, in one run or in all of
//! a span of time. It only tells what would happen unless `dry_run` is false.

use axum::Json;
use axum::extract::{self, Path};
use chrono::{DateTime, Utc};
use serde_json::Value;
use towpath_store::{Compare, Datum, Listing, RunField, RunRecord, Selection, Test};

use super::list::TaskInstanceList;
use crate::body::Body;
use crate::dag_runs::patch::LONGEST_NOTE;
use crate::query::Query;
use crate::{Error, Problem, Result, State, dag_runs, dags};

/// `ClearTaskInstancesBody`.
#[derive(Debug)]
struct Order {
    dry_run: bool,
    /// With the current version of the DAG instead of the run's own.
    latest: bool,
    run_id: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    past: bool,
    future: bool,
    selection: Selection,
    /// Whether one that runs is left alone, which makes the request fail.
    spare_running: bool,
    note: Option<String>,
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
    body: Body,
) -> Result<Json<TaskInstanceList>> {
    query.finish()?;
    let order = Order::read(body)?;
    let record = dags::find(&state, &dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    if let Some((task_id, _)) = order.selection.tasks.iter().find(|(task_id, _)| dag.task(task_id).is_none()) {
        return Err(Error::NotFound(format!("Task with ID: `{task_id}` not found in dag: `{dag_id}`")));
    }
    let now = state.clock.now();
    let runs = order.runs(&state, &dag_id).await?;
    if order.spare_running && !order.dry_run {
        for run in &runs {
            for touched in state.store.clear(run.key, &order.selection, true, now).await? {
                if touched.state.is_live() {
                    return Err(Error::Conflict(format!(
                        "AirflowClearRunningTaskException: task `{}` of run `{}` is running",
                        touched.key.task_id, run.run_id
                    )));
                }
            }
        }
    }
    let mut replies = Vec::new();
    for run in runs {
        let cleared = match order.latest {
            true => state.store.clear_on_latest(run.key, &order.selection, order.dry_run, now).await,
            false => state.store.clear(run.key, &order.selection, order.dry_run, now).await,
        };
        let touched = match cleared {
            Ok(touched) => touched,
            // A run of another version of the DAG, without that task.
            Err(towpath_store::Error::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if let (false, Some(note)) = (order.dry_run, &order.note) {
            for touched in &touched {
                state.store.set_task_note(&touched.key, Some(note), now).await?;
            }
        }
        replies.extend(super::replies(&state, &run, &touched).await?);
    }
    Ok(Json(TaskInstanceList::whole(replies)))
}

impl Order {
    fn read(mut body: Body) -> Result<Self> {
        let tasks = tasks(&mut body);
        let resets = body.flag_or("reset_dag_runs", true);
        let latest = body.flag("run_on_latest_version").unwrap_or(false);
        let order = Self {
            latest,
            dry_run: body.flag_or("dry_run", true),
            from: body.time("start_date"),
            to: body.time("end_date"),
            run_id: body.text("dag_run_id"),
            past: body.flag_or("include_past", false),
            future: body.flag_or("include_future", false),
            selection: Selection {
                tasks,
                upstream: body.flag_or("include_upstream", false),
                downstream: body.flag_or("include_downstream", false),
                only_failed: body.flag_or("only_failed", true),
                only_running: body.flag_or("only_running", false),
            },
            spare_running: body.flag_or("prevent_running_task", false),
            note: body.short_text("note", LONGEST_NOTE),
        };
        if let (Some(from), Some(to)) = (order.from, order.to)
            && to < from
        {
            body.whole_is_wrong("end_date is sooner than start_date");
        }
        if order.run_id.is_some() && (order.from.is_some() || order.to.is_some()) {
            body.whole_is_wrong("Exactly one of dag_run_id or (start_date and end_date) must be provided");
        }
        if (order.past || order.future) && order.run_id.is_none() {
            body.whole_is_wrong("dag_run_id is required when include_future or include_past is true");
        }
        body.finish()?;
        if !resets && !order.dry_run {
            return Err(Error::BadRequest(
                "`reset_dag_runs` cannot be false here: a run that is over would never run its cleared tasks"
                    .to_owned(),
            ));
        }
        Ok(order)
    }

    async fn runs(&self, state: &State, dag_id: &str) -> Result<Vec<RunRecord>> {
        if let Some(run_id) = &self.run_id {
            let run = dag_runs::find(state, dag_id, run_id).await?;
            return super::runs_around(state, &run, self.past, self.future).await;
        }
        let mut listing = Listing { limit: i32::MAX as u32, ..Listing::default() };
        listing.is(RunField::DagId, dag_id);
        for (compare, bound) in [(Compare::AtLeast, self.from), (Compare::AtMost, self.to)] {
            if let Some(bound) = bound {
                listing.tests.push((RunField::LogicalDate, Test::Bound(compare, Datum::Time(bound))));
            }
        }
        Ok(state.store.list_runs(&listing, true).await?.items)
    }
}

/// Each a task id, or a pair of a task id and a map index.
fn tasks(body: &mut Body) -> Vec<(String, Option<i32>)> {
    let mut tasks = Vec::new();
    for item in body.list("task_ids").unwrap_or_default() {
        match &item {
            Value::String(task_id) => tasks.push((task_id.clone(), None)),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(task_id), index] if index.as_i64().is_some_and(|i| i32::try_from(i).is_ok()) => {
                    let index = index.as_i64().and_then(|index| i32::try_from(index).ok());
                    tasks.push((task_id.clone(), index));
                }
                _ => body.problem(Problem::new(
                    "value_error",
                    "body",
                    "task_ids",
                    "Value error, a pair is a task id and a map index",
                    item.clone(),
                )),
            },
            other => {
                let problem =
                    Problem::new("string_type", "body", "task_ids", "Input should be a valid string", other.clone());
                body.problem(problem);
            }
        }
    }
    tasks
}
