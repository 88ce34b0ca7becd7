//! The graph: tasks as the work flows, with the states of one run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use towpath_model::dag::Dag;
use towpath_model::etl::{Input, Inputs};
use towpath_model::state::TaskState;
use towpath_store::{GridCell, RunRecord};

use super::super::html;
use super::grid::urgency;
use super::{Choice, Head, choices, chosen_run, load};
use crate::frame::Frame;
use crate::view::layers::{self, Sizes};
use crate::view::moment::took;
use crate::view::state::Badge;
use crate::view::text::{plural, shown};
use crate::{Result, State, links};

pub(crate) const SIZES: Sizes = Sizes { node_width: 190.0, node_height: 44.0, gap_x: 56.0, gap_y: 14.0 };
/// Around everything.
pub(crate) const MARGIN: f64 = 24.0;
/// Around the nodes of a group.
const GROUP: f64 = 6.0;
/// Characters of a name that fit into a node.
const NAME: usize = 21;
/// Groups of a DAG with more tasks are closed at first.
const OPEN_TASKS: usize = 150;
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
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    choices: Vec<Choice>,
    run: Option<(String, String, Badge)>,
    picture: Picture,
}

/// What is drawn; numbers in pixels.
struct Picture {
    width: u32,
    height: u32,
    boxes: Vec<GroupBox>,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    has_map: bool,
}

struct GroupBox {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
    label: String,
    href: String,
}

struct Node {
    x: i32,
    y: i32,
    label: String,
    /// All of the name, and what happened.
    about: String,
    under: String,
    href: String,
    badge: Option<Badge>,
    is_group: bool,
}

struct Edge {
    path: String,
    /// The run went along it.
    is_taken: bool,
    /// What goes along it, in the middle between its last two points.
    label: Option<(i32, i32, String)>,
}

/// A node before it has a place.
struct Block {
    /// Task or closed group.
    id: String,
    /// Number of the open group that it is in; 0 for none.
    group: usize,
    members: Vec<usize>,
    is_group: bool,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Graph", now).await?;
    let run = chosen_run(&state, &dag_id, &params.run).await?;
    // A run shows the DAG as it was then.
    let dag = match &run {
        Some(run) => state.store.dag_of_version(run.version_id).await?,
        None => loaded.dag,
    };
    let keys: Vec<i64> = run.iter().map(|run| run.key).collect();
    let cells = state.store.grid(&keys).await?;
    html(&Page {
        frame: loaded.frame,
        now,
        choices: choices(&state, &dag_id, run.as_ref()).await?,
        picture: picture(&dag, run.as_ref(), &cells, &params, &loaded.head.href, now),
        head: loaded.head,
        run: run.map(|run| (links::run(&run.dag_id, &run.run_id), shown(&run.run_id), run.state.into())),
    })
}

fn picture(
    dag: &Dag,
    run: Option<&RunRecord>,
    cells: &[GridCell],
    params: &Params,
    href: &str,
    now: DateTime<Utc>,
) -> Picture {
    let folded: BTreeSet<&str> = params.fold.split(',').filter(|group| !group.is_empty()).collect();
    let toggled = |group: &str| {
        let mut folded = folded.clone();
        if !folded.remove(group) {
            folded.insert(group);
        }
        let fold = folded.into_iter().collect::<Vec<_>>().join(",");
        links::query(&format!("{href}/graph"), &[("run", &params.run), ("fold", &fold)])
    };
    let (blocks, groups, of_task) = blocks(dag, &folded);
    let mut edges: Vec<(usize, usize)> = (0..dag.tasks().len())
        .flat_map(|from| dag.downstream(from).map(move |to| (from, to)))
        .map(|(from, to)| (of_task[from], of_task[to]))
        .filter(|(from, to)| from != to)
        .collect();
    edges.sort_unstable();
    edges.dedup();
    let group_numbers: Vec<usize> = blocks.iter().map(|block| block.group).collect();
    let drawing = layers::draw(&group_numbers, &without_cycles(blocks.len(), &edges), SIZES);
    let mut by_task: HashMap<&str, Vec<&GridCell>> = HashMap::new();
    for cell in cells {
        by_task.entry(&cell.task_id).or_default().push(cell);
    }
    let nodes: Vec<Node> = blocks
        .iter()
        .zip(&drawing.nodes)
        .map(|(block, place)| node(block, *place, dag, run, &by_task, &toggled, now))
        .collect();
    let has_run = |block: usize| nodes[block].badge.is_some_and(|badge| badge == TaskState::Success.into());
    let was_reached = |block: usize| {
        nodes[block].badge.is_some_and(|badge| {
            ![TaskState::None, TaskState::Skipped, TaskState::UpstreamFailed].map(Badge::from).contains(&badge)
        })
    };
    let drawn = without_cycles(blocks.len(), &edges);
    Picture {
        width: (drawing.width + 2.0 * MARGIN) as u32,
        height: (drawing.height + 2.0 * MARGIN) as u32,
        boxes: boxes(&blocks, &groups, &drawing.nodes, &toggled),
        edges: drawn
            .iter()
            .zip(&drawing.edges)
            .map(|((from, to), points)| Edge {
                path: path(points),
                is_taken: has_run(*from) && was_reached(*to),
                label: label(dag, &blocks[*from], &blocks[*to]).map(|text| {
                    let (x, y) = middle(points);
                    (x, y, text)
                }),
            })
            .collect(),
        has_map: nodes.len() >= MAP_FROM,
        nodes,
    }
}

