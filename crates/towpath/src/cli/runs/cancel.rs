//! `towpath runs cancel`

use crate::exit::Outcome;
use crate::output;
use crate::session::{Session, find_run};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The run fails. What has not started in it is skipped; what runs is stopped by its worker, with the grace that every \
task has. Teardowns of setups that have succeeded still run, and the run fails when they have ended; cancel it once \
more to end them too.")]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The run
    run_id: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, Some(&args.run_id)).await?;
    if store.cancel_run(run.key, "its run was cancelled", session.now()).await? {
        output::line(format!("run `{}` of DAG `{}` is cancelled", run.run_id, run.dag_id))?;
    } else {
        output::line(format!("run `{}` of DAG `{}` is over already: {}", run.run_id, run.dag_id, run.state))?;
    }
    Ok(Outcome::Success)
}
