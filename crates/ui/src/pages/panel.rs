//! A task instance beside the grid or the graph: what it does and why, the end of its log, and what can be done.

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use towpath_store::LogKey;

use super::task::{Actions, Params, Tab, found, is_open, tabs};
use super::{find_run, html};
use crate::view::log::{Lines, Log};
use crate::view::moment::{Moment, took};
use crate::view::state::Badge;
use crate::view::text::{plural, shown};
use crate::view::why;
use crate::{Result, State, links};

/// Lines of the end of the log.
const TAIL: usize = 40;
/// Instances of a mapped task that are listed.
const INSTANCES: usize = 60;

#[derive(Template)]
#[template(path = "panel.html")]
struct Panel {
    task_id: String,
    map_index: Option<String>,
    href: String,
    run_id: String,
    run_href: String,
    state: Badge,
    why: String,
    note: String,
    facts: Vec<(&'static str, Fact)>,
    tabs: Vec<Tab>,
    instances: Vec<(Badge, String, String)>,
    instances_left: Option<String>,
    lines: Lines,
    skipped: Option<String>,
    first_error: Option<u64>,
    actions: Actions,
    /// Worth looking at again soon.
    is_busy: bool,
}

enum Fact {
    Time(Moment),
    Text(String),
}

/// Part of a page, for a script that puts it beside what is there.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let run = find_run(&state, &dag_id, &run_id).await?;
    let (instance, others) = found(&state, &run, task_id, params.map_index).await?;
    let key = &instance.key;
    let tries = state.store.tries(key).await?;
    let told = state.store.explain_task(&run, &key.task_id, key.map_index, now).await?;
    let reasons: Vec<_> = told.reasons.into_iter().map(|told| told.reason).collect();
    let number = params.try_number.unwrap_or(instance.try_number);
    let log_key = LogKey { task: key.clone(), try_number: number };
    let (lines, skipped, first_error) = Log::tail(&state.store, &log_key, TAIL).await?;
    let attempt = tries.iter().find(|attempt| attempt.try_number == number);
    html(&Panel {
        task_id: shown(&key.task_id),
        map_index: instance.shown_index().as_deref().map(shown),
        href: links::task(&dag_id, &run_id, key),
        run_id: shown(&run_id),
        run_href: links::run(&dag_id, &run_id),
        state: instance.state.into(),
        why: why::line(&reasons, now),
        note: attempt.and_then(|attempt| attempt.note.as_deref()).map(shown).unwrap_or_default(),
        facts: attempt.map(|attempt| facts(attempt, now)).unwrap_or_default(),
        tabs: if tries.len() > 1 { tabs(&instance, &tries, number) } else { Vec::new() },
        instances: others
            .iter()
            .take(INSTANCES)
            .map(|it| (it.state.into(), it.key.map_index.to_string(), links::task(&dag_id, &run_id, &it.key)))
            .collect(),
        instances_left: (others.len() > INSTANCES)
            .then(|| plural((others.len() - INSTANCES) as u64, "more instance", "more instances")),
        lines,
        skipped: (skipped > 0).then(|| plural(skipped, "earlier line", "earlier lines")),
        first_error,
        is_busy: !instance.state.is_finished() || is_open(&instance, number),
        actions: Actions::of(&instance),
    })
}

fn facts(attempt: &towpath_store::TryRecord, now: DateTime<Utc>) -> Vec<(&'static str, Fact)> {
    let mut facts = Vec::new();
    let at = |at: DateTime<Utc>| Fact::Time(Moment::new(at, now));
    facts.extend(attempt.start_date.map(|start| ("Started", at(start))));
    facts.extend(attempt.end_date.map(|end| ("Ended", at(end))));
    facts.extend(took(attempt.start_date, attempt.end_date, now).map(|took| ("Took", Fact::Text(took))));
    let used = super::task::used(attempt.usage);
    facts.extend(used.into_iter().map(|(label, text)| (label, Fact::Text(text))));
    facts
}
