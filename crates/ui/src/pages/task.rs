//! One task instance: its tries, the log of one of them, what it was told and what it passed on.

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::http::HeaderMap;
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::dag::Dag;
use towpath_model::duration::humanize;
use towpath_model::state::TaskState;
use towpath_store::{LogKey, RunRecord, TaskInstanceRecord, TaskKey, TryRecord, Usage};

use super::dag::grid::urgency;
use super::data::{self, Data};
use super::{find_run, html, log};
use crate::frame::{Crumb, Frame};
use crate::view::json::pretty;
use crate::view::log::{Log, Place};
use crate::view::moment::{Moment, took};
use crate::view::state::Badge;
use crate::view::text::{shown, size};
use crate::view::why;
use crate::{Error, Result, State, links};

/// The script says so when it asks for news of a page, and follows the log by other means.
const NEWS: &str = "x-towpath-news";

/// Neighbours that are named, on each side.
const NEIGHBOURS: usize = 40;
/// Instances of a mapped task that are listed.
const INSTANCES: usize = 500;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    pub(super) map_index: Option<i32>,
    #[serde(rename = "try")]
    pub(super) try_number: Option<u32>,
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    frame: Frame,
    now: DateTime<Utc>,
    task_id: String,
    map_index: Option<String>,
    dag_id: String,
    dag_href: String,
    run_id: String,
    run_href: String,
    state: Badge,
    why: Option<String>,
    facts: Vec<(&'static str, String)>,
    tabs: Vec<Tab>,
    attempt: Option<Attempt>,
    arguments: Vec<(String, String)>,
    /// The arguments as the last try got them, and which try that was.
    rendered: Vec<(String, String)>,
    rendered_try: u32,
    data: Data,
    xcoms: Vec<XCom>,
    doc: String,
    upstream: Vec<Neighbour>,
    downstream: Vec<Neighbour>,
    /// Instances of a mapped task, where none is chosen.
    instances: Vec<(Badge, String, String, String)>,
    actions: Actions,
}

/// A task beside this one, as it is in this run.
struct Neighbour {
    task_id: String,
    href: String,
    state: Option<Badge>,
    count: u64,
}

/// Where each action leads.
pub(super) struct Actions {
    pub(super) clear: String,
    pub(super) success: String,
    pub(super) failed: String,
    /// It waits for its time and need not.
    pub(super) retry: Option<String>,
    pub(super) map_index: String,
}

/// One try, to choose from.
pub(super) struct Tab {
    pub(super) number: u32,
    pub(super) state: Badge,
    pub(super) href: String,
    pub(super) is_on: bool,
}

