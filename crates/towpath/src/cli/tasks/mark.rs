//! `towpath tasks mark`

use towpath_store::Mark;

use crate::cli::selection;
use crate::exit::{Outcome, usage};
use crate::output::OutputArgs;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath tasks mark success etl load         load counts as done; what failed behind it runs
  towpath tasks mark skipped etl load --run-id manual__2026-11-22T06:00:00+00:00")]
pub(crate) struct Args {
    /// What they count as
    #[arg(value_enum)]
    state: State,
    #[command(flatten)]
    tasks: selection::Args,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum State {
    Success,
    Failed,
    Skipped,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    if !args.tasks.names_tasks() {
        return Err(usage("name the tasks; `towpath runs mark` decides on a whole run".to_owned()));
    }
    let mark = match args.state {
        State::Success => Mark::Success,
        State::Failed => Mark::Failed,
        State::Skipped => Mark::Skipped,
    };
    let store = session.store().await?;
    let runs = args.tasks.runs(&store, false).await?;
    let selection = args.tasks.selection()?;
    let dry_run = args.tasks.is_dry_run();
    let mut touched = Vec::with_capacity(runs.len());
    for run in runs {
        let of_run = store.mark(run.key, &selection, mark, dry_run, session.now()).await?;
        touched.push((run, of_run));
    }
    selection::print(args.output.output, touched, dry_run, &format!("marked as {mark}"))
}
