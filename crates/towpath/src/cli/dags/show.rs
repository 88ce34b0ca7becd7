//! `towpath dags show`

use serde::Serialize;
use towpath_model::dag::Dag;

use crate::cli::tasks::list as tasks;
use crate::cli::{runs, target};
use crate::exit::Outcome;
use crate::output::{self, Format, OutputArgs};
use crate::session::Session;

/// Runs that are shown.
const RUNS: u32 = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: target::Args,
    #[command(flatten)]
    output: OutputArgs,
}

/// A DAG as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    dag_id: String,
    description: Option<String>,
    schedule: String,
    schedule_in_words: String,
    timezone: String,
    start_date: Option<String>,
    end_date: Option<String>,
    catchup: bool,
    max_active_runs: u32,
    max_active_tasks: u32,
    owners: Vec<String>,
    tags: Vec<String>,
    params: serde_json::Value,
    hash: String,
    /// From here on known of DAGs in the store alone.
    #[serde(flatten)]
    stored: Option<Stored>,
    tasks: Vec<tasks::Item>,
}

#[derive(Debug, Serialize)]
struct Stored {
    file: String,
    is_paused: bool,
    is_active: bool,
    version: i32,
    next_run_after: Option<String>,
    runs: Vec<runs::Shown>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let (dag, stored) = match args.target.load(session)? {
        target::Target::File(file) => (file.dag, None),
        target::Target::Id(dag_id) => {
            let store = session.store().await?;
            let (record, dag) = target::stored(&store, &dag_id).await?;
            let newest =
                store.run_stats(std::slice::from_ref(&dag_id), RUNS).await?.remove(&dag_id).unwrap_or_default();
            let stored = Stored {
                file: record.file,
                is_paused: record.is_paused,
                is_active: record.is_active,
                version: record.version_number,
                next_run_after: record.next_run.map(|next| output::rfc3339(next.run_after)),
                runs: newest.into_iter().map(|run| runs::Shown::new(run, session.now())).collect(),
            };
            (dag, Some(stored))
        }
    };
    let shown = shown(&dag, stored)?;
    match args.output.output {
        Format::Table => print(&shown)?,
        format => output::data(format, &shown)?,
    }
    Ok(Outcome::Success)
}

fn shown(dag: &Dag, stored: Option<Stored>) -> anyhow::Result<Shown> {
    let spec = dag.spec();
    Ok(Shown {
        dag_id: spec.dag_id.clone(),
        description: spec.description.clone(),
        schedule: spec.schedule_summary(),
        schedule_in_words: spec.schedule_words(),
        timezone: spec.timezone.to_string(),
        start_date: spec.start_date.map(output::rfc3339),
        end_date: spec.end_date.map(output::rfc3339),
        catchup: spec.catchup,
        max_active_runs: spec.max_active_runs,
        max_active_tasks: spec.max_active_tasks,
        owners: spec.owners().into_iter().map(str::to_owned).collect(),
        tags: spec.tags.clone(),
        params: serde_json::to_value(&spec.params)?,
        hash: dag.hash().to_owned(),
        stored,
        tasks: tasks::items(dag),
    })
}

fn print(shown: &Shown) -> anyhow::Result<()> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let mut fields = vec![
        ("dag_id", shown.dag_id.clone()),
        ("description", text(&shown.description)),
        ("schedule", format!("{} ({})", shown.schedule, shown.schedule_in_words)),
        ("start_date", text(&shown.start_date)),
        ("end_date", text(&shown.end_date)),
        ("catchup", shown.catchup.to_string()),
        ("max_active", format!("{} runs, {} tasks in each", shown.max_active_runs, shown.max_active_tasks)),
        ("owners", shown.owners.join(", ")),
        ("tags", shown.tags.join(", ")),
    ];
    if let Some(stored) = &shown.stored {
        fields.push(("file", if stored.is_active { stored.file.clone() } else { format!("{} (gone)", stored.file) }));
        fields.push(("version", stored.version.to_string()));
        fields.push(("paused", stored.is_paused.to_string()));
        fields.push(("next_run", text(&stored.next_run_after)));
    }
    output::text(&output::fields(&fields))?;
    output::line("")?;
    output::list(Format::Table, &shown.tasks)?;
    if let Some(stored) = shown.stored.as_ref().filter(|stored| !stored.runs.is_empty()) {
        output::line("")?;
        output::list(Format::Table, &stored.runs)?;
    }
    Ok(())
}
