//! `POST /dags/{dag_id}/dagRuns/{run_id}/clear` and `POST /dags/{dag_id}/clearDagRuns`: let runs run
//! again. They only tell what would happen unless `dry_run` is false.

use axum::Json;
use axum::extract::{self, Path};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use towpath_store::{RunRecord, Selection};

use super::RunReply;
use super::list::RunList;
use super::patch::LONGEST_NOTE;
use crate::body::Body;
use crate::problem::Problem;
use crate::query::Query;
use crate::task_instances::{self, TaskInstanceReply};
use crate::{Error, Result, State};

/// What both have in common.
#[derive(Debug)]
struct Order {
    dry_run: bool,
    /// With the current version of the DAG instead of the run's own.
    latest: bool,
    selection: Selection,
    note: Option<String>,
}

impl Order {
    fn read(body: &mut Body) -> Self {
        let only_new = body.flag_or("only_new", false);
        let latest = body.flag("run_on_latest_version").unwrap_or(false);
        let order = Self {
            latest,
            dry_run: body.flag_or("dry_run", true),
            selection: Selection { only_failed: body.flag_or("only_failed", false), ..Selection::default() },
            note: body.short_text("note", LONGEST_NOTE),
        };
        if only_new {
            let msg =
                "this server cannot do it; `run_on_latest_version` lets a run go on with the new tasks of its DAG";
            body.problem(Problem::new("value_error", "body", "only_new", msg, true.into()));
        }
        order
    }

    /// What would be cleared; where it is no dry run, it is.
    async fn carry_out(&self, state: &State, run: &RunRecord) -> Result<Vec<TaskInstanceReply>> {
        let now = state.clock.now();
        let touched = match self.latest {
            true => state.store.clear_on_latest(run.key, &self.selection, self.dry_run, now).await?,
            false => state.store.clear(run.key, &self.selection, self.dry_run, now).await?,
        };
        if !self.dry_run
            && let Some(note) = &self.note
        {
            state.store.set_run_note(run.key, Some(note), now).await?;
        }
        task_instances::replies(state, run, &touched).await
    }
}

fn instances(task_instances: &[TaskInstanceReply]) -> Response {
    Json(json!({"task_instances": task_instances, "total_entries": task_instances.len()})).into_response()
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
    mut body: Body,
) -> Result<Response> {
    query.finish()?;
    let order = Order::read(&mut body);
    body.finish()?;
    let run = super::find(&state, &dag_id, &run_id).await?;
    let touched = order.carry_out(&state, &run).await?;
    if order.dry_run {
        return Ok(instances(&touched));
    }
    let run = super::find(&state, &dag_id, &run_id).await?;
    Ok(Json(RunReply::read(&state, run).await?).into_response())
}

pub(crate) async fn many(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
    mut body: Body,
) -> Result<Response> {
    query.finish()?;
    let partition = [
        body.text("partition_key").is_some(),
        body.time("partition_date_start").is_some(),
        body.time("partition_date_end").is_some(),
    ];
    let order = Order::read(&mut body);
    let runs = body.list("dag_runs").unwrap_or_default();
    body.finish()?;
    if partition.contains(&true) {
        return Err(Error::BadRequest("this server has no partitioned DAGs; name the runs in `dag_runs`".to_owned()));
    }
    let mut found = Vec::new();
    for run in runs {
        let mut run = Body::of(run)?;
        let run_id = run.required_text("dag_run_id");
        let of_dag = run.text("dag_id").unwrap_or_else(|| dag_id.clone());
        super::patch::Change::read(&mut run);
        run.finish()?;
        if let Some(run_id) = run_id {
            found.push(super::find(&state, &of_dag, &run_id).await?);
        }
    }
    if found.is_empty() {
        return Err(Error::BadRequest("`dag_runs` names no run to clear".to_owned()));
    }
    let mut touched = Vec::new();
    for run in &found {
        touched.extend(order.carry_out(&state, run).await?);
    }
    if order.dry_run {
        return Ok(instances(&touched));
    }
    let mut replies = Vec::new();
    for run in found {
        if let Some(run) = state.store.run_by_key(run.key).await? {
            replies.push(RunReply::read(&state, run).await?);
        }
    }
    Ok(Json(RunList::whole(replies)).into_response())
}
