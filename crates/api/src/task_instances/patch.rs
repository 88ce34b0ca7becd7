//! `PATCH .../taskInstances/{task_id}` with its forms for mapped ones and for a dry run: decides how
//! task instances ended, and writes notes.

use axum::Json;
use axum::extract::{self, Path};
use towpath_store::{Mark, Selection};

use super::TaskInstanceReply;
use super::list::TaskInstanceList;
use crate::body::Body;
use crate::dag_runs::patch::LONGEST_NOTE;
use crate::query::Query;
use crate::{Error, Result, State, dag_runs, path};

const STATES: &[&str] = &[
    "removed",
    "scheduled",
    "queued",
    "running",
    "success",
    "restarting",
    "failed",
    "up_for_retry",
    "up_for_reschedule",
    "upstream_failed",
    "skipped",
    "deferred",
    "awaiting_input",
];

/// `PatchTaskInstanceBody`.
#[derive(Debug, Clone)]
pub(super) struct Change {
    mark: Option<Mark>,
    /// `Some(None)` removes it.
    note: Option<Option<String>>,
    upstream: bool,
    downstream: bool,
    past: bool,
    future: bool,
}

impl Change {
    /// The outer error is for whoever has read the rest of the body as well.
    pub(super) fn read(body: &mut Body) -> Result<Self> {
        let state: Option<String> = body.word("new_state", STATES);
        let has_note = body.has("note");
        let note = body.short_text("note", LONGEST_NOTE);
        let [upstream, downstream, future, past] =
            ["include_upstream", "include_downstream", "include_future", "include_past"]
                .map(|name| body.flag_or(name, false));
        let mark = match state.as_deref() {
            None => None,
            Some("success") => Some(Mark::Success),
            Some("failed") => Some(Mark::Failed),
            Some("skipped") => Some(Mark::Skipped),
            Some(other) => {
                let expected = ["success", "failed", "skipped"];
                let msg =
                    format!("Value error, '{other}' is not among the states that can be set: {}", expected.join(", "));
                body.problem(crate::Problem::new("value_error", "body", "new_state", msg, other.into()));
                None
            }
        };
        Ok(Self { mark, note: has_note.then_some(note), upstream, downstream, past, future })
    }

    pub(super) fn masked(mut self, mask: &[String]) -> Result<Self> {
        if let Some(other) = mask.iter().find(|field| !["new_state", "note"].contains(&field.as_str())) {
            return Err(Error::BadRequest(format!(
                "`{other}` in `update_mask` cannot be changed; `new_state` and `note` can"
            )));
        }
        if !mask.is_empty() {
            let named = |name: &str| mask.iter().any(|field| field == name);
            self.mark = self.mark.filter(|_| named("new_state"));
            self.note = self.note.filter(|_| named("note"));
        }
        Ok(self)
    }

    /// What is, or would be, changed.
    pub(super) async fn apply(
        &self,
        state: &State,
        [dag_id, run_id, task_id]: [&str; 3],
        map_index: Option<i32>,
        dry_run: bool,
    ) -> Result<Vec<TaskInstanceReply>> {
        let now = state.clock.now();
        let run = dag_runs::find(state, dag_id, run_id).await?;
        let dag = state.store.dag_of_version(run.version_id).await?;
        if dag.task(task_id).is_none() {
            return Err(Error::NotFound(format!("Task '{task_id}' not found in DAG '{dag_id}'")));
        }
        if let Some(map_index) = map_index {
            super::find(state, &run, task_id, map_index).await?;
        }
        let selection = Selection {
            tasks: vec![(task_id.to_owned(), map_index)],
            upstream: self.upstream,
            downstream: self.downstream,
            ..Selection::default()
        };
        let mut changed = Vec::new();
        if let Some(mark) = self.mark {
            for run in super::runs_around(state, &run, self.past, self.future).await? {
                match state.store.mark(run.key, &selection, mark, dry_run, now).await {
                    Ok(touched) => changed.extend(super::replies(state, &run, &touched).await?),
                    // Another version of the DAG, without that task.
                    Err(towpath_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if changed.is_empty() && self.note.is_none() && !dry_run {
                return Err(Error::Conflict(format!("Task id {task_id} is already in {mark} state")));
            }
        }
        let Some(note) = &self.note else { return Ok(changed) };
        let mut noted = state.store.task_instances(run.key).await?;
        noted.retain(|it| it.key.task_id == task_id && map_index.is_none_or(|index| it.key.map_index == index));
        if !dry_run {
            for instance in &noted {
                state.store.set_task_note(&instance.key, note.as_deref(), now).await?;
            }
        }
        if self.mark.is_none() || !dry_run {
            let keys: Vec<_> =
                noted.iter().map(|it| towpath_store::Touched { key: it.key.clone(), state: it.state }).collect();
            let replies = super::replies(state, &run, &keys).await?;
            let ids: Vec<_> = replies.iter().map(|reply| reply.id).collect();
            changed.retain(|reply| !ids.contains(&reply.id));
            changed.extend(replies);
        }
        Ok(changed)
    }
}

type Three = Path<(String, String, String)>;
type Four = Path<(String, String, String, String)>;

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Three,
    mut query: Query,
    body: Body,
) -> Result<Json<TaskInstanceList>> {
    let index = query.whole("map_index", i64::MIN).and_then(|index| i32::try_from(index).ok());
    change(&state, [&dag_id, &run_id, &task_id], index, query, body, false).await
}

pub(crate) async fn mapped(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, index)): Four,
    query: Query,
    body: Body,
) -> Result<Json<TaskInstanceList>> {
    let index = path::map_index(&index)?;
    change(&state, [&dag_id, &run_id, &task_id], Some(index), query, body, false).await
}

pub(crate) async fn dry_run(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Three,
    mut query: Query,
    body: Body,
) -> Result<Json<TaskInstanceList>> {
    let index = query.whole("map_index", i64::MIN).and_then(|index| i32::try_from(index).ok());
    change(&state, [&dag_id, &run_id, &task_id], index, query, body, true).await
}

pub(crate) async fn mapped_dry_run(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id, index)): Four,
    query: Query,
    body: Body,
) -> Result<Json<TaskInstanceList>> {
    let index = path::map_index(&index)?;
    change(&state, [&dag_id, &run_id, &task_id], Some(index), query, body, true).await
}

async fn change(
    state: &State,
    ids: [&str; 3],
    map_index: Option<i32>,
    mut query: Query,
    mut body: Body,
    dry_run: bool,
) -> Result<Json<TaskInstanceList>> {
    let mask = query.texts("update_mask");
    query.finish()?;
    let change = Change::read(&mut body)?;
    body.finish()?;
    let changed = change.masked(&mask)?.apply(state, ids, map_index, dry_run).await?;
    Ok(Json(TaskInstanceList::whole(changed)))
}
