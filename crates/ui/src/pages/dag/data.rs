//! The data of one run: what its tasks have read and what they have left.

use std::collections::{HashMap, HashSet};

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use towpath_model::dag::{Dag, Task};
use towpath_model::etl::{Input, Inputs, Source, Step};
use towpath_store::{Left, LeftBy, RunRecord, TaskKey};

use super::super::data::OPERATORS_OF_DATA;
use super::super::html;
use super::grid::urgency;
use super::{Choice, Head, Shown, load_run};
use crate::frame::Frame;
use crate::view::state::Badge;
use crate::view::text::{count, cut, plural, shown, size};
use crate::{Result, State, links};

/// Tasks in the table.
const TASKS: usize = 150;
/// Task instances whose data is looked at.
const SETS: usize = 300;
/// Columns that are named.
const COLUMNS: usize = 12;
/// Things that a task reads which are named.
const INPUTS: usize = 8;
/// Bytes of a place or a name.
const TEXT_BYTES: usize = 160;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    run: String,
}

#[derive(Template)]
#[template(path = "dag/data.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    choices: Vec<Choice>,
    run: Option<Shown>,
    rows: Vec<Row>,
    left_out: Option<String>,
    is_partial: bool,
}

struct Row {
    task_id: String,
    operator: String,
    href: String,
    state: Option<Badge>,
    /// What it reads: its name, and where it is shown if a task of the DAG has left it.
    inputs: Vec<(String, Option<String>)>,
    output: Option<Output>,
}

struct Output {
    instances: Option<String>,
    rows: String,
    bytes: String,
    place: String,
    columns: Vec<(String, String)>,
    columns_left: Option<String>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let of = load_run(&state, &dag_id, &params.run, "Data", now).await?;
    let mut page = Page {
        now,
        run: of.shown(),
        frame: of.frame,
        choices: of.choices,
        head: of.head,
        rows: Vec::new(),
        left_out: None,
        is_partial: false,
    };
    if let Some(run) = of.run {
        let dag = of.dag;
        // Those that only run commands may have XComs by the thousand.
        let is_asked = |task_id: &str| dag.task(task_id).is_none_or(|task| may_leave_data(&task.operator));
        let (left, is_partial) = state.store.data_of_run(&run, is_asked, SETS).await?;
        page.is_partial = is_partial;
        (page.rows, page.left_out) = rows(&state, &run, &dag, &left).await?;
    }
    html(&page)
}

fn may_leave_data(operator: &str) -> bool {
    OPERATORS_OF_DATA.contains(&operator) || operator == "python" || operator == "sql"
}

async fn rows(state: &State, run: &RunRecord, dag: &Dag, left: &[LeftBy]) -> Result<(Vec<Row>, Option<String>)> {
    let mut by_task: HashMap<&str, Vec<&LeftBy>> = HashMap::new();
    for one in left {
        by_task.entry(&one.task_id).or_default().push(one);
    }
    let is_shown = |task: &&Task| {
        OPERATORS_OF_DATA.contains(&task.operator.as_str()) || by_task.contains_key(task.task_id.as_str())
    };
    // Who reads stands below what it reads.
    let tasks = dag.topological().iter().map(|at| &dag.tasks()[*at]);
    let tasks: Vec<&Task> = tasks.filter(is_shown).collect();
    let known: HashSet<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    let ids: Vec<String> = tasks.iter().take(TASKS).map(|task| task.task_id.clone()).collect();
    let states = state.store.task_states(run.key, &ids).await?;
    let mut worst: HashMap<&str, towpath_model::state::TaskState> = HashMap::new();
    for (task_id, state) in &states {
        let seen = worst.entry(task_id).or_insert(*state);
        if urgency(*state) > urgency(*seen) {
            *seen = *state;
        }
    }
    let href = |task_id: &str, map_index: i32| {
        let key = TaskKey { run_key: run.key, task_id: task_id.to_owned(), map_index };
        format!("{}#data", links::task(&run.dag_id, &run.run_id, &key))
    };
    let row = |task: &&Task| {
        let found = by_task.get(task.task_id.as_str()).map(Vec::as_slice).unwrap_or_default();
        Row {
            task_id: shown(&task.task_id),
            operator: shown(&task.operator),
            href: href(&task.task_id, found.first().map_or(-1, |first| first.map_index)),
            state: worst.get(task.task_id.as_str()).map(|state| (*state).into()),
            inputs: inputs(dag, task, |id| known.contains(id))
                .into_iter()
                .take(INPUTS)
                .map(|(name, of)| {
                    let of = of.filter(|id| known.contains(id.as_str())).map(|id| href(&id, -1));
                    (shown(cut(&name, TEXT_BYTES)), of)
                })
                .collect(),
            output: output(found),
        }
    };
    let left_out = tasks.len().saturating_sub(TASKS);
    let left_out = (left_out > 0).then(|| plural(left_out as u64, "more task", "more tasks"));
    Ok((tasks.iter().take(TASKS).map(row).collect(), left_out))
}

