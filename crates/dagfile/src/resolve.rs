//! From dependencies as they are written to edges between tasks.
//!
//! A dependency on a group is one on its last tasks; one of a group is one of its first tasks. How
//! many edges that makes is counted before they are made: two groups of ten thousand tasks, one
//! after the other, are a short file and a hundred million edges.

use std::collections::{BTreeMap, HashMap, HashSet};

use towpath_model::dag::Task;
use towpath_model::teardown::Role;

use crate::diagnostic::Reporter;
use crate::group::{Group, Groups};
use crate::node::Span;

/// A dependency as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// Where a task stands.
#[derive(Debug)]
pub(crate) struct Place {
    /// The innermost group around it.
    pub(crate) group: Option<String>,
    /// Where in its id the part begins that its author has written.
    pub(crate) short_at: usize,
    /// What it waits for.
    pub(crate) references: Vec<Reference>,
    /// Those of the references that are the setups of a teardown.
    pub(crate) setups: Vec<Reference>,
}

/// Fills in the `upstream` of `tasks`, whose ids are complete; `places` has one for each of them.
/// Where something is wrong, that is reported and the tasks stay as they are.
pub(crate) fn resolve(tasks: &mut [Task], places: &[Place], groups: &Groups<'_>, most: usize, report: &mut Reporter) {
    let before = report.errors();
    let book = Book::new(tasks, places, groups, report);
    let mut graph = Graph { upstream: Vec::with_capacity(tasks.len()), most, count: 0 };
    for (index, place) in places.iter().enumerate() {
        let targets = place.references.iter().filter_map(|reference| book.of_task(index, reference, report)).collect();
        graph.upstream.push(targets);
    }
    if report.errors() > before {
        return;
    }
    let edges = graph.add_groups(&book, report).and_then(|()| graph.edges(&book, report));
    let Some(edges) = edges.filter(|_| report.errors() == before) else { return };
    let ids: Vec<String> = tasks.iter().map(|task| task.task_id.clone()).collect();
    for (task, upstream) in tasks.iter_mut().zip(edges) {
        task.upstream = upstream.into_iter().map(|index| ids[index as usize].clone()).collect();
    }
}

/// What a reference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Task(u32),
    Group(u32),
}

/// Names and memberships, by number.
struct Book<'a> {
    groups: &'a Groups<'a>,
    /// The groups by number.
    list: Vec<&'a Group<'a>>,
    by_id: HashMap<&'a str, u32>,
    /// By what their authors have written, where that is not the whole id.
    by_short: BTreeMap<&'a str, Vec<u32>>,
    group_by_name: BTreeMap<String, u32>,
    /// Of each group, itself and those around it, innermost first.
    chains: Vec<Vec<u32>>,
    group_of: Vec<Option<u32>>,
    /// Of each group, its tasks and those of the groups in it.
    members: Vec<Vec<u32>>,
    ids: Vec<&'a str>,
    roles: Vec<Role>,
    /// Where the setups of teardowns are named.
    setups: HashSet<Span>,
}

