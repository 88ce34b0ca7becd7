//! What Towpath knows about orchestration, without doing any of it.
//!
//! The DAG (on petgraph), the state machines of runs and task instances, trigger rules, retry
//! delays, timetables and the clock. Everything here is pure: no async runtime, no SQL, no files,
//! no wall clock except behind [`clock::Clock`]. The other crates apply what this one decides.
//!
//! Invariants:
//! - A [`dag::Dag`] is acyclic and its references resolve; it cannot be built otherwise.
//! - Every change of state is an edge with a name ([`state`]); an illegal edge is an `Err`.
//! - A decision depends on its arguments alone, so that it can be explained and replayed.

pub mod alert;
pub mod asset;
pub mod branch;
pub mod canonical;
pub mod clock;
pub mod connection;
pub mod dag;
pub mod deadline;
pub mod duration;
pub mod etl;
pub mod expand;
pub mod limits;
pub mod operator;
pub mod params;
pub mod progress;
pub mod retry;
pub mod run;
pub mod sensor;
pub mod staging;
pub mod state;
pub mod teardown;
pub mod timetable;
pub mod trigger_rule;
