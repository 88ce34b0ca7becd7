//! What people do to runs and task instances. Each of these first shows what it would touch (GET)
//! and then does it (POST); without a script as with one.

use std::collections::BTreeMap;

use askama::Template;
use axum::Form;
use axum::extract::{self, Path, Query};
use axum::response::{Html, Redirect};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::state::TaskState;
use towpath_store::{Deletion, Mark, RunRecord, Selection, TaskKey, Touched};

use super::{find_dag, find_run, html, task};
use crate::frame::{Crumb, Frame};
use crate::view::state::Badge;
use crate::view::text::{plural, shown};
use crate::{Error, Result, State, links};

/// What is touched that is named.
const LINES: usize = 200;

/// A form with names that occur more than once.
pub(crate) type Pairs = Vec<(String, String)>;

/// The page that asks whether somebody is sure.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct Confirm {
    pub(crate) frame: Frame,
    pub(crate) now: DateTime<Utc>,
    pub(crate) title: String,
    pub(crate) warning: String,
    /// Where the answer goes.
    pub(crate) action: String,
    pub(crate) button: String,
    pub(crate) is_danger: bool,
    pub(crate) back: String,
    pub(crate) hidden: Vec<(String, String)>,
    /// Name, label and whether it is on; each changes what is touched.
    pub(crate) options: Vec<(&'static str, &'static str, bool)>,
    /// The fields that stay as they are when an option changes.
    pub(crate) kept: Vec<(String, String)>,
    /// How many in each state.
    pub(crate) counts: Vec<(Badge, usize)>,
    pub(crate) lines: Vec<Line>,
    pub(crate) left_out: Option<String>,
    pub(crate) is_nothing: bool,
}

/// Something that is touched.
pub(crate) struct Line {
    pub(crate) state: Badge,
    pub(crate) words: String,
}

impl Line {
    pub(crate) fn of(touched: &Touched, run_id: Option<&str>) -> Self {
        let mut words = shown(&touched.key.task_id);
        if touched.key.map_index >= 0 {
            words.push_str(&format!(" [{}]", touched.key.map_index));
        }
        if let Some(run_id) = run_id {
            words.push_str(&format!(" in {}", shown(run_id)));
        }
        Self { state: touched.state.into(), words }
    }
}

impl Confirm {
    pub(crate) fn new(
        frame: Frame,
        now: DateTime<Utc>,
        title: String,
        button: String,
        action: String,
        hidden: Pairs,
        mut lines: Vec<Line>,
    ) -> Self {
        let mut counts: BTreeMap<String, (Badge, usize)> = BTreeMap::new();
        for line in &lines {
            counts.entry(line.state.word()).or_insert((line.state, 0)).1 += 1;
        }
        let left = lines.len().saturating_sub(LINES);
        let is_nothing = lines.is_empty();
        lines.truncate(LINES);
        Self {
            frame,
            now,
            title,
            warning: String::new(),
            back: action.rsplit_once('/').map_or_else(|| "/".to_owned(), |(back, _)| back.to_owned()),
            action,
            button,
            is_danger: false,
            hidden,
            options: Vec::new(),
            kept: Vec::new(),
            counts: counts.into_values().collect(),
            lines,
            left_out: (left > 0).then(|| plural(left as u64, "more", "more")),
            is_nothing,
        }
    }
}

/// Which task instances are meant, and what they are marked as.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    task: String,
    map_index: Option<i32>,
    upstream: Option<String>,
    downstream: Option<String>,
    only_failed: Option<String>,
    /// `success`, `failed` or `skipped`.
    state: String,
}

impl Params {
    fn selection(&self) -> Selection {
        let tasks = if self.task.is_empty() {
            Vec::new()
        } else {
            vec![(self.task.clone(), self.map_index.filter(|index| *index >= 0))]
        };
        Selection {
            tasks,
            upstream: self.upstream.is_some(),
            downstream: self.downstream.is_some(),
            only_failed: self.only_failed.is_some(),
            only_running: false,
        }
    }

    fn mark(&self) -> Result<Mark> {
        match self.state.as_str() {
            "success" => Ok(Mark::Success),
            "failed" => Ok(Mark::Failed),
            "skipped" if !self.task.is_empty() => Ok(Mark::Skipped),
            other => Err(Error::BadRequest(format!("nothing can be marked as `{}`", shown(other)))),
        }
    }

