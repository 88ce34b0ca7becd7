//! `towpath dags ...`

mod delete;
mod list;
mod next_runs;
mod pause;
mod schema;
mod show;
mod test;
mod trigger;
mod validate;

pub(crate) use schema::run as schema;

use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the DAGs of the store, and the files that could not be read
    List(list::Args),
    /// Show a DAG: settings, tasks, newest runs
    Show(show::Args),
    /// Check DAG files and print every problem in them
    Validate(validate::Args),
    /// Run tests of DAGs, with made-up outcomes of their tasks
    Test(test::Args),
    /// Start a run
    Trigger(trigger::Args),
    /// Pause DAGs: they get no new runs and start no tasks
    Pause(pause::Args),
    /// Let paused DAGs run again
    Unpause(pause::Args),
    /// Delete what is kept about a DAG: versions, runs, XComs and logs
    Delete(delete::Args),
    /// Print when a DAG runs next
    NextRuns(next_runs::Args),
    /// Print the JSON Schema of DAG files, for editors
    Schema,
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Show(args) => show::run(&args, session).await,
        Command::Validate(args) => validate::run(&args, session),
        Command::Test(args) => test::run(&args, session).await,
        Command::Trigger(args) => trigger::run(&args, session).await,
        Command::Pause(args) => pause::run(&args, true, session).await,
        Command::Unpause(args) => pause::run(&args, false, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
        Command::NextRuns(args) => next_runs::run(&args, session).await,
        Command::Schema => schema(),
    }
}
