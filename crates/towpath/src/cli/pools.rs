//! `towpath pools ...`

mod delete;
mod list;
mod set;

use crate::exit::Outcome;
use crate::session::Session;

/// A pool is a number of slots that tasks share: a task with `pool: NAME` runs only while one is free.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the pools with the slots in use
    List(list::Args),
    /// Make a pool, or change one
    Set(set::Args),
    /// Delete a pool
    Delete(delete::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Set(args) => set::run(&args, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
    }
}
