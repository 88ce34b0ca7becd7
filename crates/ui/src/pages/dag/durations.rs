//! How long runs and tasks take, and whether they take longer than they used to.

use std::collections::HashMap;
use std::time::Duration;

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::dag::Dag;
use towpath_model::duration::humanize;
use towpath_store::{RunRecord, TaskDuration};

use super::super::html;
use super::{Head, load, newest_runs};
use crate::frame::Frame;
use crate::view::moment::span;
use crate::view::state::Badge;
use crate::view::text::shown;
use crate::{Result, State, links};

/// Runs that are compared.
const RUNS: u32 = 50;
/// Tasks in one part of the table.
const TASKS: u32 = 100;
/// Sizes of the pictures, in pixels.
const HEIGHT: f64 = 120.0;
const LINE: (f64, f64) = (160.0, 22.0);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// Part of the ids of the tasks to show.
    task: String,
    /// The first task of the part that is shown.
    from: u32,
}

#[derive(Template)]
#[template(path = "dag/durations.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    bars: Vec<Bar>,
    longest: String,
    median: Option<(u32, String)>,
    task_filter: String,
    rows: Vec<Row>,
    /// The run by which tasks have their places in parts, where there is more than one part.
    sorted_by: Option<(String, String)>,
    earlier: Option<String>,
    more: Option<String>,
}

struct Bar {
    x: usize,
    y: u32,
    height: u32,
    badge: Badge,
    about: String,
    href: String,
}

struct Row {
    task_id: String,
    operator: String,
    /// The points of a line, oldest first.
    line: String,
    count: usize,
    last: String,
    median: String,
    longest: String,
    /// How the last compares with the median, where that is worth a word.
    trend: Option<(&'static str, String)>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Durations", now).await?;
    let mut runs = newest_runs(&state, &dag_id, RUNS).await?;
    // Of many tasks those come first that took long in the newest run that is over.
    let by = runs.iter().find(|run| run.state.is_finished()).or(runs.first());
    let (filter, from) = (params.task.trim(), params.from);
    let mut ids = match by {
        Some(run) => state.store.slowest_tasks(run.key, &filter.to_lowercase(), TASKS + 1, from).await?,
        None => Vec::new(),
    };
    let has_more = ids.len() > TASKS as usize;
    ids.truncate(TASKS as usize);
    let sorted_by =
        by.filter(|_| has_more || from > 0).map(|run| (links::run(&run.dag_id, &run.run_id), shown(&run.run_id)));
    runs.reverse();
    let keys: Vec<i64> = runs.iter().map(|run| run.key).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let durations = state.store.durations_of_tasks(&keys, &ids).await?;
    let part = |from: u32| {
        let from = if from == 0 { String::new() } else { from.to_string() };
        links::query(&format!("{}/durations", loaded.head.href), &[("task", filter), ("from", &from)])
    };
    let spans: Vec<Duration> = runs.iter().filter_map(|run| span(run.start_date, run.end_date, now)).collect();
    let longest = spans.iter().max().copied().unwrap_or_default();
    let middle = median(spans);
    let scale = |span: Duration| (span.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE) * HEIGHT) as u32;
    html(&Page {
        now,
        bars: runs
            .iter()
            .enumerate()
            .map(|(position, run)| {
                let span = span(run.start_date, run.end_date, now).unwrap_or_default();
                let height = scale(span).max(2);
                let badge = Badge::from(run.state);
                Bar {
                    x: position * 16,
                    y: HEIGHT as u32 - height,
                    height,
                    about: format!("{}: {}, {}", badge.word(), shown(&run.run_id), humanize(span)),
                    badge,
                    href: links::run(&run.dag_id, &run.run_id),
                }
            })
            .collect(),
        longest: humanize(longest),
        median: middle.map(|middle| (HEIGHT as u32 - scale(middle), humanize(middle))),
        task_filter: shown(filter),
        rows: rows(&loaded.dag, &runs, &durations),
        sorted_by,
        earlier: (from > 0).then(|| part(from.saturating_sub(TASKS))),
        more: has_more.then(|| part(from + TASKS)),
        frame: loaded.frame,
        head: loaded.head,
    })
}

fn median(mut spans: Vec<Duration>) -> Option<Duration> {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied()
}

/// Tasks that have succeeded, the slowest first.
fn rows(dag: &Dag, runs: &[RunRecord], durations: &[TaskDuration]) -> Vec<Row> {
    let place: HashMap<i64, usize> = runs.iter().enumerate().map(|(at, run)| (run.key, at)).collect();
    let mut by_task: HashMap<&str, Vec<(usize, Duration)>> = HashMap::new();
    for it in durations {
        if let Some(at) = place.get(&it.run_key) {
            by_task.entry(&it.task_id).or_default().push((*at, it.duration));
        }
    }
    let mut rows: Vec<(Duration, Row)> = by_task
        .into_iter()
        .map(|(task_id, mut spans)| {
            spans.sort_unstable();
            let last = spans.last().map(|(_, span)| *span).unwrap_or_default();
            let longest = spans.iter().map(|(_, span)| *span).max().unwrap_or_default();
            let middle = median(spans.iter().map(|(_, span)| *span).collect()).unwrap_or_default();
            let row = Row {
                task_id: shown(task_id),
                operator: dag.task(task_id).map(|task| shown(&task.operator)).unwrap_or_default(),
                line: line(&spans, runs.len(), longest),
                count: spans.len(),
                last: humanize(last),
                median: humanize(middle),
                longest: humanize(longest),
                trend: trend(last, middle, spans.len()),
            };
            (middle, row)
        })
        .collect();
    rows.sort_by(|(a, row_a), (b, row_b)| b.cmp(a).then(row_a.task_id.cmp(&row_b.task_id)));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn line(spans: &[(usize, Duration)], runs: usize, longest: Duration) -> String {
    let step = LINE.0 / (runs.max(2) - 1) as f64;
    let points: Vec<String> = spans
        .iter()
        .map(|(at, span)| {
            let y = LINE.1 - span.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE) * (LINE.1 - 2.0) - 1.0;
            format!("{:.0},{y:.0}", *at as f64 * step)
        })
        .collect();
    points.join(" ")
}

/// A word about the last time, where there is something to compare and it is far from the median.
fn trend(last: Duration, middle: Duration, count: usize) -> Option<(&'static str, String)> {
    let ratio = last.as_secs_f64() / middle.as_secs_f64().max(0.001);
    let is_worth = count >= 5 && last.abs_diff(middle) > Duration::from_millis(500);
    match ratio {
        _ if !is_worth => None,
        1.5.. => Some(("slower", format!("{ratio:.1}× the median"))),
        ..0.67 => Some(("faster", format!("{ratio:.1}× the median"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trends() {
        let s = Duration::from_secs;
        for (last, middle, count, expected) in [
            (s(10), s(2), 5, Some("slower")),
            (s(2), s(10), 5, Some("faster")),
            (s(10), s(9), 5, None),
            (s(10), s(2), 4, None),
            (Duration::from_millis(20), Duration::from_millis(10), 9, None),
        ] {
            assert_eq!(trend(last, middle, count).map(|(word, _)| word), expected, "{last:?} {middle:?}");
        }
    }
}
