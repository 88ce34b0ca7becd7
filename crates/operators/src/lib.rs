//! What a task can do.
//!
//! An [`Operator`] runs one attempt: it gets an [`Attempt`] with rendered arguments and says how it
//! ended ([`Outcome`]). It never touches the database: XComs, variables and connections come
//! through [`Services`], its output goes to a [`log::TaskLog`], and everything that it pushes
//! is kept in the attempt until the worker reports it.
//!
//! Invariants:
//! - An attempt that is told to stop ([`Attempt::stop`]) ends: its whole process group is gone when
//!   `execute` returns.
//! - Whatever a process prints is in the log before `execute` returns.
//! - No secret that [`Services`] has handed out reaches the log unmasked.

pub mod assets;
pub mod attempt;
pub mod bash;
pub mod branch;
pub mod connection_test;
pub mod data_sets;
pub mod database;
pub mod http;
pub mod list_files;
pub mod log;
pub mod object_storage;
pub mod process;
pub mod python;
pub mod registry;
pub mod runs;
pub mod sensor;
pub mod sql;
pub mod template;
pub mod trigger_dag;
pub mod watchdog;

pub use attempt::{Attempt, Context, Operator, Outcome, ServiceError, Services, StopReason, XComQuery};