impl<'a> Book<'a> {
    fn new(tasks: &'a [Task], places: &'a [Place], groups: &'a Groups<'a>, report: &mut Reporter) -> Self {
        let list: Vec<&Group<'_>> = groups.all().collect();
        let numbers: HashMap<&str, u32> = list.iter().zip(0..).map(|(group, i)| (group.name.as_str(), i)).collect();
        let chain = |group: &&Group<'_>| groups.chain(&group.name).map(|g| numbers[g.name.as_str()]).collect();
        let chains: Vec<Vec<u32>> = list.iter().map(chain).collect();
        let group_of: Vec<Option<u32>> =
            places.iter().map(|place| place.group.as_deref().map(|name| numbers[name])).collect();
        let ids: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
        let mut by_short: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); list.len()];
        for (index, place) in places.iter().enumerate() {
            if place.short_at > 0 {
                by_short.entry(&ids[index][place.short_at..]).or_default().push(index as u32);
            }
            for &group in group_of[index].iter().flat_map(|group| &chains[*group as usize]) {
                members[group as usize].push(index as u32);
            }
        }
        let by_id: HashMap<&str, u32> = ids.iter().copied().zip(0..).collect();
        let mut group_by_name: BTreeMap<String, u32> = BTreeMap::new();
        for (group, number) in list.iter().zip(0..) {
            let id = groups.group_id(group);
            if by_id.contains_key(id.as_str()) {
                report
                    .error(group.span, format!("`{id}` is both a task and a task group"))
                    .help("give one of them another name");
            }
            group_by_name.insert(id, number);
        }
        // The bare name works too, unless it is the whole id of another group.
        for (group, number) in list.iter().zip(0..) {
            group_by_name.entry(group.name.clone()).or_insert(number);
        }
        let roles = tasks.iter().map(|task| task.role).collect();
        let setups = places.iter().flat_map(|place| place.setups.iter().map(|setup| setup.span)).collect();
        Self { groups, list, by_id, by_short, group_by_name, chains, group_of, members, ids, roles, setups }
    }

    fn chain_of_task(&self, task: u32) -> &[u32] {
        self.group_of[task as usize].map_or(&[], |group| &self.chains[group as usize])
    }

    /// Whether a target, or part of it, is inside of a group.
    fn touches(&self, target: Target, group: u32) -> bool {
        match target {
            Target::Task(task) => self.chain_of_task(task).contains(&group),
            Target::Group(other) => self.chains[other as usize].contains(&group),
        }
    }

    /// What a reference of a task means.
    fn of_task(&self, task: usize, reference: &Reference, report: &mut Reporter) -> Option<(Target, Span)> {
        let target = self.find(reference, self.chain_of_task(task as u32), report)?;
        if let Target::Group(group) = target
            && self.chain_of_task(task as u32).contains(&group)
        {
            let message = format!("task `{}` is inside of task group `{}`", self.ids[task], reference.text);
            report.error(reference.span, format!("{message}, so it cannot wait for it"));
            return None;
        }
        Some((target, reference.span))
    }

    /// What a reference of a group means.
    fn of_group(&self, group: u32, reference: &Reference, report: &mut Reporter) -> Option<(Target, Span)> {
        let chain = &self.chains[group as usize];
        let target = self.find(reference, &chain[1..], report)?;
        let around = matches!(target, Target::Group(other) if chain.contains(&other));
        if around || self.touches(target, group) {
            let name = &self.list[group as usize].name;
            report
                .error(reference.span, format!("task group `{name}` cannot wait for `{}`", reference.text))
                .help("one of them is inside of the other");
            return None;
        }
        Some((target, reference.span))
    }

    /// A whole id first, then a name in the groups around, from the inside out, then a group, and
    /// last a short id that only one task has.
    fn find(&self, reference: &Reference, chain: &[u32], report: &mut Reporter) -> Option<Target> {
        let text = reference.text.as_str();
        if let Some(task) = self.by_id.get(text) {
            return Some(Target::Task(*task));
        }
        let short = self.by_short.get(text).map_or(&[][..], Vec::as_slice);
        if !short.is_empty() {
            for group in chain {
                let id = self.groups.full_id(&self.list[*group as usize].name, text);
                if let Some(task) = self.by_id.get(id.as_str()) {
                    return Some(Target::Task(*task));
                }
            }
        }
        if let Some(&group) = self.group_by_name.get(text) {
            if self.members[group as usize].is_empty() {
                let message = format!("task group `{text}` has no tasks, so there is nothing to wait for");
                report.warning(reference.span, message);
            }
            return Some(Target::Group(group));
        }
        match short {
            [task] => Some(Target::Task(*task)),
            [] => {
                let known = self.ids.iter().copied().chain(self.by_short.keys().copied());
                report
                    .error(reference.span, format!("there is no task or group `{text}` in this DAG"))
                    .suggest(text, known.chain(self.group_by_name.keys().map(String::as_str)));
                None
            }
            several => {
                let names: Vec<&str> = several.iter().take(3).map(|task| self.ids[*task as usize]).collect();
                let rest = several.len() - names.len();
                let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
                report
                    .error(reference.span, format!("`{text}` may be any of {}{rest}", names.join(", ")))
                    .help("write the whole id, with the names of its groups");
                None
            }
        }
    }
}

