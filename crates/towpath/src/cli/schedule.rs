//! `towpath schedule ...`

mod preview;

use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print what the schedules of DAG files will do: runs, clock changes, catch-up, full limits
    Preview(preview::Args),
}

pub(crate) fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Preview(args) => preview::run(&args, session),
    }
}
