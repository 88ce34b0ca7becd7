//! The worker: claims task instances, runs their attempts, reports how they ended.
//!
//! ```text
//!    store.report(ended, logs, claim) ---> claimed ---> one async task per attempt (`attempt`)
//!         ^                                                  |            |
//!         |  everything that has come in since               |outcome     |log lines
//!         +------------- the loop (`run_loop`) <-------------+------------+ (`log_buffer`)
//! ```
//!
//! There is one report in flight at a time, and it carries all that has ended meanwhile: the
//! database's commits are shared (group commit), and the answer brings the next work, so that
//! nobody polls between two tasks. Wake-ups of the store do the rest; a slow poll is the safety net.
//!
//! On failure:
//! - The database is away: attempts go on, their ends and logs wait in memory, the report is
//!   repeated until it is taken.
//! - The lease is lost (the database was away too long, or the machine slept): every attempt is
//!   stopped and forgotten, for somebody else runs it by now; the worker registers anew.
//! - The worker is killed: the watchdog of its [`Supervisor`](towpath_operators::process::Supervisor)
//!   ends its processes, and a scheduler its attempts.
//! - An operator panics: its attempt fails.

mod attempt;
mod evidence;
mod log_buffer;
mod map_name;
mod once;
mod outlets;
mod render;
mod run_loop;
mod scratch;
mod services;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use towpath_model::clock::SharedClock;
use towpath_operators::process::Supervisor;
use towpath_operators::registry::Registry;
use towpath_store::{NewJob, Store};

use crate::scratch::Scratch;

pub use once::{Once, run_once};
pub use render::{RenderError, render};

/// What a worker needs.
#[derive(Debug, Clone)]
pub struct Options {
    pub store: Store,
    pub clock: SharedClock,
    /// Who it is; `queues` and `slots` say what it takes.
    pub job: NewJob,
    /// How long it counts as alive without a heartbeat; it sends one every third of that.
    pub lease: Duration,
    pub registry: Arc<Registry>,
    pub supervisor: Arc<Supervisor>,
    /// Where relative data paths of DAG files start.
    pub project_folder: PathBuf,
    /// What the files of DAGs are relative to.
    pub dags_folder: PathBuf,
    /// Holds a folder for each attempt while it runs.
    pub scratch_folder: PathBuf,
    /// Largest XCom, in bytes of JSON.
    pub xcom_max_bytes: usize,
    pub log_limits: towpath_operators::log::Limits,
}

/// A worker that has not been started.
#[derive(Debug)]
pub struct Worker {
    options: Options,
}

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the folder for scratch files, {folder}, cannot be made: {source}")]
    Scratch { folder: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] towpath_store::Error),
}

impl Worker {
    /// A worker; it starts with [`Worker::run`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Works until `soft` is cancelled and everything that it runs has ended. When `hard` is
    /// cancelled, what still runs is ended first; it fails and is retried as any failed attempt.
    ///
    /// # Errors
    /// [`Error`] for a database that refuses the worker, not for one that is away for a while.
    pub async fn run(mut self, soft: CancellationToken, hard: CancellationToken) -> Result<(), Error> {
        let folder = self.options.scratch_folder.clone();
        let scratch =
            Scratch::create(&folder, &self.options.job.hostname).map_err(|source| Error::Scratch { folder, source })?;
        scratch.path().clone_into(&mut self.options.scratch_folder);
        run_loop::Loop::start(self.options, soft, hard).await?.run().await
    }
}
