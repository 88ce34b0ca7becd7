//! One DAG: settings, tasks, graph.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use towpath_model::dag::{Dag, DagSpec, GraphError};

use crate::Limits;
use crate::alerts;
use crate::asset;
use crate::date;
use crate::deadline;
use crate::diagnostic::Reporter;
use crate::expand;
use crate::fields::{Fields, given_twice};
use crate::file;
use crate::group::{self, Groups};
use crate::keys;
use crate::node::{Key, Node, Span, double_keys_of};
use crate::resolve::{Reference, resolve};
use crate::schedule;
use crate::task::{self, Context, Defaults, check_id, params, unsupported_in};
use crate::teardown;

/// Most bytes of a file of documentation, which is stored with every version of its DAG.
const MOST_DOC_BYTES: u64 = 1024 * 1024;

/// What a DAG is compiled with.
pub(crate) struct Frame<'n> {
    /// Its name in a file of several DAGs, or the stem of the file.
    pub(crate) name: (String, Span),
    /// The `default` block and defaults.yml of the folders, strongest first.
    pub(crate) defaults: Vec<&'n Node>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) folder: &'n Path,
    pub(crate) limits: &'n Limits,
}

/// Compiles one DAG; `None` where it has an error, which is reported.
pub(crate) fn compile(node: &Node, frame: &Frame<'_>, report: &mut Reporter) -> Option<Dag> {
    let before = report.errors();
    double_keys(node, report);
    let (mut fields, rest) = Fields::sort(node, keys::DAG, report);
    for (key, _) in rest {
        check_key(key, report);
    }
    let mut default_args: Vec<&Node> = fields.get("default_args").into_iter().collect();
    for defaults in &frame.defaults {
        // What is wrong with the keys of defaults has been told where they were read.
        let (inherited, _) = Fields::sort(defaults, keys::DAG, &mut Reporter::default());
        default_args.extend(inherited.get("default_args"));
        fields.inherit(&inherited);
    }
    unsupported_in(&fields, keys::DAG, report);
    let id = dag_id(&fields, frame, report);
    let mut spec = DagSpec::new(id);
    let assets = asset::Definitions::read(fields.get("assets"), report);
    settings(&mut spec, &fields, &default_args, &assets, frame, report);
    let context = Context {
        defaults: default_args.iter().map(|args| Defaults::read(args, report)).collect(),
        groups: Groups::read(fields.get("task_groups"), report),
        owner: fields.text("owner", report),
        assets,
        checked_params: RefCell::default(),
    };
    let places = tasks(&mut spec, &fields, &context, frame, report);
    if report.errors() > before {
        return None;
    }
    if spec.tasks.is_empty() {
        report.warning(frame.name.1, format!("DAG `{}` has no tasks", spec.dag_id)).help("write them under `tasks`");
    }
    match Dag::build(spec) {
        Ok(dag) => Some(dag),
        Err(errors) => {
            for error in errors {
                report.error(place_of(&error, &places).unwrap_or(node.span), error.to_string());
            }
            None
        }
    }
}

/// Complains about a key that no DAG has.
pub(crate) fn check_key(key: &Key, report: &mut Reporter) {
    if keys::find(keys::DAG, &key.text).is_some() {
        return;
    }
    let reported = report.error(key.span, format!("a DAG has no `{}`", key.text));
    if key.text == "sla" {
        reported.help("write `deadline: {reference: queued_at, interval: 3h}`; see docs/alerts.md");
        return;
    }
    if keys::find(keys::TASK, &key.text).is_some() && !keys::TASKS_OWN.contains(&key.text.as_str()) {
        reported.help("settings of all tasks stand in `default_args`");
        return;
    }
    reported.suggest(&key.text, keys::DAG.iter().map(|key| key.name));
}

