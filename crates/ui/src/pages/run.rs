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
use towpath_store::{DeadlineRecord, Reason, RunRecord, TaskInstanceRecord};

use super::{find_run, html};
use crate::frame::{Crumb, Frame};
use crate::view::json::pretty;
use crate::view::moment::{Moment, absolute, took};
use crate::view::state::Badge;
use crate::view::text::{count, plural, shown};
use crate::view::why;
use crate::{Result, State, links};

/// Task instances in the table.
const ROWS: usize = 500;
/// Failed task instances named at the top.
const FAILED: usize = 5;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// Only task instances in this state.
    state: String,
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
    left_out: Option<String>,
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
    let mut instances = state.store.task_instances(run.key).await?;
    in_order(&mut instances, &dag);
    let only: Option<TaskState> = params.state.parse().ok();
    let mut by_task: HashMap<&str, Vec<&TaskInstanceRecord>> = HashMap::new();
    for instance in &instances {
        by_task.entry(&instance.key.task_id).or_default().push(instance);
    }
    let row = |instance: &TaskInstanceRecord| {
        let why = why::beside(instance, &told.task_among(instance, &by_task), now);
        Row::new(instance, &run, &dag, why, now)
    };
    let wanted = || instances.iter().filter(|it| only.is_none_or(|state| it.state == state));
    let left_out = wanted().count().saturating_sub(ROWS);
    let crumbs = vec![Crumb::dags(), Crumb::link(&dag_id, links::dag(&dag_id)), Crumb::here(&run_id)];
    html(&RunPage {
        frame: Frame::new(&state, now, crumbs, !run.state.is_finished()).await.of_dag(dag.spec()),
        now,
        run_id: shown(&run_id),
        dag_id: shown(&dag_id),
        dag_href: links::dag(&dag_id),
        href: links::run(&dag_id, &run_id),
        run_query: links::query("", &[("run", &run_id)]),
        is_over: run.state.is_finished(),
        state: run.state.into(),
        waiting: waiting(&run, &told.reasons(), now),
        facts: facts(&run, &state.store.deadlines_of_run(run.key).await?),
        started: run.start_date.map(|at| Moment::new(at, now)),
        took: took(run.start_date, run.end_date, now),
        note: run.note.as_deref().map(shown).unwrap_or_default(),
        conf: (!run.conf.is_empty()).then(|| pretty(&Value::Object(run.conf.clone()))),
        failed: instances.iter().filter(|it| it.state == TaskState::Failed).take(FAILED).map(row).collect(),
        counts: counts(&instances, &run, only),
        rows: wanted().take(ROWS).map(row).collect(),
        left_out: (left_out > 0).then(|| plural(left_out as u64, "more task instance", "more task instances")),
    })
}

/// As the work flows; what is no longer in the DAG comes last.
fn in_order(instances: &mut [TaskInstanceRecord], dag: &Dag) {
    let mut place = vec![usize::MAX; dag.tasks().len()];
    for (position, index) in dag.topological().iter().enumerate() {
        place[*index] = position;
    }
    instances.sort_by_cached_key(|it| {
        let position = dag.index_of(&it.key.task_id).map_or(usize::MAX, |index| place[index]);
        (position, it.key.task_id.clone(), it.key.map_index)
    });
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

fn counts(instances: &[TaskInstanceRecord], run: &RunRecord, only: Option<TaskState>) -> Vec<Count> {
    let href = links::run(&run.dag_id, &run.run_id);
    TaskState::iter()
        .filter_map(|state| {
            let is_on = only == Some(state);
            let number = instances.iter().filter(|it| it.state == state).count();
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
