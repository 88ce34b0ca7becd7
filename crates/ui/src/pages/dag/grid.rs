//! The grid: tasks as rows, runs as columns, the newest at the right.

use std::collections::{BTreeSet, HashMap};

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::dag::Dag;
use towpath_model::state::TaskState;
use towpath_store::{GridCell, LineOf, RunFilter, RunRecord};

use super::super::html;
use super::{Head, load};
use crate::frame::Frame;
use crate::view::moment::{absolute, span, took};
use crate::view::run::RunRow;
use crate::view::state::{Badge, Dot};
use crate::view::text::{plural, shown};
use crate::{Result, State, links};

/// Runs in the grid, unless the address says otherwise.
const RUNS: u32 = 25;
const MOST_RUNS: u32 = 100;
/// Rows in one part of the grid.
const ROWS: usize = 100;
/// Groups of a DAG with more tasks are closed at first.
const OPEN_TASKS: usize = 200;
/// Height of the longest bar over the grid, in pixels.
const BAR: u32 = 48;
/// Parts of a mapped cell, which is as many pixels wide.
const MAPPED: u64 = 16;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// Part of the ids of the tasks to show.
    task: String,
    runs: Option<u32>,
    /// The first row of the part that is shown.
    from: usize,
    /// Groups that are not as they are at first, separated by commas.
    fold: String,
}

#[derive(Template)]
#[template(path = "dag/grid.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    task_filter: String,
    counts: Vec<(u32, String, bool)>,
    grid: Grid,
    runs: Vec<RunRow>,
    all_runs: String,
}

struct Grid {
    columns: Vec<Column>,
    /// Where the median of the durations runs, from the top, in pixels.
    median: Option<(u32, String)>,
    rows: Vec<Row>,
    /// The next part: how many rows it has, and its address.
    more: Option<(String, String)>,
    earlier: Option<String>,
}

struct Column {
    dot: Dot,
    run_href: String,
    /// Height of the bar of its duration, in pixels.
    bar: u32,
    about: String,
    /// Shown under the bars where the day changes.
    day: String,
}

struct Row {
    label: String,
    /// Depth in the tree of groups.
    depth: usize,
    /// Of a task, encoded for an address; empty for a group.
    task: String,
    operator: String,
    group: Option<Group>,
    cells: Vec<Option<Cell>>,
}

struct Group {
    is_open: bool,
    href: String,
    about: String,
}

struct Cell {
    badge: Badge,
    about: String,
    /// Of a mapped task or a group: what its instances are, as parts of its width.
    parts: Vec<(Badge, u64, u64)>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Grid", now).await?;
    let limit = params.runs.unwrap_or(RUNS).clamp(1, MOST_RUNS);
    let filter = RunFilter { dag_id: Some(dag_id.clone()), newest_first: true, limit, ..RunFilter::default() };
    let page = state.store.runs(&filter).await?;
    let tree = Tree::of(&loaded.dag, params.task.trim(), &folded(&params.fold));
    let part: Vec<&Line> = tree.lines.iter().skip(params.from).take(ROWS).collect();
    let mut wanted: Vec<LineOf<'_>> = Vec::new();
    for (line, of) in part.iter().enumerate() {
        wanted.extend(of.members.iter().map(|task_id| LineOf { line, task_id }));
    }
    let keys: Vec<i64> = page.items.iter().map(|run| run.key).collect();
    let cells = state.store.grid_of_lines(&keys, &wanted).await?;
    let every = if loaded.dag.tasks().len() > OPEN_TASKS { 5_000 } else { 0 };
    html(&Page {
        frame: loaded.frame.at_most_every(every),
        now,
        counts: counts(&loaded.head.href, &params, limit),
        grid: grid(&page.items, &part, &tree, cells, &params, &loaded.head.href, now),
        head: loaded.head,
        task_filter: shown(&params.task),
        runs: page.items.iter().take(10).map(|run| RunRow::new(run, now)).collect(),
        all_runs: plural(page.total, "run", "runs"),
    })
}

fn folded(text: &str) -> BTreeSet<&str> {
    text.split(',').filter(|group| !group.is_empty()).collect()
}

