//! `towpath audit`

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use towpath_store::{EventColumn, EventFilter, EventRecord};

use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Newest first. Changes through the API and the web UI, commands, and logins that succeeded or failed.

Examples:
  towpath audit --dag etl_pipeline
  towpath audit --owner ada --since 2026-11-01 -o json")]
pub(crate) struct Args {
    /// Only what was done with this DAG
    #[arg(long, value_name = "DAG_ID")]
    dag: Option<String>,
    /// Only what this user did; `ada/ci` for a token, `cli:ada` for commands
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Only this kind of change, such as trigger_dag_run
    #[arg(long)]
    event: Option<String>,
    /// Only from this time on
    #[arg(long, value_name = "TIME", value_parser = super::arguments::time)]
    since: Option<DateTime<Utc>>,
    /// How many entries
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Item {
    id: i64,
    when: String,
    owner: Option<String>,
    event: String,
    dag_id: Option<String>,
    run_id: Option<String>,
    task_id: Option<String>,
    extra: Value,
}

impl From<EventRecord> for Item {
    fn from(EventRecord { id, at, what }: EventRecord) -> Self {
        let extra = what.extra.unwrap_or_default();
        Self {
            id,
            when: output::rfc3339(at),
            owner: what.owner,
            event: what.event,
            dag_id: what.dag_id,
            run_id: what.run_id,
            task_id: what.task_id,
            extra: serde_json::from_str(&extra).unwrap_or(Value::String(extra)),
        }
    }
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] = &["when", "owner", "event", "about", "from"];

    fn cells(&self) -> Vec<String> {
        let ids: Vec<&str> =
            [&self.dag_id, &self.run_id, &self.task_id].into_iter().flatten().map(String::as_str).collect();
        let from = self.extra["address"].as_str().or(self.extra["host_name"].as_str()).unwrap_or_default();
        let owner = self.owner.clone().unwrap_or_default();
        vec![self.when.clone(), owner, self.event.clone(), ids.join(" "), from.to_owned()]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let filter = EventFilter {
        dag_id: args.dag.clone(),
        owner: args.owner.clone(),
        event: args.event.clone(),
        // An entry of that very time counts.
        after: args.since.map(|since| since - chrono::TimeDelta::microseconds(1)),
        order: vec![(EventColumn::At, true), (EventColumn::Id, true)],
        limit: args.limit,
        ..EventFilter::default()
    };
    let page = session.store().await?.events(&filter).await?;
    let items: Vec<Item> = page.items.into_iter().map(Item::from).collect();
    if items.is_empty() {
        super::empty_list(args.output.output, "nothing that was changed fits");
    }
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}
