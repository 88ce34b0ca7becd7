//! One run: what its tasks do, and why they do not.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use strum::IntoEnumIterator;
use towpath_model::dag::Dag;
use towpath_model::state::TaskState;
use towpath_store::{DeadlineRecord, Other, Reason, RunRecord, TaskInstanceRecord};

use super::dag::grid::urgency;
use super::{find_run, html};
use crate::frame::{Crumb, Frame};
use crate::view::json::pretty;
use crate::view::moment::{Moment, absolute, took};
use crate::view::state::Badge;
use crate::view::text::{count, plural, shown};
use crate::view::why;
use crate::{Result, State, links};

/// Task instances in one part of the table.
const ROWS: usize = 250;
/// Failed task instances named at the top.
const FAILED: usize = 5;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// Only task instances in this state.
    state: String,
    /// The first task instance of the part that is shown.
    from: usize,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    frame: Frame,
    now: DateTime<Utc>,
    run_id: String,
    dag_id: String,
    dag_href: String,
    href: String,
    run_query: String,
    is_over: bool,
    state: Badge,
    /// What keeps it from going on, if something does.
    waiting: Option<String>,
    facts: Vec<(&'static str, String)>,
    started: Option<Moment>,
    took: Option<String>,
    note: String,
    conf: Option<String>,
    failed: Vec<Row>,
    counts: Vec<Count>,
    rows: Vec<Row>,
    earlier: Option<String>,
    more: Option<(String, String)>,
    /// The first of many are those that need somebody.
    is_sorted: bool,
}

/// How many task instances are in a state, with the way to see only those.
struct Count {
    state: Badge,
    count: String,
    href: String,
    is_on: bool,
}

struct Row {
    href: String,
    task_id: String,
    map_index: Option<String>,
    operator: String,
    state: Badge,
    tries: String,
    started: Option<Moment>,
    took: String,
    why: String,
    /// To clear it with what follows.
    clear: String,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let run = find_run(&state, &dag_id, &run_id).await?;
    let dag = state.store.dag_of_version(run.version_id).await?;
    let told = state.store.run_facts(&run, now).await?;
    let all = state.store.states_of_run(run.key).await?;
    let only: Option<TaskState> = params.state.parse().ok();
    let (wanted, is_sorted) = in_order(&all, &dag, only);
    let part = wanted.get(params.from..).unwrap_or_default();
    let left = part.len().saturating_sub(ROWS);
    let part = &part[..part.len() - left];
    let failed: Vec<&Other> = all.iter().filter(|it| it.state == TaskState::Failed).take(FAILED).collect();
    let keys: Vec<(&str, i32)> = part.iter().chain(&failed).map(|it| (it.task_id.as_str(), it.map_index)).collect();
    let instances = state.store.some_task_instances(run.key, &keys).await?;
    let by_key: HashMap<(&str, i32), &TaskInstanceRecord> =
        instances.iter().map(|it| ((it.key.task_id.as_str(), it.key.map_index), it)).collect();
    let mut by_task: HashMap<&str, Vec<&Other>> = HashMap::new();
    if instances.iter().any(|it| !it.state.is_finished() || it.try_number == 0) {
        for other in &all {
            by_task.entry(&other.task_id).or_default().push(other);
        }
    }
    // One that has been deleted since is left out.
    let row = |other: &&Other| {
        let instance = by_key.get(&(other.task_id.as_str(), other.map_index))?;
        let why = why::beside(instance, &told.task_among(instance, &by_task), now);
        Some(Row::new(instance, &run, &dag, why, now))
    };
    let href = links::run(&dag_id, &run_id);
    let at = |from: usize| {
        let from = if from == 0 { String::new() } else { from.to_string() };
        links::query(&href, &[("state", only.map(<&str>::from).unwrap_or_default()), ("from", &from)])
    };
    let crumbs = vec![Crumb::dags(), Crumb::link(&dag_id, links::dag(&dag_id)), Crumb::here(&run_id)];
    html(&RunPage {
        frame: Frame::new(&state, now, crumbs, !run.state.is_finished()).await.of_dag(dag.spec()),
        now,
        run_id: shown(&run_id),
        dag_id: shown(&dag_id),
        dag_href: links::dag(&dag_id),
        href: href.clone(),
        run_query: links::query("", &[("run", &run_id)]),
        is_over: run.state.is_finished(),
        state: run.state.into(),
        waiting: waiting(&run, &told.reasons(), now),
        facts: facts(&run, &state.store.deadlines_of_run(run.key).await?),
        started: run.start_date.map(|at| Moment::new(at, now)),
        took: took(run.start_date, run.end_date, now),
        note: run.note.as_deref().map(shown).unwrap_or_default(),
        conf: (!run.conf.is_empty()).then(|| pretty(&Value::Object(run.conf.clone()))),
        failed: failed.iter().filter_map(row).collect(),
        counts: counts(&all, &run, only),
        rows: part.iter().filter_map(row).collect(),
        earlier: (params.from > 0).then(|| at(params.from.saturating_sub(ROWS))),
        more: (left > 0)
            .then(|| (plural(left as u64, "more task instance", "more task instances"), at(params.from + ROWS))),
        is_sorted,
    })
}

