//! `towpath backfills create`

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_store::{BackfillAction, BackfillDate, NewBackfill, Reprocess};

use super::{Shown, find};
use crate::cli::arguments;
use crate::exit::{Outcome, usage};
use crate::output::{self, Format, OutputArgs, Row};
use crate::session::{Session, find_dag};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes the runs; the scheduler and the workers of a server that is up on the same database carry them out.

Examples:
  towpath backfills create flights_daily --from 2013-01-01 --to 2013-01-31 --dry-run
  towpath backfills create flights_daily --from 2013-01-01 --to 2013-01-31 --reprocess failed
  towpath backfills create flights_daily --from 2013-01-01 --to 2013-01-31 --backwards --max-active-runs 2")]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// First logical date
    #[arg(long, value_parser = arguments::time)]
    from: DateTime<Utc>,
    /// Last logical date
    #[arg(long, value_parser = arguments::time)]
    to: DateTime<Utc>,
    /// Which runs that exist already run again; one that is queued or running is never touched
    #[arg(long, value_enum, default_value_t = Again::None)]
    reprocess: Again,
    /// Runs of it at a time, whatever the DAG's own limit
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    max_active_runs: u32,
    /// The newest date first
    #[arg(long)]
    backwards: bool,
    /// Configuration of the runs, a JSON object or @file
    #[arg(long, value_name = "JSON", value_parser = arguments::json_object)]
    conf: Option<Map<String, Value>>,
    /// Only tell what would be made
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Again {
    None,
    Failed,
    Completed,
}

/// A date as it is shown.
#[derive(Debug, Serialize)]
struct Date {
    logical_date: String,
    action: String,
}

impl Row for Date {
    const HEADINGS: &'static [&'static str] = &["logical_date", "action"];

    fn cells(&self) -> Vec<String> {
        vec![self.logical_date.clone(), self.action.clone()]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    if args.from > args.to {
        return Err(usage("--from is after --to".to_owned()));
    }
    let store = session.store().await?;
    find_dag(&store, &args.dag_id).await?;
    let new = NewBackfill {
        dag_id: args.dag_id.clone(),
        from: args.from,
        to: args.to,
        reprocess: match args.reprocess {
            Again::None => Reprocess::None,
            Again::Failed => Reprocess::Failed,
            Again::Completed => Reprocess::Completed,
        },
        max_active_runs: args.max_active_runs,
        backwards: args.backwards,
        conf: args.conf.clone().unwrap_or_default(),
        triggering_user: None,
    };
    let (id, dates) = store.create_backfill(&new, args.dry_run, session.now()).await.map_err(|error| match error {
        towpath_store::Error::Invalid(why) => usage(why),
        other => other.into(),
    })?;
    let format = args.output.output;
    let Some(id) = id else {
        let rows: Vec<Date> = dates.iter().map(Date::new).collect();
        output::list(format, &rows)?;
        return Ok(Outcome::Success);
    };
    if matches!(format, Format::Table) {
        let left = dates.iter().filter(|date| is_left(date.action)).count();
        if left > 0 {
            output::remark(format!("{left} dates have a run already; --dry-run tells which"));
        }
    }
    output::detail(format, &Shown::new(find(&store, id).await?))?;
    Ok(Outcome::Success)
}

fn is_left(action: BackfillAction) -> bool {
    matches!(action, BackfillAction::InFlight | BackfillAction::AlreadyExists)
}

impl Date {
    fn new(date: &BackfillDate) -> Self {
        Self { logical_date: output::rfc3339(date.logical_date), action: date.action.to_string() }
    }
}
