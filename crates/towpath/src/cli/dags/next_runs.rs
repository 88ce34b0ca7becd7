//! `towpath dags next-runs`

use chrono::{DateTime, Utc};
use serde::Serialize;
use towpath_model::dag::Dag;
use towpath_model::timetable::DueRun;
use towpath_scheduler::preview::{self, Fire, Window};

use crate::cli::{arguments, empty_list, target};
use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

/// Most runs of one answer, for ranges without --count.
const MOST: usize = 10_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --from: the runs that the scheduler makes from now on; for a file, as if it had made none so far, so that with \
catchup they begin at the start date. With --from: every run of the schedule that is due between --from and --to, \
whatever catchup says. A file is read without any database.

Examples:
  towpath dags next-runs etl_pipeline
  towpath dags next-runs dags/flights_daily.yaml --count 3
  towpath dags next-runs dags/report.yaml --from 2026-03-28 --to 2026-04-02 -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    target: target::Args,
    /// The time that counts as now [default: now]
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    now: Option<DateTime<Utc>>,
    /// Runs that are due from here on
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    from: Option<DateTime<Utc>>,
    /// Runs that are due before this time
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    to: Option<DateTime<Utc>>,
    /// At most so many [default: 5, or all with --to]
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<usize>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Item {
    run_after: String,
    logical_date: String,
    data_interval_start: String,
    data_interval_end: String,
}

impl From<Fire> for Item {
    fn from(fire: Fire) -> Self {
        Self {
            run_after: output::rfc3339(fire.run_after),
            logical_date: output::rfc3339(fire.logical_date),
            data_interval_start: output::rfc3339(fire.data_interval_start),
            data_interval_end: output::rfc3339(fire.data_interval_end),
        }
    }
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] =
        &["run_after", "logical_date", "data_interval_start", "data_interval_end"];

    fn cells(&self) -> Vec<String> {
        let Self { run_after, logical_date, data_interval_start, data_interval_end } = self;
        [run_after, logical_date, data_interval_start, data_interval_end].map(Clone::clone).into()
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let (dag, next) = match args.target.load(session)? {
        target::Target::File(file) => (file.dag, None),
        target::Target::Id(dag_id) => {
            let store = session.store().await?;
            match target::unknown_to(&store, &dag_id, session).await? {
                Some(file) => (file.dag, None),
                None => {
                    let (record, dag) = target::stored(&store, &dag_id).await?;
                    (dag, record.next_run)
                }
            }
        }
    };
    // What the scheduler has planned holds for its own time, not for one that somebody makes up.
    let next = next.filter(|_| args.now.is_none());
    let now = args.now.unwrap_or_else(|| session.now());
    let items: Vec<Item> = fires(args, &dag, next, now).into_iter().map(Item::from).collect();
    if items.is_empty() {
        let schedule = dag.spec().schedule_words();
        empty_list(args.output.output, &format!("no runs to show: DAG `{}` runs {schedule}", dag.id()));
    }
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}

fn fires(args: &Args, dag: &Dag, next: Option<DueRun>, now: DateTime<Utc>) -> Vec<Fire> {
    let count = args.count.unwrap_or(if args.to.is_some() { MOST } else { 5 }).min(MOST);
    if let Some(from) = args.from {
        return preview::fires(dag, Window { from, to: args.to, count });
    }
    let later = preview::upcoming(dag, next.map(|next| next.data_interval), now, count);
    next.map(Fire::from)
        .into_iter()
        .chain(later)
        .take_while(|fire| args.to.is_none_or(|to| fire.run_after < to))
        .take(count)
        .collect()
}