    /// What stays when an option changes.
    fn kept(&self) -> Pairs {
        let map_index = self.map_index.map(|index| index.to_string()).unwrap_or_default();
        [("task", self.task.clone()), ("map_index", map_index), ("state", self.state.clone())]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn options(&self) -> Vec<(&'static str, &'static str, bool)> {
        let mut options = Vec::new();
        if !self.task.is_empty() {
            options.push(("upstream", "Everything upstream of it too", self.upstream.is_some()));
            options.push(("downstream", "Everything downstream of it too", self.downstream.is_some()));
        }
        if self.state.is_empty() {
            options.push(("only_failed", "Only what failed or could not run", self.only_failed.is_some()));
        }
        options
    }

    fn subject(&self, run_id: &str) -> String {
        match (self.task.as_str(), self.map_index.filter(|index| *index >= 0)) {
            ("", _) => format!("run {}", shown(run_id)),
            (task, None) => shown(task),
            (task, Some(index)) => format!("{} [{index}]", shown(task)),
        }
    }

    fn confirm(
        &self,
        frame: Frame,
        now: DateTime<Utc>,
        title: String,
        button: String,
        action: String,
        lines: Vec<Line>,
    ) -> Confirm {
        let mut hidden = self.kept();
        for (name, _, is_on) in self.options() {
            if is_on {
                hidden.push((name.to_owned(), "1".to_owned()));
            }
        }
        let confirm = Confirm::new(frame, now, title, button, action, hidden, lines);
        Confirm { options: self.options(), kept: self.kept(), ..confirm }
    }
}

type RunPath = Path<(String, String)>;

async fn frame(state: &State, dag_id: &str, run_id: &str, here: &str, now: DateTime<Utc>) -> Frame {
    let crumbs = vec![
        Crumb::dags(),
        Crumb::link(dag_id, links::dag(dag_id)),
        Crumb::link(run_id, links::run(dag_id, run_id)),
        Crumb::here(here),
    ];
    Frame::new(state, now, crumbs, false).await.still()
}

/// Where somebody goes on after an action: to the task that it was about, or to the run.
fn after(run: &RunRecord, params: &Params) -> Redirect {
    if params.task.is_empty() {
        return Redirect::to(&links::run(&run.dag_id, &run.run_id));
    }
    let key = TaskKey { run_key: run.key, task_id: params.task.clone(), map_index: params.map_index.unwrap_or(-1) };
    Redirect::to(&links::task(&run.dag_id, &run.run_id, &key))
}

pub(crate) async fn clear_preview(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): RunPath,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let run = find_run(&state, &dag_id, &run_id).await?;
    let touched = state.store.clear(run.key, &params.selection(), true, now).await?;
    let lines: Vec<Line> = touched.iter().map(|touched| Line::of(touched, None)).collect();
    let button = format!("Clear {}", plural(lines.len() as u64, "task instance", "task instances"));
    let frame = frame(&state, &dag_id, &run_id, "Clear", now).await;
    let title = format!("Clear {}", params.subject(&run_id));
    let action = format!("{}/clear", links::run(&dag_id, &run_id));
    html(&Confirm {
        warning: "They run again, with their retries anew; what runs is stopped first. Logs of earlier tries stay."
            .to_owned(),
        ..params.confirm(frame, now, title, button, action, lines)
    })
}

pub(crate) async fn clear(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): RunPath,
    Form(params): Form<Params>,
) -> Result<Redirect> {
    let run = find_run(&state, &dag_id, &run_id).await?;
    state.store.clear(run.key, &params.selection(), false, state.clock.now()).await?;
    Ok(after(&run, &params))
}

pub(crate) async fn mark_preview(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): RunPath,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let run = find_run(&state, &dag_id, &run_id).await?;
    let mark = params.mark()?;
    let lines: Vec<Line> = if params.task.is_empty() {
        // The store decides about a whole run without asking; this is what it will find.
        let is_touched = |state: TaskState| match mark {
            Mark::Success => state != TaskState::Success && state != TaskState::Skipped,
            Mark::Failed | Mark::Skipped => !state.is_finished(),
        };
        let instances = state.store.task_instances(run.key).await?;
        let touched = instances.into_iter().filter(|instance| is_touched(instance.state));
        touched.map(|it| Line::of(&Touched { key: it.key, state: it.state }, None)).collect()
    } else {
        let touched = state.store.mark(run.key, &params.selection(), mark, true, now).await?;
        touched.iter().map(|touched| Line::of(touched, None)).collect()
    };
    let frame = frame(&state, &dag_id, &run_id, "Mark", now).await;
    let title = format!("Mark {} as {mark}", params.subject(&run_id));
    let button = match (params.task.is_empty(), lines.len()) {
        (true, _) => format!("Mark the run as {mark}"),
        (false, count) => format!("Mark {} as {mark}", plural(count as u64, "task instance", "task instances")),
    };
    let action = format!("{}/mark", links::run(&dag_id, &run_id));
    let is_run = params.task.is_empty();
    let confirm = params.confirm(frame, now, title, button, action, lines);
    html(&Confirm {
        warning: "What runs is stopped; what waits downstream decides anew.".to_owned(),
        is_danger: mark == Mark::Failed,
        is_nothing: confirm.is_nothing && !is_run,
        ..confirm
    })
}

pub(crate) async fn mark(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): RunPath,
    Form(params): Form<Params>,
) -> Result<Redirect> {
    let now = state.clock.now();
    let run = find_run(&state, &dag_id, &run_id).await?;
    let mark = params.mark()?;
    if params.task.is_empty() {
        state.store.mark_run(run.key, mark == Mark::Success, now).await?;
    } else {
        state.store.mark(run.key, &params.selection(), mark, false, now).await?;
    }
    Ok(after(&run, &params))
}

