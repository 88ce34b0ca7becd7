//! One DAG: how it is set up, how its runs went task by task, and the file it came from.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::dag::Dag;
use towpath_store::{RunFilter, RunRecord, TaskInstanceRecord, TaskKey};

use super::home::Broken;
use super::{find_dag, html};
use crate::frame::{Crumb, Frame};
use crate::view::moment::{Moment, span, took};
use crate::view::run::{RunRow, dot};
use crate::view::state::{Badge, Dot};
use crate::view::text::{cut, plural, shown, size};
use crate::{Result, State, links};

/// Runs in the grid.
const RUNS: u32 = 25;
/// Tasks in the grid.
const TASKS: usize = 200;
/// Most of the file that is shown.
const SOURCE_BYTES: usize = 256 * 1024;
/// Height of the longest bar over the grid, in pixels.
const BAR: u32 = 36;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// Part of the ids of the tasks to show.
    task: String,
}

#[derive(Template)]
#[template(path = "dag.html")]
struct DagPage {
    frame: Frame,
    now: DateTime<Utc>,
    href: String,
    dag_id: String,
    description: String,
    tags: Vec<String>,
    owners: String,
    schedule: String,
    /// As it is written, where that differs from the words.
    cron: Option<String>,
    is_paused: bool,
    is_stale: bool,
    next: Option<Moment>,
    broken: Option<Broken>,
    task_filter: String,
    grid: Grid,
    runs: Vec<RunRow>,
    all_runs: String,
    file: String,
    version: i32,
    source: String,
    source_cut: Option<String>,
}

/// Tasks as rows, runs as columns, the newest at the right.
struct Grid {
    columns: Vec<Column>,
    rows: Vec<GridRow>,
    /// Says how many tasks have no row.
    left_out: Option<String>,
}

struct Column {
    dot: Dot,
    /// Height of the bar of its duration, in pixels.
    bar: u32,
    took: String,
}

