//! `towpath tasks clear`

use crate::cli::selection;
use crate::exit::Outcome;
use crate::output::OutputArgs;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath tasks clear etl load                       load runs again in the newest run
  towpath tasks clear etl load --downstream          and all that follows from it
  towpath tasks clear etl --only-failed              whatever failed, in the newest run
  towpath tasks clear etl --only-failed --latest-version
                                                     the same, with the DAG as its file is now
  towpath tasks clear etl extract --future --dry-run
                                                     what would run again in this and all later runs")]
pub(crate) struct Args {
    #[command(flatten)]
    tasks: selection::Args,
    /// Only those that failed, or could not run because their upstream did
    #[arg(long)]
    only_failed: bool,
    /// Only those that run
    #[arg(long)]
    only_running: bool,
    /// With the current version of the DAG instead of the one that the run began with
    #[arg(long)]
    latest_version: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let runs = args.tasks.runs(&store, args.latest_version).await?;
    let mut selection = args.tasks.selection()?;
    selection.only_failed = args.only_failed;
    selection.only_running = args.only_running;
    let dry_run = args.tasks.is_dry_run();
    let mut touched = Vec::with_capacity(runs.len());
    for run in runs {
        let of_run = match args.latest_version {
            true => store.clear_on_latest(run.key, &selection, dry_run, session.now()).await?,
            false => store.clear(run.key, &selection, dry_run, session.now()).await?,
        };
        touched.push((run, of_run));
    }
    let newest = touched.last().map(|(run, _)| run.clone()).filter(|_| !args.latest_version);
    let outcome = selection::print(args.output.output, touched, dry_run, "cleared")?;
    if let Some(run) = newest {
        selection::tell_version(args.output.output, &store, &run).await?;
    }
    Ok(outcome)
}