fn address(href: &str, params: &Params, runs: u32, from: usize, fold: &str) -> String {
    let runs = if runs == RUNS { String::new() } else { runs.to_string() };
    let from = if from == 0 { String::new() } else { from.to_string() };
    links::query(href, &[("task", params.task.trim()), ("runs", &runs), ("from", &from), ("fold", fold)])
}

fn counts(href: &str, params: &Params, limit: u32) -> Vec<(u32, String, bool)> {
    [10, 25, 50, 100].map(|runs| (runs, address(href, params, runs, 0, &params.fold), runs == limit)).into()
}

/// The rows that a DAG has, open and closed groups among them.
#[derive(Debug)]
struct Tree {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// The id of the task, or of the group.
    id: String,
    depth: usize,
    operator: String,
    is_mapped: bool,
    is_group: bool,
    is_open: bool,
    /// The tasks that its cells tell of.
    members: Vec<String>,
}

impl Tree {
    /// Groups are where the first of their tasks is, in the order in which the work flows. `folded`
    /// are those that are not as they are at first.
    fn of(dag: &Dag, filter: &str, folded: &BTreeSet<&str>) -> Self {
        let filter = filter.to_lowercase();
        let is_filtered = !filter.is_empty();
        let wanted: Vec<usize> = dag
            .topological()
            .iter()
            .copied()
            .filter(|index| dag.tasks()[*index].task_id.to_lowercase().contains(&filter))
            .collect();
        // A found task is shown, whatever group it is in.
        let opens = dag.tasks().len() <= OPEN_TASKS || is_filtered;
        let mut tree = Self { lines: Vec::new() };
        tree.add(dag, &wanted, "", 0, opens, folded);
        tree
    }

    fn add(&mut self, dag: &Dag, tasks: &[usize], prefix: &str, depth: usize, opens: bool, folded: &BTreeSet<&str>) {
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        let rest = |index: usize| &dag.tasks()[index].task_id[prefix.len()..];
        for &index in tasks {
            if let Some((group, _)) = rest(index).split_once('.') {
                groups.entry(group).or_default().push(index);
            }
        }
        for &index in tasks {
            let task = &dag.tasks()[index];
            let Some((group, _)) = rest(index).split_once('.') else {
                self.lines.push(Line {
                    id: task.task_id.clone(),
                    depth,
                    operator: task.operator.clone(),
                    is_mapped: task.expand.is_some(),
                    is_group: false,
                    is_open: true,
                    members: vec![task.task_id.clone()],
                });
                continue;
            };
            let Some(of_group) = groups.remove(group) else { continue };
            let id = format!("{prefix}{group}");
            let is_open = opens != folded.contains(id.as_str());
            self.lines.push(Line {
                depth,
                operator: plural(of_group.len() as u64, "task", "tasks"),
                is_mapped: false,
                is_group: true,
                is_open,
                members: of_group.iter().map(|index| dag.tasks()[*index].task_id.clone()).collect(),
                id: id.clone(),
            });
            if is_open {
                self.add(dag, &of_group, &format!("{id}."), depth + 1, opens, folded);
            }
        }
    }
}

