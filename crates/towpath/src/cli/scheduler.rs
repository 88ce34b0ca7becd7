//! `towpath scheduler`

use crate::daemon;
use crate::exit::Outcome;
use crate::lifecycle::Stop;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Any number of schedulers may run on one database: no run is made twice. Each reads the DAGs folder of its own machine, \
so the folders must be the same.

Example:
  towpath scheduler --database postgres://towpath:secret@db.example.com/towpath --dags pipelines")]
pub(crate) struct Args {}

pub(crate) async fn run(session: &Session) -> anyhow::Result<Outcome> {
    let stop = Stop::on_signals(session.config.stop_grace.value)?;
    daemon::dags_folder(session)?;
    let Some(store) = session.await_store(&stop.soft, || {}).await? else { return Ok(Outcome::Success) };
    let scheduler = daemon::scheduler(session, &store)?;
    tracing::info!("the scheduler is up");
    let ended = daemon::supervise("scheduler", scheduler.run(stop.soft.clone()), &stop).await;
    store.close().await;
    ended?;
    Ok(Outcome::Success)
}
