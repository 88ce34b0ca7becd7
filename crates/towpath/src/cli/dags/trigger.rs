//! `towpath dags trigger`

use towpath_model::state::{RunState, TaskState};
use towpath_store::{RunRecord, Store};

use crate::cli::order::{self, OrderArgs};
use crate::cli::{follow, runs};
use crate::exit::{Outcome, usage};
use crate::output::{self, Detail, Format, OutputArgs};
use crate::session::{Session, find_dag};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes a run; the scheduler and the workers of a server that is up on the same database carry it out.

Examples:
  towpath dags trigger etl_pipeline
  towpath dags trigger flights_daily --logical-date 2013-01-15 --wait
  towpath dags trigger report --param carrier=UA --conf '{\"dry_run\": true}'

With --wait, the exit code is 0 when the run succeeds and 1 when it fails.")]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    #[command(flatten)]
    order: OrderArgs,
    /// Wait until the run is over
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Detail for runs::Shown {
    fn fields(&self) -> Vec<(&'static str, String)> {
        self.summary()
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let record = find_dag(&store, &args.dag_id).await?;
    if !record.is_active {
        return Err(usage(format!(
            "the file of DAG `{}` is gone (`{}`), so it cannot be run any more",
            record.dag_id, record.file
        )));
    }
    let dag = store.dag_of_version(record.version_id).await?;
    let new = args.order.new_run(&dag, record.version_id, session.now())?;
    let mut run = order::create(&store, new, session.now()).await?;
    let format = args.output.output;
    if format == Format::Table && run.state == RunState::Queued {
        for told in store.explain_run(&run, session.now()).await?.reasons {
            let advice = told.advice.map(|advice| format!(" (`{advice}`)")).unwrap_or_default();
            output::remark(format!("the run waits: {}{advice}", told.text));
        }
    }
    if args.wait {
        if format == Format::Table {
            output::remark(format!("waiting for run `{}`", run.run_id));
        }
        run = follow::until_over(&store, run.key, |_, _| {}).await?;
        if format == Format::Table && run.state == RunState::Failed {
            say_what_failed(&store, &run).await?;
        }
    }
    let outcome = if run.state == RunState::Failed { Outcome::Failure } else { Outcome::Success };
    output::detail(format, &runs::Shown::new(run, session.now()))?;
    Ok(outcome)
}

/// The tasks that have failed, each with the reason that it has left, on stderr.
async fn say_what_failed(store: &Store, run: &RunRecord) -> anyhow::Result<()> {
    for instance in store.task_instances(run.key).await? {
        if instance.state == TaskState::Failed {
            let index = Some(instance.key.map_index).filter(|index| *index >= 0).map(|index| format!("[{index}]"));
            let note = instance.note.as_deref().and_then(|note| note.lines().next()).unwrap_or("no reason is known");
            output::remark(format!("{}{} failed: {note}", instance.key.task_id, index.unwrap_or_default()));
        }
    }
    Ok(())
}
