//! Task groups: names in front of ids, and dependencies on all that a group holds.
//!
//! A group has no place in the graph of a run. It is compiled away: its tasks get its prefix, and
//! a dependency on it becomes one on its last tasks, as in Airflow.

use std::collections::{BTreeMap, BTreeSet};

use towpath_model::dag::Task;

use crate::diagnostic::Reporter;
use crate::fields::{Fields, wrong};
use crate::keys::{self, KeyKind};
use crate::node::{Kind, Node, Span};

/// A group as it is written.
pub(crate) struct Group<'n> {
    pub(crate) name: String,
    span: Span,
    parent: Option<(String, Span)>,
    prefix: bool,
    dependencies: Vec<(String, Span)>,
    pub(crate) default_args: Option<&'n Node>,
}

/// The groups of a DAG by name.
#[derive(Default)]
pub(crate) struct Groups<'n>(BTreeMap<String, Group<'n>>);

/// A dependency as it is written: of which task, on what.
pub(crate) struct Reference {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl<'n> Groups<'n> {
    /// Reads `task_groups`.
    pub(crate) fn read(node: Option<&'n Node>, report: &mut Reporter) -> Self {
        let mut groups = Self::default();
        for (name, node) in entries(node, "task_groups", "group_name", report) {
            let Some(group) = group(name, node, report) else { continue };
            if groups.0.contains_key(&group.name) {
                report.error(node.span, format!("task group `{}` is defined twice", group.name));
                continue;
            }
            groups.0.insert(group.name.clone(), group);
        }
        groups.check_parents(report);
        groups
    }

    fn check_parents(&mut self, report: &mut Reporter) {
        let names: Vec<String> = self.0.keys().cloned().collect();
        for name in &names {
            let Some((parent, span)) = self.0[name].parent.clone() else { continue };
            if !self.0.contains_key(&parent) {
                report
                    .error(span, format!("there is no task group `{parent}`"))
                    .suggest(&parent, names.iter().map(String::as_str));
                if let Some(group) = self.0.get_mut(name) {
                    group.parent = None;
                }
            }
        }
        for name in &names {
            let mut seen = BTreeSet::new();
            let mut at = Some(name.clone());
            while let Some(current) = at {
                if !seen.insert(current.clone()) {
                    report.error(self.0[name].span, format!("task group `{name}` is inside of itself"));
                    if let Some(group) = self.0.get_mut(name) {
                        group.parent = None;
                    }
                    break;
                }
                at = self.0[&current].parent.as_ref().map(|(parent, _)| parent.clone());
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Group<'n>> {
        self.0.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The group and those around it, innermost first.
    pub(crate) fn chain(&self, name: &str) -> Vec<&Group<'n>> {
        let mut chain = Vec::new();
        let mut at = self.0.get(name);
        while let Some(group) = at {
            chain.push(group);
            at = group.parent.as_ref().and_then(|(parent, _)| self.0.get(parent));
        }
        chain
    }

    /// The id of a task in the group: `outer.inner.task`.
    pub(crate) fn full_id(&self, group: &str, task_id: &str) -> String {
        let mut parts: Vec<&str> =
            self.chain(group).into_iter().filter(|g| g.prefix).map(|g| g.name.as_str()).collect();
        parts.reverse();
        parts.push(task_id);
        parts.join(".")
    }
}

/// The members of `tasks` or `task_groups`: a list with names inside, or a mapping.
pub(crate) fn entries<'n>(
    node: Option<&'n Node>,
    key: &str,
    name_key: &str,
    report: &mut Reporter,
) -> Vec<(Option<(String, Span)>, &'n Node)> {
    match node.map(|node| &node.kind) {
        None | Some(Kind::Null) => Vec::new(),
        Some(Kind::List(items)) => items.iter().map(|item| (None, item)).collect(),
        Some(Kind::Map(map)) => map.iter().map(|(k, v)| (Some((k.text.clone(), k.span)), v)).collect(),
        Some(Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Text(_)) => {
            let node = node.expect("it has a kind");
            wrong(report, node, key, &format!("a list of mappings with `{name_key}`, or a mapping"));
            Vec::new()
        }
    }
}

fn group<'n>(name: Option<(String, Span)>, node: &'n Node, report: &mut Reporter) -> Option<Group<'n>> {
    if node.as_map().is_none() && !node.is_null() {
        wrong(report, node, "task_groups", "a mapping for each group");
        return None;
    }
    let (fields, rest) = Fields::sort(node, keys::GROUP, report);
    for (key, _) in rest {
        report
            .error(key.span, format!("a task group has no `{}`", key.text))
            .suggest(&key.text, keys::GROUP.iter().map(|key| key.name));
    }
    for name in fields.names() {
        let (key, _) = fields.entry(name).expect("it was just listed");
        if keys::find(keys::GROUP, name).is_some_and(|key| key.kind == KeyKind::Ignored) {
            report.warning(key.span, format!("`{name}` has no effect"));
        }
    }
    let span = name.as_ref().map_or(node.span, |(_, span)| *span);
    let Some(name) = name.map(|(name, _)| name).or_else(|| fields.text("group_name", report)) else {
        report.error(node.span, "this task group has no `group_name`");
        return None;
    };
    let parent = fields
        .text("parent_group_name", report)
        .map(|text| (text, fields.get("parent_group_name").map_or(span, |n| n.span)));
    Some(Group {
        name,
        span,
        parent,
        prefix: fields.bool("prefix_group_id", report).unwrap_or(true),
        dependencies: fields.list("dependencies", report).into_iter().map(|(text, node)| (text, node.span)).collect(),
        default_args: fields.get("default_args"),
    })
}

