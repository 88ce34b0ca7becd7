//! `towpath up`

use super::arguments::WorkerArgs;
use crate::daemon::{self, Parts};
use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the address of the web UI as soon as it listens, and, as long as no user has a password, a link that logs in \
once. `towpath users` makes more users and links. New, changed and removed DAG files are seen within a second. \
SIGTERM or Ctrl-C stops it: running tasks may finish within the grace period, a second signal ends them.

Examples:
  towpath up
  towpath up --dags pipelines --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem
  towpath up --database postgres://towpath:secret@db.example.com/towpath --slots 32")]
pub(crate) struct Args {
    /// Address of the web UI and the API; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    #[command(flatten)]
    pub(crate) server: super::arguments::ServerArgs,
    #[command(flatten)]
    pub(crate) worker: WorkerArgs,
}

pub(crate) async fn run(session: &Session) -> anyhow::Result<Outcome> {
    daemon::run(session, Parts { scheduler: true, worker: true, server: true }).await
}
