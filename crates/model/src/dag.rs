//! The DAG: settings, tasks and the petgraph graph between them.
//!
//! [`DagSpec`] is plain data, the form that is stored and hashed. [`Dag`] is a spec whose graph has
//! been built and checked: ids are unique, references resolve, there is no cycle. Everything that
//! asks "what comes after this task" asks a [`Dag`].

mod spec;
mod weights;

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use serde_json::{Map, Value};

pub use self::spec::{
    ASSET_SCHEDULE, DEFAULT_MAX_ACTIVE_RUNS, DEFAULT_MAX_ACTIVE_TASKS, DEFAULT_POOL, DEFAULT_QUEUE, DagSpec, Gates,
    Task, WeightRule,
};
use crate::canonical;
use crate::params::{Checkers, ParamError};
use crate::teardown::Scopes;

/// Most tasks a DAG may have.
pub const MAX_TASKS: usize = 100_000;

/// Why a [`DagSpec`] is not a DAG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("task `{task_id}` is defined twice")]
    DuplicateTask { task_id: String },
    #[error("task `{task_id}` depends on `{upstream}`, which is not a task of this DAG")]
    UnknownUpstream { task_id: String, upstream: String },
    #[error("the tasks form a cycle: {}", path.join(" -> "))]
    Cycle {
        /// The tasks on it, in order; the first stands again at the end.
        path: Vec<String>,
    },
    #[error("the DAG has {count} tasks; at most {MAX_TASKS} are allowed")]
    TooManyTasks { count: usize },
}

/// A checked DAG.
#[derive(Debug, Clone)]
pub struct Dag {
    spec: DagSpec,
    /// Node `i` is `spec.tasks[i]`; an edge points downstream.
    graph: DiGraph<(), (), u32>,
    topological: Vec<usize>,
    by_id: HashMap<String, usize>,
    weights: Vec<i64>,
    pools: Vec<String>,
    gated: bool,
    has_setups: bool,
    leaves: Vec<bool>,
    hash: String,
    /// Found out when a run first asks.
    scopes: OnceLock<Scopes>,
    /// Compiled at the first run that is asked for; most processes that read a DAG never do.
    checkers: OnceLock<Checkers>,
}

