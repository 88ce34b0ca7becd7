//! `towpath runs mark`

use crate::cli::selection;
use crate::exit::Outcome;
use crate::output::OutputArgs;
use crate::session::{Session, find_run};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How it counts as ended: with success all of its tasks do, with failed what is open is stopped
    #[arg(value_enum)]
    state: State,
    /// The DAG
    dag_id: String,
    /// The run [default: the newest of the DAG]
    run_id: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    Success,
    Failed,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, args.run_id.as_deref()).await?;
    let touched = store.mark_run(run.key, args.state == State::Success, session.now()).await?;
    selection::print(args.output.output, vec![(run, touched)], false, "decided")
}
