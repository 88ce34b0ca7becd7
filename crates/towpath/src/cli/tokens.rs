//! `towpath tokens ...`

mod create;
mod list;
mod revoke;

use crate::exit::Outcome;
use crate::session::Session;

/// A program shows its API token with each request: `Authorization: Bearer twp_...`. It may do what its user may do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the API tokens
    List(list::Args),
    /// Make an API token and print it, once
    Create(create::Args),
    /// Revoke an API token, at once
    Revoke(revoke::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Create(args) => create::run(&args, session).await,
        Command::Revoke(args) => revoke::run(&args, session).await,
    }
}