/// Complains about keys that stand twice in the same mapping. Tasks and groups do that themselves, by their ids.
fn double_keys(dag: &Node, report: &mut Reporter) {
    let mut found = |first: &Key, second: &Key| given_twice(first, second, report);
    for (key, node) in dag.as_map().unwrap_or_default() {
        match node.as_map() {
            Some(entries) if matches!(key.text.as_str(), "tasks" | "task_groups") => {
                entries.iter().for_each(|(_, entry)| entry.double_keys(&mut found));
            }
            _ => node.double_keys(&mut found),
        }
    }
    double_keys_of(dag.as_map().unwrap_or_default(), &mut found);
}

/// Where what is wrong with the graph stands. A cycle is shown at the dependency that closes it.
fn place_of(error: &GraphError, places: &HashMap<String, (Span, Vec<Reference>)>) -> Option<Span> {
    match error {
        GraphError::Cycle { path } => {
            let (span, references) = places.get(path.first()?)?;
            let last = path.get(path.len().checked_sub(2)?)?;
            let closes =
                |reference: &&Reference| last == &reference.text || last.ends_with(&format!(".{}", reference.text));
            let reference = references.iter().find(closes).or_else(|| references.first());
            Some(reference.map_or(*span, |reference| reference.span))
        }
        GraphError::DuplicateTask { task_id } | GraphError::UnknownUpstream { task_id, .. } => {
            places.get(task_id).map(|(span, _)| *span)
        }
        GraphError::TooManyTasks { .. } => None,
    }
}

fn dag_id(fields: &Fields<'_>, frame: &Frame<'_>, report: &mut Reporter) -> String {
    let written = fields.text("dag_id", report);
    let span = fields.get("dag_id").map_or(frame.name.1, |node| node.span);
    let id = written.unwrap_or_else(|| frame.name.0.clone());
    check_id("DAG", &id, span, report);
    id
}

fn settings(
    spec: &mut DagSpec,
    fields: &Fields<'_>,
    default_args: &[&Node],
    assets: &asset::Definitions,
    frame: &Frame<'_>,
    report: &mut Reporter,
) {
    if let Some(zone) = fields.get("timezone").and_then(|node| schedule::zone_of(node, "timezone", report)) {
        spec.timezone = zone;
    }
    spec.display_name = fields.text("dag_display_name", report);
    spec.description = fields.text("description", report);
    spec.doc_md = fields.text("doc_md", report).or_else(|| doc_file(fields, frame, report));
    spec.tags = fields.list("tags", report).into_iter().map(|(tag, _)| tag).collect();
    if let Some((_, node)) = fields.entry("schedule") {
        (spec.schedule, spec.asset_schedule) = asset::schedule(node, spec.timezone, assets, report).unwrap_or_default();
    }
    let zone = spec.timezone;
    spec.start_date = date_of("start_date", fields, default_args, zone, frame, report);
    spec.end_date = date_of("end_date", fields, default_args, zone, frame, report);
    if let (Some(start), Some(end)) = (spec.start_date, spec.end_date)
        && end < start
        && let Some(node) = fields.get("end_date")
    {
        report.error(node.span, "`end_date` lies before `start_date`");
    }
    spec.catchup = fields.bool("catchup", report).unwrap_or(false);
    if let Some(runs) = fields.integer("max_active_runs", 1, report) {
        spec.max_active_runs = runs as u32;
    }
    if let Some(tasks) = fields.integer("max_active_tasks", 1, report) {
        spec.max_active_tasks = tasks as u32;
    }
    spec.fail_fast = fields.bool("fail_fast", report).unwrap_or(false);
    spec.dagrun_timeout = fields.duration("dagrun_timeout", report);
    spec.is_paused_upon_creation = fields.bool("is_paused_upon_creation", report);
    spec.render_template_as_native_obj = fields.bool("render_template_as_native_obj", report).unwrap_or(false);
    spec.params = params(fields.get("params"), report);
    if let Some(node) = fields.get("params") {
        crate::params::check(node, &spec.params, spec.schedule.is_scheduled() || spec.asset_schedule.is_some(), report);
    }
    spec.alerts = alerts::read(fields.get("alerts"), alerts::Of::Run, report);
    spec.deadlines = deadline::read(fields.get("deadline"), zone, frame.now, report);
}