/// What the instances of a task have left together.
fn output(found: &[&LeftBy]) -> Option<Output> {
    let first = found.first()?;
    let (mut rows, mut bytes) = (0, 0);
    for one in found {
        match &one.left {
            Left::DataSet(manifest) => {
                rows += manifest.rows;
                bytes += manifest.bytes;
            }
            Left::Load(load) => {
                rows += load.rows;
                bytes += load.bytes.unwrap_or_default();
            }
        }
    }
    let (place, columns) = match &first.left {
        Left::DataSet(manifest) => (&manifest.location, manifest.schema.as_slice()),
        Left::Load(load) => (&load.place, [].as_slice()),
    };
    let left = columns.len().saturating_sub(COLUMNS);
    let name = |text: &str| shown(cut(text, TEXT_BYTES));
    Some(Output {
        instances: (first.map_index >= 0).then(|| plural(found.len() as u64, "instance", "instances")),
        rows: count(rows),
        bytes: if bytes == 0 { String::new() } else { size(usize::try_from(bytes).unwrap_or(usize::MAX)).into_owned() },
        place: name(place),
        columns: columns.iter().take(COLUMNS).map(|it| (name(&it.name), name(&it.kind))).collect(),
        columns_left: (left > 0).then(|| format!("and {}", count(left as u64))),
    })
}

/// What a data task is told to read: a name, and the id of the task if one has left it. Where its arguments do not
/// say, those before it that `leaves` names.
fn inputs(dag: &Dag, task: &Task, leaves: impl Fn(&str) -> bool) -> Vec<(String, Option<String>)> {
    fn read<T: DeserializeOwned>(task: &Task, name: &str) -> Option<T> {
        serde_json::from_value(task.args.get(name)?.clone()).ok()
    }
    let mut given: Vec<Input> =
        read::<Source>(task, "source").map(|it| Input::Source(Box::new(it))).into_iter().collect();
    given.extend(read::<Inputs>(task, "input").into_iter().flat_map(|inputs| inputs.0).map(|(_, input)| input));
    for step in read::<Vec<Step>>(task, "steps").unwrap_or_default() {
        match step {
            Step::Join(join) => given.push(join.with),
            Step::Union(union) => given.extend(union.with.0.into_iter().map(|(_, input)| input)),
            _ => {}
        }
    }
    if given.is_empty() {
        // It is mapped over data, or asks for it in Python.
        return task.upstream.iter().map(|id| (id.clone(), Some(id.clone()))).filter(|(id, _)| leaves(id)).collect();
    }
    given.into_iter().map(|input| named(dag, task, input)).collect()
}

fn named(dag: &Dag, task: &Task, input: Input) -> (String, Option<String>) {
    match input {
        Input::Task(id) => {
            // In a group the id may be written without the names of its groups.
            let full = task.upstream.iter().find(|it| **it == id || it.ends_with(&format!(".{id}")));
            let full = full.cloned().or_else(|| dag.task(&id).map(|task| task.task_id.clone()));
            (id, full)
        }
        Input::Source(source) => match *source {
            Source::File(file) => (file.paths.join(", "), None),
            Source::Table(table) => (format!("table {}, connection {}", table.table, table.connection), None),
            Source::Query(query) => (format!("query on connection {}", query.connection), None),
            Source::Rows(rows) => (plural(rows.rows.len() as u64, "row in the DAG file", "rows in the DAG file"), None),
        },
    }
}
