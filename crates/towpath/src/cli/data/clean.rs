//! `towpath data clean`

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use towpath_scheduler::staging::{Janitor, Options, Removed, Why};

use crate::cli::empty_list;
use crate::exit::Outcome;
use crate::output::{self, Format, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A scheduler cleans the staging area by itself: data sets go when their run has ended `data_keep` ago (7 days unless set). \
Those of runs that are not over, and of each DAG's newest successful run, stay. What is cleaned is made again by clearing \
the task that had made it.

Examples:
  towpath data clean --dry-run
  towpath data clean --older-than 12h")]
pub(crate) struct Args {
    /// Show what would be removed, and leave it
    #[arg(long)]
    dry_run: bool,
    /// Keep data of runs that have ended since [default: what `data_keep` says]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    towpath_model::duration::parse(text).map_err(|error| error.to_string())
}

#[derive(Debug, Serialize)]
struct Shown {
    dag_id: String,
    run_id: String,
    why: Why,
    bytes: u64,
    path: String,
}

impl Row for Shown {
    const HEADINGS: &'static [&'static str] = &["dag_id", "run_id", "why", "bytes"];

    fn cells(&self) -> Vec<String> {
        vec![self.dag_id.clone(), self.run_id.clone(), self.why.to_string(), self.bytes.to_string()]
    }
}

impl From<Removed> for Shown {
    fn from(removed: Removed) -> Self {
        let Removed { dag_id, run_id, path, bytes, why } = removed;
        Self { dag_id, run_id, why, bytes, path: path.display().to_string() }
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let config = &session.config;
    let options = Options {
        store: session.store().await?,
        clock: Arc::clone(&session.clock),
        staging: config.data_staging.value.clone(),
        keep: args.older_than.or(config.data_keep.value),
    };
    let janitor = if args.dry_run { Janitor::rehearsal(options) } else { Janitor::new(options) };
    let found: Vec<Shown> = janitor.pass().await?.into_iter().map(Shown::from).collect();
    if found.is_empty() {
        let keep = match args.older_than.or(config.data_keep.value) {
            Some(keep) => {
                format!("data is kept for {} after the end of its run", towpath_model::duration::humanize(keep))
            }
            None => "data is kept for ever; --older-than says otherwise".to_owned(),
        };
        empty_list(args.output.output, &format!("nothing to remove: {keep}"));
    }
    output::list(args.output.output, &found)?;
    if args.output.output == Format::Table && !found.is_empty() {
        let bytes: u64 = found.iter().map(|one| one.bytes).sum();
        let done = if args.dry_run { "would be removed" } else { "removed" };
        output::remark(format!("{} folders, {bytes} bytes {done}", found.len()));
    }
    Ok(Outcome::Success)
}
