//! When the tasks of one run waited and ran, and which of them the run's length hangs on.

use std::collections::{BTreeSet, HashMap};

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::dag::Dag;
use towpath_model::duration::humanize;
use towpath_store::{GridCell, RunRecord};

use super::super::html;
use super::grid::urgency;
use super::{Choice, Head, Shown, load_run};
use crate::frame::Frame;
use crate::view::moment::took;
use crate::view::state::Badge;
use crate::view::text::{plural, shown};
use crate::{Result, State, links};

/// Bars on one page.
const ROWS: usize = 500;
/// The width of the chart in its own units.
const WIDTH: f64 = 1_000.0;
/// Steps on its scale.
const TICKS: u32 = 5;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    run: String,
}

#[derive(Template)]
#[template(path = "dag/gantt.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    choices: Vec<Choice>,
    run: Option<Shown>,
    ticks: Vec<String>,
    rows: Vec<Row>,
    left_out: Option<String>,
    critical: String,
}

struct Row {
    task_id: String,
    href: String,
    badge: Badge,
    about: String,
    took: String,
    is_critical: bool,
    waited: Option<(u32, u32)>,
    ran: Option<(u32, u32)>,
}

/// A task with its times.
struct Bar<'a> {
    task_id: &'a str,
    badge: Badge,
    urgency: u8,
    queued: Option<DateTime<Utc>>,
    start: DateTime<Utc>,
    end: Option<DateTime<Utc>>,
    count: u64,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let of = load_run(&state, &dag_id, &params.run, "Gantt", now).await?;
    let mut page = Page {
        now,
        run: of.shown(),
        frame: of.frame,
        choices: of.choices,
        head: of.head,
        ticks: Vec::new(),
        rows: Vec::new(),
        left_out: None,
        critical: String::new(),
    };
    if let Some(run) = of.run {
        let cells = state.store.grid(&[run.key]).await?;
        let bars = bars(&cells);
        let critical = critical(&of.dag, &bars, now);
        page.left_out = bars
            .len()
            .checked_sub(ROWS)
            .filter(|left| *left > 0)
            .map(|left| plural(left as u64, "more task", "more tasks"));
        page.critical = critical_words(&bars, &critical, now);
        (page.ticks, page.rows) = chart(&run, &bars, &critical, now);
    }
    html(&page)
}

/// Those that have begun, in the order in which they did.
fn bars(cells: &[GridCell]) -> Vec<Bar<'_>> {
    let mut by_task: HashMap<&str, Bar<'_>> = HashMap::new();
    for cell in cells.iter().filter(|cell| cell.try_number > 0) {
        let Some(start) = cell.start_date.or(cell.queued_at) else { continue };
        let fresh = Bar {
            task_id: &cell.task_id,
            badge: cell.state.into(),
            urgency: urgency(cell.state),
            queued: cell.queued_at,
            start,
            end: cell.end_date.filter(|_| cell.state.is_finished()),
            count: cell.count,
        };
        match by_task.get_mut(cell.task_id.as_str()) {
            None => {
                by_task.insert(&cell.task_id, fresh);
            }
            Some(bar) => {
                if fresh.urgency > bar.urgency {
                    (bar.badge, bar.urgency) = (fresh.badge, fresh.urgency);
                }
                bar.queued = bar.queued.into_iter().chain(fresh.queued).min();
                bar.start = bar.start.min(fresh.start);
                bar.end = bar.end.zip(fresh.end).map(|(a, b)| a.max(b));
                bar.count += fresh.count;
            }
        }
    }
    let mut bars: Vec<Bar<'_>> = by_task.into_values().collect();
    bars.sort_unstable_by(|a, b| a.start.cmp(&b.start).then(a.task_id.cmp(b.task_id)));
    bars
}

