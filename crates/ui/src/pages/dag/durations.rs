//! How long runs and tasks take, and whether they take longer than they used to.

use std::collections::HashMap;
use std::time::Duration;

use askama::Template;
use axum::extract::{self, Path};
use axum::response::Html;
use chrono::{DateTime, Utc};
use towpath_model::dag::Dag;
use towpath_model::duration::humanize;
use towpath_store::{RunFilter, RunRecord, TaskSpan};

use super::super::html;
use super::{Head, load};
use crate::frame::Frame;
use crate::view::moment::span;
use crate::view::state::Badge;
use crate::view::text::{plural, shown};
use crate::{Result, State, links};

/// Runs that are compared.
const RUNS: u32 = 50;
/// Task instances that are compared.
const INSTANCES: u32 = 10_000;
/// Tasks in the table.
const TASKS: usize = 300;
/// Sizes of the pictures, in pixels.
const HEIGHT: f64 = 120.0;
const LINE: (f64, f64) = (160.0, 22.0);

#[derive(Template)]
#[template(path = "dag/durations.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    bars: Vec<Bar>,
    longest: String,
    median: Option<(u32, String)>,
    rows: Vec<Row>,
    left_out: Option<String>,
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
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Durations", now).await?;
    // Of very many tasks fewer runs are compared, so that the page stays quick.
    let tasks = u32::try_from(loaded.dag.tasks().len()).unwrap_or(u32::MAX).max(1);
    let limit = (INSTANCES / tasks).clamp(5, RUNS);
    let filter = RunFilter { dag_id: Some(dag_id), newest_first: true, limit, ..RunFilter::default() };
    let mut runs = state.store.some_runs(&filter).await?;
    runs.reverse();
    let keys: Vec<i64> = runs.iter().map(|run| run.key).collect();
    let spans = state.store.task_spans(&keys).await?;
    let rows = rows(&loaded.dag, &runs, &spans);
    let spans: Vec<Duration> = runs.iter().filter_map(|run| span(run.start_date, run.end_date, now)).collect();
    let longest = spans.iter().max().copied().unwrap_or_default();
    let middle = median(spans);
    let scale = |span: Duration| (span.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE) * HEIGHT) as u32;
    let left = rows.len().saturating_sub(TASKS);
    html(&Page {
        frame: loaded.frame,
        now,
        head: loaded.head,
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
        left_out: (left > 0).then(|| plural(left as u64, "more task", "more tasks")),
        rows: rows.into_iter().take(TASKS).collect(),
    })
}

fn median(mut spans: Vec<Duration>) -> Option<Duration> {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied()
}

/// Tasks that have succeeded, the slowest first.
fn rows(dag: &Dag, runs: &[RunRecord], spans: &[TaskSpan]) -> Vec<Row> {
    let place: HashMap<i64, usize> = runs.iter().enumerate().map(|(at, run)| (run.key, at)).collect();
    let mut by_task: HashMap<&str, Vec<(usize, Duration)>> = HashMap::new();
    for task in spans {
        if let (Some(at), Ok(span)) = (place.get(&task.run_key), (task.end_date - task.start_date).to_std()) {
            by_task.entry(&task.task_id).or_default().push((*at, span));
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