/// Turns what is written as dependencies into ids of tasks. `tasks` has, for each task, the group
/// that it is in and what it refers to; ids are complete already.
pub(crate) fn resolve(
    tasks: &mut [Task],
    places: &[(Option<String>, Vec<Reference>)],
    groups: &Groups<'_>,
    report: &mut Reporter,
) {
    let ids: BTreeMap<String, usize> = tasks.iter().enumerate().map(|(i, t)| (t.task_id.clone(), i)).collect();
    // Short ids work where they are unique.
    let mut short: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in ids.keys() {
        if let Some((_, last)) = id.rsplit_once('.') {
            short.entry(last.to_owned()).or_default().push(id.clone());
        }
    }
    let mut members: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (task, (group, _)) in tasks.iter().zip(places) {
        for group in group.iter().flat_map(|name| groups.chain(name)) {
            members.entry(group.name.as_str()).or_default().insert(task.task_id.clone());
        }
    }
    let book = Book { ids: &ids, short: &short, members: &members, groups };
    let mut upstream: Vec<BTreeSet<Target>> = Vec::with_capacity(tasks.len());
    for (_, references) in places {
        upstream.push(references.iter().filter_map(|r| book.find(&r.text, r.span, report)).collect());
    }
    // Inside of a group, its first tasks wait for what the group waits for.
    let mut extra: Vec<BTreeSet<Target>> = vec![BTreeSet::new(); tasks.len()];
    for group in groups.0.values() {
        let targets: Vec<Target> =
            group.dependencies.iter().filter_map(|(text, span)| book.find(text, *span, report)).collect();
        let Some(inside) = members.get(group.name.as_str()) else { continue };
        for id in inside {
            let index = ids[id];
            let is_first = !upstream[index].iter().any(|target| target.touches(inside, &members));
            if is_first {
                extra[index].extend(targets.iter().cloned());
            }
        }
    }
    // The last tasks of a group are those on which no other of the group depends.
    let mut last: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, inside) in &members {
        let followed: BTreeSet<&String> =
            inside.iter().flat_map(|id| upstream[ids[id]].iter()).flat_map(|target| target.all(&members)).collect();
        last.insert(name, inside.iter().filter(|id| !followed.contains(id)).cloned().collect());
    }
    for (index, task) in tasks.iter_mut().enumerate() {
        for target in upstream[index].iter().chain(&extra[index]) {
            match target {
                Target::Task(id) => task.upstream.push(id.clone()),
                Target::Group(name) => task.upstream.extend(last.get(name.as_str()).into_iter().flatten().cloned()),
            }
        }
        task.upstream.sort();
        task.upstream.dedup();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Task(String),
    Group(String),
}

impl Target {
    fn touches(&self, inside: &BTreeSet<String>, members: &BTreeMap<&str, BTreeSet<String>>) -> bool {
        match self {
            Self::Task(id) => inside.contains(id),
            Self::Group(name) => members.get(name.as_str()).is_some_and(|ids| !ids.is_disjoint(inside)),
        }
    }

    fn all<'a>(&'a self, members: &'a BTreeMap<&str, BTreeSet<String>>) -> Vec<&'a String> {
        match self {
            Self::Task(id) => vec![id],
            Self::Group(name) => members.get(name.as_str()).into_iter().flatten().collect(),
        }
    }
}

struct Book<'a> {
    ids: &'a BTreeMap<String, usize>,
    short: &'a BTreeMap<String, Vec<String>>,
    members: &'a BTreeMap<&'a str, BTreeSet<String>>,
    groups: &'a Groups<'a>,
}

impl Book<'_> {
    fn find(&self, text: &str, span: Span, report: &mut Reporter) -> Option<Target> {
        if self.ids.contains_key(text) {
            return Some(Target::Task(text.to_owned()));
        }
        if self.groups.get(text).is_some() {
            if !self.members.contains_key(text) {
                report.warning(span, format!("task group `{text}` has no tasks, so there is nothing to wait for"));
            }
            return Some(Target::Group(text.to_owned()));
        }
        match self.short.get(text).map(Vec::as_slice) {
            Some([id]) => return Some(Target::Task(id.clone())),
            Some(several) => {
                report
                    .error(span, format!("`{text}` may be any of {}", several.join(", ")))
                    .help("write the whole id, with the names of its groups");
                return None;
            }
            None => {}
        }
        let known = self.ids.keys().chain(self.short.keys()).map(String::as_str).chain(self.groups.names());
        report.error(span, format!("there is no task or group `{text}` in this DAG")).suggest(text, known);
        None
    }
}
