//! Reading and compiling files, on all cores. Blocking.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use towpath_dagfile::{Diagnostic, Limits, Severity, load_file};
use towpath_model::dag::Dag;

use super::ledger::Outcome;
use super::walk::Stamp;

/// What a file has become.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) dags: Vec<Arc<Dag>>,
    /// Its text.
    pub(super) source: Arc<str>,
    /// The diagnostics that say why (some of) its DAGs cannot be used.
    pub(super) error: Option<String>,
    /// Those that leave it usable.
    pub(super) warnings: Vec<String>,
}

/// A file that has been read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) file: String,
    pub(super) stamp: Stamp,
    pub(super) compiled: Compiled,
}

impl Read {
    pub(super) fn outcome(&self) -> Outcome {
        let dags = self.compiled.dags.iter().map(|dag| dag.id().to_owned()).collect();
        Outcome { dags, error: self.compiled.error.clone() }
    }
}

/// Turns a file into DAGs.
pub(super) trait Compile: Send + Sync + std::fmt::Debug {
    fn compile(&self, path: &Path, root: &Path, now: DateTime<Utc>) -> Compiled;
}

/// YAML files.
#[derive(Debug)]
pub(super) struct DagFiles(pub(super) Limits);

/// Reads `files` below `root`; the answers are in the same order.
pub(super) fn read(compile: &dyn Compile, root: &Path, files: Vec<(String, Stamp)>, now: DateTime<Utc>) -> Vec<Read> {
    files
        .into_par_iter()
        .map(|(file, stamp)| {
            let path = root.join(&file);
            // A file that the compiler does not stand must not take the others with it.
            let compiled = catch_unwind(AssertUnwindSafe(|| compile.compile(&path, root, now))).unwrap_or_else(|_| {
                let error = format!("`{file}` cannot be read because of an error in the program itself: report it");
                Compiled { dags: Vec::new(), source: "".into(), error: Some(error), warnings: Vec::new() }
            });
            Read { file, stamp, compiled }
        })
        .collect()
}

impl Compile for DagFiles {
    fn compile(&self, path: &Path, root: &Path, now: DateTime<Utc>) -> Compiled {
        let file = load_file(path, root, now, &self.0);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            file.diagnostics.iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
        let shown = |diagnostics: Vec<&Diagnostic>| diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>();
        Compiled {
            dags: file.dags.into_iter().map(Arc::new).collect(),
            source: file.source.into(),
            error: (!errors.is_empty()).then(|| shown(errors).join("\n\n")),
            warnings: shown(warnings),
        }
    }
}
