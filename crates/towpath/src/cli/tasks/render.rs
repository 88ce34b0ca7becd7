//! `towpath tasks render`

use anyhow::bail;
use serde_json::Value;
use towpath_store::{RENDERED_RUNS, Rendered, TaskKey};

use super::find_task;
use crate::exit::Outcome;
use crate::output;
use crate::session::{Session, find_run};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath tasks render etl load                  in the last try of the newest run
  towpath tasks render etl load --json           as one JSON object
  towpath tasks render etl load --map-index 3 --run-id manual__2026-11-22T06:00:00+00:00")]
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
    /// Print them as a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, args.run_id.as_deref()).await?;
    let dag = store.dag_of_version(run.version_id).await?;
    let task = find_task(&dag, &args.task_id)?;
    let key = TaskKey { run_key: run.key, task_id: args.task_id.clone(), map_index: args.map_index };
    let Some(instance) = store.task_instance(&key).await? else {
        bail!("task `{}` of run `{}` has no map index {}", args.task_id, run.run_id, args.map_index);
    };
    if instance.try_number == 0 {
        bail!(
            "task `{}` of run `{}` has not started ({}); templates are filled in when it does",
            args.task_id,
            run.run_id,
            crate::cli::runs::show::state_word(instance.state)
        );
    }
    let fields = Rendered::or_written(store.rendered(std::slice::from_ref(&key)).await?.remove(&key), task);
    if args.json {
        output::line(serde_json::to_string_pretty(&fields)?)?;
        return Ok(Outcome::Success);
    }
    if fields.is_empty() {
        output::remark(format!(
            "nothing is kept of task `{}` in run `{}`: it has no arguments with templates, it has not ended yet, or \
             {RENDERED_RUNS} runs of the DAG are newer",
            args.task_id, run.run_id
        ));
    }
    for (name, value) in &fields {
        let text = match value {
            Value::String(text) => text.clone(),
            other => serde_json::to_string_pretty(other)?,
        };
        let indented: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
        output::line(format!("{name}:\n{}", indented.join("\n")))?;
    }
    Ok(Outcome::Success)
}
