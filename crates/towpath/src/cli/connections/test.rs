//! `towpath connections test`

use std::time::Duration;

use anyhow::bail;
use towpath_operators::connection_test;

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
http and https: one GET of the host, with the login. postgres and sqlite: opens the database and asks it something. \
Any other: whether somebody listens on host and port. The test runs on this machine, not on a worker.")]
pub(crate) struct Args {
    /// Its id
    conn_id: String,
    /// Longest time to wait for an answer, such as 30s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
}

fn timeout(text: &str) -> Result<Duration, String> {
    towpath_model::duration::parse(text).map_err(|error| error.to_string())
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let Some(connection) = store.connection(&args.conn_id).await? else {
        return Err(super::not_found(&store, &args.conn_id).await);
    };
    match connection_test::test(&connection, args.timeout).await {
        Ok(answer) => output::line(format!("connection `{}` works: {answer}", args.conn_id))?,
        Err(error) => bail!("connection `{}` does not work: {error}", args.conn_id),
    }
    Ok(Outcome::Success)
}