struct GridRow {
    task_id: String,
    operator: String,
    /// As many as there are columns.
    cells: Vec<Option<Dot>>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let record = find_dag(&state, &dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let filter = RunFilter { dag_id: Some(dag_id.clone()), newest_first: true, limit: RUNS, ..RunFilter::default() };
    let page = state.store.runs(&filter).await?;
    let mut instances = HashMap::new();
    for run in &page.items {
        instances.insert(run.key, state.store.task_instances(run.key).await?);
    }
    let version = state.store.version(record.version_id).await?;
    let source = version.as_ref().map(|version| version.source.as_str()).unwrap_or_default();
    let errors = state.store.import_errors().await?;
    let is_busy = page.items.iter().any(|run| !run.state.is_finished());
    let crumbs = vec![Crumb::link("DAGs", "/".to_owned()), Crumb::here(&dag_id)];
    let spec = dag.spec();
    let (words, written) = (spec.schedule_words(), spec.schedule_summary());
    html(&DagPage {
        frame: Frame::new(&state, now, crumbs, is_busy).await,
        now,
        href: links::dag(&dag_id),
        dag_id: shown(&dag_id),
        description: record.description.as_deref().map(shown).unwrap_or_default(),
        tags: record.tags.iter().map(|tag| shown(tag)).collect(),
        owners: shown(&record.owners.join(", ")),
        cron: (spec.schedule.is_scheduled() && written != words).then(|| shown(&written)),
        schedule: shown(&words),
        is_paused: record.is_paused,
        is_stale: !record.is_active,
        next: record.next_run.filter(|_| !record.is_paused).map(|next| Moment::new(next.run_after, now)),
        broken: errors.iter().find(|error| error.file == record.file).map(|error| Broken::new(error, now)),
        grid: grid(&dag, &page.items, &instances, params.task.trim(), now),
        task_filter: shown(&params.task),
        runs: page.items.iter().map(|run| RunRow::new(run, now)).collect(),
        all_runs: plural(page.total, "run", "runs"),
        file: shown(&record.file),
        version: record.version_number,
        source: shown(cut(source, SOURCE_BYTES)),
        source_cut: (source.len() > SOURCE_BYTES).then(|| size(source.len()).into_owned()),
    })
}

/// `runs` come newest first.
fn grid(
    dag: &Dag,
    runs: &[RunRecord],
    instances: &HashMap<i64, Vec<TaskInstanceRecord>>,
    filter: &str,
    now: DateTime<Utc>,
) -> Grid {
    let filter = filter.to_lowercase();
    let wanted: Vec<usize> = dag
        .topological()
        .iter()
        .copied()
        .filter(|index| dag.tasks()[*index].task_id.to_lowercase().contains(&filter))
        .collect();
    let left_out = wanted.len().saturating_sub(TASKS);
    let mut rows: Vec<GridRow> = wanted
        .iter()
        .take(TASKS)
        .map(|index| &dag.tasks()[*index])
        .map(|task| GridRow { task_id: shown(&task.task_id), operator: shown(&task.operator), cells: Vec::new() })
        .collect();
    // One that hangs must not make the others look alike.
    let is_over = |run: &&RunRecord| run.state.is_finished();
    let longest = |runs: &mut dyn Iterator<Item = &RunRecord>| {
        runs.filter_map(|run| span(run.start_date, run.end_date, now)).max()
    };
    let longest = longest(&mut runs.iter().filter(is_over)).or_else(|| longest(&mut runs.iter())).unwrap_or_default();
    let mut columns = Vec::new();
    for run in runs.iter().rev() {
        let part = span(run.start_date, run.end_date, now)
            .map(|span| span.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE))
            .unwrap_or_default();
        columns.push(Column {
            dot: dot(run, now),
            bar: ((part * f64::from(BAR)).round() as u32).clamp(1, BAR),
            took: took(run.start_date, run.end_date, now).unwrap_or_default(),
        });
        let mut cells = cells(run, instances.get(&run.key).map_or(&[][..], Vec::as_slice), now);
        for (row, index) in rows.iter_mut().zip(&wanted) {
            row.cells.push(cells.remove(dag.tasks()[*index].task_id.as_str()));
        }
    }
    Grid { columns, rows, left_out: (left_out > 0).then(|| plural(left_out as u64, "more task", "more tasks")) }
}

/// The cells of one run by task; of a mapped task the instance that says most.
fn cells<'a>(run: &RunRecord, instances: &'a [TaskInstanceRecord], now: DateTime<Utc>) -> HashMap<&'a str, Dot> {
    let mut most: HashMap<&str, (&TaskInstanceRecord, u32)> = HashMap::new();
    for instance in instances {
        let entry = most.entry(&instance.key.task_id).or_insert((instance, 0));
        entry.1 += 1;
        if urgency(instance) > urgency(entry.0) {
            entry.0 = instance;
        }
    }
    most.into_iter()
        .map(|(task_id, (instance, count))| {
            let mut about = shown(task_id);
            if count > 1 {
                about.push_str(&format!(", {count} mapped"));
            }
            if let Some(took) = took(instance.start_date, instance.end_date, now) {
                about.push_str(&format!(", {took}"));
            }
            if instance.try_number > 1 {
                about.push_str(&format!(", try {}", instance.try_number));
            }
            let key = TaskKey { task_id: task_id.to_owned(), ..instance.key };
            (
                task_id,
                Dot { badge: Badge::from(instance.state), href: links::task(&run.dag_id, &run.run_id, &key), about },
            )
        })
        .collect()
}

fn urgency(instance: &TaskInstanceRecord) -> u8 {
    use towpath_model::state::TaskState as S;
    match instance.state {
        S::Failed => 6,
        S::UpForRetry => 5,
        S::Running | S::Restarting => 4,
        S::Queued | S::Scheduled | S::UpForReschedule | S::Deferred => 3,
        S::UpstreamFailed | S::None => 2,
        S::Skipped | S::Removed => 1,
        S::Success => 0,
    }
}
