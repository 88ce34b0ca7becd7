//! The graph: tasks as the work flows, with the states of one run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::ops::Range;

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::state::TaskState;
use towpath_store::GridCell;

use super::super::html;
use super::grid::urgency;
use super::plan::{Block, Edge, GroupBox, Plan, SIZES};
use super::{Choice, Head, OfRun, Shown, load_run};
use crate::frame::Frame;
use crate::view::moment::took;
use crate::view::state::Badge;
use crate::{Result, State, links};

/// Nodes from which on there is a map of the whole.
const MAP_FROM: usize = 40;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    run: String,
    /// Groups that are not as they are at first, separated by commas.
    fold: String,
}

#[derive(Template)]
#[template(path = "dag/graph.html")]
struct Page<'a> {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    choices: Vec<Choice>,
    run: Option<Shown>,
    /// Where the tasks of the run are, if there is one.
    tasks: String,
    picture: Picture<'a>,
}

/// What is drawn: a plan, and how its nodes stand.
struct Picture<'a> {
    plan: &'a Plan,
    boxes: Vec<(&'a GroupBox, String)>,
    nodes: Vec<Node<'a>>,
    edges: Vec<(&'a Edge, IsTaken)>,
    /// Of the small map: the outlines of all nodes in a state, as a path.
    map: Vec<(Option<Badge>, String)>,
}

/// The run went along it.
type IsTaken = bool;

struct Node<'a> {
    block: &'a Block,
    /// Where it leads, if not to its task in the run.
    href: Option<String>,
    badge: Option<Badge>,
    /// How many instances it has, and how long it took.
    more: String,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    // A run shows the DAG as it was then.
    let of = load_run(&state, &dag_id, &params.run, "Graph", now).await?;
    let keys: Vec<i64> = of.run.iter().map(|run| run.key).collect();
    let cells = state.store.grid(&keys).await?;
    let folded: BTreeSet<&str> = params.fold.split(',').filter(|group| !group.is_empty()).collect();
    let plan = state.graphs.of(of.version_id, &of.dag, &folded);
    let toggled = |group: &str| {
        let mut folded = folded.clone();
        if !folded.remove(group) {
            folded.insert(group);
        }
        let fold = folded.into_iter().collect::<Vec<_>>().join(",");
        links::query(&format!("{}/graph", of.head.href), &[("run", &params.run), ("fold", &fold)])
    };
    let shown = of.shown();
    html(&Page {
        now,
        tasks: shown.as_ref().map(|(href, ..)| format!("{href}/tasks/")).unwrap_or_default(),
        picture: picture(&plan, &of, &cells, &toggled, now),
        run: shown,
        frame: of.frame,
        choices: of.choices,
        head: of.head,
    })
}

fn picture<'a>(
    plan: &'a Plan,
    of: &OfRun,
    cells: &[GridCell],
    toggled: &impl Fn(&str) -> String,
    now: DateTime<Utc>,
) -> Picture<'a> {
    // Those of a task follow each other.
    let mut by_task: HashMap<&str, Range<usize>> = HashMap::with_capacity(cells.len());
    for (at, cell) in cells.iter().enumerate() {
        by_task.entry(&cell.task_id).or_insert(at..at).end = at + 1;
    }
    let nodes: Vec<Node<'_>> = plan.blocks.iter().map(|block| node(block, of, cells, &by_task, toggled, now)).collect();
    let success = Badge::from(TaskState::Success);
    let unreached = [TaskState::None, TaskState::Skipped, TaskState::UpstreamFailed].map(Badge::from);
    let has_run = |block: usize| nodes[block].badge == Some(success);
    let was_reached = |block: usize| nodes[block].badge.is_some_and(|badge| !unreached.contains(&badge));
    Picture {
        plan,
        boxes: plan.boxes.iter().map(|it| (it, toggled(&it.id))).collect(),
        edges: plan.edges.iter().map(|edge| (edge, has_run(edge.from) && was_reached(edge.to))).collect(),
        map: if nodes.len() < MAP_FROM { Vec::new() } else { map(&nodes) },
        nodes,
    }
}

fn map(nodes: &[Node<'_>]) -> Vec<(Option<Badge>, String)> {
    let mut paths: BTreeMap<&str, (Option<Badge>, String)> = BTreeMap::new();
    let (width, height) = (SIZES.node_width, SIZES.node_height);
    for Node { block, badge, .. } in nodes {
        let (_, path) = paths.entry(badge.map_or("", |badge| badge.name())).or_insert((*badge, String::new()));
        write!(path, "M{} {}h{width}v{height}h-{width}z", block.x, block.y).expect("text can be written to");
    }
    paths.into_values().collect()
}

fn node<'a>(
    block: &'a Block,
    of: &OfRun,
    cells: &[GridCell],
    by_task: &HashMap<&str, Range<usize>>,
    toggled: &impl Fn(&str) -> String,
    now: DateTime<Utc>,
) -> Node<'a> {
    let (mut most, mut count): (Option<&GridCell>, u64) = (None, 0);
    let tasks = block.members.iter().map(|index| of.dag.tasks()[*index].task_id.as_str());
    for cell in tasks.filter_map(|task_id| by_task.get(task_id)).flat_map(|range| &cells[range.clone()]) {
        count += cell.count;
        if most.is_none_or(|most| urgency(cell.state) > urgency(most.state)) {
            most = Some(cell);
        }
    }
    let mut more = String::new();
    if block.is_mapped {
        more.push_str(&if count > 1 { format!(" ×{count}") } else { " mapped".to_owned() });
    }
    if let Some(cell) = most.filter(|cell| cell.try_number > 0 && !block.is_group)
        && let Some(took) = took(cell.start_date, cell.end_date, now)
    {
        more.push_str(" · ");
        more.push_str(&took);
    }
    let href = match of.run {
        _ if block.is_group => Some(toggled(&block.id)),
        Some(_) => None,
        None => Some(format!("{}/code", of.head.href)),
    };
    Node { block, href, badge: most.map(|cell| Badge::from(cell.state)), more }
}
