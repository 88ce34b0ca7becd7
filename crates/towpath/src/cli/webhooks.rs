//! `towpath webhooks ...`

mod create;
mod list;
mod revoke;

use crate::exit::Outcome;
use crate::session::Session;

/// A webhook lets another system start runs of a DAG: it signs its requests with a secret.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the DAGs that have a webhook
    List(list::Args),
    /// Make the secret of a DAG's webhook, or another one, and print it, once
    Create(create::Args),
    /// Take the webhook of a DAG away, at once
    Revoke(revoke::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Create(args) => create::run(&args, session).await,
        Command::Revoke(args) => revoke::run(&args, session).await,
    }
}
