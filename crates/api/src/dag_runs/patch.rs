//! `PATCH /dags/{dag_id}/dagRuns/{run_id}`: its state and its note.

use axum::Json;
use axum::extract::{self, Path};
use towpath_model::state::RunState;
use towpath_store::{RunRecord, Selection};

use super::RunReply;
use crate::body::Body;
use crate::query::Query;
use crate::{Error, Result, State};

/// Longest note, in characters.
pub(crate) const LONGEST_NOTE: usize = 1_000;
/// The states that somebody may give to a run.
const STATES: &[&str] = &["queued", "success", "failed"];

/// What is to become of a run. `note: Some(None)` removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) state: Option<RunState>,
    pub(super) note: Option<Option<String>>,
}

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    mut query: Query,
    mut body: Body,
) -> Result<Json<RunReply>> {
    let mask = query.texts("update_mask");
    query.finish()?;
    let change = Change::read(&mut body);
    body.finish()?;
    let run = super::find(&state, &dag_id, &run_id).await?;
    let key = run.key;
    change.masked(&mask)?.apply(&state, &run).await?;
    let run = state.store.run_by_key(key).await?.ok_or_else(|| super::not_found(&dag_id, &run_id))?;
    Ok(Json(RunReply::read(&state, run).await?))
}

impl Change {
    pub(super) fn read(body: &mut Body) -> Self {
        let note = body.has("note");
        Self { state: body.word("state", STATES), note: note.then(|| body.short_text("note", LONGEST_NOTE)) }
    }

    /// Only what `mask` names; all of it where it is empty.
    pub(super) fn masked(mut self, mask: &[String]) -> Result<Self> {
        if let Some(other) = mask.iter().find(|field| !["state", "note"].contains(&field.as_str())) {
            return Err(Error::BadRequest(format!(
                "`{other}` in `update_mask` cannot be changed; `state` and `note` can"
            )));
        }
        if !mask.is_empty() {
            let named = |name: &str| mask.iter().any(|field| field == name);
            self.state = self.state.filter(|_| named("state"));
            self.note = self.note.filter(|_| named("note"));
        }
        Ok(self)
    }

    pub(super) async fn apply(&self, state: &State, run: &RunRecord) -> Result<()> {
        let now = state.clock.now();
        match self.state {
            Some(RunState::Success) => {
                state.store.mark_run(run.key, true, now).await?;
            }
            Some(RunState::Failed) => {
                state.store.mark_run(run.key, false, now).await?;
            }
            Some(RunState::Queued) => {
                state.store.clear(run.key, &Selection::default(), false, now).await?;
            }
            Some(RunState::Running) | None => {}
        }
        if let Some(note) = &self.note {
            state.store.set_run_note(run.key, note.as_deref(), now).await?;
        }
        Ok(())
    }
}
