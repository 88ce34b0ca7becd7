//! `towpath tasks test`

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use towpath_operators::attempt::Outcome as AttemptOutcome;
use towpath_operators::log::{LogLine, Sink};
use towpath_store::{Key, Options, Store};
use towpath_worker::Once;

use super::find_task;
use crate::cli::{arguments, log_text, target};
use crate::daemon;
use crate::exit::Outcome;
use crate::lifecycle::Stop;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs one attempt of the task, whatever it depends on, and records nothing: no run, no state, no XCom, no log. \
Variables and connections are read from the store, if there is one. The log goes to stdout as it is written.

Examples:
  towpath tasks test etl_pipeline extract_data 2026-11-22
  towpath tasks test dags/flights_daily.yaml extract 2013-01-15 --param carrier=UA")]
pub(crate) struct Args {
    /// A DAG file, or the id of a DAG in the store
    #[arg(value_name = "FILE_OR_DAG")]
    dag: String,
    /// The task
    task_id: String,
    /// Logical date, such as 2026-11-22 [default: now]
    #[arg(value_name = "DATE", value_parser = arguments::time)]
    date: Option<DateTime<Utc>>,
    /// Configuration of the run, a JSON object; `@FILE` reads it from a file
    #[arg(long, value_name = "JSON", value_parser = arguments::json_object)]
    conf: Option<serde_json::Map<String, serde_json::Value>>,
    /// A param of the DAG; may be given more than once
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = arguments::key_value)]
    params: Vec<(String, String)>,
}

/// Prints the lines of the attempt.
#[derive(Debug)]
struct Printer;

impl Sink for Printer {
    fn write(&self, line: LogLine) {
        // Whoever has seen enough of the log may close it; the task goes on.
        let _ = output::line(log_text::line(&line));
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let stop = Stop::on_signals(std::time::Duration::ZERO)?;
    let target = target::load(&args.dag, None, session)?;
    let store = store(session).await?;
    let dags_folder = &session.config.dags_dir.value;
    let (dag, file) = match target {
        target::Target::File(file) => (file.dag, file.path),
        target::Target::Id(dag_id) => {
            let (record, dag) = target::stored(&store, &dag_id).await?;
            (dag, dags_folder.join(record.file))
        }
    };
    find_task(&dag, &args.task_id)?;
    let scratch = tempfile::tempdir()?;
    let once = Once {
        options: daemon::worker_options(session, &store, Vec::new(), scratch.path().to_owned())?,
        conf: crate::cli::order::conf(&dag, args.conf.as_ref(), &args.params)?,
        dag,
        task_id: args.task_id.clone(),
        logical_date: args.date.unwrap_or_else(|| session.now()),
        dag_folder: file.parent().unwrap_or(Path::new(".")).to_owned(),
        sink: Arc::new(Printer),
    };
    let ended = towpath_worker::run_once(once, stop.soft.clone()).await?;
    let Some((outcome, xcoms)) = ended else { unreachable!("the task was found above") };
    for (key, value) in &xcoms {
        output::line(format!("xcom {key} = {value}"))?;
    }
    let (text, code) = match outcome {
        AttemptOutcome::Success { .. } | AttemptOutcome::Branch { .. } => ("success".to_owned(), Outcome::Success),
        AttemptOutcome::Skipped { reason } => (format!("skipped: {reason}"), Outcome::Success),
        AttemptOutcome::Reschedule { at } => (format!("would look again at {}", output::time(at)), Outcome::Success),
        AttemptOutcome::Failed { error, .. } => (format!("failed: {error}"), Outcome::Failure),
    };
    output::line(text)?;
    Ok(if stop.soft.is_cancelled() { Outcome::Interrupted } else { code })
}

/// The store, for variables and connections; one in memory where there is none yet, since a test leaves
/// nothing behind.
async fn store(session: &Session) -> anyhow::Result<Store> {
    let config = &session.config;
    if config.is_embedded() && !config.data_dir.value.exists() {
        let options = Options { url: "sqlite::memory:".to_owned(), key: Key::random(), max_connections: 1 };
        let store = Store::connect(options).await?;
        store.migrate().await?;
        return Ok(store);
    }
    session.store().await
}
