//! `towpath worker`

use super::arguments::WorkerArgs;
use crate::daemon::{self, Parts};
use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Any number of workers may run on one database; each takes only what it has slots for. Files that tasks name (Python \
modules, scripts) must lie in the DAGs folder of its machine.

Example:
  towpath worker --database postgres://towpath:secret@db.example.com/towpath --queues default,big")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
}

pub(crate) async fn run(session: &Session) -> anyhow::Result<Outcome> {
    daemon::run(session, Parts { scheduler: false, worker: true, server: false }).await
}