/// Tasks and closed groups; the names of the open groups from number 1; the block of each task.
fn blocks(dag: &Dag, folded: &BTreeSet<&str>) -> (Vec<Block>, Vec<String>, Vec<usize>) {
    let opens = dag.tasks().len() <= OPEN_TASKS;
    let mut blocks: Vec<Block> = Vec::new();
    let mut closed: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<String> = Vec::new();
    let mut of_task = vec![0; dag.tasks().len()];
    for &index in dag.topological() {
        let id = &dag.tasks()[index].task_id;
        let mut outer = id.match_indices('.').map(|(at, _)| &id[..at]);
        let shut = outer.clone().find(|group| opens == folded.contains(group));
        if let Some(group) = shut {
            let block = *closed.entry(group.to_owned()).or_insert_with(|| {
                blocks.push(Block { id: group.to_owned(), group: 0, members: Vec::new(), is_group: true });
                blocks.len() - 1
            });
            blocks[block].members.push(index);
            of_task[index] = block;
            continue;
        }
        let group = outer.next_back().map_or(0, |group| {
            1 + groups.iter().position(|known| known == group).unwrap_or_else(|| {
                groups.push(group.to_owned());
                groups.len() - 1
            })
        });
        of_task[index] = blocks.len();
        blocks.push(Block { id: id.clone(), group, members: vec![index], is_group: false });
    }
    (blocks, groups, of_task)
}

