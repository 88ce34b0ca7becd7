//! `towpath pools delete`

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name
    name: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    if !store.delete_pool(&args.name).await? {
        return Err(super::not_found(&args.name, &store.pools().await?));
    }
    output::line(format!("pool `{}` is deleted", args.name))?;
    Ok(Outcome::Success)
}
