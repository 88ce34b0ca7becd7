//! What of a graph depends on the version of its DAG and the folded groups alone: where everything lies. It is worked
//! out once and kept, since a page that is live asks for it every few seconds and 5,000 tasks take a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use towpath_model::dag::Dag;
use towpath_model::etl::{Input, Inputs};

use crate::links;
use crate::view::layers::{self, Sizes};
use crate::view::text::{plural, shown};

pub(crate) const SIZES: Sizes = Sizes { node_width: 190.0, node_height: 44.0, gap_x: 56.0, gap_y: 14.0 };
/// Around everything.
pub(crate) const MARGIN: f64 = 24.0;
/// Around the nodes of a group.
const GROUP: f64 = 6.0;
/// Characters of a name that fit into a node.
const NAME: usize = 21;
/// Groups of a DAG with more tasks are closed at first.
const OPEN_TASKS: usize = 150;
/// Nodes and edges of all plans that are kept; a hundred bytes or two each.
const KEPT: usize = 60_000;

/// Where everything lies; numbers in pixels.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) boxes: Vec<GroupBox>,
    pub(super) blocks: Vec<Block>,
    pub(super) edges: Vec<Edge>,
}

#[derive(Debug)]
pub(super) struct GroupBox {
    /// Of the group.
    pub(super) id: String,
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) label: String,
}

#[derive(Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) path: String,
    /// What goes along it, in the middle between its last two points.
    pub(super) label: Option<(i32, i32, String)>,
}

/// A task or a closed group.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) id: String,
    /// Number of the open group that it is in; 0 for none.
    group: usize,
    /// Positions of its tasks.
    pub(super) members: Vec<usize>,
    pub(super) is_group: bool,
    pub(super) is_mapped: bool,
    pub(super) x: i32,
    pub(super) y: i32,
    /// All of the name, and as much of it as there is room for.
    pub(super) name: String,
    pub(super) label: String,
    /// Its operator, or how many tasks it has.
    pub(super) kind: String,
    /// For an address.
    pub(super) part: String,
}

/// Plans that were made lately, by version and folded groups. What a version says never changes.
#[derive(Debug, Clone, Default)]
pub struct Plans(Arc<Mutex<VecDeque<Known>>>);

/// A version of a DAG, which groups are folded, and where everything lies then.
type Known = (i64, String, Arc<Plan>);

impl Plans {
    /// `folded` are the groups that are not as they are at first.
    pub(super) fn of(&self, version_id: i64, dag: &Dag, folded: &BTreeSet<&str>) -> Arc<Plan> {
        let fold = folded.iter().copied().collect::<Vec<_>>().join(",");
        {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let found = kept.iter().position(|(version, known, _)| *version == version_id && *known == fold);
            if let Some(entry) = found.and_then(|at| kept.remove(at)) {
                let plan = Arc::clone(&entry.2);
                kept.push_back(entry);
                return plan;
            }
        }
        let plan = Arc::new(Plan::new(dag, folded));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((version_id, fold, Arc::clone(&plan)));
        let weight = |plan: &Plan| 10 + plan.blocks.len() + plan.edges.len();
        let mut all: usize = kept.iter().map(|(_, _, plan)| weight(plan)).sum();
        while all > KEPT && kept.len() > 1 {
            all -= kept.pop_front().map_or(0, |(_, _, plan)| weight(&plan));
        }
        plan
    }
}

impl Plan {
    pub(super) fn new(dag: &Dag, folded: &BTreeSet<&str>) -> Self {
        let (mut blocks, groups, of_task) = blocks(dag, folded);
        let mut edges: Vec<(usize, usize)> = (0..dag.tasks().len())
            .flat_map(|from| dag.downstream(from).map(move |to| (from, to)))
            .map(|(from, to)| (of_task[from], of_task[to]))
            .filter(|(from, to)| from != to)
            .collect();
        edges.sort_unstable();
        edges.dedup();
        let edges = without_cycles(blocks.len(), &edges);
        let group_numbers: Vec<usize> = blocks.iter().map(|block| block.group).collect();
        let drawing = layers::draw(&group_numbers, &edges, SIZES);
        for (block, (x, y)) in blocks.iter_mut().zip(&drawing.nodes) {
            (block.x, block.y) = ((x + MARGIN) as i32, (y + MARGIN) as i32);
        }
        Self {
            width: (drawing.width + 2.0 * MARGIN) as u32,
            height: (drawing.height + 2.0 * MARGIN) as u32,
            boxes: boxes(&blocks, &groups, &drawing.nodes),
            edges: edges
                .iter()
                .zip(&drawing.edges)
                .map(|(&(from, to), points)| Edge {
                    from,
                    to,
                    path: path(points),
                    label: label(dag, &blocks[from], &blocks[to]).map(|text| {
                        let (x, y) = middle(points);
                        (x, y, text)
                    }),
                })
                .collect(),
            blocks,
        }
    }
}

impl Block {
    fn new(dag: &Dag, id: &str, group: usize, members: Vec<usize>, is_group: bool) -> Self {
        let task = &dag.tasks()[members[0]];
        let name = shown(id);
        let short = name.rsplit('.').next().filter(|_| group > 0).unwrap_or(&name);
        Self {
            label: cut(short),
            kind: shown(&task.operator),
            part: links::part(id),
            is_mapped: !is_group && task.expand.is_some(),
            x: 0,
            y: 0,
            id: id.to_owned(),
            group,
            members,
            is_group,
            name,
        }
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
                blocks.push(Block::new(dag, group, 0, vec![index], true));
                blocks.len() - 1
            });
            if blocks[block].members.last() != Some(&index) {
                blocks[block].members.push(index);
            }
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
        blocks.push(Block::new(dag, id, group, vec![index], false));
    }
    for block in blocks.iter_mut().filter(|block| block.is_group) {
        block.kind = plural(block.members.len() as u64, "task", "tasks");
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
fn boxes(blocks: &[Block], groups: &[String], places: &[(f64, f64)]) -> Vec<GroupBox> {
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
                id: name.clone(),
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
        let open = Plan::new(&dag(), &BTreeSet::new());
        assert_eq!((open.blocks.len(), open.edges.len()), (4, 3));
        // The way from the group to `c` and back would be a cycle.
        let closed = Plan::new(&dag(), &BTreeSet::from(["g"]));
        assert_eq!((closed.blocks.len(), closed.edges.len()), (3, 2));
        let group = closed.blocks.iter().find(|block| block.is_group).unwrap();
        assert_eq!((group.label.as_str(), group.kind.as_str()), ("g", "2 tasks"));
    }

    #[test]
    fn plans_are_kept_in_bounds() {
        let mut spec = DagSpec::new("d");
        spec.tasks = (0..10_000).map(|number| Task::new(format!("t{number}"), "bash")).collect();
        let dag = Dag::build(spec).unwrap();
        let plans = Plans::default();
        let (none, one) = (BTreeSet::new(), BTreeSet::from(["g"]));
        let first = plans.of(1, &dag, &none);
        assert!(Arc::ptr_eq(&first, &plans.of(1, &dag, &none)));
        assert!(!Arc::ptr_eq(&first, &plans.of(1, &dag, &one)));
        assert!(!Arc::ptr_eq(&first, &plans.of(2, &dag, &none)));
        for version in 3..9 {
            plans.of(version, &dag, &none);
        }
        assert!(!Arc::ptr_eq(&first, &plans.of(1, &dag, &none)), "it has been dropped");
        assert!(plans.0.lock().unwrap().len() < 7);
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
