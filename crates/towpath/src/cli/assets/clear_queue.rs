//! `towpath assets clear-queue`

use towpath_store::QueueFilter;

use crate::exit::Outcome;
use crate::output;
use crate::session::{Session, find_dag};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG that waits
    dag_id: String,
    /// Only updates of this asset
    #[arg(long, value_name = "NAME")]
    asset: Option<String>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let record = find_dag(&store, &args.dag_id).await?;
    let asset_id = match &args.asset {
        Some(asset) => Some(super::find(&store, asset).await?.id),
        None => None,
    };
    let filter = QueueFilter { dag_id: Some(record.dag_id.clone()), asset_id, before: None };
    let cleared = store.clear_asset_queue(&filter, session.now()).await?;
    let what = if cleared == 1 { "1 update".to_owned() } else { format!("{cleared} updates") };
    output::line(format!("{what} will not start DAG `{}`", record.dag_id))?;
    Ok(Outcome::Success)
}
