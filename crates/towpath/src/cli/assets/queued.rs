//! `towpath assets queued`

use serde::Serialize;
use towpath_store::QueueFilter;

use crate::cli::empty_list;
use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those that wait for this DAG
    #[arg(long, value_name = "DAG_ID")]
    dag: Option<String>,
    /// Only those of this asset
    #[arg(long, value_name = "NAME")]
    asset: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Item {
    dag_id: String,
    asset: String,
    events: u64,
    first_at: String,
    last_at: String,
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] = &["dag_id", "asset", "events", "since"];

    fn cells(&self) -> Vec<String> {
        vec![self.dag_id.clone(), self.asset.clone(), self.events.to_string(), self.first_at.clone()]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let asset_id = match &args.asset {
        Some(asset) => Some(super::find(&store, asset).await?.id),
        None => None,
    };
    let filter = QueueFilter { dag_id: args.dag.clone(), asset_id, before: None };
    let items: Vec<Item> = store
        .queued_asset_events(&filter)
        .await?
        .into_iter()
        .map(|queued| Item {
            dag_id: queued.dag_id,
            asset: queued.asset_name,
            events: queued.count,
            first_at: output::rfc3339(queued.first_at),
            last_at: output::rfc3339(queued.last_at),
        })
        .collect();
    if items.is_empty() {
        empty_list(args.output.output, "nothing waits");
    }
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}
