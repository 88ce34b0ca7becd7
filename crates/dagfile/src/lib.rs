//! DAG files: YAML text in, checked DAGs and diagnostics out.
//!
//! ```text
//!   file --> text (`file`) --> tree with positions (`node`) --> DAGs with defaults (`document`)
//!        --> settings (`dag`, `schedule`), tasks (`task`, `args`), groups (`group`) --> model::Dag
//! ```
//!
//! Every problem of a file is reported, with its place and a way out; a DAG with an error is left
//! out, the others of the file are not. Nothing that a file holds makes this crate panic, loop or
//! use memory without limit: sizes are checked before parsing and counted while parsing.
//!
//! Not here: reading folders and remembering what was good before (`scheduler`), templates
//! (`operators`).

mod args;
mod dag;
mod date;
mod diagnostic;
mod document;
mod fields;
mod file;
mod group;
mod keys;
mod node;
mod schedule;
pub mod schema;
mod task;

pub use diagnostic::{Diagnostic, Severity, nearest};
pub use document::{CompiledFile, Origin, compile};
pub use file::{FileDefaults, is_dag_file, load_file};

/// How large a file may be, in several ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file.
    pub file_bytes: u64,
    /// Tasks of a DAG.
    pub tasks: usize,
    /// Nesting of lists and mappings.
    pub depth: usize,
    /// Parts of a document, aliases expanded.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 32 * 1024 * 1024, tasks: towpath_model::dag::MAX_TASKS, depth: 32, nodes: 3_000_000 }
    }
}
