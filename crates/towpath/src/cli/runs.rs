//! `towpath runs ...`

mod cancel;
mod delete;
mod list;
mod mark;
mod rerun;
pub(crate) mod show;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_store::RunRecord;

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List runs, newest first
    List(list::Args),
    /// Show a run and its tasks
    Show(show::Args),
    /// Run again what failed in a run
    Rerun(rerun::Args),
    /// Decide how a run ended
    Mark(mark::Args),
    /// End a run now: it fails, what runs in it is stopped
    Cancel(cancel::Args),
    /// Delete a run with its tries, XComs and logs
    Delete(delete::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Show(args) => show::run(&args, session).await,
        Command::Rerun(args) => rerun::run(&args, session).await,
        Command::Mark(args) => mark::run(&args, session).await,
        Command::Cancel(args) => cancel::run(&args, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
    }
}

/// A run as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    dag_id: String,
    run_id: String,
    state: String,
    run_type: String,
    logical_date: Option<String>,
    data_interval_start: Option<String>,
    data_interval_end: Option<String>,
    run_after: String,
    queued_at: String,
    start_date: Option<String>,
    end_date: Option<String>,
    duration_s: Option<f64>,
    version: i32,
    conf: Map<String, Value>,
    note: Option<String>,
    triggered_by: String,
    #[serde(skip)]
    times: Times,
}

/// The same times for people.
#[derive(Debug)]
struct Times {
    logical_date: Option<DateTime<Utc>>,
    start: Option<DateTime<Utc>>,
    duration: String,
}

impl Shown {
    pub(crate) fn new(run: RunRecord, now: DateTime<Utc>) -> Self {
        let span = output::span(run.start_date, run.end_date, now);
        Self {
            state: run.state.to_string(),
            run_type: run.run_type.to_string(),
            logical_date: run.logical_date.map(output::rfc3339),
            data_interval_start: run.data_interval.map(|interval| output::rfc3339(interval.start)),
            data_interval_end: run.data_interval.map(|interval| output::rfc3339(interval.end)),
            run_after: output::rfc3339(run.run_after),
            queued_at: output::rfc3339(run.queued_at),
            start_date: run.start_date.map(output::rfc3339),
            end_date: run.end_date.map(output::rfc3339),
            duration_s: output::seconds(span),
            version: run.version_number,
            conf: run.conf,
            note: run.note,
            triggered_by: run.triggered_by.to_string(),
            times: Times { logical_date: run.logical_date, start: run.start_date, duration: output::humanize(span) },
            dag_id: run.dag_id,
            run_id: run.run_id,
        }
    }

    /// What matters of a run that has just been made or is over.
    pub(crate) fn summary(&self) -> Vec<(&'static str, String)> {
        vec![
            ("dag_id", self.dag_id.clone()),
            ("run_id", self.run_id.clone()),
            ("state", self.state.clone()),
            ("logical_date", self.logical_date.clone().unwrap_or_default()),
            ("duration", self.times.duration.clone()),
        ]
    }
}
