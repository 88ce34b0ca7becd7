//! `towpath runs list`

use chrono::{DateTime, Utc};
use towpath_model::run::RunType;
use towpath_model::state::RunState;
use towpath_store::RunFilter;

use super::Shown;
use crate::cli::{arguments, empty_list};
use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::{Session, find_dag};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath runs list etl_pipeline
  towpath runs list --state failed --from 2026-11-01 -o json")]
pub(crate) struct Args {
    /// Only runs of this DAG
    dag_id: Option<String>,
    /// Only runs in this state: queued, running, success, failed; may be given more than once
    #[arg(long, value_name = "STATE")]
    state: Vec<RunState>,
    /// Only runs of this type: scheduled, manual, backfill, ...
    #[arg(long = "type", value_name = "TYPE")]
    run_type: Option<RunType>,
    /// Only logical dates from here on
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    from: Option<DateTime<Utc>>,
    /// Only logical dates up to here
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    to: Option<DateTime<Utc>>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 25)]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
}

impl Row for Shown {
    const HEADINGS: &'static [&'static str] =
        &["dag_id", "run_id", "state", "logical_date", "start_date", "duration", "version"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.dag_id.clone(),
            self.run_id.clone(),
            self.state.clone(),
            output::time_or_none(self.times.logical_date),
            output::time_or_none(self.times.start),
            self.times.duration.clone(),
            self.version.to_string(),
        ]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    if let Some(dag_id) = &args.dag_id {
        find_dag(&store, dag_id).await?;
    }
    let filter = RunFilter {
        dag_id: args.dag_id.clone(),
        states: args.state.clone(),
        run_type: args.run_type,
        logical_date_gte: args.from,
        logical_date_lte: args.to,
        newest_first: true,
        among: None,
        limit: args.limit,
        offset: 0,
    };
    let page = store.runs(&filter).await?;
    let now = session.now();
    let (count, total) = (page.items.len() as u64, page.total);
    let shown: Vec<Shown> = page.items.into_iter().map(|run| Shown::new(run, now)).collect();
    if shown.is_empty() {
        empty_list(args.output.output, "no runs; `towpath dags trigger DAG` starts one");
    }
    output::list(args.output.output, &shown)?;
    if count < total {
        empty_list(args.output.output, &format!("{count} of {total} runs; --limit shows more"));
    }
    Ok(Outcome::Success)
}
