//! `towpath config ...`

mod show;

use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show every setting, its value and where it comes from; passwords are left out
    Show(show::Args),
}

pub(crate) fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Show(args) => show::run(&args, session),
    }
}
