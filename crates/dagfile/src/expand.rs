//! Dynamic mapping: `expand`, `expand_zip`, `expand_kwargs` and `partial`.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use towpath_model::dag::Task;
use towpath_model::expand::{Each, Expand, Source};
use towpath_model::operator::OperatorSpec;

use crate::diagnostic::Reporter;
use crate::fields::{Fields, wrong};
use crate::group::Groups;
use crate::node::{Key, Kind, Node};
use crate::resolve::{Place, Reference};

/// The ways to write it; a task has one of them at most.
const KEYS: [&str; 3] = ["expand", "expand_zip", "expand_kwargs"];

/// What a task expands over.
#[derive(Debug, Default)]
pub(crate) struct Mapping<'n> {
    pub(crate) expand: Option<Expand>,
    /// The tasks whose XComs it reads, which come before it.
    pub(crate) references: Vec<Reference>,
    /// Arguments that all instances share.
    pub(crate) partial: Vec<(&'n Key, &'n Node)>,
    /// Arguments of the operator that come with the elements, also where those are wrong.
    names: Vec<&'static str>,
    /// Keyword arguments of the function that all instances share.
    pub(crate) kwargs: Map<String, Value>,
    /// Globs whose files it is mapped over: each gets a task that lists them.
    listings: Vec<Value>,
}

impl<'n> Mapping<'n> {
    /// Reads the keys of a task.
    pub(crate) fn read(fields: &Fields<'n>, operator: &'static OperatorSpec, report: &mut Reporter) -> Self {
        let mut found = Self::default();
        if let Some((name, node)) = Self::given(fields, report) {
            found.read_expand(name, node, operator, report);
        }
        if let Some(node) = fields.get("partial").filter(|node| !node.is_null()) {
            found.read_partial(node, operator, report);
        }
        found
    }

    /// Reads the keys of a task group, whose elements are names for the templates of its tasks.
    pub(crate) fn of_group(fields: &Fields<'n>, report: &mut Reporter) -> Self {
        let mut found = Self::default();
        let Some((name, node)) = Self::given(fields, report) else { return found };
        if name == "expand_kwargs" {
            found.expand = found.source(name, node, report).map(Expand::Kwargs);
            return found;
        }
        let Some(entries) = node.as_map().filter(|entries| !entries.is_empty()) else {
            wrong(report, node, name, "a mapping of names, such as {file: list_files.output}");
            return found;
        };
        let mut sources = IndexMap::new();
        for (key, value) in entries {
            if let Some(source) = found.source(&key.text, value, report) {
                sources.insert(key.text.clone(), source);
            }
        }
        found.expand = Some(if name == "expand_zip" { Expand::Zip(sources) } else { Expand::Product(sources) });
        if found.lists_files() {
            report
                .error(node.span, "a task group cannot be expanded over files itself")
                .help("write a task with `operator: list_files` before it, and expand over its output");
        }
        found
    }

    /// The way that is used to write it.
    fn given(fields: &Fields<'n>, report: &mut Reporter) -> Option<(&'static str, &'n Node)> {
        let given: Vec<&'static str> =
            KEYS.into_iter().filter(|key| fields.get(key).is_some_and(|n| !n.is_null())).collect();
        if let [_, second, ..] = given.as_slice()
            && let Some((key, _)) = fields.entry(second)
        {
            report
                .error(key.span, format!("`{}` and `{second}` cannot be given together", given[0]))
                .help("`expand` makes every combination, `expand_zip` pairs, `expand_kwargs` takes a list of mappings");
        }
        let name = given.first()?;
        Some((name, fields.get(name)?))
    }

