//! `towpath up`

use super::arguments::WorkerArgs;
use crate::exit::Outcome;
use crate::http::Server;
use crate::lifecycle::Stop;
use crate::lock::DataFolderLock;
use crate::session::Session;
use crate::{daemon, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the address of the web UI as soon as it listens. New, changed and removed DAG files are seen within a second. \
SIGTERM or Ctrl-C stops it: running tasks may finish within the grace period, a second signal ends them.

Examples:
  towpath up
  towpath up --dags pipelines --listen 0.0.0.0:8080
  towpath up --database postgres://towpath:secret@db.example.com/towpath --slots 32")]
pub(crate) struct Args {
    /// Address of the web UI and the API; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
}

pub(crate) async fn run(session: &Session) -> anyhow::Result<Outcome> {
    let config = &session.config;
    let stop = Stop::on_signals(config.stop_grace.value)?;
    daemon::dags_folder(session)?;
    session.create_data_folder()?;
    let _lock = if config.is_embedded() { Some(DataFolderLock::acquire(&config.data_dir.value)?) } else { None };
    let server = Server::bind(config.listen.value).await?;
    let mut said = false;
    let store = session
        .await_store(&stop.soft, || {
            said = true;
            // A reader that is gone does not matter here; the next line would tell.
            let _ = output::line(format!("Towpath waits for its database, listening on {}", server.url()));
        })
        .await?;
    let Some(store) = store else {
        server.close().await;
        return Ok(Outcome::Success);
    };
    let worker = daemon::worker(session, &store, config.worker_queues.value.clone())?;
    let scheduler = daemon::scheduler(session, &store)?;
    server.open(daemon::router(session, &store, &server, stop.soft.clone()));
    if !said {
        output::line(format!("Towpath is up: {}", server.url()))?;
    }
    let (scheduled, worked) = tokio::join!(
        daemon::supervise("scheduler", scheduler.run(stop.soft.clone()), &stop),
        daemon::supervise("worker", worker.run(stop.soft.clone(), stop.hard.clone()), &stop),
    );
    server.close().await;
    store.close().await;
    scheduled.and(worked)?;
    Ok(Outcome::Success)
}
