//! `towpath data ...`

mod clean;

use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Remove old data sets from the staging area
    Clean(clean::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Clean(args) => clean::run(&args, session).await,
    }
}
