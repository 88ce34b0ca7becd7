//! `towpath users set-password`

use super::password;
use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "All sessions, login links and JWTs of the user end. API tokens stay.")]
pub(crate) struct Args {
    /// Name of the user
    name: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    super::find(&store, &args.name).await?;
    let hash = password::read().await?;
    store.set_password_hash(&args.name, &hash).await?;
    output::line(format!("user `{}` has a new password", args.name))?;
    Ok(Outcome::Success)
}
