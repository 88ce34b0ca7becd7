//! The DAG: settings, tasks and the petgraph graph between them.
//!
//! [`DagSpec`] is plain data, the form that is stored and hashed. [`Dag`] is a spec whose graph has
//! been built and checked: ids are unique, references resolve, there is no cycle. Everything that
//! asks "what comes after this task" asks a [`Dag`].

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use indexmap::IndexMap;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumString};

use crate::alert::{Alert, Event};
use crate::asset::{Asset, Condition, Outlet};
use crate::canonical;
use crate::deadline::Deadline;
use crate::expand::Expand;
use crate::params::{Checkers, Param, ParamError};
use crate::retry::RetryPolicy;
use crate::teardown::{Role, Scopes};
use crate::timetable::Schedule;
use crate::trigger_rule::TriggerRule;

/// Most tasks a DAG may have.
pub const MAX_TASKS: usize = 100_000;
/// `max_active_runs` where the file does not say.
pub const DEFAULT_MAX_ACTIVE_RUNS: u32 = 16;
/// `max_active_tasks` (per run) where the file does not say.
pub const DEFAULT_MAX_ACTIVE_TASKS: u32 = 16;
/// What the summary of a schedule on assets begins with, and no other does; Airflow's word.
pub const ASSET_SCHEDULE: &str = "Asset";
/// The pool of tasks that do not name one.
pub const DEFAULT_POOL: &str = "default_pool";
/// The queue of tasks that do not name one.
pub const DEFAULT_QUEUE: &str = "default";

/// A DAG as it is written, stored and hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DagSpec {
    pub dag_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its runs by time; those by data come from `asset_schedule`.
    pub schedule: Schedule,
    /// The assets whose updates make it run, whatever `schedule` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset_schedule: Option<Condition>,
    /// Zone of dates and crons that do not name their own.
    pub timezone: Tz,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<DateTime<Utc>>,
    /// No run has a logical date after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<DateTime<Utc>>,
    #[serde(default)]
    pub catchup: bool,
    pub max_active_runs: u32,
    /// Queued and running task instances per run.
    pub max_active_tasks: u32,
    #[serde(default, with = "crate::duration::micros_opt", skip_serializing_if = "Option::is_none")]
    pub dagrun_timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_paused_upon_creation: Option<bool>,
    #[serde(default)]
    pub render_template_as_native_obj: bool,
    #[serde(default)]
    pub params: IndexMap<String, Param>,
    /// The first task that fails ends the run: what runs fails, what has not started is skipped, teardowns run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fail_fast: bool,
    /// What the mapped task groups are expanded over, by the ids of the groups.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub mapped_groups: IndexMap<String, Expand>,
    /// Who is told how its runs end; tasks have alerts of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Until when its runs have to have succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deadlines: Vec<Deadline>,
    /// Sorted by `task_id`.
    pub tasks: Vec<Task>,
}

/// One task of a DAG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub task_id: String,
    /// Short name of its operator, as in [`crate::operator::SPECS`].
    pub operator: String,
    /// The operator's arguments under their canonical names; text in them may be templates.
    #[serde(default)]
    pub args: Map<String, Value>,
    /// Ids of the tasks that must end before it, sorted.
    #[serde(default)]
    pub upstream: Vec<String>,
    #[serde(default)]
    pub trigger_rule: TriggerRule,
    #[serde(default)]
    pub retry: RetryPolicy,
    #[serde(default, with = "crate::duration::micros_opt", skip_serializing_if = "Option::is_none")]
    pub execution_timeout: Option<Duration>,
    pub pool: String,
    pub pool_slots: u32,
    pub queue: String,
    pub priority_weight: i64,
    #[serde(default)]
    pub weight_rule: WeightRule,
    pub owner: String,
    #[serde(default)]
    pub email: Vec<String>,
    #[serde(default = "yes")]
    pub email_on_failure: bool,
    #[serde(default = "yes")]
    pub email_on_retry: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub email_on_success: bool,
    /// Who else is told how its tries end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    #[serde(default = "yes")]
    pub do_xcom_push: bool,
    /// The assets that it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inlets: Vec<Asset>,
    /// The assets that it updates when it succeeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<Outlet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    /// A template for the names of its instances when it is mapped, rendered when each has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_index_template: Option<String>,
    #[serde(default)]
    pub params: IndexMap<String, Param>,
    /// What it asks of earlier runs and of its own other instances before it starts.
    #[serde(default, skip_serializing_if = "Gates::is_open")]
    pub gates: Gates,
    /// What it is mapped over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expand>,
    /// Whether it makes or takes away what other tasks need.
    #[serde(default, skip_serializing_if = "Role::is_work")]
    pub role: Role,
    /// The mapped task group that it belongs to, one of [`DagSpec::mapped_groups`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_group: Option<String>,
}

fn yes() -> bool {
    true
}