/// The try that is shown.
struct Attempt {
    number: u32,
    started: Option<Moment>,
    ended: Option<Moment>,
    took: Option<String>,
    waited: Option<String>,
    place: Option<String>,
    used: Vec<(&'static str, String)>,
    note: String,
    /// More may be written.
    is_open: bool,
    log: Option<Log>,
    more_href: String,
    whole_href: String,
}

struct XCom {
    key: String,
    value: String,
    at: Moment,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let run = find_run(&state, &dag_id, &run_id).await?;
    let (instance, others) = found(&state, &run, task_id, params.map_index).await?;
    let key = instance.key.clone();
    let dag = state.store.dag_of_version(instance.version_id).await?;
    let tries = state.store.tries(&key).await?;
    let shown_try = params.try_number.unwrap_or(instance.try_number);
    let attempt = match tries.iter().find(|attempt| attempt.try_number == shown_try) {
        Some(record) => {
            let wants_log = !headers.contains_key(NEWS);
            Some(attempt(&state, &instance, record, wants_log, now).await?)
        }
        None if params.try_number.is_some() => return Err(Error::no_such("try", &shown_try.to_string())),
        None => None,
    };
    let xcoms = state.store.task_xcoms(&key).await?;
    let told = state.store.explain_task(&run, &key.task_id, key.map_index, now).await?;
    let reasons: Vec<_> = told.reasons.into_iter().map(|told| told.reason).collect();
    let why = Some(why::line(&reasons, now));
    let crumbs = vec![
        Crumb::dags(),
        Crumb::link(&dag_id, links::dag(&dag_id)),
        Crumb::link(&run_id, links::run(&dag_id, &run_id)),
        Crumb::here(&key.task_id),
    ];
    let task = dag.task(&key.task_id);
    let is_data_task = task.is_some_and(|task| data::OPERATORS_OF_DATA.contains(&task.operator.as_str()));
    let data = data::of(&state, &run, &instance, is_data_task).await?;
    let kept = state.store.rendered(std::slice::from_ref(&key)).await?.remove(&key);
    let rendered_try = kept.as_ref().map_or(0, |kept| kept.try_number);
    let rendered = kept.map(|kept| kept.fields).unwrap_or_default();
    html(&TaskPage {
        frame: Frame::new(&state, now, crumbs, !instance.state.is_finished()).await.of_dag(dag.spec()),
        now,
        task_id: shown(&key.task_id),
        map_index: instance.shown_index().as_deref().map(shown),
        dag_id: shown(&dag_id),
        dag_href: links::dag(&dag_id),
        run_id: shown(&run_id),
        run_href: links::run(&dag_id, &run_id),
        state: instance.state.into(),
        why,
        facts: facts(&instance, task),
        doc: task.and_then(|task| task.doc_md.as_deref()).map(shown).unwrap_or_default(),
        upstream: neighbours(&state, &run, &dag, &key.task_id, true).await?,
        downstream: neighbours(&state, &run, &dag, &key.task_id, false).await?,
        instances: others.iter().take(INSTANCES).map(|it| mapped(it, now)).collect(),
        actions: Actions::of(&instance),
        tabs: tabs(&instance, &tries, shown_try),
        attempt,
        arguments: task
            .map(|task| task.args.iter().map(|(name, value)| (shown(name), argument(value))).collect())
            .unwrap_or_default(),
        rendered: rendered.iter().map(|(name, value)| (shown(name), argument(value))).collect(),
        rendered_try,
        data,
        xcoms: xcoms
            .iter()
            .map(|xcom| XCom {
                key: shown(&xcom.key),
                value: match &xcom.file {
                    Some(_) => "too large for a page; `towpath xcom get` and the API show it".into(),
                    None => pretty(&xcom.value),
                },
                at: Moment::new(xcom.at, now),
            })
            .collect(),
    })
}

/// The instance that is meant: of a mapped task the one that says most, with all the others.
pub(super) async fn found(
    state: &State,
    run: &RunRecord,
    task_id: String,
    map_index: Option<i32>,
) -> Result<(TaskInstanceRecord, Vec<TaskInstanceRecord>)> {
    let key = TaskKey { run_key: run.key, task_id, map_index: map_index.unwrap_or(-1) };
    match (map_index, state.store.task_instance(&key).await?) {
        (_, Some(instance)) => Ok((instance, Vec::new())),
        (None, None) => {
            let mut all = state.store.task_instances(run.key).await?;
            all.retain(|it| it.key.task_id == key.task_id);
            let most = all.iter().max_by_key(|it| (urgency(it.state), std::cmp::Reverse(it.key.map_index))).cloned();
            Ok((most.ok_or_else(|| Error::no_such("task instance", &key.task_id))?, all))
        }
        (Some(_), None) => Err(Error::no_such("task instance", &key.task_id)),
    }
}

/// What the processes of a try have used, in words.
pub(super) fn used(usage: Option<Usage>) -> Vec<(&'static str, String)> {
    let Some(usage) = usage else { return Vec::new() };
    let peak = usize::try_from(usage.peak_bytes).unwrap_or(usize::MAX);
    let mut used = vec![("Processor time", humanize(std::time::Duration::from_millis(usage.cpu_ms)))];
    if peak > 0 {
        used.push(("Largest memory", size(peak).into_owned()));
    }
    used
}

pub(super) async fn find(state: &State, key: &TaskKey) -> Result<TaskInstanceRecord> {
    let instance = state.store.task_instance(key).await?;
    instance.ok_or_else(|| Error::no_such("task instance", &key.task_id))
}

/// Whether a try of an instance can still write to its log.
pub(super) fn is_open(instance: &TaskInstanceRecord, try_number: u32) -> bool {
    instance.try_number == try_number && instance.state.is_live()
}

async fn attempt(
    state: &State,
    instance: &TaskInstanceRecord,
    record: &TryRecord,
    wants_log: bool,
    now: DateTime<Utc>,
) -> Result<Attempt> {
    let key = LogKey { task: instance.key.clone(), try_number: record.try_number };
    // Read before the log: what is written in between is then asked for once more.
    let is_open = is_open(instance, record.try_number);
    let log = if wants_log { Some(Log::read(&state.store, &key, Place::START).await?) } else { None };
    let place = record.hostname.as_deref().map(|hostname| match record.pid {
        Some(pid) => format!("{}, process {pid}", shown(hostname)),
        None => shown(hostname),
    });
    Ok(Attempt {
        number: record.try_number,
        started: record.start_date.map(|at| Moment::new(at, now)),
        ended: record.end_date.map(|at| Moment::new(at, now)),
        took: took(record.start_date, record.end_date, now),
        waited: record.start_date.and_then(|start| took(record.queued_at, Some(start), now)),
        place,
        used: used(record.usage),
        note: record.note.as_deref().map(shown).unwrap_or_default(),
        is_open,
        log,
        more_href: log::address(instance, record.try_number, "log"),
        whole_href: log::address(instance, record.try_number, "log.txt"),
    })
}

/// Those directly before or after a task, at most some of them.
async fn neighbours(
    state: &State,
    run: &RunRecord,
    dag: &Dag,
    task_id: &str,
    is_upstream: bool,
) -> Result<Vec<Neighbour>> {
    let Some(index) = dag.index_of(task_id) else { return Ok(Vec::new()) };
    let ids: Vec<String> = if is_upstream {
        dag.upstream(index).take(NEIGHBOURS).map(|index| dag.tasks()[index].task_id.clone()).collect()
    } else {
        dag.downstream(index).take(NEIGHBOURS).map(|index| dag.tasks()[index].task_id.clone()).collect()
    };
    let states = state.store.task_states(run.key, &ids).await?;
    let of = |id: &str| states.iter().filter(|(task_id, _)| task_id == id).map(|(_, state)| *state).collect::<Vec<_>>();
    Ok(ids
        .iter()
        .map(|id| {
            let states = of(id);
            Neighbour {
                task_id: shown(id),
                href: format!("{}/tasks/{}", links::run(&run.dag_id, &run.run_id), links::part(id)),
                state: states.iter().max_by_key(|state| urgency(**state)).map(|state| (*state).into()),
                count: states.len() as u64,
            }
        })
        .collect())
}

fn mapped(instance: &TaskInstanceRecord, now: DateTime<Utc>) -> (Badge, String, String, String) {
    (
        instance.state.into(),
        instance.key.map_index.to_string(),
        links::task(&instance.dag_id, &instance.run_id, &instance.key),
        took(instance.start_date, instance.end_date, now).unwrap_or_default(),
    )
}

impl Actions {
    pub(super) fn of(instance: &TaskInstanceRecord) -> Self {
        let run = links::run(&instance.dag_id, &instance.run_id);
        let TaskKey { task_id, map_index, .. } = &instance.key;
        let map_index = if *map_index < 0 { String::new() } else { map_index.to_string() };
        let to = |action: &str, more: (&str, &str)| {
            let values = [("task", task_id.as_str()), ("map_index", &map_index), more];
            links::query(&format!("{run}/{action}"), &values)
        };
        let waits = matches!(instance.state, TaskState::UpForRetry | TaskState::UpForReschedule);
        Self {
            clear: to("clear", ("downstream", "1")),
            success: to("mark", ("state", "success")),
            failed: to("mark", ("state", "failed")),
            retry: waits.then(|| format!("{run}/tasks/{}/retry", links::part(task_id))),
            map_index,
        }
    }
}

pub(super) fn tabs(instance: &TaskInstanceRecord, tries: &[TryRecord], shown_try: u32) -> Vec<Tab> {
    let href = links::task(&instance.dag_id, &instance.run_id, &instance.key);
    let joint = if href.contains('?') { '&' } else { '?' };
    tries
        .iter()
        .map(|attempt| Tab {
            number: attempt.try_number,
            state: attempt.state.into(),
            href: format!("{href}{joint}try={}", attempt.try_number),
            is_on: attempt.try_number == shown_try,
        })
        .collect()
}

fn facts(instance: &TaskInstanceRecord, task: Option<&towpath_model::dag::Task>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(task) = task {
        facts.push(("Operator", shown(&task.operator)));
        facts.push(("Trigger rule", task.trigger_rule.to_string()));
        facts.push(("Owner", shown(&task.owner)));
    }
    facts.push(("Pool", shown(&instance.pool)));
    facts.push(("Queue", shown(&instance.queue)));
    facts.push(("Priority", instance.priority_weight.to_string()));
    facts
}

/// Text as it is, everything else as JSON.
fn argument(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => shown(text),
        other => pretty(other),
    }
}
