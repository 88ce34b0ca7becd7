//! `towpath pools ...`

mod delete;
mod get;
mod list;
mod set;

use towpath_store::PoolRecord;

use crate::exit::Outcome;
use crate::names;
use crate::session::Session;

/// A pool is a number of slots that tasks share: a task with `pool: NAME` runs only while one is free.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the pools with the slots in use
    List(list::Args),
    /// Show a pool
    Get(get::Args),
    /// Make a pool, or change one
    Set(set::Args),
    /// Delete a pool
    Delete(delete::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Get(args) => get::run(&args, session).await,
        Command::Set(args) => set::run(&args, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
    }
}

/// The error for a pool that is not there.
fn not_found(name: &str, known: &[PoolRecord]) -> anyhow::Error {
    let hint = names::hint(name, known.iter().map(|pool| pool.name.as_str()));
    anyhow::anyhow!("pool `{name}` does not exist{hint}")
}
