//! `towpath db clean`

use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, TimeDelta, Utc};
use towpath_scheduler::retention::{self, Cleaned};
use towpath_store::Cleanable;

use crate::cli::arguments::time;
use crate::cli::empty_list;
use crate::exit::{Outcome, usage};
use crate::names;
use crate::output::{self, Format, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Deletes what ended before that time: runs with their task instances, tries, XComs and logs (dag_run), asset events, the audit \
log (log), schedulers and workers that have ended (job), and backfills without runs. What is not over stays, and of each DAG \
its newest runs: the schedule goes on from them, and depends_on_past asks them. Data sets of deleted runs go with the next \
cleaning of the staging area.

It works in small steps beside a running scheduler. A scheduler cleans by itself where `retention_runs` and `retention_log` say so.

Examples:
  towpath db clean --keep 90d --dry-run
  towpath db clean --before 2026-01-01 --tables dag_run,log")]
#[group(id = "age", required = true, multiple = false, args = ["before", "keep"])]
pub(crate) struct Args {
    /// Delete what ended before
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<DateTime<Utc>>,
    /// Delete what ended longer ago
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep: Option<Duration>,
    /// Clean these alone, separated by commas [default: dag_run,asset_event,log,job,backfill]
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    tables: Vec<String>,
    /// Show what would be deleted, and leave it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    towpath_model::duration::parse(text).map_err(|error| error.to_string())
}

#[derive(Debug, serde::Serialize)]
struct Shown(Cleaned);

impl Row for Shown {
    const HEADINGS: &'static [&'static str] = &["table", "dag_id", "rows"];

    fn cells(&self) -> Vec<String> {
        vec![self.0.table.to_owned(), self.0.dag_id.clone().unwrap_or_default(), self.0.rows.to_string()]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let tables = tables(&args.tables)?;
    let now = session.now();
    let before = match (args.before, args.keep) {
        (Some(before), _) => before,
        (None, keep) => keep
            .and_then(|keep| now.checked_sub_signed(TimeDelta::from_std(keep).ok()?))
            .ok_or_else(|| anyhow!("`--keep` reaches too far back"))?,
    };
    if before > now {
        return Err(usage(format!("`--before` {} lies ahead; it would delete everything", output::rfc3339(before))));
    }
    let store = session.store().await?;
    let cleaned = if args.dry_run {
        retention::rehearse(&store, &tables, before).await?
    } else {
        retention::clean(&store, &tables, before, now).await?
    };
    let shown: Vec<Shown> = cleaned.into_iter().map(Shown).collect();
    if shown.is_empty() {
        empty_list(
            args.output.output,
            &format!("nothing to delete: all of it ended after {}", output::rfc3339(before)),
        );
    }
    output::list(args.output.output, &shown)?;
    if args.output.output == Format::Table && !shown.is_empty() {
        let rows: u64 = shown.iter().map(|one| one.0.rows).sum();
        let done = if args.dry_run { "would be deleted" } else { "deleted" };
        output::remark(format!("{rows} rows that ended before {} {done}", output::rfc3339(before)));
    }
    Ok(Outcome::Success)
}

fn tables(names: &[String]) -> anyhow::Result<Vec<Cleanable>> {
    if names.is_empty() {
        return Ok(Cleanable::ALL.to_vec());
    }
    // In the order of the table: what runs keep goes after them.
    for name in names {
        if name.trim().parse::<Cleanable>().is_err() {
            let known: Vec<&'static str> = Cleanable::ALL.into_iter().map(Into::into).collect();
            let hint = names::hint(name, known.iter().copied());
            return Err(usage(format!("there is no table `{name}` to clean{hint}; there are {}", known.join(", "))));
        }
    }
    Ok(Cleanable::ALL.into_iter().filter(|table| names.iter().any(|name| name.trim() == <&str>::from(table))).collect())
}
