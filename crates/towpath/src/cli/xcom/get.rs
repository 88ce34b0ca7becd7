//! `towpath xcom get`

use anyhow::bail;
use towpath_operators::attempt::RETURN_VALUE;
use towpath_store::TaskKey;

use crate::exit::Outcome;
use crate::output::{self, Format, OutputArgs};
use crate::session::{Session, find_run};
use crate::{cli::tasks::find_task, names};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the value as JSON (or YAML with -o yaml).

Examples:
  towpath xcom get etl_pipeline transform_data
  towpath xcom get etl_pipeline transform_data --key data --run-id manual__2026-11-22T06:00:00+00:00")]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The task
    task_id: String,
    /// The run [default: the newest of the DAG]
    #[arg(long, value_name = "RUN")]
    run_id: Option<String>,
    /// The key
    #[arg(long, default_value = RETURN_VALUE)]
    key: String,
    /// The map index, for one of the instances of a mapped task [default: all of them, as a list]
    #[arg(long, value_name = "INDEX")]
    map_index: Option<i32>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, args.run_id.as_deref()).await?;
    let found = store.xcoms(run.key, &args.task_id, &args.key, args.map_index).await?;
    let format = if args.output.output == Format::Yaml { Format::Yaml } else { Format::Json };
    match found.as_slice() {
        [] => {
            let dag = store.dag_of_version(run.version_id).await?;
            find_task(&dag, &args.task_id)?;
            let key =
                TaskKey { run_key: run.key, task_id: args.task_id.clone(), map_index: args.map_index.unwrap_or(-1) };
            let known = store.task_xcoms(&key).await?;
            let known = known.iter().map(|xcom| xcom.key.as_str());
            let hint = names::hint(&args.key, known);
            bail!("task `{}` of run `{}` has pushed no XCom `{}`{hint}", args.task_id, run.run_id, args.key);
        }
        [only] if only.map_index < 0 || args.map_index.is_some() => output::data(format, &only.value)?,
        many => output::data(format, &many.iter().map(|xcom| &xcom.value).collect::<Vec<_>>())?,
    }
    Ok(Outcome::Success)
}
