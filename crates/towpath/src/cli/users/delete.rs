//! `towpath users delete`

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the user
    name: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    super::find(&store, &args.name).await?;
    super::keep_an_admin(&store, &args.name).await?;
    store.delete_user(&args.name).await?;
    output::line(format!("user `{}` is deleted", args.name))?;
    Ok(Outcome::Success)
}
