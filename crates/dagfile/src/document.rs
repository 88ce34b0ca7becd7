//! One file: which DAGs it holds.

use std::collections::HashMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use towpath_model::dag::Dag;

use crate::Limits;
use crate::dag::{self, Frame};
use crate::diagnostic::{Diagnostic, Reporter};
use crate::fields::{given_twice, wrong};
use crate::file::FileDefaults;
use crate::keys;
use crate::node::{Key, Kind, Node, Span};
use crate::task::Defaults;

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
    let mut defaults = Vec::with_capacity(origin.defaults.len());
    for above in origin.defaults.iter().rev() {
        let source = report.add_source(&above.path, above.text.clone());
        let node = parse(&above.text, source, &mut report, limits).filter(|node| !node.is_null());
        if let Some(node) = &node {
            check_defaults(node, "defaults", &mut report);
        }
        defaults.extend(node);
    }
    let mut dags = Vec::new();
    let usable = report.errors() == 0;
    if let Some(root) = parse(text, source, &mut report, limits) {
        compile_root(&root, &defaults, origin, limits, &mut report, &mut dags);
    }
    // Without its defaults a DAG would run in another way than it says.
    if !usable {
        dags.clear();
    }
    CompiledFile { dags, diagnostics: report.finish(), source: text.to_owned() }
}

fn parse(text: &str, source: u16, report: &mut Reporter, limits: &Limits) -> Option<Node> {
    match Node::parse(text.strip_prefix('\u{feff}').unwrap_or(text), source, limits) {
        Ok(node) => Some(node),
        Err(error) => {
            let span = Span { source, line: error.line, column: error.column };
            let reported = report.error(span, error.message);
            if let Some(help) = error.help {
                reported.help(help);
            }
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
    if is_dag(root) {
        let stem = origin.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let levels = defaults.iter().collect();
        let frame = Frame { name: (stem, root.span), defaults: levels, now: origin.now, folder: origin.folder, limits };
        dags.extend(dag::compile(root, &frame, report));
        return;
    }
    let before = report.errors();
    let block = root.get("default").filter(|block| !block.is_null());
    if let Some(block) = block {
        check_defaults(block, "default", report);
    }
    let usable = report.errors() == before;
    let parts: usize = block.into_iter().chain(defaults).map(Node::parts).sum();
    if parts.saturating_mul(entries.len()) > limits.inherited {
        let message = format!(
            "defaults of {parts} parts for {} DAGs are more than {} parts altogether",
            entries.len(),
            limits.inherited
        );
        report.error(block.map_or(root.span, |block| block.span), message).help("split the file");
        return;
    }
    compile_entries(entries, block, defaults, origin, limits, report, dags);
    if !usable {
        dags.clear();
    }
}

/// The DAGs of a mapping of ids to DAGs.
fn compile_entries(
    entries: &[(Key, Node)],
    block: Option<&Node>,
    defaults: &[Node],
    origin: &Origin<'_>,
    limits: &Limits,
    report: &mut Reporter,
    dags: &mut Vec<Dag>,
) {
    let mut keys: HashMap<&str, &Key> = HashMap::with_capacity(entries.len());
    let mut ids: HashMap<String, u32> = HashMap::with_capacity(entries.len());
    for (key, node) in entries {
        if let Some(first) = keys.insert(&key.text, key) {
            given_twice(first, key, report);
            keys.insert(&key.text, first);
            continue;
        }
        if key.text == "default" {
            continue;
        }
        if node.as_map().is_none() {
            let known = keys::DAG.iter().map(|key| key.name);
            report
                .error(key.span, format!("`{}` is neither a DAG nor a key of one", key.text))
                .suggest(&key.text, known);
            continue;
        }
        let levels = block.into_iter().chain(defaults).collect();
        let name = (key.text.clone(), key.span);
        let frame = Frame { name, defaults: levels, now: origin.now, folder: origin.folder, limits };
        let Some(dag) = dag::compile(node, &frame, report) else { continue };
        if let Some(line) = ids.get(dag.id()) {
            report
                .error(key.span, format!("DAG `{}` is defined twice", dag.id()))
                .help(format!("the first is in line {line}"));
            continue;
        }
        ids.insert(dag.id().to_owned(), key.span.line);
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

/// Complains about what no DAG can inherit. `name` is that of the block, or of the file's kind.
fn check_defaults(block: &Node, name: &str, report: &mut Reporter) {
    let Some(entries) = block.as_map() else {
        wrong(report, block, name, "a mapping of DAG settings");
        return;
    };
    block.double_keys(&mut |first, second| given_twice(first, second, report));
    for (key, _) in entries {
        dag::check_key(key, report);
    }
    // Values are checked here as well as in each DAG, for there may be no DAG yet.
    if let Some(args) = block.get("default_args").filter(|args| !args.is_null()) {
        Defaults::read(args, report);
    }
}
