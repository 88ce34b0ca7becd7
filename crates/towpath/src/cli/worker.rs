//! `towpath worker`

use super::arguments::WorkerArgs;
use crate::daemon;
use crate::exit::Outcome;
use crate::lifecycle::Stop;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Any number of workers may run on one database; each takes only what it has slots for. Files that tasks name (Python \
modules, scripts) must lie in the DAGs folder of its machine.

Example:
  towpath worker --database postgres://towpath:secret@db.example.com/towpath --queues default,big --slots 8")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
}

pub(crate) async fn run(session: &Session) -> anyhow::Result<Outcome> {
    let config = &session.config;
    let stop = Stop::on_signals(config.stop_grace.value)?;
    let Some(store) = session.await_store(&stop.soft, || {}).await? else { return Ok(Outcome::Success) };
    let worker = daemon::worker(session, &store, config.worker_queues.value.clone())?;
    tracing::info!(
        slots = config.worker_slots.value,
        queues = config.worker_queues.value.join(","),
        "the worker is up"
    );
    let ended = daemon::supervise("worker", worker.run(stop.soft.clone(), stop.hard.clone()), &stop).await;
    store.close().await;
    ended?;
    Ok(Outcome::Success)
}
