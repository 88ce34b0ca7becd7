//! One task.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use towpath_model::dag::{Gates, Task, WeightRule};
use towpath_model::operator::{self, OperatorSpec};
use towpath_model::params::Param;
use towpath_model::retry::RetryPolicy;
use towpath_model::trigger_rule::TriggerRule;

use crate::alerts;
use crate::args;
use crate::asset;
use crate::diagnostic::Reporter;
use crate::expand::Mapping;
use crate::fields::{Fields, bool_of, wrong};
use crate::group::Groups;
use crate::keys::{self, KeyKind};
use crate::node::{Key, Kind, Node, Span};
use crate::resolve::{Place, Reference};
use crate::teardown;

/// A task with what has to be resolved in the DAG.
pub(crate) struct Read {
    pub(crate) task: Task,
    pub(crate) place: Place,
    pub(crate) span: Span,
    /// How many parts it has taken from defaults.
    pub(crate) inherited: usize,
    /// The tasks that list what it is mapped over.
    pub(crate) lists: Vec<Task>,
}

/// What the tasks of a DAG have in common.
pub(crate) struct Context<'n> {
    /// `default_args`, strongest first.
    pub(crate) defaults: Vec<Defaults<'n>>,
    pub(crate) groups: Groups<'n>,
    /// Owner of the tasks that do not name one.
    pub(crate) owner: Option<String>,
    /// The assets that the DAG defines.
    pub(crate) assets: asset::Definitions,
    /// Where params stand that have been checked: those of defaults are the same for all tasks.
    pub(crate) checked_params: RefCell<HashSet<Span>>,
}

/// Defaults of a task's keys: the `default_args` of a DAG or a group.
#[derive(Debug, Default)]
pub(crate) struct Defaults<'n> {
    fields: Fields<'n>,
    args: Vec<(&'n Key, &'n Node)>,
    /// How large they are.
    parts: usize,
}

impl<'n> Defaults<'n> {
    /// Sorts a `default_args` node, and complains about what no task takes.
    pub(crate) fn read(node: &'n Node, report: &mut Reporter) -> Self {
        if node.as_map().is_none() {
            wrong(report, node, "default_args", "a mapping");
            return Self::default();
        }
        let (fields, rest) = Fields::sort(node, keys::TASK, report);
        for name in keys::TASKS_OWN {
            if let Some((key, _)) = fields.entry(name) {
                report
                    .error(key.span, format!("`default_args` cannot hold `{}`: each task has its own", key.text))
                    .help("write it in the tasks");
            }
        }
        unsupported_in(&fields, keys::TASK, report);
        let mut args: Vec<(&Key, &Node)> = Vec::new();
        for (key, value) in rest {
            if keys::DEFAULT_ARGS_OF_DAG.contains(&key.text.as_str()) {
                continue;
            }
            if operator::SPECS.iter().any(|spec| spec.arg(&key.text).is_some()) {
                // One that stands there twice is told by the search for double keys.
                if !args.iter().any(|(other, _)| other.text == key.text) {
                    args.push((key, value));
                }
                continue;
            }
            let names = keys::TASK.iter().map(|key| key.name).chain(keys::DEFAULT_ARGS_OF_DAG.iter().copied());
            let names = names.chain(operator::SPECS.iter().flat_map(|spec| spec.args.iter().map(|arg| arg.name)));
            report
                .error(key.span, format!("`default_args` cannot hold `{}`: no task has it", key.text))
                .suggest(&key.text, names);
        }
        Self { fields, args, parts: node.parts() }
    }
}

