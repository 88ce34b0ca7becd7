//! One DAG: settings, tasks, graph.

use std::collections::HashMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use towpath_model::dag::{Dag, DagSpec, GraphError};

use crate::Limits;
use crate::date;
use crate::diagnostic::Reporter;
use crate::fields::{Fields, wrong};
use crate::group::{self, Groups};
use crate::keys;
use crate::node::{Node, Span};
use crate::schedule;
use crate::task::{self, Defaults, check_id, params, unsupported_in};

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
    let (mut fields, rest) = Fields::sort(node, keys::DAG, report);
    for (key, _) in rest {
        report
            .error(key.span, format!("a DAG has no `{}`", key.text))
            .suggest(&key.text, keys::DAG.iter().map(|key| key.name));
    }
    unsupported_in(&fields, keys::DAG, report);
    let mut silent = Reporter::default();
    let mut default_args: Vec<&Node> = fields.get("default_args").into_iter().collect();
    for defaults in &frame.defaults {
        let (inherited, _) = Fields::sort(defaults, keys::DAG, &mut silent);
        default_args.extend(inherited.get("default_args"));
        fields.inherit(&inherited);
    }
    let id = dag_id(&fields, frame, report);
    let mut spec = DagSpec::new(id);
    settings(&mut spec, &fields, &default_args, frame, report);
    let groups = Groups::read(fields.get("task_groups"), report);
    let spans = tasks(&mut spec, &fields, &default_args, &groups, frame, report);
    if report.errors() > before {
        return None;
    }
    match Dag::build(spec) {
        Ok(dag) => Some(dag),
        Err(errors) => {
            for error in errors {
                let span = match &error {
                    GraphError::Cycle { path } => path.first().and_then(|id| spans.get(id)),
                    GraphError::DuplicateTask { task_id } | GraphError::UnknownUpstream { task_id, .. } => {
                        spans.get(task_id)
                    }
                    GraphError::TooManyTasks { .. } => None,
                };
                report.error(span.copied().unwrap_or(node.span), error.to_string());
            }
            None
        }
    }
}

fn dag_id(fields: &Fields<'_>, frame: &Frame<'_>, report: &mut Reporter) -> String {
    let written = fields.text("dag_id", report);
    let span = fields.get("dag_id").map_or(frame.name.1, |node| node.span);
    let id = written.unwrap_or_else(|| frame.name.0.clone());
    check_id("DAG", &id, span, report);
    id
}

fn settings(spec: &mut DagSpec, fields: &Fields<'_>, default_args: &[&Node], frame: &Frame<'_>, report: &mut Reporter) {
    if let Some(zone) = fields.get("timezone").and_then(|node| schedule::zone_of(node, "timezone", report)) {
        spec.timezone = zone;
    }
    spec.display_name = fields.text("dag_display_name", report);
    spec.description = fields.text("description", report);
    spec.doc_md = fields.text("doc_md", report).or_else(|| doc_file(fields, frame, report));
    spec.tags = fields.list("tags", report).into_iter().map(|(tag, _)| tag).collect();
    if let Some((_, node)) = fields.entry("schedule") {
        spec.schedule = schedule::read(node, spec.timezone, report).unwrap_or_default();
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
    spec.dagrun_timeout = fields.duration("dagrun_timeout", report);
    spec.is_paused_upon_creation = fields.bool("is_paused_upon_creation", report);
    spec.render_template_as_native_obj = fields.bool("render_template_as_native_obj", report).unwrap_or(false);
    spec.params = params(fields.get("params"), report);
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
    let path = frame.folder.join(&name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            let span = fields.get("doc_md_file_path").map_or_else(Span::default, |node| node.span);
            report.error(span, format!("`{name}` cannot be read: {error}"));
            None
        }
    }
}

/// Reads the tasks into `spec`; where each of them stands.
fn tasks<'n>(
    spec: &mut DagSpec,
    fields: &Fields<'n>,
    default_args: &[&'n Node],
    groups: &Groups<'n>,
    frame: &Frame<'n>,
    report: &mut Reporter,
) -> HashMap<String, Span> {
    let mut spans: HashMap<String, Span> = HashMap::new();
    for args in default_args.iter().filter(|args| args.as_map().is_none()) {
        wrong(report, args, "default_args", "a mapping");
    }
    let defaults = Defaults::new(default_args, true, report);
    let entries = group::entries(fields.get("tasks"), "tasks", "task_id", report);
    if entries.len() > frame.limits.tasks {
        let span = fields.get("tasks").map_or_else(Span::default, |node| node.span);
        report.error(span, format!("the DAG has {} tasks; at most {} are allowed", entries.len(), frame.limits.tasks));
        return spans;
    }
    let mut places = Vec::with_capacity(entries.len());
    for (name, node) in entries {
        let Some(mut read) = task::read(name, node, &defaults, groups, report) else { continue };
        if let Some(first) = spans.get(&read.task.task_id) {
            let line = first.line;
            report
                .error(read.span, format!("task `{}` is defined twice", read.task.task_id))
                .help(format!("the first is in line {line}; give one of them another id"));
            continue;
        }
        spans.insert(read.task.task_id.clone(), read.span);
        if read.task.owner == "airflow"
            && let Some(owner) = fields.text("owner", report)
        {
            read.task.owner = owner;
        }
        spec.tasks.push(read.task);
        places.push((read.group, read.references));
    }
    group::resolve(&mut spec.tasks, &places, groups, report);
    spans
}
