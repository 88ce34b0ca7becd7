//! `towpath data ...`

mod clean;
mod describe;
mod explain;
mod loads;
mod rows;
mod which;

use crate::exit::Outcome;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the first rows of what a task has left
    Head(rows::Args),
    /// Show the columns of what a task has left, with their types
    Schema(describe::SchemaArgs),
    /// Show what the values of each column are like: nulls, distinct, min, max, mean, most frequent
    Profile(describe::ProfileArgs),
    /// Show rows that were rejected, with the rules that they broke
    Rejects(rows::RejectsArgs),
    /// Show what each operator of a data task has done: rows, time, memory
    Plan(describe::PlanArgs),
    /// Show the plan of a data task without running it
    Explain(explain::Args),
    /// Remove old data sets from the staging area
    Clean(clean::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Head(args) => rows::head(&args, session).await,
        Command::Schema(args) => describe::schema(&args, session).await,
        Command::Profile(args) => describe::profile_of(&args, session).await,
        Command::Rejects(args) => rows::rejects(&args, session).await,
        Command::Plan(args) => describe::plan(&args, session).await,
        Command::Explain(args) => explain::run(&args, session).await,
        Command::Clean(args) => clean::run(&args, session).await,
    }
}