/// Reads a task. `name` is its key, where tasks are a mapping.
pub(crate) fn read<'n>(
    name: Option<(String, Span)>,
    node: &'n Node,
    context: &Context<'n>,
    report: &mut Reporter,
) -> Option<Read> {
    if node.as_map().is_none() {
        let called = name.as_ref().map_or_else(String::new, |(name, _)| format!("task `{name}`"));
        let called = if called.is_empty() { "a task" } else { &called };
        report
            .error(node.span, format!("{called} has to be a mapping, not {}", node.describe()))
            .help("for example {operator: bash, bash_command: date}");
        return None;
    }
    let (mut fields, rest) = Fields::sort(node, keys::TASK, report);
    let span = name.as_ref().map_or(node.span, |(_, span)| *span);
    let id = task_id(name, &fields, node, report)?;
    unsupported_in(&fields, keys::TASK, report);
    let group = group_of(&fields, &context.groups, report);
    let operator = operator_of(&fields, node, &id, report);
    let mut references = references(&fields, "dependencies", report);
    references.extend(crate::etl::inputs(&fields, operator, report));
    let setups = self::references(&fields, "setups", report);
    references.extend(setups.iter().cloned());
    let role = teardown::role(&fields, report);
    let chain = group.iter().flat_map(|name| context.groups.chain(name));
    let levels: Vec<&Defaults<'n>> =
        chain.filter_map(|group| group.defaults.as_ref()).chain(&context.defaults).collect();
    // What a task writes null for is not inherited.
    for level in &levels {
        fields.inherit(&level.fields);
    }
    let operator = operator?;
    let (mut rest, from_variables) = variables_as_arguments(&fields, rest, report);
    let mapping = Mapping::read(&fields, operator, report);
    references.extend(mapping.references.iter().cloned());
    rest.extend(mapping.partial.iter().copied());
    let inherited_args = levels.iter().flat_map(|level| level.args.iter().copied());
    let mapped = mapping.names(operator, &rest);
    let mut args = args::read(operator, &rest, inherited_args, &mapped, node, report);
    args.extend(from_variables);
    references.extend(crate::etl::finish(operator, &rest, &fields, node, &mapped, &mut args, report));
    let full_id = group.as_deref().map_or_else(|| id.clone(), |group| context.groups.full_id(group, &id));
    if full_id != id && full_id.chars().count() > MOST_ID_CHARS {
        let message = format!("with its groups the id of task `{id}` has {} characters", full_id.chars().count());
        report.error(span, message).help(format!("an id has at most {MOST_ID_CHARS}"));
        return None;
    }
    let mapped_group = group.as_deref().and_then(|group| context.groups.mapped(group));
    if let (Some(mapped), Some(_)) = (mapped_group, &mapping.expand) {
        report
            .error(span, format!("task `{id}` is mapped inside of the mapped task group `{}`", mapped.name))
            .help("expand the group over the combinations, or move the task out of it");
    }
    let map_group = mapped_group.map(|mapped| context.groups.group_id(mapped));
    let place = Place { group, short_at: full_id.len() - id.len(), references, setups };
    let mut task = Task::new(full_id, operator.name);
    task.args = args;
    if let Some(owner) = &context.owner {
        task.owner.clone_from(owner);
    }
    settings(&mut task, &fields, report);
    task.inlets = context.assets.inlets(fields.get("inlets"), report);
    task.outlets = context.assets.outlets(fields.get("outlets"), report);
    if role.is_teardown() {
        task.trigger_rule = TriggerRule::AllDoneSetupSuccess;
    }
    task.role = role;
    task.map_group = map_group;
    if mapping.lists_files() && !matches!(task.trigger_rule, TriggerRule::AllSuccess) {
        report
            .error(
                span,
                format!("task `{id}` is expanded over files and has a trigger rule, which would count what lists them"),
            )
            .help("write a task with `operator: list_files`, and expand over its output");
    }
    let lists = mapping.finish(&mut task);
    if let Some(node) = fields.get("params")
        && context.checked_params.borrow_mut().insert(node.span)
    {
        crate::params::check(node, &task.params, false, report);
    }
    Some(Read { task, place, span, inherited: levels.iter().map(|level| level.parts).sum(), lists })
}

fn task_id(name: Option<(String, Span)>, fields: &Fields<'_>, node: &Node, report: &mut Reporter) -> Option<String> {
    let written = fields.text("task_id", report);
    let (id, span) = match (name, written) {
        (Some((name, span)), None) => (name, span),
        (Some((name, span)), Some(written)) => {
            if written != name {
                report.error(
                    fields.get("task_id").map_or(span, |n| n.span),
                    format!("this task is called both `{name}` and `{written}`"),
                );
            }
            (name, span)
        }
        (None, Some(written)) => (written, fields.get("task_id").map_or(node.span, |n| n.span)),
        (None, None) => {
            report.error(node.span, "this task has no `task_id`").help("tasks in a list need a `task_id` each");
            return None;
        }
    };
    check_id("task", &id, span, report).then_some(id)
}

/// Most characters of an id; Airflow's limit, and that of the columns that hold one.
const MOST_ID_CHARS: usize = 250;

/// Whether an id can be used: letters, digits, `_`, `-`, `.`, at most 250 of them.
pub(crate) fn check_id(thing: &str, id: &str, span: Span, report: &mut Reporter) -> bool {
    let fits = !id.is_empty()
        && id.chars().count() <= MOST_ID_CHARS
        && id.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !fits {
        let shown: String = id.chars().take(60).collect();
        report
            .error(span, format!("`{shown}` is not a {thing} id"))
            .help("an id has 1 to 250 letters, digits, dashes, dots and underscores");
    }
    fits
}

