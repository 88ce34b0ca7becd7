//! The long-running parts, put together from the settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use tokio_util::sync::CancellationToken;
use towpath_operators::process::{Options as SupervisorOptions, Supervisor};
use towpath_operators::registry::Registry;
use towpath_scheduler::{ProcessIdentity, Scheduler};
use towpath_store::{JobType, Store};
use towpath_worker::Worker;

use crate::http::Server;
use crate::session::Session;

/// How often every DAG file is looked at, whatever the kernel tells.
const RESCAN: Duration = Duration::from_secs(60);

/// A scheduler that reads the DAGs folder.
///
/// # Errors
/// When there is no such folder.
pub(crate) fn scheduler(session: &Session, store: &Store) -> anyhow::Result<Scheduler> {
    let config = &session.config;
    Ok(Scheduler::new(towpath_scheduler::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        identity: ProcessIdentity::current(),
        heartbeat: config.scheduler_heartbeat.value,
        lease: config.worker_lease.value,
        dags_folder: Some(dags_folder(session)?),
        limits: towpath_dagfile::Limits::default(),
        paused_by_default: config.dags_are_paused_at_creation.value,
        rescan: RESCAN,
    }))
}

/// The DAGs folder, which must exist: an empty list of DAGs would be a riddle where a name is wrong.
///
/// # Errors
/// When there is no such folder.
pub(crate) fn dags_folder(session: &Session) -> anyhow::Result<PathBuf> {
    let folder = &session.config.dags_dir;
    if folder.value.is_dir() {
        return Ok(folder.value.clone());
    }
    bail!(
        "there is no DAGs folder `{}` (set by {}); create it, or name another one with --dags",
        folder.value.display(),
        folder.source
    )
}

/// A worker for `queues`.
///
/// # Errors
/// When its watchdog cannot be started.
pub(crate) fn worker(session: &Session, store: &Store, queues: Vec<String>) -> anyhow::Result<Worker> {
    Ok(Worker::new(worker_options(session, store, queues, session.config.scratch_dir())?))
}

/// What a worker for `queues` needs, with its scratch files in `scratch_folder`.
///
/// # Errors
/// When its watchdog cannot be started.
pub(crate) fn worker_options(
    session: &Session,
    store: &Store,
    queues: Vec<String>,
    scratch_folder: PathBuf,
) -> anyhow::Result<towpath_worker::Options> {
    let config = &session.config;
    let supervisor = Arc::new(Supervisor::new(SupervisorOptions::default()).context("cannot start a worker")?);
    Ok(towpath_worker::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        job: ProcessIdentity::current().job(JobType::Worker, queues, config.worker_slots.value),
        lease: config.worker_lease.value,
        registry: Arc::new(Registry::standard()),
        supervisor,
        project_folder: session.project_folder.clone(),
        dags_folder: config.dags_dir.value.clone(),
        scratch_folder,
        xcom_max_bytes: usize::try_from(config.xcom_limit.value).unwrap_or(usize::MAX),
        log_limits: towpath_operators::log::Limits::default(),
    })
}

/// The web server's routes: API and pages.
pub(crate) fn router(session: &Session, store: &Store, server: &Server, stop: CancellationToken) -> Router {
    let config = &session.config;
    let dags_folder = &config.dags_dir.value;
    let pages = towpath_ui::router(towpath_ui::State {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        dags_folder: dags_folder.display().to_string().into(),
    });
    let state = towpath_api::State::new(towpath_api::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        dags_folder: dags_folder.clone(),
        hosts: towpath_api::guard::Hosts::of(server.address(), &config.hosts.value),
        stop,
    });
    towpath_api::app(state, pages)
}

/// Waits for a part that runs in the background. One that ends while nobody has told it to is the end of
/// the process: `stop` is cancelled for the others.
pub(crate) async fn supervise<E>(
    name: &'static str,
    task: impl Future<Output = Result<(), E>>,
    stop: &crate::lifecycle::Stop,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let ended = task.await.with_context(|| format!("the {name} has failed"));
    if !stop.soft.is_cancelled() {
        stop.soft.cancel();
    }
    ended
}
