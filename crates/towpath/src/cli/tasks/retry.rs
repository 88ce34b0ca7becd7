//! `towpath tasks retry`

use anyhow::bail;
use towpath_store::TaskKey;

use super::find_task;
use crate::exit::Outcome;
use crate::output;
use crate::session::{Session, find_run};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The task
    task_id: String,
    /// The run [default: the newest of the DAG]
    #[arg(long, value_name = "RUN")]
    run_id: Option<String>,
    /// The map index, for one of the instances of a mapped task
    #[arg(long, value_name = "INDEX", default_value_t = -1, allow_hyphen_values = true)]
    map_index: i32,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, args.run_id.as_deref()).await?;
    find_task(&*store.dag_of_version(run.version_id).await?, &args.task_id)?;
    let key = TaskKey { run_key: run.key, task_id: args.task_id.clone(), map_index: args.map_index };
    if store.retry_now(&key, session.now()).await? {
        output::line(format!("the next try of task `{}` in run `{}` starts now", args.task_id, run.run_id))?;
        return Ok(Outcome::Success);
    }
    let state = match store.task_instance(&key).await? {
        Some(instance) => instance.state,
        None => bail!("task `{}` of run `{}` has no map index {}", args.task_id, run.run_id, args.map_index),
    };
    bail!(
        "task `{}` of run `{}` is {state}, it does not wait for another try; `towpath tasks clear` lets it run again",
        args.task_id,
        run.run_id
    )
}