/// Keys that Airflow knows and that have no effect, or would need what is not there.
pub(crate) fn unsupported_in(fields: &Fields<'_>, table: &'static [keys::KeySpec], report: &mut Reporter) {
    for name in fields.names() {
        let Some(spec) = keys::find(table, name) else { continue };
        let (key, node) = fields.entry(name).expect("it was just listed");
        let harmless = node.is_null()
            || bool_of(node) == Some(false)
            || matches!(&node.kind, Kind::List(items) if items.is_empty())
            || matches!(&node.kind, Kind::Map(items) if items.is_empty());
        match spec.kind {
            KeyKind::Ignored => {
                let reported = report.warning(key.span, format!("`{}` has no effect", key.text));
                if spec.name == "sla" {
                    reported
                        .help("write `deadline: {reference: queued_at, interval: 3h}` in the DAG; see docs/alerts.md");
                }
            }
            KeyKind::Unsupported if !harmless => {
                report.error(key.span, format!("`{}` is not supported yet", key.text)).help(instead(spec.name));
            }
            _ => {}
        }
    }
}

/// What does the work of a key that is not supported.
fn instead(name: &str) -> String {
    let alert = |event: &str| {
        format!(
            "write `alerts: {{on: {event}, command: ...}}` (or webhook, slack, teams, email) in the DAG, the task or \
             `default_args`; see docs/alerts.md"
        )
    };
    let name = name.trim_end_matches("_name").trim_end_matches("_file");
    match name {
        "on_failure_callback" => alert("failure"),
        "on_success_callback" => alert("success"),
        "on_retry_callback" => alert("retry"),
        "sla_miss_callback" => "write `deadline: {reference: queued_at, interval: 30m}` in the DAG, and `alerts` with \
                                `on: deadline`; see docs/alerts.md"
            .to_owned(),
        _ => "without it the DAG would run differently than it says, so it is refused".to_owned(),
    }
}

fn group_of(fields: &Fields<'_>, groups: &Groups<'_>, report: &mut Reporter) -> Option<String> {
    let name = fields.text("task_group_name", report)?;
    if groups.get(&name).is_none() {
        let span = fields.get("task_group_name").map_or_else(Span::default, |node| node.span);
        report.error(span, format!("there is no task group `{name}`")).suggest(&name, groups.names());
        return None;
    }
    Some(name)
}

fn operator_of(fields: &Fields<'_>, node: &Node, id: &str, report: &mut Reporter) -> Option<&'static OperatorSpec> {
    let Some(text) = fields.text("operator", report) else {
        if fields.get("operator").is_none() {
            report
                .error(node.span, format!("task `{id}` has no `operator`"))
                .help(format!("operators are {}", short_names().collect::<Vec<_>>().join(", ")));
        }
        return None;
    };
    let found = operator::find(&text);
    if found.is_none() {
        let span = fields.get("operator").map_or(node.span, |node| node.span);
        let known = operator::SPECS.iter().flat_map(|spec| spec.aliases.iter().copied()).chain(short_names());
        report.error(span, format!("there is no operator `{text}`")).suggest_or(&text, known, || {
            let names = short_names().collect::<Vec<_>>().join(", ");
            Some(format!("operators are {names}; Airflow's class paths of these are known as well"))
        });
    }
    found
}

fn short_names() -> impl Iterator<Item = &'static str> {
    operator::SPECS.iter().map(|spec| spec.name)
}

fn references(fields: &Fields<'_>, key: &str, report: &mut Reporter) -> Vec<Reference> {
    fields.list(key, report).into_iter().map(|(text, node)| Reference { text, span: node.span }).collect()
}

/// dag-factory's way to pass variables: each becomes a template.
fn variables_as_arguments<'n>(
    fields: &Fields<'n>,
    rest: Vec<(&'n Key, &'n Node)>,
    report: &mut Reporter,
) -> (Vec<(&'n Key, &'n Node)>, Map<String, Value>) {
    let mut args = Map::new();
    let Some(node) = fields.get("variables_as_arguments") else { return (rest, args) };
    for item in node.as_list().unwrap_or_default() {
        let part = |key: &str| item.get(key).and_then(Node::as_text);
        match (part("variable"), part("attribute")) {
            (Some(variable), Some(attribute)) => {
                args.insert(attribute.to_owned(), Value::from(format!("{{{{ var.value.get({variable:?}) }}}}")));
            }
            _ => wrong(report, item, "variables_as_arguments", "a list of mappings with `variable` and `attribute`"),
        }
    }
    (rest.into_iter().filter(|(key, _)| !args.contains_key(&key.text)).collect(), args)
}

