//! `towpath runs rerun`

use towpath_store::Selection;

use crate::cli::selection;
use crate::exit::Outcome;
use crate::output::OutputArgs;
use crate::session::{Session, find_run};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The run [default: the newest of the DAG]
    run_id: Option<String>,
    /// All tasks, not only what failed
    #[arg(long)]
    all: bool,
    /// With the current version of the DAG instead of the one that the run began with
    #[arg(long)]
    latest_version: bool,
    /// Only tell what would run again
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, args.run_id.as_deref()).await?;
    let selection = Selection { only_failed: !args.all, ..Selection::default() };
    let touched = match args.latest_version {
        true => store.clear_on_latest(run.key, &selection, args.dry_run, session.now()).await?,
        false => store.clear(run.key, &selection, args.dry_run, session.now()).await?,
    };
    let outcome = selection::print(args.output.output, vec![(run.clone(), touched)], args.dry_run, "cleared")?;
    if !args.latest_version {
        selection::tell_version(args.output.output, &store, &run).await?;
    }
    Ok(outcome)
}
