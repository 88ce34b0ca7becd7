//! Tests of DAGs: what a DAG does when its tasks end in ways that a file says.
//!
//! ```text
//!   etl.yaml ------> dagfile --> Dag --+
//!   etl.test.yaml -> `read` --> Case --+--> `engine`: a store in memory, the worker's round trip,
//!                                      |      answers from the file, a clock that is moved
//!                                      +--> `compare`: what was expected and what has come
//! ```
//!
//! What a test exercises is what runs in production: the run is created, advanced, retried and ended by
//! [`towpath_store::Store`], templates are rendered by the worker's own code. Only two things are made up: how
//! an attempt ends, and the time, which jumps to when something is due. So a case takes milliseconds, starts no
//! process and needs no server.
//!
//! Invariants:
//! - A case sees nothing of another: each has a database of its own.
//! - A case ends: attempts are counted, and a clock that has nowhere to jump to ends it.
//! - A name in a test file that the DAG does not have is an error of the file, never a case that passes.

mod compare;
mod engine;
mod read;
mod rendering;
mod suite;

use std::path::{Path, PathBuf};

pub use compare::Difference;
pub use engine::{Error, run};
pub use read::{Loaded, load};
pub use suite::{Case, Ending, Expect, Given, LogicalDate, Mock};

/// The DAG file that a test file stands beside: `etl.yaml` or `etl.yml` for `etl.test.yaml`. `None` where there
/// is none, or where the file is not named as a test.
#[must_use]
pub fn dag_file_of(test: &Path) -> Option<PathBuf> {
    let stem = towpath_dagfile::tested_stem(test)?;
    ["yaml", "yml"].iter().map(|ending| test.with_file_name(format!("{stem}.{ending}"))).find(|path| path.is_file())
}
