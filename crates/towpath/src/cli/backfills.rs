//! `towpath backfills ...`

mod create;

use serde::Serialize;
use towpath_store::{BackfillRecord, Store};

use crate::exit::{Outcome, usage};
use crate::output::{self, Detail, OutputArgs, Row};
use crate::session::{Session, find_dag};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make up for the runs of a span of time
    Create(create::Args),
    /// List backfills, newest first
    List(ListArgs),
    /// Show a backfill
    Show(OneArgs),
    /// Start no more of its runs
    Pause(OneArgs),
    /// Go on with it
    Unpause(OneArgs),
    /// Give up the runs that have not started
    Cancel(OneArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only those of this DAG
    dag_id: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OneArgs {
    /// The backfill, by its number
    id: i64,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::Create(args) => create::run(&args, session).await,
        Command::List(args) => list(&args, session).await,
        Command::Show(args) => show(&args, &session.store().await?).await,
        Command::Pause(args) => pause(&args, true, session).await,
        Command::Unpause(args) => pause(&args, false, session).await,
        Command::Cancel(args) => cancel(&args, session).await,
    }
}

/// A backfill as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    id: i64,
    dag_id: String,
    from_date: String,
    to_date: String,
    state: &'static str,
    reprocess: String,
    max_active_runs: u32,
    backwards: bool,
    runs: u64,
    queued: u64,
    running: u64,
    success: u64,
    failed: u64,
    created_at: String,
    completed_at: Option<String>,
}

impl Shown {
    fn new(record: BackfillRecord) -> Self {
        let state = match (&record.completed_at, record.is_cancelled, record.is_paused) {
            (_, true, _) => "cancelled",
            (Some(_), ..) => "completed",
            (None, _, true) => "paused",
            (None, ..) => "running",
        };
        Self {
            id: record.id,
            dag_id: record.backfill.dag_id,
            from_date: output::rfc3339(record.backfill.from),
            to_date: output::rfc3339(record.backfill.to),
            state,
            reprocess: record.backfill.reprocess.to_string(),
            max_active_runs: record.backfill.max_active_runs,
            backwards: record.backfill.backwards,
            runs: record.runs,
            queued: record.queued,
            running: record.running,
            success: record.success,
            failed: record.failed,
            created_at: output::rfc3339(record.created_at),
            completed_at: record.completed_at.map(output::rfc3339),
        }
    }
}

impl Row for Shown {
    const HEADINGS: &'static [&'static str] = &["id", "dag_id", "from", "to", "state", "runs", "success", "failed"];

    fn cells(&self) -> Vec<String> {
        let numbers = [self.runs, self.success, self.failed].map(|number| number.to_string());
        let texts = [&self.dag_id, &self.from_date, &self.to_date].map(Clone::clone);
        [self.id.to_string()].into_iter().chain(texts).chain([self.state.to_owned()]).chain(numbers).collect()
    }
}

impl Detail for Shown {
    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("id", self.id.to_string()),
            ("dag_id", self.dag_id.clone()),
            ("dates", format!("{} .. {}", self.from_date, self.to_date)),
            ("state", self.state.to_owned()),
            ("reprocess", self.reprocess.clone()),
            ("max_active_runs", self.max_active_runs.to_string()),
            (
                "runs",
                format!(
                    "{}: {} queued, {} running, {} success, {} failed",
                    self.runs, self.queued, self.running, self.success, self.failed
                ),
            ),
            ("created", self.created_at.clone()),
            ("completed", self.completed_at.clone().unwrap_or_default()),
        ]
    }
}

async fn find(store: &Store, id: i64) -> anyhow::Result<BackfillRecord> {
    let found = store.backfill(id).await?;
    found.ok_or_else(|| usage(format!("there is no backfill {id}; `towpath backfills list` shows those that are")))
}

async fn list(args: &ListArgs, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    if let Some(dag_id) = &args.dag_id {
        find_dag(&store, dag_id).await?;
    }
    let found = store.backfills(args.dag_id.as_deref()).await?;
    let rows: Vec<Shown> = found.into_iter().map(Shown::new).collect();
    output::list(args.output.output, &rows)?;
    Ok(Outcome::Success)
}

async fn show(args: &OneArgs, store: &Store) -> anyhow::Result<Outcome> {
    let shown = Shown::new(find(store, args.id).await?);
    output::detail(args.output.output, &shown)?;
    Ok(Outcome::Success)
}

async fn pause(args: &OneArgs, paused: bool, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    find(&store, args.id).await?;
    store.pause_backfill(args.id, paused).await?;
    show(args, &store).await
}

async fn cancel(args: &OneArgs, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    find(&store, args.id).await?;
    store.cancel_backfill(args.id, session.now()).await?;
    show(args, &store).await
}