/// Those to show, as the work flows; what is no longer in the DAG comes last. Of more than fit into one part those
/// come first that need somebody, and whether that is so.
fn in_order<'a>(all: &'a [Other], dag: &Dag, only: Option<TaskState>) -> (Vec<&'a Other>, bool) {
    let mut place = vec![usize::MAX; dag.tasks().len()];
    for (position, index) in dag.topological().iter().enumerate() {
        place[*index] = position;
    }
    let wanted: Vec<&Other> = all.iter().filter(|it| only.is_none_or(|state| it.state == state)).collect();
    let is_sorted = wanted.len() > ROWS && only.is_none();
    // By id they are already, so that those of a task have one place.
    let mut last: Option<(&str, usize)> = None;
    let mut keyed: Vec<(u8, usize, &Other)> = Vec::with_capacity(wanted.len());
    for it in wanted {
        let position = match last {
            Some((task_id, position)) if task_id == it.task_id => position,
            _ => dag.index_of(&it.task_id).map_or(usize::MAX, |index| place[index]),
        };
        last = Some((&it.task_id, position));
        keyed.push((if is_sorted { 9 - urgency(it.state) } else { 0 }, position, it));
    }
    keyed.sort_by_key(|(rank, position, _)| (*rank, *position));
    (keyed.into_iter().map(|(_, _, it)| it).collect(), is_sorted)
}

/// What keeps the run from starting or going on; that it runs or is over stands beside it.
fn waiting(run: &RunRecord, reasons: &[Reason], now: DateTime<Utc>) -> Option<String> {
    let is_news = |reason: &&Reason| !matches!(reason, Reason::RunRunning { .. } | Reason::RunEnded { .. });
    let news: Vec<Reason> = reasons.iter().filter(is_news).cloned().collect();
    (!run.state.is_finished() && !news.is_empty()).then(|| why::line(&news, now))
}

fn facts(run: &RunRecord, deadlines: &[DeadlineRecord]) -> Vec<(&'static str, String)> {
    let mut facts =
        vec![("Type", run.run_type.to_string()), ("Triggered by", run.triggered_by.to_string().replace('_', " "))];
    if let Some(user) = &run.triggering_user {
        facts.push(("User", shown(user)));
    }
    if let Some(date) = run.logical_date {
        facts.push(("Logical date", absolute(date)));
    }
    if let Some(interval) = run.data_interval.filter(|interval| interval.start != interval.end) {
        facts.push(("Data interval", format!("{} to {}", absolute(interval.start), absolute(interval.end))));
    }
    facts.push(("Run after", absolute(run.run_after)));
    for deadline in deadlines {
        let missed = if deadline.missed_at.is_some() { ", missed" } else { "" };
        let text = format!("{}{missed} ({})", absolute(deadline.deadline_time), shown(&deadline.words()));
        facts.push(("Deadline", text));
    }
    if let Some(queue) = &run.queue {
        facts.push(("Queue", shown(queue)));
    }
    facts.push(("DAG version", run.version_number.to_string()));
    facts
}

fn counts(all: &[Other], run: &RunRecord, only: Option<TaskState>) -> Vec<Count> {
    let href = links::run(&run.dag_id, &run.run_id);
    let mut numbers: HashMap<TaskState, usize> = HashMap::new();
    for it in all {
        *numbers.entry(it.state).or_default() += 1;
    }
    TaskState::iter()
        .filter_map(|state| {
            let is_on = only == Some(state);
            let number = numbers.get(&state).copied().unwrap_or_default();
            (number > 0 || is_on).then(|| Count {
                state: state.into(),
                count: count(number),
                // Pressed again, it shows everything.
                href: if is_on { href.clone() } else { format!("{href}?state={state}") },
                is_on,
            })
        })
        .collect()
}

impl Row {
    fn new(instance: &TaskInstanceRecord, run: &RunRecord, dag: &Dag, why: String, now: DateTime<Utc>) -> Self {
        Self {
            href: links::task(&run.dag_id, &run.run_id, &instance.key),
            task_id: shown(&instance.key.task_id),
            map_index: instance.shown_index().as_deref().map(shown),
            operator: dag.task(&instance.key.task_id).map(|task| shown(&task.operator)).unwrap_or_default(),
            state: instance.state.into(),
            tries: if instance.try_number == 0 { String::new() } else { instance.try_number.to_string() },
            started: instance.start_date.map(|at| Moment::new(at, now)),
            // What ended without a try took no time, which is no news.
            took: took(instance.start_date.filter(|_| instance.try_number > 0), instance.end_date, now)
                .unwrap_or_default(),
            why,
            clear: {
                let map_index =
                    if instance.key.map_index < 0 { String::new() } else { instance.key.map_index.to_string() };
                let values = [("task", instance.key.task_id.as_str()), ("map_index", &map_index), ("downstream", "1")];
                links::query(&format!("{}/clear", links::run(&run.dag_id, &run.run_id)), &values)
            },
        }
    }
}