/// A closed group can come before and after the same task; the way back is then not drawn.
pub(crate) fn without_cycles(count: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut after = vec![Vec::new(); count];
    for &(from, to) in edges {
        after[from].push(to);
    }
    // 0: not seen, 1: on the way, 2: done.
    let mut seen = vec![0_u8; count];
    let mut back: BTreeSet<(usize, usize)> = BTreeSet::new();
    for start in 0..count {
        let mut stack = vec![(start, 0)];
        while let Some((node, next)) = stack.pop() {
            if next == 0 {
                if seen[node] == 2 {
                    continue;
                }
                seen[node] = 1;
            }
            match after[node].get(next) {
                None => seen[node] = 2,
                Some(&to) => {
                    stack.push((node, next + 1));
                    match seen[to] {
                        0 => stack.push((to, 0)),
                        1 => {
                            back.insert((node, to));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    edges.iter().copied().filter(|edge| !back.contains(edge)).collect()
}

fn node(
    block: &Block,
    place: (f64, f64),
    dag: &Dag,
    run: Option<&RunRecord>,
    by_task: &HashMap<&str, Vec<&GridCell>>,
    toggled: &impl Fn(&str) -> String,
    now: DateTime<Utc>,
) -> Node {
    let cells: Vec<&GridCell> = block
        .members
        .iter()
        .filter_map(|index| by_task.get(dag.tasks()[*index].task_id.as_str()))
        .flatten()
        .copied()
        .collect();
    let most = cells.iter().max_by_key(|cell| urgency(cell.state));
    let count: u64 = cells.iter().map(|cell| cell.count).sum();
    let badge = most.map(|cell| Badge::from(cell.state));
    let task = &dag.tasks()[block.members[0]];
    let mut under =
        if block.is_group { plural(block.members.len() as u64, "task", "tasks") } else { shown(&task.operator) };
    if !block.is_group && task.expand.is_some() {
        under.push_str(&if count > 1 { format!(" ×{count}") } else { " mapped".to_owned() });
    }
    if let Some(cell) = most.filter(|cell| cell.try_number > 0 && !block.is_group)
        && let Some(took) = took(cell.start_date, cell.end_date, now)
    {
        under.push_str(&format!(" · {took}"));
    }
    let name = shown(&block.id);
    let short = name.rsplit('.').next().filter(|_| block.group > 0).unwrap_or(&name).to_owned();
    let href = match run {
        _ if block.is_group => toggled(&block.id),
        Some(run) => format!("{}/tasks/{}", links::run(&run.dag_id, &run.run_id), links::part(&block.id)),
        None => format!("{}/code", links::dag(dag.id())),
    };
    Node {
        x: (place.0 + MARGIN) as i32,
        y: (place.1 + MARGIN) as i32,
        about: badge.map_or_else(|| name.clone(), |badge| format!("{}: {name}, {under}", badge.word())),
        label: cut(&short),
        under,
        href,
        badge,
        is_group: block.is_group,
    }
}

/// A name as long as there is room; its end tells more than its middle.
pub(crate) fn cut(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= NAME {
        return name.to_owned();
    }
    let (head, tail) = (&chars[..NAME - 8], &chars[chars.len() - 7..]);
    head.iter().chain(['…'].iter()).chain(tail).collect()
}

/// Boxes around the nodes of open groups, where nothing else lies in between.
fn boxes(
    blocks: &[Block],
    groups: &[String],
    places: &[(f64, f64)],
    toggled: &impl Fn(&str) -> String,
) -> Vec<GroupBox> {
    let mut out = Vec::new();
    for (position, name) in groups.iter().enumerate() {
        let is_inside = |block: &Block| block.id.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let of: Vec<(f64, f64)> =
            blocks.iter().zip(places).filter(|(block, _)| is_inside(block)).map(|(_, place)| *place).collect();
        let bound = |pick: fn(&(f64, f64)) -> f64, choose: fn(f64, f64) -> f64, start: f64| {
            of.iter().map(pick).fold(start, choose)
        };
        let (left, top) = (bound(|p| p.0, f64::min, f64::INFINITY), bound(|p| p.1, f64::min, f64::INFINITY));
        let right = bound(|p| p.0, f64::max, 0.0) + SIZES.node_width;
        let bottom = bound(|p| p.1, f64::max, 0.0) + SIZES.node_height;
        let is_foreign = blocks.iter().zip(places).any(|(block, (x, y))| {
            !is_inside(block)
                && *x < right
                && *x + SIZES.node_width > left
                && *y < bottom
                && *y + SIZES.node_height > top
        });
        if position < groups.len() && !is_foreign && !of.is_empty() {
            out.push(GroupBox {
                x: (left - GROUP + MARGIN) as i32,
                y: (top - GROUP - 12.0 + MARGIN) as i32,
                width: (right - left + 2.0 * GROUP) as i32,
                height: (bottom - top + 2.0 * GROUP + 12.0) as i32,
                label: shown(name),
                href: toggled(name),
            });
        }
    }
    out
}

/// Where the last curve of an edge is half way.
fn middle(points: &[(f64, f64)]) -> (i32, i32) {
    let [.., (from_x, from_y), (x, y)] = points else { return (0, 0) };
    ((f64::midpoint(*from_x, *x) + MARGIN) as i32, (f64::midpoint(*from_y, *y) + MARGIN - 4.0) as i32)
}

/// What goes along an edge between two tasks: the name under which one reads the other's data, or the answer of a branch.
fn label(dag: &Dag, from: &Block, to: &Block) -> Option<String> {
    let (before, after) = match (from.is_group, to.is_group) {
        (false, false) => (&dag.tasks()[from.members[0]], &dag.tasks()[to.members[0]]),
        _ => return None,
    };
    let input = after.args.get("input").and_then(|input| serde_json::from_value::<Inputs>(input.clone()).ok());
    let name = input.and_then(|Inputs(list)| {
        list.into_iter().find_map(|(name, input)| (input == Input::Task(before.task_id.clone())).then_some(name))
    });
    if let Some(name) = name {
        // A name that only repeats the task is not worth the room.
        let repeats = name == "input" || name == before.task_id || before.task_id.ends_with(&format!(".{name}"));
        return Some(if repeats { "data".to_owned() } else { short(&shown(&name)) });
    }
    let follows = |argument: &str| match before.args.get(argument) {
        Some(Value::Array(tasks)) => tasks.iter().any(|task| is_of(task, &after.task_id)),
        Some(task) => is_of(task, &after.task_id),
        None => false,
    };
    match before.operator.as_str() {
        "sql_branch" if follows("follow_task_ids_if_true") => Some("true".to_owned()),
        "sql_branch" if follows("follow_task_ids_if_false") => Some("false".to_owned()),
        "sql_branch" => Some("never".to_owned()),
        "branch" => Some("if chosen".to_owned()),
        "short_circuit" => Some("if true".to_owned()),
        _ => None,
    }
}

/// Whether a branch that names `task` goes on with a task of that id, or of that group.
fn is_of(task: &Value, task_id: &str) -> bool {
    let Some(named) = task.as_str() else { return false };
    task_id == named || task_id.strip_prefix(named).is_some_and(|rest| rest.starts_with('.'))
}

/// As long as there is room between two layers.
fn short(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.chars().count() <= 12 { last.to_owned() } else { last.chars().take(11).chain(['…']).collect() }
}

/// Level through layers, curved between them.
pub(crate) fn path(points: &[(f64, f64)]) -> String {
    let mut out = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let (x, y) = ((x + MARGIN).round(), (y + MARGIN).round());
        match index {
            0 => write!(out, "M{x} {y}"),
            _ if index % 2 == 0 => write!(out, "H{x}"),
            _ => {
                let (from_x, from_y) = points[index - 1];
                let (from_x, from_y) = ((from_x + MARGIN).round(), (from_y + MARGIN).round());
                let middle = ((from_x + x) / 2.0).round();
                write!(out, "C{middle} {from_y} {middle} {y} {x} {y}")
            }
        }
        .expect("text can be written to");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_model::dag::{DagSpec, Task};

    fn dag() -> Dag {
        let mut spec = DagSpec::new("d");
        for (id, upstream) in [("a", vec![]), ("g.b", vec!["a"]), ("c", vec!["g.b"]), ("g.d", vec!["c"])] {
            let mut task = Task::new(id, "bash");
            task.upstream = upstream.into_iter().map(str::to_owned).collect();
            spec.tasks.push(task);
        }
        Dag::build(spec).unwrap()
    }

    #[test]
    fn a_closed_group_is_one_node() {
        let of = |fold: &str| {
            let params = Params { fold: fold.to_owned(), ..Params::default() };
            picture(&dag(), None, &[], &params, "/dags/d", DateTime::UNIX_EPOCH)
        };
        let open = of("");
        assert_eq!((open.nodes.len(), open.edges.len()), (4, 3));
        // The way from the group to `c` and back would be a cycle.
        let closed = of("g");
        assert_eq!((closed.nodes.len(), closed.edges.len()), (3, 2));
        let group = closed.nodes.iter().find(|node| node.is_group).unwrap();
        assert_eq!((group.label.as_str(), group.under.as_str()), ("g", "2 tasks"));
        assert_eq!(group.href, "/dags/d/graph");
    }

    #[test]
    fn names_are_cut_in_the_middle() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut("a_very_long_name_of_a_task_2013"), "a_very_long_n…sk_2013");
    }

    #[test]
    fn paths_are_level_in_layers() {
        assert_eq!(path(&[(0.0, 0.0), (10.0, 20.0)]), "M24 24C29 24 29 44 34 44");
        assert_eq!(
            path(&[(0.0, 0.0), (10.0, 0.0), (20.0, 0.0), (30.0, 0.0)]),
            "M24 24C29 24 29 24 34 24H44C49 24 49 24 54 24"
        );
    }
}