/// From the task that ended last back along whatever each of them waited for.
fn critical<'a>(dag: &Dag, bars: &[Bar<'a>], now: DateTime<Utc>) -> BTreeSet<&'a str> {
    let ends: HashMap<&str, (DateTime<Utc>, &'a str)> =
        bars.iter().map(|bar| (bar.task_id, (bar.end.unwrap_or(now), bar.task_id))).collect();
    let mut on_it = BTreeSet::new();
    let mut next = ends.values().max().copied();
    while let Some((_, task_id)) = next {
        on_it.insert(task_id);
        // What ended without a worker (`empty`) has no bar; the way leads through it.
        let mut look: Vec<usize> = dag.index_of(task_id).into_iter().collect();
        let mut seen = BTreeSet::new();
        next = None;
        while let Some(index) = look.pop() {
            for before in dag.upstream(index) {
                match ends.get(dag.tasks()[before].task_id.as_str()) {
                    Some(end) => next = next.max(Some(*end)),
                    None if seen.insert(before) => look.push(before),
                    None => {}
                }
            }
        }
        if next.is_some_and(|(_, task_id)| on_it.contains(task_id)) {
            break;
        }
    }
    on_it
}

fn critical_words(bars: &[Bar<'_>], critical: &BTreeSet<&str>, now: DateTime<Utc>) -> String {
    let time: std::time::Duration = bars
        .iter()
        .filter(|bar| critical.contains(bar.task_id))
        .filter_map(|bar| (bar.end.unwrap_or(now) - bar.start).to_std().ok())
        .sum();
    if critical.is_empty() {
        return String::new();
    }
    format!("{} on the critical path, which ran for {}", plural(critical.len() as u64, "task", "tasks"), humanize(time))
}

fn chart(run: &RunRecord, bars: &[Bar<'_>], critical: &BTreeSet<&str>, now: DateTime<Utc>) -> (Vec<String>, Vec<Row>) {
    let begin = bars.iter().map(|bar| bar.queued.unwrap_or(bar.start).min(bar.start)).chain(run.start_date).min();
    let Some(begin) = begin else { return (Vec::new(), Vec::new()) };
    let end = bars.iter().map(|bar| bar.end.unwrap_or(now)).max().unwrap_or(now);
    let whole = (end - begin).num_milliseconds().max(1) as f64;
    let at = |time: DateTime<Utc>| ((time - begin).num_milliseconds() as f64 / whole * WIDTH).clamp(0.0, WIDTH);
    let bar_of = |from: DateTime<Utc>, to: DateTime<Utc>| {
        let (left, right) = (at(from).min(WIDTH - 3.0), at(to));
        (left as u32, ((right - left).round() as u32).max(3))
    };
    let rows = bars
        .iter()
        .take(ROWS)
        .map(|bar| {
            let took = took(Some(bar.start), bar.end, now).unwrap_or_default();
            let waited = bar.queued.filter(|queued| *queued < bar.start);
            let mut about = format!("{}: ran {took}", bar.badge.word());
            if let Some(wait) = waited.and_then(|queued| (bar.start - queued).to_std().ok()) {
                about.push_str(&format!(", waited {} in the queue", humanize(wait)));
            }
            Row {
                task_id: if bar.count > 1 {
                    format!("{} ×{}", shown(bar.task_id), bar.count)
                } else {
                    shown(bar.task_id)
                },
                href: format!("{}/tasks/{}", links::run(&run.dag_id, &run.run_id), links::part(bar.task_id)),
                badge: bar.badge,
                about,
                took,
                is_critical: critical.contains(bar.task_id),
                waited: waited.map(|queued| bar_of(queued, bar.start)),
                ran: Some(bar_of(bar.start, bar.end.unwrap_or(now))),
            }
        })
        .collect();
    let tick = |step: u32| {
        let part = (end - begin).to_std().unwrap_or_default().mul_f64(f64::from(step) / f64::from(TICKS));
        format!("+{}", humanize(part))
    };
    ((0..TICKS).map(tick).collect(), rows)
}
