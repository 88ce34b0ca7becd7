//! `towpath connections delete`

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id
    conn_id: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    if !store.delete_connection(&args.conn_id).await? {
        return Err(super::not_found(&store, &args.conn_id).await);
    }
    output::line(format!("connection `{}` is deleted", args.conn_id))?;
    Ok(Outcome::Success)
}