    fn read_expand(&mut self, name: &str, node: &'n Node, operator: &'static OperatorSpec, report: &mut Reporter) {
        if name == "expand_kwargs" {
            self.expand = self.source(name, node, report).map(Expand::Kwargs);
            let required = operator.args.iter().filter(|arg| arg.required).map(|arg| arg.name);
            self.names = required.chain(operator.one_of.first().copied()).collect();
            return;
        }
        let Some(entries) = node.as_map().filter(|entries| !entries.is_empty()) else {
            wrong(report, node, name, "a mapping of arguments, such as {op_args: other_task.output}");
            return;
        };
        let mut sources = IndexMap::new();
        for (key, value) in entries {
            let arg = operator.arg(&key.text).map(|arg| arg.name);
            if arg.is_none() && operator.arg("op_kwargs").is_none() {
                let names = operator.args.iter().map(|arg| arg.name);
                report
                    .error(key.span, format!("an operator `{}` has no argument `{}`", operator.name, key.text))
                    .suggest(&key.text, names);
                continue;
            }
            self.names.extend(arg);
            if let Some(source) = self.source(&key.text, value, report) {
                sources.insert(arg.unwrap_or(&key.text).to_owned(), source);
            }
        }
        self.expand = Some(if name == "expand_zip" { Expand::Zip(sources) } else { Expand::Product(sources) });
    }

    /// A list or a mapping, or the result of a task: `task.output`, or `+task` as dag-factory has it.
    fn source(&mut self, name: &str, node: &'n Node, report: &mut Reporter) -> Option<Source> {
        if let Some([(key, files)]) = node.as_map()
            && key.text == "files"
        {
            return self.files(files, report);
        }
        if matches!(node.kind, Kind::List(_) | Kind::Map(_)) {
            return Some(Source::Values(node.to_json()));
        }
        if let Some((task_id, key)) = node.as_text().and_then(output) {
            self.references.push(Reference { text: task_id.to_owned(), span: node.span });
            return Some(Source::Output { task_id: task_id.to_owned(), key: key.map(str::to_owned) });
        }
        if let Some((task_id, each)) = node.as_text().and_then(data_set) {
            self.references.push(Reference { text: task_id.to_owned(), span: node.span });
            return Some(Source::DataSet { task_id: task_id.to_owned(), each });
        }
        report
            .error(node.span, format!("cannot expand `{name}` over {}", node.describe()))
            .help("write a list, a mapping, `task.output` for the result of a task, `task.rows` or `task.partitions` for its data set");
        None
    }

    /// Files: what lists them gets its name in [`Mapping::finish`], when that of the task is known.
    fn files(&mut self, node: &'n Node, report: &mut Reporter) -> Option<Source> {
        let globs = match &node.kind {
            Kind::List(items) => items.iter().map(Node::as_text).collect::<Option<Vec<_>>>(),
            _ => node.as_text().map(|text| vec![text]),
        };
        let Some(globs) = globs.filter(|globs| !globs.is_empty()) else {
            wrong(report, node, "files", "a glob such as data/*.csv, or a list of them");
            return None;
        };
        self.listings.push(globs.into());
        Some(Source::Output { task_id: String::new(), key: None })
    }

    /// Whether it is mapped over files.
    pub(crate) fn lists_files(&self) -> bool {
        !self.listings.is_empty()
    }

    fn read_partial(&mut self, node: &'n Node, operator: &OperatorSpec, report: &mut Reporter) {
        let Some(entries) = node.as_map() else {
            wrong(report, node, "partial", "a mapping of arguments");
            return;
        };
        for (key, value) in entries {
            if operator.arg(&key.text).is_none() && operator.arg("op_kwargs").is_some() {
                self.kwargs.insert(key.text.clone(), value.to_json());
            } else {
                self.partial.push((key, value));
            }
        }
    }