/// Dates may stand in `default_args`, where Airflow's users put them.
fn date_of(
    key: &str,
    fields: &Fields<'_>,
    default_args: &[&Node],
    zone: Tz,
    frame: &Frame<'_>,
    report: &mut Reporter,
) -> Option<DateTime<Utc>> {
    let node = fields
        .get(key)
        .or_else(|| default_args.iter().find_map(|args| args.get(key)).filter(|node| !node.is_null()))?;
    date::read(node, key, zone, frame.now, report)
}

fn doc_file(fields: &Fields<'_>, frame: &Frame<'_>, report: &mut Reporter) -> Option<String> {
    let name = fields.text("doc_md_file_path", report)?;
    let span = fields.get("doc_md_file_path").map_or_else(Span::default, |node| node.span);
    let bytes = match file::bounded(&frame.folder.join(&name), MOST_DOC_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.error(span, format!("`{name}` {error}"));
            return None;
        }
    };
    let text = String::from_utf8(bytes).ok();
    if text.is_none() {
        report.error(span, format!("`{name}` is not UTF-8")).help("save the file in UTF-8");
    }
    text
}

/// Reads the tasks into `spec`; where each of them stands and what it refers to.
fn tasks<'n>(
    spec: &mut DagSpec,
    fields: &Fields<'n>,
    context: &Context<'n>,
    frame: &Frame<'n>,
    report: &mut Reporter,
) -> HashMap<String, (Span, Vec<Reference>)> {
    let limits = frame.limits;
    let entries = group::entries(fields.get("tasks"), "tasks", "task_id", report);
    let span = fields.get("tasks").map_or_else(Span::default, |node| node.span);
    if entries.len() > limits.tasks {
        report.error(span, format!("the DAG has {} tasks; at most {} are allowed", entries.len(), limits.tasks));
        return HashMap::new();
    }
    let mut firsts: HashMap<String, Span> = HashMap::with_capacity(entries.len());
    let mut places = Vec::with_capacity(entries.len());
    let mut spans = Vec::with_capacity(entries.len());
    let mut inherited = 0_usize;
    let mut lists = Vec::new();
    for (name, node) in entries {
        let Some(read) = task::read(name, node, context, report) else { continue };
        inherited += read.inherited;
        if inherited > limits.inherited {
            report
                .error(span, format!("`default_args` add more than {} parts to the tasks", limits.inherited))
                .help("keep in `default_args` what is small, and read the rest from a file or a variable");
            return HashMap::new();
        }
        if let Some(first) = firsts.get(&read.task.task_id) {
            report
                .error(read.span, format!("task `{}` is defined twice", read.task.task_id))
                .help(format!("the first is in line {}; give one of them another id", first.line));
            continue;
        }
        firsts.insert(read.task.task_id.clone(), read.span);
        lists.extend(read.lists.into_iter().map(|list| (spec.tasks.len(), list)));
        spec.tasks.push(read.task);
        places.push(read.place);
        spans.push(read.span);
    }
    let before = report.errors();
    resolve(&mut spec.tasks, &places, &context.groups, limits.dependencies, report);
    if report.errors() == before {
        expand::complete(&mut spec.tasks, &places, report);
        spec.mapped_groups = expand::groups(&context.groups, &spec.tasks, report);
        teardown::complete(&mut spec.tasks, &places, report);
        teardown::check(spec, &spans, report);
        expand::insert_lists(&mut spec.tasks, lists, &places, report);
    }
    let ids = spec.tasks.iter().map(|task| task.task_id.clone());
    ids.zip(spans.into_iter().zip(places.into_iter().map(|place| place.references))).collect()
}