fn settings(task: &mut Task, fields: &Fields<'_>, report: &mut Reporter) {
    task.trigger_rule = fields.choice::<TriggerRule>("trigger_rule", keys::TRIGGER_RULES, report).unwrap_or_default();
    task.retry = retry(fields, report);
    task.execution_timeout = fields.duration("execution_timeout", report).filter(|timeout| *timeout > Duration::ZERO);
    if let Some(pool) = fields.text("pool", report) {
        task.pool = pool;
    }
    if let Some(slots) = fields.integer("pool_slots", 1, report) {
        task.pool_slots = slots as u32;
    }
    if let Some(queue) = fields.text("queue", report) {
        task.queue = queue;
    }
    if let Some(weight) = fields.integer("priority_weight", i64::from(i32::MIN), report) {
        task.priority_weight = weight;
    }
    task.weight_rule = fields.choice::<WeightRule>("weight_rule", keys::WEIGHT_RULES, report).unwrap_or_default();
    if let Some(owner) = fields.text("owner", report) {
        task.owner = owner;
    }
    task.email = fields
        .list("email", report)
        .iter()
        .flat_map(|(text, _)| text.split([',', ';']))
        .map(|address| address.trim().to_owned())
        .filter(|address| !address.is_empty())
        .collect();
    task.email_on_failure = fields.bool("email_on_failure", report).unwrap_or(true);
    task.email_on_retry = fields.bool("email_on_retry", report).unwrap_or(true);
    task.email_on_success = fields.bool("email_on_success", report).unwrap_or(false);
    task.alerts = alerts::read(fields.get("alerts"), alerts::Of::Task, report);
    task.do_xcom_push = fields.bool("do_xcom_push", report).unwrap_or(true);
    task.doc_md = fields.text("doc_md", report);
    task.map_index_template = fields.text("map_index_template", report);
    let wait_for_downstream = fields.bool("wait_for_downstream", report).unwrap_or(false);
    task.gates = Gates {
        // Airflow sets the one with the other.
        depends_on_past: fields.bool("depends_on_past", report).unwrap_or(false) || wait_for_downstream,
        wait_for_downstream,
        max_active_tis_per_dag: fields.integer("max_active_tis_per_dag", 1, report).map(|most| most as u32),
        max_active_tis_per_dagrun: fields.integer("max_active_tis_per_dagrun", 1, report).map(|most| most as u32),
    };
    task.params = params(fields.get("params"), report);
}

fn retry(fields: &Fields<'_>, report: &mut Reporter) -> RetryPolicy {
    let mut retry = RetryPolicy::default();
    if let Some(retries) = fields.integer("retries", 0, report) {
        retry.retries = retries as u32;
    }
    if let Some(delay) = fields.duration("retry_delay", report) {
        retry.delay = delay;
    }
    retry.max_delay = fields.duration("max_retry_delay", report);
    if let Some(node) = fields.get("retry_exponential_backoff") {
        retry.exponential_backoff = match &node.kind {
            Kind::Int(value) if *value >= 0 => *value as f64,
            Kind::Float(value) if *value >= 0.0 => *value,
            _ => match bool_of(node) {
                Some(true) => 2.0,
                Some(false) => 0.0,
                None => {
                    wrong(report, node, "retry_exponential_backoff", "true, false or a multiplier");
                    0.0
                }
            },
        };
    }
    retry
}

/// Params: a mapping of names to defaults, or to mappings with a `default` and JSON Schema keywords.
pub(crate) fn params(node: Option<&Node>, report: &mut Reporter) -> IndexMap<String, Param> {
    const KEYWORDS: &[&str] = &[
        "default",
        "type",
        "description",
        "description_md",
        "title",
        "enum",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "items",
        "examples",
        "const",
        "section",
        "values_display",
        "properties",
        "required",
        "additionalProperties",
        "minItems",
        "maxItems",
        "uniqueItems",
        "multipleOf",
        "minProperties",
        "maxProperties",
        "anyOf",
        "allOf",
        "oneOf",
        "not",
        "__type__",
        "schema",
        "source",
    ];
    let Some(node) = node else { return IndexMap::new() };
    let Some(entries) = node.as_map() else {
        wrong(report, node, "params", "a mapping");
        return IndexMap::new();
    };
    let mut params = IndexMap::new();
    for (key, value) in entries {
        let is_declaration = value
            .as_map()
            .is_some_and(|map| !map.is_empty() && map.iter().all(|(k, _)| KEYWORDS.contains(&k.text.as_str())));
        let param = if is_declaration {
            let mut schema = Map::new();
            for (k, v) in value.as_map().unwrap_or_default() {
                match k.text.as_str() {
                    "default" | "description" | "__type__" | "source" => {}
                    "schema" => schema.extend(v.to_json().as_object().cloned().unwrap_or_default()),
                    name => {
                        schema.insert(name.to_owned(), v.to_json());
                    }
                }
            }
            Param {
                default: value.get("default").map(Node::to_json),
                description: value.get("description").and_then(Node::scalar_text),
                schema,
            }
        } else {
            Param { default: Some(value.to_json()), ..Param::default() }
        };
        params.insert(key.text.clone(), param);
    }
    params
}
