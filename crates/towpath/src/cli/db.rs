//! `towpath db ...`

mod check;
mod clean;
mod migrate;

use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Bring the schema up to date; every other command does so as well
    Migrate(migrate::Args),
    /// Check that the database answers and is up to date
    Check(check::Args),
    /// Delete runs that are over, the audit log and other records that are old
    Clean(clean::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Migrate(args) => migrate::run(&args, session).await,
        Command::Check(args) => check::run(&args, session).await,
        Command::Clean(args) => clean::run(&args, session).await,
    }
}
