//! `towpath webhooks revoke`

use crate::exit::Outcome;
use crate::names;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG whose runs it starts
    dag_id: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    if store.delete_webhook(&args.dag_id).await? {
        output::line(format!("the webhook of DAG `{}` is revoked", args.dag_id))?;
        return Ok(Outcome::Success);
    }
    let known = store.webhooks().await?;
    let hint = names::hint(&args.dag_id, known.iter().map(|webhook| webhook.dag_id.as_str()));
    anyhow::bail!("DAG `{}` has no webhook{hint}", args.dag_id)
}