    /// The canonical names of arguments that come with the elements; all that the operator needs and that is not among the
    /// `given` ones may where whole mappings are expanded.
    pub(crate) fn names(&self, operator: &OperatorSpec, given: &[(&Key, &Node)]) -> Vec<&'static str> {
        if !matches!(self.expand, Some(Expand::Kwargs(_))) {
            return self.names.clone();
        }
        let given: Vec<&str> = given.iter().filter_map(|(key, _)| Some(operator.arg(&key.text)?.name)).collect();
        let is_chosen = operator.one_of.iter().any(|name| given.contains(name));
        let comes = |name: &&str| !(given.contains(name) || is_chosen && operator.one_of.contains(name));
        self.names.iter().copied().filter(comes).collect()
    }

    /// Puts what was read into the task; the tasks that list its files, if it has some.
    pub(crate) fn finish(mut self, task: &mut Task) -> Vec<Task> {
        let mut listings = std::mem::take(&mut self.listings).into_iter();
        let mut lists = Vec::new();
        for source in self.expand.iter_mut().flat_map(sources_mut) {
            let Source::Output { task_id, .. } = source else { continue };
            let Some(files) = listings.as_slice().first().filter(|_| task_id.is_empty()).cloned() else { continue };
            listings.next();
            let number = if lists.is_empty() { String::new() } else { format!("_{}", lists.len() + 1) };
            *task_id = format!("{}__files{number}", task.task_id);
            // It runs when and as the task would, and is retried and limited alike.
            let mut list = Task { expand: None, ..task.clone() };
            (list.task_id, list.operator) = (task_id.clone(), "list_files".to_owned());
            list.args = Map::from_iter([("files".to_owned(), files)]);
            (list.role, list.do_xcom_push) = (towpath_model::teardown::Role::default(), true);
            (list.inlets, list.outlets, list.map_index_template) = (Vec::new(), Vec::new(), None);
            lists.push(list);
        }
        if !self.kwargs.is_empty() {
            let kwargs = task.args.entry("op_kwargs").or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = kwargs {
                map.extend(self.kwargs);
            }
        }
        task.expand = self.expand;
        lists
    }
}

/// The task and the key that a text names.
fn output(text: &str) -> Option<(&str, Option<&str>)> {
    let text = text.trim();
    let plain = |id: &str| !id.is_empty() && !id.contains(char::is_whitespace);
    if let Some(id) = text.strip_prefix('+') {
        return plain(id).then_some((id, None));
    }
    if let Some(id) = text.strip_suffix(".output") {
        return plain(id).then_some((id, None));
    }
    let (id, rest) = text.split_once(".output[")?;
    let key = rest.strip_suffix(']')?.trim();
    let key = ['"', '\''].into_iter().find_map(|quote| key.strip_prefix(quote)?.strip_suffix(quote))?;
    plain(id).then_some((id, Some(key)))
}

/// The task whose data set a text names, and what of it.
fn data_set(text: &str) -> Option<(&str, Each)> {
    let (id, each) = match text.trim().rsplit_once('.')? {
        (id, "rows") => (id, Each::Rows),
        (id, "partitions") => (id, Each::Partitions),
        _ => return None,
    };
    (!id.is_empty() && !id.contains(char::is_whitespace)).then_some((id, each))
}

/// Turns the names of tasks in `expand` into their full ids, once dependencies are resolved.
pub(crate) fn complete(tasks: &mut [Task], places: &[Place], report: &mut Reporter) {
    let operators = operators(tasks);
    for (task, place) in tasks.iter_mut().zip(places) {
        let Some(expand) = &mut task.expand else { continue };
        complete_one(expand, &task.upstream, &place.references, &operators, report);
    }
}

/// What the mapped groups are expanded over, by their ids.
pub(crate) fn groups(groups: &Groups<'_>, tasks: &[Task], report: &mut Reporter) -> IndexMap<String, Expand> {
    let mut found = IndexMap::new();
    for group in groups.all() {
        let Some(mut expand) = group.expand.clone() else { continue };
        let id = groups.group_id(group);
        let members = tasks.iter().filter(|task| task.map_group.as_ref() == Some(&id));
        let upstream: Vec<String> = members.flat_map(|task| task.upstream.iter().cloned()).collect();
        complete_one(&mut expand, &upstream, &group.dependencies, &operators(tasks), report);
        found.insert(id, expand);
    }
    found.sort_keys();
    found
}

