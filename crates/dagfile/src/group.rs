//! Task groups as they are written: names in front of ids, and defaults of their tasks.
//!
//! A group has no place in the graph of a run. It is compiled away: its tasks get its prefix here,
//! and dependencies on it become dependencies on its last tasks in [`crate::resolve`].

use std::collections::BTreeMap;

use towpath_model::expand::Expand;

use crate::diagnostic::Reporter;
use crate::expand::Mapping;
use crate::fields::{Fields, wrong};
use crate::keys;
use crate::node::{Kind, Node, Span};
use crate::resolve::Reference;
use crate::task::{Defaults, check_id, unsupported_in};

/// Most groups inside of each other. Every task looks at all the groups around it.
const MOST_NESTED: usize = 32;

/// A group as it is written.
pub(crate) struct Group<'n> {
    pub(crate) name: String,
    pub(crate) span: Span,
    parent: Option<(String, Span)>,
    prefix: bool,
    pub(crate) dependencies: Vec<Reference>,
    pub(crate) defaults: Option<Defaults<'n>>,
    /// What it is mapped over.
    pub(crate) expand: Option<Expand>,
}

/// The groups of a DAG by name.
#[derive(Default)]
pub(crate) struct Groups<'n>(BTreeMap<String, Group<'n>>);

impl<'n> Groups<'n> {
    /// Reads `task_groups`.
    pub(crate) fn read(node: Option<&'n Node>, report: &mut Reporter) -> Self {
        let mut groups = Self::default();
        for (name, node) in entries(node, "task_groups", "group_name", report) {
            let Some(group) = group(name, node, report) else { continue };
            if let Some(first) = groups.0.get(&group.name) {
                report
                    .error(group.span, format!("task group `{}` is defined twice", group.name))
                    .help(format!("the first is in line {}; give one of them another name", first.span.line));
                continue;
            }
            groups.0.insert(group.name.clone(), group);
        }
        groups.check_parents(report);
        for group in groups.all().filter(|group| group.expand.is_some()) {
            if let Some(outer) = groups.around(&group.name).find(|outer| outer.expand.is_some()) {
                report
                    .error(group.span, format!("task group `{}` is mapped inside of the mapped group `{}`", group.name, outer.name))
                    .help("only one of the groups around a task can be mapped; expand over the combinations in one of them");
            }
        }
        groups
    }

    /// Takes away parents that do not exist or that a group cannot have, so that every chain ends.
    fn check_parents(&mut self, report: &mut Reporter) {
        let names: Vec<String> = self.0.keys().cloned().collect();
        let mut orphans = Vec::new();
        for (name, group) in &self.0 {
            if let Some((parent, span)) = &group.parent
                && !self.0.contains_key(parent)
            {
                report
                    .error(*span, format!("there is no task group `{parent}`"))
                    .suggest(parent, names.iter().map(String::as_str));
                orphans.push(name.clone());
            }
        }
        self.forget_parents(&orphans);
        for name in &names {
            let around = self.around(name).take(MOST_NESTED + 1).collect::<Vec<_>>();
            let span = self.0[name].span;
            if around.iter().any(|group| group.name == *name) {
                report.error(span, format!("task group `{name}` is inside of itself"));
            } else if around.len() > MOST_NESTED {
                report.error(span, format!("task group `{name}` is nested more than {MOST_NESTED} deep"));
            } else {
                continue;
            }
            self.forget_parents(std::slice::from_ref(name));
        }
    }

    fn forget_parents(&mut self, names: &[String]) {
        for name in names {
            if let Some(group) = self.0.get_mut(name) {
                group.parent = None;
            }
        }
    }

    /// The groups around a group, innermost first.
    fn around(&self, name: &str) -> impl Iterator<Item = &Group<'n>> {
        let parent_of = |group: &Group<'n>| group.parent.as_ref().and_then(|(parent, _)| self.0.get(parent));
        std::iter::successors(self.0.get(name).and_then(parent_of), move |group| parent_of(group))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Group<'n>> {
        self.0.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Group<'n>> {
        self.0.values()
    }

    /// The group and those around it, innermost first.
    pub(crate) fn chain(&self, name: &str) -> impl Iterator<Item = &Group<'n>> {
        self.0.get(name).into_iter().chain(self.around(name))
    }

    /// The mapped group that a group is or is in.
    pub(crate) fn mapped(&self, name: &str) -> Option<&Group<'n>> {
        self.chain(name).find(|group| group.expand.is_some())
    }

    /// The id of a task in the group: `outer.inner.task`. As in Airflow, a group without a prefix
    /// hides those of the groups around it too.
    pub(crate) fn full_id(&self, group: &str, task_id: &str) -> String {
        let mut parts: Vec<&str> = self.chain(group).take_while(|g| g.prefix).map(|g| g.name.as_str()).collect();
        parts.reverse();
        parts.push(task_id);
        parts.join(".")
    }

    /// The id of the group itself: its name after those of the groups around it.
    pub(crate) fn group_id(&self, group: &Group<'_>) -> String {
        match &group.parent {
            Some((parent, _)) => self.full_id(parent, &group.name),
            None => group.name.clone(),
        }
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
        let reported = report.error(key.span, format!("a task group has no `{}`", key.text));
        if key.text == "tasks" {
            reported.help("its tasks stand among those of the DAG, each with `task_group_name`");
        } else {
            reported.suggest(&key.text, keys::GROUP.iter().map(|key| key.name));
        }
    }
    unsupported_in(&fields, keys::GROUP, report);
    let span = name.as_ref().map_or(node.span, |(_, span)| *span);
    let Some(name) = name.map(|(name, _)| name).or_else(|| fields.text("group_name", report)) else {
        report
            .error(node.span, "this task group has no `group_name`")
            .help("groups in a list need a `group_name` each");
        return None;
    };
    if !check_id("task group", &name, span, report) {
        return None;
    }
    let parent = fields
        .text("parent_group_name", report)
        .map(|text| (text, fields.get("parent_group_name").map_or(span, |n| n.span)));
    let references = fields.list("dependencies", report).into_iter();
    let mapping = Mapping::of_group(&fields, report);
    Some(Group {
        name,
        span,
        parent,
        prefix: fields.bool("prefix_group_id", report).unwrap_or(true),
        dependencies: references
            .map(|(text, node)| Reference { text, span: node.span })
            .chain(mapping.references)
            .collect(),
        defaults: fields.get("default_args").map(|node| Defaults::read(node, report)),
        expand: mapping.expand,
    })
}