pub(crate) async fn cancel_preview(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): RunPath,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let run = find_run(&state, &dag_id, &run_id).await?;
    let instances = state.store.task_instances(run.key).await?;
    let open = instances.into_iter().filter(|instance| !instance.state.is_finished());
    let lines: Vec<Line> = open.map(|it| Line::of(&Touched { key: it.key, state: it.state }, None)).collect();
    let frame = frame(&state, &dag_id, &run_id, "Cancel", now).await;
    let title = format!("Cancel run {}", shown(&run_id));
    let action = format!("{}/cancel", links::run(&dag_id, &run_id));
    let is_over = run.state.is_finished();
    let confirm = Confirm::new(frame, now, title, "Cancel the run".to_owned(), action, Vec::new(), lines);
    html(&Confirm {
        warning: "The run fails: what runs is stopped, what has not started is skipped.".to_owned(),
        is_danger: true,
        is_nothing: is_over,
        ..confirm
    })
}

pub(crate) async fn cancel(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): RunPath,
) -> Result<Redirect> {
    let run = find_run(&state, &dag_id, &run_id).await?;
    state.store.cancel_run(run.key, "cancelled in the web UI", state.clock.now()).await?;
    Ok(Redirect::to(&links::run(&dag_id, &run_id)))
}

pub(crate) async fn delete_preview(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): RunPath,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let run = find_run(&state, &dag_id, &run_id).await?;
    let frame = frame(&state, &dag_id, &run_id, "Delete", now).await;
    let title = format!("Delete run {}", shown(&run_id));
    let action = format!("{}/delete", links::run(&dag_id, &run_id));
    let lines = vec![Line { state: run.state.into(), words: shown(&run_id) }];
    let confirm = Confirm::new(frame, now, title, "Delete the run".to_owned(), action, Vec::new(), lines);
    html(&Confirm {
        warning:
            "Its task instances, logs and XComs go with it. This cannot be undone. A run that runs is cancelled first."
                .to_owned(),
        is_danger: true,
        ..confirm
    })
}

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): RunPath,
) -> Result<Redirect> {
    let run = find_run(&state, &dag_id, &run_id).await?;
    match state.store.delete_run(run.key, true, state.clock.now()).await? {
        Deletion::Deleted | Deletion::Missing => Ok(Redirect::to(&format!("{}/runs", links::dag(&dag_id)))),
        Deletion::Running => {
            Err(Error::BadRequest(format!("run `{}` is running; cancel it before you delete it", shown(&run_id))))
        }
    }
}

pub(crate) async fn delete_dag_preview(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let record = find_dag(&state, &dag_id).await?;
    let filter = towpath_store::RunFilter {
        dag_id: Some(dag_id.clone()),
        newest_first: true,
        limit: LINES as u32,
        ..towpath_store::RunFilter::default()
    };
    let runs = state.store.runs(&filter).await?;
    let crumbs = vec![Crumb::dags(), Crumb::link(&dag_id, links::dag(&dag_id)), Crumb::here("Delete")];
    let frame = Frame::new(&state, now, crumbs, false).await.still();
    let lines = runs.items.iter().map(|run| Line { state: run.state.into(), words: shown(&run.run_id) }).collect();
    let action = format!("{}/delete", links::dag(&dag_id));
    let title = format!("Delete DAG {}", shown(&dag_id));
    let button = format!("Delete the DAG and {}", plural(runs.total, "run", "runs"));
    let stays =
        if record.is_active { " While its file is in the DAGs folder, it comes back without its history." } else { "" };
    html(&Confirm {
        warning: format!("Its versions and runs go with all their logs and XComs. This cannot be undone.{stays}"),
        is_danger: true,
        is_nothing: false,
        ..Confirm::new(frame, now, title, button, action, Vec::new(), lines)
    })
}

pub(crate) async fn delete_dag(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
) -> Result<Redirect> {
    match state.store.delete_dag(&dag_id, state.clock.now()).await? {
        Deletion::Deleted => Ok(Redirect::to(links::DAGS)),
        Deletion::Missing => Err(Error::no_such("DAG", &dag_id)),
        Deletion::Running => {
            let why = format!("a run of `{}` is running; cancel it before you delete the DAG", shown(&dag_id));
            Err(Error::BadRequest(why))
        }
    }
}

/// Which instance of the task.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Instance {
    map_index: Option<i32>,
}

/// Starts the next try of what waits for its time.
pub(crate) async fn retry(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    Form(instance): Form<Instance>,
) -> Result<Redirect> {
    let run = find_run(&state, &dag_id, &run_id).await?;
    let key = TaskKey { run_key: run.key, task_id, map_index: instance.map_index.unwrap_or(-1) };
    task::find(&state, &key).await?;
    state.store.retry_now(&key, state.clock.now()).await?;
    Ok(Redirect::to(&links::task(&dag_id, &run_id, &key)))
}
