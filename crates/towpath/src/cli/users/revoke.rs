//! `towpath users revoke`

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the user
    name: String,
    #[command(flatten)]
    scope: super::ScopeArgs,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let user = super::find(&store, &args.name).await?;
    let scope = args.scope.scope()?;
    if !store.revoke(&user.name, &scope).await? {
        anyhow::bail!("nothing was granted to user `{}` for {scope}; `towpath users list` shows what is", user.name);
    }
    output::line(format!("user `{}` may do no more with {scope} than the role `{}` says", user.name, user.role))?;
    Ok(Outcome::Success)
}
