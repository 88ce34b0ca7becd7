//! DAG files: YAML text in, checked DAGs and diagnostics out.
//!
//! ```text
//!   file --> text (`file`) --> tree with positions (`node`) --> DAGs with defaults (`document`)
//!        --> settings (`dag`, `schedule`), tasks (`task`, `args`), groups (`group`, `resolve`) --> model::Dag
//! ```
//!
//! Invariants:
//! - Every problem of a file is reported, with its place and a way out. A DAG with an error is left
//!   out, the others of the file are not; an error in defaults leaves out all that would use them.
//! - A DAG is left out only where an error says why, however many other problems there are.
//! - Nothing that a file holds makes this crate panic, loop or use memory without limit: bytes are
//!   checked before reading, parts while parsing, and what defaults and groups multiply before it is
//!   built.
//!
//! Not here: reading folders and remembering what was good before (`scheduler`), templates
//! (`operators`).

mod alerts;
mod args;
mod asset;
mod dag;
mod date;
mod deadline;
mod diagnostic;
mod document;
mod etl;
mod expand;
mod fields;
mod file;
mod group;
mod keys;
mod node;
mod params;
mod resolve;
mod schedule;
pub mod schema;
mod task;
mod teardown;
pub mod tree;

pub use diagnostic::{Diagnostic, Severity, nearest};
pub use document::{CompiledFile, Origin, compile};
pub use file::{FileDefaults, is_dag_file, is_test_file, load_file, load_text, tested_stem};

/// How large a file may be, in several ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file. 32 MiB: a DAG of 100,000 tasks takes some 10.
    pub file_bytes: u64,
    /// Tasks of a DAG.
    pub tasks: usize,
    /// Nesting of lists and mappings; at most 1,000.
    pub depth: usize,
    /// Parts of a document (values, keys, lists, mappings), aliases expanded.
    pub nodes: usize,
    /// Parts that aliases and merge keys may add, all together.
    pub aliases: usize,
    /// Parts that defaults may add: those of `default` times the DAGs, those of `default_args` times the tasks.
    pub inherited: usize,
    /// Dependencies between tasks of a DAG, those that groups stand for counted one by one.
    pub dependencies: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 32 * 1024 * 1024,
            tasks: towpath_model::dag::MAX_TASKS,
            depth: 100,
            nodes: 3_000_000,
            aliases: 500_000,
            inherited: 5_000_000,
            dependencies: 1_000_000,
        }
    }
}
