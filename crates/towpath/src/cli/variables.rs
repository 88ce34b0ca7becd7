//! `towpath variables ...`

mod delete;
mod export;
mod get;
mod import;
mod list;
mod set;

use crate::exit::Outcome;
use crate::session::Session;

/// A variable is a text that tasks read as `{{ var.value.KEY }}` or `Variable.get("KEY")`. One in the environment
/// (TOWPATH_VAR_KEY or AIRFLOW_VAR_KEY) wins over the one in the store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the variables of the store
    List(list::Args),
    /// Print the value of a variable
    Get(get::Args),
    /// Set a variable
    Set(set::Args),
    /// Delete a variable
    Delete(delete::Args),
    /// Set all variables in a JSON or YAML file
    Import(import::Args),
    /// Print all variables as JSON, in the form that import reads
    Export(export::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Get(args) => get::run(&args, session).await,
        Command::Set(args) => set::run(&args, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
        Command::Import(args) => import::run(&args, session).await,
        Command::Export(args) => export::run(&args, session).await,
    }
}

/// The error for a variable that is not there.
async fn not_found(store: &towpath_store::Store, key: &str) -> anyhow::Error {
    let known = store.variables().await.unwrap_or_default();
    let hint = crate::names::hint(key, known.iter().map(|variable| variable.key.as_str()));
    anyhow::anyhow!("variable `{key}` does not exist{hint}")
}
