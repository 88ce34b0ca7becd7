//! `towpath runs delete`

use anyhow::bail;
use towpath_store::Deletion;

use crate::exit::Outcome;
use crate::output;
use crate::session::{Session, find_run};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing of the run is left: no states, tries, XComs and logs. The schedule does not make it again.")]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The run
    run_id: String,
    /// Cancel the run first, if it is running
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, Some(&args.run_id)).await?;
    let (dag_id, run_id) = (&run.dag_id, &run.run_id);
    match store.delete_run(run.key, args.force, session.now()).await? {
        Deletion::Deleted => output::line(format!("run `{run_id}` of DAG `{dag_id}` is deleted"))?,
        Deletion::Missing => output::line(format!("run `{run_id}` of DAG `{dag_id}` was deleted by somebody else"))?,
        Deletion::Running => bail!(
            "run `{run_id}` of DAG `{dag_id}` is running; cancel it first with `towpath runs cancel {dag_id} {run_id}`, \
             or delete it with --force"
        ),
    }
    Ok(Outcome::Success)
}
