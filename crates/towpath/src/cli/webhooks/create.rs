//! `towpath webhooks create`

use std::time::Duration;

use chrono::TimeDelta;

use crate::exit::{Outcome, usage};
use crate::output;
use crate::session::{Session, find_dag};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Requests go to POST /api/towpath/v1/hooks/DAG_ID. They are signed as Standard Webhooks are, or with X-Hub-Signature-256 \
as GitHub does it (there the whole text is the secret). A delivery that comes again gives the run that it has started. \
The body stands in the conf of the run under `webhook`.

Examples:
  towpath webhooks create etl > secret.txt
  towpath webhooks create etl --previous 1d    another secret; the one before is good for another day")]
pub(crate) struct Args {
    /// The DAG whose runs it starts
    dag_id: String,
    /// Make the body the whole conf of the run
    #[arg(long)]
    body_is_conf: bool,
    /// How long the secret before this one stays good, such as 1d [default: no longer]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    previous: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    towpath_model::duration::parse(text).map_err(|error| error.to_string())
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let dag = find_dag(&store, &args.dag_id).await?;
    let now = session.now();
    let overlap = args.previous.map(TimeDelta::from_std).transpose().map_err(|_| usage("--previous is too long"))?;
    if overlap.is_some_and(|overlap| overlap > TimeDelta::days(30)) {
        return Err(usage("--previous is at most 30d"));
    }
    let secret = towpath_api::new_secret();
    let until = overlap.map(|overlap| now + overlap);
    store.set_webhook(&dag.dag_id, &secret, args.body_is_conf, None, until, now).await?;
    output::line(&secret)?;
    output::remark(format!("it is shown this once; requests go to POST /api/towpath/v1/hooks/{}", dag.dag_id));
    Ok(Outcome::Success)
}
