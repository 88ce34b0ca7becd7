//! `towpath tasks ...`

mod clear;
pub(crate) mod list;
mod logs;
mod mark;
mod render;
mod retry;
mod test;

use towpath_model::dag::{Dag, Task};

use crate::exit::{Outcome, usage};
use crate::names;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the tasks of a DAG
    List(list::Args),
    /// Run one task here and now, without recording it
    Test(test::Args),
    /// Print the log of a task
    Logs(logs::Args),
    /// Show the arguments that a task got, with its templates filled in
    Render(render::Args),
    /// Let tasks run again
    Clear(clear::Args),
    /// Decide how tasks ended
    Mark(mark::Args),
    /// Start the next try of a task that waits for it
    Retry(retry::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Test(args) => test::run(&args, session).await,
        Command::Logs(args) => logs::run(&args, session).await,
        Command::Render(args) => render::run(&args, session).await,
        Command::Clear(args) => clear::run(&args, session).await,
        Command::Mark(args) => mark::run(&args, session).await,
        Command::Retry(args) => retry::run(&args, session).await,
    }
}

/// A task of a DAG.
///
/// # Errors
/// When there is none; the message then names the nearest id.
pub(crate) fn find_task<'a>(dag: &'a Dag, task_id: &str) -> anyhow::Result<&'a Task> {
    dag.task(task_id).ok_or_else(|| {
        let hint = names::hint(task_id, dag.tasks().iter().map(|task| task.task_id.as_str()));
        usage(format!("DAG `{}` has no task `{task_id}`{hint}", dag.id()))
    })
}