impl Dag {
    /// Builds and checks the graph.
    ///
    /// # Errors
    /// Every reason why `spec` is not a DAG, not only the first.
    pub fn build(mut spec: DagSpec) -> Result<Self, Vec<GraphError>> {
        if spec.tasks.len() > MAX_TASKS {
            return Err(vec![GraphError::TooManyTasks { count: spec.tasks.len() }]);
        }
        spec.tasks.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        let mut errors = Vec::new();
        let mut by_id = HashMap::with_capacity(spec.tasks.len());
        for (index, task) in spec.tasks.iter_mut().enumerate() {
            task.upstream.sort();
            task.upstream.dedup();
            if by_id.insert(task.task_id.clone(), index).is_some() {
                errors.push(GraphError::DuplicateTask { task_id: task.task_id.clone() });
            }
        }
        let mut graph = DiGraph::with_capacity(spec.tasks.len(), spec.tasks.len());
        for _ in &spec.tasks {
            graph.add_node(());
        }
        for (index, task) in spec.tasks.iter().enumerate() {
            for upstream in &task.upstream {
                match by_id.get(upstream) {
                    Some(&from) => {
                        graph.add_edge(NodeIndex::new(from), NodeIndex::new(index), ());
                    }
                    None => errors.push(GraphError::UnknownUpstream {
                        task_id: task.task_id.clone(),
                        upstream: upstream.clone(),
                    }),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let topological = match petgraph::algo::toposort(&graph, None) {
            Ok(order) => order.into_iter().map(NodeIndex::index).collect::<Vec<_>>(),
            Err(_) => return Err(cycles(&graph, &spec)),
        };
        let hash = canonical::hash(&spec);
        let pools: BTreeSet<String> = spec.tasks.iter().map(|t| t.pool.clone()).collect();
        let pools = pools.into_iter().collect();
        let gated = spec.tasks.iter().any(|task| !task.gates.is_open());
        let has_setups = spec.tasks.iter().any(|task| !task.role.is_work());
        let mut dag = Self {
            gated,
            has_setups,
            leaves: Vec::new(),
            weights: Vec::new(),
            spec,
            graph,
            topological,
            by_id,
            pools,
            hash,
            scopes: OnceLock::new(),
            checkers: OnceLock::new(),
        };
        dag.weights = dag.priority_weights();
        dag.leaves = crate::teardown::leaves(&dag);
        Ok(dag)
    }

    /// The DAG as data.
    #[must_use]
    pub fn spec(&self) -> &DagSpec {
        &self.spec
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.spec.dag_id
    }

    /// Its tasks, sorted by id; positions in this slice are the indices that other methods speak of.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.spec.tasks
    }

    /// The position of a task.
    #[must_use]
    pub fn index_of(&self, task_id: &str) -> Option<usize> {
        self.by_id.get(task_id).copied()
    }

    /// A task by its id.
    #[must_use]
    pub fn task(&self, task_id: &str) -> Option<&Task> {
        self.index_of(task_id).map(|index| &self.spec.tasks[index])
    }

    /// Positions of the tasks directly upstream of `index`.
    pub fn upstream(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.graph.neighbors_directed(NodeIndex::new(index), Direction::Incoming).map(NodeIndex::index)
    }

    /// Positions of the tasks directly downstream of `index`.
    pub fn downstream(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.graph.neighbors_directed(NodeIndex::new(index), Direction::Outgoing).map(NodeIndex::index)
    }

    /// `from` and everything downstream of it.
    #[must_use]
    pub fn descendants(&self, from: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        self.reachable(from, Direction::Outgoing)
    }

    /// `from` and everything upstream of it.
    #[must_use]
    pub fn ancestors(&self, from: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        self.reachable(from, Direction::Incoming)
    }

    fn reachable(&self, from: impl IntoIterator<Item = usize>, toward: Direction) -> BTreeSet<usize> {
        let mut open: Vec<usize> = from.into_iter().collect();
        let mut found: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(index) = open.pop() {
            for next in self.graph.neighbors_directed(NodeIndex::new(index), toward).map(NodeIndex::index) {
                if found.insert(next) {
                    open.push(next);
                }
            }
        }
        found
    }

    /// How many tasks are directly upstream of `index`.
    #[must_use]
    pub fn upstream_count(&self, index: usize) -> u32 {
        self.upstream(index).count() as u32
    }

    /// Whether `index` decides how a run ended: nothing follows it but teardowns, and it is none
    /// itself, apart from those whose failure is one of the run.
    #[must_use]
    pub fn is_leaf(&self, index: usize) -> bool {
        self.leaves[index]
    }

    /// Whether there are setup and teardown tasks.
    #[must_use]
    pub fn has_setups(&self) -> bool {
        self.has_setups
    }

    /// Which setups each task needs.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        self.scopes.get_or_init(|| Scopes::new(self))
    }

    /// The setups that the task at `index` needs without being directly behind them.
    #[must_use]
    pub fn setups_above(&self, index: usize) -> &[usize] {
        if self.has_setups { self.scopes().above(index) } else { &[] }
    }

    /// Whether the task at `index` has an instance for each of some elements, by itself or with its group.
    #[must_use]
    pub fn is_mapped(&self, index: usize) -> bool {
        let task = &self.spec.tasks[index];
        task.expand.is_some() || task.map_group.is_some()
    }

    /// Whether any task is mapped.
    #[must_use]
    pub fn has_mapped(&self) -> bool {
        (0..self.spec.tasks.len()).any(|index| self.is_mapped(index))
    }

    /// Whether two tasks are of the same mapped group, so that each instance of the one looks at the
    /// instance of the other with the same map index.
    #[must_use]
    pub fn is_local(&self, one: usize, other: usize) -> bool {
        let group = &self.spec.tasks[one].map_group;
        group.is_some() && *group == self.spec.tasks[other].map_group
    }

    /// Positions such that every task comes after its upstream.
    #[must_use]
    pub fn topological(&self) -> &[usize] {
        &self.topological
    }

    /// The effective priority weight of `index` by its `weight_rule`; larger goes first.
    #[must_use]
    pub fn weight(&self, index: usize) -> i64 {
        self.weights[index]
    }

    /// The pools that its tasks use, each once.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        self.pools.iter().map(String::as_str)
    }

