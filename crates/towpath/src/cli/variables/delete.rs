//! `towpath variables delete`

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its key
    key: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    if !store.delete_variable(&args.key).await? {
        return Err(super::not_found(&store, &args.key).await);
    }
    output::line(format!("variable `{}` is deleted", args.key))?;
    Ok(Outcome::Success)
}