/// `runs` come newest first.
fn grid(
    runs: &[RunRecord],
    part: &[&Line],
    tree: &Tree,
    cells: Vec<(usize, GridCell)>,
    params: &Params,
    href: &str,
    now: DateTime<Utc>,
) -> Grid {
    let mut by_place: HashMap<(i64, usize), Vec<GridCell>> = HashMap::new();
    for (line, cell) in cells {
        by_place.entry((cell.run_key, line)).or_default().push(cell);
    }
    let fold = |id: &str| {
        let mut fold = folded(&params.fold);
        if !fold.remove(id) {
            fold.insert(id);
        }
        fold.into_iter().collect::<Vec<_>>().join(",")
    };
    let limit = params.runs.unwrap_or(RUNS).clamp(1, MOST_RUNS);
    let rows = part
        .iter()
        .enumerate()
        .map(|(place, line)| Row {
            label: shown(if line.is_group || line.depth > 0 {
                line.id.rsplit('.').next().unwrap_or(&line.id)
            } else {
                &line.id
            }),
            depth: line.depth.min(6),
            task: if line.is_group { String::new() } else { links::part(&line.id) },
            operator: shown(&line.operator),
            group: line.is_group.then(|| Group {
                is_open: line.is_open,
                href: address(href, params, limit, 0, &fold(&line.id)),
                about: format!("{} {}", if line.is_open { "Close" } else { "Open" }, shown(&line.id)),
            }),
            cells: runs
                .iter()
                .rev()
                .map(|run| {
                    let of_run = by_place.get(&(run.key, place)).map_or(&[][..], Vec::as_slice);
                    cell(of_run, line.is_group || line.is_mapped, now)
                })
                .collect(),
        })
        .collect();
    let next = params.from + part.len();
    let left = tree.lines.len().saturating_sub(next);
    Grid {
        columns: columns(runs, now),
        median: median(runs, now),
        rows,
        more: (left > 0)
            .then(|| (plural(left as u64, "more row", "more rows"), address(href, params, limit, next, &params.fold))),
        earlier: (params.from > 0)
            .then(|| address(href, params, limit, params.from.saturating_sub(ROWS), &params.fold)),
    }
}

/// The longest duration of those that are over: one that hangs must not make the others look alike.
fn longest(runs: &[RunRecord], now: DateTime<Utc>) -> f64 {
    let spans = |over: bool| {
        runs.iter()
            .filter(move |run| run.state.is_finished() || !over)
            .filter_map(move |run| span(run.start_date, run.end_date, now))
            .max()
    };
    spans(true).or_else(|| spans(false)).unwrap_or_default().as_secs_f64().max(f64::MIN_POSITIVE)
}

fn height(seconds: f64, longest: f64) -> u32 {
    ((seconds / longest * f64::from(BAR)).round() as u32).clamp(2, BAR)
}

fn median(runs: &[RunRecord], now: DateTime<Utc>) -> Option<(u32, String)> {
    let mut spans: Vec<_> = runs
        .iter()
        .filter(|run| run.state.is_finished())
        .filter_map(|run| span(run.start_date, run.end_date, now))
        .collect();
    if spans.len() < 3 {
        return None;
    }
    spans.sort_unstable();
    let middle = spans[spans.len() / 2];
    Some((BAR - height(middle.as_secs_f64(), longest(runs, now)), towpath_model::duration::humanize(middle)))
}

/// Columns that the name of a day reaches over.
const COLUMNS_OF_A_LABEL: usize = 3;

fn columns(runs: &[RunRecord], now: DateTime<Utc>) -> Vec<Column> {
    let longest = longest(runs, now);
    let mut last_day = String::new();
    // A label is as wide as some columns.
    let mut free_from = 0;
    runs.iter()
        .rev()
        .enumerate()
        .map(|(at_column, run)| {
            let took = took(run.start_date, run.end_date, now);
            let at = run.logical_date.unwrap_or(run.run_after);
            let day = at.format("%b %d").to_string();
            let is_new = day != last_day && at_column >= free_from;
            if is_new {
                last_day.clone_from(&day);
                free_from = at_column + COLUMNS_OF_A_LABEL;
            }
            let mut about = format!("{}: {}", Badge::from(run.state).word(), shown(&run.run_id));
            if let Some(took) = &took {
                about.push_str(&format!(", {took}"));
            }
            about.push_str(&format!(", {}", absolute(at)));
            let span = span(run.start_date, run.end_date, now).unwrap_or_default().as_secs_f64();
            Column {
                dot: crate::view::run::dot(run, now),
                run_href: links::run(&run.dag_id, &run.run_id),
                bar: height(span, longest),
                about,
                day: if is_new { day } else { String::new() },
            }
        })
        .collect()
}

