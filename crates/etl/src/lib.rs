//! Extract, transform and load as tasks, on Apache DataFusion.
//!
//! The only crate that names DataFusion.
//!
//! ```text
//! worker: operator --job (JSON)--> child process: sources -> steps -> data set | target
//!                  <--result file--
//! ```
//!
//! - [`operator`] runs in the worker. It turns the arguments of a task into a [`job::Job`] and runs this very binary again
//!   with it ([`attempt`]), in a process group of its own, so that a task that eats memory or crashes ends alone.
//! - A job is a plan of DataFusion, cut where a step needs the order of rows or has two outputs ([`mod@job`]).
//! - What a task leaves is a folder of Parquet that appears whole when the task has succeeded, and a manifest, its XCom. People
//!   look at it through [`inspect`].
//!
//! Invariants:
//! - Rows keep the order of the input files through sources and passes, whatever the parallelism.
//! - One success that is recorded is one load, whenever a process dies ([`instance`]).
//! - A reader of a target sees the old data or the new, never half; so does the next load after a kill.
//! - Nothing is held whole: what waits goes to the attempt's scratch folder when the memory pool is used up.

pub mod attempt;
mod data_set;
pub mod database;
mod distinct;
pub mod error;
mod grouping;
pub mod inspect;
pub mod instance;
pub mod job;
pub mod measure;
pub mod operator;
mod parse;
mod profile;
pub mod python;
mod remote;
mod report;
mod session;
mod source;
mod steps;
mod stream;
mod target;
mod to_disk;
mod types;

pub use datafusion;
pub use error::Error;