/// The operators of tasks by their ids.
fn operators(tasks: &[Task]) -> HashMap<String, String> {
    tasks.iter().map(|task| (task.task_id.clone(), task.operator.clone())).collect()
}

fn sources_mut(expand: &mut Expand) -> Vec<&mut Source> {
    match expand {
        Expand::Product(map) | Expand::Zip(map) => map.values_mut().collect(),
        Expand::Kwargs(source) => vec![source],
    }
}

/// Puts the tasks that list files before those that are mapped over them, behind what those wait for.
pub(crate) fn insert_lists(tasks: &mut Vec<Task>, lists: Vec<(usize, Task)>, places: &[Place], report: &mut Reporter) {
    // Two lists of one task do not wait for each other.
    let ids: Vec<String> = lists.iter().map(|(_, list)| list.task_id.clone()).collect();
    for (index, mut list) in lists {
        let place = &places[index].references;
        if tasks.iter().any(|task| task.task_id == list.task_id) {
            let span = place.first().map_or_else(crate::node::Span::default, |reference| reference.span);
            report.error(span, format!("task `{}` lists files for another one, and its id is taken", list.task_id));
            continue;
        }
        list.upstream = tasks[index].upstream.iter().filter(|id| !ids.contains(id)).cloned().collect();
        tasks[index].upstream.push(list.task_id.clone());
        tasks.push(list);
    }
}

fn complete_one(
    expand: &mut Expand,
    upstream: &[String],
    references: &[Reference],
    operators: &HashMap<String, String>,
    report: &mut Reporter,
) {
    for source in sources_mut(expand) {
        let each = if let Source::DataSet { each, .. } = source { Some(*each) } else { None };
        let Some(task_id) = source.task_id_mut() else { continue };
        let written = task_id.clone();
        let suffix = format!(".{task_id}");
        let exact = upstream.iter().find(|id| *id == task_id);
        if let Some(id) = exact.or_else(|| upstream.iter().find(|id| id.ends_with(&suffix))) {
            task_id.clone_from(id);
        } else if let Some(reference) = references.iter().find(|reference| reference.text == *task_id) {
            report
                .error(reference.span, format!("`{task_id}` is a task group, which has no result"))
                .help("name the task in it whose result is meant");
        }
        let leaves = |operator: &String| match each {
            None => true,
            Some(Each::Partitions) => matches!(operator.as_str(), "extract" | "transform" | "python"),
            // A list of mappings that a task returns is rows as well.
            Some(Each::Rows) => !matches!(operator.as_str(), "load" | "empty"),
        };
        if let Some(operator) = operators.get(task_id).filter(|operator| !leaves(operator))
            && let Some(reference) = references.iter().find(|reference| reference.text == written)
        {
            report
                .error(
                    reference.span,
                    format!("task `{task_id}` with operator `{operator}` leaves no data set to expand over"),
                )
                .help("name an extract, a transform, or a python task that returns a frame");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sets_are_told_from_outputs() {
        for (text, expected) in [
            ("a.rows", Some(("a", Each::Rows))),
            ("g.a.partitions", Some(("g.a", Each::Partitions))),
            ("a.output", None),
            ("rows", None),
            (".rows", None),
            ("some words.rows", None),
        ] {
            assert_eq!(data_set(text), expected, "{text}");
        }
    }

    #[test]
    fn outputs_are_airflows_and_dag_factorys() {
        for (text, expected) in [
            ("a.output", Some(("a", None))),
            ("g.a.output", Some(("g.a", None))),
            ("+a", Some(("a", None))),
            ("a.output['k']", Some(("a", Some("k")))),
            ("a.output[\"k\"]", Some(("a", Some("k")))),
            ("a.output[k]", None),
            ("a", None),
            (".output", None),
            ("some words.output", None),
        ] {
            assert_eq!(output(text), expected, "{text}");
        }
    }
}