/// What the cells of one task, or of a group, say together.
fn cell(of: &[GridCell], in_parts: bool, now: DateTime<Utc>) -> Option<Cell> {
    let most = of.iter().max_by_key(|cell| urgency(cell.state))?;
    let total: u64 = of.iter().map(|cell| cell.count).sum();
    let badge = Badge::from(most.state);
    let mut about = badge.word();
    if in_parts || total > 1 {
        let mut by_state: Vec<(TaskState, u64)> = Vec::new();
        for cell in of {
            match by_state.iter_mut().find(|(state, _)| *state == cell.state) {
                Some((_, count)) => *count += cell.count,
                None => by_state.push((cell.state, cell.count)),
            }
        }
        by_state.sort_unstable_by_key(|(state, _)| std::cmp::Reverse(urgency(*state)));
        let words: Vec<String> =
            by_state.iter().map(|(state, count)| format!("{count} {}", Badge::from(*state).word())).collect();
        return Some(Cell { badge, about: words.join(", "), parts: parts(&by_state, total) });
    }
    if let Some(took) = took(most.start_date, most.end_date, now).filter(|_| most.try_number > 0) {
        about.push_str(&format!(", {took}"));
    }
    if most.try_number > 1 {
        about.push_str(&format!(", try {}", most.try_number));
    }
    Some(Cell { badge, about, parts: Vec::new() })
}

/// Places and widths of the parts of a stacked bar; what is there can be seen.
fn parts(by_state: &[(TaskState, u64)], total: u64) -> Vec<(Badge, u64, u64)> {
    let mut x = 0;
    let mut left = MAPPED;
    let mut out = Vec::new();
    for (position, (state, count)) in by_state.iter().enumerate() {
        let others = (by_state.len() - position - 1) as u64;
        let width =
            if others == 0 { left } else { (count * MAPPED / total).clamp(2, left.saturating_sub(2 * others).max(1)) };
        out.push((Badge::from(*state), x, width));
        x += width;
        left = left.saturating_sub(width);
    }
    out
}

/// What somebody who looks at many wants to see first.
pub(crate) fn urgency(state: TaskState) -> u8 {
    use TaskState as S;
    match state {
        S::Failed => 9,
        S::UpForRetry => 8,
        S::Running | S::Restarting => 7,
        S::Queued => 6,
        S::Scheduled => 5,
        S::UpForReschedule | S::Deferred => 4,
        S::UpstreamFailed => 3,
        S::None => 2,
        S::Success => 1,
        S::Skipped | S::Removed => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_model::dag::{DagSpec, Task};

    fn lines(ids: &[&str], filter: &str, folded: &[&str]) -> String {
        let mut spec = DagSpec::new("d");
        for pair in ids.windows(2) {
            let mut task = Task::new(pair[1], "bash");
            task.upstream = vec![pair[0].to_owned()];
            spec.tasks.push(task);
        }
        spec.tasks.push(Task::new(ids[0], "bash"));
        let tree = Tree::of(&Dag::build(spec).unwrap(), filter, &folded.iter().copied().collect());
        let line = |line: &Line| {
            let mark = match (line.is_group, line.is_open) {
                (true, true) => "-",
                (true, false) => "+",
                (false, _) => "",
            };
            format!("{}{mark}{}", ".".repeat(line.depth), line.id)
        };
        tree.lines.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn groups_are_a_tree() {
        let ids = ["start", "g.a", "other", "g.h.b", "g.c"];
        assert_eq!(lines(&ids, "", &[]), "start -g .g.a .-g.h ..g.h.b .g.c other");
        assert_eq!(lines(&ids, "", &["g.h"]), "start -g .g.a .+g.h .g.c other");
        assert_eq!(lines(&ids, "", &["g"]), "start +g other");
        assert_eq!(lines(&ids, "B", &[]), "-g .-g.h ..g.h.b");
    }

    #[test]
    fn parts_fill_the_width_and_can_be_seen() {
        for counts in [vec![1], vec![1, 999], vec![1, 1, 1, 1_000_000], vec![5, 5]] {
            let by_state: Vec<_> = counts.iter().map(|count| (TaskState::Success, *count)).collect();
            let parts = parts(&by_state, counts.iter().sum());
            assert_eq!(parts.iter().map(|(_, _, width)| width).sum::<u64>(), MAPPED, "{counts:?}");
            assert!(parts.iter().all(|(_, _, width)| *width >= 2), "{counts:?}");
        }
    }
}