    /// Whether any task asks something of other runs or instances ([`Gates`]).
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.gated
    }

    /// The petgraph graph; node `i` is task `i`, edges point downstream.
    #[must_use]
    pub fn graph(&self) -> &DiGraph<(), (), u32> {
        &self.graph
    }

    /// Hash of the canonical form: the same for two files that differ in comments, key order or
    /// spelling only. 32 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The params of a run with `conf`: the defaults, overridden by those keys of `conf` that are declared.
    ///
    /// # Errors
    /// Every reason why one of them has no value that it may have.
    pub fn check_params(&self, conf: &Map<String, Value>) -> Result<Map<String, Value>, Vec<ParamError>> {
        let declared = &self.spec.params;
        if declared.is_empty() {
            return Ok(Map::new());
        }
        self.checkers.get_or_init(|| Checkers::new(declared)).check(declared, conf)
    }
}

/// One cycle for each strongly connected component that has one, as a path of task ids.
fn cycles(graph: &DiGraph<(), (), u32>, spec: &DagSpec) -> Vec<GraphError> {
    let mut errors = Vec::new();
    for component in petgraph::algo::tarjan_scc(graph) {
        let start = *component.iter().min().expect("a component has a member");
        let is_cycle = component.len() > 1 || graph.contains_edge(start, start);
        if !is_cycle {
            continue;
        }
        let members: std::collections::HashSet<_> = component.iter().copied().collect();
        // Breadth first from `start` back to itself gives a shortest cycle through it.
        let mut parent: HashMap<NodeIndex<u32>, NodeIndex<u32>> = HashMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        let mut last = start;
        'search: while let Some(node) = queue.pop_front() {
            for next in graph.neighbors(node).filter(|n| members.contains(n)) {
                if next == start {
                    last = node;
                    break 'search;
                }
                if let std::collections::hash_map::Entry::Vacant(entry) = parent.entry(next) {
                    entry.insert(node);
                    queue.push_back(next);
                }
            }
        }
        let mut path = vec![start, last];
        while last != start {
            last = parent[&last];
            path.push(last);
        }
        path.dedup();
        path.reverse();
        if path.len() == 1 {
            path.push(start);
        }
        let path = path.into_iter().map(|n| spec.tasks[n.index()].task_id.clone()).collect();
        errors.push(GraphError::Cycle { path });
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dag(edges: &[(&str, &[&str])]) -> Result<Dag, Vec<GraphError>> {
        let mut spec = DagSpec::new("d");
        for (id, upstream) in edges {
            let mut task = Task::new(*id, "empty");
            task.upstream = upstream.iter().map(ToString::to_string).collect();
            spec.tasks.push(task);
        }
        Dag::build(spec)
    }

    #[test]
    fn a_cycle_names_its_path() {
        let errors = dag(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["d"]), ("e", &["a"])]).unwrap_err();
        let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.sort();
        assert_eq!(texts, ["the tasks form a cycle: a -> b -> c -> a", "the tasks form a cycle: d -> d"]);
    }

    #[test]
    fn every_broken_reference_is_told() {
        let errors = dag(&[("a", &["x"]), ("b", &["y", "a"]), ("b", &[])]).unwrap_err();
        assert_eq!(errors.len(), 3);
    }

    #[test]
    fn weights_count_each_descendant_once() {
        let dag = dag(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]).unwrap();
        let weight = |id| dag.weight(dag.index_of(id).unwrap());
        assert_eq!((weight("a"), weight("b"), weight("c"), weight("d")), (4, 2, 2, 1));
    }

    #[test]
    fn weights_are_right_across_blocks() {
        let mut spec = DagSpec::new("d");
        for i in 0..3_000 {
            let mut task = Task::new(format!("t{i:05}"), "empty");
            if i > 0 {
                task.upstream = vec![format!("t{:05}", i - 1)];
            }
            spec.tasks.push(task);
        }
        let dag = Dag::build(spec).unwrap();
        assert_eq!(dag.weight(0), 3_000);
        assert_eq!(dag.weight(2_999), 1);
    }

    #[test]
    fn the_hash_ignores_order() {
        let one = dag(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])]).unwrap();
        let two = dag(&[("c", &["b", "a"]), ("b", &["a"]), ("a", &[])]).unwrap();
        let other = dag(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]).unwrap();
        assert_eq!(one.hash(), two.hash());
        assert_ne!(one.hash(), other.hash());
    }
}
