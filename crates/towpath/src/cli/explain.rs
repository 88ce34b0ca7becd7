//! `towpath explain`

use chrono::{DateTime, Utc};
use towpath_store::{Error, Explanation, Group, Store, TaskKey, Told};

use crate::exit::{Outcome, usage};
use crate::names;
use crate::output::{self, Format, OutputArgs};
use crate::session::{Session, find_dag, find_run};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks the rules and limits that decide, with what they see now.

Examples:
  towpath explain etl                              when it runs next, or why not
  towpath explain etl manual__2026-11-22           why the run waits, and what waits in it
  towpath explain etl manual__2026-11-22 load      why that task does not run
  towpath explain etl load                         the same for the newest run")]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The run, or a task of the newest one
    run_id: Option<String>,
    /// The task
    task_id: Option<String>,
    /// Which one of a mapped task
    #[arg(long, value_name = "INDEX", default_value_t = -1, allow_negative_numbers = true)]
    map_index: i32,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let now = session.now();
    let told = match (&args.run_id, &args.task_id) {
        (None, _) => {
            find_dag(&store, &args.dag_id).await?;
            store.explain_dag(&args.dag_id, now).await?
        }
        (Some(task_id), None) if is_task(&store, &args.dag_id, task_id).await? => {
            let run = find_run(&store, &args.dag_id, None).await?;
            told_of_task(&store, &run, task_id, args.map_index, now).await?
        }
        (Some(run_id), None) => {
            let run = find_run(&store, &args.dag_id, Some(run_id)).await?;
            store.explain_run(&run, now).await?
        }
        (Some(run_id), Some(task_id)) => {
            let run = find_run(&store, &args.dag_id, Some(run_id)).await?;
            told_of_task(&store, &run, task_id, args.map_index, now).await?
        }
    };
    match args.output.output {
        Format::Table => output::text(&page(&told))?,
        format => output::data(format, &told)?,
    }
    Ok(Outcome::Success)
}

async fn told_of_task(
    store: &Store,
    run: &towpath_store::RunRecord,
    task_id: &str,
    map_index: i32,
    now: DateTime<Utc>,
) -> anyhow::Result<Explanation> {
    match store.explain_task(run, task_id, map_index, now).await {
        Err(Error::NotFound { .. }) => Err(no_task(store, run, task_id, map_index).await?),
        told => Ok(told?),
    }
}

/// Whether what stands in the place of a run is the id of a task instead.
async fn is_task(store: &Store, dag_id: &str, name: &str) -> anyhow::Result<bool> {
    let dag = find_dag(store, dag_id).await?;
    Ok(store.run(dag_id, name).await?.is_none() && store.dag_of_version(dag.version_id).await?.task(name).is_some())
}

/// The error for a task instance that the run does not have.
async fn no_task(
    store: &Store,
    run: &towpath_store::RunRecord,
    task_id: &str,
    map_index: i32,
) -> anyhow::Result<anyhow::Error> {
    let dag = store.dag_of_version(run.version_id).await?;
    if dag.task(task_id).is_none() {
        let hint = names::hint(task_id, dag.tasks().iter().map(|task| task.task_id.as_str()));
        return Ok(usage(format!("run `{}` of DAG `{}` has no task `{task_id}`{hint}", run.run_id, run.dag_id)));
    }
    let unmapped = TaskKey { run_key: run.key, task_id: task_id.to_owned(), map_index: -1 };
    let hint = match store.task_instance(&unmapped).await? {
        Some(_) => "it is not mapped: leave out --map-index",
        None => "name one with --map-index",
    };
    Ok(usage(format!("run `{}` has no task instance {map_index} of `{task_id}`; {hint}", run.run_id)))
}

/// For people.
fn page(told: &Explanation) -> String {
    let subject = &told.subject;
    let mut name = subject.dag_id.clone();
    for part in subject.run_id.iter().chain(&subject.task_id) {
        name.push_str(" / ");
        name.push_str(part);
    }
    if let Some(index) = subject.map_index.filter(|index| *index >= 0) {
        name.push_str(&format!("[{index}]"));
    }
    let mut page = format!("{name}: {}\n", told.state);
    told.reasons.iter().for_each(|reason| add(&mut page, "  ", reason));
    for group in &told.waiting {
        page.push_str(&heading(group));
        group.reasons.iter().for_each(|reason| add(&mut page, "    ", reason));
    }
    if told.left_out > 0 {
        page.push_str(&format!("  and {} more tasks\n", told.left_out));
    }
    page
}

fn heading(group: &Group) -> String {
    let more = group.count.saturating_sub(group.tasks.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let state = if group.state == towpath_model::state::TaskState::None { "waiting" } else { group.state.as_ref() };
    format!("  {} {state}: {}{more}\n", group.count, group.tasks.join(", "))
}

fn add(page: &mut String, indent: &str, reason: &Told) {
    page.push_str(&format!("{indent}{}\n", reason.text));
    if let Some(advice) = &reason.advice {
        page.push_str(&format!("{indent}  -> {advice}\n"));
    }
}
