//! `towpath xcom ...`

mod get;

use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print what a task has passed on
    Get(get::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Get(args) => get::run(&args, session).await,
    }
}
