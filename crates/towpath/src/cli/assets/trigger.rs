//! `towpath assets trigger`

use serde_json::{Map, Value};
use towpath_store::QueueFilter;

use crate::cli::arguments;
use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
For data that something else than Towpath updates. The scheduler of a server that is up starts what has waited for it.

Example:
  towpath assets trigger orders --extra '{\"rows\": 120}'")]
pub(crate) struct Args {
    /// Its name or URI
    asset: String,
    /// What the event says besides: a JSON object, or @FILE
    #[arg(long, value_name = "JSON", value_parser = arguments::json_object)]
    extra: Option<Map<String, Value>>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let record = super::find(&store, &args.asset).await?;
    let extra = args.extra.clone().unwrap_or_default();
    let event = store.create_asset_event(record.id, &extra, session.now()).await?;
    let filter = QueueFilter { asset_id: Some(record.id), ..QueueFilter::default() };
    let dags: Vec<String> = store.queued_asset_events(&filter).await?.into_iter().map(|queued| queued.dag_id).collect();
    let waiting = if dags.is_empty() {
        "no active DAG waits for it".to_owned()
    } else {
        format!("queued for {}", dags.join(", "))
    };
    output::line(format!("event {} of asset `{}`: {waiting}", event.id, record.asset.name))?;
    Ok(Outcome::Success)
}