/// What each task waits for.
struct Graph {
    upstream: Vec<Vec<(Target, Span)>>,
    most: usize,
    count: usize,
}

impl Graph {
    /// Lets the first tasks of each group wait for what the group waits for. Inner groups come first:
    /// what they wait for decides which tasks are the first of the groups around them.
    fn add_groups(&mut self, book: &Book<'_>, report: &mut Reporter) -> Option<()> {
        let mut order: Vec<u32> = (0..book.list.len() as u32).collect();
        order.sort_by_key(|group| std::cmp::Reverse(book.chains[*group as usize].len()));
        for group in order {
            let references = &book.list[group as usize].dependencies;
            let targets: Vec<_> = references.iter().filter_map(|r| book.of_group(group, r, report)).collect();
            let Some((_, span)) = targets.first() else { continue };
            for &task in &book.members[group as usize] {
                let upstream = &mut self.upstream[task as usize];
                if upstream.iter().any(|(target, _)| book.touches(*target, group)) {
                    continue;
                }
                self.count += targets.len();
                if self.count > self.most {
                    return too_many(self.most, *span, report);
                }
                upstream.extend(&targets);
            }
        }
        Some(())
    }

    /// The last tasks of a group: those that no other of the group waits for. As in Airflow, teardowns
    /// are left out, and so are setups that only teardowns of the group wait for.
    fn last_of(&self, group: u32, book: &Book<'_>) -> Vec<u32> {
        let mut tasks = HashSet::new();
        let mut groups = HashSet::new();
        let mut torn_down = HashSet::new();
        for &member in &book.members[group as usize] {
            let is_teardown = book.roles[member as usize].is_teardown();
            for (target, span) in &self.upstream[member as usize] {
                match target {
                    Target::Task(task) if is_teardown => {
                        if book.roles[*task as usize].is_setup() || book.setups.contains(span) {
                            torn_down.insert(*task);
                        }
                        false
                    }
                    Target::Group(_) if is_teardown => false,
                    Target::Task(task) => tasks.insert(*task),
                    Target::Group(other) => groups.insert(*other),
                };
            }
        }
        let is_followed =
            |task: &u32| tasks.contains(task) || book.chain_of_task(*task).iter().any(|group| groups.contains(group));
        let members = book.members[group as usize].iter().copied();
        let last: Vec<u32> =
            members.filter(|task| !book.roles[*task as usize].is_teardown() && !is_followed(task)).collect();
        let work: Vec<u32> = last.iter().copied().filter(|task| !torn_down.contains(task)).collect();
        if work.is_empty() { last } else { work }
    }

    /// The edges, as numbers of the tasks that each task waits for.
    fn edges(&self, book: &Book<'_>, report: &mut Reporter) -> Option<Vec<Vec<u32>>> {
        let mut last: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut count = 0;
        let mut edges = Vec::with_capacity(self.upstream.len());
        for targets in &self.upstream {
            let mut upstream = Vec::with_capacity(targets.len());
            for &(target, span) in targets {
                match target {
                    Target::Task(task) => upstream.push(task),
                    Target::Group(group) => {
                        upstream.extend(last.entry(group).or_insert_with(|| self.last_of(group, book)).iter().copied());
                    }
                }
                if count + upstream.len() > self.most {
                    return too_many(self.most, span, report);
                }
            }
            upstream.sort_unstable();
            upstream.dedup();
            count += upstream.len();
            edges.push(upstream);
        }
        Some(edges)
    }
}

fn too_many<T>(most: usize, span: Span, report: &mut Reporter) -> Option<T> {
    report
        .error(span, format!("the DAG has more than {most} dependencies between tasks"))
        .help("an `empty` task between two large groups joins them with far fewer");
    None
}
