//! `towpath scheduler`

use crate::daemon::{self, Parts};
use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Any number of schedulers may run on one database: no run is made twice. Each reads the DAGs folder of its own machine, \
so the folders must be the same.

Examples:
  towpath scheduler --database postgres://towpath:secret@db.example.com/towpath
  towpath scheduler --dags pipelines --listen 0.0.0.0:8080")]
pub(crate) struct Args {
    /// Serve the web UI and the API as well, at this address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    #[command(flatten)]
    pub(crate) server: super::arguments::ServerArgs,
}

/// The address in a shared `towpath.toml` is that of `up`; a scheduler listens only where it is told to.
pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    daemon::run(session, Parts { scheduler: true, worker: false, server: args.listen.is_some() }).await
}
