//! The scheduler: DAG files into the store, due runs into being, and time's work on what waits.
//!
//! ```text
//!   DAGs folder --> dag_folder --> store <------------------------------+
//!                                    |                                  |
//!                                    | schedulable_dags                 | create, set_next,
//!                                    v                                  | wake, start, expire
//!        Topic::Schedule, --> run_loop (a pass) --> plan (pure) --> actions
//!        the next due time,          |
//!        the heartbeat               +--> process_identity: who died on this machine
//! ```
//!
//! Invariants:
//! - Nothing is remembered that the store does not have. A scheduler may die at any instruction;
//!   the next one starts from the rows.
//! - Any number of schedulers work on one database: each step is one guarded transaction, and who
//!   comes second finds it done.
//! - What to do is decided by [`plan::plan`], a pure function of rows and a time.
//! - An idle scheduler sleeps: until the next due time, a wake-up, or its heartbeat.
//!
//! On failure:
//! - The database is away: said once, tried again after 0.1 to 5 s, said when it is back. Nothing
//!   is lost, since what was due stays due.
//! - A step is refused for another reason (a row that cannot be read, say): it is logged, the
//!   others go on.
//! - A DAG file is broken: its DAGs go on in their last good version ([`dag_folder`]).
//! - The DAGs folder disappears while it is watched: the DAGs go on as they are.
//! - A worker dies: on this machine it is seen within a second or so, elsewhere when its lease
//!   ends. Its attempts fail and are retried by their DAG's rules.
//! - This scheduler was taken for dead (the machine slept): it registers anew.

pub mod dag_folder;
mod outage;
pub mod plan;
pub mod preview;
pub mod process_identity;
pub mod retention;
mod run_loop;
pub mod staging;

use std::path::PathBuf;

pub use dag_folder::DagFolder;
pub use process_identity::ProcessIdentity;
pub use run_loop::{Handle, Options, Scheduler};

/// Why a scheduler could not start or ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the DAGs folder {} cannot be read ({source}): create it, or set `dags_dir` to another one", folder.display())]
    DagsFolder { folder: PathBuf, source: std::io::Error },
    #[error("the part of the scheduler that {part} has ended by an error in the program: {reason}")]
    Ended { part: &'static str, reason: String },
}
