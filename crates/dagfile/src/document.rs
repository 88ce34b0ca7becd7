//! One file: which DAGs it holds.

use std::path::Path;

use chrono::{DateTime, Utc};
use towpath_model::dag::Dag;

use crate::Limits;
use crate::dag::{self, Frame};
use crate::diagnostic::{Diagnostic, Reporter};
use crate::fields::wrong;
use crate::file::FileDefaults;
use crate::keys;
use crate::node::{Kind, Node, Span};

/// What a file held.
#[derive(Debug)]
pub struct CompiledFile {
    /// The DAGs without errors, in the order of the file.
    pub dags: Vec<Dag>,
    /// Everything that is wrong or has no effect, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// The text of the file; empty where it could not be read.
    pub source: String,
}

impl CompiledFile {
    /// Whether there is an error among the diagnostics.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == crate::Severity::Error)
    }
}

/// Where a text comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its file, as diagnostics name it.
    pub path: &'a Path,
    /// The folder in which files that it names are looked for.
    pub folder: &'a Path,
    /// Defaults of the folders above it, outermost first.
    pub defaults: &'a [FileDefaults],
    /// What relative dates are relative to.
    pub now: DateTime<Utc>,
}

/// Compiles the text of a DAG file.
#[must_use]
pub fn compile(text: &str, origin: &Origin<'_>, limits: &Limits) -> CompiledFile {
    let mut report = Reporter::default();
    let source = report.add_source(origin.path, text.to_owned());
    let defaults: Vec<Node> = origin
        .defaults
        .iter()
        .rev()
        .filter_map(|defaults| parse(&defaults.path, &defaults.text, &mut report, None, limits))
        .collect();
    let mut dags = Vec::new();
    if let Some(root) = parse(origin.path, text, &mut report, Some(source), limits) {
        compile_root(&root, &defaults, origin, limits, &mut report, &mut dags);
    }
    CompiledFile { dags, diagnostics: report.finish(), source: text.to_owned() }
}

fn parse(path: &Path, text: &str, report: &mut Reporter, source: Option<u16>, limits: &Limits) -> Option<Node> {
    let source = source.unwrap_or_else(|| report.add_source(path, text.to_owned()));
    match Node::parse(text.strip_prefix('\u{feff}').unwrap_or(text), source, limits) {
        Ok(node) => Some(node),
        Err(error) => {
            let span = Span { source, line: error.line, column: error.column };
            report.error(span, format!("this is not valid YAML: {}", error.message));
            None
        }
    }
}

fn compile_root(
    root: &Node,
    defaults: &[Node],
    origin: &Origin<'_>,
    limits: &Limits,
    report: &mut Reporter,
    dags: &mut Vec<Dag>,
) {
    let entries = match &root.kind {
        Kind::Map(entries) => entries,
        Kind::Null => {
            report.error(root.span, "the file is empty").help("a DAG file has at least `tasks`");
            return;
        }
        _ => {
            report.error(root.span, format!("a DAG file is a mapping, not {}", root.describe()));
            return;
        }
    };
    let folder = origin.folder;
    if is_dag(root) {
        let stem = origin.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let frame =
            Frame { name: (stem, root.span), defaults: defaults.iter().collect(), now: origin.now, folder, limits };
        dags.extend(dag::compile(root, &frame, report));
        return;
    }
    let block = root.get("default");
    check_default_block(block, report);
    let mut seen: Vec<(String, u32)> = Vec::new();
    for (key, node) in entries.iter().filter(|(key, _)| key.text != "default") {
        if node.as_map().is_none() {
            let known = keys::DAG.iter().map(|key| key.name);
            report
                .error(key.span, format!("`{}` is neither a DAG nor a key of one", key.text))
                .suggest(&key.text, known);
            continue;
        }
        let levels = block.into_iter().chain(defaults).collect();
        let frame = Frame { name: (key.text.clone(), key.span), defaults: levels, now: origin.now, folder, limits };
        let Some(dag) = dag::compile(node, &frame, report) else { continue };
        if let Some((_, line)) = seen.iter().find(|(id, _)| id == dag.id()) {
            report
                .error(key.span, format!("DAG `{}` is defined twice", dag.id()))
                .help(format!("the first is in line {line}"));
            continue;
        }
        seen.push((dag.id().to_owned(), key.span.line));
        dags.push(dag);
    }
}

/// Whether a document is one DAG: it has tasks, or at least no entry that looks like a DAG and some
/// key that only a DAG has.
fn is_dag(root: &Node) -> bool {
    let entries = root.as_map().unwrap_or_default();
    if entries.iter().any(|(key, _)| matches!(key.text.as_str(), "tasks" | "dag_id" | "schedule")) {
        return true;
    }
    let holds_dags = entries.iter().any(|(_, node)| node.get("tasks").is_some());
    !holds_dags && entries.iter().any(|(key, _)| key.text != "default" && keys::find(keys::DAG, &key.text).is_some())
}

fn check_default_block(block: Option<&Node>, report: &mut Reporter) {
    let Some(block) = block else { return };
    if block.as_map().is_none() {
        wrong(report, block, "default", "a mapping of DAG settings");
        return;
    }
    for (key, _) in block.as_map().unwrap_or_default() {
        if keys::find(keys::DAG, &key.text).is_none() {
            report
                .error(key.span, format!("a DAG has no `{}`", key.text))
                .suggest(&key.text, keys::DAG.iter().map(|key| key.name));
        }
    }
}
