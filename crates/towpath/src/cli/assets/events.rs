//! `towpath assets events`

use towpath_store::AssetEventFilter;

use super::Event;
use crate::cli::empty_list;
use crate::exit::Outcome;
use crate::output::{self, OutputArgs};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those of this asset
    asset: Option<String>,
    /// Only those that tasks of this DAG have made
    #[arg(long, value_name = "DAG_ID")]
    dag: Option<String>,
    /// Most to list
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let asset_id = match &args.asset {
        Some(asset) => Some(super::find(&store, asset).await?.id),
        None => None,
    };
    let filter = AssetEventFilter {
        asset_id,
        source_dag_id: args.dag.clone(),
        newest_first: true,
        limit: args.limit,
        ..AssetEventFilter::default()
    };
    let events: Vec<Event> = store.asset_events(&filter).await?.items.into_iter().map(Event::from).collect();
    if events.is_empty() {
        empty_list(args.output.output, "no updates yet");
    }
    output::list(args.output.output, &events)?;
    Ok(Outcome::Success)
}