/// Conditions on other runs and instances of the same task (Airflow's names).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gates {
    /// In the run before, it must have succeeded or been skipped.
    #[serde(default, skip_serializing_if = "is_false")]
    pub depends_on_past: bool,
    /// In the run before, what is directly downstream of it must have succeeded or been skipped, too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub wait_for_downstream: bool,
    /// Most queued and running instances in all runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dag: Option<u32>,
    /// Most queued and running instances in one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dagrun: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Gates {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// How a task's weight in the queue follows from its place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WeightRule {
    /// Its own and those of everything downstream.
    #[default]
    Downstream,
    /// Its own and those of everything upstream.
    Upstream,
    /// Its own alone.
    Absolute,
}

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

    /// Sums over transitive neighbours, each counted once. Reachability is kept as bit sets over a
    /// block of columns at a time, so that memory stays linear in the number of tasks.
    fn priority_weights(&self) -> Vec<i64> {
        const WORDS: usize = 16;
        const BLOCK: usize = WORDS * 64;
        let own: Vec<i64> = self.spec.tasks.iter().map(|t| t.priority_weight).collect();
        let mut total = own.clone();
        for rule in [WeightRule::Downstream, WeightRule::Upstream] {
            if !self.spec.tasks.iter().any(|t| t.weight_rule == rule) {
                continue;
            }
            let toward = if rule == WeightRule::Downstream { Direction::Outgoing } else { Direction::Incoming };
            let order: Vec<usize> = match rule {
                WeightRule::Downstream => self.topological.iter().rev().copied().collect(),
                WeightRule::Upstream | WeightRule::Absolute => self.topological.clone(),
            };
            let mut reach = vec![[0_u64; WORDS]; own.len()];
            for start in (0..own.len()).step_by(BLOCK) {
                reach.fill([0; WORDS]);
                for &node in &order {
                    let mut set = [0_u64; WORDS];
                    for next in self.graph.neighbors_directed(NodeIndex::new(node), toward) {
                        let next = next.index();
                        for (word, other) in set.iter_mut().zip(&reach[next]) {
                            *word |= other;
                        }
                        if (start..start + BLOCK).contains(&next) {
                            set[(next - start) / 64] |= 1 << ((next - start) % 64);
                        }
                    }
                    if self.spec.tasks[node].weight_rule == rule {
                        total[node] = total[node].saturating_add(weigh(&set, &own[start..]));
                    }
                    reach[node] = set;
                }
            }
        }
        total
    }
}

fn weigh(set: &[u64], own: &[i64]) -> i64 {
    let mut sum = 0_i64;
    for (word_index, &word) in set.iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            sum = sum.saturating_add(own[word_index * 64 + rest.trailing_zeros() as usize]);
            rest &= rest - 1;
        }
    }
    sum
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

impl Task {
    /// A task with every setting at its default.
    #[must_use]
    pub fn new(task_id: impl Into<String>, operator: impl Into<String>) -> Self {
        Self {
            task_id: task_id.into(),
            operator: operator.into(),
            args: Map::new(),
            upstream: Vec::new(),
            trigger_rule: TriggerRule::default(),
            retry: RetryPolicy::default(),
            execution_timeout: None,
            pool: DEFAULT_POOL.to_owned(),
            pool_slots: 1,
            queue: DEFAULT_QUEUE.to_owned(),
            priority_weight: 1,
            weight_rule: WeightRule::default(),
            owner: "airflow".to_owned(),
            email: Vec::new(),
            email_on_failure: true,
            email_on_retry: true,
            email_on_success: false,
            alerts: Vec::new(),
            do_xcom_push: true,
            inlets: Vec::new(),
            outlets: Vec::new(),
            doc_md: None,
            map_index_template: None,
            params: IndexMap::new(),
            gates: Gates::default(),
            expand: None,
            role: Role::Work,
            map_group: None,
        }
    }

    /// Whether it ends well in the step that would schedule it, without a worker: an `empty` task,
    /// which has nothing to do. Airflow's scheduler treats its `EmptyOperator` so too, and as there one
    /// whose success somebody wants to be told of, or that has outlets, runs as any other.
    #[must_use]
    pub fn ends_without_worker(&self) -> bool {
        self.operator == "empty"
            && self.gates.is_open()
            && self.outlets.is_empty()
            && self.alert_targets(Event::Success).is_empty()
    }
}

impl DagSpec {
    /// A DAG without a schedule or tasks, with every setting at its default.
    #[must_use]
    pub fn new(dag_id: impl Into<String>) -> Self {
        Self {
            dag_id: dag_id.into(),
            display_name: None,
            description: None,
            doc_md: None,
            tags: Vec::new(),
            schedule: Schedule::Never,
            asset_schedule: None,
            timezone: Tz::UTC,
            start_date: None,
            end_date: None,
            catchup: false,
            max_active_runs: DEFAULT_MAX_ACTIVE_RUNS,
            max_active_tasks: DEFAULT_MAX_ACTIVE_TASKS,
            dagrun_timeout: None,
            is_paused_upon_creation: None,
            render_template_as_native_obj: false,
            params: IndexMap::new(),
            fail_fast: false,
            mapped_groups: IndexMap::new(),
            alerts: Vec::new(),
            deadlines: Vec::new(),
            tasks: Vec::new(),
        }
    }

    /// Its whole schedule as lists show it: `@daily`, `Asset`, `Asset or @daily` (Airflow's words).
    #[must_use]
    pub fn schedule_summary(&self) -> String {
        match (&self.asset_schedule, self.schedule.is_scheduled()) {
            (None, _) => self.schedule.summary(),
            (Some(_), false) => ASSET_SCHEDULE.to_owned(),
            (Some(_), true) => format!("{ASSET_SCHEDULE} or {}", self.schedule.summary()),
        }
    }

    /// Its whole schedule in words: `when orders and customers are updated`.
    #[must_use]
    pub fn schedule_words(&self) -> String {
        let Some(condition) = &self.asset_schedule else { return self.schedule.describe() };
        let verb = if matches!(condition, Condition::All(parts) if parts.len() > 1) { "are" } else { "is" };
        let words = format!("when {} {verb} updated", condition.words());
        if self.schedule.is_scheduled() { format!("{}, and {words}", self.schedule.describe()) } else { words }
    }

    /// The owners of its tasks, each once, in order of appearance.
    #[must_use]
    pub fn owners(&self) -> Vec<&str> {
        let mut owners: Vec<&str> = Vec::new();
        for task in &self.tasks {
            if !owners.contains(&task.owner.as_str()) {
                owners.push(&task.owner);
            }
        }
        owners
    }
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
